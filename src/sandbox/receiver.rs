//! Emulator of an endpoint that stores batches of JSON by key: `POST /hooks/…`, or `PUT`, or `PATCH`. The body is
//! an array of records, or one record. What its answers contain depends on the [`Reply`].

use std::collections::{BTreeMap, BTreeSet};

use http::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::answer;
use crate::net::{Request, Response};

/// The token that the receiver accepts.
pub const TOKEN: &str = "sandbox-receiver-token";
/// Upper bound of the records in a request.
const MAX_RECORDS: usize = 1000;

/// Content of the receiver's answer to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reply {
    /// Nothing, with status 204. A record that is refused or throttled refuses or throttles the batch.
    #[default]
    Empty,
    /// The number of stored records as `received`; otherwise like [`Reply::Empty`].
    Count,
    /// The outcome of each record in the array `results`.
    Each,
}

/// An endpoint and its records.
#[derive(Default)]
pub struct Receiver {
    records: BTreeMap<String, Value>,
    reply: Reply,
    /// Keys of records that are refused for good.
    refused: BTreeSet<String>,
    /// Number of times that the record of a key will still be throttled.
    throttled: BTreeMap<String, usize>,
    /// Number of records of a batch that are stored, from its start on; `None` stores all of them.
    capacity: Option<usize>,
    /// Number of answers that report one record too few.
    miscounts: usize,
}

/// Outcome of one record.
enum Outcome {
    Stored(&'static str),
    Refused,
    Throttled,
    /// Beyond the capacity.
    Busy,
}

impl Receiver {
    /// Returns the stored records, by key.
    pub fn records(&self) -> &BTreeMap<String, Value> {
        &self.records
    }

    /// Sets what the answers contain.
    pub fn reply(&mut self, reply: Reply) {
        self.reply = reply;
    }

    /// Starts or ends the refusal of records with this key.
    pub fn refuse(&mut self, key: &str, refuse: bool) {
        match refuse {
            true => self.refused.insert(key.to_owned()),
            false => self.refused.remove(key),
        };
    }

    /// Throttles the record of this key the next `times` times that it arrives.
    pub fn throttle(&mut self, key: &str, times: usize) {
        self.throttled.insert(key.to_owned(), times);
    }

    /// Stores at most `records` of each batch; `None` stores all of them.
    pub fn set_capacity(&mut self, records: Option<usize>) {
        self.capacity = records;
    }

    /// Stores the next `answers` batches, and reports one record too few.
    pub fn miscount(&mut self, answers: usize) {
        self.miscounts = answers;
    }

    /// Responds to a request.
    pub fn respond(&mut self, request: &Request) -> Response {
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        if header(header::AUTHORIZATION) != Some(&format!("Bearer {TOKEN}")) {
            return refused(401, "unknown token");
        }
        if ![Method::POST, Method::PUT, Method::PATCH].contains(request.method()) {
            return refused(405, "method not allowed");
        }
        if header(header::CONTENT_TYPE) != Some("application/json") {
            return refused(415, "the content must be application/json");
        }
        let batch = match serde_json::from_slice(request.body()) {
            Ok(Value::Array(batch)) => batch,
            Ok(record) => vec![record],
            Err(_) => return refused(400, "the content must be JSON"),
        };
        if batch.is_empty() || batch.len() > MAX_RECORDS {
            return refused(413, "between 1 and 1000 records are expected");
        }
        let keyed: Option<Vec<_>> = batch.into_iter().map(|record| Some((key(&record)?, record))).collect();
        let Some(batch) = keyed else { return refused(422, "a record has no key") };
        match self.reply {
            Reply::Each => self.each(batch),
            Reply::Empty | Reply::Count => self.all(batch),
        }
    }

    /// Stores the batch, or nothing of it if one of its records is refused or throttled.
    fn all(&mut self, batch: Vec<(String, Value)>) -> Response {
        if batch.iter().any(|(key, _)| self.refused.contains(key)) {
            return refused(422, "a record is invalid");
        }
        if batch.iter().any(|(key, _)| self.is_throttled(key)) {
            return refused(429, "too many requests");
        }
        let outcomes = self.stored(batch);
        let received = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Stored(_))).count();
        match self.reply {
            Reply::Empty => {
                let mut response = Response::default();
                *response.status_mut() = StatusCode::NO_CONTENT;
                response
            }
            _ => answer(200, &json!({"received": received - usize::from(self.miscounted())})),
        }
    }

    /// Stores the records that are neither refused nor throttled.
    fn each(&mut self, batch: Vec<(String, Value)>) -> Response {
        let outcomes = self.stored(batch);
        let shown = |outcome: &Outcome| match outcome {
            Outcome::Stored(word) => json!({"status": word}),
            Outcome::Refused => json!({"status": 422, "error": "the record of ada@example.com is invalid"}),
            Outcome::Throttled => json!({"status": 429}),
            Outcome::Busy => json!({"status": "busy"}),
        };
        let mut results: Vec<Value> = outcomes.iter().map(shown).collect();
        if self.miscounted() {
            results.pop();
        }
        answer(207, &json!({"results": results}))
    }

    /// Decides the outcome of each record of a batch, and stores those that have no problem.
    fn stored(&mut self, batch: Vec<(String, Value)>) -> Vec<Outcome> {
        let capacity = self.capacity.unwrap_or(batch.len());
        let each = batch.into_iter().enumerate().map(|(position, (key, record))| match () {
            () if self.refused.contains(&key) => Outcome::Refused,
            () if self.is_throttled(&key) => Outcome::Throttled,
            () if position >= capacity => Outcome::Busy,
            () if record["deleted"] == true => {
                self.records.remove(&key);
                Outcome::Stored("ok")
            }
            () => match self.records.insert(key, record) {
                None => Outcome::Stored("created"),
                Some(_) => Outcome::Stored("updated"),
            },
        });
        each.collect()
    }

    fn is_throttled(&mut self, key: &str) -> bool {
        let Some(times) = self.throttled.get_mut(key).filter(|times| **times > 0) else { return false };
        *times -= 1;
        true
    }

    fn miscounted(&mut self) -> bool {
        let miscounted = self.miscounts > 0;
        self.miscounts -= usize::from(miscounted);
        miscounted
    }
}

/// Returns the key of a record: its `key`, or its `id`.
fn key(record: &Value) -> Option<String> {
    match record.get("key").or_else(|| record.get("id"))? {
        Value::String(key) => Some(key.clone()),
        Value::Number(key) => Some(key.to_string()),
        _ => None,
    }
}

fn refused(status: u16, error: &str) -> Response {
    answer(status, &json!({"error": error}))
}
