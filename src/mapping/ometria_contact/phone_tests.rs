//! Phone numbers of all regions, as Google's libphonenumber reads them, and any other texts.

use proptest::prelude::*;

use super::*;

/// What libphonenumber says of texts: the region, the text, and the number or the reason.
const NUMBERS: &str = include_str!("../../../tests/phone/numbers.tsv");

fn rows() -> Vec<(Option<&'static str>, &'static str, &'static str)> {
    let lines = NUMBERS.lines().filter(|line| !line.starts_with('#'));
    let row = |line: &'static str| -> [&str; 3] { line.split('\t').collect::<Vec<_>>().try_into().unwrap() };
    lines.map(row).map(|[region, text, says]| (Some(region).filter(|r| !r.is_empty()), text, says)).collect()
}

fn read(text: &str, country: Option<&str>) -> String {
    parse(text, country).unwrap_or_else(str::to_owned)
}

#[test]
fn numbers_of_all_regions_are_read_as_libphonenumber_reads_them() {
    let rows = rows();
    let wrong: Vec<_> = rows.iter().filter(|(country, text, says)| read(text, *country) != *says).collect();
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), rows.len());
    let regions: std::collections::BTreeSet<_> = rows.iter().map(|(country, ..)| country).collect();
    assert!(rows.len() > 3000 && regions.len() > 245, "{} {}", rows.len(), regions.len());
}

#[test]
fn a_number_that_was_read_is_read_as_itself_in_every_country() {
    for (country, _, says) in rows().into_iter().filter(|(.., says)| says.starts_with('+')) {
        for country in [None, country, Some("KR"), Some("RU"), Some("US")] {
            assert_eq!(read(says, country), says, "{country:?}");
        }
    }
}

#[test]
fn what_people_add_to_a_number_is_understood() {
    for (country, text, says) in [
        (Some("GB"), "tel: 020-7946-0018", "+442079460018"),
        (Some("GB"), "020 7946 0018 / 020 7946 0019", "not_a_number"),
        (Some("GB"), "(020) 7946 0018 -", "+442079460018"),
        (Some("GB"), "+44 (0)20 7946 0018", "+442079460018"),
        (Some("GB"), "442079460018", "+442079460018"),
        (Some("DE"), "00 44 20 7946 0018", "+442079460018"),
        (Some("US"), "011 44 20 7946 0018", "+442079460018"),
        (Some("US"), "1-800-555-CARS", "+18005552277"),
        (Some("AR"), "011 15-2345-6789", "+5491123456789"),
        (Some("IT"), "06 1234 5678", "+390612345678"),
        (Some("GB"), "tel:7946-0018;phone-context=+44-20", "+442079460018"),
        (Some("GB"), "tel:020-7946-0018;phone-context=example.com", "+442079460018"),
        (Some("GB"), "020 7946 0018;isub=12", "+442079460018"),
        (Some("GB"), "020 7946 0018;ext=5", "has_an_extension"),
        (Some("GB"), "020 7946 0018 Ext. 5", "has_an_extension"),
        (Some("ES"), "912 34 56 78 Extensión 5", "has_an_extension"),
        (Some("RU"), "8 (495) 123-45-67 доб. 5", "has_an_extension"),
        (Some("US"), "(650) 253-0000 x302/x2303", "has_an_extension"),
        (Some("US"), "650 253 0000 503#", "has_an_extension"),
        (Some("US"), "650 253 0000,,12345", "has_an_extension"),
        (Some("US"), "650 253 0000;12", "has_an_extension"),
        (Some("EG"), "٠١٠٠١٢٣٤٥٦٧", "+201001234567"),
        // No region of a plan: as if no country were set.
        (Some("AQ"), "020 7946 0018", "no_country_code"),
        (Some("AQ"), "+44 20 7946 0018", "+442079460018"),
        (Some("gb"), "020 7946 0018", "no_country_code"),
        (None, "1234", "not_a_number"),
        (None, "+999 123456789", "not_a_number"),
        (Some("GB"), "", "not_a_number"),
    ] {
        assert_eq!(read(text, country), says, "{text} {country:?}");
    }
    assert_eq!(read(&format!("020 7946 0018{}", " ".repeat(251)), Some("GB")), "not_a_number");
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[+＋]{0,2}[0-9٠-٩０-９ ()./x~,;:#*-]{0,40}",
        "\\PC{0,8}[0-9]{5,20}\\PC{0,8}",
        "[0-9]{2,14}( ?[xX#~,;:]|;ext=|;phone-context=|;isub=|tel:| доб| ｅｘｔ)[0-9.+ ]{0,12}#?",
    ]
}

proptest! {
    #[test]
    fn any_text_gives_a_number_in_e164_or_a_reason(text in texts(), place in 0..26 * 26_usize) {
        let letter = |place: usize| char::from(b'A' + u8::try_from(place % 26).unwrap());
        let country = [letter(place / 26), letter(place)].iter().collect::<String>();
        for country in [None, Some(country.as_str())] {
            match parse(&text, country) {
                Ok(number) => {
                    let digits = number.strip_prefix('+').unwrap();
                    prop_assert!((7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()));
                    prop_assert!(!digits.starts_with('0'));
                    prop_assert_eq!(parse(&number, country), Ok(number.clone()));
                }
                Err(reason) => prop_assert!(["not_a_number", "no_country_code", "has_an_extension"].contains(&reason)),
            }
        }
    }
}
