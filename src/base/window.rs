//! Which records a run reads: a window of time, frozen at its start, and the pages within.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::record::Record;

/// One of the listings of a source: a record is in one of them at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sweep {
    /// The plain listing: everybody but the archived.
    Listed,
    /// Those who were taken out of it, and whose data is kept.
    Archived,
}

/// The records of a listing last changed in `(since, until]`, oldest change first; without a bound all on that side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    pub sweep: Sweep,
    pub since: Option<DateTime<Utc>>,
    /// None only for counting: a window that is paged has an end, so that nothing enters it.
    pub until: Option<DateTime<Utc>>,
}

/// A stretch of the rows of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Rows before the first one wanted.
    pub offset: u64,
    /// The most rows wanted, at least 1.
    pub count: usize,
}

/// Where the next page of a chain is: what the source has named, kept as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor(pub String);

/// One page of a chain.
#[derive(Debug)]
pub struct Link {
    pub records: Vec<Record>,
    /// None: this was the last one.
    pub next: Option<Cursor>,
    /// When the page was made, by the source's own clock.
    pub at: DateTime<Utc>,
}

/// The answer to one read.
#[derive(Debug)]
pub struct Page {
    pub records: Vec<Record>,
    /// How many rows the window held when the page was made.
    pub total: u64,
    /// When that was, by the source's own clock.
    pub at: DateTime<Utc>,
}
