//! Which records a run reads: a window of time, frozen at its start, and the pages within.

use chrono::{DateTime, Utc};

use super::record::Record;

/// The records last changed in `(since, until]`, oldest change first; all up to `until` without a `since`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub since: Option<DateTime<Utc>>,
    pub until: DateTime<Utc>,
}

/// A stretch of the rows of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Rows before the first one wanted.
    pub offset: u64,
    /// The most rows wanted, at least 1.
    pub count: usize,
}

/// The answer to one read.
#[derive(Debug)]
pub struct Page {
    pub records: Vec<Record>,
    /// How many rows the window held when the page was made.
    pub total: u64,
}
