//! Finds the end of a listing, and with it the page from which the walk starts. Pure.
//!
//! A total alone is never trusted. A listing ends with a page that is shorter than requested *and* reaches
//! the total of its own answer. Any other page that could be the last one is checked by a probe, which
//! requests its last rows and one more. If the probe ends with the same row, no row is above it. If the probe
//! returns more rows, and the page was shorter than requested, the server caps its answers at the length of
//! that page.

use super::seam::Read;
use crate::{
    base::{key::KeySet, window::Span},
    store::progress::Row,
};

/// Answers in a row that repeat an earlier answer after which the search fails. Rows that leave the window
/// may cause one such answer, but hardly three.
const NO_PROGRESS: u32 = 3;
/// An offset beyond the end of any list: a listing that still has rows here never ends.
const ENDLESS: u64 = 10_000_000_000;
/// Answers after which the search fails. Doubling and halving offsets up to [`ENDLESS`] takes about 60.
const MOST_ANSWERS: u32 = 120;
/// Rows of the candidate that a probe requests again, so that it still finds them after some rows have left.
const PROBE: usize = 20;

/// The search for the highest page of a window.
#[derive(Default)]
pub(super) struct Search {
    /// Offset after the highest row seen.
    low: u64,
    /// The lowest offset at which an answer was empty.
    high: Option<u64>,
    /// Total of the last answer.
    total: u64,
    /// The last offset that a total suggested.
    tried: Option<u64>,
    /// Pages to skip while neither a total nor an empty answer shows where the end is.
    skip: u64,
    asked: bool,
    /// Offset of the requested page.
    offset: Option<u64>,
    /// The page that is the last one unless a probe finds more rows, with its offset.
    candidate: Option<(u64, Read)>,
    /// The first and the latest answer with rows, each with its offset.
    earlier: Vec<(u64, KeySet<Row>)>,
    no_progress: u32,
    answers: u32,
}

/// What an answer means for the search.
pub(super) enum Outcome {
    Searching,
    /// The page at this offset is the highest one.
    Top(u64, Read),
    /// The search continues; the server returns at most this number of rows per answer.
    Capped(usize),
    /// The end can't be found, for this reason: a predicate to "the source".
    Endless(String),
}

impl Search {
    /// Returns the next rows to request, or `None` while a request is in flight. `stride` is the number of
    /// rows from one page's start to the next, `page` that of a page with its overlap.
    pub fn ask(&mut self, stride: usize, page: usize) -> Option<Span> {
        if std::mem::replace(&mut self.asked, true) {
            return None;
        }
        if let Some((offset, read)) = &self.candidate {
            let (end, again) = (offset + read.rows.len() as u64, again(read));
            return Some(Span { offset: end - again as u64, count: again + 1 });
        }
        if self.answers == 0 {
            return Some(Span { offset: 0, count: stride });
        }
        let offset = self.offset.unwrap_or_else(|| self.next(stride as u64, page as u64));
        self.offset = Some(offset);
        Some(Span { offset, count: page })
    }

    /// Allows the last request to be repeated, possibly for fewer rows.
    pub fn again(&mut self) {
        self.asked = false;
    }

    fn next(&mut self, stride: u64, page: u64) -> u64 {
        if let Some(high) = self.high {
            if high <= self.low {
                // Rows have left the window since they were read.
                return high.saturating_sub(1 + page / 2);
            }
            // One page covers the range from a row already read to the end of the listing.
            if high < self.low + page - 1 {
                return self.low.saturating_sub(1);
            }
        }
        let last = self.total.saturating_sub(1);
        let hint = (last - last % stride).max(self.low);
        if self.total > self.low && self.tried != Some(hint) && self.high.is_none_or(|high| hint < high) {
            self.tried = Some(hint);
            return hint;
        }
        match self.high {
            Some(high) => self.low + (high - self.low) / 2,
            None => {
                let skip = self.skip;
                self.skip = 2 * skip + 1;
                self.low + skip * page
            }
        }
    }

    pub fn answered(&mut self, offset: u64, read: Read, total: u64) -> Outcome {
        (self.asked, self.offset) = (false, None);
        self.answers += 1;
        if self.answers > MOST_ANSWERS {
            let answers = self.answers;
            return Outcome::Endless(format!("showed no end of the listing in {answers} answers"));
        }
        if let Some((at, candidate)) = self.candidate.take() {
            return self.probed(at, candidate, offset, &read, total);
        }
        let (rows, end) = (read.rows.len(), offset + read.rows.len() as u64);
        // Both its rows and its total say that the listing has nothing here or above. The walk down finds the
        // rows below.
        if rows == 0 && total <= offset && offset - total <= 2 * read.wanted as u64 {
            return Outcome::Top(offset, Read { ends: true, ..read });
        }
        if rows == 0 && offset == 0 {
            return Outcome::Top(0, Read { ends: true, ..read });
        }
        if let Some(repeated) = self.repeats(offset, &read) {
            self.no_progress += 1;
            return match self.no_progress {
                NO_PROGRESS => Outcome::Endless(format!(
                    "returned the rows of offset {repeated} for offset {offset}; it seems to ignore the offset"
                )),
                _ => Outcome::Searching,
            };
        }
        self.no_progress = 0;
        self.note(offset, &read, total);
        if self.low > ENDLESS {
            let low = self.low;
            return Outcome::Endless(format!("still has rows at offset {low}, beyond the end of any list"));
        }
        if read.ends {
            return Outcome::Top(offset, read);
        }
        if rows > 0 && (rows < read.wanted || end == total) {
            self.candidate = Some((offset, read));
        }
        Outcome::Searching
    }

    /// Evaluates the probe at `offset`: do rows follow the candidate at `at`?
    fn probed(&mut self, at: u64, candidate: Read, offset: u64, read: &Read, total: u64) -> Outcome {
        self.note(offset, read, total);
        let rows = candidate.rows.len();
        let followed = match candidate.rows.last().filter(|_| again(&candidate) > 0) {
            // The candidate has one row, and the probe starts above it.
            None => Some(!read.rows.is_empty()),
            // A full answer that ends with the candidate's last row does not show what follows.
            Some(last) => match read.rows.iter().position(|row| row == last) {
                Some(place) if place + 1 < read.rows.len() => Some(true),
                Some(_) if read.rows.len() < read.wanted => Some(false),
                _ => None,
            },
        };
        match followed {
            Some(false) => Outcome::Top(at, Read { ends: true, ..candidate }),
            Some(true) if rows < candidate.wanted => Outcome::Capped(rows),
            // Rows have left in between, so that the probe missed the candidate.
            _ => Outcome::Searching,
        }
    }

    fn note(&mut self, offset: u64, read: &Read, total: u64) {
        self.total = total;
        if read.rows.is_empty() {
            self.high = Some(self.high.map_or(offset, |high| high.min(offset)));
            return;
        }
        self.low = self.low.max(offset + read.rows.len() as u64);
        self.earlier.truncate(1);
        self.earlier.push((offset, read.keys.clone()));
    }

    /// Returns the offset of an earlier answer, below this one, that contained most of these rows.
    fn repeats(&self, offset: u64, read: &Read) -> Option<u64> {
        let below = self.earlier.iter().filter(|(at, keys)| at + keys.len() as u64 <= offset);
        let mut same = below.filter(|(_, keys)| 2 * read.keys.intersection(keys).count() > read.keys.len());
        same.next().map(|(at, _)| *at)
    }
}

/// Returns the number of the candidate's rows that the probe requests again.
fn again(candidate: &Read) -> usize {
    PROBE.min(candidate.rows.len().saturating_sub(1))
}

#[cfg(test)]
#[path = "top_tests.rs"]
mod tests;
