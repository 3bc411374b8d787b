//! What the controller knows of a run before its result is final.

use chrono::{DateTime, Utc};

use super::{calls::Waiter, schedule::capacity::RunKind};
use crate::{base::counts::Counts, state::Entry};

/// A run whose result is not final: it is active, or its result is being written.
pub struct Active {
    /// The entry at the start of the run.
    pub entry: Entry,
    pub kind: RunKind,
    pub began: DateTime<Utc>,
    /// Whether a person has requested the run.
    pub is_requested: bool,
    /// The requests that wait for its end.
    pub waiters: Vec<Waiter>,
    /// The counts of the finished run, and the end of its last window.
    pub finished: Option<(Counts, DateTime<Utc>)>,
}
