//! Rules of Ometria for a contact, as far as they are documented. Checked before sending, because Ometria
//! validates contacts after its response, and names no record.
//!
//! <https://support.ometria.com/hc/en-gb/articles/360011617238-Push-API>,
//! <https://support.ometria.com/hc/en-gb/articles/360011284598-CSV-Upload>.

use serde_json::{Map, Value};

use crate::base::{record::Reason, time};

/// Upper bound of a record, in bytes: <https://docs.ometria.com/docs/ometria-data-api-introduction>.
const MAX_BYTES: usize = 60_000;
/// Upper bound (exclusive) of all properties together, in bytes of JSON:
/// <https://docs.ometria.com/docs/ometria-data-architecture>.
const MAX_PROPERTIES: usize = 1000;

/// A field, the reason for rejecting a record that breaks its rule, and the rule.
type Rule = (&'static str, Reason, fn(&Value) -> bool);

const RULES: [Rule; 20] = [
    ("@type", "invalid_type", |value| value == "contact"),
    ("@collection", "invalid_collection", is_text),
    ("@merge", "invalid_merge", Value::is_boolean),
    ("id", "invalid_id", is_text),
    ("email", "invalid_email", |value| is_text(value) && count(value, '@') == 1),
    ("customer_id", "invalid_customer_id", is_text),
    ("prefix", "invalid_prefix", is_text),
    ("firstname", "invalid_firstname", is_text),
    ("middlename", "invalid_middlename", is_text),
    ("lastname", "invalid_lastname", is_text),
    ("gender", "invalid_gender", |value| value == "m" || value == "f"),
    ("date_of_birth", "invalid_date_of_birth", is_date),
    ("country_id", "invalid_country_id", is_country),
    ("phone_number", "invalid_phone_number", is_phone),
    ("timezone", "invalid_timezone", is_text),
    ("marketing_optin", "invalid_marketing_optin", is_optin),
    ("timestamp_acquired", "invalid_timestamp_acquired", is_time),
    ("timestamp_subscribed", "invalid_timestamp_subscribed", is_time),
    ("timestamp_unsubscribed", "invalid_timestamp_unsubscribed", is_time),
    ("properties", "invalid_properties", are_properties),
];
/// Required fields. Without them Ometria could not identify the contact, or would merge it into another one.
const REQUIRED: [&str; 5] = ["@type", "@collection", "@merge", "id", "email"];

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
pub fn examine(record: &str) -> Examined {
    let fields: Option<Map<String, Value>> = serde_json::from_str(record).ok();
    let says = |optin: &str| {
        let said = fields.as_ref().and_then(|fields| fields.get("marketing_optin"));
        said.is_some_and(|said| said == optin)
    };
    let refusal = match &fields {
        _ if record.len() > MAX_BYTES => Some("too_large"),
        None => Some("not_an_object"),
        Some(fields) => refusal(fields),
    };
    Examined { refusal, opts_out: says("EXPLICITLY_OPTEDOUT"), opts_in: says("EXPLICITLY_OPTEDIN") }
}

/// Returns the reason for which Ometria would refuse these fields. Unknown fields are refused too, above all `@force_optin`.
fn refusal(fields: &Map<String, Value>) -> Option<Reason> {
    for (name, value) in fields {
        match RULES.iter().find(|(known, ..)| known == name) {
            None => return Some("unknown_field"),
            Some((_, reason, holds)) if !holds(value) => return Some(reason),
            Some(_) => {}
        }
    }
    let missing = RULES.iter().find(|(name, ..)| REQUIRED.contains(name) && !fields.contains_key(*name));
    missing.map(|(_, reason, _)| *reason)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn count(value: &Value, c: char) -> usize {
    text(value).matches(c).count()
}

fn is_text(value: &Value) -> bool {
    !text(value).trim().is_empty() && !text(value).contains(char::is_control)
}

fn is_time(value: &Value) -> bool {
    text(value).ends_with('Z') && time::parse(text(value)).is_some()
}

fn is_date(value: &Value) -> bool {
    text(value).len() == 10 && chrono::NaiveDate::parse_from_str(text(value), "%Y-%m-%d").is_ok()
}

fn is_country(value: &Value) -> bool {
    rust_iso3166::from_alpha2(text(value)).is_some_and(|country| country.alpha2 == text(value))
}

/// Whether a value is a phone number in E.164: up to 15 digits, beginning with a country code.
fn is_phone(value: &Value) -> bool {
    let digits = text(value).strip_prefix('+').unwrap_or_default();
    (7..=15).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_digit()) && !digits.starts_with('0')
}

fn is_optin(value: &Value) -> bool {
    matches!(text(value), "EXPLICITLY_OPTEDIN" | "EXPLICITLY_OPTEDOUT" | "NOT_SPECIFIED")
}

fn are_properties(value: &Value) -> bool {
    let plain = |value: &Value| value.is_string() || value.is_number() || value.is_boolean();
    let all_plain = value.as_object().is_some_and(|all| !all.is_empty() && all.values().all(plain));
    all_plain && value.to_string().len() < MAX_PROPERTIES
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(field: &str, value: Value) -> Option<Reason> {
        let mut record = json!({"@type": "contact", "@collection": "c", "@merge": true, "id": "1",
            "email": "ada@example.com"});
        match value {
            Value::Null => _ = record.as_object_mut().unwrap().remove(field),
            value => record[field] = value,
        }
        examine(&record.to_string()).refusal
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
        assert_eq!(examine("[]").refusal, Some("not_an_object"));
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
