//! The listings of a pass: decides which pages to request next, and which of their answers count.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Context,
    dispatch::Dispatch,
    intake::row,
    requests::{Reads, ReceivedPage, read},
};
use crate::{
    base::{
        event::RunEvent,
        fault::{Fault, Problem},
        window::{Listing, Next, Window},
    },
    engine::{
        paging::{
            listing::ListingProgress,
            offset::{Joined, PageRequest, Rows, Shrink},
            shards,
        },
        received::Received,
    },
    store::{
        progress::{Progress, Row, Server},
        records::KnownRecords,
    },
};

/// Most pages in a row that may be too slow, at any size, before the list fails.
const TOO_SLOW: u32 = 8;
/// Wait after a page that was too slow, doubled for each further one: a server that is only busy must not get
/// more load.
const RELIEF: Duration = Duration::from_secs(1);
const LONGEST_RELIEF: Duration = Duration::from_secs(16);

/// A page of a listing, with the cached deliveries of its records.
pub(super) struct PageOf {
    pub index: usize,
    offset: u64,
    pub records: Vec<Received>,
    pub memory: KnownRecords,
}

pub(super) struct Reader<'a> {
    context: Context<'a>,
    pub listings: Vec<ListingProgress>,
    /// Pages in flight of each listing.
    requested: Vec<usize>,
    start: Instant,
    /// Pages that were read during the search for the ends of their listings.
    kept: Vec<PageOf>,
    /// Pages in a row that were too slow.
    slow: u32,
    /// Time before which no page is requested.
    resting: Option<Instant>,
    /// Time at which a page was last found to be too slow, since the start.
    relieved: Option<Duration>,
    /// End of the last reported wait of a listing, since the start.
    waits: Duration,
    /// Limits that the source's answers have revealed.
    pub server: Server,
    /// Whether the end of the window is final: confirmed by the first answer, or set by an earlier run that
    /// began this pass.
    pub confirmed: bool,
    /// Whether the clocks were compared at the first answer.
    pub compared: bool,
    /// The end of the previous pass.
    pub before: Option<DateTime<Utc>>,
}

impl<'a> Reader<'a> {
    pub fn new(
        context: Context<'a>,
        mut listings: Vec<ListingProgress>,
        server: Server,
        start: Instant,
    ) -> Self {
        shards::postpone(&mut listings);
        Reader {
            context,
            requested: vec![0; listings.len()],
            listings,
            start,
            kept: Vec::new(),
            slow: 0,
            resting: None,
            relieved: None,
            waits: Duration::ZERO,
            server,
            confirmed: false,
            compared: false,
            before: None,
        }
    }

    /// Requests pages until all workers are busy, from each listing in turn, as long as the dispatch has room.
    pub fn request(&mut self, reads: &mut Reads<'a>, dispatch: &Dispatch<'_>, stop: &CancellationToken) {
        if self.resting.is_some_and(|until| until > Instant::now()) {
            return;
        }
        let mut idle = 0;
        let mut index = reads.len();
        while idle < self.listings.len()
            && reads.len() < self.context.plan.worker_count
            && dispatch.has_room(reads.len())
        {
            index = (index + 1) % self.listings.len();
            if !dispatch.has_room_for(index, self.requested[index])
                || !shards::may_begin(&self.listings, index)
            {
                idle += 1;
                continue;
            }
            let listing = &mut self.listings[index];
            let (generation, window) = (listing.generation, listing.progress.part);
            match listing.want(self.start.elapsed()) {
                None => idle += 1,
                Some(want) => {
                    idle = 0;
                    self.requested[index] += 1;
                    let answer = read(self.context, window, want, stop.clone());
                    reads.push(Box::pin(async move { (index, generation, answer.await) }));
                }
            }
        }
    }

    /// Returns whether an answer belongs to the window that its listing currently reads.
    pub fn is_current(&self, index: usize, generation: u32) -> bool {
        self.listings[index].generation == generation
    }

    /// Notes that a page of a listing is no longer in flight.
    pub fn arrived(&mut self, index: usize) {
        self.requested[index] = self.requested[index].saturating_sub(1);
    }

    /// Notes that the source returned a page in time.
    pub fn answered(&mut self) {
        (self.slow, self.resting) = (0, None);
    }

    /// Adds an answer to the walk. Returns the page whose records now count, if there is one.
    pub fn page(
        &mut self,
        index: usize,
        ask: PageRequest,
        page: ReceivedPage,
        memory: KnownRecords,
    ) -> Option<PageOf> {
        let (records, offset) = (page.records.len(), Some(ask.span.offset));
        self.context.plan.events.emit(RunEvent::PageRead { records, offset });
        let rows = page.records.iter().map(|received| row(&received.record)).collect();
        let rows = self.listings[index].answered(ask, rows, page.total, self.start.elapsed());
        let page = PageOf { index, offset: ask.span.offset, records: page.records, memory };
        let taken = match rows {
            Rows::Take => Some(page),
            Rows::Keep => {
                self.kept.push(page);
                return None;
            }
            Rows::TakeKept(offset) => {
                let found = self.kept.iter().rposition(|kept| (kept.index, kept.offset) == (index, offset));
                found.map(|found| self.kept.swap_remove(found))
            }
        };
        self.drop_kept(index);
        taken
    }

    /// Returns the pages kept during searches, for a pass that ends before they count.
    pub fn take_kept(&mut self) -> Vec<PageOf> {
        std::mem::take(&mut self.kept)
    }

    fn drop_kept(&mut self, index: usize) {
        self.kept.retain(|kept| kept.index != index);
    }

    /// Records the number of rows of a page, and how many of them are new in this pass.
    pub fn brought(&mut self, index: usize, rows: usize, new: usize) {
        self.listings[index].brought(rows, new);
    }

    /// Counts the records of a page whose time is outside the window.
    pub fn note_outside(&mut self, index: usize, records: &[Received]) {
        let listing = &mut self.listings[index];
        let Window { since, until, .. } = listing.window;
        let outside = |changed: &DateTime<Utc>| {
            until.is_some_and(|until| *changed > until) || since.is_some_and(|since| *changed <= since)
        };
        let times = records.iter().filter_map(|received| received.record.changed);
        listing.progress.outside += times.filter(outside).count() as u64;
    }

    /// Returns the newly stitched pages of a listing, each with the progress after it.
    pub fn joined(&mut self, index: usize) -> Vec<(Joined, Progress)> {
        let listing = &mut self.listings[index];
        let mut pages = Vec::new();
        for joined in listing.joined() {
            listing.note(&joined.cut);
            pages.push((joined, listing.progress.clone()));
        }
        listing.next_part();
        pages
    }

    /// Adds a page of cursor paging or of a shard. It needs no seam, since the previous page named it.
    ///
    /// # Errors
    ///
    /// The source returned a cursor twice.
    pub fn link(
        &mut self,
        index: usize,
        rows: Vec<Row>,
        next: Next,
        total: Option<u64>,
    ) -> Result<(Joined, Progress), Fault> {
        let listing = &mut self.listings[index];
        let (joined, progress) = (listing.linked(rows, next, total)?, listing.progress.clone());
        shards::postpone(&mut self.listings);
        Ok((joined, progress))
    }

    /// Reports a new cap on the source's answers. Returns the fault of a listing that can't be read any further.
    /// `seen` is the number of different records read so far.
    pub fn look_at_the_source(&mut self, index: usize, seen: usize) -> Option<Fault> {
        let server = self.server.and(self.listings[index].server());
        if server.cap < self.server.cap {
            self.context.plan.events.emit(RunEvent::AnswersCapped { records: server.cap });
        }
        self.server = server;
        let why = self.listings[index].failed(seen)?;
        let hint = "the records read so far are delivered, but no timestamp is written; \
                    check the service and any proxy in front of it";
        Some(Fault::list(format!("the source {why}")).hint(hint))
    }

    /// Makes pages smaller after one that was too slow, and pauses all requests of this pass for a moment.
    ///
    /// # Errors
    ///
    /// More than eight pages in a row were too slow.
    pub fn too_slow(&mut self, index: usize, ask: PageRequest, problem: Problem) -> Result<Shrink, Fault> {
        // It was already in flight when the pages were made smaller.
        if self.relieved.is_some_and(|at| ask.at() <= at) {
            self.listings[index].again(ask);
            return Ok(Shrink::Halved);
        }
        self.relieved = Some(self.start.elapsed());
        self.slow += 1;
        if self.slow > TOO_SLOW {
            return Err(Fault::List(problem).hint("the source is too slow even for small pages"));
        }
        self.resting = Some(Instant::now() + (RELIEF * (1 << (self.slow - 1))).min(LONGEST_RELIEF));
        let relief = self.listings[index].too_slow(ask);
        let (problem, split) = (problem.to_string(), relief == Shrink::Cut);
        self.context.plan.events.emit(RunEvent::PageTooSlow { problem, split });
        Ok(relief)
    }

    /// Splits the window of a listing in two at `middle`; the older half has `below` rows.
    pub fn cut_at(&mut self, index: usize, middle: DateTime<Utc>, below: u64) {
        self.drop_kept(index);
        self.listings[index].cut_at(middle, below);
    }

    /// Changes the end of all windows, whose records do not depend on it.
    pub fn end_at(&mut self, until: DateTime<Utc>) {
        self.listings.iter_mut().for_each(|listing| listing.window.until = Some(until));
    }

    /// Restarts all listings with a new end of their windows.
    pub fn restart(&mut self, until: DateTime<Utc>) {
        self.listings.iter_mut().for_each(|listing| listing.restart(until));
        self.kept.clear();
    }

    pub fn finished(&self) -> bool {
        self.listings.iter().all(ListingProgress::finished)
    }

    /// Returns whether each listing fitted into one answer.
    pub fn held_all_at_once(&self) -> bool {
        self.listings.iter().all(ListingProgress::held_all_at_once)
    }

    /// Returns whether an answer had more rows than its own total. The source's totals are unreliable then.
    pub fn totals_wrong(&self) -> bool {
        self.listings.iter().any(|listing| listing.progress.totals_wrong)
    }

    pub fn until(&self) -> DateTime<Utc> {
        self.listings.iter().find_map(|listing| listing.window.until).unwrap_or_default()
    }

    /// Returns the number of rows in the archived listing.
    pub fn archived(&self) -> u64 {
        let archived = self.listings.iter().filter(|listing| listing.window.listing == Listing::Archived);
        archived.filter_map(|listing| listing.progress.window).sum()
    }

    /// Returns the next time at which to request pages even if no answer arrives.
    pub fn wakes(&self) -> Option<Instant> {
        let held = self.listings.iter().filter_map(ListingProgress::held).map(|held| self.start + held);
        held.chain(self.resting).filter(|wake| *wake > Instant::now()).min()
    }

    pub fn has_rested(&mut self) {
        self.resting = None;
    }

    /// Reports why a listing waits, once for each wait.
    pub fn report_waits(&mut self) {
        let held = self.listings.iter().filter_map(ListingProgress::held).max();
        if let Some(until) = held.filter(|until| *until > self.waits && *until > self.start.elapsed()) {
            let wait = until - self.start.elapsed();
            self.context.plan.events.emit(RunEvent::PagesApart { wait });
            self.waits = until;
        }
    }
}
