//! Which rows of a frozen window to ask for next. Pure: knows offsets and totals, nothing else.
//!
//! Rows are sorted by their last change and the window's end is fixed, so a row that changes now *leaves* the window
//! and every row above it moves one place down. Walking upwards would step over the rows that moved; the walk
//! therefore goes downwards from the highest row, where a row that moves only moves into what is still unread.

use crate::base::window::Span;

/// What to do with the rows of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// They are part of the walk.
    Take,
    /// They will be read again in their turn.
    Leave,
}

/// The walk through one window, from its highest row down to `start_offset`.
pub struct Walk {
    /// Rows a page, at least 1.
    size: usize,
    start_offset: u64,
    stage: Stage,
    /// Rows at or above this one are read or being read.
    unread: u64,
    /// Spans that were given out and not answered yet.
    asked: usize,
    /// Rows in the window when it was opened, and the fewest told since.
    opened: u64,
    total: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The first page from the bottom tells how many rows there are. When it holds them all, that is the walk: one
    /// answer is a consistent picture.
    Open,
    /// Looking for the highest page; it comes back short.
    Top,
    Down,
    /// One answer held everything.
    Whole,
}

impl Walk {
    pub fn new(size: usize, start_offset: u64) -> Self {
        Walk { size: size.max(1), start_offset, stage: Stage::Open, unread: 0, asked: 0, opened: 0, total: 0 }
    }

    /// The next rows to ask for; none while an answer must come first, or at the end.
    pub fn ask(&mut self) -> Option<Span> {
        let span = match self.stage {
            Stage::Open | Stage::Top if self.asked > 0 => return None,
            Stage::Open => Span { offset: self.start_offset, count: self.size },
            Stage::Top => Span { offset: self.unread, count: self.size },
            Stage::Down => {
                let floor = self.floor();
                let count = (self.unread.saturating_sub(floor)).min(self.size as u64);
                if count == 0 {
                    return None;
                }
                self.unread -= count;
                Span { offset: self.unread, count: count as usize }
            }
            Stage::Whole => return None,
        };
        self.asked += 1;
        Some(span)
    }

    /// Takes note of an answer: how many rows it brought, and the window's total as it told it.
    pub fn answered(&mut self, span: Span, rows: usize, total: u64) -> Rows {
        self.asked -= 1;
        match self.stage {
            Stage::Open => {
                (self.opened, self.total) = (total, total);
                if span.offset + rows as u64 >= total {
                    self.stage = Stage::Whole;
                    return Rows::Take;
                }
                self.stage = Stage::Top;
                let pages = (total - self.start_offset) / self.size as u64;
                self.unread = self.start_offset + pages * self.size as u64;
                Rows::Leave
            }
            Stage::Top => {
                self.total = self.total.min(total);
                if rows < span.count {
                    self.stage = Stage::Down;
                    return Rows::Take;
                }
                // The window reaches higher than it told; this page is read again on the way down.
                self.unread = span.offset + span.count as u64;
                Rows::Leave
            }
            Stage::Down | Stage::Whole => {
                self.total = self.total.min(total);
                Rows::Take
            }
        }
    }

    /// Whether every row was asked for and answered.
    pub fn finished(&self) -> bool {
        match self.stage {
            Stage::Open | Stage::Top => false,
            Stage::Down => self.asked == 0 && self.unread <= self.floor(),
            Stage::Whole => self.asked == 0,
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
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// A window from which rows leave between two requests, by a script of positions.
    struct List {
        rows: Vec<u32>,
        leaving: Vec<prop::sample::Index>,
        /// The rows of the first answer's picture.
        opened: Option<Vec<u32>>,
    }

    impl List {
        fn read(&mut self, span: Span) -> (Vec<u32>, u64) {
            if let Some(index) = self.leaving.pop().filter(|_| !self.rows.is_empty()) {
                self.rows.remove(index.index(self.rows.len()));
            }
            self.opened.get_or_insert_with(|| self.rows.clone());
            let rows = self.rows.iter().skip(span.offset as usize).take(span.count).copied().collect();
            (rows, self.rows.len() as u64)
        }

        /// Walks with one worker; answers what was seen and the spans asked for.
        fn walk(&mut self, walk: &mut Walk) -> (HashSet<u32>, Vec<(u64, usize)>) {
            let (mut seen, mut asked) = (HashSet::new(), Vec::new());
            while let Some(span) = walk.ask() {
                asked.push((span.offset, span.count));
                let (rows, total) = self.read(span);
                if walk.answered(span, rows.len(), total) == Rows::Take {
                    seen.extend(rows);
                }
            }
            (seen, asked)
        }
    }

    fn asked(rows: u32, size: usize, start_offset: u64) -> Vec<(u64, usize)> {
        let mut walk = Walk::new(size, start_offset);
        let (_, asked) = List { rows: (0..rows).collect(), leaving: vec![], opened: None }.walk(&mut walk);
        assert!(walk.finished());
        asked
    }

    #[test]
    fn the_first_page_tells_the_size_and_the_rest_is_read_from_the_top() {
        assert_eq!(asked(250, 100, 0), [(0, 100), (200, 100), (100, 100), (0, 100)]);
        assert_eq!(asked(300, 100, 0), [(0, 100), (300, 100), (200, 100), (100, 100), (0, 100)]);
    }

    #[test]
    fn a_window_that_fits_one_page_is_one_request() {
        for rows in [0, 1, 99, 100] {
            assert_eq!(asked(rows, 100, 0), [(0, 100)], "{rows}");
        }
        assert_eq!(asked(150, 100, 60), [(60, 100)]);
        assert_eq!(asked(10, 100, 60), [(60, 100)]);
    }

    #[test]
    fn the_walk_ends_at_the_start_offset() {
        assert_eq!(asked(250, 100, 30), [(30, 100), (230, 100), (130, 100), (30, 100)]);
    }

    #[test]
    fn a_top_page_that_comes_back_full_is_read_on_above() {
        let mut walk = Walk::new(10, 0);
        let open = walk.ask().unwrap();
        assert_eq!(walk.answered(open, 10, 25), Rows::Leave);
        let top = walk.ask().unwrap();
        assert_eq!((top.offset, walk.ask()), (20, None));
        assert_eq!(walk.answered(top, 10, 33), Rows::Leave);
        let top = walk.ask().unwrap();
        assert_eq!(top.offset, 30);
        assert_eq!(walk.answered(top, 3, 33), Rows::Take);
        let offsets: Vec<u64> = std::iter::from_fn(|| walk.ask()).map(|span| span.offset).collect();
        assert_eq!(offsets, [20, 10, 0]);
    }

    #[test]
    fn pages_on_the_way_down_are_given_out_side_by_side() {
        let mut walk = Walk::new(10, 0);
        for (rows, total) in [(10, 35), (5, 35)] {
            let span = walk.ask().unwrap();
            walk.answered(span, rows, total);
        }
        let spans: Vec<Span> = std::iter::from_fn(|| walk.ask()).collect();
        assert_eq!(spans.len(), 3);
        for span in spans {
            assert!(!walk.finished());
            walk.answered(span, 10, 35);
        }
        assert!(walk.finished());
    }

    proptest! {
        #[test]
        fn no_row_that_stays_is_missed_by_one_worker(
            rows in 0u32..400,
            size in 1usize..60,
            start_offset in 0u64..100,
            leaving in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        ) {
            let mut list = List { rows: (0..rows).collect(), leaving, opened: None };
            let mut walk = Walk::new(size, start_offset);
            let (seen, _) = list.walk(&mut walk);
            prop_assert!(walk.finished());
            for row in list.opened.unwrap().iter().skip(start_offset as usize) {
                prop_assert!(seen.contains(row) || !list.rows.contains(row), "{row} was missed");
            }
            prop_assert!(seen.len() as u64 >= walk.least());
        }
    }
}
