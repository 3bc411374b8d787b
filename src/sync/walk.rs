//! Which rows of a frozen window to ask for next, and which pages join. Pure: knows offsets, keys and times, no I/O.
//!
//! Rows are sorted by their last change and the window's end is fixed, so a row that changes now *leaves* the window
//! and every row above it moves one place down. Walking upwards would step over the rows that moved; the walk
//! therefore goes downwards from the highest row, where a row that moves only moves into what is still unread.
//!
//! Several pages are read side by side, and a server may answer from a slightly older picture, so that two neighbours
//! can disagree about where a row stands. Every page therefore asks for some rows of its upper neighbour too: two
//! pages that share a row leave no gap between them, whatever left meanwhile. A page that shares none is read again.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use crate::base::window::Span;

/// How old the picture may be from which a server answers, and how late a change may become visible.
pub const LAG: Duration = Duration::from_secs(60);

/// The most rows in one answer: <https://mailchimp.com/developer/marketing/api/list-members/list-members-info/>.
const MOST: usize = 1000;
/// Readings of a page that does not join, before the next one waits until the upper page is older than [`LAG`].
const READINGS: usize = 4;

/// One page to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    pub span: Span,
    /// Counts from the highest page down.
    number: usize,
    at: Duration,
}

/// What to do with the rows of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// They are part of the walk.
    Take,
    /// They will be read again in their turn.
    Leave,
}

/// The walk through one window, from its highest row down to `start_offset`. Times are since some common start.
pub struct Walk {
    /// Rows from one page's start to the next, at least 1.
    stride: usize,
    /// Rows of the upper neighbour that a page asks for too; grows when pages do not join.
    overlap: usize,
    start_offset: u64,
    /// Pages that may be asked for below the last joined one.
    ahead: usize,
    stage: Stage,
    /// Rows at or above this one are read or being read.
    unread: u64,
    /// Pages below the last joined one, highest first; the first has this number.
    pages: VecDeque<Page>,
    first: usize,
    /// The last joined page that was not empty.
    upper: Option<Read>,
    /// Whether an empty page was passed over since.
    passed_empty: bool,
    /// Rows in the window when it was opened, and the fewest told since.
    opened: u64,
    total: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The first page from the bottom tells how many rows there are. When it holds them all, that is the walk: one
    /// answer is a consistent picture.
    Open {
        asked: bool,
    },
    /// Looking for the highest page; it comes back short.
    Top {
        asked: bool,
    },
    Down,
    /// One answer held everything.
    Whole,
}

struct Page {
    offset: u64,
    /// Rows down to the next page, the overlap not counted.
    height: usize,
    readings: usize,
    state: State,
}

enum State {
    Due,
    Asked,
    Read(Read),
}

struct Read {
    asked: Duration,
    answered: Duration,
    keys: HashSet<u128>,
    /// It brought fewer rows than asked for, so that nothing stood above them.
    short: bool,
}

impl Walk {
    /// `size`: rows a page; `workers`: pages read at once.
    pub fn new(size: usize, workers: usize, start_offset: u64) -> Self {
        let size = size.clamp(1, MOST);
        // One in twenty rows is read twice, at least five, but never more than are new.
        let overlap = (size / 20).max(5).min(size);
        let stride = size.min(MOST - overlap);
        Walk {
            stride,
            overlap: overlap.min(stride),
            start_offset,
            ahead: 2 * workers.max(1),
            stage: Stage::Open { asked: false },
            unread: 0,
            pages: VecDeque::new(),
            first: 0,
            upper: None,
            passed_empty: false,
            opened: 0,
            total: 0,
        }
    }

    /// The next page to read; none while an answer must come first, or until [`Self::held`], or at the end.
    pub fn ask(&mut self, now: Duration) -> Option<Ask> {
        let ask = |span, number| Some(Ask { span, number, at: now });
        match self.stage {
            Stage::Whole | Stage::Open { asked: true } | Stage::Top { asked: true } => None,
            Stage::Open { asked: false } => {
                self.stage = Stage::Open { asked: true };
                ask(Span { offset: self.start_offset, count: self.stride }, 0)
            }
            Stage::Top { asked: false } => {
                self.stage = Stage::Top { asked: true };
                ask(Span { offset: self.unread, count: self.stride }, 0)
            }
            Stage::Down => {
                let held = self.held().is_some_and(|until| now < until);
                let due = self.pages.iter().position(|page| matches!(page.state, State::Due));
                let index = match due.filter(|index| *index > 0 || !held) {
                    Some(index) => index,
                    None => self.next_page()?,
                };
                let (number, overlap) = (self.first + index, self.overlap);
                let page = &mut self.pages[index];
                page.state = State::Asked;
                ask(Span { offset: page.offset, count: (page.height + overlap).min(MOST) }, number)
            }
        }
    }

    /// Opens the page below the lowest one; answers its place.
    fn next_page(&mut self) -> Option<usize> {
        let height = self.unread.saturating_sub(self.floor()).min(self.stride as u64) as usize;
        if height == 0 || self.pages.len() >= self.ahead {
            return None;
        }
        self.unread -= height as u64;
        self.pages.push_back(Page { offset: self.unread, height, readings: 0, state: State::Due });
        Some(self.pages.len() - 1)
    }

    /// Until when the next reading waits, if pages have often not joined: then the upper page is older than any picture.
    pub fn held(&self) -> Option<Duration> {
        let waits = self.pages.front().is_some_and(|page| page.readings >= READINGS);
        self.upper.as_ref().filter(|_| waits).map(|upper| upper.answered + LAG)
    }

    /// Takes note of an answer: the keys of its rows, and the window's total as it told it.
    pub fn answered(&mut self, ask: Ask, keys: HashSet<u128>, total: u64, now: Duration) -> Rows {
        let (rows, offset) = (keys.len(), ask.span.offset);
        match self.stage {
            Stage::Open { .. } => {
                (self.opened, self.total) = (total, total);
                if offset + rows as u64 >= total {
                    self.stage = Stage::Whole;
                    return Rows::Take;
                }
                self.stage = Stage::Top { asked: false };
                let pages = (total - self.start_offset) / self.stride as u64;
                self.unread = self.start_offset + pages * self.stride as u64;
                return Rows::Leave;
            }
            Stage::Top { .. } if rows >= ask.span.count => {
                // The window reaches higher than it told; this page is read again on the way down.
                self.total = self.total.min(total);
                self.unread = offset + rows as u64;
                self.stage = Stage::Top { asked: false };
                return Rows::Leave;
            }
            Stage::Top { .. } => {
                self.stage = Stage::Down;
                let state = State::Asked;
                self.pages.push_back(Page { offset, height: self.stride, readings: 0, state });
            }
            Stage::Down | Stage::Whole => {}
        }
        self.total = self.total.min(total);
        if let Some(page) = ask.number.checked_sub(self.first).and_then(|index| self.pages.get_mut(index)) {
            page.readings += 1;
            let short = rows < ask.span.count;
            page.state = State::Read(Read { asked: ask.at, answered: now, keys, short });
        }
        self.join();
        Rows::Take
    }

    /// Joins pages from the top down, as far as they share a row. One that shares none is due again, with more overlap,
    /// unless it was asked for so late that no picture can be older than the upper page.
    fn join(&mut self) {
        while let Some(Page { state: State::Read(read), .. }) = self.pages.front() {
            let joins = match &self.upper {
                _ if read.keys.is_empty() => true,
                Some(upper) if !read.keys.is_disjoint(&upper.keys) => true,
                // Later than any picture of the upper page: what stood below it then stands in this page now, or lower.
                // But pages in between that were empty may have been so by a still newer picture.
                Some(upper) => read.asked >= upper.answered + LAG && (read.short || !self.passed_empty),
                None => read.short,
            };
            if !joins {
                self.overlap = (2 * self.overlap).min(self.stride);
                self.pages[0].state = State::Due;
                return;
            }
            let page = self.pages.pop_front();
            self.first += 1;
            if let Some(Page { state: State::Read(read), .. }) = page {
                self.passed_empty = read.keys.is_empty();
                if !self.passed_empty {
                    self.upper = Some(read);
                }
            }
        }
    }

    /// Whether every row was asked for, and all pages join.
    pub fn finished(&self) -> bool {
        match self.stage {
            Stage::Open { .. } | Stage::Top { .. } => false,
            Stage::Down => self.pages.is_empty() && self.unread <= self.floor(),
            Stage::Whole => true,
        }
    }

    /// Rows in the window when it was opened, `start_offset` taken off.
    pub fn rows(&self) -> u64 {
        self.opened.saturating_sub(self.start_offset)
    }

    /// Rows in the window when it was opened that `start_offset` leaves out.
    pub fn left_out(&self) -> u64 {
        self.opened.min(self.start_offset)
    }

    /// The fewest different rows that a finished walk can have seen if it missed none.
    pub fn least(&self) -> u64 {
        self.total.saturating_sub(self.floor())
    }

    /// Where the walk ends: `start_offset` counts rows of the window as it was opened, and rows that have left it
    /// since may have stood below.
    fn floor(&self) -> u64 {
        self.start_offset.saturating_sub(self.opened - self.total)
    }
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
