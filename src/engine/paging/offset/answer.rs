//! Evaluates an answer: decides where the window ends, which page the rows belong to, and whether the total
//! is reliable.

use std::time::Duration;

use super::{Joined, LAG, Page, PageRequest, Rows, Stage, State, Walk, seam::Read, top::Outcome};
use crate::{base::window::Span, store::progress::Row};

/// Assumed divisor of the caps of servers: while no earlier answer is known, an answer of any other length is
/// taken to be complete.
const ROUND: usize = 10;

impl Walk {
    /// Processes an answer: its rows, oldest change first, and its total of the window.
    pub fn answered(&mut self, ask: PageRequest, rows: Vec<Row>, total: u64, now: Duration) -> Rows {
        let Span { offset, count: wanted } = ask.span;
        let end = offset + rows.len() as u64;
        if std::mem::replace(&mut self.first, false) {
            (self.opened, self.total, self.most, self.since) = (total, total, total, now);
        }
        self.totals_wrong |= !rows.is_empty() && end > total;
        self.told(total, now);
        let ends = rows.len() < wanted && self.reaches_the_end(offset, rows.len(), total);
        self.proven = self.proven.max(rows.len());
        let read = Read {
            asked: ask.at,
            answered: now,
            keys: rows.iter().copied().collect(),
            wanted,
            ends,
            reaches_total: end == total,
            lowest: offset == 0,
            rows,
        };
        match &mut self.stage {
            Stage::Top(search) => {
                let outcome = search.answered(offset, read, total);
                let top = if let Outcome::Top(top, _) = outcome { Some(top) } else { None };
                self.searched(outcome);
                match top {
                    None => Rows::Keep,
                    Some(top) if top == offset => Rows::Take,
                    Some(top) => Rows::TakeKept(top),
                }
            }
            Stage::Down | Stage::Whole => {
                if let Some(page) = self.pages.iter_mut().find(|page| page.id == ask.id) {
                    page.readings += 1;
                    page.state = State::Read(read);
                }
                self.join();
                Rows::Take
            }
        }
    }

    /// Returns whether an answer that is shorter than requested contains the last row of the window.
    fn reaches_the_end(&self, offset: u64, rows: usize, total: u64) -> bool {
        let shorter_than_others = rows < self.proven;
        let searching = matches!(self.stage, Stage::Top(_));
        if self.totals_wrong {
            // Further down, an answer that is shorter than an earlier one was not truncated. At the top a
            // probe decides, since the server may return fewer rows than it once did.
            return !searching && shorter_than_others;
        }
        // Some servers report the number of rows in the answer as the total, others never report more than a
        // certain number. A truncated answer then looks complete, unless the server has returned a longer one
        // before. Caps are round numbers.
        let doubtful = (offset == 0 || searching) && !shorter_than_others;
        let doubtful = doubtful && rows > 0 && (self.doubts || self.proven > 0 || rows.is_multiple_of(ROUND));
        offset + rows as u64 == total && !doubtful
    }

    fn searched(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Searching => {}
            // If an earlier answer was longer, the server did not truncate this one: rows have moved.
            Outcome::Capped(cap) if cap >= self.proven => self.fit(cap),
            Outcome::Capped(_) => {}
            Outcome::Endless(why) => self.failed = Some(why),
            Outcome::Top(0, read) => {
                let (opened, total) = (self.opened, self.total);
                self.stage = Stage::Whole;
                self.joined.push(Joined { offset: 0, rows: read.rows.clone(), opened, total, cut: vec![] });
                self.upper = Some(read);
            }
            Outcome::Top(offset, read) => {
                self.stage = Stage::Down;
                self.unread = offset;
                let page = self.page(offset, self.stride);
                self.pages.push_back(Page { state: State::Read(read), ..page });
                self.join();
            }
        }
    }

    /// Records a reported total.
    fn told(&mut self, total: u64, now: Duration) {
        self.total = self.total.min(total);
        if now >= self.since + LAG {
            self.most = self.most.max(total);
        }
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
