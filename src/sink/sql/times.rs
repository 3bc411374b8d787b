//! Texts of times, as columns take them. Pure.

use chrono::{DateTime, NaiveDate, NaiveDateTime};

/// Whether a text of a time says in which time zone it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    Named,
    Absent,
}

/// Forms of a date with a time, besides those of RFC 3339.
const FORMS: [&str; 4] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];

/// Reads a date, with or without a time, and says whether it has a time zone; `None` if the text is no such time.
pub fn zone(text: &str) -> Option<Zone> {
    if DateTime::parse_from_rfc3339(text).is_ok() {
        return Some(Zone::Named);
    }
    // `2026-11-28 10:00:00+0000`, and with a space before the zone.
    let zoned = |form: &str| {
        ["%#z", " %#z"].iter().any(|zone| DateTime::parse_from_str(text, &format!("{form}{zone}")).is_ok())
    };
    if FORMS.iter().any(|form| zoned(form)) {
        return Some(Zone::Named);
    }
    let plain = FORMS.iter().any(|form| NaiveDateTime::parse_from_str(text, form).is_ok());
    (plain || is_date(text)).then_some(Zone::Absent)
}

/// Returns whether a text is a date, such as 2026-11-28.
pub fn is_date(text: &str) -> bool {
    text.len() >= 10 && NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_with_or_without_its_zone() {
        for (text, expected) in [
            ("2026-11-28T10:00:00Z", Some(Zone::Named)),
            ("2026-11-28T10:00:00.5+02:00", Some(Zone::Named)),
            ("2026-11-28 10:00:00+0200", Some(Zone::Named)),
            ("2026-11-28 10:00:00 +02", Some(Zone::Named)),
            ("2026-11-28T10:00Z", Some(Zone::Named)),
            ("2026-11-28T10:00:00", Some(Zone::Absent)),
            ("2026-11-28 10:00", Some(Zone::Absent)),
            ("2026-11-28", Some(Zone::Absent)),
            ("2026-13-28", None),
            ("28.11.2026", None),
            ("yesterday", None),
            ("infinity", None),
            ("", None),
        ] {
            assert_eq!(zone(text), expected, "{text}");
        }
    }
}
