//! What commands read of a delivery's records, beside a process that may be writing to them.

use std::{collections::HashSet, path::Path};

use redb::{ReadTransaction, ReadableDatabase};

use super::{
    NAME,
    database::{CACHE, CacheState, RECORDS, decoded, summary as read_summary},
    delivery::KnownRecord,
    file::{self, Failed},
    ledger::{self, Census},
    outbox::{self, OutboxStatus},
    summary::Summary,
    values::{json, opened},
};
use crate::{
    base::{event::StoreEvent, events::Events, fault::Fault, key::key_digest},
    store::files,
};

/// Returns whether a run has recorded deliveries in this folder.
pub fn exists(folder: &Path) -> bool {
    folder.join(NAME).exists()
}

/// Returns the summary of the ledger in a delivery's folder; `None` if there is none, or none that can be
/// understood.
///
/// # Errors
///
/// The file could not be read.
pub async fn summary(folder: &Path, events: &Events) -> Result<Option<Summary>, Fault> {
    read(folder, events, read_summary).await
}

/// Counts the records of each status; `None` if there is no ledger, or none that can be understood. `letters`
/// contains the keys of the records in dead letters.
///
/// # Errors
///
/// The file could not be read.
pub async fn census(folder: &Path, letters: HashSet<u128>, events: &Events) -> Result<Option<Census>, Fault> {
    read(folder, events, move |transaction| ledger::census(transaction, &letters)).await
}

/// Returns the size of the outbox in a delivery's folder, and what it has lost. Empty if there is none, or none that can
/// be understood.
///
/// # Errors
///
/// The file could not be read.
pub async fn outbox(folder: &Path, events: &Events) -> Result<OutboxStatus, Fault> {
    Ok(read(folder, events, outbox::status).await?.unwrap_or_default())
}

/// Returns what is known of the record with this key.
///
/// # Errors
///
/// The file could not be read.
pub async fn look(folder: &Path, key: &str, events: &Events) -> Result<KnownRecord, Fault> {
    let key = key_digest(key);
    let work = move |transaction: &ReadTransaction| {
        let Some(table) = opened(transaction.open_table(RECORDS))? else { return Ok(None) };
        let Some(row) = table.get(key)? else { return Ok(None) };
        let row = decoded(row.value())?;
        let cache: CacheState = json(transaction, CACHE)?.unwrap_or_default();
        let cached = row.cached_in(cache.generation).cloned();
        let settled = read_summary(transaction)?.and_then(|summary| summary.settled(row.status?));
        Ok(Some(KnownRecord { settled, cached }))
    };
    Ok(read(folder, events, work).await?.unwrap_or_default())
}

/// Reads the database in a folder; returns `None` if there is none, or none that can be understood.
async fn read<T: Send + 'static>(
    folder: &Path,
    events: &Events,
    work: impl FnOnce(&ReadTransaction) -> Result<Option<T>, redb::Error> + Send + 'static,
) -> Result<Option<T>, Fault> {
    let (path, events) = (folder.join(NAME), events.clone());
    let work = move |path: &Path| {
        if !path.exists() {
            return Ok(None);
        }
        match file::guarded(|| work(&file::open_to_read(path)?.begin_read()?)) {
            Ok(found) => Ok(found),
            Err(Failed::Io(error)) => Err(error),
            // Only the process that writes may set it aside.
            Err(Failed::Damaged) => {
                events.emit(StoreEvent::DatabaseUnreadable { path: path.to_owned() });
                Ok(None)
            }
        }
    };
    files::blocking(&path, work).await
}
