//! Where what is remembered of entries and lists is kept, beside the state file.

use std::path::{Path, PathBuf};

use super::{
    Entry, identity,
    layout::{DEAD_LETTER, OURS},
};

/// The folders beside the state file itself, with links followed.
#[derive(Debug, Clone)]
pub struct Folders(PathBuf);

impl Folders {
    /// Makes the folders in `home`; see [`super::home`].
    pub fn of(home: &Path) -> Self {
        Folders(home.to_owned())
    }

    /// The parent of the folders of all entries and lists.
    pub fn all(&self) -> PathBuf {
        self.0.join(OURS).join("lists")
    }

    /// Where the last look at late errors is kept.
    pub fn late(&self) -> PathBuf {
        self.0.join(OURS).join("late-errors.json")
    }

    /// Where the checkpoint of an entry is kept.
    pub fn entry(&self, entry: &Entry) -> PathBuf {
        self.all().join(&entry.folder)
    }

    /// Returns the folders in which older versions of importer may have kept that checkpoint.
    pub fn former(&self, entry: &Entry) -> Vec<PathBuf> {
        entry.id.former_folders().iter().map(|name| self.all().join(name)).collect()
    }

    /// Where the ledger of a list is kept, which its entries share.
    pub fn list(&self, entry: &Entry) -> PathBuf {
        self.of_list(&entry.id.list_id)
    }

    /// Returns the same folder for a list that may have no entry.
    pub fn of_list(&self, list_id: &str) -> PathBuf {
        self.all().join(identity::list_folder(list_id))
    }

    /// The parent of the files of rejected records.
    pub fn dead_letters(&self) -> PathBuf {
        self.0.join(DEAD_LETTER)
    }

    /// The file of a list's rejected records, which its entries share.
    pub fn dead_letter(&self, entry: &Entry) -> PathBuf {
        self.dead_letters().join(format!("{}.ndjson", entry.id.list_folder()))
    }
}
