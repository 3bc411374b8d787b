//! The identity of an entry, which stays the same while people edit the file, and the base version of a run.
//! Pure.

use chrono::{DateTime, Utc};
use jsonc_parser::ast::{Object, Value};
use serde::{Deserialize, Serialize};
use serde_json::Map;

use super::{
    delivered::{self, PACE},
    fields::{LATEST_TIMESTAMP, LIST_ID, OWNED, SOURCE, START_OFFSET},
    layout::digest,
    vocabulary::Vocabulary,
};
use crate::base::{
    identity::{ListId, file_name},
    spec::ACCOUNT,
    time,
};

/// The identity of an entry while people reorder, insert and delete entries: its list and, if several entries
/// have that list, every field that importer does not write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryId {
    pub list_id: String,
    /// All fields except those that importer writes.
    pub others: Map<String, serde_json::Value>,
}

impl EntryId {
    /// Returns the list of the entry.
    pub fn list(&self, vocabulary: &Vocabulary) -> ListId {
        list(&self.list_id, self.others.get(SOURCE.name), vocabulary.source.default)
    }

    /// Returns the settings that change what is delivered, each in one spelling.
    pub fn settings(&self, vocabulary: &Vocabulary) -> Map<String, serde_json::Value> {
        delivered::settings(&self.list_id, &self.others, vocabulary)
    }

    /// Returns the route of the entry; see [`delivered::route`].
    pub fn route(&self, vocabulary: &Vocabulary) -> serde_json::Value {
        delivered::route(&self.settings(vocabulary), vocabulary)
    }

    /// Returns the name of the folder of the entry's checkpoint, which its dead letters contain too. The name
    /// depends only on the list and on the settings that change what is delivered: notes and other entries do
    /// not change it.
    pub fn folder(&self, vocabulary: &Vocabulary) -> String {
        self.folder_with(&self.settings(vocabulary))
    }

    /// Does the work of [`folder`](Self::folder) with the [`settings`](Self::settings), if they are known.
    pub fn folder_with(&self, settings: &Map<String, serde_json::Value>) -> String {
        let settings = digest(serde_json::to_string(settings).unwrap_or_default().as_bytes());
        format!("{}-{}", file_name(&self.list_id), &settings[..12])
    }

    /// Returns the names that older versions gave this folder: first the name for an entry whose list has
    /// other entries, then the name for the only entry of a list.
    pub fn former_folders(&self) -> [String; 2] {
        let list = file_name(&self.list_id);
        let others: Map<_, _> =
            self.others.clone().into_iter().filter(|(name, _)| !PACE.contains(&name.as_str())).collect();
        let settings = digest(serde_json::Value::from(others).to_string().as_bytes());
        [format!("{list}-{}", &settings[..8]), list]
    }
}

/// Returns the list of an entry with this raw `source` setting; `default` is the type of source of an entry without
/// one.
pub fn list(list_id: &str, source: Option<&serde_json::Value>, default: Option<&str>) -> ListId {
    let kind = source.and_then(|said| said.as_str().or(said["type"].as_str())).or(default);
    let account = source.and_then(|said| said[ACCOUNT].as_str());
    ListId {
        source: kind.unwrap_or_default().to_owned(),
        account: account.map(str::to_owned),
        id: list_id.to_owned(),
    }
}

/// Returns the `list_id` of an entry; `None` if it has none or one that is not a string.
pub fn list_id<'a>(object: &'a Object) -> Option<&'a str> {
    Some(&object.get(LIST_ID.name)?.value.as_string_lit()?.value)
}

/// Returns the identity of an entry; `None` if it has no `list_id` or one that is not a string.
pub fn identify(object: &Object) -> Option<EntryId> {
    let list_id = list_id(object)?.to_owned();
    let theirs = object.properties.iter().filter(|prop| !OWNED.contains(&prop.name.as_str()));
    let others = theirs.map(|prop| (prop.name.as_str().to_owned(), prop.value.clone().into())).collect();
    Some(EntryId { list_id, others })
}

/// The base version of a run: the part of its entry that the result depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BaseVersion {
    /// No `latest_timestamp`: a full load from this `start_offset` on.
    Absent { start_offset: u64 },
    /// `latest_timestamp` is null: a full load too. Writing or removing the null during a run requests a
    /// reload.
    Null { start_offset: u64 },
    /// A sync of the changes since this time.
    At(DateTime<Utc>),
}

/// Returns the base version that the entry has now; `None` if a field of it can't be read.
pub fn was(object: &Object) -> Option<BaseVersion> {
    let start_offset = || match object.get(START_OFFSET.name) {
        None => Some(0),
        Some(prop) => prop.value.as_number_lit()?.value.parse().ok(),
    };
    match object.get(LATEST_TIMESTAMP.name).map(|prop| &prop.value) {
        None => Some(BaseVersion::Absent { start_offset: start_offset()? }),
        Some(Value::NullKeyword(_)) => Some(BaseVersion::Null { start_offset: start_offset()? }),
        Some(Value::StringLit(text)) => time::parse(&text.value).map(BaseVersion::At),
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
        assert_ne!(strange.folder(&SAMPLE), id(r#"{"list_id": "../b"}"#).folder(&SAMPLE));
    }
}
