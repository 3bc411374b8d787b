//! Reads the state file for the controller: its last readable version, with every entry opened.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::Arc,
};

use tokio::task::spawn_blocking;

use super::{
    Open, OpenRequest,
    lists::{Lists, Opened},
    siblings::{Destination, Destinations},
};
use crate::{
    base::{
        event::FileEvent,
        events::Events,
        fault::Fault,
        identity::{DeliveryId, ListId},
    },
    state::{Applied, Entry, Snapshot, StateFile, Unfit, folders::Folders, model::FirstLoad},
    store::{checkpoint, records},
};

/// The state file, with what was read from it and reported about it. It is read only while no write is in
/// progress, so that the last version is the newest one.
pub struct File {
    state: Arc<StateFile>,
    open: Arc<Open>,
    events: Events,
    /// The last readable version.
    lists: Option<Lists>,
    /// The version whose warnings were reported.
    reported: Option<Arc<Snapshot>>,
    /// The error of the last read, if it failed.
    broken: Option<String>,
    /// The deliveries of the entries that were opened since [`newly_opened`](Self::newly_opened).
    newly_opened: Vec<DeliveryId>,
    /// Whether an entry could not be opened because of the environment, which may change without an edit.
    environment: bool,
}

impl File {
    /// Returns the view of `state` before the first read. `open` checks the settings of each entry.
    pub fn new(state: Arc<StateFile>, open: Arc<Open>, events: Events) -> Self {
        File {
            state,
            open,
            events,
            lists: None,
            reported: None,
            broken: None,
            newly_opened: vec![],
            environment: false,
        }
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
    pub fn lists(&self) -> Lists {
        self.lists.clone().unwrap_or_default()
    }

    /// Returns the deliveries of the entries that were opened since the last call.
    pub fn newly_opened(&mut self) -> Vec<DeliveryId> {
        std::mem::take(&mut self.newly_opened)
    }

    /// Returns the entries as last read, or `None` if one of them has a problem.
    pub fn all_read(&self) -> Option<&[Entry]> {
        let lists = self.lists.as_ref().filter(|lists| lists.snapshot.problems.is_empty());
        lists.map(|lists| lists.snapshot.entries.as_slice())
    }

    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.lists.as_ref().map(|lists| Arc::clone(&lists.snapshot))
    }

    /// Reads the file, reports its problems and warnings, and returns the number of entries that can't run.
    /// The warnings of a text are reported once, its problems at every read. A text that has not changed is
    /// not parsed again.
    ///
    /// # Errors
    ///
    /// The file as a whole can't be read. The entries as last read stay valid.
    pub async fn read(&mut self) -> Result<usize, Fault> {
        let known = self.lists.clone().filter(|_| !self.environment);
        let text = known.as_ref().map(|lists| Arc::clone(&lists.snapshot));
        let lists = match self.load_unless(text).await {
            Ok(None) => {
                let Lists { snapshot, opened, .. } = known.unwrap_or_default();
                self.lists_of(snapshot, opened)
            }
            Ok(Some(snapshot)) => self.examined(snapshot),
            Err(fault) => {
                self.broken = Some(fault.to_string());
                return Err(fault);
            }
        };
        if self.broken.take().is_some() {
            self.events.emit(FileEvent::Readable);
        }
        let snapshot = &lists.snapshot;
        for problem in &snapshot.problems {
            let (text, excerpt) = (problem.at(self.path()), problem.excerpt.clone());
            self.events.emit(FileEvent::EntryInvalid { problem: text, excerpt });
        }
        if !self.is_reported(&snapshot.text) {
            for warning in &snapshot.warnings {
                self.events.emit(FileEvent::Warning { text: warning.at(self.path()) });
            }
            if snapshot.entries.is_empty() && snapshot.problems.is_empty() {
                self.events.emit(FileEvent::Empty);
            }
        }
        let problems = snapshot.problems.len();
        self.reported = Some(Arc::clone(snapshot));
        self.lists = Some(lists);
        Ok(problems)
    }

    /// Takes over the file as a write has left it.
    pub fn written(&mut self, applied: Applied) {
        let lists = self.examined(applied.snapshot);
        // importer's own write is not a change. An edit by hand just before that write is one.
        if self.is_reported(&applied.before) {
            self.reported = Some(Arc::clone(&lists.snapshot));
        }
        self.lists = Some(lists);
    }

    /// Returns whether the file may have changed since its last report. Takes nothing over: a save may be unfinished.
    pub async fn differs(&self) -> bool {
        let Some(known) = self.reported.clone().filter(|_| self.broken.is_none()) else { return true };
        blocking(&self.state, move |state| Ok(state.differs(&known.text))).await.unwrap_or(true)
    }

    /// Returns whether the text, or the error of reading it, differs from the last read. importer's own
    /// writes do not count as changes.
    pub async fn changed(&self) -> bool {
        match self.load_unless(self.snapshot()).await {
            Ok(new) => {
                let new = new.map(Arc::new).or_else(|| self.snapshot()).unwrap_or_default();
                self.broken.is_some() || !self.is_reported(&new.text)
            }
            Err(fault) => self.broken != Some(fault.to_string()),
        }
    }

    fn is_reported(&self, text: &str) -> bool {
        self.reported.as_ref().is_some_and(|reported| reported.text == text)
    }

    /// Turns entries whose source, mapping or sink can't be opened into problems. An entry that was opened in the
    /// last version is not opened again, unless another entry of its list has to be opened.
    fn examined(&mut self, mut snapshot: Snapshot) -> Lists {
        let last = self.lists();
        let mut by_folder: HashMap<&str, Vec<&Entry>> = HashMap::new();
        for entry in &last.snapshot.entries {
            by_folder.entry(&entry.folder).or_default().push(entry);
        }
        let was_read = |entry: &Entry| {
            by_folder.get(entry.folder.as_str()).is_some_and(|same| same.iter().any(|old| old.id == entry.id))
        };
        let is_known = |entry: &Entry| was_read(entry) && (entry.alone || last.opened(entry).is_some());
        // Entries of one list are compared by their destinations, so all of them are opened at the same time: the
        // file of a credential may have changed since the last version.
        let to_open: HashSet<ListId> = snapshot
            .entries
            .iter()
            .filter(|entry| !is_known(entry))
            .map(|entry| entry.list.clone())
            .collect();
        let (mut destinations, mut opened, mut fresh) = (Destinations::default(), HashMap::new(), vec![]);
        self.environment = false;
        snapshot.examine(|entry| {
            let is_stale = to_open.contains(&entry.list);
            let found = if is_stale { self.opened(entry) } else { Ok(last.opened(entry).cloned()) };
            let checked = found.and_then(|found| {
                let Some(found) = found else { return Ok(()) };
                fresh.extend(is_stale.then(|| found.destination.delivery.clone()));
                let added = if entry.alone { Ok(()) } else { destinations.add(entry, &found.destination) };
                opened.insert(entry.folder.clone(), found);
                added
            });
            checked.inspect_err(|unfit| self.environment |= unfit.environment)
        });
        self.newly_opened.append(&mut fresh);
        self.lists_of(Arc::new(snapshot), Arc::new(opened))
    }

    /// Opens an entry. A paused entry needs no API key: without it, returns `None`.
    fn opened(&self, entry: &Entry) -> Result<Option<Opened>, Unfit> {
        match (self.open)(OpenRequest { entry, urgent: false }) {
            Err(unfit) if unfit.environment && !entry.enabled => Ok(None),
            pipeline => pipeline.map(|pipeline| Some(Opened::of(&pipeline))),
        }
    }

    fn lists_of(&self, snapshot: Arc<Snapshot>, opened: Arc<HashMap<String, Opened>>) -> Lists {
        let first_loads = Arc::new(first_loads(&snapshot, &opened, &self.folders()));
        Lists { opened, first_loads, snapshot }
    }

    /// Recovers edits that an editor saved to a text that importer had replaced. Reports a failure.
    pub async fn look_back(&self) {
        if let Err(fault) = blocking(&self.state, StateFile::look_back).await {
            self.events.emit(FileEvent::Unusable { problem: fault.to_string() });
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

/// Returns the folders of the entries whose first load has to be confirmed: a load is a first load if its delivery has no
/// ledger, which a run writes before it delivers a record, and the entry has no checkpoint.
pub fn first_loads(
    snapshot: &Snapshot,
    opened: &HashMap<String, Opened>,
    folders: &Folders,
) -> HashSet<String> {
    let is_first = |entry: &&Entry| {
        let Some(Opened { destination: Destination { delivery, .. }, .. }) = opened.get(&entry.folder) else {
            return false;
        };
        !records::exists(&folders.delivery(delivery))
            && !checkpoint::path(&folders.entry(delivery, &entry.folder)).exists()
    };
    let asking = snapshot.entries.iter().filter(|entry| entry.first_load == FirstLoad::Ask);
    asking.filter(is_first).map(|entry| entry.folder.clone()).collect()
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
        state::{Edit, RunStamp, layout::NAME, vocabulary::SAMPLE},
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
        (File::new(state, Arc::new(open), Events::default()), count)
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
        let first = file.lists().snapshot;
        for _ in 0..3 {
            assert_eq!(file.read().await.unwrap(), 0);
            assert!(!file.changed().await);
        }
        assert!(Arc::ptr_eq(&first, &file.lists().snapshot), "it was parsed again");
        assert_eq!(opens.load(Ordering::Relaxed), 50);
        // An edit of one entry opens that entry.
        fs::write(file.path(), lists(50).replace("\"l7\"", "\"l7\", \"worker_count\": 2")).unwrap();
        assert!(file.changed().await);
        file.read().await.unwrap();
        assert_eq!(opens.load(Ordering::Relaxed), 51);
        // A write of ours opens none, and is no change.
        let entry = file.lists().snapshot.entries[3].clone();
        let stamp = RunStamp {
            latest_timestamp: time::parse("2026-11-21T12:00:00").unwrap(),
            elapsed_seconds: 1.0,
            total_updates: 2,
        };
        let edit = Edit { entry: entry.id, alone: entry.alone, was: entry.was, stamp };
        file.written(file.state.apply(&[edit]).unwrap());
        assert!(file.lists().snapshot.entries[3].latest_timestamp.is_some() && !file.changed().await);
        file.read().await.unwrap();
        assert_eq!(opens.load(Ordering::Relaxed), 51);
    }

    #[tokio::test]
    async fn an_edit_opens_all_entries_of_its_list_and_none_of_another_source_with_that_id() {
        let folder = tempfile::tempdir().unwrap();
        let text = |pace| {
            format!(
                r#"[{{"list_id": "a", "worker_count": {pace}}}, {{"list_id": "a", "consent": "none"}},
                {{"list_id": "a", "source": "shifts"}}]"#
            )
        };
        let (mut file, opens) = opened(folder.path(), &text(1));
        file.read().await.unwrap();
        assert_eq!((opens.load(Ordering::Relaxed), file.newly_opened().len()), (3, 3));
        fs::write(file.path(), text(2)).unwrap();
        file.read().await.unwrap();
        assert_eq!((opens.load(Ordering::Relaxed), file.newly_opened().len()), (5, 2));
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
        let entry = file.lists().snapshot.entries[0].clone();
        fs::write(file.path(), text.replace("\"l1\"", "\"l2\"")).unwrap();
        let stamp = RunStamp {
            latest_timestamp: time::parse("2026-11-21T12:00:00").unwrap(),
            elapsed_seconds: 1.0,
            total_updates: 2,
        };
        let edit = Edit { entry: entry.id, alone: entry.alone, was: entry.was, stamp };
        file.written(file.state.apply(&[edit]).unwrap());
        assert_eq!(file.lists().snapshot.entries[1].id.list_id, "l2");
        assert!(file.changed().await, "the edit by hand is news");
        fs::write(file.path(), &text).unwrap();
        file.read().await.unwrap();
        assert_eq!(file.lists().snapshot.entries[1].id.list_id, "l1");
    }
}
