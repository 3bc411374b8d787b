//! Runs that skip what the sink already has, interrupted and failing at any point, over records that change
//! back and forth, disappear and return. In the end the sink must have what the source has.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use futures::future::BoxFuture;
use serde_json::value::to_raw_value;
use tokio::time::{Instant, sleep};

use super::{
    plan::{Ended, Plan},
    stores_tests::{Keeps, Kept},
    support_tests::{self as support, AsItIs, NOON, Noon},
};
use crate::{
    base::{
        fault::{Fault, Problem},
        record::{Mapped, Outgoing, Payload, Record},
        secret::Secret,
        window::{Cursor, CursorPage, Window},
    },
    mapping::Mapping,
    sink::{Deletions, Delivery, Prepared, Rejection, Settles, Sink, SinkSpec},
    source::{CursorPaging, Paging, Scope, Source},
};

const ROWS: u64 = 24;
/// Rows per page.
const PAGE: u64 = 6;
const TICK: Duration = Duration::from_millis(1);

/// The version of each row; `None` for a row that is gone.
type Rows = BTreeMap<u64, Option<u64>>;
/// A row and its version; a deletion has none.
type Version = (u64, Option<u64>);

#[derive(Clone)]
struct List {
    begun: Instant,
    rows: Arc<Mutex<Rows>>,
}

impl Source for List {
    fn now(&self) -> DateTime<Utc> {
        *NOON + TimeDelta::from_std(self.begun.elapsed()).unwrap()
    }

    fn paging(&self) -> Paging<'_> {
        Paging::Cursor(self)
    }

    fn scope(&self) -> Scope {
        Scope::Full
    }
}

impl CursorPaging for List {
    fn follow<'a>(
        &'a self,
        _: &'a Window,
        cursor: Option<&'a Cursor>,
        _: usize,
    ) -> BoxFuture<'a, Result<CursorPage, Fault>> {
        Box::pin(async move {
            sleep(7 * TICK).await;
            let from: u64 = cursor.map_or(0, |cursor| cursor.0.parse().unwrap());
            let rows = self.rows.lock().unwrap();
            let record = |(row, version): (&u64, &Option<u64>)| Record {
                key: row.to_string().into(),
                changed: None,
                status: "there".into(),
                deleted: version.is_none(),
                unreadable: None,
                body: to_raw_value(&(row, version)).unwrap().into(),
            };
            let records = rows.range(from..from + PAGE).map(record).collect();
            let next = (from + PAGE < ROWS).then(|| Cursor((from + PAGE).to_string()));
            Ok(CursorPage { records, next, total: None, at: self.now() })
        })
    }
}

/// Two records; the first page has the first version of one of them, and the second page the second.
struct Twice(u64, u64);

impl Source for Twice {
    fn now(&self) -> DateTime<Utc> {
        *NOON
    }

    fn paging(&self) -> Paging<'_> {
        Paging::Cursor(self)
    }

    fn scope(&self) -> Scope {
        Scope::Full
    }
}

impl CursorPaging for Twice {
    fn follow<'a>(
        &'a self,
        _: &'a Window,
        cursor: Option<&'a Cursor>,
        _: usize,
    ) -> BoxFuture<'a, Result<CursorPage, Fault>> {
        let (version, seconds) = if cursor.is_none() { (self.0, 1) } else { (self.1, 2) };
        let record = |row: u64, version: u64| Record {
            key: row.to_string().into(),
            changed: Some(*NOON + TimeDelta::seconds(seconds)),
            status: "there".into(),
            deleted: false,
            unreadable: None,
            body: to_raw_value(&(row, version)).unwrap().into(),
        };
        // Without the other one, a rejection would leave the run with nothing to deliver.
        let records = vec![record(7, version), record(8, 0)];
        let next = cursor.is_none().then(|| Cursor("2".into()));
        Box::pin(async move { Ok(CursorPage { records, next, total: None, at: *NOON }) })
    }
}

/// The records that a sink has. It fails now and then, before or after it accepted a batch.
#[derive(Clone)]
struct Store {
    held: Arc<Mutex<Rows>>,
    taken: Arc<Mutex<usize>>,
    random: Arc<Mutex<Rng>>,
    /// Shares of the deliveries that fail, and of those that are refused because of one record.
    failing: f64,
    refusing: f64,
    /// A version that is refused.
    refused: Option<u64>,
    settles: Settles,
    /// Versions since the last close, if the sink settles then.
    open: Arc<Mutex<Vec<Version>>>,
}

impl Store {
    fn accept(&self, batch: &[Prepared]) {
        *self.taken.lock().unwrap() += batch.len();
        self.open.lock().unwrap().extend(batch.iter().map(version));
        if self.settles == Settles::EachBatch {
            self.settle();
        }
    }

    fn settle(&self) {
        self.held.lock().unwrap().extend(self.open.lock().unwrap().drain(..));
    }
}

impl Sink for Store {
    fn spec(&self) -> SinkSpec {
        let settles = self.settles;
        SinkSpec {
            deletions: Deletions::Sent,
            settles,
            ..SinkSpec::new(Secret::new(""), String::new(), 4, 3)
        }
    }

    fn prepare(&self, payload: &Payload) -> Result<Prepared, Rejection> {
        let text = payload.body.as_ref().map_or("", |body| body.get());
        Ok(Prepared::new(&payload.key, text.to_owned()))
    }

    fn deliver<'a>(&'a self, batch: &'a [Prepared]) -> BoxFuture<'a, Result<Delivery, Fault>> {
        Box::pin(async move {
            let (fails, accepts, early, refuses, wait) = {
                let mut random = self.random.lock().unwrap();
                let fails = random.f64() < self.failing;
                (
                    fails,
                    !fails || random.bool(),
                    random.bool(),
                    random.f64() < self.refusing,
                    random.u32(3..20),
                )
            };
            if refuses
                || batch.iter().any(|prepared| version(prepared).1.is_some_and(|v| self.refused == Some(v)))
            {
                let problem: Problem = Fault::list("one of the records is refused").problem().clone();
                return Err(Fault::TooLarge(problem));
            }
            // A delivery that is dropped in flight may have been accepted, or not.
            if accepts && early {
                self.accept(batch);
            }
            sleep(TICK * wait).await;
            if accepts && !early {
                self.accept(batch);
            }
            if fails { Err(Fault::list("the sink failed")) } else { Ok(Delivery::default()) }
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            let (fails, accepts) = {
                let mut random = self.random.lock().unwrap();
                let fails = random.f64() < self.failing;
                (fails, !fails || random.bool())
            };
            sleep(TICK).await;
            if accepts {
                self.settle();
            }
            if fails { Err(Fault::list("the sink failed")) } else { Ok(()) }
        })
    }
}

/// Returns the row and the version of a payload; a deletion has no version.
fn version(Prepared { key, bytes, .. }: &Prepared) -> Version {
    let version = serde_json::from_slice::<(u64, u64)>(bytes).ok().map(|(_, version)| version);
    (key.parse().unwrap(), version)
}

fn plan(kept: &Kept) -> Plan {
    Plan {
        since: Some(*NOON - TimeDelta::hours(1)),
        reads_archived: false,
        holds_back: true,
        ..kept.plan(PAGE as usize, 2, Some(TimeDelta::days(7)))
    }
}

/// Runs the list, but drops the run after this number of polls.
async fn run(
    list: impl Source + 'static,
    store: &Store,
    kept: &Kept,
    polls: usize,
) -> Option<Result<Ended, Fault>> {
    run_with(list, AsItIs, store, kept, polls).await
}

async fn run_with(
    list: impl Source + 'static,
    mapping: impl Mapping + 'static,
    store: &Store,
    kept: &Kept,
    polls: usize,
) -> Option<Result<Ended, Fault>> {
    // A sink that is dropped undoes what it has not closed.
    store.open.lock().unwrap().clear();
    let pipeline = support::pipeline(list, mapping, store.clone(), Noon);
    let ended = support::cut_off(&pipeline, &plan(kept), polls).await;
    if matches!(ended, Some(Ok(Ended::Finished(_)))) {
        // As the controller does when it records the result.
        kept.store().discard_checkpoint().await.unwrap();
    }
    ended
}

/// There are few versions, so that many rows return to an earlier one.
fn change(rows: &mut Rows, random: &mut Rng) {
    for _ in 0..random.usize(4..16) {
        let version = (random.u8(..4) > 0).then(|| random.u64(..2));
        rows.insert(random.u64(..ROWS), version);
    }
}

fn store(random: Rng, failing: f64, refusing: f64, settles: Settles) -> Store {
    let random = Arc::new(Mutex::new(random));
    let (held, taken, open) = (Arc::default(), Arc::default(), Arc::default());
    Store { held, taken, random, failing, refusing, refused: None, settles, open }
}

/// Returns each way in which a sink settles, with each kind of stores.
fn kinds() -> impl Iterator<Item = (Settles, Keeps)> {
    let both = [Settles::EachBatch, Settles::AtClose].into_iter();
    both.flat_map(|settles| [Keeps::OnDisk, Keeps::InMemory].map(|keeps| (settles, keeps)))
}

/// The cache still contains the first version when the second page is read, although another version is in
/// flight by then.
#[tokio::test(start_paused = true)]
async fn a_record_that_returns_to_an_earlier_version_within_a_run_is_sent_again() {
    for (settles, keeps) in kinds() {
        let kept = Kept::new(keeps);
        let store = store(Rng::with_seed(1), 0.0, 0.0, settles);
        for (first, second, held) in [(0, 0, 0), (1, 0, 0), (0, 1, 1), (1, 1, 1)] {
            run(Twice(first, second), &store, &kept, usize::MAX).await.unwrap().unwrap();
            assert_eq!(
                store.held.lock().unwrap()[&7],
                Some(held),
                "{settles:?}, {keeps:?}: {first} {second}"
            );
        }
    }
}

/// The sink then has the version between the cached one and the rejected one.
#[tokio::test(start_paused = true)]
async fn after_a_newer_version_was_rejected_the_cache_knows_nothing_of_the_record() {
    for (settles, keeps) in kinds() {
        let kept = Kept::new(keeps);
        let store = Store { refused: Some(2), ..store(Rng::with_seed(1), 0.0, 0.0, settles) };
        for (first, second, held) in [(0, 0, 0), (1, 2, 1), (0, 0, 0)] {
            run(Twice(first, second), &store, &kept, usize::MAX).await.unwrap().unwrap();
            assert_eq!(
                store.held.lock().unwrap()[&7],
                Some(held),
                "{settles:?}, {keeps:?}: {first} {second}"
            );
        }
    }
}

/// Makes two payloads of each record; the second has a version that is higher by ten.
struct Two;

impl Mapping for Two {
    fn map(&self, record: &Record) -> Mapped {
        let (row, version): (u64, u64) = serde_json::from_str(record.body.get()).unwrap();
        let bodies = [version, version + 10].map(|version| to_raw_value(&(row, version)).unwrap().into());
        Mapped::Send(Outgoing::plain(bodies.to_vec()))
    }
}

/// The sink has accepted the first payload of the rejected version.
#[tokio::test(start_paused = true)]
async fn after_a_record_was_rejected_in_part_the_cache_knows_nothing_of_it() {
    for (settles, keeps) in kinds() {
        let kept = Kept::new(keeps);
        let store = Store { refused: Some(11), ..store(Rng::with_seed(1), 0.0, 0.0, settles) };
        for (version, held) in [(0, 10), (1, 1), (0, 10)] {
            let list = Twice(version, version);
            run_with(list, Two, &store, &kept, usize::MAX).await.unwrap().unwrap();
            assert_eq!(store.held.lock().unwrap()[&7], Some(held), "{settles:?}, {keeps:?}: {version}");
        }
    }
}

async fn world(seed: u64, settles: Settles, keeps: Keeps) -> (u64, usize) {
    let mut random = Rng::with_seed(seed);
    let kept = Kept::new(keeps);
    let rows: Rows = (0..ROWS).map(|row| (row, Some(0))).collect();
    let list = List { begun: Instant::now(), rows: Arc::new(Mutex::new(rows)) };
    let mut store = store(random.fork(), 0.25, 0.1, settles);
    for _ in 0..10 {
        change(&mut list.rows.lock().unwrap(), &mut random);
        let polls = if random.bool() { random.usize(1..80) } else { usize::MAX };
        let _ = run(list.clone(), &store, &kept, polls).await;
    }
    (store.failing, store.refusing) = (0.0, 0.0);
    let before = *store.taken.lock().unwrap();
    let Some(Ok(Ended::Finished(outcome))) = run(list.clone(), &store, &kept, usize::MAX).await else {
        panic!("seed {seed}")
    };
    assert_eq!(*store.held.lock().unwrap(), *list.rows.lock().unwrap(), "seed {seed}");
    (outcome.counts.unchanged, *store.taken.lock().unwrap() - before)
}

#[test]
fn only_payloads_that_the_sink_has_are_skipped_however_runs_end() {
    for (settles, keeps) in kinds() {
        let (mut unchanged, mut sent) = (0, 0);
        for seed in 0..33 {
            let (held_back, taken) = support::runtime().block_on(world(seed, settles, keeps));
            unchanged += held_back;
            sent += taken;
        }
        assert!(unchanged > 300 && sent > 50, "{settles:?}, {keeps:?}: {unchanged} unchanged, {sent} sent");
    }
}
