//! The outbox of a delivery as its reader uses it: on the open database of the delivery, beside the runs of this process.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use futures::{FutureExt, future::BoxFuture};
use redb::{ReadOnlyTable, ReadableDatabase, ReadableTable, Table};

use super::{
    NAME,
    database::Open,
    databases::{Databases, IfDamaged},
    outbox::{
        MOST, NOTICED, OUTBOX, OutboxStatus, TOTALS, Totals, decoded, drop_excess, first, is_deliverable,
        mark, status, totals,
    },
    values::{opened, put},
};
use crate::{
    base::{
        fault::Fault,
        notice::{Notice, NoticeKind},
    },
    store::Outbox,
};

type Failed = redb::Error;

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

/// Returns the oldest notices with their numbers, at most `most`, up to one that can't be read. Before, drops the
/// oldest ones if they can't be read, or are too old at `now`.
fn oldest(open: &mut Open, most: usize, now: DateTime<Utc>) -> Result<Vec<(u64, Notice)>, Failed> {
    let drops = |outbox: &ReadOnlyTable<u64, &[u8]>| {
        Ok(first(outbox)?.is_some_and(|(_, notice)| !is_deliverable(&notice, now)))
    };
    if read(open, drops)?.unwrap_or_default() {
        let dropped = change(open, |outbox, totals| drop_excess(outbox, totals, MOST, now))?;
        dropped.into_iter().for_each(|dropped| open.events.emit(dropped));
    }
    let notices = read(open, |outbox| {
        let mut notices = vec![];
        for entry in outbox.iter()?.take(most) {
            let (number, bytes) = entry?;
            let Ok(notice) = decoded(bytes.value()) else { break };
            notices.push((number.value(), notice));
        }
        Ok(notices)
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
fn change<T>(
    open: &mut Open,
    work: impl FnOnce(&mut Table<'_, u64, &'static [u8]>, &mut Totals) -> Result<T, Failed>,
) -> Result<T, Failed> {
    open.change(|tables| {
        let mut outbox = tables.transaction.open_table(OUTBOX)?;
        let mut totals = totals(tables.transaction)?;
        let done = work(&mut outbox, &mut totals)?;
        put(tables.transaction, TOTALS, Some(&totals))?;
        Ok(done)
    })
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
#[path = "stored_outbox_tests.rs"]
mod tests;
