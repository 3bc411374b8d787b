//! What an entry is known by over edits of the file, and what a run took from it. Pure.

use chrono::{DateTime, Utc};
use jsonc_parser::ast::{Object, Value};
use serde::{Deserialize, Serialize};
use serde_json::Map;

use super::{
    delivered::{self, PACE},
    fields::{LATEST_TIMESTAMP, LIST_ID, OWNED, START_OFFSET},
    layout::digest,
    vocabulary::Vocabulary,
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
        list_folder(&self.list_id)
    }

    /// Returns the settings that change what is delivered, each in one spelling.
    pub fn settings(&self, vocabulary: &Vocabulary) -> Map<String, serde_json::Value> {
        delivered::settings(&self.list_id, &self.others, vocabulary)
    }

    /// Returns the name of the folder of the entry's checkpoint; dead letters carry it as well. The name depends only on the list
    /// and on the settings that change what is delivered: no note and no neighboring entry changes it.
    pub fn folder(&self, vocabulary: &Vocabulary) -> String {
        let settings = digest(serde_json::Value::from(self.settings(vocabulary)).to_string().as_bytes());
        format!("{}-{}", self.list_folder(), &settings[..12])
    }

    /// Returns the names that older versions gave this folder: first that of an entry whose list has other entries, then that of a
    /// list's only entry.
    pub fn former_folders(&self) -> [String; 2] {
        let list = self.list_folder();
        let others: Map<_, _> =
            self.others.clone().into_iter().filter(|(name, _)| !PACE.contains(&name.as_str())).collect();
        let settings = digest(serde_json::Value::from(others).to_string().as_bytes());
        [format!("{list}-{}", &settings[..8]), list]
    }
}

/// Returns the name of the folder of a list. The name contains no hyphen, so that the folders of its entries, which do, belong to
/// no other list.
pub fn list_folder(list_id: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let readable = list_id.chars().all(plain) && list_id.len() <= 64;
    if readable { list_id.to_owned() } else { digest(list_id.as_bytes()) }
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
    use crate::state::{schema, vocabulary::SAMPLE};

    #[test]
    fn a_folder_has_a_plain_name_and_its_older_names_are_known() {
        let id = |entry: &str| schema::read(&format!("[{entry}]"), &SAMPLE).unwrap().entries.remove(0).id;
        let slow = id(r#"{"list_id": "a", "start_offset": 5}"#);
        assert_eq!(slow.former_folders(), ["a-cce85e67", "a"]);
        let paced = id(r#"{"worker_count": 1, "list_id": "a", "enabled": true, "start_offset": 5}"#);
        assert_eq!(paced.former_folders(), slow.former_folders());
        assert_eq!(paced.folder(&SAMPLE), slow.folder(&SAMPLE));
        let strange = id(r#"{"list_id": "../a"}"#);
        assert!(strange.folder(&SAMPLE).chars().all(|c| c.is_ascii_alphanumeric() || c == '-'));
        assert_ne!(strange.list_folder(), id(r#"{"list_id": "../b"}"#).list_folder());
    }
}
