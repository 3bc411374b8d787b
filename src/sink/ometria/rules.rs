//! Rules of Ometria for a contact, as far as they are documented. Checked before sending, because Ometria
//! validates contacts after its response, and names no record.
//!
//! <https://support.ometria.com/hc/en-gb/articles/360011617238-Push-API>,
//! <https://support.ometria.com/hc/en-gb/articles/360011284598-CSV-Upload>.

use std::borrow::Cow;

use serde_json::Map;

use crate::base::{country, json::Value, record::Reason, text::has_controls, time};

/// Upper bound of a record, in bytes: <https://docs.ometria.com/docs/ometria-data-api-introduction>.
const MAX_BYTES: usize = 60_000;
/// Upper bound (exclusive) of all properties together, in bytes of JSON:
/// <https://docs.ometria.com/docs/ometria-data-architecture>.
const MAX_PROPERTIES: usize = 1000;

/// Name of a field, the reason for a rejection if its value is invalid, and the check of the value.
type Rule = (&'static str, Reason, fn(Value) -> bool);

/// The known fields. The first ones are required, because Ometria could not identify a contact without them, or would
/// merge it into another one. The mapping `ometria_contact` writes its fields in this order, so that each is found at
/// once.
const RULES: [Rule; 20] = [
    ("@type", "invalid_type", |value| is(value, &["contact"])),
    ("@collection", "invalid_collection", is_text),
    ("@merge", "invalid_merge", |value| matches!(value.raw(), "true" | "false")),
    ("id", "invalid_id", is_text),
    ("email", "invalid_email", |value| {
        is_text(value)
            && value.text().is_some_and(|text| text.bytes().filter(|byte| *byte == b'@').count() == 1)
    }),
    ("customer_id", "invalid_customer_id", is_text),
    ("firstname", "invalid_firstname", is_text),
    ("lastname", "invalid_lastname", is_text),
    ("gender", "invalid_gender", |value| is(value, &["m", "f"])),
    ("date_of_birth", "invalid_date_of_birth", is_date),
    ("country_id", "invalid_country_id", is_country),
    ("phone_number", "invalid_phone_number", is_phone),
    ("timezone", "invalid_timezone", is_text),
    (OPTIN, "invalid_marketing_optin", |value| is(value, &[OPTED_IN, OPTED_OUT, "NOT_SPECIFIED"])),
    ("timestamp_acquired", "invalid_timestamp_acquired", is_time),
    ("timestamp_subscribed", "invalid_timestamp_subscribed", is_time),
    ("timestamp_unsubscribed", "invalid_timestamp_unsubscribed", is_time),
    ("properties", "invalid_properties", are_properties),
    ("prefix", "invalid_prefix", is_text),
    ("middlename", "invalid_middlename", is_text),
];
/// Number of the required ones.
const REQUIRED: usize = 5;
const NAMES: [&str; RULES.len()] = {
    let (mut names, mut at) = ([""; RULES.len()], 0);
    while at < names.len() {
        names[at] = RULES[at].0;
        at += 1;
    }
    names
};
const OPTIN: &str = "marketing_optin";
const OPTED_IN: &str = "EXPLICITLY_OPTEDIN";
const OPTED_OUT: &str = "EXPLICITLY_OPTEDOUT";

/// Result of examining a record's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Examined {
    /// Reason for which Ometria would refuse the record; `None` if Ometria would accept it.
    pub refusal: Option<Reason>,
    /// Whether the record withdraws a person's consent.
    pub opts_out: bool,
    /// Whether the record passes on a person's consent.
    pub opts_in: bool,
}

/// Examines a record.
pub fn examine(record: Value) -> Examined {
    let mut optin = None;
    let refusal = refusal(record, &mut optin);
    let says = |what| optin.is_some_and(|optin| is(optin, &[what]));
    let (opts_out, opts_in) = (says(OPTED_OUT), says(OPTED_IN));
    let refusal = match record.is_object() {
        _ if record.raw().len() > MAX_BYTES => Some("too_large"),
        false => Some("not_an_object"),
        true => refusal,
    };
    Examined { refusal, opts_out, opts_in }
}

/// Returns the reason for which Ometria would refuse these fields; of several, that of the field whose name comes
/// first. Every value of a name that occurs twice has to follow its rule. Unknown fields are refused too, above all
/// `@force_optin`. Sets `optin` to the field that says what the record does to a person's consent.
fn refusal<'a>(record: Value<'a>, optin: &mut Option<Value<'a>>) -> Option<Reason> {
    let mut broken: Option<(Cow<str>, Reason)> = None;
    let (mut found, mut next) = ([false; RULES.len()], 0);
    for (name, value) in record.fields() {
        let reason = match name.position(&NAMES, next) {
            None => "unknown_field",
            Some(at) => {
                let (field, reason, holds) = RULES[at];
                (found[at], next) = (true, at + 1);
                if field == OPTIN {
                    *optin = Some(value);
                }
                if holds(value) {
                    continue;
                }
                reason
            }
        };
        let name = name.text();
        if broken.as_ref().is_none_or(|(first, _)| name < *first) {
            broken = Some((name, reason));
        }
    }
    let missing = (0..REQUIRED).find(|at| !found[*at]).map(|at| RULES[at].1);
    broken.map(|(_, reason)| reason).or(missing)
}

fn is(value: Value, texts: &[&str]) -> bool {
    value.text().is_some_and(|text| texts.contains(&&*text))
}

fn is_text(value: Value) -> bool {
    value.filled().is_some_and(|text| !has_controls(&text))
}

fn is_time(value: Value) -> bool {
    value.text().is_some_and(|text| text.ends_with('Z') && time::parse(&text).is_some())
}

fn is_date(value: Value) -> bool {
    let date = |text: &str| chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok();
    value.text().is_some_and(|text| text.len() == 10 && date(&text))
}

fn is_country(value: Value) -> bool {
    value.text().is_some_and(|code| country::known(&code).is_some())
}

/// Whether a value is a phone number in E.164: up to 15 digits, beginning with a country code.
fn is_phone(value: Value) -> bool {
    let text = value.text().unwrap_or_default();
    let digits = text.strip_prefix('+').unwrap_or_default();
    (7..=15).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_digit()) && !digits.starts_with('0')
}

fn are_properties(value: Value) -> bool {
    let Some(properties) = value.parse::<Map<String, serde_json::Value>>() else { return false };
    let plain = |value: &serde_json::Value| value.is_string() || value.is_number() || value.is_boolean();
    let all_plain = !properties.is_empty() && properties.values().all(plain);
    all_plain && serde_json::Value::Object(properties).to_string().len() < MAX_PROPERTIES
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::base::json::Json;

    fn refusal_of(record: &str) -> Option<Reason> {
        examine(Json::read(record.to_owned()).unwrap().value()).refusal
    }

    fn refused(field: &str, value: Value) -> Option<Reason> {
        let mut record = json!({"@type": "contact", "@collection": "c", "@merge": true, "id": "1",
            "email": "ada@example.com"});
        match value {
            Value::Null => _ = record.as_object_mut().unwrap().remove(field),
            value => record[field] = value,
        }
        refusal_of(&record.to_string())
    }

    #[test]
    fn a_contact_that_follows_the_rules_is_not_refused() {
        for (field, value) in [
            ("email", json!("ada@example.com")),
            ("gender", json!("f")),
            ("date_of_birth", json!("1990-02-28")),
            ("country_id", json!("GB")),
            ("phone_number", json!("+442079460018")),
            ("phone_number", json!("+2908000")),
            ("timezone", json!("Europe/London")),
            ("marketing_optin", json!("NOT_SPECIFIED")),
            ("timestamp_acquired", json!("2026-06-09T15:12:24Z")),
            ("properties", json!({"a": "x", "b": 1.5, "c": false})),
        ] {
            assert_eq!(refused(field, value.clone()), None, "{field} {value}");
        }
    }

    #[test]
    fn a_contact_that_breaks_a_rule_is_refused_by_its_field() {
        for (field, value, reason) in [
            ("@type", json!("order"), "invalid_type"),
            ("@type", Value::Null, "invalid_type"),
            ("@collection", Value::Null, "invalid_collection"),
            ("@merge", json!("true"), "invalid_merge"),
            ("id", json!(7), "invalid_id"),
            ("id", Value::Null, "invalid_id"),
            ("email", json!("ada"), "invalid_email"),
            ("email", Value::Null, "invalid_email"),
            ("firstname", json!(""), "invalid_firstname"),
            ("lastname", json!(33), "invalid_lastname"),
            ("gender", json!("female"), "invalid_gender"),
            ("date_of_birth", json!("1990-02-30"), "invalid_date_of_birth"),
            ("date_of_birth", json!("28.02.1990"), "invalid_date_of_birth"),
            ("country_id", json!("gb"), "invalid_country_id"),
            ("country_id", json!("XX"), "invalid_country_id"),
            ("phone_number", json!("020 7946 0018"), "invalid_phone_number"),
            ("phone_number", json!("+0207946001"), "invalid_phone_number"),
            ("marketing_optin", json!("EXPLICITYLY_OPTEDOUT"), "invalid_marketing_optin"),
            ("marketing_optin", json!(true), "invalid_marketing_optin"),
            ("timestamp_acquired", json!("2026-06-09T15:12:24+02:00"), "invalid_timestamp_acquired"),
            ("timestamp_subscribed", json!("Z"), "invalid_timestamp_subscribed"),
            ("properties", json!({}), "invalid_properties"),
            ("properties", json!({"a": null}), "invalid_properties"),
            ("properties", json!({"a": ["x"]}), "invalid_properties"),
            ("@force_optin", json!(true), "unknown_field"),
            ("shoe_size", json!(38), "unknown_field"),
        ] {
            assert_eq!(refused(field, value.clone()), Some(reason), "{field} {value}");
        }
        assert_eq!(refusal_of("[]"), Some("not_an_object"));
    }

    #[test]
    fn properties_stay_under_a_thousand_and_a_record_within_60_000_bytes() {
        let properties = |size: usize| json!({"a": "x".repeat(size - r#"{"a":""}"#.len())});
        assert_eq!(refused("properties", properties(999)), None);
        assert_eq!(refused("properties", properties(1000)), Some("invalid_properties"));
        let empty = json!({"@type": "contact", "@collection": "c", "@merge": true, "id": "1",
            "email": "ada@example.com", "firstname": ""});
        let named = |size: usize| json!("x".repeat(size - empty.to_string().len()));
        assert_eq!(refused("firstname", named(60_000)), None);
        assert_eq!(refused("firstname", named(60_001)), Some("too_large"));
    }
}
