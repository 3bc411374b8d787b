//! What the sink has accepted of each record, so that an unchanged one can be held back: a small database for each entry. A record
//! whose entry is lost, damaged or expired is sent again, never held back.
//!
//! Before another version of a record is sent, the one that was accepted is forgotten: a batch whose fate is not known may have
//! arrived, and the older version must not count as what the sink holds.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use log::warn;
use redb::{
    Database, DatabaseError, ReadOnlyTable, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
};

use super::{coverage::SENT, files, seen::fingerprint};
use crate::base::{fault::Fault, record::Payload};

const NAME: &str = "unchanged.redb";
/// By a record's fingerprint: the print of what was accepted (0: nothing that counts) and when in milliseconds since 1970, by which
/// request, when the record was last read, and what became of it then.
type Row<'a> = (u128, i64, &'a str, i64, &'a str);
const TABLE: TableDefinition<u128, Row> = TableDefinition::new("records");
/// The same fate of the same record is noted again only after so long: an unchanged record is read every few seconds.
const NOTED: TimeDelta = TimeDelta::minutes(10);
/// How often another process that has the file open for a moment is waited for, and how long each time.
const TRIES: u32 = 100;
const WAIT: Duration = Duration::from_millis(20);

/// What is remembered of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Of what the sink has accepted, if that is known for certain.
    print: u128,
    /// When the sink accepted something; none: never, as far as is known.
    pub sent: Option<DateTime<Utc>>,
    pub request_id: String,
    /// When the record was last read, to within ten minutes.
    pub seen: DateTime<Utc>,
    /// What became of it then, in the words of a run's last line.
    pub fate: String,
}

/// The memory of one entry.
#[derive(Debug, Clone)]
pub struct Unchanged {
    path: PathBuf,
    /// After so long a record counts as never sent.
    expire: TimeDelta,
    /// What besides the payload decides whether it is the same: the mapping and the sink.
    salt: String,
}

/// What was remembered of the records of a page, by their fingerprints.
pub type Memory = HashMap<u128, Kept>;

impl Unchanged {
    /// `folder` is the entry's.
    pub fn new(folder: &Path, expire: TimeDelta, salt: String) -> Self {
        Unchanged { path: folder.join(NAME), expire, salt }
    }

    /// By what two payloads of a record are compared.
    pub fn print(&self, payload: &Payload) -> u128 {
        let body = payload.body.as_ref().map_or("gone", |body| body.get());
        // 0 stands for nothing.
        fingerprint(&format!("{}\n{body}", self.salt)).max(1)
    }

    /// Whether the sink is known to hold just this.
    pub fn holds(&self, kept: &Kept, print: u128, now: DateTime<Utc>) -> bool {
        kept.print == print && kept.sent.is_some_and(|sent| now - sent < self.expire)
    }

    /// Whether a fate is to be noted that comes to nothing new for the sink.
    pub fn is_news(&self, kept: Option<&Kept>, fate: &str, now: DateTime<Utc>) -> bool {
        kept.is_none_or(|kept| kept.fate != fate || now - kept.seen >= NOTED)
    }

    /// What is remembered of these records.
    pub async fn recall(&self, keys: Vec<u128>) -> Result<Memory, Fault> {
        if keys.is_empty() {
            return Ok(Memory::new());
        }
        files::blocking(&self.path, move |path| recall(path, &keys)).await
    }

    /// These records are about to be sent in another version than the one that was accepted. On disk when this ends.
    pub async fn forget(&self, keys: Vec<u128>) -> Result<(), Fault> {
        if keys.is_empty() {
            return Ok(());
        }
        let work = move |path: &Path| {
            change(path, |table| {
                for key in &keys {
                    let kept = table.get(key)?.map(|row| Kept::of(row.value()));
                    if let Some(kept) = kept {
                        table.insert(key, Kept { print: 0, ..kept }.row())?;
                    }
                }
                Ok(())
            })
        };
        files::blocking(&self.path, work).await
    }

    /// The sink has accepted payloads of these prints.
    pub async fn accepted(
        &self,
        prints: Vec<(u128, u128)>,
        request_id: Option<String>,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        if prints.is_empty() {
            return Ok(());
        }
        let work = move |path: &Path| {
            let request_id = request_id.unwrap_or_default();
            change(path, |table| {
                for (key, print) in &prints {
                    let time = now.timestamp_millis();
                    table.insert(key, (*print, time, request_id.as_str(), time, SENT))?;
                }
                Ok(())
            })
        };
        files::blocking(&self.path, work).await
    }

    /// What became of records that were not sent.
    pub async fn note(&self, fates: Vec<(u128, String)>, now: DateTime<Utc>) -> Result<(), Fault> {
        if fates.is_empty() {
            return Ok(());
        }
        let work = move |path: &Path| {
            change(path, |table| {
                for (key, fate) in &fates {
                    let kept = table.get(key)?.map(|row| Kept::of(row.value()));
                    let kept = kept.unwrap_or_else(|| Kept::nothing(now));
                    table.insert(key, Kept { seen: now, fate: fate.clone(), ..kept }.row())?;
                }
                Ok(())
            })
        };
        files::blocking(&self.path, work).await
    }

    /// Drops what was neither read nor sent for so long that it has expired.
    pub async fn tidy(&self, now: DateTime<Utc>) -> Result<(), Fault> {
        let oldest = now - self.expire.max(NOTED);
        let work = move |path: &Path| {
            if !path.exists() {
                return Ok(());
            }
            let old = |row: Row| row.1.max(row.3) < oldest.timestamp_millis();
            let found = read(path, |table| {
                let mut rows = table.iter()?;
                Ok(rows.any(|row| row.is_ok_and(|(_, row)| old(row.value()))))
            })?;
            if found { change(path, |table| Ok(table.retain(|_, row| !old(row))?)) } else { Ok(()) }
        };
        files::blocking(&self.path, work).await
    }

    /// Everything is sent anew from now on.
    pub async fn drop(folder: &Path) -> Result<bool, Fault> {
        files::blocking(&folder.join(NAME), files::remove).await
    }
}

/// What is remembered of one record of the entry with this folder; the file may be in use.
pub async fn look(folder: &Path, key: &str) -> Result<Option<Kept>, Fault> {
    let key = fingerprint(key);
    let work = move |path: &Path| Ok(recall(path, &[key])?.remove(&key));
    files::blocking(&folder.join(NAME), work).await
}

impl Kept {
    fn of((print, sent, request_id, seen, fate): Row) -> Self {
        let time = |millis| DateTime::from_timestamp_millis(millis).unwrap_or_default();
        Kept {
            print,
            sent: (sent != 0).then(|| time(sent)),
            request_id: request_id.to_owned(),
            seen: time(seen),
            fate: fate.to_owned(),
        }
    }

    fn nothing(now: DateTime<Utc>) -> Self {
        Kept { print: 0, sent: None, request_id: String::new(), seen: now, fate: String::new() }
    }

    fn row(&self) -> Row<'_> {
        let sent = self.sent.map_or(0, |sent| sent.timestamp_millis());
        (self.print, sent, &self.request_id, self.seen.timestamp_millis(), &self.fate)
    }
}

fn recall(path: &Path, keys: &[u128]) -> io::Result<Memory> {
    if !path.exists() {
        return Ok(Memory::new());
    }
    read(path, |table| {
        let mut memory = Memory::new();
        for key in keys {
            if let Some(row) = table.get(key)? {
                memory.insert(*key, Kept::of(row.value()));
            }
        }
        Ok(memory)
    })
}

type Table<'a> = redb::Table<'a, u128, Row<'static>>;

/// One transaction, on disk when this ends.
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

/// The file is open for a moment only, so that `importer why` can look into it meanwhile. What can't be understood is dropped: it
/// costs sends, no records.
fn within<T>(path: &Path, work: impl Fn(&Database) -> Result<T, redb::Error>) -> io::Result<T> {
    match open(path).and_then(|database| work(&database)) {
        Err(error) if is_damage(&error) => {
            warn!("`{}` can't be read and is dropped: all records count as changed once.", path.display());
            files::remove(path)?;
            open(path).and_then(|database| work(&database)).map_err(plain)
        }
        done => done.map_err(plain),
    }
}

fn open(path: &Path) -> Result<Database, redb::Error> {
    if !path.exists() {
        // Only the owner may read it, as all files of ours.
        files::replace(path, &[]).map_err(StorageError::Io)?;
    }
    for _ in 0..TRIES {
        match Database::create(path) {
            #[expect(clippy::disallowed_methods, reason = "a thread of its own, for files")]
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

    use serde_json::value::to_raw_value;

    use super::*;
    use crate::base::time;

    fn payload(body: Option<u32>) -> Payload {
        Payload { key: "a".into(), body: body.map(|body| to_raw_value(&body).unwrap()) }
    }

    fn noon() -> DateTime<Utc> {
        time::parse("2026-11-21T12:00:00").unwrap()
    }

    fn memory(folder: &Path, salt: &str) -> Unchanged {
        Unchanged::new(folder, TimeDelta::days(7), salt.into())
    }

    #[tokio::test]
    async fn what_was_accepted_counts_until_another_version_is_sent_or_it_expires() {
        let folder = tempfile::tempdir().unwrap();
        let (memory, key) = (memory(folder.path(), "s"), fingerprint("a"));
        let (old, new) = (memory.print(&payload(Some(1))), memory.print(&payload(Some(2))));
        assert!(memory.recall(vec![key]).await.unwrap().is_empty());
        memory.accepted(vec![(key, old)], Some("r-1".into()), noon()).await.unwrap();
        let kept = memory.recall(vec![key]).await.unwrap().remove(&key).unwrap();
        assert!(memory.holds(&kept, old, noon()) && !memory.holds(&kept, new, noon()));
        assert!(!memory.holds(&kept, old, noon() + TimeDelta::days(7)));
        assert_eq!((kept.sent, kept.request_id.as_str(), kept.fate.as_str()), (Some(noon()), "r-1", "sent"));
        memory.forget(vec![key]).await.unwrap();
        let kept = memory.recall(vec![key]).await.unwrap().remove(&key).unwrap();
        assert!(!memory.holds(&kept, old, noon()) && kept.sent == Some(noon()));
        let mode = std::fs::metadata(folder.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn payloads_are_the_same_by_their_bytes_the_mapping_and_the_sink() {
        let (memory, other) = (memory(Path::new("a"), "s"), memory(Path::new("a"), "another sink"));
        let prints = [
            memory.print(&payload(Some(1))),
            memory.print(&payload(Some(2))),
            memory.print(&payload(None)),
            other.print(&payload(Some(1))),
        ];
        assert_eq!(prints.iter().collect::<std::collections::HashSet<_>>().len(), prints.len());
        assert_eq!(prints[0], memory.print(&payload(Some(1))));
    }

    #[tokio::test]
    async fn the_same_fate_is_noted_now_and_then_and_what_is_old_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (memory, key) = (memory(folder.path(), "s"), fingerprint("a"));
        memory.note(vec![(key, "skipped pending".into())], noon()).await.unwrap();
        let kept = look(folder.path(), "a").await.unwrap().unwrap();
        assert_eq!((kept.seen, kept.sent, kept.fate.as_str()), (noon(), None, "skipped pending"));
        assert!(
            memory.is_news(None, "unchanged", noon()) && memory.is_news(Some(&kept), "unchanged", noon())
        );
        assert!(!memory.is_news(Some(&kept), "skipped pending", noon()));
        assert!(memory.is_news(Some(&kept), "skipped pending", noon() + NOTED));
        memory.tidy(noon() + TimeDelta::days(7)).await.unwrap();
        assert!(look(folder.path(), "a").await.unwrap().is_some());
        memory.tidy(noon() + TimeDelta::days(8)).await.unwrap();
        assert_eq!(look(folder.path(), "a").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_damaged_file_costs_what_it_held_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let (memory, key) = (memory(folder.path(), "s"), fingerprint("a"));
        #[expect(clippy::disallowed_methods, reason = "a file of the test's own")]
        std::fs::write(folder.path().join(NAME), vec![7; 10_000]).unwrap();
        assert!(memory.recall(vec![key]).await.unwrap().is_empty());
        memory.accepted(vec![(key, 1)], None, noon()).await.unwrap();
        assert_eq!(memory.recall(vec![key]).await.unwrap().len(), 1);
    }
}
