//! Counts, baselines and dates of the ledger, pass by pass.

use std::{collections::HashSet, path::Path};

use super::*;
use crate::{
    base::{
        fate::{Effect, Fate},
        time,
    },
    store::progress::Row,
};

/// The records of one listing in one pass; every record has a status of its own choice.
fn seen(rows: &[(u128, i64, &str)]) -> Seen {
    let mut seen = Seen::default();
    rows.iter().for_each(|(key, second, status)| {
        seen.insert(Row { key: *key, second: *second }, status, Fate::Sent(Effect::None));
    });
    seen
}

/// A pass over changes that brings nothing.
fn pass(until: &str) -> Delivered<'static> {
    Delivered {
        seen: vec![],
        whole: false,
        left_out: 0,
        opt_outs: None,
        until: time::parse(until).unwrap(),
        archived: true,
        choice: None,
        totals_wrong: false,
        most_rows: 0,
    }
}

async fn summary_of(folder: &Path) -> Summary {
    summary(folder).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_list_has_a_ledger_from_its_first_pass_on() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!exists(folder.path()));
    assert_eq!(summary(folder.path()).await.unwrap(), None);
    begin(folder.path(), time::parse("2026-11-21").unwrap()).await.unwrap();
    assert!(exists(folder.path()));
    let summary = summary_of(folder.path()).await;
    assert_eq!((summary.archived_until, summary.whole), (time::parse("2026-11-21").unwrap(), false));
    assert!(summary.is_empty(), "no pass has come to its end");
    assert_eq!(summary.len(), 0);
}

#[tokio::test]
async fn a_ledger_is_empty_until_a_pass_delivers_a_record_or_a_full_load_finds_none() {
    let folder = tempfile::tempdir().unwrap();
    let rows = seen(&[(1, 5, "subscribed"), (2, 6, "subscribed"), (3, 6, "cleaned")]);
    add(folder.path(), Delivered { seen: vec![&rows], ..pass("2026-11-21") }).await.unwrap();
    let summary = summary_of(folder.path()).await;
    assert_eq!((summary.len(), summary.is_empty(), summary.whole), (3, false, false));
    let nobody = seen(&[]);
    let full = Delivered { seen: vec![&nobody], whole: true, left_out: 4, ..pass("2026-11-22") };
    add(folder.path(), full).await.unwrap();
    let summary = summary_of(folder.path()).await;
    assert_eq!((summary.len(), summary.is_empty(), summary.left_out), (0, false, 4));
}

#[tokio::test]
async fn records_that_a_pass_no_longer_lists_are_counted_but_for_deleted_ones() {
    let folder = tempfile::tempdir().unwrap();
    let rows = seen(&[(1, 5, "subscribed"), (2, 6, "subscribed"), (3, 7, "cleaned"), (4, 8, GONE)]);
    let full = |rows| Delivered { seen: vec![rows], whole: true, ..pass("2026-11-21") };
    assert_eq!(add(folder.path(), full(&rows)).await.unwrap(), 0, "nothing was known before");
    let fewer = seen(&[(2, 6, "subscribed"), (9, 9, "subscribed")]);
    assert_eq!(add(folder.path(), full(&fewer)).await.unwrap(), 2, "records 1 and 3");
    assert_eq!(add(folder.path(), full(&fewer)).await.unwrap(), 0, "done twice, it changes nothing");
}

#[tokio::test]
async fn a_record_is_known_with_the_status_of_its_last_version() {
    let folder = tempfile::tempdir().unwrap();
    let rows = seen(&[(7, 5, "subscribed"), (8, 6, "cleaned")]);
    add(folder.path(), Delivered { seen: vec![&rows], ..pass("2026-11-21") }).await.unwrap();
    let ledger = Ledger::load(folder.path()).await.unwrap().unwrap();
    assert!(ledger.knows(7) && ledger.knows(8) && !ledger.knows(9));
    let status = |print| ledger.settled_by_print(print).map(|settled| settled.status);
    assert_eq!([status(7), status(8), status(9)], [Some("subscribed"), Some("cleaned"), None]);
}

/// A pass that has not read the archived listing leaves the date from which the next one reads it.
#[tokio::test]
async fn the_archived_are_looked_at_from_the_last_pass_that_read_them() {
    let folder = tempfile::tempdir().unwrap();
    for (until, whole, archived, expected) in [
        ("2026-11-20", true, true, "2026-11-20"),
        ("2026-11-21", false, false, "2026-11-20"),
        ("2026-11-22", true, false, "2026-11-20"),
        ("2026-11-23", false, true, "2026-11-23"),
    ] {
        add(folder.path(), Delivered { whole, archived, ..pass(until) }).await.unwrap();
        let summary = summary_of(folder.path()).await;
        assert_eq!(summary.archived_until, time::parse(expected).unwrap(), "{until}");
        assert_eq!(summary.until, time::parse(until).unwrap());
    }
}

#[tokio::test]
async fn the_choice_and_the_largest_answer_are_kept_until_a_pass_brings_others() {
    let folder = tempfile::tempdir().unwrap();
    for (choice, most_rows, expected) in [
        (None, 0, (None, 0)),
        (Some("id"), 100, (Some("id"), 100)),
        (None, 50, (Some("id"), 100)),
        (Some("contact_id"), 400, (Some("contact_id"), 400)),
    ] {
        let choice = choice.map(str::to_owned);
        add(folder.path(), Delivered { choice, most_rows, ..pass("2026-11-21") }).await.unwrap();
        let summary = summary_of(folder.path()).await;
        assert_eq!((summary.choice.as_deref(), summary.most_rows), expected);
    }
}

#[tokio::test]
async fn the_opt_outs_of_a_full_load_are_found_by_delivery_and_consent() {
    let folder = tempfile::tempdir().unwrap();
    let all = [("to:acme strict", 9), ("to:acme lax", 2), ("newsletter strict", 5), ("weekly strict", 4)];
    for (consent_scope, count) in all {
        let opt_outs = Some((consent_scope.to_owned(), count));
        add(folder.path(), Delivered { opt_outs, whole: true, ..pass("2026-11-21") }).await.unwrap();
    }
    let summary = summary_of(folder.path()).await;
    for (consent_scope, expected) in [
        ("to:acme strict", Some(9)),
        ("to:acme lax", Some(2)),
        // Only an older version, which wrote the entry, knows a count: the smallest of its entries.
        ("to:other strict", Some(4)),
        ("to:other lax", None),
        ("to:other none", None),
    ] {
        assert_eq!(summary.opt_outs(consent_scope), expected, "{consent_scope}");
    }
}

/// One byte names the status, so a source with more statuses than that has the further ones counted as the last.
#[test]
fn a_status_beyond_the_255th_takes_the_last_place() {
    let mut names = Vec::new();
    let places: Vec<u8> = (0..300).map(|n| place(&mut names, n.to_string())).collect();
    assert_eq!((places[0], places[254], places[255], places[299]), (0, 254, 255, 255));
    assert_eq!((place(&mut names, "1".into()), place(&mut names, "299".into())), (1, 255));
}

#[tokio::test]
async fn a_ledger_of_another_version_or_with_other_rows_than_it_says_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let rows = seen(&[(1, 5, "subscribed"), (2, 6, "subscribed")]);
    add(folder.path(), Delivered { seen: vec![&rows], ..pass("2026-11-21") }).await.unwrap();
    let bytes = std::fs::read(path(folder.path())).unwrap();
    assert!(parse(&bytes).is_some());
    let text = String::from_utf8_lossy(&bytes[..bytes.len() - 2 * ROW]).into_owned();
    let rows = &bytes[bytes.len() - 2 * ROW..];
    for (from, to) in [(r#""version":1"#, r#""version":2"#), (r#""rows":2"#, r#""rows":3"#)] {
        assert!(text.contains(from), "{text}");
        assert!(parse(&[text.replace(from, to).as_bytes(), rows].concat()).is_none(), "{to}");
    }
    assert!(parse(&[&bytes[..], &[0; ROW]].concat()).is_none(), "a row too many");
    files::replace(&path(folder.path()), b"not a ledger").unwrap();
    assert_eq!(summary(folder.path()).await.unwrap(), None, "it counts as missing");
    assert!(Ledger::load(folder.path()).await.unwrap().is_none());
}

/// A record may wait in dead letters although this ledger has it as delivered.
#[tokio::test]
async fn a_census_counts_every_status_and_a_waiting_letter_as_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let mut rows = seen(&[(1, 5, "subscribed"), (2, 6, "subscribed"), (3, 7, "cleaned"), (4, 7, "cleaned")]);
    rows.set_fate(3, Fate::rejected("no_id"));
    add(folder.path(), Delivered { seen: vec![&rows], ..pass("2026-11-21") }).await.unwrap();
    let census = Ledger::load(folder.path()).await.unwrap().unwrap().census(&HashSet::from([2, 3]));
    assert_eq!(census.len(), 2);
    assert_eq!(census["subscribed"], Tally { delivered: 1, rejected: 1 });
    assert_eq!(census["cleaned"], Tally { delivered: 1, rejected: 1 });
}
