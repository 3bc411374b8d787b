//! The journal: what importer will do to the state file. It is on disk before importer acts, so that a crash
//! loses neither an edit of importer nor one of the user.

use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::{disk::Disk, document::Edit};

const NAME: &str = "journal.json";

/// The content of the journal.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Journal {
    /// Pending edits: those not in the state file yet.
    pub wishes: Vec<Edit>,
    /// The exchange in progress.
    pub exchange: Option<Exchange>,
}

/// Digests of the two texts of an exchange, and the edit that it applies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    pub before: String,
    pub ours: String,
    pub edit: Edit,
}

impl Journal {
    /// Reads the journal of the last process. A missing or unreadable journal counts as empty and does not
    /// prevent a start.
    pub fn load(disk: &Disk) -> Self {
        let bytes = fs::read(disk.own(NAME)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Writes the journal to disk.
    pub fn save(&self, disk: &Disk) -> io::Result<()> {
        disk.write_own(NAME, &serde_json::to_vec(self)?)
    }
}
