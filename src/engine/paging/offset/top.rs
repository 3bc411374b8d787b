//! Finds the end of a listing, and with it the page that the walk starts from. Pure.
//!
//! No total is trusted alone. A listing ends with a page that is shorter than requested *and* reaches the total of the same
//! answer. Any other page that could be the last one is checked by a probe, which requests its last rows and one more. If the
//! probe ends with the same row, nothing stands above it. If more rows come, and the page was shorter than requested, the
//! server caps its answers at the length of that page.

use std::collections::HashSet;

use super::seam::Read;
use crate::{base::window::Span, store::progress::Row};

/// Answers in a row that repeat an earlier answer until the search fails. Rows that leave may cause one, but hardly three.
const NO_PROGRESS: u32 = 3;
/// An offset beyond the end of any list: a listing that still has rows here never ends.
const ENDLESS: u64 = 10_000_000_000;
/// Answers until the search fails. Doubling and halving offsets up to [`ENDLESS`] takes about 60.
const MOST_ANSWERS: u32 = 120;
/// Rows of the candidate that a probe requests again, so that it still meets them when some rows have left.
const PROBE: usize = 20;

/// The search for the highest page of a window.
#[derive(Default)]
pub(super) struct Search {
    /// End of the highest row seen, as an offset.
    low: u64,
    /// The lowest offset at which an answer was empty.
    high: Option<u64>,
    /// Total of the last answer.
    total: u64,
    /// The last offset that a total suggested.
    tried: Option<u64>,
    /// Pages to skip when neither a total nor an empty answer says where the end is.
    skip: u64,
    asked: bool,
    /// Offset of the requested page.
    offset: Option<u64>,
    /// The page that is the last one unless a probe finds more rows, with its offset.
    candidate: Option<(u64, Read)>,
    /// The first answer and the latest one that had rows, with their offsets.
    earlier: Vec<(u64, HashSet<Row>)>,
    no_progress: u32,
    answers: u32,
}

/// Result of an answer for the search.
pub(super) enum Outcome {
    Searching,
    /// The page at this offset is the highest one.
    Top(u64, Read),
    /// The search goes on; the server gives at most this number of rows in one answer.
    Capped(usize),
    /// The end can't be found, for this reason: a predicate to "the source".
    Endless(String),
}

impl Search {
    /// Returns the next rows to read, or `None` while an answer is awaited. `stride` is the number of rows from one page's start to
    /// the next, `page` that of a page with its overlap.
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

    /// Allows the last request to be repeated, perhaps for fewer rows.
    pub fn again(&mut self) {
        self.asked = false;
    }

    fn next(&mut self, stride: u64, page: u64) -> u64 {
        if let Some(high) = self.high {
            if high <= self.low {
                // Rows have left since they were seen.
                return high.saturating_sub(1 + page / 2);
            }
            // One page reaches from a row that was seen to the end of the listing.
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
            return Outcome::Endless(format!("found no end of the listing in {answers} answers"));
        }
        if let Some((at, candidate)) = self.candidate.take() {
            return self.probed(at, candidate, offset, &read, total);
        }
        let (rows, end) = (read.rows.len(), offset + read.rows.len() as u64);
        // By its rows and its total, the listing has nothing here or above. The walk down meets the rows below.
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

    /// Evaluates the probe at `offset`, which shows whether rows follow the candidate at `at`.
    fn probed(&mut self, at: u64, candidate: Read, offset: u64, read: &Read, total: u64) -> Outcome {
        self.note(offset, read, total);
        let rows = candidate.rows.len();
        let followed = match candidate.rows.last().filter(|_| again(&candidate) > 0) {
            // The candidate has one row, and the probe begins above it.
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
            // Rows have left in between, so that the probe did not meet the candidate.
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

    /// Returns the offset of an earlier answer below this one that has most of these rows.
    fn repeats(&self, offset: u64, read: &Read) -> Option<u64> {
        let below = self.earlier.iter().filter(|(at, keys)| at + keys.len() as u64 <= offset);
        let mut same = below.filter(|(_, keys)| 2 * read.keys.intersection(keys).count() > read.keys.len());
        same.next().map(|(at, _)| *at)
    }
}

/// Returns the number of a candidate's rows that the probe requests again.
fn again(candidate: &Read) -> usize {
    PROBE.min(candidate.rows.len().saturating_sub(1))
}

#[cfg(test)]
#[path = "top_tests.rs"]
mod tests;
