//! The controller's view of the state file: its last readable version.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::Arc,
};

use log::{error, info, warn};
use tokio::task::spawn_blocking;

use super::{
    Open, OpenRequest,
    siblings::{Destination, Destinations},
};
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
    /// The destinations of the entries of lists with several entries, by the names of the entries' folders.
    destinations: HashMap<String, Destination>,
    /// Whether an entry could not be opened because of the environment, which may change without an edit.
    environment: bool,
}

impl File {
    /// Returns the view of `state` before the first read. `open` checks the settings of each entry.
    pub fn new(state: Arc<StateFile>, open: Arc<Open>) -> Self {
        let destinations = HashMap::new();
        File { state, open, snapshot: None, told: None, broken: None, destinations, environment: false }
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
        // importer's own write is not a change. An edit by hand just before that write is one.
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

    /// Turns entries whose source, mapping or sink can't be opened into problems. An entry that was opened in the
    /// last version is not opened again, unless another entry of its list has to be opened.
    fn examined(&mut self, mut snapshot: Snapshot) -> Snapshot {
        let last = self.snapshot();
        let mut before: HashMap<&str, Vec<&Entry>> = HashMap::new();
        for entry in &last.entries {
            before.entry(&entry.folder).or_default().push(entry);
        }
        let is_open = |entry: &Entry| {
            before.get(entry.folder.as_str()).is_some_and(|all| all.iter().any(|open| open.id == entry.id))
        };
        let known = |entry: &Entry| {
            let destination = self.destinations.get(&entry.folder).cloned();
            (is_open(entry) && (entry.alone || destination.is_some())).then_some(destination)
        };
        // Entries of one list are compared by their destinations, so all of them are resolved at the same time:
        // the file of a credential may have changed since the last version.
        let to_open: HashSet<String> = snapshot
            .entries
            .iter()
            .filter(|entry| known(entry).is_none())
            .map(|entry| entry.id.list_id.clone())
            .collect();
        let (mut environment, mut destinations_so_far) = (false, Destinations::default());
        let mut destinations = HashMap::new();
        snapshot.examine(|entry| {
            let known = known(entry).filter(|_| !to_open.contains(&entry.id.list_id));
            let destination = match known {
                Some(destination) => destination,
                None => match (self.open)(OpenRequest { entry, urgent: false }) {
                    // A paused entry needs no API key.
                    Err(unfit) if unfit.environment && !entry.enabled => None,
                    Err(unfit) => {
                        environment |= unfit.environment;
                        return Err(unfit);
                    }
                    Ok(pipeline) => Some(Destination::of(&pipeline)),
                },
            };
            let Some(destination) = destination.filter(|_| !entry.alone) else { return Ok(()) };
            let added = destinations_so_far.add(entry, &destination);
            environment |= added.is_err();
            destinations.insert(entry.folder.clone(), destination);
            added
        });
        (self.environment, self.destinations) = (environment, destinations);
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

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "the tests act as the user, who may save in any way")]

    use std::{
        fs,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;
    use crate::{
        base::{clock::SystemClock, events::Events, time},
        engine::support_tests::{AsItIs, Feed, Store, pipeline},
        state::{Edit, RunStamp, Unfit, layout::NAME, vocabulary::SAMPLE},
    };

    /// Returns a state file with this text, and a counter of the entries that were opened. An entry with the
    /// list `keyless` has no key.
    fn opened(folder: &Path, text: &str) -> (File, Arc<AtomicUsize>) {
        fs::write(folder.join(NAME), text).unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        let open: Open = Box::new(move |OpenRequest { entry, .. }| {
            counter.fetch_add(1, Ordering::Relaxed);
            if entry.id.list_id == "keyless" {
                return Err(Unfit { place: entry.place, text: "no key".into(), environment: true });
            }
            let feed = Feed::new(&[], false);
            let clock = feed.list;
            Ok(pipeline(feed, AsItIs, Store::new(1, 0.0), clock))
        });
        let state =
            Arc::new(StateFile::open(folder, Arc::new(SystemClock), &SAMPLE, Events::default()).unwrap());
        (File::new(state, Arc::new(open)), count)
    }

    fn lists(count: usize) -> String {
        let entries: Vec<String> = (0..count).map(|list| format!("{{\"list_id\": \"l{list}\"}}")).collect();
        format!("[{}]", entries.join(",\n"))
    }

    #[tokio::test]
    async fn a_file_that_has_not_changed_is_neither_parsed_nor_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, opens) = opened(folder.path(), &lists(50));
        assert_eq!(file.read().await.unwrap(), 0);
        let first = file.snapshot();
        for _ in 0..3 {
            assert_eq!(file.read().await.unwrap(), 0);
            assert!(!file.changed().await);
        }
        assert!(Arc::ptr_eq(&first, &file.snapshot()), "it was parsed again");
        assert_eq!(opens.load(Ordering::Relaxed), 50);
        // An edit of one entry opens that entry.
        fs::write(file.path(), lists(50).replace("\"l7\"", "\"l7\", \"worker_count\": 2")).unwrap();
        assert!(file.changed().await);
        file.read().await.unwrap();
        assert_eq!(opens.load(Ordering::Relaxed), 51);
        // A write of ours opens none, and is no change.
        let entry = file.snapshot().entries[3].clone();
        let stamp = RunStamp {
            latest_timestamp: time::parse("2026-11-21T12:00:00").unwrap(),
            elapsed_seconds: 1.0,
            total_updates: 2,
        };
        let edit = Edit { entry: entry.id, alone: entry.alone, was: entry.was, stamp };
        file.written(file.state.apply(&[edit]).unwrap());
        assert!(file.snapshot().entries[3].latest_timestamp.is_some() && !file.changed().await);
        file.read().await.unwrap();
        assert_eq!(opens.load(Ordering::Relaxed), 51);
    }

    #[tokio::test]
    async fn an_entry_that_the_environment_keeps_closed_is_opened_at_every_read() {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, opens) = opened(folder.path(), r#"[{"list_id": "a"}, {"list_id": "keyless"}]"#);
        for reads in 1..4 {
            assert_eq!(file.read().await.unwrap(), 1);
            assert_eq!(opens.load(Ordering::Relaxed), 1 + reads);
        }
    }

    /// The text is the one that was read, but a write into another text came in between.
    #[tokio::test]
    async fn an_edit_that_is_undone_after_a_write_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let text = lists(2);
        let (mut file, _) = opened(folder.path(), &text);
        file.read().await.unwrap();
        let entry = file.snapshot().entries[0].clone();
        fs::write(file.path(), text.replace("\"l1\"", "\"l2\"")).unwrap();
        let stamp = RunStamp {
            latest_timestamp: time::parse("2026-11-21T12:00:00").unwrap(),
            elapsed_seconds: 1.0,
            total_updates: 2,
        };
        let edit = Edit { entry: entry.id, alone: entry.alone, was: entry.was, stamp };
        file.written(file.state.apply(&[edit]).unwrap());
        assert_eq!(file.snapshot().entries[1].id.list_id, "l2");
        assert!(file.changed().await, "the edit by hand is news");
        fs::write(file.path(), &text).unwrap();
        file.read().await.unwrap();
        assert_eq!(file.snapshot().entries[1].id.list_id, "l1");
    }
}
