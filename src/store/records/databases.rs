//! The open databases of a process. A database is opened when it is needed first, and closed a minute after
//! its last use. At most 64 are open: for another one, the one that has been idle longest is closed.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use log::warn;
use tokio::{
    sync::{Mutex as Turn, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore},
    task::{JoinHandle, spawn_blocking},
    time::{Instant, timeout},
};

use super::{
    database::Open,
    file::{self, Failed},
};
use crate::{base::fault::Fault, store::files};

/// Maximum number of open databases. Each takes a file, and 4 MiB of memory for its pages.
const MOST: usize = 64;
/// Time without use after which a database is closed.
const IDLE: Duration = Duration::from_secs(60);
/// Time between two attempts to close another database, while all are in use.
const AGAIN: Duration = Duration::from_millis(50);

/// The open databases of a process.
#[derive(Debug)]
pub struct Databases {
    /// One slot for each database that was ever used.
    slots: Mutex<HashMap<PathBuf, Arc<Slot>>>,
    permits: Arc<Semaphore>,
}

#[derive(Debug)]
struct Slot {
    path: PathBuf,
    /// Who holds it uses the database, and nobody else. `None`: the database is closed.
    held: Arc<Turn<Option<Held>>>,
    used: Mutex<Instant>,
}

#[derive(Debug)]
pub(super) struct Held {
    open: Open,
    _permit: OwnedSemaphorePermit,
}

/// What to do with a database that can't be understood, after it was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IfDamaged {
    /// Continue as without it.
    Continue,
    /// Return an error: what the caller decided so far depends on the contents.
    Fail,
}

impl Default for Databases {
    fn default() -> Self {
        Databases::with_limit(MOST)
    }
}

impl Databases {
    /// Creates a pool of at most this many open databases.
    pub fn with_limit(most: usize) -> Self {
        Databases { slots: Mutex::default(), permits: Arc::new(Semaphore::new(most)) }
    }

    fn slot(&self, path: &Path) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Slot { path: path.to_owned(), held: Arc::default(), used: Mutex::new(Instant::now()) };
        let slot = slots.entry(path.to_owned()).or_insert_with(|| Arc::new(new()));
        *slot.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Arc::clone(slot)
    }

    /// Works on the open database without access to its file. Returns `None`, and does nothing, if the
    /// database is closed.
    pub(super) async fn in_memory<T>(&self, path: &Path, work: impl FnOnce(&mut Open) -> T) -> Option<T> {
        let mut held = self.slot(path).held.clone().lock_owned().await;
        held.as_mut().map(|held| work(&mut held.open))
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
        let slot = self.slot(path);
        let mut held = slot.held.clone().lock_owned().await;
        if held.is_none() && !create && !path.exists() {
            return Ok(None);
        }
        let permit = if held.is_none() { Some(self.permit().await) } else { None };
        let done = files::blocking(path, move |path| {
            let failed = match used(&mut held, permit, path, work) {
                Ok(done) => return Ok(Ok(done)),
                Err(failed) => failed,
            };
            // After an error, only another opening shows what is in the file.
            let _ = file::guarded(|| Ok(drop(held.take())));
            match failed {
                Failed::Io(error) => Err(error),
                Failed::Damaged => file::set_aside(path).map(Err),
            }
        });
        match (done.await?, if_damaged) {
            (Ok(done), _) => Ok(Some(done)),
            (Err(aside), IfDamaged::Continue) => {
                warn!("{}; {WITHOUT}.", damaged(path, &aside));
                Ok(None)
            }
            (Err(aside), IfDamaged::Fail) => {
                Err(Fault::list(damaged(path, &aside))
                    .hint(format!("the next run starts without it: {WITHOUT}")))
            }
        }
    }

    /// Returns a permit to open a database. Closes another one for it if there are too many.
    async fn permit(&self) -> OwnedSemaphorePermit {
        loop {
            if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
                return permit;
            }
            let closing = self.longest_idle().map(close);
            let waits = timeout(AGAIN, Arc::clone(&self.permits).acquire_owned());
            if let Ok(Ok(permit)) = waits.await {
                return permit;
            }
            drop(closing);
        }
    }

    /// Returns the open database that has been idle longest, locked.
    fn longest_idle(&self) -> Option<(PathBuf, OwnedMutexGuard<Option<Held>>)> {
        self.idle(Duration::ZERO).into_iter().next()
    }

    /// Returns the open databases that nobody has used for this long, locked, the one with the longest first.
    fn idle(&self, time: Duration) -> Vec<(PathBuf, OwnedMutexGuard<Option<Held>>)> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let used = |slot: &Slot| *slot.used.lock().unwrap_or_else(PoisonError::into_inner);
        let mut idle: Vec<&Arc<Slot>> = slots.values().filter(|slot| used(slot).elapsed() >= time).collect();
        idle.sort_by_key(|slot| used(slot));
        let locked = idle.into_iter().filter_map(|slot| {
            let held = slot.held.clone().try_lock_owned().ok().filter(|held| held.is_some())?;
            Some((slot.path.clone(), held))
        });
        locked.collect()
    }

    /// Closes the databases that nobody has used for a minute. Does not wait until they are closed.
    pub fn close_idle(&self) {
        self.idle(IDLE).into_iter().for_each(|idle| drop(close(idle)));
    }

    /// Writes what still waits in memory, and closes all databases.
    pub async fn close(&self) {
        let slots: Vec<Arc<Slot>> =
            self.slots.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for slot in slots {
            let held = slot.held.clone().lock_owned().await;
            let _ = close((slot.path.clone(), held)).await;
        }
    }
}

/// Opens the database if it is closed, and does the work.
fn used<T>(
    held: &mut Option<Held>,
    permit: Option<OwnedSemaphorePermit>,
    path: &Path,
    work: impl FnOnce(&mut Open) -> Result<T, redb::Error>,
) -> Result<T, Failed> {
    file::guarded(|| {
        if let Some(permit) = permit {
            *held = Some(Held { open: Open::at(path)?, _permit: permit });
        }
        match held {
            Some(held) => work(&mut held.open),
            None => Err(redb::Error::DatabaseClosed),
        }
    })
}

/// Closes a database on a thread for files, and writes first what waits in memory.
fn close((path, mut held): (PathBuf, OwnedMutexGuard<Option<Held>>)) -> JoinHandle<()> {
    spawn_blocking(move || {
        let written = file::guarded(|| held.as_mut().map_or(Ok(()), |held| held.open.write()));
        let _ = file::guarded(|| Ok(drop(held.take())));
        if let Err(failed) = written {
            let why = match failed {
                Failed::Damaged => "it can't be understood".to_owned(),
                Failed::Io(error) => error.to_string(),
            };
            warn!("can't write `{}`: {why}. Records that were sent may be sent again.", path.display());
        }
    })
}

/// What follows for a delivery that has lost its database.
const WITHOUT: &str = "importer does not know what was delivered, so it sends unchanged records again and can't \
                       detect a mass opt-in";

fn damaged(path: &Path, aside: &Path) -> String {
    format!("`{}` can't be read and was renamed to `{}`", path.display(), aside.display())
}

#[cfg(test)]
#[path = "databases_tests.rs"]
mod tests;
