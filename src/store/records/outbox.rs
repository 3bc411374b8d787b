//! The tables of an outbox in the database of its delivery: the notices, until their receiver has confirmed
//! them. A second table stores which notices each record has caused, so that a repeat adds none.

use chrono::{DateTime, TimeDelta, Utc};
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, Table, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::{
    mark::{Mark, NewNotice},
    values::{META, json, json_of, opened, put},
};
use crate::base::{event::NoticeEvent, notice::Notice};

type Failed = redb::Error;

/// The notices by their numbers, as JSON, in the order in which they were added.
pub(super) const OUTBOX: TableDefinition<u64, &[u8]> = TableDefinition::new("outbox");
/// What was noticed of records, by their keys, as [`Mark::encode`] writes it.
pub(super) const NOTICED: TableDefinition<u128, &[u8]> = TableDefinition::new("noticed");
/// Name of the totals among the single values.
pub(super) const TOTALS: &str = "outbox";

/// Maximum number of notices that wait. Each takes some 200 bytes of the file.
pub(super) const MOST: u64 = 1_000_000;
/// Minimum time between two warnings about dropped notices.
const DAILY: TimeDelta = TimeDelta::days(1);
/// Age from which a notice is dropped.
pub(super) const OLDEST: TimeDelta = TimeDelta::days(30);

/// The size of an outbox, and what it has lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutboxStatus {
    /// Number of notices that wait.
    pub waiting: u64,
    /// Time of the oldest of them.
    pub oldest: Option<DateTime<Utc>>,
    /// Number of notices that were dropped: there were too many, they were too old, or this version can't read them.
    pub dropped: u64,
    /// Number of notices that the receiver has refused.
    pub refused: u64,
}

/// The single values of an outbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Totals {
    /// Number of the next notice. No number is used twice.
    next: u64,
    dropped: u64,
    pub refused: u64,
    /// Time of the last warning about dropped notices.
    #[serde(default)]
    warned: Option<DateTime<Utc>>,
}

/// A notice of the table.
pub(super) type Stored = Result<Notice, Unreadable>;

/// A notice that this version can't read, such as one that a later version has written.
pub(super) struct Unreadable {
    list_id: String,
}

/// Adds notices within a transaction, except repeats. Opens no table if there are none. Returns what to report of dropped
/// notices once the transaction is committed.
pub(super) fn add(
    transaction: &WriteTransaction,
    notices: &[NewNotice],
) -> Result<Option<NoticeEvent>, Failed> {
    let Some(newest) = notices.iter().map(|new| new.notice.at).max() else { return Ok(None) };
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
    let dropped = drop_excess(&mut outbox, &mut totals, MOST, newest)?;
    put(transaction, TOTALS, Some(&totals))?;
    Ok(dropped)
}

pub(super) fn totals(transaction: &WriteTransaction) -> Result<Totals, Failed> {
    Ok(json_of(&transaction.open_table(META)?, TOTALS)?.unwrap_or_default())
}

pub(super) fn mark(noticed: &impl ReadableTable<u128, &'static [u8]>, record: u128) -> Result<Mark, Failed> {
    Ok(noticed.get(record)?.map(|mark| Mark::decode(mark.value())).unwrap_or_default())
}

/// Drops the oldest notices: those beyond `most`, those that are too old at `now`, and those that can't be read. Returns
/// what to report of that once it is on disk, at most once a day.
pub(super) fn drop_excess(
    outbox: &mut Table<'_, u64, &'static [u8]>,
    totals: &mut Totals,
    most: u64,
    now: DateTime<Utc>,
) -> Result<Option<NoticeEvent>, Failed> {
    let mut excess = outbox.len()?.saturating_sub(most);
    let mut last = None;
    while let Some((number, notice)) = first(outbox)? {
        if excess == 0 && is_deliverable(&notice, now) {
            break;
        }
        outbox.remove(number)?;
        (excess, totals.dropped) = (excess.saturating_sub(1), totals.dropped + 1);
        last = Some(notice.map_or_else(|unreadable| unreadable.list_id, |notice| notice.list_id));
    }
    let Some(list_id) = last else { return Ok(None) };
    if totals.warned.is_some_and(|warned| (now - warned).abs() < DAILY) {
        return Ok(None);
    }
    totals.warned = Some(now);
    let (dropped, days) = (totals.dropped, OLDEST.num_days());
    Ok(Some(NoticeEvent::Dropped { list_id, dropped, most: MOST, days }))
}

/// Returns whether a notice can be read, and is not too old at `now`.
pub(super) fn is_deliverable(notice: &Stored, now: DateTime<Utc>) -> bool {
    notice.as_ref().is_ok_and(|notice| now - notice.at <= OLDEST)
}

/// Returns the oldest notice, with its number.
pub(super) fn first(
    outbox: &impl ReadableTable<u64, &'static [u8]>,
) -> Result<Option<(u64, Stored)>, Failed> {
    let Some((number, bytes)) = outbox.first()? else { return Ok(None) };
    Ok(Some((number.value(), decoded(bytes.value()))))
}

/// Reads a notice. One that can't be read is no damage of the database: that would cost the ledger and the cache.
pub(super) fn decoded(bytes: &[u8]) -> Stored {
    serde_json::from_slice(bytes).map_err(|_| {
        let notice: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
        Unreadable { list_id: notice["list_id"].as_str().unwrap_or("?").to_owned() }
    })
}

/// Returns the status of the outbox; `None` if nothing was ever noticed.
pub(super) fn status(transaction: &ReadTransaction) -> Result<Option<OutboxStatus>, Failed> {
    let Some(outbox) = opened(transaction.open_table(OUTBOX))? else { return Ok(None) };
    let Totals { dropped, refused, .. } = json(transaction, TOTALS)?.unwrap_or_default();
    let oldest = first(&outbox)?.and_then(|(_, notice)| notice.ok()).map(|notice| notice.at);
    Ok(Some(OutboxStatus { waiting: outbox.len()?, oldest, dropped, refused }))
}
