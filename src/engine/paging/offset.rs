//! Offset paging: decides which rows of a frozen window to request next, and which pages to stitch together.
//! Works on offsets, keys and times only. No I/O.
//!
//! The rows are sorted by their last change, and the end of the window is fixed. A row that changes now
//! therefore *leaves* the window, and every row above it, that is, with a higher offset, moves down by one
//! offset. Reading upwards would skip the rows that moved. The walk therefore reads downwards from the
//! highest row: a row that moves down only moves into the part that is still unread.
//!
//! Several pages are in flight at the same time, and a response may come from a slightly stale snapshot, so
//! a row can have different offsets in two neighboring pages. Every request therefore includes the lowest
//! rows of the page above. Two pages that share a row have no gap between them, even if rows left in the
//! meantime; such pages are stitched. A page that shares no row with the page above is read again.

mod answer;
mod seam;
mod server;
mod shrink;
mod stitch;
mod top;

use std::{collections::VecDeque, time::Duration};

pub use self::shrink::Shrink;
pub use crate::store::progress::{BoundarySecond, Server};

use self::{seam::Read, shrink::HALVINGS, top::Search};
use crate::{
    base::{key::KeySet, window::Span},
    store::progress::{MOST, Row},
};

/// Maximum age of the snapshot behind an answer, and maximum delay until a change becomes visible. An
/// assumption; ARCHITECTURE.md lists it among the things that are not guaranteed.
pub const LAG: Duration = Duration::from_secs(60);

/// Readings of a page that can't be stitched, after which the next reading waits until every snapshot is newer
/// than the last stitched page with rows and the empty pages below it (see [`LAG`]).
const READINGS: usize = 4;

/// A request for one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    pub span: Span,
    /// Id of the page, unique within the walk; 0 during the search for the highest page.
    id: u64,
    at: Duration,
}

impl PageRequest {
    /// Returns the time of the request, since the common start.
    pub fn at(&self) -> Duration {
        self.at
    }

    /// Returns whether the page is read in search for the highest one.
    pub fn is_search(&self) -> bool {
        self.id == 0
    }
}

/// How to treat the rows of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// They are part of the walk.
    Take,
    /// The walk is still searching for its highest page. It reads these rows again on the way down, unless it
    /// fails.
    Keep,
    /// The page that was kept from this offset is the highest one, and part of the walk. It contains these
    /// rows.
    TakeKept(u64),
}

/// A stitched page: neither it nor the pages above it skipped a row at or above its offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    pub offset: u64,
    /// Its rows, oldest change first.
    pub rows: Vec<Row>,
    /// Rows in the window when it was opened (`opened`), and the smallest total reported since (`total`).
    pub opened: u64,
    pub total: u64,
    /// Boundary seconds of this page and the one above.
    pub cut: Vec<BoundarySecond>,
}

/// The walk through one window, from its highest row down. All times are durations since a common start.
pub struct Walk {
    /// Rows from one page's start to the next, at least 1, and the lower bound for halving.
    stride: usize,
    least_stride: usize,
    /// Rows of the page above that a page requests too; grows when pages can't be stitched.
    overlap: usize,
    /// Maximum number of pages, requested or read, below the last stitched one.
    ahead: usize,
    /// See [`Server`] for these three.
    cap: usize,
    proven: usize,
    doubts: bool,
    stage: Stage,
    /// Number of pages that were too slow during the search for the highest page.
    heavies: u32,
    /// Offset of the lowest row that has been read or requested; all rows below it are unread.
    unread: u64,
    /// Pages below the last stitched one, highest first.
    pages: VecDeque<Page>,
    ids: u64,
    /// The last stitched page that was not empty.
    upper: Option<Read>,
    /// Latest answer time of the empty pages that were stitched below `upper`; `None` if there are none.
    empty_answered: Option<Duration>,
    joined: Vec<Joined>,
    /// Rows in the window when it was opened, and the time of that; the smallest total reported since; the
    /// largest total reported once every snapshot was newer than the opening.
    opened: u64,
    since: Duration,
    total: u64,
    most: u64,
    /// Whether no answer has arrived yet.
    first: bool,
    /// Whether an answer contained more rows than its total.
    totals_wrong: bool,
    /// The keys of the last reading that could not be stitched, and the number of readings in a row that
    /// shared no key with the previous one.
    unjoined: KeySet<u128>,
    strangers: u32,
    late_joins: u32,
    /// The reason why the walk can't continue, as a predicate to "the source".
    failed: Option<String>,
}

enum Stage {
    /// Searches for the highest page.
    Top(Box<Search>),
    Down,
    /// One answer contained all rows. It is a consistent snapshot, so the walk is finished.
    Whole,
}

struct Page {
    id: u64,
    offset: u64,
    /// Rows of this page without the overlap: down from the start of the page above.
    height: usize,
    readings: usize,
    heavies: u32,
    state: State,
}

enum State {
    Due,
    Asked,
    Read(Read),
}

impl Walk {
    /// Creates a walk with `size` rows per page and `workers` pages in flight.
    pub fn new(size: usize, workers: usize) -> Self {
        let size = size.clamp(1, MOST);
        // One row in twenty is read twice, at least five per page, but never more rows than are new.
        let overlap = (size / 20).max(5).min(size);
        let stride = size.min(MOST - overlap);
        Walk {
            stride,
            least_stride: (stride >> HALVINGS).max(1),
            overlap: overlap.min(stride),
            ahead: 2 * workers.max(1),
            cap: MOST,
            proven: 0,
            doubts: true,
            first: true,
            stage: Stage::Top(Box::default()),
            heavies: 0,
            unread: 0,
            pages: VecDeque::new(),
            ids: 0,
            upper: None,
            empty_answered: None,
            joined: Vec::new(),
            opened: 0,
            since: Duration::ZERO,
            total: 0,
            most: 0,
            totals_wrong: false,
            unjoined: KeySet::default(),
            strangers: 0,
            late_joins: 0,
            failed: None,
        }
    }

    /// Applies the known limits of the server.
    pub fn knowing(mut self, server: Server) -> Self {
        self.fit(server.cap);
        (self.proven, self.doubts) = (server.proven, server.doubts);
        self
    }

    /// Applies whether the source's totals are known to be wrong.
    pub fn distrusting(mut self, totals_wrong: bool) -> Self {
        self.totals_wrong = totals_wrong;
        self
    }

    /// Sets the page size, in rows, below which pages are not halved.
    pub fn at_least(mut self, stride: usize) -> Self {
        self.least_stride = stride.clamp(1, self.stride);
        self
    }

    /// Resumes below a page that was stitched by another process or with another page size. `upper` contains
    /// the rows of the last stitched page that was not empty.
    pub fn resume(mut self, last: &Joined, upper: Vec<Row>, now: Duration) -> Self {
        self.stage = Stage::Down;
        self.first = false;
        (self.unread, self.opened, self.total, self.most) =
            (last.offset, last.opened, last.total, last.opened);
        self.since = now;
        self.empty_answered = last.rows.is_empty().then_some(now);
        let keys: KeySet<Row> = upper.iter().copied().collect();
        // Whether there were rows above or below is no longer known. Assuming so costs at most one check of a
        // second.
        let wanted = upper.len();
        let read = Read {
            asked: now,
            answered: now,
            rows: upper,
            keys,
            wanted,
            ends: false,
            reaches_total: false,
            lowest: false,
        };
        self.upper = Some(read).filter(|upper| !upper.rows.is_empty());
        self
    }

    /// Returns the next page to request. Returns `None` while the walk needs an answer first, until
    /// [`Self::held`], and at the end.
    pub fn ask(&mut self, now: Duration) -> Option<PageRequest> {
        let page = self.stride + self.overlap;
        if self.failed.is_some() {
            return None;
        }
        match &mut self.stage {
            Stage::Whole => None,
            Stage::Top(search) => {
                search.ask(self.stride, page).map(|span| PageRequest { span, id: 0, at: now })
            }
            Stage::Down => {
                let held = self.held().is_some_and(|until| now < until);
                // Only the page below the last joined one is held; the others are read meanwhile.
                let first = usize::from(held);
                let due = self.pages.iter().skip(first).position(|page| matches!(page.state, State::Due));
                let index = match due {
                    Some(index) => first + index,
                    None => self.next_page()?,
                };
                let overlap = self.overlap;
                let page = &mut self.pages[index];
                page.state = State::Asked;
                let span = Span { offset: page.offset, count: (page.height + overlap).min(self.cap) };
                Some(PageRequest { span, id: page.id, at: now })
            }
        }
    }

    /// Adds the page below the lowest one and returns its index.
    fn next_page(&mut self) -> Option<usize> {
        let height = self.unread.min(self.stride as u64) as usize;
        if height == 0 || self.pages.len() >= self.ahead {
            return None;
        }
        self.unread -= height as u64;
        let page = self.page(self.unread, height);
        self.pages.push_back(page);
        Some(self.pages.len() - 1)
    }

    fn page(&mut self, offset: u64, height: usize) -> Page {
        self.ids += 1;
        Page { id: self.ids, offset, height, readings: 0, heavies: 0, state: State::Due }
    }

    /// Returns the time until which the next reading waits, if the page below the last stitched one was read
    /// `READINGS` times in vain. From then on, every snapshot is newer than the last stitched page with rows and
    /// the empty pages below it.
    pub fn held(&self) -> Option<Duration> {
        let waits = self.pages.front().is_some_and(|page| page.readings >= READINGS);
        self.stitched_at().filter(|_| waits).map(|answered| answered + LAG)
    }

    /// Returns the latest answer time of the last stitched page with rows and of the empty pages below it.
    fn stitched_at(&self) -> Option<Duration> {
        self.upper.as_ref().map(|upper| upper.answered).max(self.empty_answered)
    }

    /// Returns the pages stitched since the last call, highest first.
    pub fn joined(&mut self) -> Vec<Joined> {
        std::mem::take(&mut self.joined)
    }

    /// Returns whether every row was read and all pages are stitched.
    pub fn finished(&self) -> bool {
        match self.stage {
            Stage::Top(_) => false,
            Stage::Down => self.pages.is_empty() && self.unread == 0 && self.failed.is_none(),
            Stage::Whole => true,
        }
    }

    /// Returns whether a single answer contained all rows.
    pub fn held_all_at_once(&self) -> bool {
        matches!(self.stage, Stage::Whole)
    }

    /// Returns the rows from one page's start to the next, and the lower bound for halving.
    pub fn strides(&self) -> (usize, usize) {
        (self.stride, self.least_stride)
    }

    /// Returns the number of rows in the window when it was opened.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// Returns the smallest number of different rows that a finished walk has read if it missed none.
    pub fn least(&self) -> u64 {
        self.total
    }

    /// Returns the number of rows by which the window has grown since it was opened, according to the totals.
    pub fn growth(&self) -> u64 {
        self.most - self.opened
    }

    /// Returns whether an answer contained more rows than its own total. The source's totals are unreliable
    /// then.
    pub fn totals_wrong(&self) -> bool {
        self.totals_wrong
    }

    /// Returns the limits that the answers have revealed.
    pub fn server(&self) -> Server {
        Server { cap: self.cap, proven: self.proven, doubts: self.doubts }
    }

    /// Returns the reason why the walk can't continue, as a predicate to "the source".
    pub fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }
}

#[cfg(test)]
#[path = "offset/report_tests.rs"]
mod report_tests;
#[cfg(test)]
#[path = "offset_tests.rs"]
mod tests;
