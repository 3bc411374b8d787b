//! Adapts the pages to the limits that a server's answers have revealed.

use super::Walk;

impl Walk {
    /// Shrinks the pages and their overlap to fit a server that returns at most `cap` rows per answer.
    pub(super) fn fit(&mut self, cap: usize) {
        if cap >= self.cap {
            return;
        }
        if cap < 2 {
            self.failed = Some("returns only one row per answer, so pages can't overlap".into());
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
