//! One open database: its tables, its transactions, and the changes that are not in the file yet.

use std::{
    collections::BTreeMap,
    ops::Bound,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction,
};
use serde::{Deserialize, Serialize};

use super::{
    delivery::{CachedDelivery, Change, KnownRecord, KnownRecords},
    file, outbox,
    row::Row,
    summary::Summary,
    values::{damaged, json, opened, put},
    waiting::{Taken, Waiting},
};
use crate::base::{events::Events, key::KeyMap};

/// The rows by the keys of their records, as [`Row::encode`] writes them.
pub(in crate::store) const RECORDS: TableDefinition<u128, &[u8]> = TableDefinition::new("records");
/// Number of rows that are added to an empty table together: they wait in memory, some 1 MB.
const TOGETHER: usize = 10_000;
/// Names of what is known of all rows together.
pub(in crate::store) const SUMMARY: &str = "summary";
pub(in crate::store) const CACHE: &str = "cache";

/// What is known of all cached deliveries together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct CacheState {
    /// Number of times that the cache was cleared. A cached delivery of another generation does not count.
    pub generation: u32,
    /// Digest of the destination whose accepted payloads the cache contains.
    pub destination: String,
    /// Whether rows may have a cached delivery of this generation.
    pub live: bool,
    /// Whether rows may have a cached delivery of another generation.
    pub stale: bool,
    /// Time of the last housekeeping, in milliseconds since 1970.
    pub tidied: Option<i64>,
}

type Failed = redb::Error;

#[derive(Debug)]
pub(super) struct Open {
    pub(super) database: Database,
    pub summary: Option<Summary>,
    pub cache: CacheState,
    /// Changes since the last commit. More may be added at any time.
    waiting: Arc<Mutex<Waiting>>,
    pub(super) events: Events,
    #[cfg(test)]
    pub work: Work,
}

/// The work that was done on a database since it was opened.
#[cfg(test)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Number of commits. Each of them waits for the disk.
    pub commits: u64,
    /// Number of rows that were written or removed.
    pub written: u64,
    /// Number of rows that were read or searched for.
    pub read: u64,
}

impl Open {
    /// Opens the database, or creates it. `waiting` are the changes that it has to write.
    pub fn at(path: &Path, waiting: &Arc<Mutex<Waiting>>, events: &Events) -> Result<Open, Failed> {
        let database = file::open(path)?;
        let transaction = database.begin_read()?;
        let (summary, cache) = (summary(&transaction)?, json(&transaction, CACHE)?.unwrap_or_default());
        drop(transaction);
        let waiting = Arc::clone(waiting);
        Ok(Open {
            database,
            summary,
            cache,
            waiting,
            events: events.clone(),
            #[cfg(test)]
            work: Work::default(),
        })
    }

    /// Returns what is known of these records. Without `cached`, returns no cached deliveries.
    pub fn recall(&mut self, mut keys: Vec<u128>, cached: bool) -> Result<KnownRecords, Failed> {
        let mut known = KnownRecords::default();
        // The keys of one page of the file are then read together.
        keys.sort_unstable();
        let rows = self.rows(&keys)?;
        let waiting = self.waiting();
        for key in keys {
            let row = rows.get(&key);
            let settled = row.and_then(|row| self.summary.as_ref()?.settled(row.status?));
            let before = row.and_then(|row| row.cached_in(self.cache.generation));
            let now = match waiting.change_of(key) {
                Some(change) => Some(change.over(before)),
                None => before.cloned(),
            };
            let record = KnownRecord { settled, cached: now.filter(|_| cached) };
            if record != KnownRecord::default() {
                known.insert(key, record);
            }
        }
        Ok(known)
    }

    /// Returns the rows of these records that are in the file.
    fn rows(&mut self, keys: &[u128]) -> Result<KeyMap<u128, Row>, Failed> {
        let mut rows = KeyMap::default();
        let empty = self.summary.as_ref().is_none_or(|summary| summary.rows == 0);
        if empty && !self.cache.live {
            return Ok(rows);
        }
        let transaction = self.database.begin_read()?;
        let Some(table) = opened(transaction.open_table(RECORDS))? else { return Ok(rows) };
        for key in keys {
            if let Some(row) = table.get(key)? {
                rows.insert(*key, decoded(row.value())?);
            }
        }
        #[cfg(test)]
        (self.work.read += keys.len() as u64);
        Ok(rows)
    }

    /// Forgets which payloads the sink has of these records. On disk when this returns; nothing is written
    /// if the file knows none of them.
    pub fn forget(&mut self, mut keys: Vec<u128>) -> Result<(), Failed> {
        keys.sort_unstable();
        let mut known: Vec<(u128, CachedDelivery)> = vec![];
        if self.cache.live {
            for (key, row) in self.rows(&keys)? {
                let cached = row.cached_in(self.cache.generation);
                known.extend(cached.filter(|cached| cached.has_digest()).map(|cached| (key, cached.clone())));
            }
        }
        let destination = self.cache.destination.clone();
        self.waiting().forget(&keys, &known, &destination);
        if known.is_empty() { Ok(()) } else { self.write() }
    }

    pub(super) fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the changes that wait in memory. On disk when this returns.
    pub fn write(&mut self) -> Result<(), Failed> {
        if self.waiting().is_empty() { Ok(()) } else { self.change(|_| Ok(())) }
    }

    /// Drops all cached deliveries, on disk when this returns: from now on the cache belongs to `destination`.
    /// Writes nothing if the file has none.
    pub fn clear(&mut self, destination: &str) -> Result<(), Failed> {
        self.waiting().clear();
        destination.clone_into(&mut self.cache.destination);
        if !self.cache.live {
            return Ok(());
        }
        self.change(|tables| {
            let CacheState { generation, live, stale, .. } = tables.cache;
            // The rows stay as they are, however many there are.
            (*generation, *live, *stale) = (generation.wrapping_add(1), false, true);
            Ok(())
        })
    }

    /// Makes one transaction of the changes that wait in memory and those of `work`. On disk when this
    /// returns.
    pub fn change<T>(
        &mut self,
        work: impl FnOnce(&mut Tables<'_, '_>) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let transaction = self.database.begin_write()?;
        let (mut summary, mut cache) = (self.summary.clone(), self.cache.clone());
        let Taken { changes, destination, notices } = self.waiting().take();
        if !changes.is_empty() {
            // Those of another destination were cleared when the run began.
            (cache.live, cache.destination) = (true, destination);
        }
        // The keys of one page of the file are then written together.
        let sorted: BTreeMap<u128, Change> = changes.into_iter().collect();
        let (done, dropped) = {
            let records = transaction.open_table(RECORDS)?;
            let mut tables = Tables {
                transaction: &transaction,
                records,
                summary: &mut summary,
                cache: &mut cache,
                #[cfg(test)]
                work: &mut self.work,
            };
            for (key, change) in &sorted {
                let mut row = tables.row(*key)?.unwrap_or_default();
                row.apply(change, tables.cache.generation);
                tables.put(*key, &row)?;
            }
            let dropped = outbox::add(&transaction, &notices)?;
            (work(&mut tables)?, dropped)
        };
        put(&transaction, SUMMARY, summary.as_ref())?;
        put(&transaction, CACHE, Some(&cache))?;
        transaction.commit()?;
        dropped.into_iter().for_each(|dropped| self.events.emit(dropped));
        self.waiting().written(notices.len());
        (self.summary, self.cache) = (summary, cache);
        #[cfg(test)]
        (self.work.commits += 1);
        Ok(done)
    }
}

/// The tables within a transaction.
pub(super) struct Tables<'t, 'm> {
    pub transaction: &'t WriteTransaction,
    pub records: Table<'t, u128, &'static [u8]>,
    pub summary: &'m mut Option<Summary>,
    pub cache: &'m mut CacheState,
    #[cfg(test)]
    pub work: &'m mut Work,
}

impl Tables<'_, '_> {
    /// Returns the row of a record.
    pub fn row(&mut self, key: u128) -> Result<Option<Row>, Failed> {
        #[cfg(test)]
        (self.work.read += 1);
        self.records.get(key)?.map(|row| decoded(row.value())).transpose()
    }

    /// Writes rows to an empty table; their keys ascend. Returns their number. The database fills its pages one
    /// after the other, which takes a fifth of the instructions of single writes.
    pub fn fill(&mut self, rows: impl Iterator<Item = (u128, Row)>) -> Result<usize, Failed> {
        let (mut written, mut bytes) = (0, Vec::new());
        let mut rows = rows.peekable();
        while rows.peek().is_some() {
            let mut end = self.records.upper_bound_mut(Bound::<u128>::Unbounded)?;
            for (key, row) in rows.by_ref().take(TOGETHER) {
                bytes.clear();
                row.write_to(&mut bytes);
                end.insert_before(key, bytes.as_slice())?;
                written += 1;
            }
            end.close()?;
        }
        #[cfg(test)]
        (self.work.written += written as u64);
        Ok(written)
    }

    /// Writes the row of a record; removes it if nothing is known of the record.
    pub fn put(&mut self, key: u128, row: &Row) -> Result<(), Failed> {
        if row.is_empty() {
            self.records.remove(key)?;
        } else {
            self.records.insert(key, row.encode().as_slice())?;
        }
        #[cfg(test)]
        (self.work.written += 1);
        Ok(())
    }
}

/// Returns the row of these bytes.
pub(super) fn decoded(bytes: &[u8]) -> Result<Row, Failed> {
    Row::decode(bytes).ok_or_else(|| damaged("a row can't be understood"))
}

/// Returns the summary of the ledger; `None` if there is none.
pub(super) fn summary(transaction: &ReadTransaction) -> Result<Option<Summary>, Failed> {
    json(transaction, SUMMARY)
}
