//! One pass over one window of a list. It requests the pages of all listings concurrently, batches their records across
//! pages and delivers them. Pages are read and mapped in tasks of their own; everything else is one task. The pass ends
//! when the fate of every record is known.
//!
//! Four parts own the state of a pass. The reader owns the listings, the intake the records and their fates,
//! the dispatch the records on their way to the sink, and the guard the limits that can stop the pass. The pass
//! itself only moves data between them.

mod check;
mod dispatch;
mod early;
mod guard;
mod intake;
mod moves;
mod reader;
mod requests;
mod results;
mod unclosed;
mod window;

use std::{collections::VecDeque, time::Duration};

use futures::StreamExt;
use tokio::time::{Instant, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;

pub use self::guard::Baseline;
use self::{
    check::Explained,
    dispatch::{Deliveries, Dispatch},
    early::EarlyRequest,
    guard::Guard,
    intake::Intake,
    reader::Reader,
    requests::{Reads, Sizes},
};
use super::{
    clocks::Noticed,
    paging::{
        listing::{ListingProgress, Pace},
        shards,
    },
    plan::{Pipeline, Plan},
};
use crate::{
    base::fault::Fault,
    store::{
        checkpoint::{Checkpoint, Header, Line},
        seen::Seen,
    },
};

/// Minimum interval between two reports of the progress.
const OFTEN: Duration = Duration::from_secs(1);
/// Interval between progress lines in the log: frequent enough to show progress within an hour, without
/// filling a page per minute.
const PROGRESS: Duration = Duration::from_secs(30);

/// The context that all parts of a pass share.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub pipeline: &'a Pipeline,
    pub plan: &'a Plan,
}

/// The starting point of a pass.
pub struct Beginning<'a> {
    pub header: &'a Header,
    /// Pages that were settled before an interruption.
    pub lines: &'a [Line],
    pub baseline: Baseline<'a>,
    /// Whether to skip payloads that the sink already has.
    pub holds_back: bool,
    /// Whether the list has no ledger.
    pub unrecorded: bool,
    /// Observations of earlier passes.
    pub noticed: Noticed,
}

pub struct Pass<'a> {
    context: Context<'a>,
    reader: Reader<'a>,
    intake: Intake<'a>,
    dispatch: Dispatch<'a>,
    guard: Guard<'a>,
    start: Instant,
    /// Seconds that the run took before this pass, and this pass before an interruption.
    seconds: f64,
    /// Whether this is the first pass of a full load.
    first_of_full: bool,
    unrecorded: bool,
    /// Early requests of the check that are not sent yet; `None` until the listings are finished.
    early: Option<VecDeque<EarlyRequest>>,
    /// The sizes of the list, if they were requested before the check.
    sizes: Option<Sizes>,
    /// Whether the guard has stopped the pass, since most records were rejected.
    rejects_most: bool,
    /// The reason why the pass can't finish. The records read so far are delivered nevertheless.
    fault: Option<Fault>,
}

impl<'a> Pass<'a> {
    /// Creates a pass. Returns `None` if a line of the checkpoint can't be decoded.
    pub fn new(
        context: Context<'a>,
        checkpoint: &'a mut Checkpoint,
        beginning: Beginning<'a>,
    ) -> Option<Self> {
        let Context { pipeline, plan } = context;
        let Beginning { header, lines, baseline, holds_back, unrecorded, noticed } = beginning;
        let (listings, seen) = listings(context, header, lines)?;
        let mut counts = header.counts.clone();
        seen.iter().for_each(|seen| seen.count(&mut counts));
        let mut seconds = header.seconds;
        if let Some(last) = lines.last() {
            (counts.read_twice, seconds) = (last.read_twice, last.seconds);
            counts.fields.clone_from(&last.fields);
        }
        // A source that does not filter by time may date its records arbitrarily.
        let read = seen.iter().filter(|_| pipeline.reads_changes()).filter_map(Seen::newest).max();
        let start = Instant::now();
        let mut reader = Reader::new(context, listings, header.server, start);
        (reader.confirmed, reader.before) = (!lines.is_empty(), header.before);
        let mut intake = Intake::new(context, seen, counts, baseline.known.is_some(), holds_back);
        intake.noticed = Noticed { newest: read.max(header.newest), ..Noticed::default() };
        intake.noticed.add(noticed);
        // Repeated rows count only where the source counts rows.
        for line in lines.iter().filter(|line| line.progress.window.is_some()) {
            let rows = Seen::default().decode(&line.rows, &line.names)?;
            intake.note_repeats(line.walk, rows.iter().map(|row| row.key));
        }
        Some(Pass {
            context,
            dispatch: Dispatch::new(context, reader.listings.len(), checkpoint),
            reader,
            intake,
            guard: Guard::new(context, baseline, header.counts.clone()),
            start,
            seconds,
            first_of_full: plan.since.is_none() && header.pass == 1,
            unrecorded,
            early: None,
            sizes: None,
            rejects_most: false,
            fault: None,
        })
    }

    /// Reads all listings to their ends, compares the records with the source's counts, and delivers them
    /// all. Returns `None` if a stop came first; the records read until then are delivered as well.
    ///
    /// # Errors
    ///
    /// The fault that prevents the pass from finishing, of the source, the sink, the guard or a file. What
    /// was settled is in the checkpoint.
    pub async fn read_all(&mut self, stop: &CancellationToken) -> Result<Option<Explained>, Fault> {
        self.pump(stop, false).await?;
        if stop.is_cancelled() || !self.reader.finished() {
            return Ok(None);
        }
        let explained = tokio::select! {
            explained = self.check() => Some(explained?),
            () = stop.cancelled() => None,
        };
        self.pump(stop, true).await?;
        // After a stop, the dispatch keeps what the guard could not judge anymore.
        let explained = explained.filter(|_| self.dispatch.is_empty());
        if matches!(explained, Some(Ok(()))) {
            self.check_rejects(true)?;
            self.close().await?;
        }
        Ok(explained)
    }

    /// Reads, delivers and settles. With `flush`, the last, smaller batch is sent as well.
    async fn pump(&mut self, stop: &CancellationToken, flush: bool) -> Result<(), Fault> {
        let (mut reads, mut deliveries) = (Reads::new(), Deliveries::new());
        let mut reported = Instant::now();
        let mut progress = interval_at(Instant::now() + PROGRESS, PROGRESS);
        let mut stopping = stop.is_cancelled();
        let slots = self.context.pipeline.in_flight();
        loop {
            self.dispatch.write_dead_letters().await?;
            self.check_rejects(false)?;
            self.intake.write_notes(false).await?;
            self.settle().await?;
            if reported.elapsed() >= OFTEN {
                reported = Instant::now();
                self.report_progress(false);
            }
            if !stopping {
                self.reader.request(&mut reads, &self.dispatch, stop);
                self.check_early(&mut reads);
            }
            self.begin_record().await?;
            if self.fault.is_some() {
                stopping = true;
                reads.clear();
                // Deliver all records read so far.
                self.reader.take_kept().into_iter().for_each(|page| self.take_page(page));
            }
            self.guard.check_consent(&self.intake.counts, self.size(), &self.dispatch).await?;
            let unsure = self.guard.is_unsure(&self.intake.counts);
            if unsure && !stopping && self.guard.wants_size() {
                reads.push(requests::size_of_list(self.context));
            }
            let finished = self.reader.finished();
            let read_out = reads.is_empty() && (stopping || (finished && self.has_checked_early()));
            // Pages may be waiting for records in a batch that is not full.
            let stuck = reads.is_empty() && deliveries.is_empty() && !finished;
            // Records that were read but not sent at a stop are read again by the next run.
            if !unsure {
                self.dispatch.send(&mut deliveries, stuck || (read_out && (flush || stopping)));
            }
            if read_out && deliveries.is_empty() {
                self.intake.write_notes(true).await?;
                return self.fault.take().map_or(Ok(()), Err);
            }
            self.reader.report_waits();
            let wake = self.reader.wakes();
            let due = self.dispatch.due().filter(|_| !unsure && deliveries.len() < slots);
            if reads.is_empty() && deliveries.is_empty() && wake.or(due).is_none() {
                let hint = "this is a bug in importer, please report it; the next run continues from here";
                return Err(Fault::list("run stalled: nothing in flight and not finished").hint(hint));
            }
            tokio::select! {
                biased;
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    reads.clear();
                }
                Some(delivered) = deliveries.next() => self.delivered(delivered?),
                Some((index, generation, answer)) = reads.next() => {
                    self.take(index, generation, answer, &mut reads)?;
                }
                () = sleep_until(wake.unwrap_or(self.start)), if wake.is_some() => self.reader.has_rested(),
                () = sleep_until(due.unwrap_or(self.start)), if due.is_some() => {}
                _ = progress.tick() => self.report_progress(true),
            }
        }
    }

    /// Creates the ledger of the list before its first records are delivered.
    async fn begin_record(&mut self) -> Result<(), Fault> {
        if self.unrecorded && self.reader.confirmed {
            self.context.plan.records.begin_ledger(self.archived_since()).await?;
            self.unrecorded = false;
        }
        Ok(())
    }
}

/// Opens the listings of a pass, or resumes those of an interrupted one. Returns the listings, and for each
/// of them the records read so far.
fn listings(
    context: Context<'_>,
    header: &Header,
    lines: &[Line],
) -> Option<(Vec<ListingProgress>, Vec<Seen>)> {
    let Context { pipeline, plan } = context;
    let pace = Pace {
        size: plan.items_per_request,
        workers: plan.worker_count,
        chained: !pipeline.counts_rows(),
        server: header.server,
        totals_wrong: header.totals_wrong,
    };
    let (mut listings, mut records) = (Vec::new(), Vec::new());
    for (walk, window) in header.windows.iter().enumerate() {
        let of_walk: Vec<&Line> = lines.iter().filter(|line| line.walk == walk).collect();
        let mut seen = Seen::default();
        let listing = match header.shards.get(walk) {
            None => ListingProgress::new(*window, pace),
            Some(shard) => ListingProgress::new(*window, pace)
                .of_shard(shard.clone(), shards::parents(&header.shards, shard)),
        };
        listings.push(listing.resume(&of_walk, &mut seen)?);
        records.push(seen);
    }
    Some((listings, records))
}
