//! Counts of the requests of one run.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts requests while they are made, from any task.
#[derive(Debug, Default)]
pub struct RequestCounter {
    sent: AtomicU64,
    refusals: AtomicU64,
}

/// Number of requests of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Attempts, repetitions included.
    pub sent: u64,
    /// Attempts that the service did not accept, or did not answer.
    pub refusals: u64,
}

impl RequestCounter {
    /// Counts one attempt.
    pub fn count(&self, is_accepted: bool) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.refusals.fetch_add(u64::from(!is_accepted), Ordering::Relaxed);
    }

    /// Returns the counts so far.
    pub fn counts(&self) -> RequestCounts {
        RequestCounts {
            sent: self.sent.load(Ordering::Relaxed),
            refusals: self.refusals.load(Ordering::Relaxed),
        }
    }
}
