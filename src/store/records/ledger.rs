//! The ledger within a database: the statuses that a pass changes, the counts by status, and the daily removal
//! of expired deliveries.

use std::{
    collections::{HashMap, HashSet},
    ops::Bound,
};

use chrono::{DateTime, Utc};
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata};

use super::{
    database::{CacheState, Open, RECORDS, Tables, decoded, summary},
    delivery::Settled,
    row::{Row, Status},
    summary::{Delivered, STATUSES, Statuses, Summary},
    values::opened,
};
use crate::base::key::KeyMap;

type Failed = redb::Error;

/// The statuses that records had before a run, of those that the run has changed since.
pub(super) type Replaced = KeyMap<u128, Option<Settled>>;

/// Adds what a pass has delivered, and writes the rows that differ. Returns the number of records that were at
/// the source before and that a pass over the whole list did not read. Adds the statuses that it replaces to
/// `replaced`, unless they are there already.
pub(super) fn add(
    open: &mut Open,
    statuses: &Statuses,
    delivered: Delivered<'_>,
    replaced: Option<&mut Replaced>,
) -> Result<u64, Failed> {
    open.change(|tables| {
        let mut summary = tables.summary.take().unwrap_or_else(|| Summary::new(&delivered));
        let before = summary.clone();
        let mut indices = statuses.within(&mut summary.names);
        // A pass over the whole list replaces the status of every row, so the list of names can start over.
        let renamed = delivered.whole && summary.names.len() >= STATUSES;
        if renamed {
            summary.names.clear();
            indices = statuses.within(&mut summary.names);
        }
        let mut change = Changes { tables, before, replaced };
        let unlisted = if delivered.whole { change.remove_unlisted(statuses)? } else { Unlisted::default() };
        let new = change.settle(statuses.iter(&indices), renamed)?;
        summary.rows = (summary.rows + new).saturating_sub(unlisted.rows);
        summary.take(delivered);
        *tables.summary = Some(summary);
        Ok(unlisted.there)
    })
}

/// The changes of a pass.
struct Changes<'c, 't, 'm> {
    tables: &'c mut Tables<'t, 'm>,
    /// The summary before the pass.
    before: Summary,
    replaced: Option<&'c mut Replaced>,
}

/// Numbers of records that a pass over the whole list did not read.
#[derive(Default)]
struct Unlisted {
    rows: usize,
    /// Those that were at the source before.
    there: u64,
}

impl Changes<'_, '_, '_> {
    /// Removes the statuses of the records that a pass over the whole list did not read.
    fn remove_unlisted(&mut self, statuses: &Statuses) -> Result<Unlisted, Failed> {
        let mut removed = vec![];
        for entry in self.tables.records.iter()? {
            let (key, row) = entry?;
            #[cfg(test)]
            (self.tables.work.read += 1);
            if !statuses.contains(key.value()) {
                let row = decoded(row.value())?;
                removed.extend(row.status.map(|status| (key.value(), row, status)));
            }
        }
        let there = removed.iter().filter(|(.., status)| self.before.is_there(*status)).count() as u64;
        let unlisted = Unlisted { rows: removed.len(), there };
        for (key, row, _) in removed {
            self.put(key, row, None)?;
        }
        Ok(unlisted)
    }

    /// Writes the statuses that differ from those in the database; their keys ascend. Returns the number of new
    /// records.
    fn settle(
        &mut self,
        added: impl Iterator<Item = (u128, Status)>,
        renamed: bool,
    ) -> Result<usize, Failed> {
        // The first load of a list fills an empty table.
        if self.tables.records.is_empty()? {
            let replaced = &mut self.replaced;
            return self.tables.fill(added.map(|(key, status)| {
                if let Some(replaced) = replaced {
                    replaced.entry(key).or_default();
                }
                (key, Row { status: Some(status), cached: None })
            }));
        }
        let mut new = 0;
        for (key, status) in added {
            let row = self.tables.row(key)?.unwrap_or_default();
            if renamed || row.status != Some(status) {
                new += usize::from(row.status.is_none());
                self.put(key, row, Some(status))?;
            }
        }
        Ok(new)
    }

    /// Writes a row with another status.
    fn put(&mut self, key: u128, row: Row, status: Option<Status>) -> Result<(), Failed> {
        if let Some(replaced) = &mut self.replaced {
            let settled = row.status.and_then(|status| self.before.settled(status));
            replaced.entry(key).or_insert(settled);
        }
        let generation = self.tables.cache.generation;
        let cached = row.cached.filter(|(written, _)| *written == generation);
        self.tables.put(key, &Row { status, cached })
    }
}

/// Number of rows that housekeeping reads in one transaction.
const ROWS: usize = 10_000;

/// Removes the cached deliveries that a clear has left, and those of records that were neither read nor sent
/// since `expires_before`. Reads the rows after `from`, at most 10,000. Returns the last key if there are more;
/// otherwise notes that housekeeping was done, at the time `now`.
pub(super) fn tidy(
    open: &mut Open,
    expires_before: DateTime<Utc>,
    from: Option<u128>,
    now: DateTime<Utc>,
) -> Result<Option<u128>, Failed> {
    open.change(|tables| {
        let generation = tables.cache.generation;
        let begin = from.map_or(Bound::Unbounded, Bound::Excluded);
        let (mut last, mut read, mut removed) = (None, 0, vec![]);
        for entry in tables.records.range((begin, Bound::<u128>::Unbounded))?.take(ROWS) {
            let (key, row) = entry?;
            let row = decoded(row.value())?;
            (last, read) = (Some(key.value()), read + 1);
            if row.cached.is_some() && !is_fresh(&row, generation, expires_before) {
                removed.push((key.value(), Row { cached: None, ..row }));
            }
        }
        for (key, row) in removed {
            tables.put(key, &row)?;
        }
        let more = last.filter(|_| read == ROWS);
        if more.is_none() {
            let CacheState { stale, tidied, .. } = tables.cache;
            (*stale, *tidied) = (false, Some(now.timestamp_millis()));
        }
        Ok(more)
    })
}

fn is_fresh(row: &Row, generation: u32, expires_before: DateTime<Utc>) -> bool {
    row.cached_in(generation).is_some_and(|cached| {
        cached.seen >= expires_before || cached.sent.as_ref().is_some_and(|sent| sent.at >= expires_before)
    })
}

/// Numbers of records of one status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sent, or skipped for a counted reason.
    pub delivered: u64,
    pub rejected: u64,
}

/// The counts of a ledger.
#[derive(Debug, Clone, PartialEq)]
pub struct Census {
    pub summary: Summary,
    /// Numbers of records by status. The records in dead letters count as rejected even if another entry of
    /// the list has delivered them since, or if a ledger of an older version does not mark them.
    pub tallies: HashMap<String, Tally>,
    /// Number of records in dead letters that are not in the ledger.
    pub strangers: u64,
}

/// Counts the records of each status; `None` if there is no ledger. `letters` contains the keys of the records
/// in dead letters.
pub(super) fn census(
    transaction: &ReadTransaction,
    letters: &HashSet<u128>,
) -> Result<Option<Census>, Failed> {
    let Some(summary) = summary(transaction)? else { return Ok(None) };
    let (mut counted, mut known) = (HashMap::<(u8, bool), u64>::new(), 0);
    if let Some(table) = opened(transaction.open_table(RECORDS))? {
        for entry in table.iter()? {
            let (key, row) = entry?;
            if let Some(Status { index, rejected }) = decoded(row.value())?.status {
                let waits = letters.contains(&key.value());
                known += u64::from(waits);
                *counted.entry((index, rejected || waits)).or_default() += 1;
            }
        }
    }
    let mut tallies: HashMap<String, Tally> = HashMap::new();
    for ((index, rejected), count) in counted {
        let name = summary.names.get(usize::from(index)).cloned().unwrap_or_default();
        let tally = tallies.entry(name).or_default();
        if rejected { tally.rejected += count } else { tally.delivered += count }
    }
    Ok(Some(Census { summary, tallies, strangers: letters.len() as u64 - known }))
}
