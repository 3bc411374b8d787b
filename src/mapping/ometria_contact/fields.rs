//! Values of a contact's fields. Each function returns `None` if the member's field is not set, and a reason
//! if it is set but can't be sent.

use std::borrow::Cow;

use chrono::{NaiveDate, Utc};

use super::{field::Field, phone};
use crate::base::{country, record::Reason, text::has_controls, time};

/// Value of a field, `None` if the field is not set, or why its value is left out.
pub type Value<T> = Result<Option<T>, Reason>;

/// Returns the first of these times that is set and valid.
pub fn first_time(fields: &[Field]) -> Value<String> {
    let texts = fields.iter().filter_map(|field| field.text());
    match texts.filter_map(|text| time::parse(&text)).next() {
        None if fields.iter().any(|field| field.is_filled()) => Err("not_a_time"),
        time => Ok(time.map(time::rfc3339)),
    }
}

/// Returns the text of a merge field, trimmed and without control characters.
pub fn text(field: Field<'_>) -> Value<Cow<'_, str>> {
    let Some(value) = field.filled() else { return Ok(None) };
    let text = match value.filled().ok_or("not_text")? {
        Cow::Borrowed(plain) if !has_controls(plain) => Cow::Borrowed(plain.trim()),
        text => {
            let text: String = text.chars().filter(|c| !c.is_control()).collect();
            Cow::Owned(text.trim().to_owned())
        }
    };
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Returns a name. An email address in place of a name is left out.
pub fn name(field: Field<'_>) -> Value<Cow<'_, str>> {
    match text(field)? {
        Some(name) if name.contains('@') => Err("is_an_address"),
        name => Ok(name),
    }
}

/// Returns the country of a contact: the text of the merge field or, if the field is an address, its country.
/// An address without other parts does not count, since its country is mostly the list's default. Otherwise
/// the country is the one where Mailchimp located the member.
pub fn country(field: Field, located: Field) -> Value<&'static str> {
    let mut parts = field.0.into_iter().flat_map(|address| address.fields());
    // If a name occurs twice, its last value counts.
    let lone = parts.all(|(name, _)| name.is("country") || !field.field(&name.text()).is_filled());
    let of_address = field.field("country");
    let stated = field.text().or(of_address.text().filter(|_| !lone));
    if let Some(code) = stated.as_deref().and_then(country_code) {
        return Ok(Some(code));
    }
    let located = located.text();
    match located.as_deref().and_then(country_code) {
        Some(code) => Ok(Some(code)),
        None if stated.is_some() || located.is_some() => Err("unknown_country"),
        None if of_address.is_filled() => Err("country_alone"),
        None if field.is_filled() && lone => Err("not_text"),
        None => Ok(None),
    }
}

/// Returns a known ISO 3166-1 alpha-2 code. Accepts `UK`, which many people write for `GB`.
fn country_code(text: &str) -> Option<&'static str> {
    let code = text.trim();
    let code = country::known(code).map_or_else(|| code.to_uppercase().into(), Cow::Borrowed);
    country::known(if code == "UK" { "GB" } else { &code })
}

/// Returns a phone number in E.164. `country` applies to numbers without a country code. A number with an
/// extension is left out, because it belongs to a company and not to one person.
pub fn phone(field: Field, country: Option<&str>) -> Value<String> {
    let Some(text) = text(field)? else { return Ok(None) };
    phone::parse(&text, country).map(Some)
}

/// Returns a date of birth from 1900 up to the member's last change. A later date is wrong: it was in the
/// future when it was entered.
pub fn birth_date(field: Field, changed: Option<chrono::DateTime<Utc>>) -> Value<String> {
    let Some(text) = text(field)? else { return Ok(None) };
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
pub fn gender(field: Field) -> Value<&'static str> {
    let Some(text) = text(field)? else { return Ok(None) };
    match text.to_lowercase().as_str() {
        "f" | "female" | "woman" => Ok(Some("f")),
        "m" | "male" | "man" => Ok(Some("m")),
        _ => Err("unknown_gender"),
    }
}

/// Returns the member's time zone, as the time zone database spells it.
pub fn timezone(field: Field) -> Value<&'static str> {
    let Some(text) = field.text() else { return Ok(None) };
    let zone = chrono_tz::Tz::from_str_insensitive(text.trim()).map_err(|_| "unknown_timezone")?;
    Ok(Some(zone.name()))
}
