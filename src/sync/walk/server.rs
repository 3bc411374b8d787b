//! What is known of how a server answers, and pages that fit it.

use serde::{Deserialize, Serialize};

use super::{MOST, Walk};

/// What is known of how a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// The most rows that it gives in one answer; [`MOST`] as long as it has not cut one off.
    pub cap: usize,
    /// The most rows that it has given in one answer.
    pub proven: usize,
    /// As long as it has proven nothing: whether a total alone is not enough to take a first page for all of them.
    pub doubts: bool,
}

impl Default for Server {
    fn default() -> Self {
        Server { cap: MOST, proven: 0, doubts: true }
    }
}

impl Server {
    /// What both have shown.
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
