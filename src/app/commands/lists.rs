//! Shared by the commands for single lists: the entries of the state file, the folders of their data, and
//! their adapters.

use std::{path::Path, sync::Arc};

use anyhow::{anyhow, bail};

use crate::{
    app::{
        variable,
        wiring::{Adapters, Keys, VOCABULARY, examine},
    },
    base::clock::{Clock, SystemClock},
    controller,
    engine::plan::Pipeline,
    net::transport::Web,
    state::{Entry, folders::Folders, home, layout::NAME, read},
    store::{
        checkpoint::Checkpoint,
        hold::{self, Hold},
        migrate::{self, Past},
    },
};

/// The lists of a state file.
pub struct Lists {
    pub entries: Vec<Entry>,
    /// Number of problems; `entries` does not contain the entries that have one.
    pub problems: usize,
    pub folders: Folders,
    adapters: Adapters,
}

impl Lists {
    /// Reads the state file in `folder`.
    ///
    /// # Errors
    ///
    /// The state file can't be read, or an older version of importer left files beside a link to it.
    pub fn open(folder: &Path, keys: Keys) -> anyhow::Result<Self> {
        let mut snapshot = read::load(&folder.join(NAME), VOCABULARY)?;
        let home = home::of(folder)?;
        if let Some(left) = home::left_beside_link(folder, &home) {
            bail!(
                "an older version of importer left `{}` beside the link, but it belongs in `{}`; run `importer go --once` to move it there",
                left.display(),
                home.display()
            );
        }
        examine(&mut snapshot, folder)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Ok(Lists {
            entries: snapshot.entries,
            problems: snapshot.problems.len(),
            folders: Folders::of(&home),
            adapters: Adapters::new(variable, keys, Arc::new(Web::new()?), clock, folder),
        })
    }

    /// Returns the entries of a list.
    ///
    /// # Errors
    ///
    /// The list has no entry without a problem.
    pub fn of(&self, list_id: &str) -> anyhow::Result<Vec<&Entry>> {
        let entries: Vec<_> = self.entries.iter().filter(|entry| entry.id.list_id == list_id).collect();
        if entries.is_empty() {
            bail!(
                "no entry of the state file has the list {list_id:?}, or the entry has a problem; run `importer check`"
            );
        }
        Ok(entries)
    }

    /// Opens the source, the mapping and the sink of an entry.
    ///
    /// # Errors
    ///
    /// A variable of the environment is missing or malformed, or the entry can't be opened.
    pub fn pipeline(&self, entry: &Entry) -> anyhow::Result<Pipeline> {
        self.adapters.open(entry, true).map_err(|closed| match closed.refused {
            Some(refused) => refused.into(),
            None => anyhow!("{}", closed.unfit.text),
        })
    }

    /// Returns whether the entry has an interrupted run that can continue. Runs of older versions of importer
    /// count too.
    pub fn is_unfinished(&self, entry: &Entry) -> bool {
        let Past { own, .. } = self.past(entry);
        let former = own.former.iter().filter(|folder| own.names.contains(&migrate::name(folder)));
        former.chain([&own.folder]).any(|folder| Checkpoint::path(folder).exists())
    }

    /// Returns where older versions of importer may have stored the records of the entry.
    pub fn past(&self, entry: &Entry) -> Past {
        let all = (self.problems == 0).then_some(self.entries.as_slice());
        controller::past(entry, all, &self.folders)
    }

    /// Returns the hold that blocks the entry's delivery, if there is one.
    ///
    /// # Errors
    ///
    /// The holds of the list can't be read.
    pub async fn hold(&self, entry: &Entry, pipeline: &Pipeline) -> anyhow::Result<Option<Hold>> {
        let holds = hold::all(&self.folders.list(entry)).await?;
        Ok(holds.into_iter().find(|hold| hold.stops(&pipeline.delivery)))
    }
}
