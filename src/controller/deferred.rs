//! Polls a sink, beside the runs, for deferred errors: those that it finds after it has accepted records.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    base::{clock::Clock, event::ProgramEvent, events::Events},
    engine::{
        deferred::{Account, BETWEEN, News},
        plan::Pipeline,
    },
};

/// Maximum time that `go --once` waits for its last poll.
const LAST: Duration = Duration::from_secs(10);

/// Polls the sink of the run that started last, at most once per [`BETWEEN`].
pub struct DeferredErrors {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    events: Events,
    account: Option<Account>,
    /// Whether the sink has accepted records since the last poll.
    taken: Arc<AtomicBool>,
    looked: Option<Instant>,
    looks: JoinSet<()>,
}

impl DeferredErrors {
    /// Returns a poll that keeps the last result in the file `path`.
    pub fn new(path: PathBuf, clock: Arc<dyn Clock>, events: Events) -> Self {
        DeferredErrors {
            path,
            clock,
            events,
            account: None,
            taken: Arc::default(),
            looked: None,
            looks: JoinSet::new(),
        }
    }

    /// Prepares polls for a run that begins, and returns the flag that the run sets when the sink accepts
    /// records. The first poll is due [`BETWEEN`] after the first run, since a sink needs time for its check.
    pub fn begins(&mut self, pipeline: &Pipeline) -> Arc<AtomicBool> {
        let Some(account) = Account::of(pipeline) else { return Arc::default() };
        self.looked.get_or_insert_with(Instant::now);
        self.account = Some(account);
        Arc::clone(&self.taken)
    }

    /// Starts a poll in the background if one is due and the sink has accepted records since the last one.
    pub fn tick(&mut self) {
        while self.looks.try_join_next().is_some() {}
        let between = BETWEEN.to_std().unwrap_or_default();
        let due = self.looked.is_some_and(|at| at.elapsed() >= between);
        let Some(account) = self.account.clone().filter(|_| due && self.taken.swap(false, Ordering::Relaxed))
        else {
            return;
        };
        self.looked = Some(Instant::now());
        let (path, clock, events) = (self.path.clone(), Arc::clone(&self.clock), self.events.clone());
        self.looks.spawn(async move { look(&path, &account, true, clock.as_ref(), &events).await });
    }

    /// Polls once more before the program ends, for at most [`LAST`], if records were sent.
    pub async fn last_poll(&mut self) {
        if let Some(account) = self.account.take() {
            let taken = self.taken.load(Ordering::Relaxed);
            let look = look(&self.path, &account, taken, self.clock.as_ref(), &self.events);
            if timeout(LAST, look).await.is_err() {
                self.events.emit(ProgramEvent::DeferredErrorsLate);
            }
        }
    }
}

async fn look(path: &Path, account: &Account, taken: bool, clock: &dyn Clock, events: &Events) {
    match account.look(path, taken, clock.now()).await {
        Ok(None) => {}
        Ok(Some(News { kinds, at_least, since })) => {
            events.emit(ProgramEvent::DeferredErrors { kinds, at_least, since });
        }
        Err(fault) => events.emit(ProgramEvent::DeferredErrorsUnknown { problem: fault.to_string() }),
    }
}
