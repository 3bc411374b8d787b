//! The ledger of a delivery, read and edited by its format alone, so that code may move without touching this
//! module.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use redb::{
    Builder, ConcurrencyMode, Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition,
};
use serde_json::Value;

use crate::places::delivery;

/// Name of the database.
pub const NAME: &str = "records.redb";
const RECORDS: TableDefinition<u128, &[u8]> = TableDefinition::new("records");
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const SUMMARY: &str = "summary";
/// Flags in the first byte of a row; the second byte is the index of the status among the summary's names.
const SETTLED: u8 = 1;
const REJECTED: u8 = 2;

/// A ledger: its summary, and for each record the flags and the index of its status.
#[derive(Debug, Clone)]
pub struct Ledger {
    pub summary: Value,
    rows: BTreeMap<u128, (u8, u8)>,
}

/// Returns the database of the only delivery of a list.
pub fn of(folder: &Path, list_id: &str) -> PathBuf {
    delivery(folder, list_id).join(NAME)
}

fn open(path: &Path) -> Database {
    for _ in 0..100 {
        match Builder::new().set_concurrency_mode(ConcurrencyMode::SingleWriter).open(path) {
            Err(DatabaseError::DatabaseAlreadyOpen) => thread::sleep(Duration::from_millis(20)),
            opened => return opened.unwrap(),
        }
    }
    panic!("{} stays open", path.display())
}

/// Opens a copy of a database: to open a database may change its file, which may be a fixture.
fn copied(path: &Path) -> (tempfile::TempDir, Database) {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join(NAME);
    fs::copy(path, &copy).unwrap();
    let database = open(&copy);
    (folder, database)
}

/// Returns the ledger in a database; `None` if it has none.
pub fn read(path: &Path) -> Option<Ledger> {
    let (_folder, database) = copied(path);
    let transaction = database.begin_read().unwrap();
    let meta = transaction.open_table(META).unwrap();
    let summary = serde_json::from_slice(meta.get(SUMMARY).unwrap()?.value()).unwrap();
    let table = transaction.open_table(RECORDS).unwrap();
    let rows = table.iter().unwrap().map(|row| {
        let (key, row) = row.unwrap();
        (key.value(), (row.value()[0] & (SETTLED | REJECTED), row.value()[1]))
    });
    Some(Ledger { summary, rows: rows.filter(|(_, (flags, _))| flags & SETTLED != 0).collect() })
}

/// Returns whether the delivery cache has anything.
pub fn has_cache(path: &Path) -> bool {
    let (_folder, database) = copied(path);
    let meta = database.begin_read().unwrap().open_table(META).unwrap();
    let cache: Value = meta
        .get("cache")
        .unwrap()
        .map_or(Value::Null, |cache| serde_json::from_slice(cache.value()).unwrap());
    cache["live"] == true
}

/// Replaces the ledger in a database; `None` removes it. The cached deliveries stay.
pub fn write(path: &Path, ledger: Option<&Ledger>) {
    let database = open(path);
    let transaction = database.begin_write().unwrap();
    {
        let mut meta = transaction.open_table(META).unwrap();
        match ledger {
            Some(ledger) => meta.insert(SUMMARY, ledger.summary.to_string().as_bytes()).map(|_| ()).unwrap(),
            None => meta.remove(SUMMARY).map(|_| ()).unwrap(),
        }
        let mut table = transaction.open_table(RECORDS).unwrap();
        let rows: Vec<(u128, Vec<u8>)> = table
            .iter()
            .unwrap()
            .map(|row| row.unwrap())
            .map(|(key, row)| (key.value(), row.value().to_vec()))
            .collect();
        for (key, mut row) in rows {
            let status = ledger.and_then(|ledger| ledger.rows.get(&key));
            let (flags, index) = status.copied().unwrap_or_default();
            (row[0], row[1]) = (row[0] & !(SETTLED | REJECTED) | flags, index);
            table.insert(key, row.as_slice()).unwrap();
        }
    }
    transaction.commit().unwrap();
}

/// Changes the summary of a list's only ledger.
pub fn edit(folder: &Path, list_id: &str, change: impl FnOnce(&mut Value)) {
    let path = of(folder, list_id);
    let mut ledger = read(&path).unwrap();
    change(&mut ledger.summary);
    write(&path, Some(&ledger));
}

impl Ledger {
    /// Returns a line for each record: its key, and its status, with a mark if it was rejected.
    pub fn lines(&self) -> Vec<String> {
        let line = |(key, (flags, index)): (&u128, &(u8, u8))| {
            let name = self.summary["names"][usize::from(*index)].as_str().unwrap_or("?");
            let mark = if flags & REJECTED != 0 { "rejected: " } else { "" };
            let key: String = key.to_be_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{key} {mark}{name}")
        };
        self.rows.iter().map(line).collect()
    }
}
