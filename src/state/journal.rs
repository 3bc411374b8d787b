//! What we are about to do to the state file, on disk before it is done, so that a crash loses neither side's edit.

use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::{disk::Disk, document::Edit};

const NAME: &str = "journal.json";

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Journal {
    /// Edits that are not in the file yet.
    pub wishes: Vec<Edit>,
    /// The exchange that is under way.
    pub exchange: Option<Exchange>,
}

/// Digests of the two texts that change places, and the edit that is made so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    pub before: String,
    pub ours: String,
    pub edit: Edit,
}

impl Journal {
    /// The journal as the last process left it; one that can't be read is no reason not to start.
    pub fn load(disk: &Disk) -> Self {
        let bytes = fs::read(disk.own(NAME)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    pub fn save(&self, disk: &Disk) -> io::Result<()> {
        disk.write_own(NAME, &serde_json::to_vec(self)?)
    }
}
