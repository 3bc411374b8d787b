//! The parameter by which a service lists only changes. Pure.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use crate::base::time;

/// The setting `since`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Since {
    /// Name of the parameter.
    pub parameter: String,
    #[serde(default)]
    pub format: Format,
}

/// The form in which the service reads the time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Rfc3339,
    /// Unix seconds.
    Seconds,
    /// Unix milliseconds.
    Milliseconds,
    /// The day of the time, in UTC. The service lists the whole day once more.
    Date,
}

impl Since {
    /// Returns the value of the parameter for the changes after `time`.
    pub fn value(&self, time: DateTime<Utc>) -> Value {
        match self.format {
            Format::Rfc3339 => time::rfc3339(time).into(),
            Format::Seconds => time.timestamp().into(),
            Format::Milliseconds => time.timestamp_millis().into(),
            Format::Date => time.format("%Y-%m-%d").to_string().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_time_has_the_form_that_the_service_reads() {
        let time = time::parse("2026-11-21T12:00:05").unwrap();
        for (format, expected) in [
            ("rfc3339", json!("2026-11-21T12:00:05Z")),
            ("seconds", json!(1_795_262_405)),
            ("milliseconds", json!(1_795_262_405_000_u64)),
            ("date", json!("2026-11-21")),
        ] {
            let since: Since = serde_json::from_value(json!({"parameter": "s", "format": format})).unwrap();
            assert_eq!(since.value(time), expected, "{format}");
        }
    }
}
