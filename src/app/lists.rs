//! What the commands share that look at single lists: the state file's entries, where what is remembered of them is kept, and
//! their third parties.

use std::{path::Path, sync::Arc};

use anyhow::bail;

use super::{open, settings::Settings};
use crate::{
    base::clock::{Clock, SystemClock},
    controller::{Open, Wanted},
    net::transport::Web,
    state::{Entry, file::NAME, folders::Folders, read},
    sync::{checkpoint::Checkpoint, job::Ends},
};

pub struct Lists {
    pub entries: Vec<Entry>,
    /// Entries that can't be read are none of them.
    pub problems: usize,
    pub folders: Folders,
    open: Open,
}

/// Which keys are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    Both,
    /// Nothing is sent.
    SourceOnly,
}

impl Lists {
    /// `folder` is that of the state file.
    pub fn open(folder: &Path, keys: Keys) -> anyhow::Result<Self> {
        let variable = |name: &str| {
            let unused = (keys == Keys::SourceOnly && name == "OMETRIA_APIKEY").then(|| "unused".to_owned());
            std::env::var(name).ok().or(unused)
        };
        let settings = Settings::read(variable)?;
        let path = folder.join(NAME);
        let snapshot = read::load(&path)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Ok(Lists {
            entries: snapshot.entries,
            problems: snapshot.problems.len(),
            folders: Folders::beside(&path.canonicalize()?),
            open: open(settings, Arc::new(Web::new()?), clock),
        })
    }

    /// The entries of one list, at least one.
    pub fn of(&self, list_id: &str) -> anyhow::Result<Vec<&Entry>> {
        let entries: Vec<_> = self.entries.iter().filter(|entry| entry.id.list_id == list_id).collect();
        if entries.is_empty() {
            bail!(
                "no entry of the state file has the list {list_id:?}, or it has a problem: see importer check"
            );
        }
        Ok(entries)
    }

    pub fn ends(&self, entry: &Entry) -> Ends {
        (self.open)(Wanted { list_id: &entry.id.list_id, urgent: true, contact: &entry.contact })
    }

    /// Whether an interrupted run of the entry waits to go on.
    pub fn is_unfinished(&self, entry: &Entry) -> bool {
        Checkpoint::path(&self.folders.entry(entry)).exists()
    }
}
