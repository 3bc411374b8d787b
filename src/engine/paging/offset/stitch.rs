//! Stitches pages together and schedules those that don't fit to be read again.

use std::time::Duration;

use super::{Joined, LAG, Page, State, Walk, seam::Read};
use crate::base::key::KeySet;

/// Readings in a row that share no record with the previous one after which the walk fails: every answer then
/// has new ids.
const STRANGERS: u32 = 3;
/// Pages in a row that could only be stitched after [`LAG`] until the walk fails: each of them costs a
/// minute.
const LATE_JOINS: u32 = 30;

impl Walk {
    /// Stitches pages from the top down while each shares a row with the one above. Reads a page that shares
    /// none again, unless it is empty, ends the listing, or has a newer snapshot than the pages above and leaves no gap.
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
                if read.keys.is_empty() {
                    self.empty_answered = self.empty_answered.max(Some(read.answered));
                } else {
                    (self.upper, self.empty_answered) = (Some(read), None);
                }
            }
        }
    }

    fn joins(&self, read: &Read, height: usize) -> bool {
        let newer = |than: Duration| read.asked >= than + LAG;
        // If the snapshot is newer than the pages above, rows that were below those pages are in this page or
        // lower, unless the server truncated it. After an empty page, the page must also have exactly `height`
        // rows: one more row would be in the range of the empty page, so rows above this page could be missing.
        let covers =
            |rows: usize| if self.empty_answered.is_some() { rows == height } else { rows >= height };
        let covered = || self.stitched_at().is_some_and(newer) && covers(read.rows.len());
        match &self.upper {
            _ if read.keys.is_empty() => true,
            // The shared row has to have the same version: a late change moves a row up within the window,
            // and then both pages may show it.
            Some(upper) if read.shares(upper) => true,
            Some(upper) => (newer(upper.answered) && read.ends) || covered(),
            None => read.ends || covered(),
        }
    }

    fn count_late_joins(&mut self, read: &Read) {
        (self.strangers, self.unjoined) = (0, KeySet::default());
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
        let keys: KeySet<u128> = read.rows.iter().map(|row| row.key).collect();
        let strange = !self.unjoined.is_empty() && self.unjoined.is_disjoint(&keys);
        self.strangers = if strange { self.strangers + 1 } else { 0 };
        self.unjoined = keys;
        if self.strangers >= STRANGERS {
            self.failed = Some("returns different record ids in every answer".into());
        }
        let rows = read.rows.len();
        if rows < read.wanted && !read.ends {
            let most = rows.saturating_sub(overlap).max(1);
            // If the answer reaches the total, it may contain all rows that are left in the window. Smaller pages
            // show whether the server has a limit; a wrong limit would apply for the rest of the run.
            if rows >= self.proven && !read.reaches_total {
                self.fit(rows);
            }
            return self.split(0, self.stride.min(most));
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
