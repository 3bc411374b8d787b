//! One pass over one window of a list: pages of both listings are read side by side, mapped, batched across pages and
//! delivered, all in one task. It ends when the fate of every record is known.

mod check;
mod guard;
mod intake;
mod outbox;
mod reader;
mod window;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use log::info;
use tokio::time::{Instant, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;

use self::{check::Explained, intake::Kept, outbox::Deliveries, reader::Answer};
use super::{
    batcher::Batcher,
    clocks::Noticed,
    coverage::Rows,
    deliver::Parcel,
    guard::Brake,
    paging::{
        listing::{Pace, Sweeping},
        offset::Joined,
    },
    plan::{Ends, Plan},
    watermark::Watermark,
    windows::Done,
};
use crate::{
    base::{
        counts::{Counts, REJECTED},
        fault::Fault,
    },
    source::Pages,
    store::{
        cache::Memory,
        checkpoint::{Checkpoint, Header, Line},
        dead_letter::DeadLetter,
        ledger::{self, Ledger},
        progress::{Progress, Server},
        seen::{Seen, repeats as repeated},
    },
};

/// A full page of progress news a minute is too much, none in an hour too little.
const PROGRESS: Duration = Duration::from_secs(30);
pub struct Pass<'a> {
    pub ends: &'a Ends,
    pub plan: &'a Plan,
    pub sweeps: Vec<Sweeping>,
    /// What became of the records, in the whole run up to now.
    counts: Counts,
    checkpoint: &'a mut Checkpoint,
    start: Instant,
    /// Before this pass, and in parts of it before this one.
    seconds: f64,
    watermark: Watermark<(Joined, Progress)>,
    batcher: Batcher<Parcel>,
    /// Newer versions of records whose older one is on its way.
    newer: HashMap<u128, Parcel>,
    /// Rejected records that are to be kept, and whether a page waits for that.
    rejects: Vec<(DeadLetter, bool)>,
    /// What was remembered of the records of the page at hand.
    memory: Memory,
    /// What became of records that were not sent, if it is to be noted.
    notes: Vec<(u128, String)>,
    /// Whether what the sink holds already is not sent again.
    pub holds_back: bool,
    /// Records that this pass has sent, if it is remembered what the sink holds.
    sent: HashSet<u128>,
    /// Whether the end of the window is final: the first answer has confirmed it, or an earlier run has begun the pass.
    confirmed: bool,
    /// Whether the clocks were compared at the first answer.
    compared: bool,
    /// The end of the pass before this one.
    before: Option<DateTime<Utc>>,
    pub noticed: Noticed,
    heavies: u32,
    resting: Option<Instant>,
    /// Since the start, when a page was last found too heavy.
    relieved: Option<Duration>,
    /// The first pass of a full load.
    first_of_full: bool,
    /// Records without a time, which no window contains; they were read from the listing without bounds.
    untimed: HashSet<u128>,
    /// By listing and key: number of rows of one answer that repeat this key.
    repeats: HashMap<(usize, u128), u64>,
    /// Nobody of the list was ever delivered, as far as our record tells.
    pub unrecorded: bool,
    /// `None`: any number of opt-outs and opt-ins may pass.
    pub brake: Option<Brake>,
    /// The ledger before the run, with the known status of each record; `None` if there is no ledger, or no brake.
    pub known: Option<&'a Ledger>,
    /// In the passes before this one, and those of them that the sink had had already.
    opt_outs_before: u64,
    known_before: u64,
    /// Records that the previous passes rejected, by reason.
    rejected_before: BTreeMap<String, u64>,
    opt_ins_before: u64,
    /// Members in the plain listing, whatever the window, once that has been asked for.
    pub listed: Option<u64>,
    /// That is being asked for.
    counting: bool,
    /// Pages that were read during the search for the ends of their listings.
    kept: Vec<Kept>,
    /// Why the pass can't finish. The records that were read are delivered nevertheless.
    fault: Option<Fault>,
    /// End of the last logged wait of a listing, as time since the start.
    waits: Duration,
    /// Limits that the source's answers had shown up to the last page.
    server: Server,
}

type Reads<'a> = FuturesUnordered<BoxFuture<'a, (usize, u32, Answer)>>;

impl<'a> Pass<'a> {
    /// `lines` are the pages that were settled before an interruption.
    pub fn new(
        ends: &'a Ends,
        plan: &'a Plan,
        checkpoint: &'a mut Checkpoint,
        header: &Header,
        lines: &[Line],
    ) -> Option<Self> {
        let chained = matches!(ends.source.pages(), Pages::Chain(_));
        let pace = Pace {
            size: plan.items_per_request,
            workers: plan.worker_count,
            chained,
            server: header.server,
            totals_wrong: header.totals_wrong,
        };
        let mut counts = header.counts.clone();
        let (mut sweeps, mut repeats) = (Vec::new(), HashMap::new());
        for (walk, window) in header.windows.iter().enumerate() {
            let of_walk: Vec<&Line> = lines.iter().filter(|line| line.walk == walk).collect();
            let sweep = Sweeping::new(*window, pace).resume(&of_walk)?;
            sweep.seen.count(&mut counts);
            sweeps.push(sweep);
            for line in of_walk.iter().filter(|_| !chained) {
                let rows = Seen::default().decode(&line.rows, &line.names)?;
                repeats
                    .extend(repeated(rows.iter().map(|row| row.key)).map(|(key, rows)| ((walk, key), rows)));
            }
        }
        let mut seconds = header.seconds;
        if let Some(last) = lines.last() {
            (counts.read_twice, seconds) = (last.read_twice, last.seconds);
            counts.fields.clone_from(&last.fields);
        }
        // A source that is read whole may date its records as it likes.
        let read = sweeps.iter().filter(|_| !chained).filter_map(|sweep| sweep.seen.newest()).max();
        let newest = read.max(header.newest);
        Some(Pass {
            ends,
            plan,
            watermark: Watermark::new(sweeps.len()),
            batcher: Batcher::new(ends.sink.limits().records.min(plan.items_per_request)),
            sweeps,
            counts,
            checkpoint,
            start: Instant::now(),
            seconds,
            newer: HashMap::new(),
            rejects: Vec::new(),
            memory: Memory::new(),
            notes: Vec::new(),
            holds_back: plan.holds_back,
            sent: HashSet::new(),
            confirmed: !lines.is_empty(),
            compared: false,
            before: header.before,
            noticed: Noticed { newest, ..Noticed::default() },
            heavies: 0,
            resting: None,
            relieved: None,
            untimed: HashSet::new(),
            repeats,
            first_of_full: plan.since.is_none() && header.pass == 1,
            unrecorded: false,
            brake: None,
            known: None,
            opt_outs_before: header.counts.opt_outs,
            known_before: header.counts.known_opt_outs,
            rejected_before: header.counts.rejected.clone(),
            opt_ins_before: header.counts.opt_ins,
            listed: None,
            counting: false,
            kept: Vec::new(),
            fault: None,
            waits: Duration::ZERO,
            server: header.server,
        })
    }

    /// Reads both listings to their ends, checks what was seen, and delivers all of it; nothing if a stop came first, and
    /// then what was read is delivered.
    pub async fn read_all(&mut self, stop: &CancellationToken) -> Result<Option<Explained>, Fault> {
        self.pump(stop, false).await?;
        if stop.is_cancelled() || !self.finished() {
            return Ok(None);
        }
        let explained = tokio::select! {
            explained = self.check() => Some(explained?),
            () = stop.cancelled() => None,
        };
        self.pump(stop, true).await?;
        // After a stop nothing goes out that the brake could not judge any more.
        Ok(explained.filter(|_| self.batcher.waiting() == 0))
    }

    /// Reads, delivers and settles. With `flush` the last, smaller batch goes out too.
    async fn pump(&mut self, stop: &CancellationToken, flush: bool) -> Result<(), Fault> {
        let (mut reads, mut deliveries) = (Reads::new(), Deliveries::new());
        let mut progress = interval_at(Instant::now() + PROGRESS, PROGRESS);
        let mut stopping = stop.is_cancelled();
        loop {
            self.bury().await?;
            self.note(false).await?;
            self.settle().await?;
            if !stopping {
                self.ask(&mut reads);
            }
            if self.unrecorded && self.confirmed {
                ledger::begin(&self.plan.list_folder, self.archived_since()).await?;
                self.unrecorded = false;
            }
            if self.fault.is_some() {
                stopping = true;
                reads.clear();
                // Deliver all records that were read.
                std::mem::take(&mut self.kept).into_iter().for_each(|kept| self.take_page(kept));
            }
            self.hold().await?;
            let unsure = self.is_unsure();
            if unsure && !stopping && !self.counting {
                self.counting = true;
                reads.push(self.count());
            }
            let read_out = reads.is_empty() && (stopping || self.finished());
            // Pages may wait for records of a batch that is not full.
            let stuck = reads.is_empty() && deliveries.is_empty() && !self.finished();
            // What is read and not sent at a stop is read again by the next run.
            if !unsure {
                self.send(&mut deliveries, stuck || (read_out && (flush || stopping)));
            }
            if read_out && deliveries.is_empty() {
                self.note(true).await?;
                return self.fault.take().map_or(Ok(()), Err);
            }
            self.log_waits();
            let wake = self.wakes();
            if reads.is_empty() && deliveries.is_empty() && wake.is_none() {
                let hint = "this is a bug in importer, please report it; the next run goes on from here";
                return Err(Fault::list("the run waits for nothing").hint(hint));
            }
            tokio::select! {
                biased;
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    reads.clear();
                }
                Some(delivered) = deliveries.next() => self.delivered(delivered?)?,
                Some((index, generation, answer)) = reads.next() => {
                    self.take(index, generation, answer, &mut reads)?;
                }
                () = sleep_until(wake.unwrap_or(self.start)), if wake.is_some() => self.resting = None,
                _ = progress.tick() => self.report(),
            }
        }
    }

    /// Joined pages of a listing that may wait for the fate of their records: as many as hold two rounds of deliveries.
    fn most_unsettled(&self) -> usize {
        let rows = 2 * self.batcher.size() * self.ends.sink.limits().in_flight;
        (rows / self.plan.items_per_request).max(2)
    }

    fn finished(&self) -> bool {
        self.sweeps.iter().all(Sweeping::finished)
    }

    /// When to look again although nothing was answered.
    fn wakes(&self) -> Option<Instant> {
        let held = self.sweeps.iter().filter_map(Sweeping::held).map(|held| self.start + held);
        held.chain(self.resting).filter(|wake| *wake > Instant::now()).min()
    }

    /// Logs why a listing waits, once for each wait.
    fn log_waits(&mut self) {
        let held = self.sweeps.iter().filter_map(Sweeping::held).max();
        if let Some(until) = held.filter(|until| *until > self.waits && *until > self.start.elapsed()) {
            let (list, seconds) = (&self.plan.list_id, (until - self.start.elapsed()).as_secs());
            info!(
                "list {list:?}: two neighboring pages share no record; reading the lower one again in {seconds} s, when no answer can \
                 be older than the upper page."
            );
            self.waits = until;
        }
    }

    /// Returns the results of the run so far.
    pub fn done(&self) -> Done {
        Done {
            until: self.until(),
            counts: self.counts(),
            seconds: self.seconds(),
            big: self.is_big(),
            server: self.server(),
            totals_wrong: self.totals_wrong(),
            newest: self.noticed.newest,
        }
    }

    /// Adds the pages that are settled now to the checkpoint. The last ones of a pass need none.
    async fn settle(&mut self) -> Result<(), Fault> {
        let seconds = self.seconds();
        let mut lines = Vec::new();
        for (walk, (page, progress)) in self.watermark.advance() {
            let seen = &self.sweeps[walk].seen;
            let names = if page.rows.is_empty() { vec![] } else { seen.names().to_vec() };
            lines.push(Line {
                walk,
                progress,
                offset: page.offset,
                opened: page.opened,
                total: page.total,
                cut: page.cut,
                rows: seen.encode(&page.rows),
                names,
                read_twice: self.counts.read_twice,
                fields: self.counts.fields.clone(),
                seconds,
                choice: self.ends.mapping.choice(),
            });
        }
        let alone = self.sweeps.iter().all(Sweeping::held_all_at_once);
        if lines.is_empty() || alone { Ok(()) } else { self.checkpoint.append(lines).await }
    }

    /// Opt-outs of this pass.
    pub fn opt_outs(&self) -> u64 {
        self.counts.opt_outs - self.opt_outs_before
    }

    /// Returns the rows of a listing, as the source counted them and as they were seen.
    fn rows_of(&self, index: usize) -> Rows {
        let repeats = self.repeats.iter().filter(|((of, _), _)| *of == index);
        Rows { repeated: repeats.map(|(_, rows)| rows).sum(), ..self.sweeps[index].rows() }
    }

    /// Of the whole run, up to now.
    pub fn counts(&self) -> Counts {
        let mut counts = self.counts.clone();
        (0..self.sweeps.len()).for_each(|index| self.rows_of(index).add_to(&mut counts));
        counts.totals_wrong |= self.totals_wrong();
        counts.passes += 1;
        counts
    }

    /// Whether a record was read, and accepted or skipped in its last version.
    pub fn settled_well(&self, key: u128) -> bool {
        let fates = self.sweeps.iter().filter_map(|sweep| Some(sweep.seen.name(sweep.seen.get(key)?.fate)));
        let mut fates = fates.peekable();
        fates.peek().is_some() && fates.all(|fate| !fate.starts_with(REJECTED))
    }

    /// Whether a record was read in this pass.
    pub fn has_met(&self, key: u128) -> bool {
        self.untimed.contains(&key) || self.sweeps.iter().any(|sweep| sweep.seen.get(key).is_some())
    }

    pub fn until(&self) -> DateTime<Utc> {
        self.sweeps.iter().find_map(|sweep| sweep.window.until).unwrap_or_default()
    }

    /// Whether a listing was more than a page.
    pub fn is_big(&self) -> bool {
        self.sweeps.iter().any(|sweep| !sweep.held_all_at_once())
    }

    /// Whether an answer had more rows than its own total. The source's totals are unreliable then.
    pub fn totals_wrong(&self) -> bool {
        self.sweeps.iter().any(|sweep| sweep.progress.totals_wrong)
    }

    /// Returns the limits that the source's answers have shown.
    pub fn server(&self) -> Server {
        self.server
    }

    /// How long the run has taken up to now, interrupted parts included.
    pub fn seconds(&self) -> f64 {
        self.seconds + self.start.elapsed().as_secs_f64()
    }

    fn report(&self) {
        let window: u64 = self.sweeps.iter().map(Sweeping::size).sum();
        let seen: usize = self.sweeps.iter().map(|sweep| sweep.seen.len()).sum();
        let (list, sent) = (&self.plan.list_id, self.counts.sent);
        info!("list {list:?}: {seen} of {window} records read, {sent} sent.");
    }
}
