//! What a response contains besides records: the server's time, the reason for an error, and the wait.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::header;
use serde::Deserialize;
use serde_json::Value;

use super::Response;
use crate::base::fault::Fault;

/// An error body: RFC 7807, or a plain `error`, `message` or `errors`. Accepts fields of unexpected types.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct ProblemDocument {
    title: Value,
    detail: Value,
    error: Value,
    message: Value,
    errors: Value,
    status: Value,
    response: Value,
    success: Value,
}

impl ProblemDocument {
    /// Reads a body. Returns `None` if it is not a JSON object.
    pub fn read(body: &[u8]) -> Option<Self> {
        let object = body.trim_ascii_start().starts_with(b"{");
        // A text in another encoding is better than none.
        object.then(|| serde_json::from_str(&String::from_utf8_lossy(body)).ok()).flatten()
    }

    /// Returns the service's own text. It may contain anything, including personal data.
    pub fn text(&self) -> Option<String> {
        match (words(&self.title), words(&self.detail)) {
            (Some(title), Some(detail)) => Some(format!("{title}: {detail}")),
            (title, detail) => {
                let plain = [&self.error, &self.message, &self.errors];
                title.or(detail).or_else(|| plain.into_iter().find_map(words)).map(str::to_owned)
            }
        }
    }

    /// Returns whether the body reports an error, whatever the status of the response is.
    pub fn reports_error(&self) -> bool {
        // The status of a problem (RFC 9457, section 3.1.2).
        let is_problem = self.status.as_u64().is_some_and(|status| (400..=599).contains(&status));
        is_problem || reports_error(&self.error, &self.errors, &self.success) || self.sign().is_some()
    }

    /// Describes the field that reports an error without a text, such as "`success` is false".
    pub fn sign(&self) -> Option<String> {
        let named = [("status", &self.status), ("response", &self.response)];
        let named = named.into_iter().find_map(|(name, value)| Some((name, error_word(value)?)));
        let failed = || is_false(&self.success).then_some(("success", "false"));
        named.or_else(failed).map(|(name, word)| format!("`{name}` is {word}"))
    }
}

/// Returns the text of a value: the string itself, the message of an object, or the first text in an array.
fn words(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text.as_str()).filter(|text| !text.trim().is_empty()),
        Value::Object(fields) => ["message", "detail", "error", "error_message", "title"]
            .into_iter()
            .find_map(|name| words(fields.get(name)?)),
        Value::Array(parts) => parts.iter().find_map(words),
        _ => None,
    }
}

/// Whether these fields of a response report an error. The HTTP status may be 200 all the same.
pub fn reports_error(error: &Value, errors: &Value, success: &Value) -> bool {
    is_set(error) || is_set(errors) || is_false(success)
}

/// Returns the word by which a field reports an error, such as "failed".
pub fn error_word(value: &Value) -> Option<&'static str> {
    let text = value.as_str()?.trim();
    ["error", "fail", "failed", "failure"].into_iter().find(|word| text.eq_ignore_ascii_case(word))
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(parts) => !parts.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

fn is_false(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.trim().eq_ignore_ascii_case("false"),
        _ => false,
    }
}

/// Returns the wait that a service asks for in its text only, such as "try again in 30 seconds".
pub fn seconds(text: &str) -> Option<Duration> {
    let words: Vec<&str> = text.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let number = words.windows(2).find(|pair| pair[1].to_ascii_lowercase().starts_with("sec"))?[0];
    number.parse().ok().map(Duration::from_secs)
}

/// Returns the wait of the `Retry-After` header, which contains seconds or a date (RFC 9110, section 10.2.3).
pub fn retry_after(response: &Response, now: DateTime<Utc>) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    // The date is by the service's clock, which may differ from ours.
    (date(value)? - server_time(response).unwrap_or(now)).to_std().ok()
}

/// Returns the server's time of a response: its `Date` header.
pub fn server_time(response: &Response) -> Option<DateTime<Utc>> {
    date(response.headers().get(header::DATE)?.to_str().ok()?)
}

/// Returns the time of a source's response, by the source's clock.
///
/// # Errors
///
/// [`Fault::List`]: the response has no readable `Date` header. A window that ended by our clock alone could
/// end before all of its changes are visible.
pub fn dated(response: &Response, service: &str, url_name: &str) -> Result<DateTime<Utc>, Fault> {
    server_time(response).ok_or_else(|| {
        let hint = format!("check `{url_name}`: a proxy may remove or change the header");
        Fault::list(format!("{service} sent a response without a readable `Date` header")).hint(hint)
    })
}

/// Reads the three forms of an HTTP date (RFC 9110, section 5.6.7), and dates of mail headers, whose offset
/// is a number such as `+0000`.
fn date(text: &str) -> Option<DateTime<Utc>> {
    let http = httpdate::parse_http_date(text.trim()).ok().map(DateTime::<Utc>::from);
    http.or_else(|| DateTime::parse_from_rfc2822(text).ok().map(|time| time.to_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_body_is_read_leniently() {
        let text = |body: &[u8]| ProblemDocument::read(body).map(|problem| problem.text());
        for (body, expected) in [
            (&br#"{"title": "A", "detail": "b"}"#[..], Some(Some("A: b"))),
            (br#"{"title": 7, "detail": "b", "status": 500}"#, Some(Some("b"))),
            (br#"{"error": true, "message": "m"}"#, Some(Some("m"))),
            (br#"{"error": {"code": 1, "message": "m"}}"#, Some(Some("m"))),
            (br#"{"errors": [{"field": "f"}, {"message": "m"}]}"#, Some(Some("m"))),
            (b"{\"error\": \"caf\xe9\"}", Some(Some("caf\u{fffd}"))),
            (b" {}", Some(None)),
            (b"[]", None),
            (b"<html>", None),
            (b"", None),
        ] {
            assert_eq!(text(body), expected.map(|text| text.map(str::to_owned)), "{body:?}");
        }
    }

    #[test]
    fn a_wait_is_read_from_the_text_of_an_error() {
        for (text, expected) in [
            ("Too many requests, try again in 30 seconds.", Some(30)),
            ("Limit of 100 reached; wait 1 second", Some(1)),
            ("Retry after 5 sec", Some(5)),
            ("at most 100 requests a minute", None),
            ("soon seconds", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), expected.map(Duration::from_secs), "{text}");
        }
    }
}
