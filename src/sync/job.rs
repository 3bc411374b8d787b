//! One run of one list, from its window to its outcome: pages are read by several workers, mapped, batched across
//! pages and delivered, all in one task.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use log::{debug, info};
use tokio::time::{Instant, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    batcher::Batcher,
    walk::{Ask, LAG, Rows, Walk},
};
use crate::{
    base::{
        fault::Fault,
        record::{Mapped, Payload, Reason},
        time,
        window::{Page, Window},
    },
    mapping::Mapping,
    sink::Sink,
    source::Source,
};

/// The third parties of one list.
pub struct Ends {
    pub source: Box<dyn Source>,
    pub mapping: Box<dyn Mapping>,
    pub sink: Box<dyn Sink>,
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// For the log.
    pub list_id: String,
    /// Nothing: a full load. Else what changed after this time.
    pub since: Option<DateTime<Utc>>,
    /// Rows left out of a full load, counted from the oldest change.
    pub start_offset: u64,
    /// Rows a page, and the most payloads a batch; at least 1.
    pub items_per_request: usize,
    /// Pages read at once; at least 1.
    pub worker_count: usize,
}

/// How a run ended when nothing failed.
#[derive(Debug)]
pub enum Ended {
    /// Everything in the window is delivered or counted.
    Finished(Outcome),
    /// A stop was asked for; what was read is delivered.
    Stopped(Counts),
}

#[derive(Debug)]
pub struct Outcome {
    /// The end of the window, by the source's clock: everything changed up to then is delivered.
    pub until: DateTime<Utc>,
    pub elapsed: Duration,
    pub counts: Counts,
}

/// What became of the rows.
#[derive(Debug, Default)]
pub struct Counts {
    /// Rows of the window that were to be read, when it was opened.
    pub window: u64,
    /// Rows of the window that `start_offset` left out.
    pub left_out: u64,
    /// Different records read.
    pub read: u64,
    /// Records that the sink accepted.
    pub sent: u64,
    pub skipped: BTreeMap<Reason, u64>,
    pub rejected: BTreeMap<Reason, u64>,
}

/// A full page of progress news a minute is too much, none in an hour too little.
const PROGRESS: Duration = Duration::from_secs(30);

/// Runs one list. After `stop` no new page is asked for and pages under way are dropped.
pub async fn run(ends: &Ends, plan: &Plan, stop: &CancellationToken) -> Result<Ended, Fault> {
    let start = Instant::now();
    let until = tokio::select! {
        time = ends.source.time() => time? - TimeDelta::seconds(1), // the current second is still filling
        () = stop.cancelled() => return Ok(Ended::Stopped(Counts::default())),
    };
    if let Some(since) = plan.since.filter(|&since| since > until) {
        let (since, until) = (time::spoken(since), time::spoken(until));
        return Err(Fault::list(format!(
            "the source's clock says {until}, and the timestamp {since} is later"
        ))
        .hint("set `latest_timestamp` to an earlier time, or to null for a full load"));
    }
    // A change may become visible some time after its time stamp: what continues an earlier window overlaps it.
    let since = plan.since.map(|since| since - TimeDelta::seconds(1 + LAG.as_secs() as i64));
    let window = Window { since, until };
    let counts = Run::new(ends, plan, window).finish(stop).await?;
    Ok(match counts {
        (Rested::Done, counts) => Ended::Finished(Outcome { until, elapsed: start.elapsed(), counts }),
        (Rested::Cut, counts) => Ended::Stopped(counts),
    })
}

/// Whether the walk came to its end.
enum Rested {
    Done,
    Cut,
}

struct Run<'a> {
    ends: &'a Ends,
    plan: &'a Plan,
    window: Window,
    walk: Walk,
    start: Instant,
    seen: HashSet<u128>,
    batcher: Batcher,
    counts: Counts,
}

type Reads<'a> = FuturesUnordered<BoxFuture<'a, (Ask, Result<Page, Fault>)>>;
type Deliveries<'a> = FuturesUnordered<BoxFuture<'a, Result<u64, Fault>>>;

impl<'a> Run<'a> {
    fn new(ends: &'a Ends, plan: &'a Plan, window: Window) -> Self {
        let start_offset = if window.since.is_none() { plan.start_offset } else { 0 };
        Run {
            ends,
            plan,
            window,
            walk: Walk::new(plan.items_per_request, plan.worker_count, start_offset),
            start: Instant::now(),
            seen: HashSet::new(),
            batcher: Batcher::new(ends.sink.limits().records.min(plan.items_per_request)),
            counts: Counts::default(),
        }
    }

    async fn finish(mut self, stop: &CancellationToken) -> Result<(Rested, Counts), Fault> {
        let (mut reads, mut deliveries) = (Reads::new(), Deliveries::new());
        let mut progress = interval_at(Instant::now() + PROGRESS, PROGRESS);
        let mut stopping = false;
        loop {
            if !stopping {
                self.ask(&mut reads);
            }
            let no_more_rows = reads.is_empty() && (stopping || self.walk.finished());
            self.send(&mut deliveries, no_more_rows);
            if reads.is_empty() && deliveries.is_empty() && (stopping || self.walk.finished()) {
                break;
            }
            let held = self.walk.held().filter(|until| self.start.elapsed() < *until);
            tokio::select! {
                biased;
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    reads.clear();
                }
                Some(sent) = deliveries.next() => self.counts.sent += sent?,
                Some((ask, page)) = reads.next() => self.take(ask, page?),
                () = sleep_until(self.start + held.unwrap_or_default()), if held.is_some() => {}
                _ = progress.tick() => self.report(),
            }
        }
        if !self.walk.finished() {
            return Ok((Rested::Cut, self.counts));
        }
        self.check()?;
        Ok((Rested::Done, self.counts))
    }

    /// Keeps the workers busy, unless the sink is so slow that their rows would pile up.
    fn ask(&mut self, reads: &mut Reads<'a>) {
        let limits = self.ends.sink.limits();
        let (source, window) = (&self.ends.source, self.window);
        while reads.len() < self.plan.worker_count
            && self.batcher.waiting() <= self.batcher.size() * limits.in_flight
        {
            let Some(ask) = self.walk.ask(self.start.elapsed()) else { break };
            reads.push(Box::pin(async move { (ask, source.read(&window, ask.span).await) }));
        }
    }

    /// Fills the sink's places with full batches; with the last, smaller one only when no page is under way or left.
    fn send(&mut self, deliveries: &mut Deliveries<'a>, no_more_rows: bool) {
        let sink = &self.ends.sink;
        while deliveries.len() < sink.limits().in_flight {
            let batch = if no_more_rows { self.batcher.rest() } else { self.batcher.full() };
            let Some(batch) = batch else { break };
            deliveries.push(Box::pin(deliver(sink.as_ref(), batch)));
        }
    }

    fn take(&mut self, ask: Ask, page: Page) {
        debug!("list {:?}: {} members from {}.", self.plan.list_id, page.records.len(), ask.span.offset);
        let keys = page.records.iter().map(|record| fingerprint(&record.key)).collect();
        let rows = self.walk.answered(ask, keys, page.total, self.start.elapsed());
        (self.counts.window, self.counts.left_out) = (self.walk.rows(), self.walk.left_out());
        if rows == Rows::Leave {
            return;
        }
        for record in page.records {
            if !self.seen.insert(fingerprint(&record.key)) {
                continue;
            }
            self.counts.read += 1;
            match self.ends.mapping.map(&record) {
                Mapped::Send(payload) => self.batcher.push(payload),
                Mapped::Skip(reason) => *self.counts.skipped.entry(reason).or_default() += 1,
                Mapped::Reject(reason) => *self.counts.rejected.entry(reason).or_default() += 1,
            }
        }
    }

    fn report(&self) {
        let Counts { window, read, sent, .. } = self.counts;
        info!("list {:?}: {read} of {window} members read, {sent} sent.", self.plan.list_id);
    }

    /// Rows that changed meanwhile have left the window and come with the next incremental sync; any other row that
    /// the source counts must have been seen.
    fn check(&self) -> Result<(), Fault> {
        let (read, least) = (self.counts.read, self.walk.least());
        if read >= least {
            return Ok(());
        }
        Err(Fault::list(format!("the source counts {least} members, but listed only {read} different ones"))
            .hint("nothing is recorded as delivered; the list runs again"))
    }
}

async fn deliver(sink: &dyn Sink, batch: Vec<Payload>) -> Result<u64, Fault> {
    sink.deliver(&batch).await.map(|()| batch.len() as u64)
}

/// 128 bits instead of the key: a list of a million members is remembered in some 30 MB, and two keys that share
/// them are not to be expected.
fn fingerprint(key: &str) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, key).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}
