//! Where payloads go. A sink takes one batch and returns when its fate is known; it never retries and never waits.

pub mod ometria;

use std::collections::BTreeMap;

use futures::future::BoxFuture;

use crate::base::{
    fault::Fault,
    record::{Payload, Reason},
};

/// What a sink takes at once.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// The most payloads in one batch.
    pub records: usize,
    /// The most batches under way.
    pub in_flight: usize,
}

/// Errors that a sink has found after it had taken the records. They name none, and may be of other programs too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LateErrors {
    /// How many, by kind: a text without anybody's data.
    pub kinds: BTreeMap<String, u64>,
    /// There may have been more: the sink tells so many at most.
    pub full: bool,
}

/// Takes batches. Safe to call again with the same batch: delivery is at least once.
pub trait Sink: Send + Sync {
    fn limits(&self) -> BatchLimits;

    /// What people should know before somebody is delivered for the first time; nothing if there is nothing.
    fn caution(&self) -> Option<&'static str> {
        None
    }

    /// Why this payload would be refused, as far as that can be told without asking; nothing if it would be taken.
    fn refusal(&self, _payload: &Payload) -> Option<Reason> {
        None
    }

    /// The latest errors that were found after records had been taken; nothing if this sink has no such errors.
    fn late_errors(&self) -> BoxFuture<'_, Result<Option<LateErrors>, Fault>> {
        Box::pin(async { Ok(None) })
    }

    /// Ok: every payload was accepted. [`Fault::TooLarge`]: the batch was refused as a whole, for its size or for one of its
    /// payloads, which the sink does not name; a smaller batch may be accepted.
    fn deliver<'a>(&'a self, batch: &'a [Payload]) -> BoxFuture<'a, Result<(), Fault>>;
}
