//! The delivery cache: what a sink has accepted of each record of a list, so that unchanged records can be
//! skipped. It is a small database for each sink of the list, shared by the list's entries. A record whose
//! row is lost, damaged or expired is sent again, never skipped.
//!
//! Before sending a new version of a record, the engine deletes the digest of the cached version. A batch
//! without a known outcome may have arrived, so the older version must not count as the one that the sink
//! has. If the outcome stays unknown, the record is sent again instead of being taken for unchanged.
//!
//! A run without the cache deletes its file.

use std::{
    collections::HashMap,
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use log::warn;
use redb::{
    Database, DatabaseError, ReadOnlyTable, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
};

use super::{files, seen::record_key};
use crate::base::{
    fate::{Effect, Fate},
    fault::Fault,
};

/// Name of the file: `unchanged-<digest of the sink>.redb`.
const NAME: &str = "unchanged-";
const EXTENSION: &str = "redb";
/// A row, by the record's fingerprint: the payload digest of the accepted version (0: none that counts),
/// whether that version withdrew consent, the time of the acceptance, its request id, the time at which the
/// record was last read, and its fate then. Times are in milliseconds since 1970.
type Row<'a> = (u128, bool, i64, &'a str, i64, &'a str);
const TABLE: TableDefinition<u128, Row> = TableDefinition::new("records");
/// Minimum time before the same fate of the same record is written again: an unchanged record may be read
/// every few seconds.
const NOTED: TimeDelta = TimeDelta::minutes(10);
/// Number of attempts to open a file that another process has open for a moment, and the wait between them.
const TRIES: u32 = 100;
const WAIT: Duration = Duration::from_millis(20);

/// What the cache contains of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedDelivery {
    /// Digest of the payload that the sink has accepted, if that is known for certain; otherwise 0.
    print: u128,
    /// Whether the last accepted payload withdrew somebody's consent.
    pub opted_out: bool,
    /// Time at which the sink last accepted a payload; `None` if it never did, as far as is known.
    pub sent: Option<DateTime<Utc>>,
    pub request_id: String,
    /// Time at which the record was last read, to within ten minutes.
    pub seen: DateTime<Utc>,
    /// Fate of the record at that time.
    pub fate: Fate,
}

/// The delivery cache of one list and sink.
#[derive(Debug, Clone)]
pub struct DeliveryCache {
    path: PathBuf,
    /// Age from which a record counts as never sent; `None`: there is no cache.
    expire: Option<TimeDelta>,
    /// Version of the mapping.
    version: u32,
}

/// Version of a record that a sink has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedDelivery {
    /// Fingerprint of the record's key.
    pub key: u128,
    /// Digest of its payloads; see [`DeliveryCache::digest`].
    pub digest: u128,
    /// Whether the payloads withdrew a person's consent.
    pub opted_out: bool,
    /// The service's identifier of the request with the record's last payload.
    pub request_id: Option<Arc<str>>,
}

/// Cached deliveries of the records of a page, by their fingerprints.
pub type CachedDeliveries = HashMap<u128, CachedDelivery>;

impl DeliveryCache {
    /// Creates the cache in the list's `folder`. `sink` is the digest that identifies the sink.
    pub fn new(folder: &Path, sink: &str, version: u32, expire: Option<TimeDelta>) -> Self {
        let name = format!("{NAME}{sink}.{EXTENSION}");
        DeliveryCache { path: folder.join(name), expire, version }
    }

    /// Returns the cache, unless it is switched off.
    pub fn on(&self) -> Option<&Self> {
        self.expire.map(|_| self)
    }

    /// Prepares the cache for a run. A run without the cache sends without a trace, so the contents of an
    /// earlier cache would be wrong; this removes them.
    ///
    /// # Errors
    ///
    /// The file could not be removed.
    pub async fn begin(&self) -> Result<(), Fault> {
        match self.on() {
            Some(_) => Ok(()),
            None => self.clear().await,
        }
    }

    /// Removes all cached deliveries.
    ///
    /// # Errors
    ///
    /// The file could not be removed.
    pub async fn clear(&self) -> Result<(), Fault> {
        files::blocking(&self.path, files::remove).await.map(|_| ())
    }

    /// Returns the digest that decides whether the payloads of two versions of a record are equal. Each
    /// payload is a JSON text, or `None` for a deletion.
    pub fn digest<'a>(&self, payloads: impl Iterator<Item = Option<&'a str>>) -> u128 {
        let mut text = self.version.to_string();
        for payload in payloads {
            text += " ";
            text += payload.unwrap_or("gone");
        }
        // 0 means that there is no digest.
        record_key(&text).max(1)
    }

    /// Returns whether the sink is known to have exactly this payload.
    pub fn holds(&self, kept: &CachedDelivery, print: u128, now: DateTime<Utc>) -> bool {
        // The source's clock may have been set back.
        let fresh = |sent: DateTime<Utc>| self.expire.is_some_and(|expire| (now - sent).abs() < expire);
        kept.print == print && kept.sent.is_some_and(fresh)
    }

    /// Returns whether to write the fate of a record that was not sent: it has changed, or the last one is
    /// ten minutes old.
    pub fn is_news(&self, kept: Option<&CachedDelivery>, fate: Fate, now: DateTime<Utc>) -> bool {
        kept.is_none_or(|kept| kept.fate != fate || now - kept.seen >= NOTED)
    }

    /// Returns the cached deliveries of these records.
    ///
    /// # Errors
    ///
    /// The file could not be read.
    pub async fn recall(&self, keys: Vec<u128>) -> Result<CachedDeliveries, Fault> {
        if keys.is_empty() {
            return Ok(CachedDeliveries::new());
        }
        files::blocking(&self.path, move |path| recall(path, &keys)).await
    }

    /// Forgets the accepted payloads of these records, since other versions are about to be sent. On disk
    /// when this returns.
    ///
    /// # Errors
    ///
    /// The file could not be written. The records must then not be sent.
    pub async fn forget(&self, keys: Vec<u128>) -> Result<(), Fault> {
        if keys.is_empty() {
            return Ok(());
        }
        let work = move |path: &Path| {
            change(path, |table| {
                for key in &keys {
                    let kept = table.get(key)?.map(|row| CachedDelivery::of(row.value()));
                    if let Some(kept) = kept {
                        CachedDelivery { print: 0, ..kept }.put(table, *key)?;
                    }
                }
                Ok(())
            })
        };
        files::blocking(&self.path, work).await
    }

    /// Stores what the sink has accepted of these records. On disk when this returns.
    ///
    /// # Errors
    ///
    /// The file could not be written.
    pub async fn accepted(&self, accepted: Vec<AcceptedDelivery>, now: DateTime<Utc>) -> Result<(), Fault> {
        if accepted.is_empty() {
            return Ok(());
        }
        let work = move |path: &Path| {
            let fate = Fate::Sent(Effect::None).to_string();
            change(path, |table| {
                for AcceptedDelivery { key, digest, opted_out, request_id } in &accepted {
                    let (time, request_id) =
                        (now.timestamp_millis(), request_id.as_deref().unwrap_or_default());
                    table.insert(key, (*digest, *opted_out, time, request_id, time, fate.as_str()))?;
                }
                Ok(())
            })
        };
        files::blocking(&self.path, work).await
    }

    /// Stores the fates of records that were not sent.
    ///
    /// # Errors
    ///
    /// The file could not be written.
    pub async fn note(&self, fates: Vec<(u128, Fate)>, now: DateTime<Utc>) -> Result<(), Fault> {
        if fates.is_empty() {
            return Ok(());
        }
        let work = move |path: &Path| {
            change(path, |table| {
                for (key, fate) in &fates {
                    let kept = table.get(key)?.map(|row| CachedDelivery::of(row.value()));
                    let kept = kept.unwrap_or_else(|| CachedDelivery::unsent(now, *fate));
                    CachedDelivery { seen: now, fate: *fate, ..kept }.put(table, *key)?;
                }
                Ok(())
            })
        };
        files::blocking(&self.path, work).await
    }

    /// Removes the records that were neither read nor sent since the time of expiry.
    ///
    /// # Errors
    ///
    /// The file could not be read or written.
    pub async fn tidy(&self, now: DateTime<Utc>) -> Result<(), Fault> {
        let oldest = now - self.expire.unwrap_or(NOTED).max(NOTED);
        let work = move |path: &Path| {
            if !path.exists() {
                return Ok(());
            }
            let old = |row: Row| row.2.max(row.4) < oldest.timestamp_millis();
            let found = read(path, |table| {
                let mut rows = table.iter()?;
                Ok(rows.any(|row| row.is_ok_and(|(_, row)| old(row.value()))))
            })?;
            if found { change(path, |table| Ok(table.retain(|_, row| !old(row))?)) } else { Ok(()) }
        };
        files::blocking(&self.path, work).await
    }
}

/// Returns what the cache contains of one record; runs may use the files at the same time. Without the
/// credentials of the sink, its digest is unknown. Then returns the newest row of all caches of the list.
///
/// # Errors
///
/// A file could not be read.
pub async fn look(unchanged: &DeliveryCache, key: &str) -> Result<Option<CachedDelivery>, Fault> {
    let key = record_key(key);
    let work = move |own: &Path| {
        if own.exists() {
            return Ok(recall(own, &[key])?.remove(&key));
        }
        let mut found: Option<CachedDelivery> = None;
        for file in own.parent().and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten() {
            let path = file?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(NAME) && path.extension().is_some_and(|extension| extension == EXTENSION) {
                let kept = recall(&path, &[key])?.remove(&key);
                found = found.into_iter().chain(kept).max_by_key(|kept| kept.seen);
            }
        }
        Ok(found)
    };
    files::blocking(&unchanged.path, work).await
}

impl CachedDelivery {
    fn of((print, opted_out, sent, request_id, seen, fate): Row) -> Self {
        let time = |millis| DateTime::from_timestamp_millis(millis).unwrap_or_default();
        CachedDelivery {
            print,
            opted_out,
            sent: (sent != 0).then(|| time(sent)),
            request_id: request_id.to_owned(),
            seen: time(seen),
            fate: Fate::parse(fate),
        }
    }

    /// Returns the entry of a record of which the sink is not known to have accepted a payload.
    fn unsent(now: DateTime<Utc>, fate: Fate) -> Self {
        CachedDelivery { print: 0, opted_out: false, sent: None, request_id: String::new(), seen: now, fate }
    }

    fn put(&self, table: &mut Table, key: u128) -> Result<(), redb::Error> {
        let (sent, fate) = (self.sent.map_or(0, |sent| sent.timestamp_millis()), self.fate.to_string());
        let seen = self.seen.timestamp_millis();
        table
            .insert(key, (self.print, self.opted_out, sent, self.request_id.as_str(), seen, fate.as_str()))?;
        Ok(())
    }
}

fn recall(path: &Path, keys: &[u128]) -> io::Result<CachedDeliveries> {
    if !path.exists() {
        return Ok(CachedDeliveries::new());
    }
    read(path, |table| {
        let mut memory = CachedDeliveries::new();
        for key in keys {
            if let Some(row) = table.get(key)? {
                memory.insert(*key, CachedDelivery::of(row.value()));
            }
        }
        Ok(memory)
    })
}

type Table<'a> = redb::Table<'a, u128, Row<'static>>;

/// Runs one transaction; on disk when this returns.
fn change(path: &Path, work: impl Fn(&mut Table) -> Result<(), redb::Error>) -> io::Result<()> {
    within(path, |database| {
        let transaction = database.begin_write()?;
        work(&mut transaction.open_table(TABLE)?)?;
        Ok(transaction.commit()?)
    })
}

fn read<T: Default>(
    path: &Path,
    work: impl Fn(&ReadOnlyTable<u128, Row<'static>>) -> Result<T, redb::Error>,
) -> io::Result<T> {
    within(path, |database| match database.begin_read()?.open_table(TABLE) {
        Ok(table) => work(&table),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(T::default()),
        Err(error) => Err(error.into()),
    })
}

/// Serializes all access, including the creation of the file. Only one caller can open the file at a time,
/// and all runs use it at the same time.
static TURN: Mutex<()> = Mutex::new(());

/// Opens the file for one operation only, so that `importer why` can read it in between. Removes a file that
/// can't be understood: that costs deliveries, but no records.
fn within<T>(path: &Path, work: impl Fn(&Database) -> Result<T, redb::Error>) -> io::Result<T> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let attempt = || open(path).and_then(|database| work(&database));
    // The database panics on pages that make no sense.
    let damaged = match catch_unwind(AssertUnwindSafe(&attempt)) {
        Ok(Err(error)) => is_damage(&error).then_some(()).ok_or_else(|| plain(error)),
        Ok(Ok(done)) => return Ok(done),
        Err(_) => Ok(()),
    };
    damaged?;
    warn!("`{}` can't be read and is removed; the next run sends every record again.", path.display());
    files::remove(path)?;
    attempt().map_err(plain)
}

fn open(path: &Path) -> Result<Database, redb::Error> {
    if !path.exists() {
        // Only the owner may read it, as with all files of importer.
        files::replace(path, &[]).map_err(StorageError::Io)?;
    }
    for _ in 0..TRIES {
        match Database::create(path) {
            #[expect(clippy::disallowed_methods, reason = "runs on a thread for files")]
            Err(DatabaseError::DatabaseAlreadyOpen) => std::thread::sleep(WAIT),
            opened => return Ok(opened?),
        }
    }
    Err(DatabaseError::DatabaseAlreadyOpen.into())
}

fn is_damage(error: &redb::Error) -> bool {
    match error {
        redb::Error::Corrupted(_) | redb::Error::UpgradeRequired(_) | redb::Error::RepairAborted => true,
        redb::Error::TableTypeMismatch { .. } | redb::Error::TypeDefinitionChanged { .. } => true,
        redb::Error::Io(error) => {
            matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
        }
        _ => false,
    }
}

fn plain(error: redb::Error) -> io::Error {
    match error {
        redb::Error::Io(error) => error,
        error => io::Error::other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::base::time;

    fn accepted(key: u128, digest: u128, opted_out: bool) -> Vec<AcceptedDelivery> {
        vec![AcceptedDelivery { key, digest, opted_out, request_id: Some("r-1".into()) }]
    }

    fn digest(cache: &DeliveryCache, payloads: &[Option<&str>]) -> u128 {
        cache.digest(payloads.iter().copied())
    }

    fn noon() -> DateTime<Utc> {
        time::parse("2026-11-21T12:00:00").unwrap()
    }

    fn memory(folder: &Path, sink: &str) -> DeliveryCache {
        DeliveryCache::new(folder, sink, 1, Some(TimeDelta::days(7)))
    }

    #[tokio::test]
    async fn an_accepted_payload_counts_until_another_version_is_sent_or_it_expires() {
        let folder = tempfile::tempdir().unwrap();
        let (memory, key) = (memory(folder.path(), "s"), record_key("a"));
        let (old, new) = (digest(&memory, &[Some("1")]), digest(&memory, &[Some("2")]));
        assert!(memory.recall(vec![key]).await.unwrap().is_empty());
        memory.accepted(accepted(key, old, true), noon()).await.unwrap();
        let kept = memory.recall(vec![key]).await.unwrap().remove(&key).unwrap();
        assert!(memory.holds(&kept, old, noon()) && !memory.holds(&kept, new, noon()));
        assert!(!memory.holds(&kept, old, noon() + TimeDelta::days(7)));
        assert!(memory.holds(&kept, old, noon() - TimeDelta::minutes(5)), "a clock that was set back");
        assert!(kept.opted_out);
        let sent = Fate::Sent(Effect::None);
        assert_eq!((kept.sent, kept.request_id.as_str(), kept.fate), (Some(noon()), "r-1", sent));
        memory.forget(vec![key]).await.unwrap();
        let kept = memory.recall(vec![key]).await.unwrap().remove(&key).unwrap();
        assert!(!memory.holds(&kept, old, noon()) && kept.sent == Some(noon()));
        let mode = std::fs::metadata(&memory.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn payloads_are_equal_by_their_bytes_and_the_version_of_the_mapping() {
        let memory = memory(Path::new("a"), "s");
        let raised = DeliveryCache { version: 2, ..memory.clone() };
        let prints = [
            digest(&memory, &[Some("1")]),
            digest(&memory, &[Some("2")]),
            digest(&memory, &[None]),
            digest(&memory, &[Some("1"), Some("2")]),
            digest(&memory, &[Some("2"), Some("1")]),
            digest(&raised, &[Some("1")]),
        ];
        assert_eq!(prints.iter().collect::<std::collections::HashSet<_>>().len(), prints.len());
        assert_eq!(prints[0], digest(&memory, &[Some("1")]));
    }

    #[tokio::test]
    async fn each_sink_has_its_own_cache_and_a_run_without_a_cache_removes_it() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other, key) =
            (memory(folder.path(), "one"), memory(folder.path(), "other"), record_key("a"));
        one.accepted(accepted(key, 1, false), noon()).await.unwrap();
        assert!(other.recall(vec![key]).await.unwrap().is_empty());
        one.begin().await.unwrap();
        assert!(one.on().is_some() && !one.recall(vec![key]).await.unwrap().is_empty());
        let off = DeliveryCache::new(folder.path(), "one", 1, None);
        off.begin().await.unwrap();
        assert!(off.on().is_none());
        assert!(one.recall(vec![key]).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn many_callers_may_use_a_file_at_once_even_before_it_exists() {
        for _ in 0..5 {
            let folder = tempfile::tempdir().unwrap();
            let memory = memory(folder.path(), "s");
            let all = (0..16).map(|key| memory.accepted(accepted(key, 1, false), noon()));
            futures::future::try_join_all(all).await.unwrap();
            assert_eq!(memory.recall((0..16).collect()).await.unwrap().len(), 16);
        }
    }

    #[tokio::test]
    async fn the_same_fate_is_written_every_ten_minutes_and_old_rows_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (memory, key) = (memory(folder.path(), "s"), record_key("a"));
        let (pending, unchanged) = (Fate::skipped("pending"), Fate::Unchanged);
        memory.note(vec![(key, pending)], noon()).await.unwrap();
        let kept = look(&memory, "a").await.unwrap().unwrap();
        assert_eq!((kept.seen, kept.sent, kept.fate), (noon(), None, pending));
        assert!(memory.is_news(None, unchanged, noon()) && memory.is_news(Some(&kept), unchanged, noon()));
        assert!(!memory.is_news(Some(&kept), pending, noon()));
        assert!(memory.is_news(Some(&kept), pending, noon() + NOTED));
        let text =
            read(&memory.path, |table| Ok(table.get(key)?.map(|row| row.value().5.to_owned()))).unwrap();
        assert_eq!(text.as_deref(), Some("skipped pending"), "rows of earlier versions contain this text");
        memory.tidy(noon() + TimeDelta::days(7)).await.unwrap();
        assert!(look(&memory, "a").await.unwrap().is_some());
        memory.tidy(noon() + TimeDelta::days(8)).await.unwrap();
        assert_eq!(look(&memory, "a").await.unwrap(), None);
    }

    /// Damages the file at every place. The database's own panics go to standard error, once each.
    #[tokio::test]
    async fn a_damaged_file_loses_its_contents_and_nothing_else() {
        for place in 0..24 {
            let folder = tempfile::tempdir().unwrap();
            let (memory, keys) = (memory(folder.path(), "s"), (0..200).collect::<Vec<u128>>());
            let all = keys.iter().flat_map(|key| accepted(*key, 1, false)).collect();
            memory.accepted(all, noon()).await.unwrap();
            let mut bytes = std::fs::read(&memory.path).unwrap();
            let from = place * bytes.len() / 24;
            let until = (from + 3000).min(bytes.len());
            bytes[from..until].fill(if place % 2 == 0 { 0 } else { 7 });
            #[expect(clippy::disallowed_methods, reason = "a file of the test's own")]
            std::fs::write(&memory.path, bytes).unwrap();
            let kept = memory.recall(keys.clone()).await.unwrap().len();
            assert!(kept == 0 || kept == keys.len(), "{kept} at {place}");
            memory.accepted(accepted(1000, 1, false), noon()).await.unwrap();
            assert_eq!(memory.recall(vec![1000]).await.unwrap().len(), 1);
        }
    }
}
