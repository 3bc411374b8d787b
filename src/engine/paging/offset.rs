//! Which rows of a frozen window to ask for next, and which pages join. Pure: knows offsets, keys and times, no I/O.
//!
//! Rows are sorted by their last change and the window's end is fixed, so a row that changes now *leaves* the window
//! and every row above it moves one place down. Walking upwards would step over the rows that moved; the walk
//! therefore goes downwards from the highest row, where a row that moves only moves into what is still unread.
//!
//! Several pages are read side by side, and a server may answer from a slightly older picture, so that two neighbours
//! can disagree about where a row stands. Every page therefore asks for some rows of its upper neighbour too: two
//! pages that share a row leave no gap between them, whatever left meanwhile. A page that shares none is read again.

mod answer;
mod seam;
mod server;
mod shrink;
mod stitch;
mod top;

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

pub use self::shrink::Relief;
pub use crate::store::progress::{Cut, Server};

use self::{seam::Read, shrink::HALVINGS, top::Search};
use crate::{
    base::window::Span,
    store::progress::{MOST, Row},
};

/// How old the picture may be from which a server answers, and how late a change may become visible.
pub const LAG: Duration = Duration::from_secs(60);

/// Readings of a page that does not join, before the next one waits until the upper page is older than [`LAG`].
const READINGS: usize = 4;
/// One page to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    pub span: Span,
    /// Of the page, unique within the walk; 0 before there are pages.
    id: u64,
    at: Duration,
}

impl Ask {
    /// When it was asked for, since the common start.
    pub fn at(&self) -> Duration {
        self.at
    }
}

/// What to do with the rows of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// They are part of the walk.
    Take,
    /// The walk is still searching for its highest page. The walk reads the rows again on the way down, unless it fails.
    Keep,
    /// The page that was kept at this offset is the highest one, and part of the walk. It contains these rows.
    TakeKept(u64),
}

/// A page that joins: together with those above it, nothing at or above its offset was stepped over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    pub offset: u64,
    /// Its rows, oldest change first.
    pub rows: Vec<Row>,
    /// Rows in the window when it was opened, and the fewest told since.
    pub opened: u64,
    pub total: u64,
    /// Seconds that lie across this page and the one above.
    pub cut: Vec<Cut>,
}

/// The walk through one window, from its highest row down. Times are since some common start.
pub struct Walk {
    /// Rows from one page's start to the next, at least 1, and not to fall below.
    stride: usize,
    least_stride: usize,
    /// Rows of the upper neighbour that a page asks for too; grows when pages do not join.
    overlap: usize,
    /// Pages that may be asked for below the last joined one.
    ahead: usize,
    /// See [`Server`].
    cap: usize,
    proven: usize,
    doubts: bool,
    stage: Stage,
    /// Number of pages that were too slow during the search for the end.
    heavies: u32,
    /// Rows at or above this one are read or being read.
    unread: u64,
    /// Pages below the last joined one, highest first.
    pages: VecDeque<Page>,
    ids: u64,
    /// The last joined page that was not empty.
    upper: Option<Read>,
    /// Whether an empty page was passed over since.
    passed_empty: bool,
    joined: Vec<Joined>,
    /// Rows in the window when it was opened, and when that was; the fewest told since, and the most told when no picture could
    /// be older than the opening any more.
    opened: u64,
    since: Duration,
    total: u64,
    most: u64,
    /// Whether no answer has come yet.
    first: bool,
    /// Whether an answer had more rows than its total.
    totals_wrong: bool,
    /// The keys of the last reading that did not join, and the number of readings in a row that shared none with the one before.
    unjoined: HashSet<u128>,
    strangers: u32,
    late_joins: u32,
    /// Why the walk can't go on, as a predicate to "the source".
    failed: Option<String>,
}

enum Stage {
    /// Searches for the highest page.
    Top(Box<Search>),
    Down,
    /// One answer had all rows. It is a consistent snapshot, so the walk is over.
    Whole,
}

struct Page {
    id: u64,
    offset: u64,
    /// Rows down to the next page, the overlap not counted.
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
    /// `size`: rows a page; `workers`: pages read at once.
    pub fn new(size: usize, workers: usize) -> Self {
        let size = size.clamp(1, MOST);
        // One in twenty rows is read twice, at least five, but never more than are new.
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
            passed_empty: false,
            joined: Vec::new(),
            opened: 0,
            since: Duration::ZERO,
            total: 0,
            most: 0,
            totals_wrong: false,
            unjoined: HashSet::new(),
            strangers: 0,
            late_joins: 0,
            failed: None,
        }
    }

    /// Takes over the known limits of the server.
    pub fn knowing(mut self, server: Server) -> Self {
        self.fit(server.cap);
        (self.proven, self.doubts) = (server.proven, server.doubts);
        self
    }

    /// Takes over that the source's totals were found to be wrong.
    pub fn distrusting(mut self, totals_wrong: bool) -> Self {
        self.totals_wrong = totals_wrong;
        self
    }

    /// Pages are not halved below this size.
    pub fn at_least(mut self, stride: usize) -> Self {
        self.least_stride = stride.clamp(1, self.stride);
        self
    }

    /// Goes on below a page that had joined, in another process or with pages of another size. `upper` are the rows
    /// of the last joined page that had any.
    pub fn resume(mut self, last: &Joined, upper: Vec<Row>, now: Duration) -> Self {
        self.stage = Stage::Down;
        self.first = false;
        (self.unread, self.opened, self.total, self.most) =
            (last.offset, last.opened, last.total, last.opened);
        self.since = now;
        self.passed_empty = last.rows.is_empty();
        let keys: HashSet<Row> = upper.iter().copied().collect();
        // Whether rows stood above or below is no longer known; the other answer costs a look at a second.
        let wanted = upper.len();
        let read = Read { asked: now, answered: now, rows: upper, keys, wanted, ends: false, lowest: false };
        self.upper = Some(read).filter(|upper| !upper.rows.is_empty());
        self
    }

    /// The next page to read; none while an answer must come first, or until [`Self::held`], or at the end.
    pub fn ask(&mut self, now: Duration) -> Option<Ask> {
        let page = self.stride + self.overlap;
        if self.failed.is_some() {
            return None;
        }
        match &mut self.stage {
            Stage::Whole => None,
            Stage::Top(search) => search.ask(self.stride, page).map(|span| Ask { span, id: 0, at: now }),
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
                Some(Ask { span, id: page.id, at: now })
            }
        }
    }

    /// Opens the page below the lowest one; answers its place.
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

    /// Until when the next reading waits, if pages have often not joined: then the upper page is older than any picture.
    pub fn held(&self) -> Option<Duration> {
        let waits = self.pages.front().is_some_and(|page| page.readings >= READINGS);
        self.upper.as_ref().filter(|_| waits).map(|upper| upper.answered + LAG)
    }

    /// The pages that have joined since the last call, highest first.
    pub fn joined(&mut self) -> Vec<Joined> {
        std::mem::take(&mut self.joined)
    }

    /// Whether every row was asked for, and all pages join.
    pub fn finished(&self) -> bool {
        match self.stage {
            Stage::Top(_) => false,
            Stage::Down => self.pages.is_empty() && self.unread == 0 && self.failed.is_none(),
            Stage::Whole => true,
        }
    }

    /// Whether one answer held all rows.
    pub fn held_all_at_once(&self) -> bool {
        matches!(self.stage, Stage::Whole)
    }

    /// Rows from one page's start to the next, and the fewest there may be.
    pub fn strides(&self) -> (usize, usize) {
        (self.stride, self.least_stride)
    }

    /// Rows in the window when it was opened.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// The fewest different rows that a finished walk can have seen if it missed none.
    pub fn least(&self) -> u64 {
        self.total
    }

    /// Rows by which the window has grown since it was opened, as far as its totals tell.
    pub fn growth(&self) -> u64 {
        self.most - self.opened
    }

    /// Whether an answer had more rows than its own total. The source's totals are unreliable then.
    pub fn totals_wrong(&self) -> bool {
        self.totals_wrong
    }

    /// Returns the limits that the answers have shown.
    pub fn server(&self) -> Server {
        Server { cap: self.cap, proven: self.proven, doubts: self.doubts }
    }

    /// Says why the walk can't go on, as a predicate to "the source".
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
