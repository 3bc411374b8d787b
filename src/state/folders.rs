//! Paths of importer's own files, beside the state file.
//!
//! ```text
//! .importer/status.json                         status of the running controller
//! .importer/api-token                           token of the HTTP API, if it was made for this run
//! .importer/lists/<list>/<delivery>/            ledger, delivery cache, outbox, positions, hold,
//!                                               history of runs (runs.ndjson)
//! .importer/lists/<list>/<delivery>/<entry>/    checkpoint
//! dead-letter/<list>--<delivery>.ndjson
//! ```

use std::path::{Path, PathBuf};

use super::layout::{DEAD_LETTER, LISTS, OURS};
use crate::base::identity::{DeliveryId, ListId};

/// The folder of the state file itself, with links followed.
#[derive(Debug, Clone)]
pub struct Folders(PathBuf);

impl Folders {
    /// Returns the paths within `home`; see [`super::home`]. Creates nothing.
    pub fn of(home: &Path) -> Self {
        Folders(home.to_owned())
    }

    /// Returns the folder of the state file itself.
    pub fn home(&self) -> &Path {
        &self.0
    }

    /// Returns the folder of importer's own files.
    pub fn ours(&self) -> PathBuf {
        self.0.join(OURS)
    }

    /// Returns the parent of the folders of all lists.
    pub fn all(&self) -> PathBuf {
        self.0.join(OURS).join(LISTS)
    }

    /// Returns the file that records the last check for deferred errors.
    pub fn late(&self) -> PathBuf {
        self.0.join(OURS).join("late-errors.json")
    }

    /// Returns the file with the status of the running controller.
    pub fn status(&self) -> PathBuf {
        self.0.join(OURS).join("status.json")
    }

    /// Returns the file with the token of the HTTP API, if the running controller has made one.
    pub fn api_token(&self) -> PathBuf {
        self.0.join(OURS).join("api-token")
    }

    /// Returns the folder of a list, with those of its deliveries.
    pub fn list(&self, list: &ListId) -> PathBuf {
        self.all().join(list.name())
    }

    /// Returns the folder of a delivery, which all of its entries share.
    pub fn delivery(&self, delivery: &DeliveryId) -> PathBuf {
        self.list(&delivery.list).join(delivery.name())
    }

    /// Returns the folder of the checkpoint of an entry; `name` is the entry's folder name.
    pub fn entry(&self, delivery: &DeliveryId, name: &str) -> PathBuf {
        self.delivery(delivery).join(name)
    }

    /// Returns the folder of all dead letters.
    pub fn dead_letters(&self) -> PathBuf {
        self.0.join(DEAD_LETTER)
    }

    /// Returns the file with the dead letters of a delivery, which all of its entries share.
    pub fn dead_letter(&self, delivery: &DeliveryId) -> PathBuf {
        self.dead_letters().join(format!("{delivery}.ndjson"))
    }
}
