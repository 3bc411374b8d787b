//! How the values of a contact's fields are made. Each answers nothing where nothing was set, and why where what was set
//! can't be sent.

use std::ops::RangeInclusive;

use chrono::{NaiveDate, Utc};
use phonenumber::Mode;

use super::member::Member;
use crate::base::{record::Reason, time};

/// No country has shorter numbers of people. Spares the library's work on what is plainly none.
const FEWEST_DIGITS: usize = 5;
/// Of E.164, the country code included; the library also knows longer ones: <https://www.itu.int/rec/T-REC-E.164>.
const E164_DIGITS: RangeInclusive<usize> = 7..=15;

pub type Value<T> = Result<Option<T>, Reason>;

/// The first of these times that is set and can be read.
pub fn first_time(member: &Member, names: &[&str]) -> Value<String> {
    let texts = names.iter().filter_map(|name| member.text(name));
    match texts.filter_map(|text| time::parse(&text)).next() {
        None if names.iter().any(|name| member.is_filled(name)) => Err("not_a_time"),
        time => Ok(time.map(time::wire)),
    }
}

/// A merge field's text without control characters.
pub fn text(merge_fields: &Member, tag: &str) -> Value<String> {
    if !merge_fields.is_filled(tag) {
        return Ok(None);
    }
    let text = merge_fields.text(tag).ok_or("not_text")?;
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
}

/// An address that stands where a name should is none.
pub fn name(merge_fields: &Member, tag: &str) -> Value<String> {
    match text(merge_fields, tag)? {
        Some(name) if name.contains('@') => Err("is_an_address"),
        name => Ok(name),
    }
}

/// The address's country if there is more to the address (a lone country is mostly the list's default), or the text of a merge
/// field of another type; else the one that Mailchimp located.
pub fn country(member: &Member, merge_fields: &Member, tag: &str) -> Value<&'static str> {
    let address = merge_fields.inner(tag);
    let lone = address.filled().all(|part| part == "country");
    let stated = merge_fields.text(tag).or(address.text("country").filter(|_| !lone));
    let located = member.inner("location").text("country_code");
    let known = |code: &Option<String>| code.as_deref().and_then(country_code);
    match known(&stated).or_else(|| known(&located)) {
        Some(code) => Ok(Some(code)),
        None if stated.is_some() || located.is_some() => Err("unknown_country"),
        None if address.is_filled("country") => Err("country_alone"),
        None if merge_fields.is_filled(tag) && lone => Err("not_text"),
        None => Ok(None),
    }
}

/// A known ISO 3166-1 alpha-2 code; `UK` is what many write for `GB`.
fn country_code(text: &str) -> Option<&'static str> {
    let code = text.trim().to_uppercase();
    let code = if code == "UK" { "GB" } else { &code };
    rust_iso3166::from_alpha2(code).map(|country| country.alpha2)
}

/// As E.164, if it is the number of one person: one with an extension is a company's. Without a country code it is one of
/// `country`.
pub fn phone(merge_fields: &Member, tag: &str, country: Option<&str>) -> Value<String> {
    let Some(text) = text(merge_fields, tag)? else { return Ok(None) };
    if text.chars().filter(char::is_ascii_digit).count() < FEWEST_DIGITS {
        return Err("not_a_number");
    }
    let country = country.and_then(|country| country.parse().ok());
    let number = phonenumber::parse(country, &text).map_err(|_| match country {
        None if !text.contains('+') => "no_country_code",
        _ => "not_a_number",
    })?;
    if number.extension().is_some() {
        return Err("has_an_extension");
    }
    let written = number.format().mode(Mode::E164).to_string();
    let fits = E164_DIGITS.contains(&(written.len() - 1));
    if fits && phonenumber::is_valid(&number) { Ok(Some(written)) } else { Err("not_a_number") }
}

/// A date from 1900 up to the member's last change: later it can't have been known.
pub fn birth_date(merge_fields: &Member, tag: &str, changed: Option<chrono::DateTime<Utc>>) -> Value<String> {
    let Some(text) = text(merge_fields, tag)? else { return Ok(None) };
    let date = date(&text).ok_or("not_a_date")?;
    let first = NaiveDate::from_ymd_opt(1900, 1, 1);
    let possible =
        first.is_none_or(|first| date >= first) && changed.is_none_or(|changed| date <= changed.date_naive());
    if possible { Ok(Some(date.to_string())) } else { Err("not_a_birth_date") }
}

/// `2026-05-15`, also with a time behind it.
pub fn date(text: &str) -> Option<NaiveDate> {
    let ordinary = text.len() == 10 || (text.len() > 10 && time::parse(text).is_some());
    NaiveDate::parse_from_str(text.get(..10)?, "%Y-%m-%d").ok().filter(|_| ordinary)
}

pub fn gender(merge_fields: &Member, tag: &str) -> Value<&'static str> {
    let Some(text) = text(merge_fields, tag)? else { return Ok(None) };
    match text.to_lowercase().as_str() {
        "f" | "female" | "woman" => Ok(Some("f")),
        "m" | "male" | "man" => Ok(Some("m")),
        _ => Err("unknown_gender"),
    }
}

/// The name of a zone in the time zone database.
pub fn timezone(member: &Member) -> Value<&'static str> {
    let Some(text) = member.inner("location").text("timezone") else { return Ok(None) };
    let zone = chrono_tz::Tz::from_str_insensitive(text.trim()).map_err(|_| "unknown_timezone")?;
    Ok(Some(zone.name()))
}
