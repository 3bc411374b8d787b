//! The state file as the controller sees it: as last read, and with what is still to be written.

use std::{path::Path, sync::Arc};

use log::{error, info, warn};
use tokio::task::{self, spawn_blocking};

use super::{Open, Wanted};
use crate::{
    base::fault::Fault,
    state::{Edit, Entry, Mention, Snapshot, StateFile, document::Overruled, folders::Folders},
};

pub struct File {
    state: Arc<StateFile>,
    open: Arc<Open>,
    snapshot: Option<Snapshot>,
    /// The text whose findings were told.
    told: Option<String>,
    /// Why it could not be read the last time.
    broken: Option<String>,
    /// Results of runs that the file could not take yet, with the task that ran them. The journal has them too.
    pub unwritten: Vec<(task::Id, Edit)>,
}

impl File {
    pub fn new(state: StateFile, open: Arc<Open>) -> Self {
        File { state: Arc::new(state), open, snapshot: None, told: None, broken: None, unwritten: vec![] }
    }

    pub fn path(&self) -> &Path {
        self.state.path()
    }

    pub fn folders(&self) -> Folders {
        self.state.folders()
    }

    /// The entries as last read; none before the first reading.
    pub fn entries(&self) -> Vec<Entry> {
        self.snapshot.as_ref().map(|snapshot| snapshot.entries.clone()).unwrap_or_default()
    }

    /// Returns the entries as last read, or `None` if one of them has a problem.
    pub fn all_read(&self) -> Option<&[Entry]> {
        let whole = self.snapshot.as_ref().filter(|snapshot| snapshot.problems.is_empty());
        whole.map(|snapshot| snapshot.entries.as_slice())
    }

    /// Returns every element of the file as last read, also those with a problem.
    pub fn mentions(&self) -> &[Mention] {
        self.snapshot.as_ref().map_or(&[], |snapshot| &snapshot.mentions)
    }

    pub fn was_read(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Reads the file and tells what is wrong with it; answers the number of entries that can't run. What was told of the
    /// same text before is not told again, but for the problems.
    pub async fn read(&mut self) -> Result<usize, Fault> {
        let snapshot = match self.blocking(StateFile::load).await {
            Ok(snapshot) => self.examined(snapshot),
            Err(fault) => {
                self.broken = Some(fault.to_string());
                return Err(fault);
            }
        };
        if self.broken.take().is_some() {
            info!("the state file can be read again.");
        }
        for problem in &snapshot.problems {
            error!("{}; this entry does not run.\n{}", problem.at(self.path()), problem.excerpt);
        }
        if self.told.as_ref() != Some(&snapshot.text) {
            for warning in &snapshot.warnings {
                warn!("{}.", warning.at(self.path()));
            }
            if snapshot.entries.is_empty() && snapshot.problems.is_empty() {
                warn!("the state file holds no entry; add `{{\"list_id\": \"…\"}}` to it.");
            }
        }
        let problems = snapshot.problems.len();
        self.told = Some(snapshot.text.clone());
        self.snapshot = Some(snapshot);
        Ok(problems)
    }

    /// Without the entries whose ends can't be opened.
    fn examined(&self, mut snapshot: Snapshot) -> Snapshot {
        snapshot.examine(|entry| match (self.open)(Wanted { entry, urgent: false }) {
            // It may wait for its key.
            Err(unfit) if unfit.environment && !entry.enabled => Ok(()),
            opened => opened.map(|_| ()),
        });
        snapshot
    }

    /// Whether the file says something else than when it was last read or written; our own writes are no news.
    pub async fn changed(&self) -> bool {
        match self.blocking(StateFile::load).await {
            Ok(new) => self.broken.is_some() || self.told.as_ref() != Some(&new.text),
            Err(fault) => self.broken != Some(fault.to_string()),
        }
    }

    /// Puts an edit into the journal: from here on it is made, now or after the next start.
    pub async fn wish(&self, edit: &Edit) -> Result<(), Fault> {
        let edit = edit.clone();
        self.blocking(move |state| state.wish(&edit)).await
    }

    /// Stamps an entry; answers why not, if the user has overruled it.
    pub async fn write(&mut self, edit: &Edit) -> Result<Option<Overruled>, Fault> {
        let edit = edit.clone();
        let applied = self.blocking(move |state| state.apply(&edit)).await?;
        // Our stamp is no news; an edit that it was put into is.
        if self.told.as_ref() == Some(&applied.before) {
            self.told = Some(applied.snapshot.text.clone());
        }
        self.snapshot = Some(self.examined(applied.snapshot));
        Ok(applied.overruled)
    }

    /// Takes over what was saved to a text that has been replaced meanwhile.
    pub async fn look_back(&self) {
        if let Err(fault) = self.blocking(StateFile::look_back).await {
            error!("{fault}");
        }
    }

    /// Runs file work on a thread of its own. It doesn't panic; if it did, this would fail.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&StateFile) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let state = Arc::clone(&self.state);
        match spawn_blocking(move || work(&state)).await {
            Ok(result) => result,
            Err(error) => Err(Fault::process("the state file could not be handled").because(error)),
        }
    }
}
