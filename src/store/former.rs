//! The ledger and the delivery cache of version 0.1, which were two files in the folder of a list: `ledger`,
//! and `unchanged-<digest of the sink>.redb` for each sink. Imports them into the records of a delivery; the
//! files stay as they are.

use std::{
    collections::HashMap,
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use chrono::DateTime;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::{
    files,
    records::{CachedDelivery, Former, Sent, Summary, write_new},
};
use crate::base::{event::StoreEvent, events::Events, fate::Fate};

const LEDGER: &str = "ledger";
/// Prefix of the status of a record whose last version was rejected.
const REJECTED_AS: &str = "rejected: ";
/// Bytes of a row of the ledger: the record's key, and the index of its status among the names in the first
/// line.
const ROW: usize = 16 + 1;
/// A row of the cache, by the record's key: digest of the accepted payload (0: none that counts), whether it
/// withdrew consent, the time of the acceptance (0: never), its request id, the time at which the record was
/// last read, and its fate then. Times are in milliseconds since 1970.
type Cached<'a> = (u128, bool, i64, &'a str, i64, &'a str);
const CACHE: TableDefinition<u128, Cached> = TableDefinition::new("records");

/// Imports the ledger of a list and the delivery cache of one sink into the records in the folder `to`. `list` is
/// the folder of the list, `cache` the digest in the name of the cache, and `destination` the digest of the
/// sink's current destination. Returns whether the ledger or the cache existed. A file that can't be understood
/// counts as missing, with a warning, as in version 0.1.
///
/// The records get their name when they are complete, so the import can be repeated after a crash.
///
/// # Errors
///
/// A file could not be read or written.
pub fn import(list: &Path, cache: &str, destination: &str, to: &Path, events: &Events) -> io::Result<bool> {
    let mut former = Former::default();
    let ledger = list.join(LEDGER);
    if let Some(bytes) = files::read(&ledger)? {
        match parse(&bytes) {
            Some((summary, rows)) => {
                former.summary = Some(Summary { names: vec![], rows: 0, ..summary.clone() });
                for (key, index) in rows {
                    let name = summary.names.get(usize::from(index)).map_or("", String::as_str);
                    let status = name.strip_prefix(REJECTED_AS);
                    former.settled(key, status.unwrap_or(name), status.is_some());
                }
            }
            None => events.emit(StoreEvent::FormerLedgerUnreadable { path: ledger }),
        }
    }
    let cache = list.join(format!("unchanged-{cache}.redb"));
    if cache.exists() {
        fs::create_dir_all(to)?;
        let copy = to.join("former.new");
        fs::copy(&cache, &copy)?;
        // The database panics on pages that make no sense.
        match catch_unwind(AssertUnwindSafe(|| read(&copy))) {
            Ok(Ok(rows)) => {
                rows.into_iter().for_each(|(key, cached)| former.cached(key, cached));
            }
            _ => events.emit(StoreEvent::FormerCacheUnreadable { path: cache }),
        }
        files::remove(&copy)?;
    }
    if former.is_empty() { Ok(false) } else { write_new(to, destination, &former).map(|()| true) }
}

/// Returns the first line of a ledger and its rows; `None` if it is incomplete.
fn parse(bytes: &[u8]) -> Option<(Summary, Vec<(u128, u8)>)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let summary: Summary = serde_json::from_slice(&bytes[..end]).ok()?;
    let rows = &bytes[end + 1..];
    if summary.version != VERSION || rows.len() != summary.rows * ROW {
        return None;
    }
    let row = |row: &[u8]| Some((u128::from_be_bytes(row[..16].try_into().ok()?), row[16]));
    Some((summary, rows.chunks_exact(ROW).filter_map(row).collect()))
}

const VERSION: u32 = 1;

/// Returns the rows of a cache.
fn read(path: &Path) -> Result<HashMap<u128, CachedDelivery>, redb::Error> {
    let database = Database::open(path)?;
    let table = database.begin_read()?.open_table(CACHE)?;
    let mut rows = HashMap::new();
    for row in table.iter()? {
        let (key, row) = row?;
        rows.insert(key.value(), cached(row.value()));
    }
    Ok(rows)
}

fn cached((digest, opted_out, sent, request_id, seen, fate): Cached<'_>) -> CachedDelivery {
    let time = |millis| DateTime::from_timestamp_millis(millis).unwrap_or_default();
    let digest = (digest != 0).then_some(digest);
    let request_id: Arc<str> = request_id.into();
    let sent = (sent != 0).then(|| Sent { digest, opted_out, at: time(sent), request_id });
    CachedDelivery { sent, seen: time(seen), fate: Fate::parse(fate) }
}

#[cfg(test)]
#[path = "former_tests.rs"]
pub(super) mod tests;
