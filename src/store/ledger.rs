//! The ledger: which records were delivered, with which status, up to which time; one file per list. It
//! determines where the next listing of the archived members begins, and `importer verify` compares it with
//! the source.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use log::warn;
use serde::{Deserialize, Serialize};

use super::{
    files,
    seen::{Seen, record_key},
};
use crate::base::fault::Fault;

const NAME: &str = "ledger";
const VERSION: u32 = 1;
/// Status of records that are gone at the source.
pub const GONE: &str = "deleted";
/// Bytes of a row: fingerprint, status.
const ROW: usize = 16 + 1;

/// The first line of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    version: u32,
    /// The end of the last window whose records were all delivered.
    pub until: DateTime<Utc>,
    /// Time from which the archived listing still has to be read: no member that was archived before needs an
    /// opt-out any more.
    pub archived_until: DateTime<Utc>,
    /// Whether the ledger began with a full load; otherwise it contains only records that changed since it
    /// began.
    pub whole: bool,
    /// Rows that `start_offset` left out of the full load.
    pub left_out: u64,
    /// Opt-outs of the last full load that left out no record, by consent scope: the delivery and the consent
    /// settings of its entry.
    #[serde(default)]
    pub opt_outs: BTreeMap<String, u64>,
    /// The mapping's choice for the whole list.
    pub choice: Option<String>,
    /// Whether the source's totals were found to be wrong, so that no count can be compared with them.
    #[serde(default)]
    pub totals_wrong: bool,
    /// Largest number of records that the source has returned in one answer.
    #[serde(default)]
    pub most_rows: usize,
    names: Vec<String>,
    rows: usize,
}

impl Summary {
    /// Returns the number of records in the ledger.
    pub fn len(&self) -> u64 {
        self.rows as u64
    }

    /// Returns the opt-outs of the last full load in this consent scope, `to:<delivery> <consent>`. Without
    /// one, returns the number that an older version wrote as `<entry> <consent>`: the smallest, if several
    /// entries had the same consent settings.
    pub fn opt_outs(&self, consent_scope: &str) -> Option<u64> {
        let former = |key: &&String| !key.starts_with(DELIVERY) && consent(key) == consent(consent_scope);
        let known = self.opt_outs.get(consent_scope).copied();
        known.or_else(|| self.opt_outs.iter().filter(|(key, _)| former(key)).map(|(_, count)| *count).min())
    }

    /// Returns whether no finished pass has delivered a record yet.
    pub fn is_empty(&self) -> bool {
        self.rows == 0 && !self.whole
    }
}

/// Prefix of a consent scope.
pub const DELIVERY: &str = "to:";

fn consent(consent_scope: &str) -> Option<&str> {
    consent_scope.split_once(' ').map(|(_, consent)| consent)
}

/// What one pass adds to the ledger.
pub struct Delivered<'a> {
    /// The records of each listing, the plain one first.
    pub seen: Vec<&'a Seen>,
    /// Whether the pass replaces the ledger because it read the whole list.
    pub whole: bool,
    pub left_out: u64,
    /// Consent scope and number of opt-outs, of a full load that left out no record.
    pub opt_outs: Option<(String, u64)>,
    pub until: DateTime<Utc>,
    /// Whether the archived listing was read too, or is known to be empty.
    pub archived: bool,
    pub choice: Option<String>,
    /// Whether the source's totals were found to be wrong.
    pub totals_wrong: bool,
    /// Largest number of records in one answer.
    pub most_rows: usize,
}

/// Prefix of the status of a record whose last version was rejected. Ledgers of older versions have no such
/// prefix.
const REJECTED_AS: &str = "rejected: ";

/// The last known version of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled<'a> {
    /// Its status at the source.
    pub status: &'a str,
    /// Whether it was rejected.
    pub rejected: bool,
}

impl<'a> Settled<'a> {
    fn of(name: &'a str) -> Self {
        let status = name.strip_prefix(REJECTED_AS);
        Settled { status: status.unwrap_or(name), rejected: status.is_some() }
    }
}

/// Numbers of records of one status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sent, or skipped for a counted reason.
    pub delivered: u64,
    pub rejected: u64,
}

/// The whole file.
pub struct Ledger {
    pub summary: Summary,
    statuses: HashMap<u128, u8>,
}

fn path(folder: &Path) -> PathBuf {
    folder.join(NAME)
}

/// Returns whether a list has a ledger.
pub fn exists(folder: &Path) -> bool {
    path(folder).exists()
}

/// Returns the first line of a list's ledger; `None` if there is no ledger, or none that can be understood.
///
/// # Errors
///
/// The file could not be read.
pub async fn summary(folder: &Path) -> Result<Option<Summary>, Fault> {
    Ok(Ledger::load(folder).await?.map(|ledger| ledger.summary))
}

impl Ledger {
    /// Loads a list's ledger; `None` if there is none, or none that can be understood.
    ///
    /// # Errors
    ///
    /// The file could not be read.
    pub async fn load(folder: &Path) -> Result<Option<Ledger>, Fault> {
        files::blocking(&path(folder), load).await
    }

    /// Returns whether records of this status were at the source.
    fn is_there(&self, status: u8) -> bool {
        self.summary.names.get(usize::from(status)).is_some_and(|name| Settled::of(name).status != GONE)
    }

    /// Returns the status with which a record was last settled; `None` if it never was.
    pub fn settled(&self, key: &str) -> Option<Settled<'_>> {
        self.settled_by_print(record_key(key))
    }

    /// Returns the status with which the record of this fingerprint was last settled; `None` if it never was.
    pub fn settled_by_print(&self, print: u128) -> Option<Settled<'_>> {
        let place = self.statuses.get(&print)?;
        self.summary.names.get(usize::from(*place)).map(|name| Settled::of(name))
    }

    pub fn knows(&self, key: u128) -> bool {
        self.statuses.contains_key(&key)
    }

    /// Counts the records of each status. `letters` contains the keys of the records in dead letters. They
    /// count as rejected even if another entry of the list has delivered them since, or if a ledger of an
    /// older version does not mark them.
    pub fn census(&self, letters: &HashSet<u128>) -> HashMap<String, Tally> {
        let mut counted: HashMap<String, Tally> = HashMap::new();
        for (key, place) in &self.statuses {
            let name = self.summary.names.get(usize::from(*place)).map_or("", String::as_str);
            let settled = Settled::of(name);
            let tally = counted.entry(settled.status.to_owned()).or_default();
            match settled.rejected || letters.contains(key) {
                true => tally.rejected += 1,
                false => tally.delivered += 1,
            }
        }
        counted
    }
}

/// Creates the ledger before the first delivery of a list without one. It stores the time from which the
/// archived listing has to be read, even if the run never finishes.
///
/// # Errors
///
/// The file could not be written.
pub async fn begin(folder: &Path, from: DateTime<Utc>) -> Result<(), Fault> {
    let delivered = Delivered {
        seen: vec![],
        whole: false,
        left_out: 0,
        opt_outs: None,
        until: from,
        archived: true,
        choice: None,
        totals_wrong: false,
        most_rows: 0,
    };
    add(folder, delivered).await.map(|_| ())
}

/// Adds what a pass has delivered. Returns the number of records that were at the source before and that the
/// pass did not read. Adding the same pass twice changes nothing.
///
/// # Errors
///
/// The file could not be read or written.
pub async fn add(folder: &Path, delivered: Delivered<'_>) -> Result<u64, Fault> {
    let Delivered { seen, whole, left_out, opt_outs, until, archived, choice, totals_wrong, most_rows } =
        delivered;
    let mut added: HashMap<u128, (i64, String)> = HashMap::new();
    for (key, known, seen) in
        seen.iter().flat_map(|seen| seen.iter().map(move |(key, known)| (key, known, seen)))
    {
        let newer = added.get(&key).is_none_or(|(second, _)| known.second >= *second);
        if newer {
            let mark = if known.fate.is_rejected() { REJECTED_AS } else { "" };
            added.insert(key, (known.second, format!("{mark}{}", seen.status(known.status))));
        }
    }
    let work = move |path: &Path| {
        let before = load(path)?;
        let unlisted = before.as_ref().map_or(0, |ledger| {
            ledger
                .statuses
                .iter()
                .filter(|(key, status)| ledger.is_there(**status) && !added.contains_key(*key))
                .count() as u64
        });
        let archived_until = before.as_ref().map(|ledger| ledger.summary.archived_until);
        let opt_outs_before = before.as_ref().map(|ledger| ledger.summary.opt_outs.clone());
        let mut ledger = before.filter(|_| !whole).unwrap_or_else(|| {
            let summary = Summary {
                version: VERSION,
                until,
                archived_until: archived_until.unwrap_or(until),
                whole,
                left_out,
                opt_outs: opt_outs_before.unwrap_or_default(),
                choice: choice.clone(),
                totals_wrong: false,
                most_rows: 0,
                names: vec![],
                rows: 0,
            };
            Ledger { summary, statuses: HashMap::new() }
        });
        ledger.summary.until = until;
        ledger.summary.totals_wrong |= totals_wrong;
        ledger.summary.most_rows = ledger.summary.most_rows.max(most_rows);
        ledger.summary.opt_outs.extend(opt_outs);
        if archived {
            ledger.summary.archived_until = until;
        }
        ledger.summary.choice = choice.or(ledger.summary.choice);
        for (key, (_, status)) in added {
            let place = place(&mut ledger.summary.names, status);
            ledger.statuses.insert(key, place);
        }
        files::replace(path, &ledger.bytes()).map(|_| unlisted)
    };
    files::blocking(&path(folder), work).await
}

/// Copies the ledger and the delivery cache of version 0.1. `list` is the folder of the list, `cache` the digest in
/// the name of the cache.
pub(super) fn take_over(list: &Path, cache: &str, to: &Path) -> io::Result<bool> {
    let mut found = false;
    for name in [NAME.to_owned(), format!("unchanged-{cache}.redb")] {
        if let Some(bytes) = files::read(&list.join(&name))? {
            files::replace(&to.join(name), &bytes)?;
            found = true;
        }
    }
    Ok(found)
}

fn place(names: &mut Vec<String>, name: String) -> u8 {
    let known = names.iter().position(|known| *known == name);
    let place = known.unwrap_or_else(|| {
        names.push(name);
        names.len() - 1
    });
    u8::try_from(place).unwrap_or(u8::MAX)
}

impl Ledger {
    fn bytes(&self) -> Vec<u8> {
        let summary = Summary { rows: self.statuses.len(), ..self.summary.clone() };
        let mut bytes = serde_json::to_vec(&summary).unwrap_or_default();
        bytes.reserve(1 + self.statuses.len() * ROW);
        bytes.push(b'\n');
        for (key, status) in &self.statuses {
            bytes.extend(key.to_be_bytes());
            bytes.push(*status);
        }
        bytes
    }
}

fn load(path: &Path) -> io::Result<Option<Ledger>> {
    let Some(bytes) = files::read(path)? else { return Ok(None) };
    let ledger = parse(&bytes);
    if ledger.is_none() {
        warn!("`{}` can't be read; continuing without it.", path.display());
    }
    Ok(ledger)
}

fn parse(bytes: &[u8]) -> Option<Ledger> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let summary: Summary = serde_json::from_slice(&bytes[..end]).ok()?;
    let rows = &bytes[end + 1..];
    if summary.version != VERSION || rows.len() != summary.rows * ROW {
        return None;
    }
    let row = |row: &[u8]| Some((u128::from_be_bytes(row[..16].try_into().ok()?), row[16]));
    Some(Ledger { statuses: rows.chunks_exact(ROW).filter_map(row).collect(), summary })
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod passes;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{
            fate::{Effect, Fate},
            time,
        },
        store::progress::Row,
    };

    fn seen(rows: &[(u128, i64, &str)]) -> Seen {
        let mut seen = Seen::default();
        rows.iter().for_each(|(key, second, status)| {
            seen.insert(Row { key: *key, second: *second }, status, Fate::Sent(Effect::None))
        });
        seen
    }

    async fn add(folder: &Path, listed: &Seen, archived: &Seen, whole: bool, until: &str) {
        let until = time::parse(until).unwrap();
        let delivered = Delivered {
            seen: vec![listed, archived],
            whole,
            left_out: 0,
            opt_outs: None,
            until,
            archived: true,
            choice: None,
            totals_wrong: false,
            most_rows: 0,
        };
        super::add(folder, delivered).await.unwrap();
    }

    async fn census(folder: &Path) -> Vec<(String, u64)> {
        let census = Ledger::load(folder).await.unwrap().unwrap().census(&HashSet::new());
        let mut counted: Vec<_> =
            census.into_iter().map(|(status, tally)| (status, tally.delivered)).collect();
        counted.sort();
        counted
    }

    #[tokio::test]
    async fn the_last_status_of_every_member_is_stored_and_a_full_load_starts_over() {
        let folder = tempfile::tempdir().unwrap();
        let nobody = seen(&[]);
        add(folder.path(), &seen(&[(1, 5, "subscribed"), (2, 6, "subscribed")]), &nobody, true, "2026-11-21")
            .await;
        // In one pass a member may be in both listings: the newer version counts, and in a tie the archived
        // one.
        let (listed, archived) = (
            seen(&[(1, 9, "subscribed"), (2, 9, "cleaned")]),
            seen(&[(1, 9, "archived"), (2, 8, "archived")]),
        );
        add(folder.path(), &listed, &archived, false, "2026-11-22").await;
        assert_eq!(census(folder.path()).await, [("archived".into(), 1), ("cleaned".into(), 1)]);
        let summary = super::summary(folder.path()).await.unwrap().unwrap();
        assert_eq!((Some(summary.until), summary.whole), (time::parse("2026-11-22"), true));
        add(folder.path(), &seen(&[(3, 5, "pending")]), &nobody, true, "2026-11-23").await;
        assert_eq!(census(folder.path()).await, [("pending".into(), 1)]);
    }

    #[tokio::test]
    async fn a_rejected_record_is_marked_until_it_is_delivered() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b, c) = (record_key("a"), record_key("b"), record_key("c"));
        let mut listed = seen(&[(a, 5, "subscribed"), (b, 6, "subscribed"), (c, 7, "cleaned")]);
        listed.set_fate(b, Fate::rejected("no_id"));
        add(folder.path(), &listed, &seen(&[]), true, "2026-11-21").await;
        let ledger = Ledger::load(folder.path()).await.unwrap().unwrap();
        let settled = |key: &str| ledger.settled(key).map(|settled| (settled.status, settled.rejected));
        let found = ["a", "b", "d"].map(settled);
        assert_eq!(found, [Some(("subscribed", false)), Some(("subscribed", true)), None]);
        let census = ledger.census(&HashSet::from([b, c]));
        assert_eq!(census["subscribed"], Tally { delivered: 1, rejected: 1 });
        assert_eq!(census["cleaned"], Tally { delivered: 0, rejected: 1 }, "it has a dead letter");
        add(folder.path(), &seen(&[(b, 8, "subscribed")]), &seen(&[]), false, "2026-11-22").await;
        let ledger = Ledger::load(folder.path()).await.unwrap().unwrap();
        assert!(!ledger.settled("b").unwrap().rejected);
        assert_eq!(ledger.census(&HashSet::new())["subscribed"], Tally { delivered: 2, rejected: 0 });
    }

    #[tokio::test]
    async fn wrong_totals_stay_marked_until_the_next_full_load() {
        let folder = tempfile::tempdir().unwrap();
        let pass = async |whole: bool, totals_wrong: bool| {
            let (until, nobody) = (time::parse("2026-11-21").unwrap(), seen(&[]));
            let delivered = Delivered {
                seen: vec![&nobody],
                whole,
                left_out: 0,
                opt_outs: None,
                until,
                archived: true,
                totals_wrong,
                choice: None,
                most_rows: 0,
            };
            super::add(folder.path(), delivered).await.unwrap();
            super::summary(folder.path()).await.unwrap().unwrap().totals_wrong
        };
        assert!(!pass(true, false).await && pass(false, true).await && pass(false, false).await);
        assert!(!pass(true, false).await);
    }

    #[tokio::test]
    async fn an_incomplete_ledger_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        add(folder.path(), &seen(&[(1, 5, "subscribed")]), &seen(&[]), true, "2026-11-21").await;
        let whole = std::fs::read(path(folder.path())).unwrap();
        assert!(parse(&whole).is_some());
        for len in 0..whole.len() {
            assert!(parse(&whole[..len]).is_none(), "{len}");
        }
    }
}
