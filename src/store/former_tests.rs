//! Files of version 0.1, written by their format alone, and the records that are imported from them.

use std::{path::PathBuf, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};

use super::*;
use crate::{
    base::{key::key_digest, time},
    store::{
        DeliveryCache, files,
        records::{Databases, Records, census, look, summary},
    },
};

const HEAD: &str = r#"{"version":1,"until":"2026-11-21T12:00:00Z","archived_until":"2026-11-20T12:00:00Z","whole":true,"left_out":4,"opt_outs":{"to:d [null]":7},"choice":"contact_id","totals_wrong":true,"most_rows":500,"names":["subscribed","rejected: cleaned","cleaned"],"rows":3}"#;

fn key(name: &str) -> u128 {
    key_digest(name)
}

fn ledger() -> Vec<u8> {
    let mut bytes = HEAD.as_bytes().to_vec();
    bytes.push(b'\n');
    for (name, index) in [("a", 0u8), ("b", 1), ("c", 2)] {
        bytes.extend(key(name).to_be_bytes());
        bytes.push(index);
    }
    bytes
}

fn write_cache(path: &Path, rows: &[(&str, Cached<'_>)]) {
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut table = transaction.open_table(CACHE).unwrap();
        for (name, row) in rows {
            table.insert(key(name), *row).unwrap();
        }
    }
    transaction.commit().unwrap();
}

/// Writes a ledger of three records and the caches of two sinks.
pub fn write_list(folder: &Path, [one, two]: [&str; 2]) {
    files::replace(&folder.join(LEDGER), &ledger()).unwrap();
    let noon = noon().timestamp_millis();
    write_cache(
        &folder.join(format!("unchanged-{one}.redb")),
        &[
            ("a", (11, true, noon, "r-1", noon + 5, "unchanged")),
            ("b", (0, false, noon, "", noon, "sent")),
            ("d", (0, false, 0, "", noon, "skipped pending")),
        ],
    );
    let rows = [("a", (22, false, noon, "", noon, "sent"))];
    write_cache(&folder.join(format!("unchanged-{two}.redb")), &rows);
}

/// The folder of a list in version 0.1, with a ledger and the caches of two sinks.
struct List(tempfile::TempDir);

impl List {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_list(folder.path(), ["one", "two"]);
        List(folder)
    }

    fn to(&self, delivery: &str) -> PathBuf {
        self.0.path().join(delivery)
    }

    fn records(&self, destination: &str) -> Records {
        let week = Some(TimeDelta::days(7));
        Records::new(&Arc::<Databases>::default(), &self.to(destination), destination, 1, week)
    }

    fn import(&self, destination: &str) -> bool {
        import(self.0.path(), destination, destination, &self.to(destination), &Events::default()).unwrap()
    }
}

fn noon() -> DateTime<Utc> {
    time::parse("2026-11-21T12:00:00").unwrap()
}

#[tokio::test]
async fn the_ledger_of_a_list_and_the_cache_of_each_sink_become_records() {
    let list = List::new();
    for (destination, digest) in [("one", Some(11)), ("two", Some(22)), ("three", None)] {
        assert!(list.import(destination));
        let counts =
            census(&list.to(destination), [key("c")].into(), &Events::default()).await.unwrap().unwrap();
        let expected: Summary = serde_json::from_str(HEAD).unwrap();
        let parts = |summary: &Summary| {
            let Summary { until, archived_until, whole, left_out, totals_wrong, most_rows, .. } = summary;
            (*until, *archived_until, *whole, *left_out, *totals_wrong, *most_rows, summary.len())
        };
        assert_eq!(parts(&counts.summary), parts(&expected));
        assert_eq!((counts.summary.opt_outs("to:d [null]"), counts.strangers), (Some(7), 0));
        let tallies = ["subscribed", "cleaned"].map(|status| counts.tallies[status]);
        assert_eq!(tallies.map(|tally| (tally.delivered, tally.rejected)), [(1, 0), (0, 2)]);
        let b = look(&list.to(destination), "b", &Events::default()).await.unwrap().settled.unwrap();
        assert!(b.rejected && &*b.status == "cleaned");
        // The next run counts what the sink has as unchanged.
        let records = list.records(destination);
        assert_eq!(records.begin().await.unwrap().map(|summary| summary.len()), Some(3));
        let known = records.recall(vec![key("a"), key("b"), key("d")]).await.unwrap();
        let cached = known[&key("a")].cached.as_ref();
        assert_eq!(
            cached.map(|cached| records.rules().is_current(cached, digest.unwrap_or(0), noon())),
            digest.map(|_| true)
        );
        if destination == "one" {
            let a = cached.unwrap();
            let sent = a.sent.as_ref().unwrap();
            assert_eq!((sent.opted_out, sent.at, &*sent.request_id), (true, noon(), "r-1"));
            assert_eq!((a.seen, a.fate), (noon() + TimeDelta::milliseconds(5), Fate::Unchanged));
            let b = known[&key("b")].cached.as_ref().unwrap();
            assert!(b.sent.as_ref().unwrap().digest.is_none(), "its outcome was unknown");
            assert_eq!(known[&key("d")].cached.as_ref().unwrap().sent, None);
        }
    }
    assert!(list.0.path().join(LEDGER).exists() && list.0.path().join("unchanged-one.redb").exists());
}

#[tokio::test]
async fn an_import_is_repeated_after_a_crash() {
    let list = List::new();
    // A crash has left half of it.
    let half = list.to("one").join("records.new");
    files::replace(&half, b"half").unwrap();
    files::replace(&list.to("one").join("former.new"), b"half").unwrap();
    assert!(list.import("one"));
    assert!(!half.exists() && !list.to("one").join("former.new").exists());
    assert_eq!(summary(&list.to("one"), &Events::default()).await.unwrap().unwrap().len(), 3);
}

#[tokio::test]
async fn files_that_cannot_be_understood_count_as_none_and_without_files_nothing_is_written() {
    let list = List::new();
    files::replace(&list.0.path().join("unchanged-one.redb"), &[7; 9000]).unwrap();
    assert!(list.import("one"));
    assert_eq!(summary(&list.to("one"), &Events::default()).await.unwrap().unwrap().len(), 3);
    assert_eq!(look(&list.to("one"), "a", &Events::default()).await.unwrap().cached, None);
    files::replace(&list.0.path().join(LEDGER), b"not a ledger").unwrap();
    assert!(list.import("two"));
    assert_eq!(summary(&list.to("two"), &Events::default()).await.unwrap(), None);
    assert!(look(&list.to("two"), "a", &Events::default()).await.unwrap().cached.is_some());
    assert!(!list.import("three"));
    assert!(!list.to("three").exists());
}

#[test]
fn an_incomplete_ledger_or_one_of_another_version_is_none() {
    let whole = ledger();
    assert!(parse(&whole).is_some());
    for len in 0..whole.len() {
        assert!(parse(&whole[..len]).is_none(), "{len}");
    }
    let (head, rows) = whole.split_at(HEAD.len());
    let head = String::from_utf8_lossy(head);
    for (from, to) in [(r#""version":1"#, r#""version":2"#), (r#""rows":3"#, r#""rows":4"#)] {
        assert!(head.contains(from));
        assert!(parse(&[head.replace(from, to).as_bytes(), rows].concat()).is_none(), "{to}");
    }
    assert!(parse(&[&whole[..], &[0; ROW]].concat()).is_none(), "a row too many");
}
