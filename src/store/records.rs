//! The records of a delivery: which were delivered with which status (the ledger), and what the sink has
//! accepted of each (the delivery cache). They are one database in the delivery's folder, with a row for each
//! record. Nothing is read or written whole: a page of records is looked up, and a pass writes the rows that
//! it changes.
//!
//! A record whose cached delivery is lost or expired is sent again, never skipped. Before sending a new
//! version of a record, the engine deletes the digest of the cached version, on disk. A batch without a known
//! outcome may have arrived, so the older version must not count as the one that the sink has. What the sink
//! has accepted waits in memory until the next commit: a crash before it costs a repeated delivery.

mod database;
mod databases;
mod delivery;
mod file;
mod import;
mod ledger;
mod read;
mod row;
mod summary;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

use self::{
    database::{Open, Waiting},
    databases::IfDamaged,
    delivery::NOTED,
    ledger::Replaced,
};
pub use self::{
    databases::Databases,
    delivery::{AcceptedDelivery, CachedDelivery, KnownRecord, KnownRecords, Sent, Settled},
    import::{Former, write_new},
    ledger::{Census, Tally},
    read::{census, exists, look, summary},
    summary::{DELIVERY, Delivered, GONE, Summary},
};
use crate::base::{fate::Fate, fault::Fault};

/// Name of the file.
pub(super) const NAME: &str = "records.redb";
/// Minimum time between two removals of expired deliveries.
const DAILY: TimeDelta = TimeDelta::days(1);

/// The records of one delivery, as a run or a replay uses them.
#[derive(Debug, Clone)]
pub struct Records {
    databases: Arc<Databases>,
    path: PathBuf,
    /// Digest of the settings that identify the sink and its account.
    place: String,
    /// Version of the mapping.
    version: u32,
    /// Age from which a record counts as never sent; `None`: there is no cache.
    expire: Option<TimeDelta>,
    /// The statuses that this run has replaced; `None` if there was no ledger before it.
    replaced: Arc<Mutex<Option<Replaced>>>,
}

impl Records {
    /// Returns the records in the delivery's `folder`. `place` is the digest that identifies the sink and its
    /// account, `version` that of the mapping, and `expire` the age from which a record counts as never sent;
    /// without it there is no cache.
    pub fn new(
        databases: &Arc<Databases>,
        folder: &Path,
        place: &str,
        version: u32,
        expire: Option<TimeDelta>,
    ) -> Self {
        let (databases, path, place) = (Arc::clone(databases), folder.join(NAME), place.to_owned());
        Records { databases, path, place, version, expire, replaced: Arc::default() }
    }

    /// Returns the records, unless the cache is switched off.
    pub fn cache(&self) -> Option<&Self> {
        self.expire.map(|_| self)
    }

    /// Returns the folder of the delivery.
    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// Begins a run. Returns the summary of the ledger, or `None` if there is none: a database that can't be
    /// understood is set aside, with a warning, and counts as none.
    ///
    /// Drops the cached deliveries if the run has no cache, since it sends without a trace, and those of
    /// another place of the sink, since another account may have the same address.
    ///
    /// # Errors
    ///
    /// The file could not be read or written.
    pub async fn begin(&self) -> Result<Option<Summary>, Fault> {
        let (off, place) = (self.expire.is_none(), self.place.clone());
        self.databases.waiting(&self.path, |waiting| {
            if off || !waiting.is_of(&place) {
                waiting.clear();
            }
        });
        let work = move |open: &mut Open| {
            if off || open.cache.place != place {
                open.clear(&place)?;
            }
            Ok(open.summary.clone())
        };
        let summary = self.databases.within(&self.path, false, IfDamaged::Continue, work).await?.flatten();
        *self.replaced.lock().unwrap_or_else(PoisonError::into_inner) =
            summary.as_ref().map(|_| Replaced::new());
        Ok(summary)
    }

    /// Returns the summary of the ledger, beside a process that may be writing to it.
    ///
    /// # Errors
    ///
    /// The file could not be read.
    pub async fn summary(&self) -> Result<Option<Summary>, Fault> {
        read::summary(self.folder()).await
    }

    /// Removes all cached deliveries.
    ///
    /// # Errors
    ///
    /// The file could not be written.
    pub async fn clear(&self) -> Result<(), Fault> {
        let place = self.place.clone();
        self.if_there(move |open| open.clear(&place)).await.map(|_| ())
    }

    /// Returns the digest that decides whether the payloads of two versions of a record are equal. Each
    /// payload is a JSON text, or `None` for a deletion.
    pub fn digest<'a>(&self, payloads: impl Iterator<Item = Option<&'a str>>) -> u128 {
        let mut digest = md5::Context::new();
        digest.consume(self.version.to_string());
        for payload in payloads {
            digest.consume(" ");
            digest.consume(payload.unwrap_or("gone"));
        }
        u128::from_be_bytes(digest.finalize().0)
    }

    /// Returns whether the sink is known to have exactly this payload.
    pub fn holds(&self, cached: &CachedDelivery, digest: u128, now: DateTime<Utc>) -> bool {
        // The source's clock may have been set back.
        let fresh = |sent: &Sent| self.expire.is_some_and(|expire| (now - sent.at).abs() < expire);
        cached.sent.as_ref().is_some_and(|sent| sent.digest == Some(digest) && fresh(sent))
    }

    /// Returns whether to write the fate of a record that was not sent: it has changed, or the last one is
    /// ten minutes old.
    pub fn is_news(&self, cached: Option<&CachedDelivery>, fate: Fate, now: DateTime<Utc>) -> bool {
        cached.is_none_or(|cached| cached.fate != fate || now - cached.seen >= NOTED)
    }

    /// Returns what was known of these records before the run, and their cached deliveries as they are now.
    ///
    /// # Errors
    ///
    /// The file could not be read.
    pub async fn recall(&self, keys: Vec<u128>) -> Result<KnownRecords, Fault> {
        if keys.is_empty() {
            return Ok(KnownRecords::new());
        }
        let (cached, asked) = (self.expire.is_some(), keys.clone());
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
    }

    /// Forgets the accepted payloads of these records, since other versions are about to be sent. On disk
    /// when this returns; nothing is written if the file has none of them.
    ///
    /// # Errors
    ///
    /// The file could not be written. The records must then not be sent.
    pub async fn forget(&self, keys: Vec<u128>) -> Result<(), Fault> {
        if keys.is_empty() {
            return Ok(());
        }
        self.if_there(move |open| open.forget(keys)).await.map(|_| ())
    }

    /// Remembers what the sink has accepted of these records. It is on disk after the next commit.
    ///
    /// # Errors
    ///
    /// The file could not be written.
    pub async fn accepted(&self, accepted: Vec<AcceptedDelivery>, now: DateTime<Utc>) -> Result<(), Fault> {
        if accepted.is_empty() {
            Ok(())
        } else {
            self.add_change(|waiting| waiting.accepted(accepted, &self.place, now)).await
        }
    }

    /// Remembers the fates of records that were not sent. They are on disk after the next commit.
    ///
    /// # Errors
    ///
    /// The file could not be written.
    pub async fn note(&self, fates: Vec<(u128, Fate)>, now: DateTime<Utc>) -> Result<(), Fault> {
        if fates.is_empty() {
            Ok(())
        } else {
            self.add_change(|waiting| waiting.note(fates, &self.place, now)).await
        }
    }

    /// Adds changes in memory, and writes them once there are too many.
    async fn add_change(&self, add: impl FnOnce(&mut Waiting)) -> Result<(), Fault> {
        let is_full = self.databases.waiting(&self.path, |waiting| {
            add(waiting);
            waiting.is_full()
        });
        if is_full { self.write().await } else { Ok(()) }
    }

    /// Writes what waits in memory if the sink has accepted some of it. On disk when this returns. Fates alone wait
    /// for the next commit, or until the database is closed.
    ///
    /// # Errors
    ///
    /// The file could not be written.
    pub async fn sync(&self) -> Result<(), Fault> {
        let waits = self.databases.waiting(&self.path, |waiting| waiting.has_accepted());
        if waits { self.write().await } else { Ok(()) }
    }

    async fn write(&self) -> Result<(), Fault> {
        self.databases.within(&self.path, true, IfDamaged::Fail, Open::write).await.map(|_| ())
    }

    /// Creates the ledger before the first delivery of a list without one. It stores the time from which the
    /// archived listing has to be read, even if the run never finishes.
    ///
    /// # Errors
    ///
    /// The file could not be written.
    pub async fn begin_ledger(&self, from: DateTime<Utc>) -> Result<(), Fault> {
        self.add(Delivered::beginning(from)).await.map(|_| ())
    }

    /// Adds what a pass has delivered to the ledger, on disk when this returns, with the changes that wait in
    /// memory. Returns the number of records that were at the source before and that a pass over the whole
    /// list did not read. Adding the same pass twice changes nothing.
    ///
    /// # Errors
    ///
    /// The file could not be read or written.
    pub async fn add(&self, delivered: Delivered<'_>) -> Result<u64, Fault> {
        let (statuses, delivered) = delivered.split();
        let replaced = Arc::clone(&self.replaced);
        let work = move |open: &mut Open| {
            let mut replaced = replaced.lock().unwrap_or_else(PoisonError::into_inner);
            ledger::add(open, &statuses, delivered, replaced.as_mut())
        };
        let added = self.databases.within(&self.path, true, IfDamaged::Fail, work).await?;
        Ok(added.unwrap_or_default())
    }

    /// Removes the cached deliveries of records that were neither read nor sent since the time of expiry; at
    /// most once a day.
    ///
    /// # Errors
    ///
    /// The file could not be read or written.
    pub async fn tidy(&self, now: DateTime<Utc>) -> Result<(), Fault> {
        let oldest = now - self.expire.unwrap_or(NOTED).max(NOTED);
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
            self.if_there(move |open| ledger::tidy(open, oldest, from, now)).await?.flatten()
        {
            from = Some(last);
        }
        Ok(())
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

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
