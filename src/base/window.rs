//! The records that a run reads: a window of time, fixed when it is opened, and the pages within.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::record::Record;

/// A listing of a source. A record is in one listing at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Listing {
    /// The default listing: all records but the archived ones.
    Listed,
    /// Records that were taken out of the default listing, and whose data is kept.
    Archived,
}

/// The records of a listing that last changed in `(since, until]`, oldest change first. `None` sets no bound
/// on that side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    #[serde(rename = "sweep")]
    pub listing: Listing,
    /// Exclusive lower bound, in whole seconds by the source's clock.
    pub since: Option<DateTime<Utc>>,
    /// Inclusive upper bound. `None` only for counts: a window that is paged has an end, so that later
    /// changes stay outside.
    pub until: Option<DateTime<Utc>>,
}

/// A range of the rows of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Number of rows before the range.
    pub offset: u64,
    /// Upper bound of the rows in the range, at least 1.
    pub count: usize,
}

/// Position of the next page in a listing, or after a record in a shard: the source's own text, stored
/// unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor(pub String);

/// One page of a source with cursor paging.
#[derive(Debug)]
pub struct CursorPage {
    /// The records of the page.
    pub records: Vec<Record>,
    /// Position of the next page. `None`: this page is the last one.
    pub next: Option<Cursor>,
    /// Number of records in the listing at the time of the response, as the source reports it, without
    /// deleted ones. `None` if it reports none.
    pub total: Option<u64>,
    /// Time of the response, by the source's clock.
    pub at: DateTime<Utc>,
}

/// A shard of a stream: a sequence of records in a fixed order, to which records are added at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Identifies the shard within its stream, permanently.
    pub id: String,
    /// Shards that this one continues, after a split or a merge. Shards that are no longer listed count as
    /// read.
    pub parents: Vec<String>,
}

/// One page of a shard.
#[derive(Debug)]
pub struct ShardPage {
    /// The records of the page, in the order of the shard.
    pub records: Vec<Record>,
    pub next: Next,
    /// Time of the response, by the source's clock.
    pub at: DateTime<Utc>,
}

/// Continuation of a listing after a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// More records follow after this position.
    More(Cursor),
    /// No record follows at present. The next run continues after this position.
    Tip(Cursor),
    /// No record will ever follow.
    Closed,
}

/// One page of a source with offset paging.
#[derive(Debug)]
pub struct Page {
    /// The rows of the page, oldest change first.
    pub records: Vec<Record>,
    /// Number of rows in the window at the time of the response, as the source reports it.
    pub total: u64,
    /// Time of the response, by the source's clock.
    pub at: DateTime<Utc>,
}
