//! Where payloads go. A sink takes one batch and returns when its fate is known; it never retries and never waits.

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
    net::{Caller, Doors, Unopened},
};

/// That of an entry which names none.
pub const USUAL: &str = "ometria";
/// The types of sinks.
pub const TYPES: [&str; 3] = [USUAL, ndjson::SPEC.kind, "stdout"];

pub const CATALOG: Catalog =
    Catalog { default: Some(USUAL), about: "", common: &[], specs: &[&ndjson::SPEC] };

/// On whose behalf something is delivered.
pub struct Wanted<'a> {
    pub list_id: &'a str,
    /// That of the state file, where relative paths begin.
    pub folder: &'a Path,
    pub caller: Caller,
}

/// Opens what an entry says of its sink. Asks nobody, and makes no file.
pub fn open(chosen: &Chosen, wanted: Wanted, doors: &Doors) -> Result<Arc<dyn Sink>, Unopened> {
    Ok(match chosen.kind.as_str() {
        USUAL => Arc::new(Ometria::open(chosen, wanted, doors)?),
        kind if kind == ndjson::SPEC.kind => Arc::new(Ndjson::open(chosen, &wanted)?),
        "stdout" => Arc::new(Stdout::open(chosen)?),
        _ => return Err(chosen.unknown(&TYPES).into()),
    })
}

/// What a sink takes at once.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// The most payloads in one batch.
    pub records: usize,
    /// The most batches under way.
    pub in_flight: usize,
}

/// What a sink makes of a record that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// A payload without a body is delivered like any other.
    Sent,
    /// Nothing; it is counted as skipped.
    Ignored,
}

/// What a sink says of a batch that it has accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// By which the sink's support finds the request.
    pub request_id: Option<String>,
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

    /// Where it delivers to, as text that may hold secrets: what another place has accepted says nothing of this one.
    fn place(&self) -> String;

    /// Names the place that it delivers to, without keys: another key of the same account makes no difference.
    fn address(&self) -> String {
        self.place()
    }

    /// What becomes of a record that is gone at the source.
    fn deletion(&self) -> Deletion {
        Deletion::Ignored
    }

    /// Whether this payload withdraws somebody's consent, where the mapping can't know.
    fn opts_out(&self, _payload: &Payload) -> bool {
        false
    }

    /// Whether this payload passes on somebody's consent, for mappings that can't know.
    fn opts_in(&self, _payload: &Payload) -> bool {
        false
    }

    /// Whether [`Sink::late_errors`] can tell anything.
    fn has_late_errors(&self) -> bool {
        false
    }

    /// Why this payload would be refused, as far as that can be told without asking; nothing if it would be taken.
    fn refusal(&self, _payload: &Payload) -> Option<Reason> {
        None
    }

    /// The latest errors that were found after records had been taken; nothing if this sink has no such errors.
    fn late_errors(&self) -> BoxFuture<'_, Result<Option<LateErrors>, Fault>> {
        Box::pin(async { Ok(None) })
    }

    /// Ok: every payload was accepted, those without a body if [`Sink::deletion`] is to send them. [`Fault::TooLarge`]: the batch was refused as a whole, for its size or for one of its
    /// payloads, which the sink does not name; a smaller batch may be accepted.
    fn deliver<'a>(&'a self, batch: &'a [Payload]) -> BoxFuture<'a, Result<Receipt, Fault>>;
}
