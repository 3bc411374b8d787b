//! The journal: what importer will do to the state file. It is on disk before importer acts, so that a crash
//! loses neither an edit of importer nor one of the user.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
};

use serde::{Deserialize, Serialize};

use super::{disk::Disk, document::Edit};

const NAME: &str = "journal.json";

/// The content of the journal.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Journal {
    /// Pending edits: those not in the state file yet.
    #[serde(rename = "wishes")]
    pub pending: Vec<Edit>,
    /// The exchange in progress.
    pub exchange: Option<Exchange>,
}

/// Digests of the two texts of an exchange, and the edits that it applies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    pub before: String,
    pub ours: String,
    /// The first edit. Version 0.1 knows exchanges of one edit, so it reads only this one here, and finds the
    /// others among the pending edits.
    edit: Edit,
    /// The other edits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    more: Vec<Edit>,
}

impl Exchange {
    /// Makes the record of an exchange; `None` without an edit.
    pub fn new(before: String, ours: String, edits: &[Edit]) -> Option<Self> {
        let (edit, more) = edits.split_first()?;
        Some(Exchange { before, ours, edit: edit.clone(), more: more.to_vec() })
    }

    /// Returns the edits that the exchange applies.
    pub fn edits(&self) -> impl Iterator<Item = &Edit> {
        [&self.edit].into_iter().chain(&self.more)
    }
}

impl Journal {
    /// Adds edits that are not in the journal yet. Returns whether there was one.
    pub fn add(&mut self, edits: &[Edit]) -> bool {
        let known = by_list(&self.pending);
        let new: Vec<Edit> = edits.iter().filter(|edit| !has(&known, edit)).cloned().collect();
        let any = !new.is_empty();
        self.pending.extend(new);
        any
    }

    /// Removes edits that are not pending anymore.
    pub fn remove<'a>(&mut self, edits: impl IntoIterator<Item = &'a Edit>) {
        let gone = by_list(edits);
        self.pending.retain(|edit| !has(&gone, edit));
    }

    /// Reads the journal of the last process, with its text on disk. A missing or unreadable journal counts as empty and
    /// does not prevent a start.
    pub fn load(disk: &Disk) -> (Self, Vec<u8>) {
        let text = fs::read(disk.own(NAME)).unwrap_or_default();
        (serde_json::from_slice(&text).unwrap_or_default(), text)
    }

    /// Syncs the file of the journal and its name, so that they survive a power failure.
    pub fn sync(disk: &Disk) -> io::Result<()> {
        File::open(disk.own(NAME))?.sync_all()?;
        disk.sync_own()
    }

    /// Writes the journal to disk. Does nothing if `durable`, the text that this process wrote and synced last, is
    /// the same.
    pub fn save(&self, disk: &Disk, durable: &mut Vec<u8>) -> io::Result<()> {
        self.write(disk, durable, None::<fn() -> io::Result<()>>)
    }

    /// Does the work of [`save`](Self::save), and `beside` meanwhile. The journal gets its new text only when that text
    /// is synced and `beside` has succeeded.
    pub fn save_beside(
        &self,
        disk: &Disk,
        durable: &mut Vec<u8>,
        beside: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        self.write(disk, durable, Some(beside))
    }

    fn write(
        &self,
        disk: &Disk,
        durable: &mut Vec<u8>,
        beside: Option<impl FnOnce() -> io::Result<()>>,
    ) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        if text == *durable {
            return beside.map_or(Ok(()), |beside| beside());
        }
        // After a failure, either text may be on disk.
        durable.clear();
        disk.write_own(NAME, &text, beside)?;
        *durable = text;
        Ok(())
    }
}

/// Edits by list, so that two long lists of edits are compared in linear time.
type ByList<'a> = HashMap<&'a str, Vec<&'a Edit>>;

fn by_list<'a>(edits: impl IntoIterator<Item = &'a Edit>) -> ByList<'a> {
    let mut by_list = ByList::new();
    for edit in edits {
        by_list.entry(&edit.entry.list_id).or_default().push(edit);
    }
    by_list
}

fn has(edits: &ByList, edit: &Edit) -> bool {
    edits.get(edit.entry.list_id.as_str()).is_some_and(|of_list| of_list.contains(&edit))
}
