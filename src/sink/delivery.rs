//! What goes to a sink, and what comes back: encoded payloads, and the outcome of a batch.

use std::{collections::BTreeMap, ops::Deref};

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::base::{
    fault::{Fault, Problem},
    json::Json,
    key::RecordKey,
    record::Reason,
};

/// A payload in the form in which the sink sends it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Key of the record.
    pub key: RecordKey,
    /// The encoded payload. Its length counts against [`BatchLimits::bytes`](super::BatchLimits::bytes).
    pub bytes: Encoded,
    /// Whether the payload withdraws a person's consent.
    pub opts_out: bool,
    /// Whether the payload passes on a person's consent.
    pub opts_in: bool,
}

impl Prepared {
    /// Returns a payload that neither withdraws nor passes on a consent.
    pub fn new(key: &RecordKey, bytes: impl Into<Encoded>) -> Self {
        Prepared { key: key.clone(), bytes: bytes.into(), opts_out: false, opts_in: false }
    }
}

/// The bytes of a payload.
#[derive(Debug, Clone)]
pub enum Encoded {
    /// The text that the mapping has made, unchanged.
    Json(Json),
    Text(Bytes),
}

impl Deref for Encoded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Encoded::Json(json) => json.get().as_bytes(),
            Encoded::Text(text) => text,
        }
    }
}

impl From<Json> for Encoded {
    fn from(json: Json) -> Self {
        Encoded::Json(json)
    }
}

impl From<String> for Encoded {
    fn from(text: String) -> Self {
        Encoded::Text(text.into())
    }
}

/// Formats a batch of JSON payloads as an array, even for a single one.
pub fn array(batch: &[Prepared]) -> Vec<u8> {
    let mut array =
        Vec::with_capacity(1 + batch.iter().map(|prepared| prepared.bytes.len() + 1).sum::<usize>());
    array.push(b'[');
    for (index, prepared) in batch.iter().enumerate() {
        if index > 0 {
            array.push(b',');
        }
        array.extend_from_slice(&prepared.bytes);
    }
    array.push(b']');
    array
}

/// Rejection of a payload that a service refused, or would refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Reason by which the record is counted.
    pub reason: Reason,
    /// Text of the dead letter without personal data; `None`: the reason is enough.
    pub detail: Option<String>,
    /// The service's identifier of the request, by which its support finds it.
    pub request_id: Option<String>,
    /// Whether the payload would have withdrawn a person's consent.
    pub opts_out: bool,
}

impl Rejection {
    /// Makes a rejection with this reason.
    pub fn new(reason: Reason) -> Self {
        Rejection { reason, detail: None, request_id: None, opts_out: false }
    }

    /// Makes the rejection of a payload that the service refused with this problem.
    pub fn refused(problem: &Problem) -> Self {
        let request_id = problem.request_id.as_deref().map(str::to_owned);
        Rejection { detail: Some(problem.to_string()), request_id, ..Rejection::new("refused") }
    }
}

/// Outcome of a batch. A payload that is neither rejected nor to be retried was accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivery {
    pub receipt: Receipt,
    /// Positions in the batch that the service refused for good, each at most once.
    pub rejected: Vec<(usize, Rejection)>,
    /// Positions in the batch that the service did not accept now, and may accept later; each at most once.
    /// Only for a sink that declares [`SinkSpec::retries`](super::SinkSpec::retries).
    pub retry: Vec<usize>,
    /// Positions in the batch of accepted payloads that changed nothing, because the service had them already. A
    /// record counts as unchanged if all of its payloads are.
    pub unchanged: Vec<usize>,
}

impl Delivery {
    /// Returns the outcome of a batch that was accepted as a whole.
    pub fn accepted(receipt: Receipt) -> Self {
        Delivery { receipt, ..Delivery::default() }
    }
}

/// Confirmation of an accepted batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The service's identifier of the request, by which its support finds it. The delivery cache stores it
    /// per record.
    pub request_id: Option<String>,
}

/// The ability of a service to report errors that it finds after it has accepted the records.
pub trait DeferredErrors: Send + Sync {
    /// Returns the latest deferred errors. They name no record, and may come from other programs that use the
    /// account.
    ///
    /// Called after deliveries, at most every ten minutes per account. The controller reports new errors.
    ///
    /// # Errors
    ///
    /// The errors could not be read. The fault is reported and affects no run.
    fn latest(&self) -> BoxFuture<'_, Result<LatestErrors, Fault>>;
}

/// The deferred errors that a service lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LatestErrors {
    /// Number of errors by kind, a text without personal data.
    pub kinds: BTreeMap<String, u64>,
    /// Whether the service may have omitted errors, because it lists only a limited number.
    pub full: bool,
}
