//! Compares two neighboring pages at their seam.

use std::time::Duration;

use crate::base::key::KeySet;
use crate::store::progress::{BoundarySecond, Row, UNTIMED};

/// A page as the server returned it.
pub(super) struct Read {
    /// Times of the request and of the answer, since the common start.
    pub asked: Duration,
    pub answered: Duration,
    pub rows: Vec<Row>,
    pub keys: KeySet<Row>,
    /// Number of rows requested.
    pub wanted: usize,
    /// Whether no row is above these. Usually such a page is shorter than requested and reaches the total of
    /// its own answer.
    pub ends: bool,
    /// Whether the page reaches the total of its own answer. That total may be wrong.
    pub reaches_total: bool,
    /// Whether no row is below these.
    pub lowest: bool,
}

impl Read {
    /// Returns the number of pairs of neighboring rows of this second that this page and the upper one show
    /// in the same order. Returns `None` if the order differs, if no row is shared, or if fewer than half of
    /// the rows at the seam are shared; rows that left in between may be missing from one of the pages.
    fn in_order(&self, upper: &Read, second: i64) -> Option<u32> {
        let shared = |rows: &[Row], other: &Read| {
            let of =
                rows.iter().enumerate().filter(|(_, row)| row.second == second && other.keys.contains(row));
            of.map(|(index, row)| (index, row.key)).collect::<Vec<_>>()
        };
        let (here, above) = (shared(&self.rows, upper), shared(&upper.rows, self));
        let same = here.iter().map(|(_, key)| key).eq(above.iter().map(|(_, key)| key));
        let ((first, _), (last, _)) = (here.first()?, above.last()?);
        let spread = (self.rows.len() - first).max(last + 1);
        (same && spread <= 2 * here.len()).then_some(here.len() as u32 - 1)
    }

    /// Returns whether both pages contain a row in the same version. Without a time, the version of a row is
    /// unknown.
    pub fn shares(&self, upper: &Read) -> bool {
        self.keys.iter().any(|row| row.second != UNTIMED && upper.keys.contains(row))
    }

    /// Returns whether this page contains all rows of a second. A single answer is a consistent snapshot.
    fn holds(&self, second: i64) -> bool {
        let (Some(bottom), Some(top)) = (self.bottom(), self.top()) else { return false };
        (bottom < second || self.lowest) && (top > second || self.ends)
    }

    /// Returns the second of the lowest row with a time. A row whose time can't be read is listed among rows
    /// of its time.
    fn bottom(&self) -> Option<i64> {
        self.rows.iter().map(|row| row.second).find(|second| *second != UNTIMED)
    }

    /// Returns the second of the highest row with a time.
    fn top(&self) -> Option<i64> {
        self.rows.iter().rev().map(|row| row.second).find(|second| *second != UNTIMED)
    }

    /// Returns the boundary seconds of this page and the upper one: the seconds at the two edges of the seam,
    /// unless one of the pages contains all rows of that second.
    pub fn cut(&self, upper: &Read) -> Vec<BoundarySecond> {
        let edges = [upper.bottom(), self.top()];
        let cut = |second: &i64| !self.rows.is_empty() && !upper.holds(*second) && !self.holds(*second);
        let mut seconds: Vec<i64> = edges.into_iter().flatten().filter(cut).collect();
        seconds.dedup();
        seconds
            .into_iter()
            .map(|second| BoundarySecond { second, in_order: self.in_order(upper, second) })
            .collect()
    }
}

#[cfg(test)]
#[path = "seam_tests.rs"]
mod tests;
