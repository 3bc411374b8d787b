//! How two neighbouring pages meet.

use std::{collections::HashSet, time::Duration};

use super::Row;

/// Shared rows by which two pages are seen to come in the same order: by chance so many would rarely do.
const ORDERED: usize = 3;

/// A page as it was answered.
pub(super) struct Read {
    pub asked: Duration,
    pub answered: Duration,
    pub rows: Vec<Row>,
    pub keys: HashSet<u128>,
    /// It brought fewer rows than asked for, so that nothing stood above them.
    pub short: bool,
    /// Nothing stood below its rows.
    pub lowest: bool,
}

impl Read {
    /// Whether the rows that it shares with the page above come in the same order in both, as the lowest of that one and the
    /// highest of this one, but for some that have left in between: then the server keeps an order within a second too.
    fn continues(&self, upper: &Read) -> bool {
        let shared = |rows: &[Row], other: &Read| {
            let of = rows.iter().enumerate().filter(|(_, row)| other.keys.contains(&row.key));
            of.map(|(index, row)| (index, row.key)).collect::<Vec<_>>()
        };
        let (here, above) = (shared(&self.rows, upper), shared(&upper.rows, self));
        let same = here.iter().map(|(_, key)| key).eq(above.iter().map(|(_, key)| key));
        let (Some((first, _)), Some((last, _))) = (here.first(), above.last()) else { return false };
        let spread = (self.rows.len() - first).max(last + 1);
        same && here.len() >= ORDERED && spread <= 2 * here.len()
    }

    /// Whether it holds all rows of a second, as one answer is a consistent picture.
    fn holds(&self, second: i64) -> bool {
        let (Some(bottom), Some(top)) = (self.rows.first(), self.rows.last()) else { return false };
        (bottom.second < second || self.lowest) && (top.second > second || self.short)
    }

    /// The seconds at the two edges where this page meets the upper one, unless one of them holds the whole second, or they
    /// come in the same order.
    pub fn cut(&self, upper: &Read) -> Vec<i64> {
        if self.continues(upper) {
            return vec![];
        }
        let edges = [upper.rows.first(), self.rows.last()].map(|row| row.map(|row| row.second));
        let cut = |second: &i64| !self.rows.is_empty() && !upper.holds(*second) && !self.holds(*second);
        edges.into_iter().flatten().filter(cut).collect()
    }
}
