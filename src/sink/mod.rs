//! Sinks: where payloads go. A sink delivers one batch per call, and neither retries nor sleeps.

pub mod ndjson;
pub mod ometria;
pub mod stdout;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use futures::future::BoxFuture;

use self::{ndjson::Ndjson, ometria::Ometria, stdout::Stdout};
use crate::{
    base::{
        adapter::Chosen,
        fault::Fault,
        record::{Payload, Reason},
        spec::Catalog,
    },
    net::{AccountClients, Caller, Unopened},
};

/// Default of an entry that names no sink.
pub const DEFAULT: &str = "ometria";
/// The types of sinks.
pub const TYPES: [&str; 3] = [DEFAULT, ndjson::SPEC.kind, "stdout"];

pub const CATALOG: Catalog =
    Catalog { default: Some(DEFAULT), about: "", common: &[], specs: &[&ndjson::SPEC] };

/// What a sink may know of its entry.
pub struct SinkContext<'a> {
    pub list_id: &'a str,
    /// Folder of the state file; relative paths are relative to it.
    pub folder: &'a Path,
    /// Sender of the requests.
    pub caller: Caller,
}

/// Opens the sink that an entry chose. Sends no request, and creates no file.
///
/// # Errors
///
/// The type is unknown, a setting is invalid, or the environment has no valid settings for the account.
pub fn open(
    chosen: &Chosen,
    wanted: SinkContext,
    accounts: &AccountClients,
) -> Result<Arc<dyn Sink>, Unopened> {
    Ok(match chosen.kind.as_str() {
        DEFAULT => Arc::new(Ometria::open(chosen, wanted, accounts)?),
        kind if kind == ndjson::SPEC.kind => Arc::new(Ndjson::open(chosen, &wanted)?),
        "stdout" => Arc::new(Stdout::open(chosen)?),
        _ => return Err(chosen.unknown(&TYPES).into()),
    })
}

/// Limits of a sink's batches.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Upper bound of the payloads in a batch.
    pub records: usize,
    /// Upper bound of the batches in flight.
    pub in_flight: usize,
}

/// How a sink treats a record that was deleted at the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// The sink gets a payload without a body, in a batch with others.
    Sent,
    /// The sink gets nothing; the record counts as skipped.
    Ignored,
}

/// Confirmation of an accepted batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The service's identifier of the request, by which its support finds it. The delivery cache stores it
    /// per record.
    pub request_id: Option<String>,
}

/// Deferred errors: those that a service finds after it has accepted the records. They name no record, and
/// may come from other programs that use the account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeferredErrors {
    /// Number of errors by kind, a text without personal data.
    pub kinds: BTreeMap<String, u64>,
    /// Whether the service may have omitted errors, because it lists only a limited number.
    pub full: bool,
}

/// A destination for payloads.
///
/// The engine checks each payload with [`refusal`](Sink::refusal), groups those that pass into batches within
/// [`limits`](Sink::limits), and passes each batch to [`deliver`](Sink::deliver). Delivery is at least once:
/// after a crash or an unknown outcome, the next run repeats every batch that was not settled. A sink
/// therefore has to be idempotent by [`Payload::key`]. A newer version of a record waits until the older one
/// is settled, so the sink never gets both at once.
///
/// A sink neither retries nor sleeps: [`Http`](crate::net::Http) repeats failed requests and keeps the limits
/// of the account. The methods other than `limits`, `place` and `deliver` have a default for sinks that do
/// not need them.
pub trait Sink: Send + Sync {
    /// Returns the limits of a batch. Called often; has to return the same limits throughout a run.
    fn limits(&self) -> BatchLimits;

    /// Returns what a person should know before the first delivery, as a lowercase fragment.
    ///
    /// Called before a first load, which logs it as a warning and on a terminal waits for a confirmation, and
    /// when the safety brake stops a mass opt-in.
    fn caution(&self) -> Option<&'static str> {
        None
    }

    /// Identifies the destination, including the keys of the account. The text may contain secrets; only a
    /// digest is stored.
    ///
    /// Called when the sink is opened. The delivery cache belongs to this destination: a changed text starts
    /// an empty cache.
    fn place(&self) -> String;

    /// Identifies the destination without keys, so that a renewed key makes no difference.
    ///
    /// Called when the sink is opened. Holds and checkpoints belong to this destination.
    fn address(&self) -> String {
        self.place()
    }

    /// Returns how the sink treats records that were deleted at the source.
    fn deletion(&self) -> Deletion {
        Deletion::Ignored
    }

    /// Whether a payload withdraws a person's consent. Not called if the mapping has set `opts_out` already.
    fn opts_out(&self, _payload: &Payload) -> bool {
        false
    }

    /// Whether a payload passes on a person's consent. Not called if the mapping has set `opts_in` already.
    fn opts_in(&self, _payload: &Payload) -> bool {
        false
    }

    /// Whether the service has deferred errors, so that [`Sink::deferred_errors`] is worth calling.
    fn has_late_errors(&self) -> bool {
        false
    }

    /// Returns why the service would refuse a payload, as far as that is known without a request. `None` if
    /// nothing is wrong.
    ///
    /// Called for each payload before it is queued. A payload with a reason is not sent: its record is
    /// counted by the reason and becomes a dead letter.
    fn refusal(&self, _payload: &Payload) -> Option<Reason> {
        None
    }

    /// Returns the latest deferred errors, or `None` if the service has none of this kind.
    ///
    /// Called after deliveries, at most every ten minutes per account. The engine logs new errors.
    ///
    /// # Errors
    ///
    /// The errors could not be read. The fault is logged and affects no run.
    fn deferred_errors(&self) -> BoxFuture<'_, Result<Option<DeferredErrors>, Fault>> {
        Box::pin(async { Ok(None) })
    }

    /// Delivers a batch. Returns when its outcome is known.
    ///
    /// `Ok` means that every payload was accepted for good: stored on disk, or confirmed by the service. A
    /// 2xx status alone is not enough. A payload without a body occurs only if [`deletion`](Sink::deletion)
    /// is [`Deletion::Sent`].
    ///
    /// # Errors
    ///
    /// * [`Fault::TooLarge`]: the service refused the batch as a whole, because of its size or of a payload
    ///   that it does not name. The engine halves the batch; a single payload that is refused becomes a dead
    ///   letter.
    /// * Any other fault: the outcome of the batch is unknown, or the list can't continue, for example
    ///   because the key was revoked. The run ends, and the next one delivers these records again.
    fn deliver<'a>(&'a self, batch: &'a [Payload]) -> BoxFuture<'a, Result<Receipt, Fault>>;
}
