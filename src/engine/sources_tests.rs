//! Sources that are read by cursor over changes, and by shard after a position, while their records change.
//! Runs are cut off at every await, fail at random and resume. In the end the sink must have the last version
//! of every row, or every event in its order.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, Utc};
use fastrand::Rng;
use futures::future::BoxFuture;
use serde_json::value::to_raw_value;
use tokio::time::{Instant, sleep};

use super::{
    plan::{Ended, Outcome, Pipeline, Plan},
    support_tests::{self as support, AsItIs, Feed, NOON, ROWS, Scoped, cut_off, runtime},
};
use crate::{
    base::{
        clock::Clock,
        events::Events,
        fault::Fault,
        key::key_digest,
        record::{Mapped, Outgoing, Record},
        window::{Cursor, Next, Shard, ShardPage, Window},
    },
    mapping::Mapping,
    source::{Paging, Scope, ShardPaging, Source},
    store::{
        checkpoint,
        dead_letter::DeadLetter,
        files,
        position::{self, Position, Positions},
        records,
        seen::Seen,
    },
};

/// Time of a paged list and of a stream: their records change during a run that takes some minutes.
const TICK: Duration = Duration::from_millis(500);

/// Emulates the controller: each finished run sets the timestamp and drops the checkpoint.
struct Entry {
    folder: tempfile::TempDir,
    since: Option<DateTime<Utc>>,
}

impl Entry {
    fn new() -> Self {
        Entry { folder: tempfile::tempdir().unwrap(), since: None }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn plan(&self, size: usize, workers: usize) -> Plan {
        let run_fingerprint = format!("{:?}", self.since);
        let plan = support::plan(self.path(), size, workers);
        Plan { since: self.since, run_fingerprint, reads_archived: false, ..plan }
    }

    async fn run(
        &mut self,
        pipeline: &Pipeline,
        plan: &Plan,
        polls: usize,
    ) -> Option<Result<Outcome, Fault>> {
        let outcome = match cut_off(pipeline, plan, polls).await? {
            Err(fault) => return Some(Err(fault)),
            Ok(Ended::Stopped(counts)) => panic!("nobody stopped it: {counts}"),
            Ok(Ended::Finished(outcome)) => outcome,
        };
        let counts = &outcome.counts;
        let settled = counts.sent
            + counts.unchanged
            + counts.superseded
            + counts.skipped.values().sum::<u64>()
            + counts.rejected.values().sum::<u64>();
        assert_eq!(counts.window + counts.late, counts.seen + counts.repeated + counts.left, "{counts}");
        assert_eq!(counts.seen + counts.again, settled, "{counts}");
        self.since = Some(outcome.until);
        checkpoint::discard(self.path()).await.unwrap();
        Some(Ok(outcome))
    }

    async fn finish(&mut self, pipeline: &Pipeline, plan: &Plan) -> Outcome {
        self.run(pipeline, plan, usize::MAX).await.unwrap().unwrap()
    }
}

// ---- A cursor over changes ----

type FeedStore = support::Store<Feed>;

fn feed_store(feed: &Feed, seed: u64, share: f64) -> FeedStore {
    FeedStore::of(feed.clone(), Duration::from_millis(100), seed, share)
}

fn feed_pipeline(store: &FeedStore) -> Pipeline {
    support::pipeline(store.list.clone(), AsItIs, store.clone(), store.list.list)
}

/// Rows that change before they are read, just then, and afterwards.
const CHANGES: &[(u64, u32)] =
    &[(3, 5), (20, 40), (50, 80), (80, 80), (81, 60), (110, 120), (145, 3), (149, 150)];

/// Returns the rows of the first pass that are settled according to the checkpoint.
async fn settled(entry: &Entry) -> BTreeSet<u64> {
    let expected = format!("{:?}", entry.since);
    let (_, left) = checkpoint::open(entry.path(), &expected, &Events::default()).await.unwrap();
    let mut seen = Seen::default();
    let (header, lines) = left.unwrap_or_else(|| (crate::store::checkpoint::Header::new("", vec![]), vec![]));
    for line in lines.iter().filter(|_| header.pass == 1) {
        seen.decode(&line.rows, &line.names).unwrap();
    }
    (0..ROWS).filter(|row| seen.get(key_digest(&row.to_string())).is_some()).collect()
}

fn assert_newest(store: &FeedStore, told: &str) {
    let newest: BTreeMap<u64, u64> = store.accepted.lock().unwrap().iter().copied().collect();
    for row in 0..ROWS {
        assert_eq!(newest.get(&row), Some(&store.list.list.version(row)), "{told}: row {row}");
    }
}

#[test]
fn wherever_a_run_over_changes_by_cursor_is_cut_off_the_next_runs_deliver_the_last_version_of_every_row() {
    let mut resumed = 0;
    for polls in 0.. {
        let (ended, settled) = runtime().block_on(async {
            let (mut entry, feed) = (Entry::new(), Feed::new(CHANGES, polls % 2 == 0));
            let store = feed_store(&feed, polls as u64, 0.0);
            let (pipeline, told) = (feed_pipeline(&store), format!("cut off after {polls} polls"));
            let first = entry.run(&pipeline, &entry.plan(7, 3), polls).await;
            let settled = settled(&entry).await;
            let before = store.times();
            assert!(settled.iter().all(|row| store.has(*row)), "{told}: settled, and not accepted");
            if first.is_none() {
                entry.finish(&pipeline, &entry.plan(4 + polls % 20, 1)).await;
                for row in &settled {
                    let times = (store.times()[&(*row, 0)], before[&(*row, 0)]);
                    assert_eq!(times.0, times.1, "{told}: row {row} was settled, and sent again");
                }
            }
            sleep(Duration::from_secs(300)).await;
            let last = entry.finish(&pipeline, &entry.plan(10, 2)).await;
            assert_newest(&store, &told);
            assert_eq!((last.counts.passes, last.counts.unlisted), (1, 0), "{told}");
            (first.is_some(), settled.len())
        });
        resumed += settled;
        if ended {
            assert!(polls > 50 && resumed > 1000, "{polls} polls, {resumed} rows settled at a cut");
            return;
        }
    }
}

#[test]
fn runs_over_changes_by_cursor_that_fail_anywhere_end_with_the_last_version_of_every_row() {
    let mut failures = 0;
    for seed in 0..25 {
        runtime().block_on(async {
            let (mut entry, feed) = (Entry::new(), Feed::new(CHANGES, seed % 2 == 0));
            let mut store = feed_store(&feed, seed, 0.25);
            let mut random = Rng::with_seed(seed);
            for attempt in 0..12 {
                let polls = if random.bool() { random.usize(..120) } else { usize::MAX };
                let plan = entry.plan(random.usize(3..20), random.usize(1..5));
                if let Some(Err(fault)) = entry.run(&feed_pipeline(&store), &plan, polls).await {
                    assert!(fault.to_string().contains("the sink failed"), "seed {seed}: {fault}");
                    failures += 1;
                }
                let told = format!("seed {seed}, attempt {attempt}");
                assert!(settled(&entry).await.iter().all(|row| store.has(*row)), "{told}");
                sleep(Duration::from_secs(random.u64(..20))).await;
            }
            store.failing = support::Failing::Share(0.0);
            sleep(Duration::from_secs(300)).await;
            for _ in 0..2 {
                entry.finish(&feed_pipeline(&store), &entry.plan(10, 2)).await;
            }
            assert_newest(&store, &format!("seed {seed}"));
        });
    }
    assert!(failures > 25, "only {failures} failures");
}

#[test]
fn a_cursor_over_changes_gets_the_windows_of_a_load_its_catch_up_and_a_sync() {
    runtime().block_on(async {
        let (mut entry, feed) = (Entry::new(), Feed::new(CHANGES, false));
        let store = feed_store(&feed, 1, 0.0);
        let load = entry.finish(&feed_pipeline(&store), &entry.plan(7, 1)).await;
        assert!(load.counts.passes > 1, "a catch-up pass follows a load");
        let size = records::summary(entry.path(), &Events::default()).await.unwrap().unwrap().len();
        assert_eq!(size, ROWS);
        sleep(Duration::from_secs(300)).await;
        let sync = entry.finish(&feed_pipeline(&store), &entry.plan(7, 1)).await;
        assert_eq!(sync.counts.passes, 1);
        let windows = feed.windows.lock().unwrap();
        let times = |window: &Window| (window.since, window.until.unwrap());
        let (first, last) = (times(&windows[0]), times(windows.last().unwrap()));
        assert_eq!((first.0, windows.len() as u32), (None, load.counts.passes + 1));
        let overlap = chrono::TimeDelta::seconds(61);
        assert_eq!(last, (Some(load.until - overlap), sync.until), "the windows overlap");
        assert_eq!(times(&windows[1]).0, Some(first.1 - overlap));
    });
}

#[test]
fn rows_that_a_source_counts_and_does_not_list_make_it_read_again_and_then_fail() {
    for (listings, fails) in [(0, false), (1, false), (2, true)] {
        runtime().block_on(async {
            let (mut entry, feed) = (Entry::new(), Feed::new(&[], true));
            let feed = Feed { hidden: Some(77), hides: Arc::new(Mutex::new(listings)), ..feed };
            let store = feed_store(&feed, 1, 0.0);
            let ended = entry.run(&feed_pipeline(&store), &entry.plan(7, 1), usize::MAX).await.unwrap();
            assert_eq!(store.has(77), !fails);
            match ended {
                Ok(outcome) => assert_eq!(outcome.counts.unexplained, 0),
                Err(fault) => {
                    let what = "counts 150 records, but listed only 149 different ones; 1 are unexplained";
                    assert!(fails && fault.to_string().contains(what), "{fault}");
                    assert_eq!(entry.since, None);
                }
            }
        });
    }
}

#[test]
fn rows_that_share_a_key_explain_a_total_also_after_an_interruption() {
    for polls in [0, 20, 35, 50] {
        runtime().block_on(async {
            let (mut entry, feed) = (Entry::new(), Feed::new(&[], true));
            let store = feed_store(&Feed { twin: Some(20), ..feed }, 1, 0.0);
            assert!(entry.run(&feed_pipeline(&store), &entry.plan(7, 1), polls).await.is_none());
            let counts = entry.finish(&feed_pipeline(&store), &entry.plan(7, 1)).await.counts;
            assert_eq!((counts.repeated, counts.unexplained), (1, 0), "{polls} polls: {counts}");
            assert_eq!(counts.again, 0, "{polls} polls: the pass was not repeated");
        });
    }
}

#[test]
fn a_source_with_a_scope_that_its_paging_does_not_support_is_not_read() {
    runtime().block_on(async {
        let (entry, feed) = (Entry::new(), Feed::new(&[], false));
        let store = feed_store(&feed, 1, 0.0);
        let pipeline =
            support::pipeline(Scoped(feed, Scope::Positions), AsItIs, store.clone(), store.list.list);
        let fault = cut_off(&pipeline, &entry.plan(7, 1), usize::MAX).await.unwrap().unwrap_err();
        assert!(fault.to_string().contains("a scope that its paging does not support"), "{fault}");
        assert!(store.accepted.lock().unwrap().is_empty());
    });
}

// ---- A stream of shards ----

#[derive(Debug, Clone, Default)]
struct Log {
    parents: Vec<String>,
    events: Vec<u64>,
    closed: bool,
    /// Whether the source no longer lists the shard.
    hidden: bool,
}

/// A stream whose shards grow, split and merge, also while they are read.
#[derive(Clone)]
struct Stream {
    begun: Instant,
    shards: Arc<Mutex<BTreeMap<String, Log>>>,
    random: Arc<Mutex<Rng>>,
    /// Share of the reads before which something happens to the stream.
    busy: f64,
    /// By how much its answers are dated before its clock.
    behind: Duration,
    /// Shards that were read.
    reads: Arc<Mutex<Vec<String>>>,
}

impl Stream {
    fn new(seed: u64, busy: f64) -> Self {
        let random = Arc::new(Mutex::new(Rng::with_seed(seed)));
        let stream = Stream {
            begun: Instant::now(),
            shards: Arc::default(),
            random,
            busy,
            reads: Arc::default(),
            behind: Duration::ZERO,
        };
        for shard in ["0", "1", "2"] {
            stream.shards.lock().unwrap().insert(shard.into(), Log::default());
        }
        (0..60).for_each(|_| stream.add());
        stream
    }

    /// Adds an event to an open shard.
    fn add(&self) {
        let mut shards = self.shards.lock().unwrap();
        let event = shards.values().map(|log| log.events.len() as u64).sum();
        let mut open: Vec<&mut Log> = shards.values_mut().filter(|log| !log.closed).collect();
        let place = self.random.lock().unwrap().usize(..open.len());
        open[place].events.push(event);
    }

    /// Closes some open shards, which new ones continue: a split of one, or a merge of two.
    fn reshard(&self, merges: bool) {
        let mut shards = self.shards.lock().unwrap();
        let mut open: Vec<String> =
            shards.iter().filter(|(_, log)| !log.closed).map(|(id, _)| id.clone()).collect();
        self.random.lock().unwrap().shuffle(&mut open);
        let parents: Vec<String> = open.into_iter().take(if merges { 2 } else { 1 }).collect();
        parents.iter().for_each(|id| shards.get_mut(id).unwrap().closed = true);
        let children = if merges { 1 } else { 2 };
        for _ in 0..children {
            // The order of the names is not the order of the shards.
            let id = format!("{}-{}", 9 - shards.len() % 10, shards.len());
            shards.insert(id, Log { parents: parents.clone(), ..Log::default() });
        }
    }

    fn happens(&self) {
        let (busy, what) = {
            let mut random = self.random.lock().unwrap();
            (random.f64() < self.busy, random.u32(..12))
        };
        match what {
            _ if !busy => {}
            0 => self.reshard(false),
            1 => self.reshard(true),
            _ => self.add(),
        }
    }

    /// Returns the events of a shard's ancestors and, up to `event`, those of the shard itself.
    fn before(&self, event: u64) -> BTreeSet<u64> {
        let shards = self.shards.lock().unwrap();
        let own = shards.values().find(|log| log.events.contains(&event)).unwrap();
        let mut before: BTreeSet<u64> =
            own.events.iter().copied().take_while(|other| *other != event).collect();
        let mut ancestors = own.parents.clone();
        while let Some(id) = ancestors.pop() {
            before.extend(&shards[&id].events);
            ancestors.extend(shards[&id].parents.clone());
        }
        before
    }
}

impl Clock for Stream {
    fn now(&self) -> DateTime<Utc> {
        *NOON + self.begun.elapsed()
    }
}

impl Source for Stream {
    fn now(&self) -> DateTime<Utc> {
        Clock::now(self)
    }

    fn paging(&self) -> Paging<'_> {
        Paging::Shards(self)
    }

    fn scope(&self) -> Scope {
        Scope::Positions
    }
}

impl ShardPaging for Stream {
    fn shards(&self) -> BoxFuture<'_, Result<Vec<Shard>, Fault>> {
        Box::pin(async {
            sleep(TICK).await;
            let shards = self.shards.lock().unwrap();
            let listed = shards.iter().filter(|(_, log)| !log.hidden);
            Ok(listed.map(|(id, log)| Shard { id: id.clone(), parents: log.parents.clone() }).collect())
        })
    }

    fn read<'a>(
        &'a self,
        shard: &'a str,
        after: Option<&'a Cursor>,
        count: usize,
    ) -> BoxFuture<'a, Result<ShardPage, Fault>> {
        Box::pin(async move {
            self.happens();
            self.reads.lock().unwrap().push(shard.to_owned());
            let page = {
                let shards = self.shards.lock().unwrap();
                let log = &shards[shard];
                let first: usize = after.map_or(0, |after| after.0.parse().unwrap());
                let last = (first + count).min(log.events.len());
                let record = |event: &u64| Record {
                    key: event.to_string().into(),
                    changed: None,
                    status: "event".into(),
                    deleted: false,
                    unreadable: None,
                    body: to_raw_value(&[*event, 0]).unwrap().into(),
                };
                let records = log.events[first..last].iter().map(record).collect();
                let position = Cursor(last.to_string());
                // The source may learn late that a shard is closed.
                let late = self.busy > 0.0 && self.random.lock().unwrap().u8(..4) == 0;
                let next = match (last < log.events.len(), log.closed && !late) {
                    (true, _) => Next::More(position),
                    (false, true) => Next::Closed,
                    (false, false) => Next::Tip(position),
                };
                ShardPage { records, next, at: Clock::now(self) - self.behind }
            };
            let wait = self.random.lock().unwrap().u32(1..12);
            sleep(TICK * wait).await;
            Ok(page)
        })
    }
}

type StreamStore = support::Store<Stream>;

fn stream_store(stream: &Stream, seed: u64, share: f64) -> StreamStore {
    StreamStore::of(stream.clone(), Duration::from_millis(100), seed, share)
}

fn stream_pipeline(store: &StreamStore) -> Pipeline {
    let mut pipeline = support::pipeline(store.list.clone(), AsItIs, store.clone(), store.list.clone());
    pipeline.spec.limits.records = 5;
    pipeline
}

/// Checks that no event was accepted before all those that precede it.
fn assert_in_order(store: &StreamStore, told: &str) {
    let mut accepted = BTreeSet::new();
    for (event, _) in store.accepted.lock().unwrap().iter() {
        let missing: Vec<u64> = store.list.before(*event).difference(&accepted).copied().collect();
        assert!(missing.is_empty(), "{told}: {missing:?} were overtaken by {event}");
        accepted.insert(*event);
    }
}

/// Checks that the sink has accepted all events up to the stored positions, and returns these.
async fn assert_settled(store: &StreamStore, folder: &Path, told: &str) -> Option<Positions> {
    let positions = position::load(folder).await.unwrap()?.shards;
    let shards = store.list.shards.lock().unwrap();
    for (id, position) in &positions {
        let log = &shards[id];
        let read = match position {
            Position::After(position) => position.0.parse().unwrap(),
            Position::Closed => {
                assert!(log.closed, "{told}: {id}");
                log.events.len()
            }
        };
        let passed = log.events[..read].iter().find(|event| !store.has(**event));
        assert_eq!(passed, None, "{told}: the position in {id} passed an event that is not settled");
    }
    Some(positions)
}

fn assert_every_event(store: &StreamStore, told: &str) {
    for (id, log) in store.list.shards.lock().unwrap().iter() {
        assert!(log.events.iter().all(|event| store.has(*event)), "{told}: {id}");
    }
}

/// Runs the stream until it is read to all of its tips, while nothing happens to it.
async fn read_out(entry: &mut Entry, store: &mut StreamStore) {
    (store.failing, store.list.busy) = (support::Failing::Share(0.0), 0.0);
    // In each run, one more generation of shards can be read.
    let generations = store.list.shards.lock().unwrap().len();
    for _ in 0..=generations {
        entry.finish(&stream_pipeline(store), &entry.plan(10, 2)).await;
    }
}

#[test]
fn wherever_a_run_of_a_stream_is_cut_off_every_event_arrives_in_order_and_no_position_passes_one() {
    let mut resumed = 0;
    for polls in 0.. {
        let ended = runtime().block_on(async {
            let (mut entry, stream) = (Entry::new(), Stream::new(polls as u64, 0.2));
            let mut store = stream_store(&stream, polls as u64, 0.0);
            let told = format!("cut off after {polls} polls");
            let first = entry.run(&stream_pipeline(&store), &entry.plan(5, 2), polls).await;
            assert_settled(&store, entry.path(), &told).await;
            resumed += usize::from(checkpoint::path(entry.path()).exists());
            if first.is_none() {
                let next =
                    entry.run(&stream_pipeline(&store), &entry.plan(3 + polls % 9, 3), usize::MAX).await;
                assert!(matches!(next, Some(Ok(_))), "{told}: {next:?}");
                assert_settled(&store, entry.path(), &told).await.unwrap();
            }
            read_out(&mut entry, &mut store).await;
            assert_every_event(&store, &told);
            assert_in_order(&store, &told);
            first.is_some()
        });
        if ended {
            assert!(polls > 50 && resumed > 40, "{polls} polls, {resumed} runs were resumed");
            return;
        }
    }
}

#[test]
fn runs_of_a_stream_that_fail_anywhere_leave_the_positions_and_in_the_end_every_event_has_arrived() {
    let (mut failures, mut moved) = (0, 0);
    for seed in 0..40 {
        runtime().block_on(async {
            let (mut entry, stream) = (Entry::new(), Stream::new(seed, 0.5));
            let mut store = stream_store(&stream, seed, 0.1);
            let mut random = Rng::with_seed(seed);
            for attempt in 0..15 {
                let told = format!("seed {seed}, attempt {attempt}");
                let before = position::load(entry.path()).await.unwrap().map(|stored| stored.shards);
                let polls = if random.bool() { random.usize(..80) } else { usize::MAX };
                let plan = entry.plan(random.usize(1..12), random.usize(1..5));
                let ended = entry.run(&stream_pipeline(&store), &plan, polls).await;
                let after = assert_settled(&store, entry.path(), &told).await;
                match ended {
                    Some(Ok(_)) => moved += usize::from(after != before),
                    Some(Err(fault)) => {
                        assert!(fault.to_string().contains("the sink failed"), "{told}: {fault}");
                        assert_eq!(after, before, "{told}: a failed run moved a position");
                        failures += 1;
                    }
                    None => {}
                }
                assert_in_order(&store, &told);
                (0..random.usize(..10)).for_each(|_| stream.add());
            }
            read_out(&mut entry, &mut store).await;
            let told = format!("seed {seed}");
            assert_settled(&store, entry.path(), &told).await;
            assert_every_event(&store, &told);
            assert_in_order(&store, &told);
        });
    }
    assert!(failures > 40 && moved > 80, "{failures} failures, {moved} runs moved the positions");
}

/// An empty shard between two others is read before the records of its parent are accepted.
#[test]
fn wherever_a_run_is_cut_off_no_event_overtakes_one_from_before_an_empty_shard() {
    let mut finished = 0;
    for polls in 0.. {
        let ended = runtime().block_on(async {
            let (mut entry, stream) = (Entry::new(), Stream::new(polls as u64, 0.0));
            for (id, parents, events) in
                [("0", &[][..], 0..20), ("1", &["0"], 20..20), ("2", &["1"], 20..20), ("3", &["2"], 20..25)]
            {
                let parents = parents.iter().map(|id: &&str| (*id).to_owned()).collect();
                let log = Log { parents, events: events.collect(), closed: true, ..Log::default() };
                stream.shards.lock().unwrap().insert(id.into(), log);
            }
            let mut store = stream_store(&stream, polls as u64, 0.0);
            let plan = entry.plan(4, 4);
            let ended = entry.run(&stream_pipeline(&store), &plan, polls).await;
            read_out(&mut entry, &mut store).await;
            assert_in_order(&store, &format!("cut off after {polls} polls"));
            assert_every_event(&store, &format!("cut off after {polls} polls"));
            ended
        });
        finished += usize::from(ended.is_some());
        if finished == 3 {
            assert!(polls > 30, "a run takes only {polls} polls");
            return;
        }
    }
}

#[test]
fn a_run_of_a_stream_continues_after_the_last_one_and_a_load_starts_over() {
    runtime().block_on(async {
        let (mut entry, stream) = (Entry::new(), Stream::new(7, 0.0));
        let store = stream_store(&stream, 7, 0.0);
        let pipeline = stream_pipeline(&store);
        let load = entry.finish(&pipeline, &entry.plan(5, 2)).await;
        assert_eq!((load.counts.sent, load.counts.passes), (60, 1));
        assert!(load.until > *NOON - Duration::from_secs(2), "{}", load.until);
        (0..4).for_each(|_| stream.add());
        let next = entry.finish(&pipeline, &entry.plan(5, 2)).await;
        assert_eq!((next.counts.sent, next.counts.unlisted, next.counts.passes), (4, 0, 1));
        let summary = records::summary(entry.path(), &Events::default()).await.unwrap().unwrap();
        assert_eq!(summary.len(), 0, "events would make the ledger grow for ever");
        assert_eq!(entry.finish(&pipeline, &entry.plan(5, 2)).await.counts.sent, 0);
        entry.since = None;
        assert_eq!(entry.finish(&pipeline, &entry.plan(5, 2)).await.counts.sent, 64);
    });
}

/// The stream may not have the record anymore.
#[test]
fn a_load_of_a_stream_keeps_the_dead_letters_of_unreadable_records_that_it_did_not_read() {
    runtime().block_on(async {
        let (mut entry, stream) = (Entry::new(), Stream::new(7, 0.0));
        let store = stream_store(&stream, 7, 0.0);
        let plan = entry.plan(100, 3);
        let letter = DeadLetter {
            key: "unreadable-1".into(),
            entry: plan.entry.clone(),
            reason: "unreadable: no id".into(),
            request_id: None,
            time: String::new(),
            changed: None,
            opts_out: false,
            deleted: false,
            payload: None,
        };
        plan.store.append_dead_letters(vec![letter]).await.unwrap();
        entry.finish(&stream_pipeline(&store), &plan).await;
        assert_eq!(plan.store.dead_letters().await.unwrap().0.len(), 1);
    });
}

#[test]
fn a_new_end_of_the_window_at_the_first_answer_restarts_no_shard() {
    runtime().block_on(async {
        let (mut entry, stream) = (Entry::new(), Stream::new(7, 0.0));
        let stream = Stream { behind: Duration::from_secs(30), ..stream };
        let store = stream_store(&stream, 7, 0.0);
        let run = entry.finish(&stream_pipeline(&store), &entry.plan(100, 3)).await;
        assert_eq!((run.counts.sent, stream.reads.lock().unwrap().len()), (60, 3));
        assert!(run.until < *NOON - Duration::from_secs(15), "{}", run.until);
    });
}

#[test]
fn a_closed_shard_is_not_read_again_even_if_a_listing_has_left_it_out() {
    runtime().block_on(async {
        let (mut entry, stream) = (Entry::new(), Stream::new(3, 0.0));
        let mut store = stream_store(&stream, 3, 0.0);
        stream.reshard(false);
        (0..9).for_each(|_| stream.add());
        let shards = stream.shards.lock().unwrap().clone();
        let closed = shards.iter().find(|(_, log)| log.closed).unwrap().0.clone();
        read_out(&mut entry, &mut store).await;
        assert_every_event(&store, "split");
        assert_eq!(position::load(entry.path()).await.unwrap().unwrap().shards[&closed], Position::Closed);
        let reads = |shard: &str| stream.reads.lock().unwrap().iter().filter(|read| *read == shard).count();
        let before = reads(&closed);
        entry.finish(&stream_pipeline(&store), &entry.plan(5, 2)).await;
        assert_eq!(reads(&closed), before);
        stream.shards.lock().unwrap().get_mut(&closed).unwrap().hidden = true;
        stream.add();
        let sent = entry.finish(&stream_pipeline(&store), &entry.plan(5, 2)).await.counts.sent;
        assert_eq!(sent, 1, "children need no parent that is gone");
        stream.shards.lock().unwrap().get_mut(&closed).unwrap().hidden = false;
        let sent = entry.finish(&stream_pipeline(&store), &entry.plan(5, 2)).await.counts.sent;
        assert_eq!((sent, reads(&closed)), (0, before));
    });
}

#[test]
fn a_sink_that_throttles_single_events_gets_them_in_order() {
    runtime().block_on(async {
        for seed in 0..5 {
            let (mut entry, stream) = (Entry::new(), Stream::new(seed, 0.0));
            let store = StreamStore { throttled: 0.2, ..stream_store(&stream, seed, 0.0) };
            entry.finish(&stream_pipeline(&store), &entry.plan(10, 3)).await;
            let told = format!("seed {seed}");
            assert_every_event(&store, &told);
            assert_in_order(&store, &told);
        }
    });
}

#[test]
fn a_run_after_a_load_never_begins_at_the_start_of_a_stream_by_itself() {
    runtime().block_on(async {
        let (mut entry, stream) = (Entry::new(), Stream::new(5, 0.0));
        let store = stream_store(&stream, 5, 0.0);
        entry.since = Some(*NOON);
        let run = entry.run(&stream_pipeline(&store), &entry.plan(5, 2), usize::MAX).await;
        let text = run.unwrap().unwrap_err().to_string();
        assert!(text.contains("no positions") && text.contains("`latest_timestamp` to null"), "{text}");
        assert!(store.times().is_empty());
    });
}

#[test]
fn positions_that_cannot_be_read_or_written_fail_the_run_and_name_the_file() {
    runtime().block_on(async {
        let (mut entry, stream) = (Entry::new(), Stream::new(5, 0.0));
        let store = stream_store(&stream, 5, 0.0);
        let pipeline = stream_pipeline(&store);
        let new = entry.path().join("positions.new");
        std::os::unix::fs::symlink("/dev/full", &new).unwrap();
        let fault = entry.run(&pipeline, &entry.plan(5, 2), usize::MAX).await.unwrap().unwrap_err();
        assert!(fault.to_string().contains("positions.json") && store.times().len() == 60, "{fault}");
        std::fs::remove_file(new).unwrap();
        let ended = entry.finish(&pipeline, &entry.plan(5, 2)).await;
        assert_eq!(ended.counts.sent, 60, "interrupted parts are counted once");
        assert!(store.times().values().all(|times| *times == 1), "the run was resumed");
        files::replace(&entry.path().join("positions.json"), b"{").unwrap();
        let fault = entry.run(&pipeline, &entry.plan(5, 2), usize::MAX).await.unwrap().unwrap_err();
        assert!(fault.to_string().contains("contains no positions"), "{fault}");
    });
}

#[test]
fn two_entries_never_share_the_positions_in_a_stream_but_an_edited_entry_keeps_its_own() {
    runtime().block_on(async {
        let (mut entry, stream) = (Entry::new(), Stream::new(5, 0.0));
        let store = stream_store(&stream, 5, 0.0);
        let pipeline = stream_pipeline(&store);
        let of = |entry: &Entry, name: &str, all: Option<&[&str]>| Plan {
            entry: name.into(),
            siblings: all.map(|all| all.iter().map(|name| (*name).to_owned()).collect()),
            ..entry.plan(5, 2)
        };
        entry.finish(&pipeline, &of(&entry, "a", Some(&["a", "b"]))).await;
        let sent = store.times().len();
        for since in [None, entry.since] {
            entry.since = since;
            for all in [Some(&["a", "b"][..]), None] {
                let run = entry.run(&pipeline, &of(&entry, "b", all), usize::MAX).await;
                let fault = run.unwrap().unwrap_err().to_string();
                assert!(fault.contains("another entry reads this stream into the same sink"), "{fault}");
            }
        }
        (0..4).for_each(|_| stream.add());
        let run = entry.finish(&pipeline, &of(&entry, "edited", Some(&["edited"]))).await;
        assert_eq!((run.counts.sent, store.times().len()), (4, sent + 4));
    });
}

/// Withdraws a consent with each record.
struct OptsOut;

impl Mapping for OptsOut {
    fn map(&self, record: &Record) -> Mapped {
        let body = record.body.clone();
        Mapped::Send(Outgoing { opts_out: true, ..Outgoing::plain(vec![body]) })
    }
}

#[test]
fn a_mass_opt_out_in_a_stream_is_compared_with_the_number_of_events_read() {
    runtime().block_on(async {
        let (mut entry, stream) = (Entry::new(), Stream::new(5, 0.0));
        let store = stream_store(&stream, 5, 0.0);
        let pipeline = support::pipeline(stream.clone(), OptsOut, store.clone(), stream.clone());
        entry.finish(&pipeline, &entry.plan(5, 2)).await;
        let before = position::load(entry.path()).await.unwrap();
        (0..1000).for_each(|_| stream.add());
        let few = entry.finish(&pipeline, &entry.plan(5, 2)).await;
        assert_eq!(few.counts.opt_outs, 1000, "a list of a thousand is never stopped");
        let after = position::load(entry.path()).await.unwrap();
        assert_ne!(before, after);
        (0..1001).for_each(|_| stream.add());
        let fault = entry.run(&pipeline, &entry.plan(5, 2), usize::MAX).await.unwrap().unwrap_err();
        assert!(fault.to_string().contains("of 1001 records would be opted out"), "{fault}");
        assert_eq!(position::load(entry.path()).await.unwrap(), after);
    });
}

/// The source adds two events whenever one is read.
#[test]
fn a_stream_that_grows_faster_than_it_is_read_ends_its_run_at_the_events_after_its_start() {
    #[derive(Clone)]
    struct Endless(Instant);
    impl Source for Endless {
        fn now(&self) -> DateTime<Utc> {
            *NOON + self.0.elapsed()
        }
        fn paging(&self) -> Paging<'_> {
            Paging::Shards(self)
        }
        fn scope(&self) -> Scope {
            Scope::Positions
        }
    }
    impl ShardPaging for Endless {
        fn shards(&self) -> BoxFuture<'_, Result<Vec<Shard>, Fault>> {
            Box::pin(async { Ok(vec![Shard { id: "0".into(), parents: vec![] }]) })
        }
        fn read<'a>(
            &'a self,
            _: &'a str,
            after: Option<&'a Cursor>,
            _: usize,
        ) -> BoxFuture<'a, Result<ShardPage, Fault>> {
            let event: u64 = after.map_or(0, |after| after.0.parse().unwrap());
            let record = Record {
                key: event.to_string().into(),
                changed: Some(*NOON + Duration::from_secs(2 * event) - Duration::from_secs(60)),
                status: "event".into(),
                deleted: false,
                unreadable: None,
                body: to_raw_value(&[event, 0]).unwrap().into(),
            };
            let next = Next::More(Cursor((event + 1).to_string()));
            Box::pin(async move {
                sleep(Duration::from_secs(1)).await;
                Ok(ShardPage { records: vec![record], next, at: Source::now(self) })
            })
        }
    }
    runtime().block_on(async {
        let (mut entry, stream) = (Entry::new(), Endless(Instant::now()));
        let store = support::Store::of(stream.clone(), Duration::from_millis(1), 1, 0.0);
        let clock = Stream { begun: stream.0, ..Stream::new(1, 0.0) };
        let pipeline = support::pipeline(stream, AsItIs, store.clone(), clock);
        let first = entry.finish(&pipeline, &entry.plan(5, 2)).await;
        assert!((28..35).contains(&first.counts.sent), "{}", first.counts);
        sleep(Duration::from_secs(20)).await;
        let next = entry.finish(&pipeline, &entry.plan(5, 2)).await;
        assert!(next.counts.sent > 5 && store.times().values().all(|times| *times == 1), "{}", next.counts);
    });
}
