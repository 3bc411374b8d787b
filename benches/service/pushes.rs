//! Responds to pushes. Counts the records by the `@` in them: a contact has four, in `@type`, `@collection`, `@merge`
//! and its address. A measurement with `check` reads the records, and compares.

use std::collections::HashSet;

use http::Response;
use serde::Deserialize;

use super::{
    replies::{Parts, text},
    tally::Tally,
};

const MARKS: usize = 4;

#[derive(Deserialize)]
struct Contact {
    id: String,
}

pub fn respond(tally: &Tally, body: &[u8]) -> Response<Parts> {
    if !tally.admits() {
        return text(429, r#"{"error":"Too many requests"}"#.into());
    }
    let records = body.iter().filter(|byte| **byte == b'@').count() / MARKS;
    if tally.checks() {
        let read = serde_json::from_slice::<Vec<Contact>>(body).unwrap_or_default();
        if read.len() != records || read.is_empty() || read.len() > 100 {
            return text(400, r#"{"error":"Payload invalid."}"#.into());
        }
        let ids: HashSet<String> = read.into_iter().map(|contact| contact.id).collect();
        tally.ids(ids, body.len(), records);
    }
    let number = tally.pushed(records);
    let answer =
        format!(r#"{{"accepted":{records},"rejected":0,"request_id":"bench-{number}","status":"OK"}}"#);
    text(200, answer)
}
