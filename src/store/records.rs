//! The records of a delivery: which were delivered with which status (the ledger), and what the sink has
//! accepted of each (the delivery cache). They are one database in the delivery's folder, with a row for each
//! record. Nothing is read or written whole: a page of records is looked up, and a pass writes the rows that
//! it changes.
//!
//! A record whose cached delivery is lost or expired is sent again, never skipped. Before sending a new
//! version of a record, the engine deletes the digest of the cached version, on disk. A batch without a known
//! outcome may have arrived, so the older version must not count as the one that the sink has. What the sink
//! has accepted waits in memory until the next commit: a crash before it costs a repeated delivery.

#[cfg(test)]
mod contract_tests;
mod database;
mod databases;
mod delivery;
mod file;
mod import;
mod ledger;
mod mark;
mod outbox;
mod read;
mod row;
mod rules;
mod stored_outbox;
mod summary;
#[cfg(test)]
pub mod support_tests;
mod values;
mod waiting;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;

use self::{database::Open, databases::IfDamaged, ledger::Replaced, waiting::Waiting};
pub use self::{
    databases::Databases,
    delivery::{AcceptedDelivery, CachedDelivery, KnownRecord, KnownRecords, Sent, Settled},
    import::{Former, write_new},
    ledger::{Census, Tally},
    mark::NewNotice,
    outbox::OutboxStatus,
    read::{census, exists, look, outbox, summary},
    rules::CacheRules,
    stored_outbox::StoredOutbox,
    summary::{DELIVERY, Delivered, GONE, Summary},
};
use super::DeliveryCache;
use crate::base::{fate::Fate, fault::Fault, notice::NoticeKind};

/// Name of the file.
pub(super) const NAME: &str = "records.redb";
/// Minimum time between two removals of expired deliveries.
const DAILY: TimeDelta = TimeDelta::days(1);

/// The records of one delivery, as a run or a replay uses them: the delivery cache on a redb database. Only the process
/// that has the lock of the state folder writes to it; other processes only read it.
#[derive(Debug, Clone)]
pub struct Records {
    databases: Arc<Databases>,
    path: PathBuf,
    /// Digest of the settings that identify the sink and its account.
    destination: String,
    rules: CacheRules,
    /// The statuses that this run has replaced; `None` if there was no ledger before it.
    replaced: Arc<Mutex<Option<Replaced>>>,
}

impl Records {
    /// Returns the records in the delivery's `folder`. `destination` is the digest that identifies the sink and its
    /// account, `version` that of the mapping, and `expire` the age from which a record counts as never sent;
    /// without it there is no cache.
    pub fn new(
        databases: &Arc<Databases>,
        folder: &Path,
        destination: &str,
        version: u32,
        expire: Option<TimeDelta>,
    ) -> Self {
        let (databases, path, destination) =
            (Arc::clone(databases), folder.join(NAME), destination.to_owned());
        Records {
            databases,
            path,
            destination,
            rules: CacheRules { version, expire },
            replaced: Arc::default(),
        }
    }

    /// Returns the folder of the delivery.
    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// Adds changes in memory, and writes them once there are too many.
    async fn add_change(&self, add: impl FnOnce(&mut Waiting)) -> Result<(), Fault> {
        let is_full = self.databases.waiting(&self.path, |waiting| {
            add(waiting);
            waiting.is_full()
        });
        if is_full { self.write().await } else { Ok(()) }
    }

    async fn write(&self) -> Result<(), Fault> {
        self.databases.within(&self.path, true, IfDamaged::Fail, Open::write).await.map(|_| ())
    }

    /// Returns the work that was done on the database since it was opened.
    #[cfg(test)]
    pub async fn work(&self) -> database::Work {
        self.if_there(|open| Ok(open.work)).await.unwrap().unwrap_or_default()
    }

    /// Works on the database; returns `None` if there is no file, and nothing waits to be written to it.
    async fn if_there<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Open) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<Option<T>, Fault> {
        let waits = self.databases.waiting(&self.path, |waiting| !waiting.is_empty());
        self.databases.within(&self.path, waits, IfDamaged::Fail, work).await
    }
}

/// The changes of the cache wait in memory, some 4 MB at most, and are in the file after the next commit.
impl DeliveryCache for Records {
    fn rules(&self) -> &CacheRules {
        &self.rules
    }

    /// A database that can't be understood is set aside, with a warning, and counts as none.
    fn begin(&self) -> BoxFuture<'_, Result<Option<Summary>, Fault>> {
        Box::pin(async move {
            let (off, destination) = (self.rules.expire.is_none(), self.destination.clone());
            self.databases.waiting(&self.path, |waiting| {
                if off || !waiting.is_of(&destination) {
                    waiting.clear();
                }
            });
            let work = move |open: &mut Open| {
                if off || open.cache.destination != destination {
                    open.clear(&destination)?;
                }
                Ok(open.summary.clone())
            };
            let begun = self.databases.within(&self.path, false, IfDamaged::Continue, work);
            let summary = begun.await?.flatten();
            *self.replaced.lock().unwrap_or_else(PoisonError::into_inner) =
                summary.as_ref().map(|_| Replaced::default());
            Ok(summary)
        })
    }

    fn summary(&self) -> BoxFuture<'_, Result<Option<Summary>, Fault>> {
        Box::pin(read::summary(self.folder(), self.databases.events()))
    }

    fn clear(&self) -> BoxFuture<'_, Result<(), Fault>> {
        let destination = self.destination.clone();
        Box::pin(async move { self.if_there(move |open| open.clear(&destination)).await.map(drop) })
    }

    fn recall(&self, keys: Vec<u128>) -> BoxFuture<'_, Result<KnownRecords, Fault>> {
        Box::pin(async move {
            if keys.is_empty() {
                return Ok(KnownRecords::default());
            }
            let (cached, asked) = (self.rules.expire.is_some(), keys.clone());
            let known = self.if_there(move |open| open.recall(keys, cached)).await?;
            let mut known = known.unwrap_or_default();
            if let Some(replaced) = &*self.replaced.lock().unwrap_or_else(PoisonError::into_inner) {
                for key in asked {
                    if let Some(before) = replaced.get(&key) {
                        known.entry(key).or_default().settled.clone_from(before);
                    }
                }
            }
            Ok(known)
        })
    }

    /// Nothing is written if the file has no accepted version of the records.
    fn forget(&self, keys: Vec<u128>) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            if keys.is_empty() {
                return Ok(());
            }
            self.if_there(move |open| open.forget(keys)).await.map(drop)
        })
    }

    fn accepted(
        &self,
        accepted: Vec<AcceptedDelivery>,
        now: DateTime<Utc>,
    ) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            match self.rules.expire {
                _ if accepted.is_empty() => Ok(()),
                Some(_) => {
                    self.add_change(|waiting| waiting.accepted(accepted, &self.destination, now)).await
                }
                None => self.add_change(|waiting| waiting.notices_of(accepted)).await,
            }
        })
    }

    fn note(&self, fates: Vec<(u128, Fate)>, now: DateTime<Utc>) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            if fates.is_empty() {
                Ok(())
            } else {
                self.add_change(|waiting| waiting.note(fates, &self.destination, now)).await
            }
        })
    }

    /// Fates alone wait for the next commit, or until the database is closed.
    fn sync(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            let waits = self.databases.waiting(&self.path, |waiting| waiting.has_accepted());
            if waits { self.write().await } else { Ok(()) }
        })
    }

    fn forget_noticed(&self, effects: HashMap<u128, Option<NoticeKind>>) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(
            async move { self.if_there(move |open| stored_outbox::forget(open, &effects)).await.map(drop) },
        )
    }

    fn notice(&self, notices: Vec<NewNotice>) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(self.add_change(|waiting| waiting.notice(notices)))
    }

    fn sync_notices(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            let waits = self.databases.waiting(&self.path, |waiting| waiting.has_notices());
            if waits { self.write().await } else { Ok(()) }
        })
    }

    fn add<'a>(&'a self, delivered: Delivered<'a>) -> BoxFuture<'a, Result<u64, Fault>> {
        Box::pin(async move {
            let (statuses, delivered) = delivered.split();
            let replaced = Arc::clone(&self.replaced);
            let work = move |open: &mut Open| {
                let mut replaced = replaced.lock().unwrap_or_else(PoisonError::into_inner);
                ledger::add(open, &statuses, delivered, replaced.as_mut())
            };
            let added = self.databases.within(&self.path, true, IfDamaged::Fail, work).await?;
            Ok(added.unwrap_or_default())
        })
    }

    fn tidy(&self, now: DateTime<Utc>) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            let expires_before = self.rules.expires_before(now);
            let is_due = move |open: &mut Open| {
                let last = open.cache.tidied.and_then(DateTime::from_timestamp_millis);
                let due = last.is_none_or(|last| (now - last).abs() >= DAILY);
                Ok(due && (open.cache.live || open.cache.stale))
            };
            if self.if_there(is_due).await? != Some(true) {
                return Ok(());
            }
            let mut from = None;
            // Other work on the database may come in between.
            while let Some(last) =
                self.if_there(move |open| ledger::tidy(open, expires_before, from, now)).await?.flatten()
            {
                from = Some(last);
            }
            Ok(())
        })
    }
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
