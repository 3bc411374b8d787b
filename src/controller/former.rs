//! The files of version 0.1: says where they are, and lets the deliveries of the state file take them over.

use std::collections::BTreeMap;

use super::{Mode, OpenRequest, driver::Driver};
use crate::{
    base::{event::FileEvent, events::Events, fault::Fault, identity::file_name},
    engine::plan::Pipeline,
    state::{Entry, folders::Folders},
    store::migrate::{self, Former, FormerEntry},
};

/// Version of the program that wrote run fingerprints in the first layout.
const VERSION: &str = "0.1.0";

/// Returns where version 0.1 kept the files of a delivery. `own` are its entries, `others` the other entries with the
/// same `list_id`.
fn of(own: &[&Entry], others: &[&Entry], pipeline: &Pipeline, folders: &Folders, events: &Events) -> Former {
    Former {
        ours: folders.ours(),
        list: file_name(&pipeline.delivery.list.id),
        delivery: pipeline.delivery.clone(),
        digests: pipeline.former.clone(),
        destination: pipeline.destination.clone(),
        folder: folders.delivery(&pipeline.delivery),
        dead_letter: folders.dead_letter(&pipeline.delivery),
        entries: own.iter().map(|entry| former(entry, &pipeline.references)).collect(),
        others: others.iter().flat_map(|entry| names(entry)).collect(),
        events: events.clone(),
    }
}

fn former(entry: &Entry, references: &str) -> FormerEntry {
    let [short, list] = entry.id.former_folders();
    FormerEntry {
        name: entry.folder.clone(),
        folders: vec![entry.folder.clone(), short, list],
        names: names(entry),
        recognized: former_fingerprints(entry).to_vec(),
        run_fingerprint: super::fingerprint::run_fingerprint(entry, references),
    }
}

/// Returns the names that an entry may have in dead letters. The only entry of a list was also named by the list.
fn names(entry: &Entry) -> Vec<String> {
    let [short, list] = entry.id.former_folders();
    let mut names = vec![entry.folder.clone(), short];
    names.extend(entry.alone.then_some(list));
    names
}

/// Returns the run fingerprints that version 0.1 and its predecessors wrote.
pub fn former_fingerprints(entry: &Entry) -> [String; 2] {
    let said = [&entry.source, &entry.mapping, &entry.sink].map(|said| &said.value);
    let last = serde_json::to_string(&(entry.was, &entry.settings, &entry.names.order));
    let older = serde_json::to_string(&(entry.was, &entry.names.former, said));
    [last, older].map(|was| format!("{} importer {VERSION}", was.unwrap_or_default()))
}

impl Driver {
    /// Lets the deliveries of the state file as last read take over the files of version 0.1. Nothing runs before the
    /// first time, for which no entry may have a problem: its delivery would be unknown.
    ///
    /// # Errors
    ///
    /// A file could not be read or written. With [`Mode::Once`] also if an entry has a problem.
    pub(super) async fn take_over(&mut self, problems: usize) -> Result<(), Fault> {
        let (snapshot, folders) = (self.file.lists().snapshot, self.file.folders());
        let before = migrate::before(&folders.ours());
        if self.is_migrating && problems > 0 {
            let fault =
                Fault::process("the files of importer 0.1 can't be migrated while an entry has a problem")
                    .hint("correct the problems above; no list runs until then");
            if self.mode == Mode::Once {
                return Err(fault);
            }
            self.events.emit(FileEvent::NotMigrated { problem: fault.to_string() });
            return Ok(());
        }
        if !before.exists() {
            return Ok(());
        }
        let (mut lists, mut moved) = (BTreeMap::<&str, Vec<(&Entry, Option<Pipeline>)>>::new(), 0);
        for entry in &snapshot.entries {
            let pipeline = (self.open)(OpenRequest { entry, urgent: false }).ok();
            lists.entry(&entry.id.list_id).or_default().push((entry, pipeline));
        }
        for entries in lists.values() {
            for pipeline in entries.iter().filter_map(|(_, pipeline)| pipeline.as_ref()) {
                if folders.delivery(&pipeline.delivery).exists() {
                    continue;
                }
                let is_own = |(_, other): &&(&Entry, Option<Pipeline>)| {
                    other.as_ref().is_some_and(|other| other.delivery == pipeline.delivery)
                };
                let (own, others): (Vec<_>, Vec<_>) = entries.iter().partition(is_own);
                let [own, others] =
                    [own, others].map(|of| of.iter().map(|(entry, _)| *entry).collect::<Vec<_>>());
                moved += usize::from(
                    migrate::take_over(&of(&own, &others, pipeline, &folders, &self.events)).await?,
                );
            }
        }
        let known =
            |entries: &[(&Entry, Option<Pipeline>)]| entries.iter().all(|(_, pipeline)| pipeline.is_some());
        let done = lists.iter().filter(|(_, entries)| problems == 0 && known(entries));
        let done: Vec<String> = done.map(|(list, _)| file_name(list)).collect();
        migrate::finish(&folders.ours(), &done)?;
        if std::mem::take(&mut self.is_migrating) || moved > 0 {
            let (version, deliveries, old_files) = (VERSION, moved, before);
            self.events.emit(FileEvent::Migrated { version, deliveries, old_files });
        }
        Ok(())
    }
}
