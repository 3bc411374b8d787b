//! What an answer tells besides its records: the server's clock, why it is a refusal, and how long to wait.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::header;
use serde::Deserialize;

use super::Response;
use crate::base::fault::Fault;

/// An error body: RFC 7807, or a plain `error` or `message`.
#[derive(Deserialize)]
pub struct ProblemDocument {
    title: Option<String>,
    detail: Option<String>,
    error: Option<String>,
    message: Option<String>,
}

impl ProblemDocument {
    pub fn text(&self) -> Option<String> {
        match (&self.title, &self.detail) {
            (Some(title), Some(detail)) => Some(format!("{title}: {detail}")),
            (title, detail) => {
                title.as_ref().or(detail.as_ref()).or(self.error.as_ref()).or(self.message.as_ref()).cloned()
            }
        }
    }
}

/// Some services tell only in words for how long they want to be left alone: `try again in 30 seconds`.
pub fn seconds(text: &str) -> Option<Duration> {
    let words: Vec<&str> = text.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let number = words.windows(2).find(|pair| pair[1].to_ascii_lowercase().starts_with("sec"))?[0];
    number.parse().ok().map(Duration::from_secs)
}

/// `Retry-After`, in seconds or as a date (RFC 9110, section 10.2.3).
pub fn retry_after(response: &Response, now: DateTime<Utc>) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    // The date is of the clock that wrote it, which may not be ours.
    (date(value)? - server_time(response).unwrap_or(now)).to_std().ok()
}

/// The server's clock when it answered: the `Date` header.
pub fn server_time(response: &Response) -> Option<DateTime<Utc>> {
    date(response.headers().get(header::DATE)?.to_str().ok()?)
}

/// As [`server_time`], for a source: a window that ended by our clock alone could end where changes still come in.
pub fn dated(response: &Response, service: &str, url_name: &str) -> Result<DateTime<Utc>, Fault> {
    server_time(response).ok_or_else(|| {
        let hint = format!("check `{url_name}`: a proxy on the way may remove or change the header");
        Fault::list(format!("{service} answered without a readable `Date` header")).hint(hint)
    })
}

/// Reads the three forms of an HTTP date (RFC 9110, section 5.6.7), and what mail headers have, such as `+0000`.
fn date(text: &str) -> Option<DateTime<Utc>> {
    let http = httpdate::parse_http_date(text.trim()).ok().map(DateTime::<Utc>::from);
    http.or_else(|| DateTime::parse_from_rfc2822(text).ok().map(|time| time.to_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_may_tell_in_words_how_long_to_wait() {
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
