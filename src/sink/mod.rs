//! Sinks: where payloads go. A sink delivers one batch per call, and neither retries nor sleeps.

mod delivery;
pub mod http;
pub mod ndjson;
pub mod ometria;
mod paths;
mod spec;
#[cfg(feature = "sql")]
pub mod sql;
mod sql_declared;
pub mod stdout;

use std::{path::Path, sync::Arc};

use futures::future::BoxFuture;

pub use self::{
    delivery::{DeferredErrors, Delivery, Encoded, LatestErrors, Prepared, Receipt, Rejection, array},
    spec::{BatchLimits, Deletions, Settles, SinkSpec},
};
use self::{http::HttpSink, ndjson::Ndjson, ometria::Ometria, spec::CommonSettings, stdout::Stdout};
use crate::{
    base::{adapter::Chosen, fault::Fault, json::Json, record::Payload, spec::Catalog},
    net::{AccountClients, Caller, Unopened},
};

/// Default of an entry that names no sink.
pub const DEFAULT: &str = ometria::SPEC.kind;

/// The types of sinks.
pub const CATALOG: Catalog = Catalog {
    default: Some(DEFAULT),
    about: "",
    common: &spec::COMMON,
    specs: &[&ometria::SPEC, &ndjson::SPEC, &stdout::SPEC, &http::SPEC, &sql_declared::SPEC],
};

/// The types of sinks that can receive notices: they deliver any JSON object, at once, and report what was not accepted.
pub const NOTIFY: Catalog =
    Catalog { default: None, about: "", common: &spec::NOTIFY, specs: &[&http::SPEC] };

/// What a sink may know of its entry.
pub struct SinkContext<'a> {
    /// The field of the entry that chose the sink, `sink` or `notify`, for messages.
    pub part: &'static str,
    pub list_id: &'a str,
    /// Folder of the state file; relative paths are relative to it.
    pub folder: &'a Path,
    /// Records per page, which bound a batch unless the sink has a `batch_size`.
    pub items_per_request: usize,
    /// Sender of the requests.
    pub caller: Caller,
}

/// A sink, and its declaration with the entry's settings applied.
pub struct Opened {
    pub sink: Arc<dyn Sink>,
    pub spec: SinkSpec,
}

/// What the check of a sink has found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Checked {
    /// A line for each thing, such as a table and its columns.
    pub found: Vec<String>,
    /// What does not prevent a delivery, but may be a mistake.
    pub warnings: Vec<String>,
}

/// Opens the sink that an entry chose. Sends no request, and creates no file.
///
/// # Errors
///
/// The type is unknown, a setting is invalid, or the environment has no valid settings for the account.
pub fn open(mut chosen: Chosen, context: SinkContext, accounts: &AccountClients) -> Result<Opened, Unopened> {
    let (common, items_per_request) = (CommonSettings::take(&mut chosen)?, context.items_per_request);
    let sink: Arc<dyn Sink> = match chosen.kind.as_str() {
        kind if kind == ometria::SPEC.kind => Arc::new(Ometria::open(&chosen, context, accounts)?),
        kind if kind == ndjson::SPEC.kind => Arc::new(Ndjson::open(&chosen, &context)?),
        kind if kind == stdout::SPEC.kind => Arc::new(Stdout::open(&chosen)?),
        kind if kind == http::SPEC.kind => Arc::new(HttpSink::open(&chosen, context, accounts)?),
        #[cfg(feature = "sql")]
        kind if kind == sql_declared::SPEC.kind => Arc::new(sql::Sql::open(&chosen, context, accounts)?),
        #[cfg(not(feature = "sql"))]
        kind if kind == sql_declared::SPEC.kind => return Err(chosen.not_built().into()),
        kind => return Err(CATALOG.unknown(kind).into()),
    };
    let spec = common.apply(&chosen.kind, items_per_request, sink.spec())?;
    Ok(Opened { sink, spec })
}

/// Opens the receiver of notices that an entry chose. Sends no request.
///
/// # Errors
///
/// The type can't receive notices, a setting is invalid, or the environment has no valid settings for the account.
pub fn open_notify(
    chosen: Chosen,
    context: SinkContext,
    accounts: &AccountClients,
) -> Result<Opened, Unopened> {
    match NOTIFY.spec(&chosen.kind) {
        Some(_) => open(chosen, context, accounts),
        None => Err(NOTIFY.unknown(&chosen.kind).into()),
    }
}

/// A destination for payloads.
///
/// The engine calls [`prepare`](Sink::prepare) once for each payload, groups the results into batches within
/// [`SinkSpec::limits`], and passes each batch to [`deliver`](Sink::deliver). At the end of each pass over the
/// source it calls [`close`](Sink::close). Delivery is at least once: after a crash or an unknown outcome, the
/// next run repeats every batch that was not settled. A sink therefore has to be idempotent by the key of the
/// record. A newer version of a record waits until the older one is settled, so the sink never gets both at
/// once.
///
/// A sink neither retries nor sleeps: the engine and the client of the account repeat what failed, and keep
/// the limits of the account. The methods other than `spec`, `prepare` and `deliver` have a default for sinks
/// that do not need them.
pub trait Sink: Send + Sync {
    /// Declares the sink's identity, its limits, and how it settles. Called once, when the sink is opened.
    fn spec(&self) -> SinkSpec;

    /// Encodes a payload. Pure; called once per payload, before it is queued.
    ///
    /// A payload without a body is the deletion of a record. It occurs only if the sink declares
    /// [`Deletions::Sent`].
    ///
    /// # Errors
    ///
    /// The reason why the service would refuse the payload, as far as that is known without a request. The
    /// record is not sent: it is counted by the reason and becomes a dead letter.
    fn prepare(&self, payload: &Payload) -> Result<Prepared, Rejection>;

    /// Delivers a batch and reports the outcome of each payload.
    ///
    /// A payload that the result does not name was accepted: stored on disk, or confirmed by the service. A
    /// 2xx status alone is not enough. With [`Settles::AtClose`], accepted means that `close` will make it
    /// final. The engine resends the payloads of [`Delivery::retry`] and only those, after a wait.
    ///
    /// # Errors
    ///
    /// * [`Fault::TooLarge`]: the service refused the batch as a whole, because of its size or of a payload
    ///   that it does not name. The engine halves the batch; a single payload that is refused becomes a dead
    ///   letter.
    /// * Any other fault: the outcome of the batch is unknown, or the list can't continue, for example
    ///   because the key was revoked. The run ends, and the next one delivers these records again.
    fn deliver<'a>(&'a self, batch: &'a [Prepared]) -> BoxFuture<'a, Result<Delivery, Fault>>;

    /// Checks whether the service can be reached and accepts the credentials. Changes nothing there.
    ///
    /// Called by `importer check --online`, never by a run.
    ///
    /// # Errors
    ///
    /// The fault with which a delivery would fail, as far as that can be known without one.
    fn check(&self) -> BoxFuture<'_, Result<Checked, Fault>> {
        Box::pin(async { Ok(Checked::default()) })
    }

    /// Returns the names of the fields of a payload that the sink does not write, as far as its settings show that.
    /// Sends no request.
    fn ignored(&self, _payload: &Json) -> Vec<String> {
        vec![]
    }

    /// Returns what the settings name but none of these payloads has, such as "`phone`, a column in `columns`". Each text
    /// completes the warning "no payload has …". Sends no request.
    fn unfilled(&self, _payloads: &[Json]) -> Vec<String> {
        vec![]
    }

    /// Returns the statements by which the sink would create what its settings tell it to create; `importer preview`
    /// shows them. Sends no request.
    fn statements(&self) -> Vec<String> {
        vec![]
    }

    /// Makes the batches since the last close final, for a sink with [`Settles::AtClose`].
    ///
    /// Called at the end of each pass, once no batch is in flight: a run over changes makes one pass, a full
    /// load a few. Not called for a pass that fails or is stopped; the sink is dropped then.
    ///
    /// # Errors
    ///
    /// The fault that prevents it. No batch since the last close counts as accepted, and the run ends.
    fn close(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async { Ok(()) })
    }

    /// Returns the ability to report errors that the service finds after it has accepted the records.
    fn deferred_errors(&self) -> Option<&dyn DeferredErrors> {
        None
    }
}
