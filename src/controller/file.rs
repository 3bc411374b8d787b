//! The controller's view of the state file: its last readable version, and the results not yet written to it.

use std::{path::Path, sync::Arc};

use log::{error, info, warn};
use tokio::task::{self, spawn_blocking};

use super::{Open, OpenRequest};
use crate::{
    base::fault::Fault,
    state::{Edit, Entry, Mention, Snapshot, StateFile, document::Overruled, folders::Folders},
};

/// The state file, with what was read from it and logged about it.
pub struct File {
    state: Arc<StateFile>,
    open: Arc<Open>,
    snapshot: Option<Snapshot>,
    /// The text whose warnings were logged.
    told: Option<String>,
    /// The error of the last read, if it failed.
    broken: Option<String>,
    /// Results of runs that could not be written yet, with the tasks that ran them. The journal has them too.
    pub unwritten: Vec<(task::Id, Edit)>,
}

impl File {
    /// Returns the view of `state` before the first read. `open` checks the settings of each entry.
    pub fn new(state: StateFile, open: Arc<Open>) -> Self {
        File { state: Arc::new(state), open, snapshot: None, told: None, broken: None, unwritten: vec![] }
    }

    /// Returns the path of the state file.
    pub fn path(&self) -> &Path {
        self.state.path()
    }

    /// Returns the folders of importer's own files.
    pub fn folders(&self) -> Folders {
        self.state.folders()
    }

    /// Returns the entries that can run, as last read; none before the first read.
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

    /// Returns whether the file was readable at least once.
    pub fn was_read(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Reads the file, logs its problems and warnings, and returns the number of entries that can't run. The
    /// warnings of a text are logged once, its problems at every read.
    ///
    /// # Errors
    ///
    /// The file as a whole can't be read. The entries as last read stay valid.
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
                warn!("the state file has no entry; add one, such as `{{\"list_id\": \"…\"}}`.");
            }
        }
        let problems = snapshot.problems.len();
        self.told = Some(snapshot.text.clone());
        self.snapshot = Some(snapshot);
        Ok(problems)
    }

    /// Turns entries whose source, mapping or sink can't be opened into problems.
    fn examined(&self, mut snapshot: Snapshot) -> Snapshot {
        snapshot.examine(|entry| match (self.open)(OpenRequest { entry, urgent: false }) {
            // A paused entry needs no API key.
            Err(unfit) if unfit.environment && !entry.enabled => Ok(()),
            opened => opened.map(|_| ()),
        });
        snapshot
    }

    /// Returns whether the text, or the error of reading it, differs from the last read. importer's own
    /// writes do not count as changes.
    pub async fn changed(&self) -> bool {
        match self.blocking(StateFile::load).await {
            Ok(new) => self.broken.is_some() || self.told.as_ref() != Some(&new.text),
            Err(fault) => self.broken != Some(fault.to_string()),
        }
    }

    /// Writes a pending edit to the journal. From then on it can't be lost: [`write`](Self::write) or the
    /// next start applies it.
    ///
    /// # Errors
    ///
    /// The journal can't be written.
    pub async fn wish(&self, edit: &Edit) -> Result<(), Fault> {
        let edit = edit.clone();
        self.blocking(move |state| state.wish(&edit)).await
    }

    /// Writes the result of a run into its entry. Returns the reason if an edit by hand has overruled it.
    ///
    /// # Errors
    ///
    /// The file can't be read or written at the moment; the edit can be repeated.
    pub async fn write(&mut self, edit: &Edit) -> Result<Option<Overruled>, Fault> {
        let edit = edit.clone();
        let applied = self.blocking(move |state| state.apply(&edit)).await?;
        // importer's own write is no change, but an edit by hand that it was written into is.
        if self.told.as_ref() == Some(&applied.before) {
            self.told = Some(applied.snapshot.text.clone());
        }
        self.snapshot = Some(self.examined(applied.snapshot));
        Ok(applied.overruled)
    }

    /// Recovers edits that an editor saved to a text that importer had replaced. Logs an error if that fails.
    pub async fn look_back(&self) {
        if let Err(fault) = self.blocking(StateFile::look_back).await {
            error!("{fault}");
        }
    }

    /// Runs blocking file work on its own thread. A panic of `work`, which would be a bug, returns an error.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&StateFile) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let state = Arc::clone(&self.state);
        match spawn_blocking(move || work(&state)).await {
            Ok(result) => result,
            Err(error) => Err(Fault::process(
                "a task that works on the state file failed; this is a bug in importer, please report it",
            )
            .because(error)),
        }
    }
}
