//! The types to which the mapping `fields` converts values. Pure.

use chrono::DateTime;
use serde::Deserialize;
use serde_json::{Number, Value};

use crate::base::{record::Reason, time};

/// Type to which a value is converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cast {
    Text,
    /// A number, or a text that contains one.
    Number,
    /// `true` or `false`. Accepts 1 and 0, and each of these as text.
    Flag,
    /// A time in ISO 8601, in UTC. Accepts ISO 8601, RFC 2822, and seconds since 1970.
    Time,
    /// The date of such a time, in the time zone that the value states.
    Date,
}

impl Cast {
    /// Converts a value.
    ///
    /// # Errors
    ///
    /// The reason why it can't be converted.
    pub fn apply(self, value: &Value) -> Result<Value, Reason> {
        match self {
            Cast::Text => text(value).map(Value::String).ok_or("not_a_text"),
            Cast::Number => number(value).map(Value::Number).ok_or("not_a_number"),
            Cast::Flag => flag(value).map(Value::Bool).ok_or("not_a_flag"),
            Cast::Time => {
                let time = instant(value).ok_or("not_a_time")?;
                Ok(time::rfc3339(time.to_utc()).into())
            }
            Cast::Date => {
                let time = instant(value).ok_or("not_a_date")?;
                Ok(time.format("%Y-%m-%d").to_string().into())
            }
        }
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Number(number) => Some(number.clone()),
        Value::String(text) => serde_json::from_str(text.trim()).ok(),
        _ => None,
    }
}

fn flag(value: &Value) -> Option<bool> {
    match text(value)?.trim().to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

fn instant(value: &Value) -> Option<DateTime<chrono::FixedOffset>> {
    match value {
        Value::Number(seconds) => {
            DateTime::from_timestamp(seconds.as_i64()?, 0).map(|time| time.fixed_offset())
        }
        Value::String(text) => DateTime::parse_from_rfc3339(text.trim())
            .or_else(|_| DateTime::parse_from_rfc2822(text.trim()))
            .ok()
            .or_else(|| time::parse(text).map(|time| time.fixed_offset())),
        _ => None,
    }
}
