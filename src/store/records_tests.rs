//! The ledger and the cache of a delivery, pass by pass, beside readers, and damaged.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::fs::PermissionsExt,
    sync::Arc,
};

use super::{databases::Databases, delivery::NOTED, *};
use crate::{
    base::{
        events::Events,
        fate::{Effect, Fate},
        key::key_digest,
        time,
    },
    store::{progress::Row, seen::Seen},
};

/// A folder, and the databases of the process that writes to it.
struct Process {
    folder: tempfile::TempDir,
    databases: Arc<Databases>,
}

impl Process {
    fn new() -> Self {
        Process { folder: tempfile::tempdir().unwrap(), databases: Arc::default() }
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self) -> PathBuf {
        self.folder().join(NAME)
    }

    /// Returns the records with a cache that expires after a week.
    fn records(&self) -> Records {
        self.at("destination", Some(TimeDelta::days(7)))
    }

    fn at(&self, destination: &str, expire: Option<TimeDelta>) -> Records {
        Records::new(&self.databases, self.folder(), destination, 1, expire)
    }

    /// Loses what waits in memory.
    fn crash(&mut self) {
        self.databases = Arc::default();
    }

    /// Returns the number of commits and of rows since the database was opened.
    async fn written(&self) -> (u64, u64) {
        let work = self.records().work().await;
        (work.commits, work.written)
    }

    async fn summary(&self) -> Summary {
        summary(self.folder(), &Events::default()).await.unwrap().unwrap()
    }

    /// Returns the numbers of delivered records by status.
    async fn delivered(&self) -> Vec<(String, u64)> {
        let census = census(self.folder(), HashSet::new(), &Events::default()).await.unwrap().unwrap();
        let mut counted: Vec<_> =
            census.tallies.into_iter().map(|(status, tally)| (status, tally.delivered)).collect();
        counted.sort();
        counted
    }
}

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
    Delivered { archived: true, ..Delivered::beginning(time::parse(until).unwrap()) }
}

fn accepted(key: u128, digest: u128, opted_out: bool) -> AcceptedDelivery {
    AcceptedDelivery { key, digest, opted_out, request_id: Some("r-1".into()), notice: None }
}

fn digest(records: &Records, payloads: &[Option<&str>]) -> u128 {
    records.rules().digest(payloads.iter().copied())
}

fn noon() -> DateTime<Utc> {
    time::parse("2026-11-21T12:00:00").unwrap()
}

async fn cached(records: &Records, key: u128) -> Option<CachedDelivery> {
    records.recall(vec![key]).await.unwrap().remove(&key)?.cached
}

/// Returns whether the cache has this digest of a record.
async fn has(records: &Records, key: u128, digest: u128) -> bool {
    cached(records, key).await.is_some_and(|cached| records.rules().is_current(&cached, digest, noon()))
}

#[tokio::test]
async fn the_last_status_of_every_member_is_stored_and_a_full_load_starts_over() {
    let process = Process::new();
    let records = process.records();
    let full = |rows, until| Delivered { seen: vec![rows], whole: true, ..pass(until) };
    let first = seen(&[(1, 5, "subscribed"), (2, 6, "subscribed")]);
    records.add(full(&first, "2026-11-21")).await.unwrap();
    // In one pass a member may be in both listings: the newer version counts, and in a tie the archived one.
    let (listed, archived) =
        (seen(&[(1, 9, "subscribed"), (2, 9, "cleaned")]), seen(&[(1, 9, "archived"), (2, 8, "archived")]));
    records.add(Delivered { seen: vec![&listed, &archived], ..pass("2026-11-22") }).await.unwrap();
    assert_eq!(process.delivered().await, [("archived".into(), 1), ("cleaned".into(), 1)]);
    let summary = process.summary().await;
    assert_eq!((Some(summary.until), summary.whole), (time::parse("2026-11-22"), true));
    records.add(full(&seen(&[(3, 5, "pending")]), "2026-11-23")).await.unwrap();
    assert_eq!(process.delivered().await, [("pending".into(), 1)]);
    assert_eq!(process.summary().await.len(), 1);
}

/// The records are sorted in several parts, and the database is filled in several steps.
#[tokio::test]
async fn a_first_load_of_many_records_stores_the_last_status_of_each() {
    let process = Process::new();
    let records = process.records();
    records.begin_ledger(time::parse("2026-11-20").unwrap()).await.unwrap();
    let keys: Vec<u128> = (0..25_000).map(|n| key_digest(&n.to_string())).collect();
    let listed: Vec<_> = keys.iter().map(|key| (*key, 5, "subscribed")).collect();
    let later = keys.iter().step_by(3).map(|key| (*key, 6, "archived"));
    let earlier = keys.iter().skip(1).step_by(3).map(|key| (*key, 4, "archived"));
    let (listed, archived) = (seen(&listed), seen(&later.chain(earlier).collect::<Vec<_>>()));
    let full = Delivered { seen: vec![&listed, &archived], whole: true, ..pass("2026-11-21") };
    records.add(full).await.unwrap();
    assert_eq!(process.delivered().await, [("archived".into(), 8334), ("subscribed".into(), 16_666)]);
    assert_eq!((process.summary().await.len(), process.written().await.1), (25_000, 25_000));
    let known = records.recall(keys.clone()).await.unwrap();
    for (n, key) in keys.iter().enumerate() {
        let status = if n % 3 == 0 { "archived" } else { "subscribed" };
        assert_eq!(known[key].settled.as_ref().map(|settled| &*settled.status), Some(status), "{n}");
    }
}

#[tokio::test]
async fn a_rejected_record_is_marked_until_it_is_delivered() {
    let process = Process::new();
    let records = process.records();
    let (a, b, c) = (key_digest("a"), key_digest("b"), key_digest("c"));
    let mut listed = seen(&[(a, 5, "subscribed"), (b, 6, "subscribed"), (c, 7, "cleaned")]);
    listed.set_fate(b, Fate::rejected("no_id"));
    records.add(Delivered { seen: vec![&listed], whole: true, ..pass("2026-11-21") }).await.unwrap();
    let settled = async |key: &str| {
        let settled = look(process.folder(), key, &Events::default()).await.unwrap().settled;
        settled.map(|settled| (settled.status.to_string(), settled.rejected))
    };
    assert_eq!(settled("a").await, Some(("subscribed".into(), false)));
    assert_eq!(settled("b").await, Some(("subscribed".into(), true)));
    assert_eq!(settled("d").await, None);
    // A record may wait in dead letters although this ledger has it as delivered, or not at all.
    let counts =
        census(process.folder(), HashSet::from([b, c, 9]), &Events::default()).await.unwrap().unwrap();
    assert_eq!(counts.tallies.len(), 2);
    assert_eq!(counts.tallies["subscribed"], Tally { delivered: 1, rejected: 1 });
    assert_eq!(counts.tallies["cleaned"], Tally { delivered: 0, rejected: 1 });
    assert_eq!(counts.strangers, 1);
    let again = seen(&[(b, 8, "subscribed")]);
    records.add(Delivered { seen: vec![&again], ..pass("2026-11-22") }).await.unwrap();
    assert_eq!(settled("b").await, Some(("subscribed".into(), false)));
}

#[tokio::test]
async fn wrong_totals_stay_marked_until_the_next_full_load() {
    let process = Process::new();
    for (whole, totals_wrong, expected) in
        [(true, false, false), (false, true, true), (false, false, true), (true, false, false)]
    {
        process.records().add(Delivered { whole, totals_wrong, ..pass("2026-11-21") }).await.unwrap();
        assert_eq!(process.summary().await.totals_wrong, expected);
    }
}

#[tokio::test]
async fn a_delivery_has_a_ledger_from_its_first_pass_on_and_no_file_before() {
    let process = Process::new();
    let records = process.records();
    assert_eq!(records.begin().await.unwrap(), None);
    assert!(records.recall(vec![1]).await.unwrap().is_empty());
    records.forget(vec![1]).await.unwrap();
    records.sync().await.unwrap();
    records.tidy(noon()).await.unwrap();
    records.clear().await.unwrap();
    assert_eq!(summary(process.folder(), &Events::default()).await.unwrap(), None);
    assert_eq!(look(process.folder(), "a", &Events::default()).await.unwrap(), KnownRecord::default());
    assert!(!exists(process.folder()) && fs::read_dir(process.folder()).unwrap().next().is_none());
    records.begin_ledger(time::parse("2026-11-21").unwrap()).await.unwrap();
    assert!(exists(process.folder()));
    let summary = process.summary().await;
    assert_eq!((summary.archived_until, summary.whole), (time::parse("2026-11-21").unwrap(), false));
    assert!(summary.is_empty(), "no pass has come to its end");
    let mode = fs::metadata(process.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_ledger_is_empty_until_a_pass_delivers_a_record_or_a_full_load_finds_none() {
    let process = Process::new();
    let rows = seen(&[(1, 5, "subscribed"), (2, 6, "subscribed"), (3, 6, "cleaned")]);
    process.records().add(Delivered { seen: vec![&rows], ..pass("2026-11-21") }).await.unwrap();
    let summary = process.summary().await;
    assert_eq!((summary.len(), summary.is_empty(), summary.whole), (3, false, false));
    let nobody = seen(&[]);
    let full = Delivered { seen: vec![&nobody], whole: true, left_out: 4, ..pass("2026-11-22") };
    process.records().add(full).await.unwrap();
    let summary = process.summary().await;
    assert_eq!((summary.len(), summary.is_empty(), summary.left_out), (0, false, 4));
}

#[tokio::test]
async fn records_that_a_pass_no_longer_lists_are_counted_but_for_deleted_ones() {
    let process = Process::new();
    let records = process.records();
    let rows = seen(&[(1, 5, "subscribed"), (2, 6, "subscribed"), (3, 7, "cleaned"), (4, 8, GONE)]);
    let full = |rows| Delivered { seen: vec![rows], whole: true, ..pass("2026-11-21") };
    assert_eq!(records.add(full(&rows)).await.unwrap(), 0, "nothing was known before");
    let fewer = seen(&[(2, 6, "subscribed"), (9, 9, "subscribed")]);
    assert_eq!(records.add(full(&fewer)).await.unwrap(), 2, "records 1 and 3");
    let before = process.written().await;
    assert_eq!(records.add(full(&fewer)).await.unwrap(), 0, "done twice, it changes nothing");
    assert_eq!(process.written().await, (before.0 + 1, before.1), "and writes no row");
}

/// A pass that has not read the archived listing leaves the date from which the next one reads it.
#[tokio::test]
async fn the_archived_are_looked_at_from_the_last_pass_that_read_them() {
    let process = Process::new();
    for (until, whole, archived, expected) in [
        ("2026-11-20", true, true, "2026-11-20"),
        ("2026-11-21", false, false, "2026-11-20"),
        ("2026-11-22", true, false, "2026-11-20"),
        ("2026-11-23", false, true, "2026-11-23"),
    ] {
        process.records().add(Delivered { whole, archived, ..pass(until) }).await.unwrap();
        let summary = process.summary().await;
        assert_eq!(summary.archived_until, time::parse(expected).unwrap(), "{until}");
        assert_eq!(summary.until, time::parse(until).unwrap());
    }
}

#[tokio::test]
async fn the_choice_and_the_largest_answer_are_kept_until_a_pass_brings_others() {
    let process = Process::new();
    for (choice, most_rows, expected) in [
        (None, 0, (None, 0)),
        (Some("id"), 100, (Some("id"), 100)),
        (None, 50, (Some("id"), 100)),
        (Some("contact_id"), 400, (Some("contact_id"), 400)),
    ] {
        let choice = choice.map(str::to_owned);
        process.records().add(Delivered { choice, most_rows, ..pass("2026-11-21") }).await.unwrap();
        let summary = process.summary().await;
        assert_eq!((summary.choice.as_deref(), summary.most_rows), expected);
    }
}

#[tokio::test]
async fn the_opt_outs_of_a_full_load_are_found_by_delivery_and_consent() {
    let process = Process::new();
    let all = [("to:acme strict", 9), ("to:acme lax", 2), ("newsletter strict", 5), ("weekly strict", 4)];
    for (consent_scope, count) in all {
        let opt_outs = Some((consent_scope.to_owned(), count));
        let full = Delivered { opt_outs, whole: true, ..pass("2026-11-21") };
        process.records().add(full).await.unwrap();
    }
    let summary = process.summary().await;
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

/// A source may name a new status in every record, and a full load brings other ones.
#[tokio::test]
async fn a_full_load_makes_space_for_new_statuses() {
    let process = Process::new();
    for load in 0..4u128 {
        let rows: Vec<(u128, i64, String)> = (0..100).map(|n| (n, 5, format!("status {load} {n}"))).collect();
        let rows: Vec<_> = rows.iter().map(|(key, second, status)| (*key, *second, &**status)).collect();
        let listed = seen(&rows);
        let full = Delivered { seen: vec![&listed], whole: true, ..pass("2026-11-21") };
        process.records().add(full).await.unwrap();
        let known = process.records().recall((0..100).collect()).await.unwrap();
        for (key, _, status) in rows {
            assert_eq!(*known[&key].settled.as_ref().unwrap().status, *status);
        }
    }
}

/// The ledger moves after each pass, but a run compares with what was known before it.
#[tokio::test]
async fn a_run_sees_the_statuses_from_before_it_whatever_its_passes_change() {
    let process = Process::new();
    let full = |rows| Delivered { seen: vec![rows], whole: true, ..pass("2026-11-21") };
    let old = seen(&[(1, 5, "pending"), (2, 5, "pending"), (3, 5, "pending")]);
    process.records().add(full(&old)).await.unwrap();
    let run = process.records();
    assert_eq!(run.begin().await.unwrap().unwrap().len(), 3);
    let first = seen(&[(1, 6, "subscribed"), (2, 5, "pending"), (4, 6, "subscribed")]);
    let second = seen(&[(1, 7, "cleaned"), (2, 5, "pending"), (4, 7, "cleaned")]);
    run.add(full(&first)).await.unwrap();
    run.add(full(&second)).await.unwrap();
    let settled = async |records: &Records| {
        let known = records.recall(vec![1, 2, 3, 4]).await.unwrap();
        let status = |key| Some(known.get(&key)?.settled.as_ref()?.status.to_string());
        [1, 2, 3, 4].map(|key| status(key).unwrap_or_default())
    };
    assert_eq!(settled(&run).await, ["pending", "pending", "pending", ""]);
    let next = process.records();
    next.begin().await.unwrap();
    assert_eq!(settled(&next).await, ["cleaned", "pending", "", "cleaned"]);
}

#[tokio::test]
async fn an_accepted_payload_counts_until_another_version_is_sent_or_it_expires() {
    let process = Process::new();
    let (records, key) = (process.records(), key_digest("a"));
    let (old, new) = (digest(&records, &[Some("1")]), digest(&records, &[Some("2")]));
    records.accepted(vec![accepted(key, old, true)], noon()).await.unwrap();
    let kept = cached(&records, key).await.unwrap();
    assert!(
        records.rules().is_current(&kept, old, noon()) && !records.rules().is_current(&kept, new, noon())
    );
    assert!(!records.rules().is_current(&kept, old, noon() + TimeDelta::days(7)));
    assert!(
        records.rules().is_current(&kept, old, noon() - TimeDelta::minutes(5)),
        "a clock that was set back"
    );
    assert!(kept.opted_out());
    let sent = kept.sent.unwrap();
    assert_eq!((sent.at, &*sent.request_id, kept.fate), (noon(), "r-1", Fate::Sent(Effect::None)));
    for on_disk in [false, true] {
        if on_disk {
            records.accepted(vec![accepted(key, old, true)], noon()).await.unwrap();
            records.sync().await.unwrap();
        }
        records.forget(vec![key]).await.unwrap();
        let kept = cached(&records, key).await.unwrap();
        assert!(!records.rules().is_current(&kept, old, noon()) && kept.sent.unwrap().at == noon());
    }
}

#[test]
fn payloads_are_equal_by_their_bytes_and_the_version_of_the_mapping() {
    let process = Process::new();
    let records = process.records();
    let raised = Records { rules: CacheRules { version: 2, ..records.rules }, ..records.clone() };
    let digests = [
        digest(&records, &[Some("1")]),
        digest(&records, &[Some("2")]),
        digest(&records, &[None]),
        digest(&records, &[Some("1"), Some("2")]),
        digest(&records, &[Some("2"), Some("1")]),
        digest(&raised, &[Some("1")]),
    ];
    assert_eq!(digests.iter().collect::<HashSet<_>>().len(), digests.len());
    assert_eq!(digests[0], digest(&records, &[Some("1")]));
}

#[tokio::test]
async fn a_commit_that_only_forgets_keeps_what_is_cached_of_other_records() {
    let process = Process::new();
    let records = process.records();
    records.begin().await.unwrap();
    records.accepted(vec![accepted(1, 7, false), accepted(2, 7, false)], noon()).await.unwrap();
    records.sync().await.unwrap();
    records.forget(vec![1]).await.unwrap();
    records.begin().await.unwrap();
    assert!(!has(&records, 1, 7).await && has(&records, 2, 7).await);
}

/// Another account may have the same address.
#[tokio::test]
async fn the_cache_belongs_to_one_destination_and_a_run_without_a_cache_empties_it() {
    let week = Some(TimeDelta::days(7));
    for (destination, expire, stays) in
        [("destination", week, true), ("other", week, false), ("destination", None, false)]
    {
        let process = Process::new();
        let (records, rows) = (process.records(), seen(&[(1, 5, "subscribed")]));
        records.add(Delivered { seen: vec![&rows], ..pass("2026-11-21") }).await.unwrap();
        records.begin().await.unwrap();
        records.accepted(vec![accepted(1, 7, true), accepted(2, 7, true)], noon()).await.unwrap();
        records.sync().await.unwrap();
        let before = process.written().await;
        for _ in 0..2 {
            process.at(destination, expire).begin().await.unwrap();
        }
        let after = process.written().await;
        let changes = (after.0 - before.0, after.1 - before.1);
        assert_eq!(changes, (u64::from(!stays), 0), "{destination}: at most one commit, and no row");
        records.begin().await.unwrap();
        assert_eq!(has(&records, 1, 7).await, stays, "{destination} {expire:?}");
        assert_eq!(cached(&records, 1).await.is_some(), stays, "no opt-out is known either");
        let settled = records.recall(vec![1]).await.unwrap().remove(&1).unwrap().settled;
        assert_eq!(&*settled.unwrap().status, "subscribed");
    }
}

/// What waits in memory is lost in a crash. Whatever is on disk then must be what the sink has.
#[tokio::test]
async fn a_crash_may_lose_what_was_remembered_and_never_what_was_forgotten() {
    let mut process = Process::new();
    process.records().accepted(vec![accepted(1, 7, false)], noon()).await.unwrap();
    process.crash();
    assert_eq!(cached(&process.records(), 1).await, None);
    process.records().accepted(vec![accepted(1, 7, false)], noon()).await.unwrap();
    process.records().sync().await.unwrap();
    process.crash();
    assert!(has(&process.records(), 1, 7).await);
    process.records().forget(vec![1]).await.unwrap();
    process.crash();
    assert!(!has(&process.records(), 1, 7).await);
}

#[tokio::test]
async fn only_a_record_that_the_file_knows_waits_for_the_disk_before_it_is_sent() {
    let process = Process::new();
    let records = process.records();
    records.begin_ledger(noon()).await.unwrap();
    let begun = process.written().await;
    for round in 0..3 {
        let keys: Vec<u128> = (0..100).collect();
        records.forget(keys.clone()).await.unwrap();
        let all = keys.iter().map(|key| accepted(*key, 7 + round, false)).collect();
        records.accepted(all, noon()).await.unwrap();
    }
    assert_eq!(process.written().await, begun, "nothing was on disk yet");
    records.sync().await.unwrap();
    assert_eq!(process.written().await, (begun.0 + 1, begun.1 + 100));
    records.sync().await.unwrap();
    records.forget((100..200).collect()).await.unwrap();
    assert_eq!(process.written().await, (begun.0 + 1, begun.1 + 100), "the file knows none of them");
    records.accepted(vec![accepted(300, 7, false)], noon()).await.unwrap();
    records.forget(vec![5, 150]).await.unwrap();
    assert_eq!(process.written().await, (begun.0 + 2, begun.1 + 102), "record 5, and 300 with it");
    records.forget(vec![5]).await.unwrap();
    assert_eq!(process.written().await, (begun.0 + 2, begun.1 + 102), "it is forgotten already");
}

/// A fate that waits in memory must not hide that the file has a digest.
#[tokio::test]
async fn a_record_is_forgotten_on_disk_also_if_its_fate_was_noted_since() {
    let mut process = Process::new();
    process.records().accepted(vec![accepted(1, 7, true)], noon()).await.unwrap();
    process.records().sync().await.unwrap();
    process.records().note(vec![(1, Fate::Unchanged)], noon()).await.unwrap();
    assert!(has(&process.records(), 1, 7).await);
    process.records().forget(vec![1]).await.unwrap();
    let kept = cached(&process.records(), 1).await.unwrap();
    assert!(kept.opted_out() && kept.fate == Fate::Unchanged);
    process.crash();
    assert!(!has(&process.records(), 1, 7).await);
}

#[tokio::test]
async fn many_changes_are_written_before_they_fill_the_memory() {
    let process = Process::new();
    let records = process.records();
    for from in (0..70).map(|n| n * 1000u128) {
        let all = (from..from + 1000).map(|key| accepted(key, 1, false)).collect();
        records.accepted(all, noon()).await.unwrap();
    }
    let (commits, rows) = process.written().await;
    assert_eq!((commits, rows), (2, 66_000));
    assert!(has(&records, 0, 1).await && has(&records, 69_999, 1).await);
}

#[tokio::test]
async fn many_callers_may_use_a_delivery_at_once_even_before_its_file_exists() {
    for _ in 0..5 {
        let process = Process::new();
        let records = process.records();
        let all = (0..16).map(|key| records.accepted(vec![accepted(key, 1, false)], noon()));
        futures::future::try_join_all(all).await.unwrap();
        assert_eq!(records.recall((0..16).collect()).await.unwrap().len(), 16);
    }
}

#[tokio::test]
async fn other_processes_read_what_was_committed_while_one_writes() {
    let process = Process::new();
    let records = process.records();
    records.accepted(vec![accepted(key_digest("a"), 1, false)], noon()).await.unwrap();
    for round in 0..20 {
        records.accepted(vec![accepted(key_digest("a"), round, false)], noon()).await.unwrap();
        records.sync().await.unwrap();
        let nobody = Events::default();
        let (read, written) =
            tokio::join!(look(process.folder(), "a", &nobody), records.begin_ledger(noon()));
        written.unwrap();
        assert_eq!(read.unwrap().cached.unwrap().sent.unwrap().digest, Some(round));
    }
}

#[tokio::test]
async fn the_same_fate_is_written_every_ten_minutes() {
    let process = Process::new();
    let (records, key) = (process.records(), key_digest("a"));
    let (pending, unchanged) = (Fate::skipped("pending"), Fate::Unchanged);
    records.note(vec![(key, pending)], noon()).await.unwrap();
    records.sync().await.unwrap();
    assert!(!exists(process.folder()), "nothing was accepted");
    records.begin_ledger(noon()).await.unwrap();
    let kept = look(process.folder(), "a", &Events::default()).await.unwrap().cached.unwrap();
    assert_eq!((kept.seen, &kept.sent, kept.fate), (noon(), &None, pending));
    assert!(
        records.rules().should_store_fate(None, unchanged, noon())
            && records.rules().should_store_fate(Some(&kept), unchanged, noon())
    );
    assert!(!records.rules().should_store_fate(Some(&kept), pending, noon()));
    assert!(records.rules().should_store_fate(Some(&kept), pending, noon() + NOTED));
}

#[tokio::test]
async fn expired_deliveries_are_removed_once_a_day_and_the_ledger_stays() {
    let process = Process::new();
    let (records, rows) = (process.records(), seen(&[(1, 5, "subscribed")]));
    records.add(Delivered { seen: vec![&rows], ..pass("2026-11-21") }).await.unwrap();
    let all = (1..25_000).map(|key| accepted(key, 1, false)).collect();
    records.accepted(all, noon()).await.unwrap();
    records.note(vec![(0, Fate::Unchanged)], noon() + TimeDelta::days(3)).await.unwrap();
    records.sync().await.unwrap();
    let mut commits = process.written().await.0;
    for (hours, expected) in [(0, 3), (23, 0), (7 * 24, 3), (8 * 24, 3), (8 * 24 + 1, 0), (9 * 24, 1)] {
        records.tidy(noon() + TimeDelta::hours(hours)).await.unwrap();
        let now = process.written().await.0;
        assert_eq!(now - commits, expected, "commits after {hours} h, each of 10,000 rows at most");
        commits = now;
    }
    assert_eq!(cached(&records, 1).await, None);
    assert_eq!(cached(&records, 24_999).await, None);
    assert!(cached(&records, 0).await.is_some(), "it was read since");
    assert_eq!(process.delivered().await, [("subscribed".into(), 1)]);
}

/// A run that is over leaves no trace of a cache that was emptied, except in rows that housekeeping removes.
#[tokio::test]
async fn housekeeping_removes_what_an_emptied_cache_has_left() {
    let process = Process::new();
    let records = process.records();
    records.accepted(vec![accepted(1, 7, true)], noon()).await.unwrap();
    records.sync().await.unwrap();
    records.clear().await.unwrap();
    let before = process.written().await;
    process.at("destination", None).tidy(noon()).await.unwrap();
    assert_eq!(process.written().await, (before.0 + 1, before.1 + 1));
    process.at("destination", None).tidy(noon() + TimeDelta::days(2)).await.unwrap();
    assert_eq!(process.written().await, (before.0 + 1, before.1 + 1), "nothing is left");
}

/// Returns a database with a ledger and a cache of 500 records, closed.
async fn filled() -> (Process, HashMap<u128, u128>) {
    let mut process = Process::new();
    let digests: HashMap<u128, u128> = (0..500).map(|key| (key * 7919, key + 1)).collect();
    let rows: Vec<_> = digests.keys().map(|key| (*key, 5, "subscribed")).collect();
    let records = process.records();
    records.begin().await.unwrap();
    let all = digests.iter().map(|(key, digest)| accepted(*key, *digest, false)).collect();
    records.accepted(all, noon()).await.unwrap();
    let rows = seen(&rows);
    let full = Delivered { seen: vec![&rows], whole: true, ..pass("2026-11-21") };
    records.add(full).await.unwrap();
    process.databases.close().await;
    process.crash();
    (process, digests)
}

/// Uses a damaged database as two runs do, the second after the first has failed. Returns whether it was set
/// aside.
async fn use_damaged(process: &Process, digests: &HashMap<u128, u128>, how: &str) -> bool {
    for _ in 0..2 {
        let records = process.records();
        records.begin().await.unwrap();
        let used = async {
            let known = records.recall(digests.keys().copied().collect()).await?;
            for (key, known) in known {
                let digest = known.cached.and_then(|cached| cached.sent?.digest);
                let others = digests.iter().filter(|(of, _)| **of != key);
                assert!(!others.map(|(_, digest)| digest).any(|other| Some(*other) == digest), "{how}");
            }
            records.forget(vec![0, 7919]).await?;
            records.accepted(vec![accepted(1, 1, false)], noon()).await?;
            records.add(Delivered { whole: true, ..pass("2026-11-22") }).await
        };
        if used.await.is_ok() {
            assert!(has(&records, 1, 1).await, "{how}");
            let files = fs::read_dir(process.folder()).unwrap();
            return files.count() > 1;
        }
    }
    panic!("{how}: two runs have failed")
}

/// The database's own panics go to standard error, once each.
#[tokio::test]
async fn a_damaged_database_is_set_aside_and_the_next_run_continues_without_it() {
    let (process, digests) = filled().await;
    let whole = fs::read(process.file()).unwrap();
    let truncated =
        (0..whole.len()).step_by(4096).map(|end| (format!("cut at {end}"), whole[..end].to_vec()));
    let mut random = fastrand::Rng::with_seed(1);
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let flipped = (0..80).map(|round| {
        let (at, mut bytes) = (random.usize(..used), whole.clone());
        let until = (at + [1, 64, 3000][round % 3]).min(used);
        bytes[at..until].iter_mut().for_each(|byte| *byte ^= 0x5a);
        (format!("flipped {at}..{until}"), bytes)
    });
    let (mut set_aside, mut tries) = (0, 0);
    for (how, bytes) in truncated.chain(flipped.collect::<Vec<_>>()) {
        let process = Process::new();
        crate::store::files::replace(&process.file(), &bytes).unwrap();
        set_aside += usize::from(use_damaged(&process, &digests, &how).await);
        tries += 1;
    }
    assert!(set_aside * 2 > tries, "{set_aside} of {tries}");
}
