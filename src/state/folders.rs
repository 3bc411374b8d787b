//! Paths of checkpoints, ledgers and dead letters, beside the state file.

use std::path::{Path, PathBuf};

use super::{
    Entry, identity,
    layout::{DEAD_LETTER, OURS},
};

/// The folder of the state file itself, with links followed.
#[derive(Debug, Clone)]
pub struct Folders(PathBuf);

impl Folders {
    /// Returns the paths within `home`; see [`super::home`]. Creates nothing.
    pub fn of(home: &Path) -> Self {
        Folders(home.to_owned())
    }

    /// Returns the parent of the folders of all entries and lists.
    pub fn all(&self) -> PathBuf {
        self.0.join(OURS).join("lists")
    }

    /// Returns the file that records the last check for deferred errors.
    pub fn late(&self) -> PathBuf {
        self.0.join(OURS).join("late-errors.json")
    }

    /// Returns the folder of the checkpoint of an entry.
    pub fn entry(&self, entry: &Entry) -> PathBuf {
        self.all().join(&entry.folder)
    }

    /// Returns the folders in which older versions of importer may have stored that checkpoint.
    pub fn former(&self, entry: &Entry) -> Vec<PathBuf> {
        entry.id.former_folders().iter().map(|name| self.all().join(name)).collect()
    }

    /// Returns the folder of the ledger of a list, which all entries of the list share.
    pub fn list(&self, entry: &Entry) -> PathBuf {
        self.of_list(&entry.id.list_id)
    }

    /// Returns the folder of the ledger of a list that may have no entry.
    pub fn of_list(&self, list_id: &str) -> PathBuf {
        self.all().join(identity::list_folder(list_id))
    }

    /// Returns the folder of all dead letters.
    pub fn dead_letters(&self) -> PathBuf {
        self.0.join(DEAD_LETTER)
    }

    /// Returns the file with the dead letters of a list, which all entries of the list share.
    pub fn dead_letter(&self, entry: &Entry) -> PathBuf {
        self.dead_letters().join(format!("{}.ndjson", entry.id.list_folder()))
    }
}
