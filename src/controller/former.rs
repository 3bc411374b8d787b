//! The files of version 0.1: says where they are, and lets the deliveries of the state file take them over.

use std::collections::BTreeSet;

use log::info;

use super::{Controller, OpenRequest, siblings::siblings};
use crate::{
    base::{fault::Fault, identity::file_name},
    engine::plan::Pipeline,
    state::{Entry, folders::Folders},
    store::migrate::{self, Former, FormerEntry},
};

/// Version of the program that wrote run fingerprints in the first layout.
const VERSION: &str = "0.1.0";

/// Returns where version 0.1 kept the files of an entry's delivery. `all`: the entries of the state file, if all of
/// them can be read; `siblings`: the names of those with this delivery.
pub fn of(
    entry: &Entry,
    pipeline: &Pipeline,
    all: Option<&[Entry]>,
    siblings: Option<&[String]>,
    folders: &Folders,
) -> Former {
    let of_list = all.unwrap_or_default().iter().filter(|other| other.id.list_id == entry.id.list_id);
    let same = |other: &&Entry| siblings.is_some_and(|names| names.contains(&other.folder));
    let (mut own, others): (Vec<&Entry>, Vec<&Entry>) = of_list.partition(same);
    if own.is_empty() {
        own.push(entry);
    }
    Former {
        ours: folders.ours(),
        list: file_name(&entry.id.list_id),
        delivery: pipeline.delivery.clone(),
        digests: pipeline.former.clone(),
        place: pipeline.held_by.clone(),
        folder: folders.delivery(&pipeline.delivery),
        dead_letter: folders.dead_letter(&pipeline.delivery),
        entries: own.into_iter().map(|entry| former(entry, &pipeline.references)).collect(),
        others: others.into_iter().flat_map(names).collect(),
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

impl Controller {
    /// Lets the deliveries of the state file take over the files of version 0.1, once the file can be read.
    ///
    /// # Errors
    ///
    /// A file could not be read or written.
    pub(super) async fn take_over(&mut self, problems: usize) -> Result<(), Fault> {
        if !self.is_migrating {
            return Ok(());
        }
        let (snapshot, folders) = (self.file.snapshot(), self.file.folders());
        let (mut known, mut unknown, mut moved) = (BTreeSet::new(), BTreeSet::new(), 0);
        for entry in &snapshot.entries {
            let Ok(pipeline) = (self.open)(OpenRequest { entry, urgent: false }) else {
                unknown.insert(file_name(&entry.id.list_id));
                continue;
            };
            let siblings = siblings(entry, &pipeline.delivery, self.file.all_read(), self.open.as_ref());
            let former = of(entry, &pipeline, self.file.all_read(), siblings.as_deref(), &folders);
            moved += usize::from(migrate::take_over(&former).await?);
            known.insert(former.list);
        }
        let done: Vec<String> = known.difference(&unknown).filter(|_| problems == 0).cloned().collect();
        migrate::finish(&folders.ours(), &done)?;
        self.is_migrating = false;
        info!(
            "took over the records of {moved} deliveries from importer {VERSION}; the old files stay in `{}`.",
            migrate::before(&folders.ours()).display()
        );
        Ok(())
    }
}
