//! How two neighbouring pages meet.

use std::{collections::HashSet, time::Duration};

use crate::store::progress::{Cut, Row, UNTIMED};

/// A page as it was answered.
pub(super) struct Read {
    pub asked: Duration,
    pub answered: Duration,
    pub rows: Vec<Row>,
    pub keys: HashSet<Row>,
    /// Number of rows that were requested.
    pub wanted: usize,
    /// Whether no row stood above these. Normally the page is shorter than requested and reaches the total of the same answer.
    pub ends: bool,
    /// Nothing stood below its rows.
    pub lowest: bool,
}

impl Read {
    /// Returns the pairs of neighboring rows of a second that both this page and the upper one show, if the order is the same
    /// but for rows that have left in between.
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

    /// Whether both pages have a row in the same version. Without a time the version of a row is unknown.
    pub fn shares(&self, upper: &Read) -> bool {
        self.keys.iter().any(|row| row.second != UNTIMED && upper.keys.contains(row))
    }

    /// Whether it holds all rows of a second, as one answer is a consistent picture.
    fn holds(&self, second: i64) -> bool {
        let (Some(bottom), Some(top)) = (self.bottom(), self.top()) else { return false };
        (bottom < second || self.lowest) && (top > second || self.ends)
    }

    /// Returns the second of the lowest row that has one. A row whose time can't be read stands among rows of its time.
    fn bottom(&self) -> Option<i64> {
        self.rows.iter().map(|row| row.second).find(|second| *second != UNTIMED)
    }

    /// Returns the second of the highest row that has one.
    fn top(&self) -> Option<i64> {
        self.rows.iter().rev().map(|row| row.second).find(|second| *second != UNTIMED)
    }

    /// The seconds at the two edges where this page meets the upper one, unless one of them holds the whole second.
    pub fn cut(&self, upper: &Read) -> Vec<Cut> {
        let edges = [upper.bottom(), self.top()];
        let cut = |second: &i64| !self.rows.is_empty() && !upper.holds(*second) && !self.holds(*second);
        let mut seconds: Vec<i64> = edges.into_iter().flatten().filter(cut).collect();
        seconds.dedup();
        seconds.into_iter().map(|second| Cut { second, in_order: self.in_order(upper, second) }).collect()
    }
}

#[cfg(test)]
#[path = "seam_tests.rs"]
mod tests;
