//! Looks now and then, beside the runs, for errors that a sink has found after it had taken the records.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use log::{debug, warn};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use super::report;
use crate::{
    base::clock::Clock,
    engine::{
        deferred::{Account, BETWEEN},
        plan::Ends,
    },
};

/// How long the end of a single pass waits for the look after it.
const LAST: Duration = Duration::from_secs(10);

pub struct Late {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    account: Option<Account>,
    /// Something was taken since the last look.
    taken: Arc<AtomicBool>,
    looked: Option<Instant>,
    looks: JoinSet<()>,
}

impl Late {
    /// `path` is where the last look is kept.
    pub fn new(path: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Late { path, clock, account: None, taken: Arc::default(), looked: None, looks: JoinSet::new() }
    }

    /// A run begins. A sink does not look at once at what it takes. Answers the flag that the run sets when something was taken.
    pub fn begins(&mut self, ends: &Ends) -> Arc<AtomicBool> {
        if !ends.sink.has_late_errors() {
            return Arc::default();
        }
        self.looked.get_or_insert_with(Instant::now);
        self.account = Some(Account::of(ends));
        Arc::clone(&self.taken)
    }

    /// Looks when it is time and there is a reason to.
    pub fn glance(&mut self) {
        while self.looks.try_join_next().is_some() {}
        let between = BETWEEN.to_std().unwrap_or_default();
        let due = self.looked.is_some_and(|at| at.elapsed() >= between);
        let Some(account) = self.account.clone().filter(|_| due && self.taken.swap(false, Ordering::Relaxed))
        else {
            return;
        };
        self.looked = Some(Instant::now());
        let (path, clock) = (self.path.clone(), Arc::clone(&self.clock));
        self.looks.spawn(async move { look(&path, &account, true, clock.as_ref()).await });
    }

    /// Looks once more before the program ends, if something was sent and the sink answers soon.
    pub async fn last_look(&mut self) {
        if let Some(account) = self.account.take() {
            let taken = self.taken.load(Ordering::Relaxed);
            let look = look(&self.path, &account, taken, self.clock.as_ref());
            if timeout(LAST, look).await.is_err() {
                debug!("no late errors were told in time.");
            }
        }
    }
}

async fn look(path: &Path, account: &Account, taken: bool, clock: &dyn Clock) {
    match account.look(path, taken, clock.now()).await {
        Ok(None) => {}
        Ok(Some(news)) => warn!("{}", report::late_errors(&news)),
        Err(fault) => warn!("{fault}."),
    }
}
