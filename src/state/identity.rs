//! What an entry is known by over edits of the file, and what a run took from it. Pure.

use chrono::{DateTime, Utc};
use jsonc_parser::ast::{Object, Value};
use serde::{Deserialize, Serialize};
use serde_json::Map;

use super::fields::{LATEST_TIMESTAMP, LIST_ID, OWNED, START_OFFSET};
use crate::base::time;

/// What an entry is known by while people reorder, insert and delete entries: its list, and where that stands in
/// the file more than once, also every field that is not ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryId {
    pub list_id: String,
    pub others: Map<String, serde_json::Value>,
}

/// The identity of an entry, if it has a `list_id`.
pub fn identify(object: &Object) -> Option<EntryId> {
    let list_id = object.get(LIST_ID.name)?.value.as_string_lit()?.value.to_string();
    let theirs = object.properties.iter().filter(|prop| !OWNED.contains(&prop.name.as_str()));
    let others = theirs.map(|prop| (prop.name.as_str().to_owned(), prop.value.clone().into())).collect();
    Some(EntryId { list_id, others })
}

/// What a run took from its entry and what its result therefore depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Was {
    /// No `latest_timestamp`: a full load from this `start_offset` up.
    Absent {
        start_offset: u64,
    },
    /// A null; who writes one during a run, or takes it away, asks for a reload.
    Null {
        start_offset: u64,
    },
    At(DateTime<Utc>),
}

/// What the entry says now; nothing if it says something unreadable.
pub fn was(object: &Object) -> Option<Was> {
    let start_offset = || match object.get(START_OFFSET.name) {
        None => Some(0),
        Some(prop) => prop.value.as_number_lit()?.value.parse().ok(),
    };
    match object.get(LATEST_TIMESTAMP.name).map(|prop| &prop.value) {
        None => Some(Was::Absent { start_offset: start_offset()? }),
        Some(Value::NullKeyword(_)) => Some(Was::Null { start_offset: start_offset()? }),
        Some(Value::StringLit(text)) => time::parse(&text.value).map(Was::At),
        Some(_) => None,
    }
}
