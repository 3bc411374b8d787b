//! Delivers the notices of deliveries to their receivers, beside the runs: in a task for each delivery, which waits
//! longer after each failure. No run and no stop waits for it.

mod attempt;

use std::{
    collections::{HashMap, HashSet},
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    task::{AbortHandle, Id, JoinError, JoinSet},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use attempt::{Attempt, Tools};

use super::{Open, quit::QuitFile, siblings::Destination};
use crate::{
    base::{clock::Clock, event::NoticeEvent, events::Events, identity::DeliveryId},
    engine::notices::Removed,
    state::{Entry, Snapshot, folders::Folders, identity::EntryId},
    store::{
        Outbox,
        records::{Databases, StoredOutbox},
    },
};

/// Time between two attempts during a run, and after the first failed attempt. It doubles after each further failure.
const MINUTE: Duration = Duration::from_secs(60);
/// Upper bound of the time between two attempts.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// Time without progress after which `go --once` leaves the notices to the next start.
const LAST: Duration = Duration::from_secs(60);
/// Maximum number of databases that are searched for notices at the same time.
const AT_ONCE: usize = 8;

/// The deliveries whose entries name a receiver of notices.
pub struct Notices {
    tools: Tools,
    targets: HashMap<DeliveryId, Target>,
    /// The entries that were opened, by the names of their folders, each with its delivery.
    opened: HashMap<String, (EntryId, DeliveryId)>,
    /// The version of the state file to which the targets belong.
    followed: Option<Arc<Snapshot>>,
    attempts: JoinSet<Attempt>,
    /// The deliveries with a receiver whose runs are active.
    runs: HashSet<DeliveryId>,
    /// Whether `go --once` is about to end: no further attempt follows a failed one.
    is_last: bool,
}

/// A delivery, and when its notices are delivered next.
struct Target {
    entry: Entry,
    outbox: StoredOutbox,
    /// Time of the next attempt; `None` if no notice can wait.
    due: Option<Instant>,
    /// Number of failed attempts since the last successful one.
    failed: u32,
    /// The current attempt.
    attempt: Option<AbortHandle>,
}

impl Notices {
    pub fn new(open: Arc<Open>, databases: Arc<Databases>, clock: Arc<dyn Clock>, events: Events) -> Self {
        let (searches, batches) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::default());
        Notices {
            tools: Tools { open, databases, clock, events, searches, batches },
            targets: HashMap::new(),
            opened: HashMap::new(),
            followed: None,
            attempts: JoinSet::new(),
            runs: HashSet::new(),
            is_last: false,
        }
    }

    /// Handles the attempts that have ended, and starts those that are due. `snapshot` is the state file as last read:
    /// the notices of paused and removed entries wait.
    pub fn tick(&mut self, snapshot: &Arc<Snapshot>, folders: &Folders) {
        while let Some(attempt) = self.attempts.try_join_next_with_id() {
            self.ended(attempt);
        }
        if self.followed.as_ref().is_none_or(|followed| !Arc::ptr_eq(followed, snapshot)) {
            self.follow(snapshot, folders);
            self.followed = Some(Arc::clone(snapshot));
        }
        let now = Instant::now();
        for target in self.targets.values_mut() {
            if target.attempt.is_none() && target.due.is_some_and(|due| due <= now) {
                target.due = None;
                let (tools, entry) = (self.tools.clone(), target.entry.clone());
                let outbox = target.outbox.clone();
                let attempt = async move { tools.attempt(&entry, &outbox).await };
                target.attempt = Some(self.attempts.spawn(attempt));
            }
        }
    }

    /// Notes that a run has begun. The notices of its delivery are delivered every minute until it ends.
    pub fn run_began(&mut self, run: &Destination) {
        if run.receiver.is_some() {
            self.runs.insert(run.delivery.clone());
        }
        if let Some(target) = self.targets.get_mut(&run.delivery) {
            target.due.get_or_insert_with(|| Instant::now() + MINUTE);
        }
    }

    /// Notes that a run has ended. The notices of its delivery are delivered at the next tick, unless the receiver has
    /// failed before.
    pub fn run_ended(&mut self, run: &Destination) {
        self.runs.remove(&run.delivery);
        if let Some(target) = self.targets.get_mut(&run.delivery) {
            target.due = target.due.filter(|_| target.failed > 0).or_else(|| Some(Instant::now()));
        }
    }

    /// Tries once more to deliver what waits, before `go --once` ends, and reports what is left. Gives up at a
    /// stop (also by the quit file), or after [`LAST`] without progress.
    pub async fn last(
        &mut self,
        snapshot: &Arc<Snapshot>,
        folders: &Folders,
        stop: &CancellationToken,
        quit: &QuitFile,
    ) {
        self.is_last = true;
        for target in self.targets.values_mut() {
            target.due = target.due.map(|_| Instant::now());
        }
        let mut quit = pin!(quit.appears());
        let problem = loop {
            // Also starts the attempts that became due while another one of their targets was in flight.
            self.tick(snapshot, folders);
            if self.attempts.is_empty() {
                return;
            }
            let before = self.tools.batches.load(Ordering::Relaxed);
            let joined = tokio::select! {
                joined = timeout(LAST, self.attempts.join_next_with_id()) => joined,
                () = stop.cancelled() => break "importer was stopped".to_owned(),
                () = &mut quit => {
                    stop.cancel();
                    break "importer was stopped".to_owned();
                }
            };
            match joined {
                Ok(attempt) => attempt.into_iter().for_each(|attempt| self.ended(attempt)),
                Err(_) if self.tools.batches.load(Ordering::Relaxed) == before => {
                    break format!("it has not responded within {} s", LAST.as_secs());
                }
                Err(_) => {}
            }
        };
        self.stop().await;
        self.report_left(&problem).await;
    }

    /// Reports the notices that are left by attempts which were aborted.
    async fn report_left(&mut self, problem: &str) {
        for (delivery, target) in &mut self.targets {
            if target.attempt.take().is_none() {
                continue;
            }
            let notices = target.outbox.status().await.ok().map(|status| status.waiting);
            if notices != Some(0) {
                let (list_id, problem) = (delivery.list.id.clone(), problem.to_owned());
                self.tools.events.emit(NoticeEvent::Left { list_id, notices, problem });
            }
        }
    }

    /// Ends all attempts at a stop. The next start repeats a batch whose confirmation is still missing.
    pub async fn stop(&mut self) {
        self.attempts.shutdown().await;
    }

    /// Takes over the entries of the state file.
    fn follow(&mut self, snapshot: &Snapshot, folders: &Folders) {
        let mut opened = HashMap::new();
        let mut targets = HashMap::new();
        let notifies = |entry: &&Entry| entry.enabled && !entry.notify.value.is_null();
        for entry in snapshot.entries.iter().filter(notifies) {
            let known = self.opened.get(&entry.folder).filter(|(id, _)| *id == entry.id);
            let delivery = known.map(|(_, delivery)| delivery.clone()).or_else(|| self.tools.delivery(entry));
            let Some(delivery) = delivery else { continue };
            opened.insert(entry.folder.clone(), (entry.id.clone(), delivery.clone()));
            let known = self.targets.remove(&delivery).filter(|target| target.has_receiver_of(entry));
            let mut target = known.unwrap_or_else(|| {
                let outbox = StoredOutbox::new(&self.tools.databases, &folders.delivery(&delivery));
                // An earlier process may have left notices.
                let due = Some(Instant::now());
                Target { entry: entry.clone(), outbox, due, failed: 0, attempt: None }
            });
            target.entry = entry.clone();
            // Entries with one delivery have one receiver.
            targets.entry(delivery).or_insert(target);
        }
        // The attempts of former receivers end as soon as their targets are dropped.
        (self.opened, self.targets) = (opened, targets);
    }

    /// Handles the end of an attempt. Ignores an attempt that was aborted, or whose target has another one.
    fn ended(&mut self, attempt: Result<(Id, Attempt), JoinError>) {
        let id = attempt.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let is_its = |target: &Target| target.attempt.as_ref().is_some_and(|attempt| attempt.id() == id);
        let Some((delivery, target)) = self.targets.iter_mut().find(|(_, target)| is_its(target)) else {
            return;
        };
        target.attempt = None;
        // The panic hook has printed the cause.
        let bug =
            || "a bug in importer ended the delivery of notices; please report the lines above".to_owned();
        let panicked = Attempt { removed: Removed::default(), failed: Some((bug(), None)) };
        let Attempt { removed, failed } = attempt.map_or(panicked, |(_, attempt)| attempt);
        let list_id = delivery.list.id.clone();
        let Removed { confirmed, refused, .. } = removed;
        if confirmed > 0 {
            self.tools.events.emit(NoticeEvent::Delivered { list_id: list_id.clone(), notices: confirmed });
        }
        if refused > 0 {
            self.tools.events.emit(NoticeEvent::Refused { list_id: list_id.clone(), notices: refused });
        }
        let Some((problem, notices)) = failed else {
            target.failed = 0;
            if self.runs.contains(delivery) {
                target.due.get_or_insert_with(|| Instant::now() + MINUTE);
            }
            return;
        };
        if self.is_last {
            target.due = None;
            return self.tools.events.emit(NoticeEvent::Left { list_id, notices, problem });
        }
        target.failed = if confirmed > 0 { 1 } else { target.failed + 1 };
        let wait = (MINUTE * 2u32.saturating_pow(target.failed - 1)).min(LONGEST);
        target.due = Some(Instant::now() + wait);
        self.tools.events.emit(NoticeEvent::Waiting { list_id, notices, problem, wait });
    }
}

impl Target {
    /// Returns whether the target delivers to the receiver that this version of the entry names.
    fn has_receiver_of(&self, entry: &Entry) -> bool {
        self.entry.notify.value == entry.notify.value
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(attempt) = &self.attempt {
            attempt.abort();
        }
    }
}
