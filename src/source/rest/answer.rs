//! Reads the responses: finds the array of records, and names what is wrong with a response that has none.

use serde_json::Value;

use super::{records::Fields, rows::Rows};
use crate::{
    base::{
        fault::Fault,
        json::{self, Json},
        path::Path,
        record::Record,
        unreadable::{self, Repaired, kind},
    },
    net::{Response, answer::reports_error},
};

/// Reads the response of a listing. `service` is the name of the service in messages.
///
/// # Errors
///
/// [`Fault::Retryable`]: the response is not JSON, or reports an error although its status is good.
pub fn listing(response: &Response, service: &str) -> Result<(Json, Option<Repaired>), Fault> {
    let (answer, repaired) = json(response, service).map_err(|fault| match is_empty(response) {
        true => fault.hint("if that means that there are no records, add its status to `empty`"),
        false => fault,
    })?;
    match reported(&answer, service) {
        Some(fault) => Err(fault),
        None => Ok((answer, repaired)),
    }
}

fn is_empty(response: &Response) -> bool {
    response.body().trim_ascii().is_empty()
}

/// Reads a response as JSON.
///
/// # Errors
///
/// [`Fault::Retryable`]: the response is not JSON.
pub fn json(response: &Response, service: &str) -> Result<(Json, Option<Repaired>), Fault> {
    let body = response.body().trim_ascii();
    match body.first() {
        None => return Err(Fault::retry(format!("{service}'s response has no content"))),
        Some(b'<') => {
            return Err(Fault::retry(format!("{service}'s response is HTML or XML, not JSON"))
                .hint("check the address; the response may come from a proxy, or be a login page"));
        }
        Some(_) => {}
    }
    unreadable::json(body)
        .map_err(|why| Fault::retry(format!("{service}'s response can't be read")).because(why))
}

/// Returns the fault of a response that reports an error.
pub fn reported(answer: &Json, service: &str) -> Option<Fault> {
    let [error, errors, success] = answer
        .value()
        .pick(&["error", "errors", "success"])
        .map(|value| value.and_then(json::Value::parse::<Value>).unwrap_or_default());
    reports_error(&error, &errors, &success)
        .then(|| Fault::retry(format!("{service}'s response reports an error")))
}

/// Reads the records of a response.
///
/// # Errors
///
/// As those of [`Rows::find`].
pub fn records(
    (answer, repaired): (&Json, Option<&Repaired>),
    rows: &Rows,
    fields: &Fields,
    context: &str,
    service: &str,
) -> Result<Vec<Record>, Fault> {
    let items = rows.find(answer, service)?.into_iter().enumerate();
    Ok(items.map(|(index, body)| fields.record(body, index + 1, repaired, context)).collect())
}

/// Returns the total at `path`.
///
/// # Errors
///
/// [`Fault::Retryable`]: there is no whole number at the path.
pub fn total(answer: &Json, path: &Path, service: &str) -> Result<u64, Fault> {
    let found = path.find(answer.value());
    let number =
        found.and_then(|value| value.text().map_or_else(|| value.parse(), |text| text.trim().parse().ok()));
    number.ok_or_else(|| {
        let what = found.map_or("nothing", |value| kind(value.raw()));
        Fault::retry(format!(
            "{service}'s response has {what} at `{}`, not a number of records",
            path.shown()
        ))
        .hint("if this persists, check `total`")
    })
}

/// Returns the cursor or the address at `path`; `None` for null, an empty text, false, or nothing.
///
/// # Errors
///
/// [`Fault::Retryable`]: the value is of another kind.
pub fn next(answer: &Json, path: &Path, service: &str) -> Result<Option<Value>, Fault> {
    let Some(found) = path.find(answer.value()) else { return Ok(None) };
    match found.parse::<Value>() {
        Some(Value::Null | Value::Bool(false)) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.trim().is_empty()).map(Value::from)),
        // As a text it keeps its digits; it is sent as a text in a query anyway.
        Some(Value::Number(number)) if number.is_f64() => Ok(Some(found.raw().into())),
        Some(number @ Value::Number(_)) => Ok(Some(number)),
        _ => {
            let (path, kind) = (path.shown(), kind(found.raw()));
            Err(Fault::retry(format!(
                "{service}'s response has {kind} at `{path}`, not a cursor or an address"
            ))
            .hint("if this persists, check `paging.next`"))
        }
    }
}
