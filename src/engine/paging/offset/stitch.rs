//! Stitches pages together and schedules those that don't fit to be read again.

use std::collections::HashSet;

use super::{Joined, LAG, Page, State, Walk, seam::Read};

/// Readings in a row that share no record with the previous one after which the walk fails: every answer then
/// has new ids.
const STRANGERS: u32 = 3;
/// Pages in a row that could only be stitched after [`LAG`] until the walk fails: each of them costs a
/// minute.
const LATE_JOINS: u32 = 30;

impl Walk {
    /// Stitches pages from the top down while each shares a row with the one above. Reads a page that shares
    /// none again, unless it was requested so late that its snapshot has to be newer than the upper page.
    pub(super) fn join(&mut self) {
        while let Some(Page { state: State::Read(read), height, .. }) = self.pages.front() {
            if !self.joins(read, *height) {
                return self.read_again();
            }
            let page = self.pages.pop_front();
            if let Some(Page { offset, state: State::Read(read), .. }) = page {
                let cut = self.upper.as_ref().map(|upper| read.cut(upper)).unwrap_or_default();
                let (opened, total) = (self.opened, self.total);
                self.joined.push(Joined { offset, rows: read.rows.clone(), opened, total, cut });
                self.count_late_joins(&read);
                self.passed_empty = read.keys.is_empty();
                if !self.passed_empty {
                    self.upper = Some(read);
                }
            }
        }
    }

    fn joins(&self, read: &Read, height: usize) -> bool {
        match &self.upper {
            _ if read.keys.is_empty() => true,
            // The shared row has to have the same version: a late change moves a row up within the window,
            // and then both pages may show it.
            Some(upper) if read.shares(upper) => true,
            // This snapshot is newer than that of the upper page, so rows that were below the upper page are
            // now in this page or lower, unless the server truncated this page. Empty pages in between may
            // come from a snapshot that is newer still.
            Some(upper) => {
                read.asked >= upper.answered + LAG
                    && (read.ends || (!self.passed_empty && read.rows.len() >= height))
            }
            None => read.ends,
        }
    }

    fn count_late_joins(&mut self, read: &Read) {
        (self.strangers, self.unjoined) = (0, HashSet::new());
        let shares = |upper: &Read| read.keys.is_empty() || read.shares(upper);
        let shared = self.upper.as_ref().is_none_or(shares);
        self.late_joins = if shared { 0 } else { self.late_joins + 1 };
        if self.late_joins >= LATE_JOINS {
            self.failed = Some(format!(
                "returned {LATE_JOINS} pages in a row that share no record with their neighbor"
            ));
        }
    }

    /// Schedules the page below the last stitched one to be read again: with more overlap, or in smaller
    /// pages if the server truncated it.
    fn read_again(&mut self) {
        let overlap = self.overlap;
        let Some(page) = self.pages.front_mut() else { return };
        let State::Read(read) = std::mem::replace(&mut page.state, State::Due) else { return };
        let keys: HashSet<u128> = read.rows.iter().map(|row| row.key).collect();
        let strange = !self.unjoined.is_empty() && self.unjoined.is_disjoint(&keys);
        self.strangers = if strange { self.strangers + 1 } else { 0 };
        self.unjoined = keys;
        if self.strangers >= STRANGERS {
            self.failed = Some("returns different record ids in every answer".into());
        }
        let rows = read.rows.len();
        if rows < read.wanted && !read.ends {
            if rows >= self.proven {
                self.fit(rows);
            }
            return self.split(0, self.stride.min(rows.saturating_sub(overlap).max(1)));
        }
        self.overlap = (2 * self.overlap).min(self.stride).min(self.cap / 2);
        // The overlap has to fit into an answer, too.
        self.stride = self.stride.min(self.cap - self.overlap);
        self.split(0, self.stride);
    }
}

#[cfg(test)]
#[path = "stitch_tests.rs"]
mod tests;
