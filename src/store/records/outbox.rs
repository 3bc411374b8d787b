//! The outbox of a delivery: its notices, in a table of the delivery's database, until their receiver has confirmed
//! them. A second table has what was noticed of each record, so that a repeat adds no notice.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::{FutureExt, future::BoxFuture};
use redb::{
    ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table,
    TableDefinition, WriteTransaction,
};
use serde::{Deserialize, Serialize};

use super::{
    NAME,
    database::{META, Open, damaged, json, json_of, opened, put},
    databases::{Databases, IfDamaged},
    mark::Mark,
};
use crate::{
    base::{
        fault::Fault,
        notice::{Notice, NoticeKind},
    },
    store::Outbox,
};

type Failed = redb::Error;

/// The notices by their numbers, as JSON, in the order in which they were added.
const OUTBOX: TableDefinition<u64, &[u8]> = TableDefinition::new("outbox");
/// What was noticed of records, by their keys, as [`Mark::encode`] writes it.
const NOTICED: TableDefinition<u128, &[u8]> = TableDefinition::new("noticed");
/// Name of the totals among the single values.
const TOTALS: &str = "outbox";

/// Maximum number of notices that wait. Each takes some 200 bytes of the file.
const MOST: u64 = 1_000_000;
/// Age from which a notice is dropped.
const OLDEST: TimeDelta = TimeDelta::days(30);

/// A notice to add to the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNotice {
    pub notice: Notice,
    /// Fingerprint of the record's key, by which a repeat is recognized: the record is noticed already as opted out or
    /// deleted, or with this rejection. `None` adds the notice in any case, since the record is unique.
    pub record: Option<u128>,
}

/// The size of an outbox, and what it has lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutboxStatus {
    /// Number of notices that wait.
    pub waiting: u64,
    /// Time of the oldest of them.
    pub oldest: Option<DateTime<Utc>>,
    /// Number of notices that were dropped because there were too many, or because they were too old.
    pub dropped: u64,
    /// Number of notices that the receiver has refused.
    pub refused: u64,
}

/// The single values of an outbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Totals {
    /// Number of the next notice. No number is used twice.
    next: u64,
    dropped: u64,
    refused: u64,
}

/// Adds notices within a transaction, except repeats. Opens no table if there are none.
pub(super) fn add(transaction: &WriteTransaction, notices: &[NewNotice]) -> Result<(), Failed> {
    let Some(newest) = notices.iter().map(|new| new.notice.at).max() else { return Ok(()) };
    let mut outbox = transaction.open_table(OUTBOX)?;
    let mut noticed = transaction.open_table(NOTICED)?;
    let mut totals = totals(transaction)?;
    for NewNotice { notice, record } in notices {
        if let Some(record) = record {
            let mut mark = mark(&noticed, *record)?;
            if !mark.add(notice) {
                continue;
            }
            if let Some(mark) = mark.encode() {
                noticed.insert(record, mark.as_slice())?;
            }
        }
        // A notice is a plain struct.
        let bytes = serde_json::to_vec(notice).unwrap_or_default();
        outbox.insert(totals.next, bytes.as_slice())?;
        totals.next += 1;
    }
    totals.dropped += drop_excess(&mut outbox, MOST, newest)?;
    put(transaction, TOTALS, Some(&totals))
}

fn totals(transaction: &WriteTransaction) -> Result<Totals, Failed> {
    Ok(json_of(&transaction.open_table(META)?, TOTALS)?.unwrap_or_default())
}

fn mark(noticed: &impl ReadableTable<u128, &'static [u8]>, record: u128) -> Result<Mark, Failed> {
    Ok(noticed.get(record)?.map(|mark| Mark::decode(mark.value())).unwrap_or_default())
}

/// Drops the oldest notices: those beyond `most`, and those that are too old at `now`. Returns their number.
fn drop_excess(outbox: &mut Table<'_, u64, &[u8]>, most: u64, now: DateTime<Utc>) -> Result<u64, Failed> {
    let mut excess = outbox.len()?.saturating_sub(most);
    let mut dropped = 0;
    while let Some((number, at)) = first(outbox)? {
        if excess == 0 && now - at <= OLDEST {
            break;
        }
        outbox.remove(number)?;
        (excess, dropped) = (excess.saturating_sub(1), dropped + 1);
    }
    Ok(dropped)
}

fn first(outbox: &impl ReadableTable<u64, &'static [u8]>) -> Result<Option<(u64, DateTime<Utc>)>, Failed> {
    let Some((number, bytes)) = outbox.first()? else { return Ok(None) };
    Ok(Some((number.value(), decoded(bytes.value())?.at)))
}

fn decoded(bytes: &[u8]) -> Result<Notice, Failed> {
    serde_json::from_slice(bytes).map_err(|_| damaged("a notice can't be understood"))
}

/// Forgets that these records were noticed as opted out or deleted, unless a payload with the same effect is about to
/// be sent. On disk when this returns; writes nothing if none of them was.
pub(super) fn forget(open: &mut Open, effects: &HashMap<u128, Option<NoticeKind>>) -> Result<(), Failed> {
    let waits = open.waiting().has_notice_of(|key| effects.contains_key(&key));
    if !waits && !is_noticed(open, effects)? {
        return Ok(());
    }
    open.change(|tables| {
        let mut noticed = tables.transaction.open_table(NOTICED)?;
        for (record, effect) in effects {
            let mut mark = mark(&noticed, *record)?;
            if mark.ends_with(*effect) {
                mark.effect = None;
                match mark.encode() {
                    Some(mark) => drop(noticed.insert(record, mark.as_slice())?),
                    None => drop(noticed.remove(record)?),
                }
            }
        }
        Ok(())
    })
}

/// Returns whether the file says of one of these records that it was noticed with another effect.
fn is_noticed(open: &Open, effects: &HashMap<u128, Option<NoticeKind>>) -> Result<bool, Failed> {
    let transaction = open.database.begin_read()?;
    let Some(noticed) = opened(transaction.open_table(NOTICED))? else { return Ok(false) };
    for (record, effect) in effects {
        if mark(&noticed, *record)?.ends_with(*effect) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the oldest notices with their numbers, at most `most`. Drops those that are too old at `now` first.
fn oldest(open: &mut Open, most: usize, now: DateTime<Utc>) -> Result<Vec<(u64, Notice)>, Failed> {
    let is_old =
        |outbox: &ReadOnlyTable<u64, &[u8]>| Ok(first(outbox)?.is_some_and(|(_, at)| now - at > OLDEST));
    if read(open, is_old)?.unwrap_or_default() {
        change(open, |outbox, totals| {
            totals.dropped += drop_excess(outbox, MOST, now)?;
            Ok(())
        })?;
    }
    let notices = read(open, |outbox| {
        let notices = outbox.iter()?.take(most).map(|entry| {
            let (number, bytes) = entry?;
            Ok((number.value(), decoded(bytes.value())?))
        });
        notices.collect()
    });
    Ok(notices?.unwrap_or_default())
}

/// Removes notices. On disk when this returns.
fn remove(open: &mut Open, numbers: &[u64], refused: u64) -> Result<(), Failed> {
    change(open, |outbox, totals| {
        for number in numbers {
            outbox.remove(number)?;
        }
        totals.refused += refused;
        Ok(())
    })
}

/// Reads the notices; returns `None` if nothing was ever noticed.
fn read<T>(
    open: &Open,
    work: impl FnOnce(&ReadOnlyTable<u64, &'static [u8]>) -> Result<T, Failed>,
) -> Result<Option<T>, Failed> {
    let transaction = open.database.begin_read()?;
    opened(transaction.open_table(OUTBOX))?.map(|outbox| work(&outbox)).transpose()
}

/// Changes the notices and the totals in one transaction.
fn change(
    open: &mut Open,
    work: impl FnOnce(&mut Table<'_, u64, &'static [u8]>, &mut Totals) -> Result<(), Failed>,
) -> Result<(), Failed> {
    open.change(|tables| {
        let mut outbox = tables.transaction.open_table(OUTBOX)?;
        let mut totals = totals(tables.transaction)?;
        work(&mut outbox, &mut totals)?;
        put(tables.transaction, TOTALS, Some(&totals))
    })
}

/// Returns the status of the outbox; `None` if nothing was ever noticed.
pub(super) fn status(transaction: &ReadTransaction) -> Result<Option<OutboxStatus>, Failed> {
    let Some(outbox) = opened(transaction.open_table(OUTBOX))? else { return Ok(None) };
    let Totals { dropped, refused, .. } = json(transaction, TOTALS)?.unwrap_or_default();
    let oldest = first(&outbox)?.map(|(_, at)| at);
    Ok(Some(OutboxStatus { waiting: outbox.len()?, oldest, dropped, refused }))
}

/// The outbox in the database of a delivery. Works beside the runs of this process.
#[derive(Debug, Clone)]
pub struct StoredOutbox {
    databases: Arc<Databases>,
    path: PathBuf,
}

impl StoredOutbox {
    /// Returns the outbox of the delivery with this `folder`.
    pub fn new(databases: &Arc<Databases>, folder: &Path) -> Self {
        StoredOutbox { databases: Arc::clone(databases), path: folder.join(NAME) }
    }

    /// Works on the database; returns the default value if there is no file.
    fn work<T: Default + Send + 'static>(
        &self,
        work: impl FnOnce(&mut Open) -> Result<T, Failed> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, Fault>> {
        let done = self.databases.within(&self.path, false, IfDamaged::Fail, work);
        async move { Ok(done.await?.unwrap_or_default()) }.boxed()
    }
}

impl Outbox for StoredOutbox {
    fn oldest(&self, most: usize, now: DateTime<Utc>) -> BoxFuture<'_, Result<Vec<(u64, Notice)>, Fault>> {
        self.work(move |open| oldest(open, most, now))
    }

    fn remove(&self, numbers: Vec<u64>, refused: u64) -> BoxFuture<'_, Result<(), Fault>> {
        self.work(move |open| remove(open, &numbers, refused))
    }

    fn status(&self) -> BoxFuture<'_, Result<OutboxStatus, Fault>> {
        self.work(|open| Ok(status(&open.database.begin_read()?)?.unwrap_or_default()))
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
