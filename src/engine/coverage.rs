//! Checks that all rows of a run are explained. Pure.

use crate::base::counts::Counts;

/// The rows of one listing in one pass, as its source counted them and as they were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rows {
    /// Rows in the window when it was opened.
    pub window: u64,
    /// The smallest number of rows in the window since then, without those left out by `start_offset`.
    pub held: u64,
    /// Different rows that were read.
    pub seen: u64,
    /// The largest growth of the totals.
    pub growth: u64,
    /// Rows that were listed although their time is outside the window.
    pub outside: u64,
    /// Rows of the window's last seconds that became visible after these seconds were read. The next window
    /// reads them.
    pub unseen: u64,
    /// Rows that repeat the key of another row of the same answer.
    pub repeated: u64,
}

impl Rows {
    /// Adds the rows to the counts of the run.
    pub fn add_to(&self, counts: &mut Counts) {
        counts.window += self.window;
        counts.seen += self.seen;
        counts.repeated += self.repeated;
        counts.left += self.left();
        counts.late += self.late();
        counts.unexplained += self.missing();
    }

    /// Returns the number of rows that left the window before they were read.
    pub fn left(&self) -> u64 {
        self.window.saturating_sub(self.seen + self.repeated + self.missing())
    }

    /// Returns the number of rows that entered the window after it was opened.
    pub fn late(&self) -> u64 {
        (self.seen + self.repeated + self.missing()).saturating_sub(self.window)
    }

    /// Returns the number of rows that stayed in the window and were not read.
    pub fn missing(&self) -> u64 {
        self.held.saturating_sub(self.seen + self.repeated + self.unseen)
    }

    /// Returns whether the counts need another check: some rows stayed and were not read, or some entered the
    /// window.
    pub fn suspicious(&self) -> bool {
        self.seen + self.repeated < self.held || self.growth > 0
    }

    /// Returns the reason if some rows are unexplained. `late` is the current number of rows in the window's
    /// last seconds, and `late_seen` is the number of them that were read. Changes of these seconds may have
    /// become visible after they were read; the next window reads these seconds again.
    pub fn unexplained(&mut self, late: u64, late_seen: u64) -> Option<String> {
        self.unseen = late.saturating_sub(late_seen);
        let missing = self.missing();
        if missing > 0 {
            let Rows { held, seen, .. } = self;
            return Some(format!(
                "the source counts {held} records, but listed only {seen} different ones; \
                 {missing} are unexplained"
            ));
        }
        // Rows outside the window prove nothing without growth: they may have changed while the server made
        // the answer.
        (self.growth > late.max(late_seen) || (self.growth > 0 && self.outside > 0)).then(|| {
            let growth = self.growth;
            format!(
                "the source's count grew by {growth} in a window that has ended: \
                 it ignores the window's bounds"
            )
        })
    }
}

#[cfg(test)]
#[path = "coverage_tests.rs"]
mod counts;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_explained_if_it_was_seen_has_left_or_came_in_late() {
        for (window, held, seen, growth, outside, late, late_seen, unexplained) in [
            (100, 100, 100, 0, 0, 0, 0, false),
            // Rows left before or after they were read.
            (100, 90, 95, 0, 0, 0, 0, false),
            (100, 90, 90, 0, 0, 0, 0, false),
            (100, 90, 89, 0, 0, 0, 0, true),
            // Rows became visible after the highest page was read.
            (100, 103, 100, 3, 0, 3, 0, false),
            (100, 103, 100, 3, 0, 5, 2, false),
            (100, 103, 100, 3, 0, 5, 3, true),
            // Rows entered a window that nothing should enter.
            (100, 103, 103, 3, 0, 2, 2, true),
            // Rows entered late, were read, and changed again.
            (100, 103, 103, 3, 0, 0, 3, false),
            (100, 103, 103, 3, 0, 3, 3, false),
            (100, 103, 103, 3, 1, 9, 9, true),
            // A row changed while the server made the answer.
            (100, 100, 100, 0, 1, 0, 0, false),
            (0, 0, 0, 0, 0, 0, 0, false),
        ] {
            let mut rows = Rows { window, held, seen, growth, outside, unseen: 0, repeated: 0 };
            assert_eq!(
                rows.unexplained(late, late_seen).is_some(),
                unexplained,
                "{rows:?} {late} {late_seen}"
            );
            assert!(rows.suspicious() || !unexplained, "{rows:?}");
            assert_eq!(
                rows.window + rows.late(),
                rows.seen + rows.repeated + rows.left() + rows.missing(),
                "{rows:?}"
            );
        }
    }
}
