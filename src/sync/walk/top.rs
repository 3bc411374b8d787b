//! Finds the end of a listing, and with it the page that the walk starts from. Pure.
//!
//! No total is trusted alone. A listing ends with a page that is shorter than asked *and* reaches the total of the same
//! answer. Any other page that could be the last one is followed: a probe asks for its last rows and one more. If the
//! probe ends with the same row, nothing stands above it. If more rows come, and the page was shorter than asked, the
//! server caps its answers at the length of that page.

use std::collections::HashSet;

use super::{Row, joint::Read};
use crate::base::window::Span;

/// Answers in a row that repeat an earlier answer before the search fails. Rows may leave meanwhile, but not so often.
const NO_PROGRESS: u32 = 3;
/// More rows than any list has: a server that still answers with rows at this offset never ends.
const ENDLESS: u64 = 10_000_000_000;
/// Answers before the search fails; doubling and halving offsets up to [`ENDLESS`] takes some 60.
const MOST_ANSWERS: u32 = 120;
/// Rows of the candidate that a probe asks for again, so that it still meets them when some rows have left.
const PROBE: usize = 20;

/// The search for the highest page of a window.
#[derive(Default)]
pub(super) struct Search {
    /// Rows were seen below this offset.
    low: u64,
    /// The lowest offset at which there was no row.
    high: Option<u64>,
    /// Rows in the window, as the last answer counts them.
    total: u64,
    /// The last offset that was tried because of a total.
    tried: Option<u64>,
    /// Pages to skip when neither a total nor an empty answer says where the end is.
    skip: u64,
    asked: bool,
    /// Where the page begins that is asked for.
    offset: Option<u64>,
    /// The last page of the listing, unless a probe finds more rows; with its offset.
    candidate: Option<(u64, Read)>,
    /// The first answer and the latest one that had rows, with their offsets.
    earlier: Vec<(u64, HashSet<Row>)>,
    no_progress: u32,
    answers: u32,
}

/// What an answer says about the end of the listing.
pub(super) enum Outcome {
    Searching,
    /// The page at this offset is the highest one.
    Top(u64, Read),
    /// The search goes on; the server gives at most this number of rows in one answer.
    Capped(usize),
    /// The end can't be found, and why.
    Endless(String),
}

impl Search {
    /// The next rows to read; none while an answer is awaited. `stride` and `page`: the rows from one page's start to the
    /// next, and the rows of a page with its overlap.
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

    /// The last request is made again, perhaps for fewer rows.
    pub fn again(&mut self) {
        self.asked = false;
    }

    fn next(&mut self, stride: u64, page: u64) -> u64 {
        if let Some(high) = self.high {
            if high <= self.low {
                // Rows have left since they were seen.
                return high.saturating_sub(1 + page / 2);
            }
            // One page reaches from a row that was seen to the end.
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
        // Nothing stands here or above, by the rows and by the total; the walk down meets what is left below.
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
                    "answers offset {offset} with the rows of offset {repeated}; it seems to ignore the offset"
                )),
                _ => Outcome::Searching,
            };
        }
        self.no_progress = 0;
        self.note(offset, &read, total);
        if self.low > ENDLESS {
            let low = self.low;
            return Outcome::Endless(format!("still has rows at offset {low}, more than any list holds"));
        }
        if read.ends {
            return Outcome::Top(offset, read);
        }
        if rows > 0 && (rows < read.wanted || end == total) {
            self.candidate = Some((offset, read));
        }
        Outcome::Searching
    }

    /// A probe at `offset` shows whether rows follow the candidate, which stands at `at`.
    fn probed(&mut self, at: u64, candidate: Read, offset: u64, read: &Read, total: u64) -> Outcome {
        self.note(offset, read, total);
        let rows = candidate.rows.len();
        let followed = match candidate.rows.last().filter(|_| again(&candidate) > 0) {
            // Only one row: the probe begins above it.
            None => Some(!read.rows.is_empty()),
            // A full answer that ends with the row says nothing of what follows.
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

    /// The offset of an earlier answer below this one to which most of these rows belong.
    fn repeats(&self, offset: u64, read: &Read) -> Option<u64> {
        let below = self.earlier.iter().filter(|(at, keys)| at + keys.len() as u64 <= offset);
        let mut same = below.filter(|(_, keys)| 2 * read.keys.intersection(keys).count() > read.keys.len());
        same.next().map(|(at, _)| *at)
    }
}

/// Rows of a candidate that the probe asks for again.
fn again(candidate: &Read) -> usize {
    PROBE.min(candidate.rows.len().saturating_sub(1))
}
