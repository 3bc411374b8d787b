//! How events name entries and runs.

use crate::{
    base::event::{EntryName, RunName},
    state::Entry,
};

/// Returns how messages name the entry.
pub fn entry_name(entry: &Entry) -> EntryName {
    let place = (!entry.alone).then(|| entry.place.to_string());
    EntryName { list_id: entry.id.list_id.clone(), place }
}

/// Returns how events name a run of the entry.
pub fn run_name(entry: &Entry) -> RunName {
    RunName { entry: entry_name(entry), folder: entry.folder.clone() }
}
