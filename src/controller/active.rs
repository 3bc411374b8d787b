//! What the controller knows of a run before its result is final.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::calls::Waiter;
use crate::{
    base::{counts::Counts, requests::RequestCounter},
    state::Entry,
    store::{RunStore, runs::RunKind},
};

/// A run whose result is not final: it is active, or its result is being written.
pub struct Active {
    /// The entry at the start of the run.
    pub entry: Entry,
    pub kind: RunKind,
    pub began: DateTime<Utc>,
    /// The store for its history line, and the counter of its requests; `None` until the run has begun.
    pub traces: Option<(Arc<dyn RunStore>, Arc<RequestCounter>)>,
    /// Whether a person has requested the run.
    pub is_requested: bool,
    /// The requests that wait for its end.
    pub waiters: Vec<Waiter>,
    /// The counts of the finished run, and the end of its last window.
    pub finished: Option<(Counts, DateTime<Utc>)>,
}
