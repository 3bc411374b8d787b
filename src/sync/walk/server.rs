//! Limits that a server's answers have shown, and pages that fit them.

use serde::{Deserialize, Serialize};

use super::{MOST, Walk};

/// Limits that a server's answers have shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Upper bound of the rows in one answer; [`MOST`] as long as the server has cut none off.
    pub cap: usize,
    /// Length of the longest answer so far, in rows.
    pub proven: usize,
    /// Whether a first page that reaches its total is doubted even if its length is no round number. Matters only while no answer
    /// is known.
    pub doubts: bool,
}

impl Default for Server {
    fn default() -> Self {
        Server { cap: MOST, proven: 0, doubts: true }
    }
}

impl Server {
    /// Combines what both have shown; `doubts` is that of `self`.
    pub fn and(self, other: Server) -> Self {
        Server { cap: self.cap.min(other.cap), proven: self.proven.max(other.proven), ..self }
    }
}

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
