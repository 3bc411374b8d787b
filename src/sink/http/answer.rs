//! Judges an accepted answer: which records of the batch it confirms, and whether it can be believed. Pure.

use std::fmt;

use http::StatusCode;
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

use super::super::{Delivery, Rejection};
use crate::{
    base::{fault::Fault, path::Path},
    net::{
        Response,
        answer::{self, ProblemDocument},
        classify::{Rules, Verdict},
    },
};

/// An outcome of a record, as a word: a text in lowercase, true, false, or null for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word(Value);

impl Word {
    pub fn text(text: &str) -> Self {
        Word(text.trim().to_lowercase().into())
    }

    pub fn flag(flag: bool) -> Self {
        Word(flag.into())
    }

    /// Returns the outcome that a value states, or `None` if it is no word.
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Word::text(text)),
            Value::Bool(_) | Value::Null => Some(Word(value.clone())),
            _ => None,
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let why = || format!("invalid outcome {value}; use a text, true, false or null");
        Word::of(&value).ok_or_else(|| D::Error::custom(why()))
    }
}

/// Places in an answer that report the outcome of each record.
pub struct Results {
    /// Path of the array in the answer.
    pub path: Path,
    /// Path of the outcome in an item.
    pub status: Path,
    pub accepted: Vec<Word>,
    pub retry: Vec<Word>,
    /// Path of the reason in an item.
    pub reason: Option<Path>,
}

/// Outcome of one record.
enum Outcome {
    Accepted,
    Rejected,
    Retry,
}

/// Content that an accepted answer has to have.
pub struct Expected {
    pub results: Option<Results>,
    /// Path of the number of records.
    pub count: Option<Path>,
    /// Whether the entry accepts the status 207 by its own list.
    pub multi_status: bool,
    /// Rules for an outcome that is a number.
    pub rules: Rules,
}

impl Expected {
    /// Reads the outcome of a batch of `sent` records. `host` names the receiver in messages, and `redact`
    /// removes keys and personal data from its texts.
    ///
    /// # Errors
    ///
    /// * [`Fault::Retryable`]: the answer does not confirm the batch, or contradicts itself.
    /// * [`Fault::List`]: the answer has an outcome for each record, and the entry does not say where.
    pub fn read(
        &self,
        response: &Response,
        sent: usize,
        host: &str,
        redact: impl Fn(&str) -> String,
    ) -> Result<Delivery, Fault> {
        let status = response.status();
        // Multi-status: <https://www.rfc-editor.org/rfc/rfc4918#section-11.1>.
        if status == StatusCode::MULTI_STATUS && self.results.is_none() && !self.multi_status {
            let what =
                format!("{host} returned 207 multi-status, which may report records that were not stored");
            let hint = "set `results`, or list 207 in `accept`";
            return Err(Fault::list(what).hint(hint).status(status.as_u16()));
        }
        let answer = parsed(response.body(), host)?;
        let delivery = match &self.results {
            Some(results) => self.outcomes(results, &answer, (sent, host), &redact)?,
            None => Delivery::default(),
        };
        // An error that an item explains is no contradiction.
        let whole = delivery.rejected.is_empty() && delivery.retry.is_empty();
        let error = whole.then(|| error_in(&answer, self.results.is_none())).flatten();
        if let Some(error) = error {
            let fault = Fault::retry(format!("{host} accepted the request and reports an error"));
            return Err(match explanation(error, redact) {
                Some(text) => fault.because(text),
                None => fault,
            });
        }
        // A receiver may count the records that it got, or those that it stored.
        let stored = sent - delivery.rejected.len() - delivery.retry.len();
        let confirms =
            |count: u64| [sent, stored].into_iter().any(|records| u64::try_from(records) == Ok(count));
        match &self.count {
            Some(count) if !count.get(&answer).as_u64().is_some_and(confirms) => {
                let what = format!(
                    "{host}'s response does not confirm {} at `{}`",
                    counted(sent, "record"),
                    count.shown()
                );
                Err(Fault::retry(what).hint("if this persists, check `count`"))
            }
            _ => Ok(delivery),
        }
    }

    fn outcomes(
        &self,
        results: &Results,
        answer: &Value,
        (sent, host): (usize, &str),
        redact: impl Fn(&str) -> String,
    ) -> Result<Delivery, Fault> {
        let path = results.path.shown();
        let unsure = |what: String| Fault::retry(what).hint("if this persists, check `results`");
        let items = results.path.get(answer).as_array();
        let items = items.ok_or_else(|| unsure(format!("{host}'s response has no array at `{path}`")))?;
        if items.len() != sent {
            let (found, sent) = (items.len(), counted(sent, "record"));
            return Err(unsure(format!("{host}'s response has {found} items at `{path}` for {sent}")));
        }
        let mut delivery = Delivery::default();
        for (position, item) in items.iter().enumerate() {
            let status = results.status.get(item);
            if !results.is_outcome(status) {
                let status = results.status.shown();
                return Err(unsure(format!(
                    "{host}'s response has an item without an outcome at `{status}`"
                )));
            }
            match self.outcome(results, status) {
                Outcome::Accepted => {}
                Outcome::Retry => delivery.retry.push(position),
                Outcome::Rejected => {
                    let detail = Some(results.detail(item, host, &redact));
                    delivery.rejected.push((position, Rejection { detail, ..Rejection::new("refused") }));
                }
            }
        }
        Ok(delivery)
    }

    /// Judges the outcome in an item: a number like the status of an answer, a word by the lists of the entry.
    fn outcome(&self, results: &Results, status: &Value) -> Outcome {
        if let Some(word) = Word::of(status) {
            return match () {
                () if results.accepted.contains(&word) => Outcome::Accepted,
                () if results.retry.contains(&word) => Outcome::Retry,
                () => Outcome::Rejected,
            };
        }
        let status = status.as_u64().and_then(|status| u16::try_from(status).ok());
        // An item is the service's own answer, not the page of a proxy.
        match status.map(|status| self.rules.verdict(status, || true)) {
            Some(Verdict::Accepted) => Outcome::Accepted,
            Some(Verdict::Temporary | Verdict::TooSlow | Verdict::Overloaded | Verdict::Throttled) => {
                Outcome::Retry
            }
            _ => Outcome::Rejected,
        }
    }
}

impl Results {
    /// Returns whether a value can be an outcome. A missing value is an outcome only if `accepted` or `retry`
    /// contains null. Otherwise an entry with a wrong `status` path would reject every record.
    fn is_outcome(&self, status: &Value) -> bool {
        match Word::of(status) {
            Some(word) if status.is_null() => self.accepted.contains(&word) || self.retry.contains(&word),
            Some(_) => true,
            None => status.is_number(),
        }
    }

    /// Describes a rejection, such as "host rejected the record: 422 unprocessable entity: no such field".
    fn detail(&self, item: &Value, host: &str, redact: impl Fn(&str) -> String) -> String {
        let code = self.status.get(item).as_u64().and_then(|code| u16::try_from(code).ok());
        let code = code.and_then(|code| StatusCode::from_u16(code).ok()).map(|code| {
            let reason = code.canonical_reason().unwrap_or_default().to_lowercase();
            format!("{} {reason}", code.as_u16()).trim_end().to_owned()
        });
        let word = self.status.get(item).as_str().map(&redact);
        let reason = self.reason.as_ref().and_then(|reason| reason.get(item).as_str()).map(&redact);
        let parts = [code.or(word), reason].into_iter().flatten().filter(|part| !part.is_empty());
        [format!("{host} rejected the record")].into_iter().chain(parts).collect::<Vec<_>>().join(": ")
    }
}

/// Reads a body: JSON, nothing, or a plain text such as "ok".
///
/// # Errors
///
/// [`Fault::Retryable`]: the body is broken JSON, or a page, which a proxy may have sent in place of the receiver.
fn parsed(body: &[u8], host: &str) -> Result<Value, Fault> {
    let body = body.trim_ascii();
    match (serde_json::from_slice(body), body.first()) {
        (Ok(value), _) => Ok(value),
        (_, None) => Ok(Value::Null),
        // The error's own text may quote a value.
        (Err(error), Some(b'{' | b'[')) => Err(Fault::retry(format!("{host}'s response can't be read"))
            .because(format!("unexpected JSON at line {} column {}", error.line(), error.column()))),
        (_, Some(b'<')) => Err(Fault::retry(format!("{host}'s response is a page, not an answer"))),
        _ => Ok(String::from_utf8_lossy(body).into()),
    }
}

/// Returns the part of a body that reports an error, although its status is good: the body, or, if `items` may
/// report errors, one of its items.
fn error_in(body: &Value, items: bool) -> Option<&Value> {
    match body {
        Value::Array(parts) if items => parts.iter().find_map(|part| error_in(part, items)),
        _ => reports_error(body).then_some(body),
    }
}

/// Returns whether an object or a plain text reports an error.
fn reports_error(body: &Value) -> bool {
    let [error, errors, success] = ["error", "errors", "success"].map(|name| &body[name]);
    answer::reports_error(error, errors, success)
        || [&first_word(body), &body["status"], &body["response"]]
            .into_iter()
            .any(|word| answer::error_word(word).is_some())
        || body["status"].as_u64().is_some_and(|status| status >= 400)
}

/// Returns the first word of a text, such as "Error" of "Error: quota exceeded"; null for any other value.
fn first_word(body: &Value) -> Value {
    let mut words = body.as_str().unwrap_or_default().split(|c: char| !c.is_alphanumeric());
    words.find(|word| !word.is_empty()).into()
}

/// Describes an error that an answer reports: by its text, or by the field that reports it.
fn explanation(error: &Value, redact: impl Fn(&str) -> String) -> Option<String> {
    if let Some(text) = error.as_str() {
        return answer::error_word(error).is_none().then(|| redact(text));
    }
    let problem = ProblemDocument::read(error.to_string().as_bytes())?;
    problem.text().map(|text| redact(&text)).or_else(|| problem.sign())
}

/// Formats a number of things, such as records.
pub fn counted(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}
