//! What an entry is known by over edits of the file, and what a run took from it. Pure.

use chrono::{DateTime, Utc};
use jsonc_parser::ast::{Object, Value};
use serde::{Deserialize, Serialize};
use serde_json::Map;

use super::{
    disk::digest,
    fields::{
        ALLOW_MASS_CHANGE, ENABLED, EVERY, FULL_LOAD, ITEMS_PER_REQUEST, LATEST_TIMESTAMP, LIST_ID, OVERLAP,
        OWNED, START_OFFSET, UNCHANGED, WORKER_COUNT,
    },
};
use crate::base::time;

/// What an entry is known by while people reorder, insert and delete entries: its list, and where that stands in
/// the file more than once, also every field that is not ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryId {
    pub list_id: String,
    pub others: Map<String, serde_json::Value>,
}

impl EntryId {
    /// The name of the folder in which what is to be remembered of the list is kept.
    pub fn list_folder(&self) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let readable = self.list_id.chars().all(plain) && self.list_id.len() <= 64;
        if readable { self.list_id.clone() } else { digest(self.list_id.as_bytes()) }
    }

    /// The name of the folder of the entry itself; that of the list if `alone`: no other entry has it. How fast an entry runs,
    /// and whether it may, makes it no other one.
    pub fn folder(&self, alone: bool) -> String {
        let list = self.list_folder();
        if alone {
            return list;
        }
        let pace = [
            ENABLED.name,
            ITEMS_PER_REQUEST.name,
            WORKER_COUNT.name,
            ALLOW_MASS_CHANGE.name,
            EVERY.name,
            OVERLAP.name,
            UNCHANGED.name,
            FULL_LOAD.name,
        ];
        let others: Map<_, _> =
            self.others.clone().into_iter().filter(|(name, _)| !pace.contains(&name.as_str())).collect();
        let settings = digest(serde_json::Value::from(others).to_string().as_bytes());
        format!("{list}-{}", &settings[..8])
    }
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

#[cfg(test)]
mod tests {
    use crate::state::schema;

    #[test]
    fn an_entry_keeps_its_folder_when_its_pace_changes_and_shares_none_with_another_list() {
        let folder =
            |text: &str, alone| schema::read(&format!("[{text}]")).unwrap().entries[0].id.folder(alone);
        assert_eq!(folder(r#"{"list_id": "1a2d7ebf82", "worker_count": 3}"#, true), "1a2d7ebf82");
        let slow = folder(r#"{"list_id": "a", "start_offset": 5}"#, false);
        assert_eq!(
            slow,
            folder(
                r#"{"worker_count": 1, "list_id": "a", "enabled": true, "start_offset": 5, "allow_mass_change": true, "overlap": "5m"}"#,
                false
            )
        );
        assert_ne!(slow, folder(r#"{"list_id": "a", "start_offset": 6}"#, false));
        assert_ne!(folder(r#"{"list_id": "../a"}"#, true), folder(r#"{"list_id": "../b"}"#, true));
        assert!(folder(r#"{"list_id": "../a"}"#, true).chars().all(|c| c.is_ascii_alphanumeric()));
    }
}
