//! Codes of countries: ISO 3166-1 alpha-2.

use std::sync::LazyLock;

const LETTERS: usize = 26;

/// The known codes, by their two letters. The library looks them up by a hash, which takes longer than all other checks of
/// a contact's country.
static KNOWN: LazyLock<[[Option<&'static str>; LETTERS]; LETTERS]> = LazyLock::new(|| {
    let mut known = [[None; LETTERS]; LETTERS];
    for country in rust_iso3166::ALL {
        if let Some([first, second]) = indices(country.alpha2) {
            known[first][second] = Some(country.alpha2);
        }
    }
    known
});

/// Returns the code, if it is known and in capital letters.
pub fn known(code: &str) -> Option<&'static str> {
    let [first, second] = indices(code)?;
    KNOWN[first][second]
}

fn indices(code: &str) -> Option<[usize; 2]> {
    let letters: [u8; 2] = code.as_bytes().try_into().ok()?;
    let indices = letters.map(|letter| usize::from(letter.wrapping_sub(b'A')));
    indices.iter().all(|index| *index < LETTERS).then_some(indices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_codes_of_the_library_are_known() {
        for country in rust_iso3166::ALL {
            assert_eq!(known(country.alpha2), Some(country.alpha2));
        }
        let all = (0..=u8::MAX).flat_map(|first| (0..=u8::MAX).map(move |second| [first, second]));
        let texts = all.filter_map(|letters| String::from_utf8(letters.to_vec()).ok());
        let count = texts.filter(|text| known(text).is_some()).count();
        assert_eq!(count, rust_iso3166::ALL.len());
        for code in ["", "G", "GBR", "gb", "é"] {
            assert_eq!(known(code), None, "{code}");
        }
    }
}
