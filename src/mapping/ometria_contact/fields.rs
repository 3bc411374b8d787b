//! Values of a contact's fields. Each function returns `None` if the member's field is not set, and a reason
//! if it is set but can't be sent.

use std::borrow::Cow;

use chrono::{NaiveDate, Utc};

use super::{member::Member, phone};
use crate::base::{record::Reason, text::has_controls, time};

/// Value of a field, `None` if the field is not set, or why its value is left out.
pub type Value<T> = Result<Option<T>, Reason>;

/// Returns the first of these times that is set and valid.
pub fn first_time(member: &Member, names: &[&str]) -> Value<String> {
    let texts = names.iter().filter_map(|name| member.text(name));
    match texts.filter_map(|text| time::parse(&text)).next() {
        None if names.iter().any(|name| member.is_filled(name)) => Err("not_a_time"),
        time => Ok(time.map(time::rfc3339)),
    }
}

/// Returns the text of a merge field, trimmed and without control characters.
pub fn text<'a>(merge_fields: &Member<'a>, tag: &str) -> Value<Cow<'a, str>> {
    if !merge_fields.is_filled(tag) {
        return Ok(None);
    }
    let text = match merge_fields.text(tag).ok_or("not_text")? {
        Cow::Borrowed(plain) if !has_controls(plain) => Cow::Borrowed(plain.trim()),
        text => {
            let text: String = text.chars().filter(|c| !c.is_control()).collect();
            Cow::Owned(text.trim().to_owned())
        }
    };
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Returns a name. An email address in place of a name is left out.
pub fn name<'a>(merge_fields: &Member<'a>, tag: &str) -> Value<Cow<'a, str>> {
    match text(merge_fields, tag)? {
        Some(name) if name.contains('@') => Err("is_an_address"),
        name => Ok(name),
    }
}

/// Returns the country of a contact: the text of the merge field or, if the field is an address, its country.
/// An address without other parts does not count, since its country is mostly the list's default. Otherwise
/// the country is the one where Mailchimp located the member.
pub fn country(location: &Member, merge_fields: &Member, tag: &str) -> Value<&'static str> {
    let address = merge_fields.inner(tag);
    let lone = address.filled().all(|part| part == "country");
    let stated = merge_fields.text(tag).or(address.text("country").filter(|_| !lone));
    if let Some(code) = stated.as_deref().and_then(country_code) {
        return Ok(Some(code));
    }
    let located = location.text("country_code");
    match located.as_deref().and_then(country_code) {
        Some(code) => Ok(Some(code)),
        None if stated.is_some() || located.is_some() => Err("unknown_country"),
        None if address.is_filled("country") => Err("country_alone"),
        None if merge_fields.is_filled(tag) && lone => Err("not_text"),
        None => Ok(None),
    }
}

/// Returns a known ISO 3166-1 alpha-2 code. Accepts `UK`, which many people write for `GB`.
fn country_code(text: &str) -> Option<&'static str> {
    let code = text.trim().to_uppercase();
    let code = if code == "UK" { "GB" } else { &code };
    rust_iso3166::from_alpha2(code).map(|country| country.alpha2)
}

/// Returns a phone number in E.164. `country` applies to numbers without a country code. A number with an
/// extension is left out, because it belongs to a company and not to one person.
pub fn phone(merge_fields: &Member, tag: &str, country: Option<&str>) -> Value<String> {
    let Some(text) = text(merge_fields, tag)? else { return Ok(None) };
    phone::parse(&text, country).map(Some)
}

/// Returns a date of birth from 1900 up to the member's last change. A later date is wrong: it was in the
/// future when it was entered.
pub fn birth_date(merge_fields: &Member, tag: &str, changed: Option<chrono::DateTime<Utc>>) -> Value<String> {
    let Some(text) = text(merge_fields, tag)? else { return Ok(None) };
    let date = date(&text).ok_or("not_a_date")?;
    let first = NaiveDate::from_ymd_opt(1900, 1, 1);
    let possible =
        first.is_none_or(|first| date >= first) && changed.is_none_or(|changed| date <= changed.date_naive());
    if possible { Ok(Some(date.to_string())) } else { Err("not_a_birth_date") }
}

/// Reads a date such as `2026-05-15`, with or without a time after it.
pub fn date(text: &str) -> Option<NaiveDate> {
    let ordinary = text.len() == 10 || (text.len() > 10 && time::parse(text).is_some());
    NaiveDate::parse_from_str(text.get(..10)?, "%Y-%m-%d").ok().filter(|_| ordinary)
}

/// Returns `f` or `m`.
pub fn gender(merge_fields: &Member, tag: &str) -> Value<&'static str> {
    let Some(text) = text(merge_fields, tag)? else { return Ok(None) };
    match text.to_lowercase().as_str() {
        "f" | "female" | "woman" => Ok(Some("f")),
        "m" | "male" | "man" => Ok(Some("m")),
        _ => Err("unknown_gender"),
    }
}

/// Returns the member's time zone, as the time zone database spells it.
pub fn timezone(location: &Member) -> Value<&'static str> {
    let Some(text) = location.text("timezone") else { return Ok(None) };
    let zone = chrono_tz::Tz::from_str_insensitive(text.trim()).map_err(|_| "unknown_timezone")?;
    Ok(Some(zone.name()))
}
