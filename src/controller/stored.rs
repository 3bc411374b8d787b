//! What importer's own files say of the entries of a state file, for commands and the API: the last runs, and what waits
//! for a person. Reads only.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::status::Stored;
use crate::{
    base::{events::Events, fault::Fault, identity::DeliveryId, key::key_digest, remedy::Remedy},
    engine::plan::Pipeline,
    state::{Entry, folders::Folders},
    store::{
        checkpoint, dead_letter,
        records::{self, OutboxStatus},
        runs::{LastRuns, RunHistory, RunRecord},
    },
};

/// What leads from an entry to its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    pub list_id: String,
    /// Name of the list on disk, which tells lists of two sources or accounts apart.
    pub list: String,
    /// Name of the entry's folder.
    pub entry: String,
    pub delivery: DeliveryId,
    pub remedy: Remedy,
}

/// A run in a history, with an id that no other run has. The names of the fields are the JSON keys.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IdentifiedRun {
    pub id: String,
    #[serde(flatten)]
    pub run: RunRecord,
}

/// The rejected records of a list that wait to be delivered again, without their keys and payloads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejected {
    pub list_id: String,
    /// Name of the delivery; a list has one for each of its sinks.
    pub delivery: String,
    /// Number of the records.
    pub records: u64,
    /// The same by reason.
    pub reasons: BTreeMap<String, u64>,
    pub remedy: Remedy,
}

impl StoredEntry {
    /// Returns what leads to the files of an entry that was opened as `pipeline`.
    pub fn of(entry: &Entry, pipeline: &Pipeline) -> Self {
        StoredEntry {
            list_id: entry.id.list_id.clone(),
            list: entry.list.name(),
            entry: entry.folder.clone(),
            delivery: pipeline.delivery.clone(),
            remedy: pipeline.remedy(),
        }
    }

    /// Returns whether this is an entry of the list with this `list_id` or name on disk.
    pub fn is_of(&self, list: &str) -> bool {
        self.list_id == list || self.list == list
    }

    /// Returns whether the entry has an interrupted run that can continue.
    fn is_interrupted(&self, folders: &Folders) -> bool {
        checkpoint::path(&folders.entry(&self.delivery, &self.entry)).exists()
    }
}

/// Returns what the files of an entry say.
///
/// # Errors
///
/// A file can't be read.
pub async fn stored(entry: &StoredEntry, folders: &Folders, events: &Events) -> Result<Stored, Fault> {
    let folder = folders.delivery(&entry.delivery);
    let LastRuns { last, with_changes, .. } = RunHistory::of(&folder).last(&entry.entry).await?;
    let rejected = dead_letter::count(&folders.dead_letter(&entry.delivery)).await?;
    let OutboxStatus { waiting, oldest, dropped, refused } = records::outbox(&folder, events).await?;
    Ok(Stored {
        last_run: last,
        last_run_with_changes: with_changes,
        is_interrupted: entry.is_interrupted(folders),
        rejected,
        remedy: entry.remedy,
        unreadable: None,
        notices_waiting: waiting,
        oldest_notice: oldest,
        notices_dropped: dropped,
        notices_refused: refused,
    })
}

/// Returns the runs of the deliveries of these entries, the latest one last. They include runs of entries that the state
/// file has no longer, if their delivery is one of these.
///
/// # Errors
///
/// A history can't be read.
pub async fn runs<'a>(
    entries: impl IntoIterator<Item = &'a StoredEntry>,
    folders: &Folders,
) -> Result<Vec<IdentifiedRun>, Fault> {
    let mut runs = vec![];
    for entry in once_each(entries) {
        let of_delivery = RunHistory::of(&folders.delivery(&entry.delivery)).all().await?;
        runs.extend(of_delivery.into_iter().map(|run| IdentifiedRun::of(&entry.delivery, run)));
    }
    runs.sort_by(|one, other| one.order().cmp(&other.order()));
    Ok(runs)
}

/// Returns the rejected records of the deliveries of these entries; deliveries without such records are left out.
///
/// # Errors
///
/// A file of dead letters can't be read.
pub async fn rejected<'a>(
    entries: impl IntoIterator<Item = &'a StoredEntry>,
    folders: &Folders,
) -> Result<Vec<Rejected>, Fault> {
    let mut found = vec![];
    for entry in once_each(entries) {
        let (letters, _) = dead_letter::read(&folders.dead_letter(&entry.delivery)).await?;
        let mut reasons = BTreeMap::new();
        for letter in &letters {
            *reasons.entry(letter.reason.clone()).or_default() += 1;
        }
        if !letters.is_empty() {
            let (list_id, delivery) = (entry.list_id.clone(), entry.delivery.name());
            let (records, remedy) = (letters.len() as u64, entry.remedy);
            found.push(Rejected { list_id, delivery, records, reasons, remedy });
        }
    }
    Ok(found)
}

/// Keeps the first entry of each delivery.
fn once_each<'a>(
    entries: impl IntoIterator<Item = &'a StoredEntry>,
) -> impl Iterator<Item = &'a StoredEntry> {
    let mut seen = HashSet::new();
    entries.into_iter().filter(move |entry| seen.insert(entry.delivery.to_string()))
}

impl IdentifiedRun {
    fn of(delivery: &DeliveryId, run: RunRecord) -> Self {
        // An entry has one run at a time, so no two of its runs start at the same moment.
        let id = key_digest(&format!("{delivery} {} {}", run.entry, run.start.to_rfc3339()));
        IdentifiedRun { id: format!("{id:032x}"), run }
    }

    /// Returns the place of the run in a history: by its end, then by its id.
    pub fn order(&self) -> (i64, &str) {
        (self.run.end.timestamp_micros(), &self.id)
    }
}
