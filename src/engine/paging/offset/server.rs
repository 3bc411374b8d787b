//! Limits that a server's answers have shown, and pages that fit them.

use super::Walk;

impl Walk {
    /// Makes pages and their overlap fit a server that gives at most `cap` rows in one answer.
    pub(super) fn fit(&mut self, cap: usize) {
        if cap >= self.cap {
            return;
        }
        if cap < 2 {
            self.failed = Some("gives one row in an answer, so that no two pages can overlap".into());
            return;
        }
        self.cap = cap;
        self.overlap = self.overlap.min((cap / 20).max(5)).min((cap / 5).max(1));
        self.stride = self.stride.min(cap - self.overlap);
        self.least_stride = self.least_stride.min(self.stride);
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
