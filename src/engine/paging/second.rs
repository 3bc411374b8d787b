//! Decides whether several answers have shown all rows of a second that does not fit into one. Pure.
//!
//! A server may list the rows of one second in another order in every answer, and every answer may come from
//! an older or newer snapshot than the one before. Rows only leave a second, since a change gives a row
//! another time. Of two snapshots, the one with the smaller total is therefore the newer one, and all of its
//! rows are in the other one, too; snapshots with equal totals have the same rows. (A row that becomes visible
//! late enters its second within [`LAG`](super::offset::LAG); the next window reads these seconds again.)
//!
//! All rows of a snapshot were shown if as many different rows *of this snapshot* were shown as its total
//! says. A row that only answers from older snapshots have shown may have left since. It does not count,
//! because it would stand for a row that no answer has shown.

use std::collections::{BTreeMap, HashMap};

use chrono::DateTime;

use crate::base::{key::KeyMap, window::Window};

/// The rows of one second that answers have shown so far.
#[derive(Debug, Default)]
pub struct SecondRows {
    /// Each row with the smallest total among the answers that have shown it. Only one answer can distinguish
    /// rows that share a key, so such a row is known by its key and its number within its answer.
    rows: HashMap<(u128, u64), u64>,
    /// Every total so far, with the number of rows of which it is the smallest one.
    totals: BTreeMap<u64, u64>,
}

impl SecondRows {
    /// Adds an answer: the keys of its rows, and its total of the second.
    pub fn answered(&mut self, keys: impl Iterator<Item = u128>, total: u64) {
        self.totals.entry(total).or_default();
        let mut numbers: KeyMap<u128, u64> = KeyMap::default();
        for key in keys {
            let number = numbers.entry(key).or_default();
            let before = self.rows.get(&(key, *number)).copied();
            if before.is_none_or(|before| total < before) {
                self.rows.insert((key, *number), total);
                *self.totals.entry(total).or_default() += 1;
                if let Some(rows) = before.and_then(|before| self.totals.get_mut(&before)) {
                    *rows -= 1;
                }
            }
            *number += 1;
        }
    }

    /// Returns the number of different rows shown so far, including those that have left since.
    pub fn shown(&self) -> usize {
        self.rows.len()
    }

    /// Returns whether the answers have shown all rows of at least one snapshot, and so all rows that have
    /// stayed since. Valid only if the totals are right.
    pub fn is_complete(&self) -> bool {
        let mut shown = 0;
        self.totals.iter().any(|(total, rows)| {
            shown += rows;
            shown >= *total
        })
    }
}

/// A range of seconds, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds {
    pub first: i64,
    pub last: i64,
}

/// Largest distance between two boundary seconds that are read together, in seconds.
const TOGETHER: i64 = 60;

/// Returns the ranges in which boundary seconds are read: those near each other together, in ascending order.
pub fn groups(mut seconds: Vec<i64>) -> Vec<Seconds> {
    seconds.sort_unstable();
    let mut groups: Vec<Seconds> = Vec::new();
    for second in seconds {
        match groups.last_mut() {
            Some(group) if second.saturating_sub(group.last) <= TOGETHER => group.last = second,
            _ => groups.push(Seconds { first: second, last: second }),
        }
    }
    groups
}

impl Seconds {
    /// Returns the two halves of at least two seconds.
    pub fn halves(self) -> [Seconds; 2] {
        let middle = self.first + (self.last - self.first) / 2;
        [Seconds { last: middle, ..self }, Seconds { first: middle + 1, ..self }]
    }

    /// Returns the part of a listing's window with these seconds; `None` if they are out of the range of
    /// times.
    pub fn window(self, window: Window) -> Option<Window> {
        let since = DateTime::from_timestamp(self.first.checked_sub(1)?, 0)?;
        Some(Window { since: Some(since), until: Some(DateTime::from_timestamp(self.last, 0)?), ..window })
    }
}

#[cfg(test)]
#[path = "second_tests.rs"]
mod tests;
