//! What the tests of the engine share: a list that changes, a sink that fails, and runs that are cut off.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    pin::pin,
    sync::{
        Arc, LazyLock, Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use futures::future::{BoxFuture, poll_fn};
use serde_json::value::to_raw_value;
use tokio::{
    runtime::{Builder, Runtime},
    task::spawn_blocking,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    plan::{Ended, Pipeline, Plan},
    run,
};
pub use crate::source::Scope;
use crate::{
    base::{
        clock::Clock,
        events::RunEvents,
        fault::Fault,
        identity::{DeliveryId, ListId},
        record::{Mapped, Outgoing, Payload, Record},
        secret::Secret,
        time,
        window::{Cursor, CursorPage, Listing, Window},
    },
    mapping::Mapping,
    sink::{Delivery, Prepared, Rejection, Settles, Sink, SinkSpec},
    source::{CursorPaging, Paging, Source},
    store::{
        FolderStore,
        records::{Databases, Records},
    },
};

pub const ROWS: u64 = 150;
pub static NOON: LazyLock<DateTime<Utc>> = LazyLock::new(|| time::parse("2026-11-21T12:00:00").unwrap());

/// A list of which some rows change once. Its clock follows tokio's.
#[derive(Clone, Copy)]
pub struct List {
    pub begun: Instant,
    /// Unit of the time that reading and delivering take.
    pub tick: Duration,
    /// The rows that change, each with the number of ticks after the start.
    pub changes: &'static [(u64, u32)],
    /// Whether changes become visible some time after their time stamps, which are in the first window. The
    /// rows then keep their place in the listing.
    pub late: bool,
}

impl List {
    /// Returns 0 before the row's change, and 1 after it.
    pub fn version(&self, row: u64) -> u64 {
        self.change(row).is_some().into()
    }

    /// Returns the time of the row's change, since the start, if it has changed by now.
    pub fn change(&self, row: u64) -> Option<Duration> {
        let (_, ticks) = self.changes.iter().find(|(of, _)| *of == row)?;
        Some(self.tick * *ticks).filter(|at| *at <= self.begun.elapsed())
    }

    pub fn changed(&self, row: u64) -> DateTime<Utc> {
        let before = *NOON - TimeDelta::hours(2) + TimeDelta::seconds(row as i64);
        match self.change(row) {
            None => before,
            Some(_) if self.late => *NOON - TimeDelta::seconds(30),
            Some(change) => *NOON + change,
        }
    }

    /// Returns the rows that are in a window, as they are now.
    pub fn within(&self, window: &Window) -> Vec<u64> {
        let within = |row: &u64| {
            window.listing == Listing::Listed
                && window.since.is_none_or(|since| self.changed(*row) > since)
                && window.until.is_none_or(|until| self.changed(*row) <= until)
        };
        (0..ROWS).filter(within).collect()
    }

    pub fn record(&self, row: u64) -> Record {
        Record {
            key: row.to_string().into(),
            changed: Some(self.changed(row)),
            status: "subscribed".into(),
            deleted: false,
            unreadable: None,
            body: to_raw_value(&[row, self.version(row)]).unwrap().into(),
        }
    }
}

impl Clock for List {
    fn now(&self) -> DateTime<Utc> {
        *NOON + TimeDelta::from_std(self.begun.elapsed()).unwrap()
    }
}

/// A clock that does not move.
pub struct Noon;

impl Clock for Noon {
    fn now(&self) -> DateTime<Utc> {
        *NOON
    }
}

/// A list that is read by cursor, oldest change first.
#[derive(Clone)]
pub struct Feed {
    pub list: List,
    /// Whether its pages report a total.
    pub counts: bool,
    /// A row that is counted and not listed, in this many listings.
    pub hidden: Option<u64>,
    pub hides: Arc<Mutex<u32>>,
    /// A row that is listed and counted twice.
    pub twin: Option<u64>,
    /// The windows that were read.
    pub windows: Arc<Mutex<Vec<Window>>>,
}

impl Feed {
    pub fn new(changes: &'static [(u64, u32)], counts: bool) -> Self {
        let list = List { begun: Instant::now(), tick: Duration::from_millis(500), changes, late: false };
        Feed { list, counts, hidden: None, hides: Arc::default(), twin: None, windows: Arc::default() }
    }
}

impl Source for Feed {
    fn now(&self) -> DateTime<Utc> {
        Clock::now(&self.list)
    }

    fn paging(&self) -> Paging<'_> {
        Paging::Cursor(self)
    }

    fn scope(&self) -> Scope {
        Scope::Changes
    }
}

impl CursorPaging for Feed {
    fn follow<'a>(
        &'a self,
        window: &'a Window,
        cursor: Option<&'a Cursor>,
        count: usize,
    ) -> BoxFuture<'a, Result<CursorPage, Fault>> {
        let place = |row: &u64| (self.list.changed(*row), *row);
        let after: Option<(DateTime<Utc>, u64)> =
            cursor.map(|cursor| serde_json::from_str(&cursor.0).unwrap());
        if after.is_none() {
            self.windows.lock().unwrap().push(*window);
        }
        let mut rows = self.list.within(window);
        rows.sort_by_key(place);
        let twins = rows.iter().filter(|row| Some(**row) == self.twin).count();
        let total = self.counts.then_some((rows.len() + twins) as u64);
        let hides = self.hidden.filter(|_| *self.hides.lock().unwrap() > 0);
        rows.retain(|row| after.is_none_or(|after| place(row) > after) && Some(*row) != hides);
        let more = rows.len() > count;
        rows.truncate(count);
        let next =
            rows.last().filter(|_| more).map(|row| Cursor(serde_json::to_string(&place(row)).unwrap()));
        if next.is_none() {
            let mut hides = self.hides.lock().unwrap();
            *hides = hides.saturating_sub(1);
        }
        let twice = rows.iter().filter(|row| Some(**row) == self.twin);
        let records = rows.iter().chain(twice).map(|row| self.list.record(*row)).collect();
        let page = CursorPage { records, next, total, at: Source::now(self) };
        Box::pin(async move {
            sleep(self.list.tick * (4 + rows.len() as u32 * 13 % 7)).await;
            Ok(page)
        })
    }
}

/// The same list with another scope.
pub struct Scoped(pub Feed, pub Scope);

impl Source for Scoped {
    fn now(&self) -> DateTime<Utc> {
        Source::now(&self.0)
    }

    fn paging(&self) -> Paging<'_> {
        Paging::Cursor(&self.0)
    }

    fn scope(&self) -> Scope {
        self.1
    }
}

pub struct AsItIs;

impl Mapping for AsItIs {
    fn map(&self, record: &Record) -> Mapped {
        Mapped::Send(Outgoing::plain(vec![record.body.clone()]))
    }
}

/// The deliveries that fail.
#[derive(Clone, Copy)]
pub enum Failing {
    /// This share of them; half of these after the sink accepted the batch.
    Share(f64),
    /// The delivery with this number, from 1; if `accepted`, only its answer is lost.
    Once { number: usize, accepted: bool },
}

/// A row and its version.
pub type Version = (u64, u64);

pub fn version(prepared: &Prepared) -> Version {
    serde_json::from_slice(&prepared.bytes).unwrap()
}

/// A sink, with the versions that it has accepted, the latest last.
#[derive(Clone)]
pub struct Store<L> {
    /// The source of the records.
    pub list: L,
    /// Unit of the time that a delivery takes.
    pub tick: Duration,
    pub accepted: Arc<Mutex<Vec<Version>>>,
    pub deliveries: Arc<AtomicUsize>,
    pub random: Arc<Mutex<Rng>>,
    pub failing: Failing,
    /// Rows for which a batch is refused as a whole, without naming them.
    pub refused: &'static [u64],
    /// Rows that the sink would refuse.
    pub unfit: &'static [u64],
    /// Rows that the sink rejects by themselves.
    pub rejected: &'static [u64],
    /// Rows that the sink has already.
    pub held: &'static [u64],
    /// Share of the records that the sink asks to send again, each time.
    pub throttled: f64,
    pub settles: Settles,
    pub linger: Option<Duration>,
    /// Versions that were delivered since the last close, if the sink settles then.
    pub open: Arc<Mutex<Vec<Version>>>,
    /// Sizes of the batches.
    pub sizes: Arc<Mutex<Vec<usize>>>,
}

impl Store<List> {
    /// Creates a sink for rows that do not change.
    pub fn new(seed: u64, share: f64) -> Self {
        let tick = Duration::from_millis(1);
        Store::of(List { begun: Instant::now(), tick, changes: &[], late: false }, tick, seed, share)
    }
}

impl<L> Store<L> {
    /// Creates a sink that fails this share of its deliveries.
    pub fn of(list: L, tick: Duration, seed: u64, share: f64) -> Self {
        Store {
            list,
            tick,
            accepted: Arc::default(),
            deliveries: Arc::default(),
            random: Arc::new(Mutex::new(Rng::with_seed(seed))),
            failing: Failing::Share(share),
            refused: &[],
            unfit: &[],
            rejected: &[],
            held: &[],
            throttled: 0.0,
            settles: Settles::EachBatch,
            linger: None,
            open: Arc::default(),
            sizes: Arc::default(),
        }
    }

    pub fn has(&self, row: u64) -> bool {
        self.accepted.lock().unwrap().iter().any(|(of, _)| *of == row)
    }

    /// Returns how often each version of a row was accepted.
    pub fn times(&self) -> BTreeMap<Version, usize> {
        let mut times = BTreeMap::new();
        self.accepted.lock().unwrap().iter().for_each(|version| *times.entry(*version).or_default() += 1);
        times
    }
}

impl<L: Send + Sync> Sink for Store<L> {
    fn spec(&self) -> SinkSpec {
        let mut spec = SinkSpec::new(Secret::new(""), String::new(), 10, 3);
        (spec.settles, spec.limits.linger) = (self.settles, self.linger);
        spec.retries = self.throttled > 0.0;
        spec
    }

    fn prepare(&self, payload: &Payload) -> Result<Prepared, Rejection> {
        let prepared = Prepared::new(&payload.key, payload.body.as_ref().unwrap().get().to_owned());
        match self.unfit.contains(&version(&prepared).0) {
            true => Err(Rejection::new("unfit")),
            false => Ok(prepared),
        }
    }

    fn deliver<'a>(&'a self, batch: &'a [Prepared]) -> BoxFuture<'a, Result<Delivery, Fault>> {
        Box::pin(async move {
            self.sizes.lock().unwrap().push(batch.len());
            let (wait, early, failing, accepts) = self.fails();
            if batch.iter().any(|prepared| self.refused.contains(&version(prepared).0)) {
                sleep(self.tick * wait).await;
                let problem = Fault::list("one of the records is refused").problem().clone();
                return Err(Fault::TooLarge(problem));
            }
            let delivery = self.outcome(batch);
            let named: BTreeSet<usize> =
                delivery.rejected.iter().map(|(at, _)| *at).chain(delivery.retry.iter().copied()).collect();
            let accept = || {
                let accepted = batch.iter().enumerate().filter(|(at, _)| !named.contains(at));
                let store = if self.settles == Settles::AtClose { &self.open } else { &self.accepted };
                store.lock().unwrap().extend(accepted.map(|(_, prepared)| version(prepared)));
            };
            // A delivery that is dropped in flight may have been accepted, or not.
            if accepts && early {
                accept();
            }
            sleep(self.tick * wait).await;
            if accepts && !early {
                accept();
            }
            if failing { Err(Fault::list("the sink failed")) } else { Ok(delivery) }
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            let (wait, early, failing, accepts) = self.fails();
            let accept = || {
                let open = std::mem::take(&mut *self.open.lock().unwrap());
                self.accepted.lock().unwrap().extend(open);
            };
            if accepts && early {
                accept();
            }
            sleep(self.tick * wait).await;
            if accepts && !early {
                accept();
            }
            if failing { Err(Fault::list("the sink failed")) } else { Ok(()) }
        })
    }
}

impl<L> Store<L> {
    /// Returns how long the next call takes in ticks, whether it accepts at its begin, whether it fails, and
    /// whether it accepts at all.
    fn fails(&self) -> (u32, bool, bool, bool) {
        let delivery = self.deliveries.fetch_add(1, Ordering::Relaxed) + 1;
        let mut random = self.random.lock().unwrap();
        let (failing, accepts) = match self.failing {
            Failing::Share(share) => (random.f64() < share, random.bool()),
            Failing::Once { number, accepted } => (number == delivery, accepted),
        };
        (random.u32(5..40), random.bool(), failing, accepts || !failing)
    }

    /// Returns which payloads of a batch are rejected, and which are to be sent again.
    fn outcome(&self, batch: &[Prepared]) -> Delivery {
        let mut delivery = Delivery::default();
        let mut random = self.random.lock().unwrap();
        for (at, prepared) in batch.iter().enumerate() {
            if self.throttled > 0.0 && random.f64() < self.throttled {
                delivery.retry.push(at);
            } else if self.rejected.contains(&version(prepared).0) {
                delivery.rejected.push((at, Rejection::new("not_this_one")));
            } else if self.held.contains(&version(prepared).0) {
                delivery.unchanged.push(at);
            }
        }
        delivery
    }
}

/// Returns the records in a folder. Their databases stay open while a plan for this folder is in use; then, what
/// waits in memory is lost, as after a crash.
pub fn records(folder: &Path, expire: Option<TimeDelta>) -> Arc<Records> {
    static POOLS: Mutex<BTreeMap<PathBuf, Weak<Databases>>> = Mutex::new(BTreeMap::new());
    let mut pools = POOLS.lock().unwrap();
    let pool = pools.get(folder).and_then(Weak::upgrade).unwrap_or_default();
    pools.insert(folder.to_owned(), Arc::downgrade(&pool));
    Arc::new(Records::new(&pool, folder, "destination", 1, expire))
}

pub fn plan(folder: &Path, size: usize, workers: usize) -> Plan {
    Plan {
        events: RunEvents::default(),
        list_id: "l".into(),
        since: None,
        overlap: TimeDelta::seconds(60),
        start_offset: 0,
        items_per_request: size,
        worker_count: workers,
        entry: "e".into(),
        store: Arc::new(FolderStore::alone(folder)),
        run_fingerprint: "null".into(),
        delivered_before: false,
        reads_archived: true,
        siblings: Some(vec!["e".into()]),
        consent_scope: String::new(),
        allow_mass_change: false,
        records: records(folder, None),
        holds_back: false,
        taken: Arc::default(),
        confirm: None,
    }
}

/// Creates a runtime with one thread, and one more for files: waiting for the latter proves that all work on
/// files is finished.
pub fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).max_blocking_threads(1).build().unwrap()
}

/// Creates a pipeline with batches of ten records at most, without a delivery that another one shares.
pub fn pipeline(
    source: impl Source + 'static,
    mapping: impl Mapping + 'static,
    sink: impl Sink + 'static,
    clock: impl Clock + 'static,
) -> Pipeline {
    let list = ListId { source: "rows".into(), account: None, id: "l".into() };
    Pipeline {
        source: Arc::new(source),
        mapping: Arc::new(mapping),
        spec: sink.spec(),
        sink: Arc::new(sink),
        clock: Arc::new(clock),
        requests: Arc::default(),
        retry: true,
        destination: String::new(),
        delivery: DeliveryId::new(list, "store", None, "d"),
        former: Default::default(),
        references: String::new(),
        notify: None,
    }
}

/// Runs a list, but drops the run after this number of polls. Returns its result; `None` if it was dropped.
pub async fn cut_off(pipeline: &Pipeline, plan: &Plan, polls: usize) -> Option<Result<Ended, Fault>> {
    let stop = CancellationToken::new();
    let ended = {
        let mut running = pin!(run::run(pipeline, plan, &stop));
        let mut polled = 0;
        poll_fn(|context| {
            if polled == polls {
                return Poll::Ready(None);
            }
            polled += 1;
            running.as_mut().poll(context).map(Some)
        })
        .await
    };
    // Work on files ends by itself.
    spawn_blocking(|| {}).await.unwrap();
    ended
}
