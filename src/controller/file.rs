//! The controller's view of the state file: its last readable version.

use std::{cell::Cell, collections::HashMap, path::Path, sync::Arc};

use log::{error, info, warn};
use tokio::task::spawn_blocking;

use super::{Open, OpenRequest};
use crate::{
    base::fault::Fault,
    state::{Applied, Entry, Snapshot, StateFile, folders::Folders},
};

/// The state file, with what was read from it and logged about it. It is read only while no write is in
/// progress, so that the last version is the newest one.
pub struct File {
    state: Arc<StateFile>,
    open: Arc<Open>,
    snapshot: Option<Arc<Snapshot>>,
    /// The version whose warnings were logged.
    told: Option<Arc<Snapshot>>,
    /// The error of the last read, if it failed.
    broken: Option<String>,
    /// Whether an entry could not be opened because of the environment, which may change without an edit.
    environment: bool,
}

impl File {
    /// Returns the view of `state` before the first read. `open` checks the settings of each entry.
    pub fn new(state: Arc<StateFile>, open: Arc<Open>) -> Self {
        File { state, open, snapshot: None, told: None, broken: None, environment: false }
    }

    /// Returns the path of the state file.
    pub fn path(&self) -> &Path {
        self.state.path()
    }

    /// Returns the folders of importer's own files.
    pub fn folders(&self) -> Folders {
        self.state.folders()
    }

    /// Returns the file as last read; without any entry before the first read.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.clone().unwrap_or_default()
    }

    /// Returns the entries as last read, or `None` if one of them has a problem.
    pub fn all_read(&self) -> Option<&[Entry]> {
        let whole = self.snapshot.as_ref().filter(|snapshot| snapshot.problems.is_empty());
        whole.map(|snapshot| snapshot.entries.as_slice())
    }

    /// Returns whether the file was readable at least once.
    pub fn was_read(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Reads the file, logs its problems and warnings, and returns the number of entries that can't run. The
    /// warnings of a text are logged once, its problems at every read. A text that has not changed is not
    /// parsed again.
    ///
    /// # Errors
    ///
    /// The file as a whole can't be read. The entries as last read stay valid.
    pub async fn read(&mut self) -> Result<usize, Fault> {
        let known = self.snapshot.clone().filter(|_| !self.environment);
        let snapshot = match self.load_unless(known.clone()).await {
            Ok(None) => known.unwrap_or_default(),
            Ok(Some(snapshot)) => Arc::new(self.examined(snapshot)),
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
        if !self.is_told(&snapshot.text) {
            for warning in &snapshot.warnings {
                warn!("{}.", warning.at(self.path()));
            }
            if snapshot.entries.is_empty() && snapshot.problems.is_empty() {
                warn!("the state file has no entry; add one, such as `{{\"list_id\": \"…\"}}`.");
            }
        }
        self.told = Some(Arc::clone(&snapshot));
        self.snapshot = Some(snapshot);
        Ok(self.snapshot.as_ref().map_or(0, |snapshot| snapshot.problems.len()))
    }

    /// Takes over the file as a write has left it.
    pub fn written(&mut self, applied: Applied) {
        let snapshot = Arc::new(self.examined(applied.snapshot));
        // importer's own write is no change, but an edit by hand that it was written into is.
        if self.is_told(&applied.before) {
            self.told = Some(Arc::clone(&snapshot));
        }
        self.snapshot = Some(snapshot);
    }

    /// Returns whether the text, or the error of reading it, differs from the last read. importer's own
    /// writes do not count as changes.
    pub async fn changed(&self) -> bool {
        match self.load_unless(self.snapshot.clone()).await {
            Ok(new) => {
                let new = new.map(Arc::new).or_else(|| self.snapshot.clone()).unwrap_or_default();
                self.broken.is_some() || !self.is_told(&new.text)
            }
            Err(fault) => self.broken != Some(fault.to_string()),
        }
    }

    fn is_told(&self, text: &str) -> bool {
        self.told.as_ref().is_some_and(|told| told.text == text)
    }

    /// Turns entries whose source, mapping or sink can't be opened into problems. An entry that could be opened
    /// in the last version is not opened again: only its adapters and the environment decide that.
    fn examined(&mut self, mut snapshot: Snapshot) -> Snapshot {
        let last = self.snapshot();
        let mut opened: HashMap<&str, Vec<&Entry>> = HashMap::new();
        for entry in &last.entries {
            opened.entry(&entry.folder).or_default().push(entry);
        }
        let is_open = |entry: &Entry| {
            opened.get(entry.folder.as_str()).is_some_and(|all| all.iter().any(|open| open.id == entry.id))
        };
        let environment = Cell::new(false);
        snapshot.examine(|entry| {
            if is_open(entry) {
                return Ok(());
            }
            match (self.open)(OpenRequest { entry, urgent: false }) {
                // A paused entry needs no API key.
                Err(unfit) if unfit.environment && !entry.enabled => Ok(()),
                Err(unfit) => {
                    environment.set(environment.get() || unfit.environment);
                    Err(unfit)
                }
                Ok(_) => Ok(()),
            }
        });
        self.environment = environment.get();
        snapshot
    }

    /// Recovers edits that an editor saved to a text that importer had replaced. Logs an error if that fails.
    pub async fn look_back(&self) {
        if let Err(fault) = blocking(&self.state, StateFile::look_back).await {
            error!("{fault}");
        }
    }

    async fn load_unless(&self, known: Option<Arc<Snapshot>>) -> Result<Option<Snapshot>, Fault> {
        let text =
            move |state: &StateFile| state.load_unless(known.as_ref().map(|snapshot| snapshot.text.as_str()));
        blocking(&self.state, text).await
    }
}

/// Runs blocking work on the state file on its own thread. A panic of `work`, which would be a bug, returns an
/// error.
pub async fn blocking<T: Send + 'static>(
    state: &Arc<StateFile>,
    work: impl FnOnce(&StateFile) -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let state = Arc::clone(state);
    match spawn_blocking(move || work(&state)).await {
        Ok(result) => result,
        Err(error) => Err(bug().because(error)),
    }
}

/// Returns the fault of a task that has panicked.
pub fn bug() -> Fault {
    Fault::process("a task that works on the state file failed; this is a bug in importer, please report it")
}
