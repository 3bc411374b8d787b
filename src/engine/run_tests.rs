//! Interrupts runs at every await, and fails their deliveries and files, then checks what is known of them
//! afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use fastrand::Rng;
use futures::future::BoxFuture;
use tokio::time::sleep;

use super::{Ended, Plan, baseline};
use crate::{
    base::{
        clock::Clock,
        fate::{Effect, Fate},
        fault::Fault,
        key::key_digest,
        record::{Mapped, Outgoing, Record},
        window::{Page, Span, Window},
    },
    engine::{
        stores_tests::{Keeps, Kept},
        support_tests::{self as support, Failing, Feed, List, ROWS, Version, plan, runtime},
    },
    mapping::Mapping,
    source::{OffsetPaging, Paging, Scope, Source},
    store::{RunStore, checkpoint::Header, seen::Seen},
};

type Store = support::Store<List>;

/// The mapping skips every row whose number is a multiple of this.
const SKIPPED: u64 = 9;

impl Source for List {
    fn now(&self) -> DateTime<Utc> {
        Clock::now(self)
    }

    fn paging(&self) -> Paging<'_> {
        Paging::Offset(self)
    }

    fn scope(&self) -> Scope {
        Scope::Changes
    }
}

impl OffsetPaging for List {
    fn read<'a>(&'a self, window: &'a Window, span: Span) -> BoxFuture<'a, Result<Page, Fault>> {
        let mut rows = self.within(window);
        if !self.late {
            rows.sort_by_key(|row| self.changed(*row));
        }
        let total = rows.len() as u64;
        let rows = rows.into_iter().skip(span.offset as usize).take(span.count);
        let page = Page { records: rows.map(|row| self.record(row)).collect(), total, at: Clock::now(self) };
        Box::pin(async move {
            sleep(self.tick * (10 + span.offset * 13 % 37) as u32).await;
            Ok(page)
        })
    }
}

struct SomeAreSkipped;

impl Mapping for SomeAreSkipped {
    fn map(&self, record: &Record) -> Mapped {
        match record.key.parse::<u64>() {
            Ok(row) if row % SKIPPED == 0 => Mapped::Skip("ninth"),
            _ => Mapped::Send(Outgoing::plain(vec![record.body.clone()])),
        }
    }
}

/// Runs the list, but drops the run after this number of polls. Returns its result; `None` if it was dropped.
async fn cut_off(store: &Store, plan: &Plan, polls: usize) -> Option<Result<Ended, Fault>> {
    let mut pipeline = support::pipeline(store.list, SomeAreSkipped, store.clone(), store.list);
    pipeline.spec.limits.records = plan.items_per_request.min(10);
    support::cut_off(&pipeline, plan, polls).await
}

/// Returns the rows that are settled according to the checkpoint, with their fates.
async fn settled(store: &dyn RunStore) -> BTreeMap<u64, Fate> {
    let Some((header, lines)) = store.open_checkpoint("null").await.unwrap().1 else {
        return BTreeMap::new();
    };
    let mut seen = Seen::default();
    if header.pass == 1 {
        lines.iter().for_each(|line| assert!(seen.decode(&line.rows, &line.names).is_some()));
    }
    let fate = |row: u64| seen.get(key_digest(&row.to_string())).map(|known| known.fate);
    (0..ROWS).filter_map(|row| Some((row, fate(row)?))).collect()
}

/// Checks that the sink has accepted every row that is sent according to the checkpoint.
async fn assert_only_known_fates(kept: &Kept, store: &Store, told: &str) -> BTreeSet<u64> {
    let settled = settled(kept.store().as_ref()).await;
    for (row, fate) in &settled {
        match *fate {
            Fate::Sent(Effect::None) => {
                assert!(store.has(*row), "{told}: row {row} is settled, and was not accepted");
            }
            fate => assert_eq!((fate, row % SKIPPED), (Fate::skipped("ninth"), 0), "{told}: row {row}"),
        }
    }
    settled.into_keys().collect()
}

fn assert_all_delivered(store: &Store, ended: Ended, told: &str) {
    let Ended::Finished(outcome) = ended else { panic!("{told}: {ended:?}") };
    let sent = (0..ROWS).filter(|row| row % SKIPPED != 0);
    assert!(sent.clone().all(|row| store.has(row)), "{told}: finished, and something was not accepted");
    assert_eq!(outcome.counts.sent, sent.count() as u64, "{told}: interrupted parts are counted once");
    assert_eq!(outcome.counts.seen, ROWS, "{told}");
}

/// Drops a run at its first await, at its second, and so on, and resumes it with another page size and other
/// workers.
#[test]
fn wherever_a_run_is_cut_off_only_known_fates_are_settled_and_the_next_run_delivers_the_rest_once() {
    [Keeps::OnDisk, Keeps::InMemory].into_iter().for_each(cut_off_everywhere);
}

fn cut_off_everywhere(keeps: Keeps) {
    let mut resumed = 0;
    for polls in 0.. {
        let (ended, settled) = runtime().block_on(async {
            let kept = Kept::new(keeps);
            let store = Store::new(polls as u64, 0.0);
            let told = format!("{keeps:?}, cut off after {polls} polls");
            if let Some(ended) = cut_off(&store, &kept.plan(7, 3, None), polls).await {
                assert_all_delivered(&store, ended.unwrap(), &told);
                return (true, 0);
            }
            let settled = assert_only_known_fates(&kept, &store, &told).await;
            let before = store.times();
            let ended = cut_off(&store, &kept.plan(4 + polls % 20, 1 + polls % 4, None), usize::MAX).await;
            assert_all_delivered(&store, ended.unwrap().unwrap(), &told);
            for row in settled.iter().filter(|row| *row % SKIPPED != 0) {
                let version = (*row, 0);
                let times = store.times()[&version];
                assert_eq!(times, before[&version], "{told}: row {row} was settled, and sent again");
            }
            (false, settled.len())
        });
        resumed += settled;
        if ended {
            assert!(
                polls > 50 && resumed > 1000,
                "{keeps:?}: {polls} polls, {resumed} rows settled at a cut"
            );
            return;
        }
    }
}

/// Some rows change before they are read, some after they are delivered: fewer than make a page, and long
/// before the pass ends, since the windows of two passes overlap by a minute.
const CHANGES: &[(u64, u32)] = &[(20, 40), (50, 80), (80, 80), (110, 120), (145, 120)];

fn assert_newest(store: &Store, told: &str) {
    let newest: BTreeMap<u64, u64> = store.accepted.lock().unwrap().iter().copied().collect();
    for row in (0..ROWS).filter(|row| row % SKIPPED != 0) {
        assert_eq!(newest.get(&row), Some(&store.list.version(row)), "{told}: row {row}");
    }
}

/// Every row changes at some moment while two pages may read it, or while it is on its way.
const LATE_CHANGES: &[(u64, u32)] = &{
    let mut changes = [(0, 0); ROWS as usize];
    let mut row = 0;
    while row < ROWS {
        changes[row as usize] = (row, 20 + ((ROWS - row) * 14 / 10) as u32);
        row += 1;
    }
    changes
};

/// Splits batches while their rows, and the rows that they are separated from, change.
#[test]
fn a_batch_that_is_split_lets_no_older_version_overtake_a_newer_one() {
    runtime().block_on(async {
        let mut overlapped = 0;
        for seed in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let mut store = Store { refused: &[21, 52, 79, 82, 111, 146], ..Store::new(seed, 0.0) };
            let tick = Duration::from_millis(500);
            store.list = List { tick, changes: LATE_CHANGES, late: true, ..store.list };
            store.tick = tick;
            let ended = cut_off(&store, &plan(folder.path(), 10 + seed as usize, 1), usize::MAX)
                .await
                .unwrap()
                .unwrap();
            let Ended::Finished(outcome) = ended else { panic!("seed {seed}: {ended:?}") };
            assert!(outcome.counts.rejected["refused"] >= 6, "seed {seed}");
            let mut newest = BTreeMap::new();
            for (row, version) in store.accepted.lock().unwrap().iter() {
                let before = newest.insert(*row, *version);
                assert!(before.is_none_or(|before| before <= *version), "seed {seed}: row {row} went back");
            }
            overlapped += store.times().len() - newest.len();
        }
        assert!(overlapped > 20, "{overlapped} rows were sent in both versions");
    });
}

#[test]
fn what_the_sink_would_refuse_is_not_sent_and_kept_with_the_reason() {
    runtime().block_on(async {
        let kept = Kept::new(Keeps::InMemory);
        let store = Store { unfit: &[7, 100], ..Store::new(1, 0.0) };
        let plan = kept.plan(7, 3, None);
        let ended = cut_off(&store, &plan, usize::MAX).await.unwrap().unwrap();
        let Ended::Finished(outcome) = ended else { panic!("{ended:?}") };
        assert_eq!(outcome.counts.rejected, BTreeMap::from([("unfit".into(), 2)]));
        assert!(!store.has(7) && !store.has(100) && store.has(8));
        let (letters, _) = plan.store.dead_letters().await.unwrap();
        let told: Vec<_> =
            letters.iter().map(|l| (l.key.as_str(), l.reason.as_str(), l.payload.is_some())).collect();
        assert_eq!(told, [("100", "unfit", true), ("7", "unfit", true)]);
    });
}

/// Fails one delivery, and runs the list again later. Returns how many rows were settled and how many were
/// sent again; `None` if there was no delivery with this number.
async fn fails_once(number: usize, accepted: bool) -> Option<(usize, usize)> {
    let told = format!("delivery {number} fails, accepted: {accepted}");
    let kept = Kept::new([Keeps::OnDisk, Keeps::InMemory][number % 2]);
    let mut store = Store { failing: Failing::Once { number, accepted }, ..Store::new(1, 0.0) };
    (store.list.tick, store.list.changes) = (Duration::from_secs(1), CHANGES);
    store.tick = store.list.tick;
    let Err(fault) = cut_off(&store, &kept.plan(7, 3, None), usize::MAX).await.unwrap() else {
        assert_newest(&store, &told);
        assert!(store.times().values().all(|times| *times == 1), "{told}");
        return None;
    };
    assert!(fault.to_string().contains("the sink failed"), "{told}: {fault}");
    let settled = assert_only_known_fates(&kept, &store, &told).await;
    let left = kept.store().open_checkpoint("null").await.unwrap().1;
    let later_pass = left.is_some_and(|(header, _)| header.pass > 1);
    // Known to the next run, that is: it knows only what is in a settled page.
    let known = |(row, version): Version| version == 0 && (later_pass || settled.contains(&row));
    let before = store.times();
    sleep(Duration::from_secs(300)).await;
    let next = kept.plan(6 + number % 20, 1 + number % 4, None);
    let ended = cut_off(&store, &next, usize::MAX).await.unwrap().unwrap();
    assert!(matches!(ended, Ended::Finished(_)), "{told}: {ended:?}");
    assert_newest(&store, &told);
    for (version, times) in store.times() {
        let most = if before.contains_key(&version) && !known(version) { 2 } else { 1 };
        assert!(times <= most, "{told}: {version:?} was sent {times} times");
    }
    Some((settled.len(), store.times().values().filter(|times| **times > 1).count()))
}

#[test]
fn whichever_delivery_fails_the_next_run_delivers_the_rest_and_sends_again_only_what_may_not_have_arrived() {
    for accepted in [false, true] {
        let failed: Vec<(usize, usize)> =
            (1..).map_while(|number| runtime().block_on(fails_once(number, accepted))).collect();
        let (settled, again) = failed.iter().fold((0, 0), |sum, failed| (sum.0 + failed.0, sum.1 + failed.1));
        assert!(failed.len() > 18 && settled > 500 && again > 100, "{failed:?}");
    }
}

/// Fails deliveries and interrupts runs at random, until one run finishes.
#[test]
fn when_writes_fail_only_known_fates_are_settled_and_in_the_end_all_is_delivered() {
    let mut failures = 0;
    for seed in 0..25 {
        runtime().block_on(async {
            let kept = Kept::new([Keeps::OnDisk, Keeps::InMemory][seed as usize % 2]);
            let store = Store::new(seed, 0.25);
            let mut random = Rng::with_seed(seed);
            for attempt in 0.. {
                let told = format!("seed {seed}, attempt {attempt}");
                let polls = if random.bool() { random.usize(..120) } else { usize::MAX };
                let plan = kept.plan(random.usize(3..20), random.usize(1..5), None);
                match cut_off(&store, &plan, polls).await {
                    Some(Ok(ended)) => return assert_all_delivered(&store, ended, &told),
                    Some(Err(fault)) => {
                        assert!(fault.to_string().contains("the sink failed"), "{told}: {fault}");
                        failures += 1;
                    }
                    None => {}
                }
                assert_only_known_fates(&kept, &store, &told).await;
                assert!(attempt < 200, "seed {seed} never ends");
            }
        });
    }
    assert!(failures > 25, "only {failures} failures");
}

#[test]
fn a_checkpoint_or_a_ledger_that_cannot_be_written_fails_the_run_and_names_the_file() {
    // A database refuses a device before it writes to it.
    for (file, name, why) in
        [("checkpoint.new", "checkpoint", "No space left"), ("records.redb", "records", "Invalid argument")]
    {
        runtime().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            std::os::unix::fs::symlink("/dev/full", folder.path().join(file)).unwrap();
            let store = Store::new(1, 0.0);
            let fault = cut_off(&store, &plan(folder.path(), 7, 3), usize::MAX).await.unwrap().unwrap_err();
            let text = fault.to_string();
            assert!(text.contains(name) && text.contains(why) && text.contains("free space"), "{text}");
            std::fs::remove_file(folder.path().join(file)).unwrap();
            let ended = cut_off(&store, &plan(folder.path(), 7, 3), usize::MAX).await;
            assert_all_delivered(&store, ended.unwrap().unwrap(), name);
        });
    }
}

/// There is no ledger yet, and a source with cursor paging can't be asked for the size of its list.
#[test]
fn the_catch_up_of_a_first_load_by_cursor_is_compared_with_the_records_loaded() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let (feed, plan) = (Feed::new(&[], false), plan(folder.path(), 7, 3));
        let pipeline = support::pipeline(feed.clone(), SomeAreSkipped, Store::new(1, 0.0), feed.list);
        let mut header = Header::new("null", vec![]);
        (header.pass, header.counts.seen) = (2, 5000);
        let listed = |plan: &Plan| {
            let baseline = baseline(&pipeline, plan, &header, None);
            (baseline.listed, baseline.expected)
        };
        assert_eq!(listed(&plan), (Some(5000), 0));
        assert_eq!(listed(&Plan { since: Some(Clock::now(&feed.list)), ..plan }), (Some(0), 0));
    });
}

#[test]
fn a_run_with_another_fingerprint_starts_from_its_beginning() {
    runtime().block_on(async {
        let kept = Kept::new(Keeps::InMemory);
        let store = Store::new(1, 0.0);
        let first = kept.plan(7, 3, None);
        let mut polls = 10;
        while settled(kept.store().as_ref()).await.is_empty() {
            assert!(cut_off(&store, &first, polls).await.is_none());
            polls += 3;
        }
        store.accepted.lock().unwrap().clear();
        let other = Plan { run_fingerprint: "another null".into(), ..first };
        let ended = cut_off(&store, &other, usize::MAX).await;
        assert_all_delivered(&store, ended.unwrap().unwrap(), "another fingerprint");
    });
}
