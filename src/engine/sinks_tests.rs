//! Runs into sinks that reject or throttle single records, settle at their close, or do not wait for full
//! batches, and of mappings that make several payloads of a record; interrupted and failing anywhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use futures::future::BoxFuture;
use serde_json::value::to_raw_value;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    plan::{Ended, Outcome, Pipeline, Plan},
    replay, run,
    support_tests::{self as support, Failing, Feed, List, NOON, ROWS, Version, plan, runtime},
};
use crate::{
    base::{
        clock::Clock,
        events::{Events, RunEvents},
        fate::{Effect, Fate},
        fault::Fault,
        key::key_digest,
        record::{Mapped, Outgoing, Record},
        window::{Cursor, CursorPage, Window},
    },
    mapping::Mapping,
    sink::Settles,
    source::{CursorPaging, Lookup, Paging, Scope, Source},
    store::{FolderStore, RunStore, checkpoint, dead_letter::DeadLetter, records, seen::Seen},
};

type Store = support::Store<List>;

/// Rows that the sink rejects by themselves.
const REJECTED: &[u64] = &[7, 20, 100];

/// Makes this number of equal payloads of each record.
#[derive(Clone, Copy)]
struct Copies(usize);

impl Mapping for Copies {
    fn map(&self, record: &Record) -> Mapped {
        Mapped::Send(Outgoing::plain(vec![record.body.clone(); self.0]))
    }
}

fn picky(seed: u64) -> Store {
    Store { rejected: REJECTED, throttled: 0.05, ..Store::new(seed, 0.0) }
}

fn closing(seed: u64) -> Store {
    Store { settles: Settles::AtClose, ..Store::new(seed, 0.0) }
}

fn pipeline(store: &Store, copies: usize, plan: &Plan) -> Pipeline {
    // A sink that is dropped undoes what it has not closed.
    store.open.lock().unwrap().clear();
    let mut pipeline = support::pipeline(store.list, Copies(copies), store.clone(), store.list);
    pipeline.spec.limits.records = plan.items_per_request.min(10);
    pipeline
}

/// Runs the list, but drops the run after this number of polls.
async fn cut_off(store: &Store, copies: usize, plan: &Plan, polls: usize) -> Option<Result<Ended, Fault>> {
    support::cut_off(&pipeline(store, copies, plan), plan, polls).await
}

async fn finish(store: &Store, copies: usize, plan: &Plan) -> Outcome {
    match cut_off(store, copies, plan, usize::MAX).await.unwrap().unwrap() {
        Ended::Finished(outcome) => outcome,
        Ended::Stopped(_) => panic!("nothing stopped it"),
    }
}

/// Returns the rows that are settled according to the checkpoint of the first pass, with their fates.
async fn settled(folder: &Path) -> BTreeMap<u64, Fate> {
    let Some((header, lines)) = checkpoint::open(folder, "null", &Events::default()).await.unwrap().1 else {
        return BTreeMap::new();
    };
    let mut seen = Seen::default();
    for line in lines.iter().filter(|_| header.pass == 1) {
        assert!(seen.decode(&line.rows, &line.names).is_some());
    }
    let fate = |row: u64| seen.get(key_digest(&row.to_string())).map(|known| known.fate);
    (0..ROWS).filter_map(|row| Some((row, fate(row)?))).collect()
}

async fn letters(plan: &Plan) -> BTreeSet<u64> {
    let (letters, _) = plan.store.dead_letters().await.unwrap();
    assert!(letters.iter().all(|letter| letter.reason == "not_this_one" && letter.payload.is_some()));
    letters.into_iter().map(|letter| letter.key.parse().unwrap()).collect()
}

/// Cuts a run off after its first poll, its second, and so on, and finishes it with another page size. After
/// each cut, every settled row has `copies` accepted payloads or a dead letter.
fn cuts_everywhere(copies: usize, store: impl Fn(u64) -> Store) -> usize {
    let mut resumed = 0;
    for polls in 0.. {
        let (ended, settled) = runtime().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let (store, told) = (store(polls as u64), format!("cut off after {polls} polls"));
            let first = plan(folder.path(), 7, 3);
            let ended = cut_off(&store, copies, &first, polls).await;
            let (settled, letters) = (settled(folder.path()).await, letters(&first).await);
            let times = store.times();
            for (row, fate) in &settled {
                match fate {
                    Fate::Sent(Effect::None) => assert!(times[&(*row, 0)] >= copies, "{told}: row {row}"),
                    fate => {
                        assert_eq!(*fate, Fate::rejected("not_this_one"), "{told}: row {row}");
                        assert!(letters.contains(row), "{told}: row {row} has no dead letter");
                    }
                }
            }
            let ended = match ended {
                Some(ended) => (true, ended.unwrap()),
                None => {
                    let next = plan(folder.path(), 4 + polls % 20, 1 + polls % 4);
                    (false, cut_off(&store, copies, &next, usize::MAX).await.unwrap().unwrap())
                }
            };
            let Ended::Finished(outcome) = ended.1 else { panic!("{told}") };
            let rejected: Vec<u64> = (0..ROWS).filter(|row| store.rejected.contains(row)).collect();
            assert_eq!(outcome.counts.rejected.values().sum::<u64>(), rejected.len() as u64, "{told}");
            assert_eq!(outcome.counts.sent, ROWS - rejected.len() as u64, "{told}");
            for row in 0..ROWS {
                let times = store.times().get(&(row, 0)).copied().unwrap_or(0);
                assert_eq!(times >= copies, !rejected.contains(&row), "{told}: row {row}: {times} times");
            }
            (ended.0, settled.len())
        });
        resumed += settled;
        if ended {
            assert!(polls > 50, "{polls} polls");
            return resumed;
        }
    }
    unreachable!()
}

#[test]
fn wherever_a_run_into_a_sink_that_rejects_and_throttles_single_records_is_cut_off_every_fate_is_known() {
    assert!(cuts_everywhere(1, picky) > 1000);
}

#[test]
fn wherever_a_run_with_several_payloads_a_record_is_cut_off_a_settled_record_has_all_of_them() {
    assert!(cuts_everywhere(3, picky) > 1000);
}

#[test]
fn wherever_a_run_into_a_sink_that_settles_at_its_close_is_cut_off_nothing_is_settled_before() {
    cuts_everywhere(1, |seed| Store { rejected: REJECTED, throttled: 0.05, ..closing(seed) });
}

#[test]
fn only_the_throttled_records_of_a_batch_are_sent_again() {
    runtime().block_on(async {
        for copies in [1, 3, 25] {
            let (folder, store) = (tempfile::tempdir().unwrap(), picky(copies as u64));
            let plan = plan(folder.path(), 10, 3);
            let outcome = finish(&store, copies, &plan).await;
            assert_eq!(outcome.counts.rejected, BTreeMap::from([("not_this_one".into(), 3)]));
            assert_eq!(letters(&plan).await, REJECTED.iter().copied().collect());
            let exact: BTreeMap<Version, usize> =
                (0..ROWS).filter(|row| !REJECTED.contains(row)).map(|row| ((row, 0), copies)).collect();
            assert_eq!(store.times(), exact, "{copies} payloads a record");
            assert!(store.sizes.lock().unwrap().iter().all(|size| *size <= 10));
        }
    });
}

#[test]
fn a_sink_that_accepts_part_of_a_batch_never_fails_the_run_after_a_while() {
    runtime().block_on(async {
        let (folder, start) = (tempfile::tempdir().unwrap(), Instant::now());
        let store = Store { throttled: 1.0, ..Store::new(1, 0.0) };
        let fault = cut_off(&store, 1, &plan(folder.path(), 7, 1), usize::MAX).await.unwrap().unwrap_err();
        let text = fault.to_string();
        assert!(text.starts_with("the sink did not accept 7 of 7 payloads: tried 6 times in "), "{text}");
        assert!(start.elapsed() < Duration::from_secs(300) && store.times().is_empty());
        assert!(settled(folder.path()).await.is_empty());
    });
}

/// Fails the run's first call of the sink, its second, and so on, among them each close; `accepted` says
/// whether the call has done its work nevertheless.
#[test]
fn whichever_call_of_a_sink_that_settles_at_its_close_fails_the_next_run_delivers_the_rest() {
    const CHANGES: &[(u64, u32)] = &[(20, 40), (50, 80), (80, 80), (110, 120), (145, 120)];
    for accepted in [false, true] {
        let (mut failed, mut untouched) = (0, 0);
        for number in 1.. {
            let ended = runtime().block_on(async {
                let folder = tempfile::tempdir().unwrap();
                let mut store = Store { failing: Failing::Once { number, accepted }, ..closing(1) };
                let tick = Duration::from_secs(1);
                (store.list.tick, store.list.changes, store.tick) = (tick, CHANGES, tick);
                let first = cut_off(&store, 1, &plan(folder.path(), 7, 3), usize::MAX).await.unwrap();
                let ended = first.is_ok();
                if !ended {
                    let nothing = store.times().is_empty();
                    untouched += usize::from(nothing);
                    if nothing {
                        let summary =
                            records::summary(folder.path(), &Events::default()).await.unwrap().unwrap();
                        assert!(settled(folder.path()).await.is_empty() && summary.is_empty());
                    }
                    sleep(Duration::from_secs(300)).await;
                    finish(&store, 1, &plan(folder.path(), 9, 2)).await;
                }
                let newest: BTreeMap<u64, u64> = store.accepted.lock().unwrap().iter().copied().collect();
                for row in 0..ROWS {
                    assert_eq!(newest.get(&row), Some(&store.list.version(row)), "call {number}, row {row}");
                }
                ended
            });
            if ended {
                break;
            }
            failed += 1;
        }
        assert!(failed > 20 && untouched > 10, "{failed} calls failed, {untouched} before a close");
    }
}

#[test]
fn a_run_that_is_stopped_before_the_close_claims_no_delivery() {
    runtime().block_on(async {
        let (folder, store) = (tempfile::tempdir().unwrap(), closing(1));
        let plan = plan(folder.path(), 7, 3);
        let pipeline = pipeline(&store, 1, &plan);
        let stop = CancellationToken::new();
        let run = run::run(&pipeline, &plan, &stop);
        let (ended, ()) = tokio::join!(run, async {
            while store.open.lock().unwrap().len() < 50 {
                sleep(store.tick).await;
            }
            stop.cancel();
        });
        let Ended::Stopped(counts) = ended.unwrap() else { panic!("it ended by itself") };
        assert!(counts.seen > 50 && counts.sent == 0, "{counts}");
        assert!(!counts.to_string().contains("opted out"), "{counts}");
        assert!(store.times().is_empty() && settled(folder.path()).await.is_empty());
        assert!(!plan.taken.load(std::sync::atomic::Ordering::Relaxed));
    });
}

/// The first listing lacks a row that the source counts. The sink has to be dropped before the window is read
/// again, since it would make the sent records final with those of the repetition.
#[test]
fn a_pass_that_is_unexplained_ends_the_run_if_the_sink_settles_at_its_close() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let feed = Feed { hidden: Some(77), hides: Arc::new(Mutex::new(1)), ..Feed::new(&[], true) };
        let tick = Duration::from_millis(1);
        let store = support::Store { settles: Settles::AtClose, ..support::Store::of(feed, tick, 1, 0.0) };
        let plan = Plan { reads_archived: false, ..plan(folder.path(), 10, 3) };
        for finishes in [false, true] {
            store.open.lock().unwrap().clear();
            let pipeline = support::pipeline(store.list.clone(), Copies(1), store.clone(), store.list.list);
            let ended = support::cut_off(&pipeline, &plan, usize::MAX).await.unwrap();
            assert_eq!(
                (ended.is_ok(), store.times().len()),
                (finishes, if finishes { ROWS as usize } else { 0 })
            );
            if let Err(fault) = ended {
                assert!(fault.to_string().contains("nothing was delivered"), "{fault}");
            }
        }
    });
}

#[test]
fn a_record_that_the_sink_had_already_counts_as_unchanged_whenever_the_sink_settles() {
    for settles in [Settles::EachBatch, Settles::AtClose] {
        runtime().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let store = Store { settles, held: &[3, 8, 50], rejected: REJECTED, ..Store::new(1, 0.0) };
            let counts = finish(&store, 2, &plan(folder.path(), 10, 3)).await.counts;
            let rejected = REJECTED.len() as u64;
            assert_eq!((counts.unchanged, counts.sent), (3, ROWS - 3 - rejected), "{settles:?}");
            assert!(store.has(3), "it is delivered all the same");
        });
    }
}

#[test]
fn a_checkpoint_keeps_which_records_the_sink_had_already() {
    let mut found = 0;
    for polls in 0..400 {
        runtime().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let store = Store { held: &[3, 139], ..Store::new(1, 0.0) };
            let plan = plan(folder.path(), 10, 3);
            if cut_off(&store, 1, &plan, polls).await.is_some() {
                return;
            }
            for (row, fate) in settled(folder.path()).await {
                let expected =
                    if store.held.contains(&row) { Fate::Unchanged } else { Fate::Sent(Effect::None) };
                assert_eq!(fate, expected, "{polls} polls, row {row}");
                found += usize::from(fate == Fate::Unchanged);
            }
        });
    }
    assert!(found > 0);
}

/// Makes numbered payloads of each record.
struct Numbered(u64);

impl Mapping for Numbered {
    fn map(&self, record: &Record) -> Mapped {
        let row: u64 = record.key.parse().unwrap();
        let bodies = (0..self.0).map(|number| to_raw_value(&[row, number]).unwrap().into());
        Mapped::Send(Outgoing::plain(bodies.collect()))
    }
}

#[test]
fn a_payload_that_is_sent_again_is_not_overtaken_by_a_later_one_of_its_record() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let store = Store { throttled: 0.1, ..Store::new(1, 0.0) };
        let pipeline = support::pipeline(store.list, Numbered(4), store.clone(), store.list);
        support::cut_off(&pipeline, &plan(folder.path(), 10, 3), usize::MAX).await.unwrap().unwrap();
        let mut next: BTreeMap<u64, u64> = BTreeMap::new();
        for (row, number) in store.accepted.lock().unwrap().iter() {
            let expected = next.entry(*row).or_default();
            assert_eq!(number, expected, "row {row}");
            *expected += 1;
        }
        assert!(next.len() as u64 == ROWS && next.values().all(|payloads| *payloads == 4));
        assert!(store.sizes.lock().unwrap().iter().any(|size| *size > 1), "records share batches");
    });
}

/// Returns a plan that skips what the sink has according to the delivery cache.
fn cached(folder: &Path) -> Plan {
    Plan {
        records: support::records(folder, Some(TimeDelta::days(7))),
        holds_back: true,
        ..plan(folder, 10, 3)
    }
}

/// The cache may skip only what the sink has closed.
#[test]
fn nothing_is_skipped_as_unchanged_that_a_close_has_not_made_final() {
    let mut skipped = 0;
    for seed in 0..40 {
        runtime().block_on(async {
            let (folder, mut random) = (tempfile::tempdir().unwrap(), Rng::with_seed(seed));
            let mut store = Store { failing: Failing::Share(0.1), ..closing(seed) };
            let plan = cached(folder.path());
            for _ in 0..6 {
                let polls = if random.bool() { random.usize(1..200) } else { usize::MAX };
                let ended = cut_off(&store, 1, &plan, polls).await;
                if let Some(Ok(Ended::Finished(outcome))) = ended {
                    skipped += outcome.counts.unchanged;
                    checkpoint::discard(folder.path()).await.unwrap();
                }
            }
            store.failing = Failing::Share(0.0);
            skipped += finish(&store, 1, &plan).await.counts.unchanged;
            assert!((0..ROWS).all(|row| store.has(row)), "seed {seed}");
        });
    }
    assert!(skipped > 1000, "{skipped} records were unchanged");
}

/// Fails in the middle of a record's payloads, which need three batches.
#[test]
fn a_record_counts_as_delivered_only_with_all_of_its_payloads() {
    for number in [2, 3, 31, 77] {
        runtime().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let store = Store { failing: Failing::Once { number, accepted: false }, ..Store::new(1, 0.0) };
            let plan = cached(folder.path());
            assert!(cut_off(&store, 25, &plan, usize::MAX).await.unwrap().is_err(), "call {number}");
            checkpoint::discard(folder.path()).await.unwrap();
            finish(&store, 25, &plan).await;
            let few: Vec<u64> = (0..ROWS).filter(|row| store.times()[&(*row, 0)] < 25).collect();
            assert!(few.is_empty(), "call {number}: rows {few:?} lack payloads");
        });
    }
}

#[test]
fn a_batch_waits_for_more_records_no_longer_than_linger() {
    runtime().block_on(async {
        let partial = async |linger: Option<Duration>| {
            let folder = tempfile::tempdir().unwrap();
            let store = Store { linger, ..Store::new(1, 0.0) };
            let plan = plan(folder.path(), 7, 1);
            let mut pipeline = pipeline(&store, 1, &plan);
            // A page does not fill a batch.
            pipeline.spec.limits.records = 10;
            support::cut_off(&pipeline, &plan, usize::MAX).await.unwrap().unwrap();
            let sizes = store.sizes.lock().unwrap().clone();
            assert_eq!(sizes.iter().sum::<usize>() as u64, ROWS);
            sizes.iter().filter(|size| **size < 10).count()
        };
        let full = partial(None).await;
        let some = partial(Some(Duration::from_millis(5))).await;
        assert!(full <= 2 && some > 10, "{full} batches were not full without linger, {some} with it");
    });
}

#[test]
fn a_record_without_a_payload_is_skipped_and_nothing_is_sent_for_it() {
    runtime().block_on(async {
        let (folder, store) = (tempfile::tempdir().unwrap(), Store::new(1, 0.0));
        let outcome = finish(&store, 0, &plan(folder.path(), 10, 3)).await;
        assert_eq!(outcome.counts.skipped, BTreeMap::from([("no_payload".into(), ROWS)]));
        assert!(store.sizes.lock().unwrap().is_empty());
    });
}

/// The payloads of rows from 100 on have seven bytes, those before fewer.
#[test]
fn a_payload_above_the_limit_of_bytes_is_rejected_and_the_others_keep_to_it() {
    runtime().block_on(async {
        let (folder, store) = (tempfile::tempdir().unwrap(), Store::new(1, 0.0));
        let plan = plan(folder.path(), 10, 3);
        let mut pipeline = pipeline(&store, 1, &plan);
        pipeline.spec.limits.bytes = Some(6);
        let Ended::Finished(outcome) = support::cut_off(&pipeline, &plan, usize::MAX).await.unwrap().unwrap()
        else {
            panic!("nothing stopped it")
        };
        assert_eq!(outcome.counts.rejected, BTreeMap::from([("too_large".into(), ROWS - 100)]));
        assert_eq!(store.times(), (0..100).map(|row| ((row, 0), 1)).collect());
        assert_eq!(*store.sizes.lock().unwrap(), [1; 100], "two payloads have ten bytes or more");
        let (letters, _) = plan.store.dead_letters().await.unwrap();
        assert!(letters.len() == 50 && letters.iter().all(|letter| letter.payload.is_some()));
    });
}

/// A list of two pages, the second of which takes an hour.
struct Slow(List);

impl Source for Slow {
    fn now(&self) -> DateTime<Utc> {
        Clock::now(&self.0)
    }

    fn paging(&self) -> Paging<'_> {
        Paging::Cursor(self)
    }

    fn scope(&self) -> Scope {
        Scope::Full
    }
}

impl CursorPaging for Slow {
    fn follow<'a>(
        &'a self,
        _: &'a Window,
        cursor: Option<&'a Cursor>,
        _: usize,
    ) -> BoxFuture<'a, Result<CursorPage, Fault>> {
        Box::pin(async move {
            let (row, next) = match cursor {
                None => (1, Some(Cursor("2".into()))),
                Some(_) => (2, None),
            };
            sleep(Duration::from_secs(if cursor.is_some() { 3600 } else { 0 })).await;
            Ok(CursorPage { records: vec![self.0.record(row)], next, total: None, at: self.now() })
        })
    }
}

#[test]
fn a_batch_leaves_after_linger_even_if_nothing_else_happens() {
    runtime().block_on(async {
        for (linger, delivered) in [(None, false), (Some(Duration::from_secs(5)), true)] {
            let folder = tempfile::tempdir().unwrap();
            let store = Store { linger, ..Store::new(1, 0.0) };
            let pipeline = support::pipeline(Slow(store.list), Copies(1), store.clone(), store.list);
            let (plan, stop) = (plan(folder.path(), 7, 1), CancellationToken::new());
            tokio::select! {
                ended = run::run(&pipeline, &plan, &stop) => panic!("{ended:?}"),
                () = sleep(Duration::from_secs(10)) => {}
            }
            assert_eq!(store.has(1), delivered, "{linger:?}");
        }
    });
}

#[test]
fn with_a_linger_of_zero_every_record_is_delivered_alone() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let store = Store { linger: Some(Duration::ZERO), ..Store::new(1, 0.0) };
        finish(&store, 1, &plan(folder.path(), 7, 3)).await;
        assert_eq!(*store.sizes.lock().unwrap(), vec![1; ROWS as usize]);
    });
}

/// A list whose records can be read by key.
pub struct Known(pub List);

impl Source for Known {
    fn now(&self) -> DateTime<Utc> {
        Clock::now(&self.0)
    }

    fn paging(&self) -> Paging<'_> {
        self.0.paging()
    }

    fn scope(&self) -> Scope {
        Scope::Changes
    }

    fn lookup(&self) -> Option<&dyn Lookup> {
        Some(self)
    }
}

impl Lookup for Known {
    fn find<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, Fault>> {
        Box::pin(async { Ok(Some(self.0.record(key.parse().unwrap()))) })
    }

    fn key(&self, name: &str) -> String {
        name.to_owned()
    }
}

#[test]
fn a_replay_settles_nothing_before_the_close() {
    for fails in [false, true] {
        runtime().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let letter = |key: u64| DeadLetter {
                key: key.to_string(),
                entry: "e".into(),
                reason: "refused".into(),
                request_id: None,
                time: "2026-11-21T12:00:00Z".into(),
                changed: Some(*NOON - TimeDelta::hours(3)),
                opts_out: false,
                deleted: false,
                payload: None,
            };
            let dead_letters: Arc<dyn RunStore> = Arc::new(FolderStore::alone(folder.path()));
            dead_letters.append_dead_letters([1, 2].map(letter).to_vec()).await.unwrap();
            // The first call of the sink delivers, the second closes.
            let number = if fails { 2 } else { 9 };
            let store = Store { failing: Failing::Once { number, accepted: false }, ..closing(1) };
            let pipeline = support::pipeline(Known(store.list), Copies(1), store.clone(), store.list);
            let letters = replay::Letters {
                events: RunEvents::default(),
                store: Arc::clone(&dead_letters),
                entry: "e".into(),
                entries: vec!["e".into()],
                records: support::records(folder.path(), None),
                dry_run: false,
            };
            let replayed = replay::run(&pipeline, &letters).await;
            let left = dead_letters.dead_letters().await.unwrap().0.len();
            assert_eq!(
                (replayed.is_err(), left, store.times().len()),
                if fails { (true, 2, 0) } else { (false, 0, 2) }
            );
        });
    }
}
