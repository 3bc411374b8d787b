//! The open databases of a process. A database is opened when it is needed first, and closed a minute after
//! its last use. At most 64 are open: for another one, the one that has been idle longest is closed.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::Instant,
};

use super::{
    database::Open,
    file::{self, Failed},
    waiting::Waiting,
};
use crate::{
    base::{event::StoreEvent, events::Events, fault::Fault},
    store::files,
};

/// Maximum number of open databases. Each takes a file, and 4 MiB of memory for its pages.
const MOST: usize = 64;
/// Time without use after which a database is closed.
const IDLE: Duration = Duration::from_secs(60);
/// Time between two attempts to close another database, while all are in use.
const AGAIN: Duration = Duration::from_millis(50);

/// The open databases of a process.
///
/// A run polls its futures in one task, and may stop polling one of them for a while. A future that waits must
/// therefore not own a database. Only a thread for files owns a database, and only during one operation, which
/// ends whether the future is polled or not.
#[derive(Debug)]
pub struct Databases(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    /// One slot for each database that was ever used.
    slots: Mutex<HashMap<PathBuf, Arc<Slot>>>,
    /// Number of databases that may be opened in addition.
    free: Mutex<usize>,
    closed: Condvar,
    events: Events,
}

#[derive(Debug)]
struct Slot {
    path: PathBuf,
    /// `None`: the database is closed. Locked only on threads for files, for one operation.
    open: Mutex<Option<Open>>,
    /// Changes that are not in the file yet. Locked only for a moment.
    waiting: Arc<Mutex<Waiting>>,
    used: Mutex<Instant>,
}

/// What to do with a database that can't be understood, after it was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IfDamaged {
    /// Continue as without it.
    Continue,
    /// Return an error: what the caller decided so far depends on the contents.
    Fail,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Databases {
    fn default() -> Self {
        Databases::new(Events::default())
    }
}

impl Databases {
    /// Creates the pool of a process. It reports databases that can't be read or written.
    pub fn new(events: Events) -> Self {
        Databases::with_limit(MOST, events)
    }

    /// Creates a pool of at most this many open databases.
    pub fn with_limit(most: usize, events: Events) -> Self {
        let (slots, free, closed) = (Mutex::default(), Mutex::new(most), Condvar::new());
        Databases(Arc::new(Pool { slots, free, closed, events }))
    }

    /// Returns where the pool reports.
    pub(super) fn events(&self) -> &Events {
        &self.0.events
    }

    /// Works on the changes of a database that are not in its file yet.
    pub(super) fn waiting<T>(&self, path: &Path, work: impl FnOnce(&mut Waiting) -> T) -> T {
        work(&mut locked(&self.0.slot(path).waiting))
    }

    /// Works on a database, on a thread for files. Opens it first if it is closed. Without `create`, returns
    /// `None` if there is no file. The work ends even if the future is dropped.
    ///
    /// # Errors
    ///
    /// A [`Fault::List`] that names the file.
    pub(super) async fn within<T: Send + 'static>(
        &self,
        path: &Path,
        create: bool,
        if_damaged: IfDamaged,
        work: impl FnOnce(&mut Open) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<Option<T>, Fault> {
        let (pool, slot) = (Arc::clone(&self.0), self.0.slot(path));
        let done = files::blocking(path, move |path| {
            let mut open = locked(&slot.open);
            if open.is_none() && !create && !path.exists() {
                return Ok(Ok(None));
            }
            let failed = match pool.used(&slot, &mut open, work) {
                Ok(done) => return Ok(Ok(Some(done))),
                Err(failed) => failed,
            };
            // After an error, only another opening shows what is in the file.
            pool.shut(&mut open);
            match failed {
                Failed::Io(error) => Err(error),
                Failed::Damaged => file::set_aside(path).map(Err),
            }
        });
        match (done.await?, if_damaged) {
            (Ok(done), _) => Ok(done),
            (Err(aside), IfDamaged::Continue) => {
                let path = path.to_owned();
                self.0.events.emit(StoreEvent::DatabaseSetAside { path, aside });
                Ok(None)
            }
            (Err(aside), IfDamaged::Fail) => {
                let what =
                    format!("`{}` can't be read and was renamed to `{}`", path.display(), aside.display());
                let hint = "the next run starts without it: importer does not know what was delivered, so it sends \
                            unchanged records again, and the safety brake has nothing to compare with";
                Err(Fault::list(what).hint(hint))
            }
        }
    }

    /// Closes the databases that nobody has used for a minute. Does not wait until they are closed.
    pub fn close_idle(&self) {
        self.0.idle(IDLE).into_iter().for_each(|slot| drop(self.0.close(slot)));
    }

    /// Writes what still waits in memory, and closes all databases.
    pub async fn close(&self) {
        let slots: Vec<Arc<Slot>> = locked(&self.0.slots).values().cloned().collect();
        for slot in slots {
            let _ = self.0.close(slot).await;
        }
    }
}

impl Pool {
    fn slot(&self, path: &Path) -> Arc<Slot> {
        let mut slots = locked(&self.slots);
        let new = || Slot {
            path: path.to_owned(),
            open: Mutex::default(),
            waiting: Arc::default(),
            used: Mutex::new(Instant::now()),
        };
        let slot = slots.entry(path.to_owned()).or_insert_with(|| Arc::new(new()));
        *locked(&slot.used) = Instant::now();
        Arc::clone(slot)
    }

    /// Opens the database if it is closed, and does the work.
    fn used<T>(
        &self,
        slot: &Slot,
        open: &mut Option<Open>,
        work: impl FnOnce(&mut Open) -> Result<T, redb::Error>,
    ) -> Result<T, Failed> {
        if open.is_none() {
            self.admit();
            match file::guarded(|| Open::at(&slot.path, &slot.waiting, &self.events)) {
                Ok(opened) => *open = Some(opened),
                Err(failed) => {
                    self.leave();
                    return Err(failed);
                }
            }
        }
        file::guarded(|| open.as_mut().map_or(Err(redb::Error::DatabaseClosed), work))
    }

    /// Waits until another database may be opened. Closes one for it if there are too many.
    fn admit(&self) {
        loop {
            {
                let mut free = locked(&self.free);
                if *free > 0 {
                    *free -= 1;
                    return;
                }
            }
            if let Some(slot) = self.idle(Duration::ZERO).first() {
                if let Ok(mut open) = slot.open.try_lock() {
                    self.write_and_shut(slot, &mut open);
                }
                continue;
            }
            // One may be idle again without being closed.
            let free = locked(&self.free);
            if *free == 0 {
                drop(self.closed.wait_timeout(free, AGAIN));
            }
        }
    }

    fn leave(&self) {
        *locked(&self.free) += 1;
        self.closed.notify_one();
    }

    /// Returns the open databases that nobody has used for this long, the one with the longest first.
    fn idle(&self, time: Duration) -> Vec<Arc<Slot>> {
        let slots = locked(&self.slots);
        let is_idle = |slot: &&Arc<Slot>| {
            let is_open = slot.open.try_lock().is_ok_and(|open| open.is_some());
            is_open && locked(&slot.used).elapsed() >= time
        };
        let mut idle: Vec<Arc<Slot>> = slots.values().filter(is_idle).cloned().collect();
        idle.sort_by_key(|slot| *locked(&slot.used));
        idle
    }

    /// Closes a database on a thread for files, and writes first what waits in memory.
    fn close(self: &Arc<Self>, slot: Arc<Slot>) -> JoinHandle<()> {
        let pool = Arc::clone(self);
        spawn_blocking(move || pool.write_and_shut(&slot, &mut locked(&slot.open)))
    }

    fn write_and_shut(&self, slot: &Slot, open: &mut Option<Open>) {
        let written = file::guarded(|| open.as_mut().map_or(Ok(()), Open::write));
        self.shut(open);
        if let Err(failed) = written {
            let error = match failed {
                Failed::Damaged => "it can't be understood".to_owned(),
                Failed::Io(error) => error.to_string(),
            };
            self.events.emit(StoreEvent::DatabaseUnwritten { path: slot.path.clone(), error });
        }
    }

    /// Closes a database. Closing a damaged one may panic.
    fn shut(&self, open: &mut Option<Open>) {
        if let Some(open) = open.take() {
            let _ = file::guarded(|| {
                drop(open);
                Ok(())
            });
            self.leave();
        }
    }
}

#[cfg(test)]
#[path = "databases_tests.rs"]
mod tests;
