//! Reads the records of a page: their keys, times, statuses and deletion marks. Pure.

use std::borrow::Cow;

use chrono::{DateTime, Datelike, SubsecRound, Utc};
use serde_json::Value;

use crate::base::{
    json::{self, Json, Refusal},
    path::Path,
    record::{Record, nameless},
    text::is_blank,
    time,
    unreadable::{self, Repaired},
};

/// Status of a record without a status of its own.
const LISTED: &str = "listed";
/// Status of a record that the service reports as deleted.
const DELETED: &str = "deleted";
/// Texts, in lower case, that mark a record as deleted, and those that do not.
const DELETES: [&str; 7] = ["true", "t", "yes", "y", "on", "1", "deleted"];
const KEEPS: [&str; 5] = ["false", "f", "no", "n", "off"];
/// Upper bound of a status, in characters. A longer text is none, since records are counted by their status.
const STATUS: usize = 32;
/// Numbers from here on are milliseconds: as seconds, they would be in the year 5138, and as milliseconds, this is
/// the year 1973.
const MILLISECONDS: f64 = 1e11;

/// Places of a record's parts.
pub struct Fields {
    /// Paths of the key; several make one key together.
    pub key: Vec<Path>,
    /// Path of the time of the last change.
    pub changed: Option<Path>,
    /// Whether a record without this time can't be read.
    pub needs_time: bool,
    pub deleted: Option<Path>,
    pub status: Option<Path>,
    /// Field of a record that gets the values of the context.
    pub context_field: Option<String>,
}

impl Fields {
    /// Reads a record. `position` is its position on the page, from 1 on, for messages. `context` is the JSON object
    /// for [`Self::context_field`].
    pub fn record(&self, body: Json, position: usize, repaired: Option<&Repaired>, context: &str) -> Record {
        let value = body.value();
        let (key, changed, mark) = (self.key(value), self.changed(value), self.mark(value));
        let deleted = mark == Ok(true);
        let fault = repaired.and_then(|repaired| repaired.fault(body.get())).map(str::to_owned);
        let unreadable = fault
            .or_else(|| key.clone().err())
            .or_else(|| mark.err())
            // Nothing else reports a deletion again, and it can be sent without its time.
            .or_else(|| changed.clone().err().filter(|_| self.needs_time && !deleted))
            .or_else(|| self.taken(value).filter(|_| !deleted));
        let unreadable = unreadable.map(|why| format!("{why}; record {position} of the page"));
        let key = key.unwrap_or_else(|_| nameless(body.get()));
        let status = if deleted { DELETED.into() } else { self.status(value) };
        let (body, unreadable) = match &self.context_field {
            Some(field) if unreadable.is_none() && !deleted => match extended(&body, field, context) {
                Ok(extended) => (extended, None),
                Err(why) => (body, Some(format!("with `{field}`, {why}; record {position} of the page"))),
            },
            _ => (body, unreadable),
        };
        Record {
            key: key.into(),
            changed: changed.ok(),
            status,
            // The key of an unreadable record may be wrong.
            deleted: deleted && unreadable.is_none(),
            unreadable,
            body,
        }
    }

    /// Returns the key, or why there is none.
    fn key(&self, value: json::Value) -> Result<String, String> {
        if !value.is_object() {
            return Err(format!("the record is {}, not an object", unreadable::kind(value.raw())));
        }
        let text = |path: &Path| {
            let found = path.find(value).ok_or_else(|| format!("`{}` is missing", path.shown()))?;
            key_text(found).ok_or_else(|| format!("`{}` is {}", path.shown(), unreadable::kind(found.raw())))
        };
        match &self.key[..] {
            [path] => text(path),
            paths => {
                let texts: Vec<String> = paths.iter().map(text).collect::<Result<_, _>>()?;
                Ok(Value::from(texts).to_string())
            }
        }
    }

    /// Returns the time of the last change, or why there is none.
    fn changed(&self, value: json::Value) -> Result<DateTime<Utc>, String> {
        let path = self.changed.as_ref().ok_or_else(String::new)?;
        let found = path.find(value).ok_or_else(|| format!("`{}` is missing", path.shown()))?;
        let what = || match unreadable::kind(found.raw()) {
            kind @ ("a string" | "a number" | "a negative number") => format!("{kind}, not a time"),
            kind => kind.to_owned(),
        };
        moment(found).ok_or_else(|| format!("`{}` is {}", path.shown(), what()))
    }

    /// Returns whether the record has a deletion mark, or why that is unclear.
    fn mark(&self, value: json::Value) -> Result<bool, String> {
        let Some((path, found)) = self.deleted.as_ref().and_then(|path| Some((path, path.find(value)?)))
        else {
            return Ok(false);
        };
        deletes(found).ok_or_else(|| match unreadable::kind(found.raw()) {
            "a string" => {
                format!("`{}` is a string that is neither a deletion mark nor a time", path.shown())
            }
            kind => format!("`{}` is {kind}, not a deletion mark", path.shown()),
        })
    }

    fn status(&self, value: json::Value) -> Cow<'static, str> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        let word = |text: &str| !text.is_empty() && text.len() <= STATUS && text.chars().all(plain);
        let found = self.status.as_ref().and_then(|path| path.find(value)?.text());
        found.filter(|text| word(text)).map_or(LISTED.into(), |text| text.into_owned().into())
    }

    /// Returns why the record can't get the values of the context, if it can't.
    fn taken(&self, value: json::Value) -> Option<String> {
        let field = self.context_field.as_ref()?;
        value
            .field(field)
            .map(|_| format!("the record already has a field `{field}`; set another name in `context_field`"))
    }
}

/// Returns a key: a text that is not blank, or the digits of a number.
fn key_text(value: json::Value) -> Option<String> {
    let raw = value.raw();
    match raw.as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => Some(raw.to_owned()),
        _ => value.text().filter(|text| !is_blank(text)).map(Cow::into_owned),
    }
}

/// Reads a time: ISO 8601, RFC 2822, or Unix seconds or milliseconds.
fn moment(value: json::Value) -> Option<DateTime<Utc>> {
    let text = value.text();
    let text = text.as_deref().unwrap_or_else(|| value.raw()).trim();
    let rfc2822 = || DateTime::parse_from_rfc2822(text).ok().map(|time| time.to_utc());
    let time = unix(text).or_else(|| time::parse(text)).or_else(rfc2822);
    time.map(|time| time.trunc_subsecs(0))
}

fn unix(text: &str) -> Option<DateTime<Utc>> {
    // A smaller number is a year or a date.
    let number: f64 = text.parse().ok().filter(|number: &f64| *number >= 1e8)?;
    let seconds = if number >= MILLISECONDS { number / 1000.0 } else { number };
    DateTime::from_timestamp(seconds as i64, 0)
}

/// Returns whether a value marks a record as deleted; `None` if that is unclear, since a wrong guess deletes a live
/// record or keeps a deleted one.
fn deletes(value: json::Value) -> Option<bool> {
    if let Some(text) = value.text() {
        let word = text.trim().to_ascii_lowercase();
        return match is_blank(&text) || KEEPS.contains(&&*word) || is_zero(&word) {
            true => Some(false),
            false if DELETES.contains(&&*word) => Some(true),
            // The least times of .NET and of Unix stand for none.
            false => moment(value).map(|time| time.timestamp() != 0 && time.year() > 1),
        };
    }
    match value.raw() {
        "true" => Some(true),
        "false" | "null" => Some(false),
        _ if value.is_array() => value.items().next().is_none().then_some(false),
        _ if value.is_object() => value.fields().next().is_none().then_some(false),
        _ => value.parse::<f64>().map(|number| number != 0.0),
    }
}

/// Returns whether a text in lower case is a zero, or a date and time of zeros only.
fn is_zero(text: &str) -> bool {
    text.contains('0') && text.chars().all(|c| "0-/:. tz+".contains(c))
}

/// Returns the record with a further field; the rest of its text is unchanged.
///
/// # Errors
///
/// The record is too large or nests too deeply with that field.
fn extended(body: &Json, field: &str, value: &str) -> Result<Json, Refusal> {
    let open = body.get().strip_suffix('}').unwrap_or_default();
    let separator = if body.value().fields().next().is_some() { "," } else { "" };
    Json::read(format!("{open}{separator}{}:{value}}}", Value::from(field)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(key: &[&str]) -> Fields {
        let path = |path: &str| Path::new(path.to_owned());
        Fields {
            key: key.iter().map(|key| path(key)).collect(),
            changed: Some(path("at")),
            needs_time: true,
            deleted: Some(path("gone")),
            status: Some(path("state")),
            context_field: None,
        }
    }

    fn record(fields: &Fields, body: &str) -> Record {
        fields.record(Json::read(body.to_owned()).unwrap(), 3, None, "{\"me\":17}")
    }

    const AT: &str = "2026-11-21T12:00:05Z";

    #[test]
    fn a_key_is_a_text_or_the_digits_of_a_number_and_several_make_one() {
        for (key, body, expected) in [
            (&["id"][..], r#"{"id": 7}"#, Ok("7")),
            (&["id"], r#"{"id": 90071992547409931234}"#, Ok("90071992547409931234")),
            (&["id"], r#"{"id": "a\u00e9"}"#, Ok("aé")),
            (&["a.b"], r#"{"a": {"b": 7}}"#, Ok("7")),
            (&["a", "b"], r#"{"a": 7, "b": "x\"y"}"#, Ok(r#"["7","x\"y"]"#)),
            (&["id"], r#"{"id": null}"#, Err("`id` is null; record 3 of the page")),
            (&["id"], r#"{"id": " "}"#, Err("`id` is blank; record 3 of the page")),
            (&["id"], r#"{"id": true}"#, Err("`id` is a boolean; record 3 of the page")),
            (&["a", "b"], r#"{"a": 7}"#, Err("`b` is missing; record 3 of the page")),
            (&["id"], "[1]", Err("the record is an array, not an object; record 3 of the page")),
        ] {
            let body = body.replacen('{', &format!("{{\"at\": \"{AT}\", "), 1);
            let record = record(&fields(key), &body);
            match expected {
                Ok(key) => assert_eq!((record.key.as_str(), record.unreadable), (key, None), "{body}"),
                Err(why) => assert_eq!(record.unreadable.as_deref(), Some(why), "{body}"),
            }
            assert_eq!(record.body.get(), body, "the text is unchanged");
        }
    }

    #[test]
    fn a_time_is_read_in_each_common_form() {
        let at = time::parse(AT);
        for (text, expected) in [
            (r#""2026-11-21T12:00:05Z""#, at),
            (r#""2026-11-21T13:00:05.9+01:00""#, at),
            (r#""Sat, 21 Nov 2026 12:00:05 GMT""#, at),
            ("1795262405", at),
            ("1795262405.75", at),
            ("1795262405999", at),
            (r#""1795262405""#, at),
            (r#""1795262405000""#, at),
            (r#""2026-11-21""#, time::parse("2026-11-21")),
            ("2026", None),
            ("20261121", None),
            ("-1795262405", None),
            ("0", None),
            (r#""soon""#, None),
            ("true", None),
        ] {
            let found = record(&fields(&["id"]), &format!(r#"{{"id": 7, "at": {text}}}"#));
            assert_eq!(found.changed, expected, "{text}");
            assert_eq!(found.unreadable.is_none(), expected.is_some(), "{text}");
        }
        for (body, why) in [
            (r#"{"id": 7}"#, "`at` is missing; record 3 of the page"),
            (r#"{"id": 7, "at": null}"#, "`at` is null; record 3 of the page"),
            (r#"{"id": 7, "at": "soon"}"#, "`at` is a string, not a time; record 3 of the page"),
            (r#"{"id": 7, "at": 5}"#, "`at` is a number, not a time; record 3 of the page"),
        ] {
            assert_eq!(record(&fields(&["id"]), body).unreadable.as_deref(), Some(why));
            let optional = Fields { needs_time: false, ..fields(&["id"]) };
            assert_eq!(record(&optional, body).unreadable, None);
        }
    }

    #[test]
    fn only_a_clear_mark_deletes_a_record_and_an_unclear_one_rejects_it() {
        let yes = [
            "true",
            "1",
            "-1",
            "0.5",
            "1795262405",
            r#""2026-11-20T08:00:00Z""#,
            r#""2026-11-20 08:00:00""#,
            r#""2026-11-20""#,
            r#""Fri, 20 Nov 2026 08:00:00 GMT""#,
            r#""1795262405000""#,
            r#""yes""#,
            r#""TRUE""#,
            r#"" True ""#,
            r#""Y""#,
            r#""1""#,
            r#""Deleted""#,
            r#""t""#,
            r#""on""#,
        ];
        let no = [
            "false",
            "null",
            "0",
            "0.0",
            "-0",
            "[]",
            "{ }",
            "[ ]",
            r#""""#,
            r#"" ""#,
            r#""false""#,
            r#""False""#,
            r#""FALSE""#,
            r#""0""#,
            r#""0.0""#,
            r#""no""#,
            r#""N""#,
            r#""f""#,
            r#""Off""#,
            r#""0000-00-00 00:00:00""#,
            r#""0000-00-00""#,
            r#""0000-00-00T00:00:00.000Z""#,
            r#""0001-01-01T00:00:00""#,
            r#""1970-01-01T00:00:00+00:00""#,
        ];
        let unclear = [
            (
                r#""soon""#,
                "`gone` is a string that is neither a deletion mark nor a time; record 3 of the page",
            ),
            (
                r#""active""#,
                "`gone` is a string that is neither a deletion mark nor a time; record 3 of the page",
            ),
            (r#"{"by": "ada"}"#, "`gone` is an object, not a deletion mark; record 3 of the page"),
            ("[false]", "`gone` is an array, not a deletion mark; record 3 of the page"),
        ];
        let marked = |mark: &str| {
            let body = format!(r#"{{"id": 7, "at": "{AT}", "gone": {mark}, "state": "open"}}"#);
            record(&fields(&["id"]), &body)
        };
        for (marks, deleted, status) in [(&yes[..], true, DELETED), (&no[..], false, "open")] {
            for mark in marks {
                let found = marked(mark);
                assert_eq!(
                    (found.deleted, &*found.status, found.unreadable),
                    (deleted, status, None),
                    "{mark}"
                );
            }
        }
        for (mark, why) in unclear {
            let found = marked(mark);
            assert_eq!((found.deleted, found.unreadable.as_deref()), (false, Some(why)), "{mark}");
        }
        let nameless = record(&fields(&["id"]), &format!(r#"{{"at": "{AT}", "gone": true}}"#));
        assert!(!nameless.deleted && nameless.unreadable.is_some());
    }

    /// Nothing else reports the deletion again.
    #[test]
    fn a_deletion_needs_no_time() {
        for body in [r#"{"id": 7, "gone": true}"#, r#"{"id": 7, "gone": true, "at": null}"#] {
            let found = record(&fields(&["id"]), body);
            assert_eq!((found.deleted, found.changed, found.unreadable), (true, None, None), "{body}");
        }
    }

    #[test]
    fn records_are_counted_by_short_words_only() {
        for (state, expected) in [
            (r#""in-stock_2""#, "in-stock_2"),
            (r#""Ada Lovelace""#, LISTED),
            (r#""ada@example.org""#, LISTED),
            (r#""""#, LISTED),
            ("7", LISTED),
            (r#""abcdefghijklmnopqrstuvwxyzabcdefg""#, LISTED),
        ] {
            let body = format!(r#"{{"id": 7, "at": "{AT}", "state": {state}}}"#);
            assert_eq!(record(&fields(&["id"]), &body).status, expected, "{state}");
        }
    }

    #[test]
    fn the_context_is_a_further_field_and_replaces_none() {
        let with = |field: &str| Fields {
            context_field: Some(field.to_owned()),
            changed: None,
            needs_time: false,
            ..fields(&["id"])
        };
        for (field, body, expected) in [
            ("of", r#"{"id": 7, "n": 1.50 }"#, r#"{"id": 7, "n": 1.50 ,"of":{"me":17}}"#),
            ("o\"f", r#"{"id": 7}"#, r#"{"id": 7,"o\"f":{"me":17}}"#),
        ] {
            assert_eq!(record(&with(field), body).body.get(), expected);
        }
        let taken = record(&with("n"), r#"{"id": 7, "n": 1}"#);
        let why =
            "the record already has a field `n`; set another name in `context_field`; record 3 of the page";
        assert_eq!(taken.unreadable.as_deref(), Some(why));
    }
}
