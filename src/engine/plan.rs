//! The input and the outcome of a run.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    clocks::{Clocks, Noticed},
    confirm::Confirm,
};
use crate::{
    base::{
        clock::Clock, counts::Counts, events::RunEvents, fault::Fault, identity::DeliveryId, remedy::Remedy,
        requests::RequestCounter,
    },
    mapping::Mapping,
    sink::{Opened, Sink, SinkSpec},
    source::{Lookup, OffsetPaging, Paging, Scope, ShardPaging, Source},
    store::{DeliveryCache, RunStore, migrate::FormerDigests},
};

/// The source, the mapping and the sink of one list.
pub struct Pipeline {
    pub source: Arc<dyn Source>,
    pub mapping: Arc<dyn Mapping>,
    pub sink: Arc<dyn Sink>,
    /// Declaration of the sink, with the entry's settings applied.
    pub spec: SinkSpec,
    /// The receiver of the delivery's notices; `None`: the entry has none.
    pub notify: Option<Opened>,
    /// The clock of this machine.
    pub clock: Arc<dyn Clock>,
    /// Counts the requests of the source and the sink.
    pub requests: Arc<RequestCounter>,
    /// Whether a failed run is tried again before its next turn.
    pub retry: bool,
    /// Digest of the settings that identify the sink and its account.
    pub destination: String,
    /// The list and its sink.
    pub delivery: DeliveryId,
    /// Digests in the names that version 0.1 gave to the cache and the holds of the delivery.
    pub former: FormerDigests,
    /// Digest of what the entry's settings refer to outside the state file; empty if they refer to nothing.
    pub references: String,
}

impl Pipeline {
    /// Returns the rows of a source with offset paging.
    ///
    /// # Errors
    ///
    /// [`Fault::List`] for a source with another paging.
    pub fn rows(&self) -> Result<&dyn OffsetPaging, Fault> {
        match self.source.paging() {
            Paging::Offset(rows) => Ok(rows),
            Paging::Cursor(_) | Paging::Shards(_) => {
                Err(Fault::list("this source does not support reading by offset"))
            }
        }
    }

    /// Returns the shards of a source that is a stream.
    pub fn shards(&self) -> Option<&dyn ShardPaging> {
        match self.source.paging() {
            Paging::Shards(shards) => Some(shards),
            Paging::Offset(_) | Paging::Cursor(_) => None,
        }
    }

    /// Returns the time by the source's clock and by the clock of this machine.
    pub fn clocks(&self) -> Clocks {
        Clocks { source: self.source.now(), ours: self.clock.now() }
    }

    /// Returns whether the source reports, for any window, how many rows it has.
    pub fn counts_rows(&self) -> bool {
        matches!(self.source.paging(), Paging::Offset(_))
    }

    /// Returns whether every run reads the whole list.
    pub fn reads_all(&self) -> bool {
        self.source.scope() == Scope::Full
    }

    /// Returns whether runs read windows of changes: the time of each record then has to be in its window.
    pub fn reads_changes(&self) -> bool {
        self.source.scope() == Scope::Changes
    }

    /// Returns whether the source is a stream, of which a run reads what follows the stored positions.
    pub fn keeps_positions(&self) -> bool {
        self.source.scope() == Scope::Positions
    }

    /// Returns the number of batches in flight. The events of a stream stay in order, so only one
    /// batch is in flight.
    pub fn in_flight(&self) -> usize {
        if self.keeps_positions() { 1 } else { self.spec.limits.in_flight }
    }

    /// Returns the key of a record that a person names. Without a lookup, the name has to be the key.
    pub fn key(&self, name: &str) -> String {
        self.source.lookup().map_or_else(|| name.trim().to_owned(), |lookup| lookup.key(name))
    }

    /// Returns the ability of the source to read single records.
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: the source lacks it.
    pub fn lookup(&self) -> Result<&dyn Lookup, Fault> {
        self.source.lookup().ok_or_else(|| Fault::list("the source can't read single records"))
    }

    /// Returns how rejected records are delivered again.
    pub fn remedy(&self) -> Remedy {
        match self.source.lookup() {
            Some(_) => Remedy::Replay,
            None if self.reads_all() => Remedy::NextRun,
            None => Remedy::FullLoad,
        }
    }

    /// Checks that the engine can read the source.
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: the source declares a paging and a scope that do not fit together.
    pub fn check(&self) -> Result<(), Fault> {
        match self.source.paging().can_read(self.source.scope()) {
            true => Ok(()),
            false => Err(Fault::list("the source has a scope that its paging does not support")
                .hint("this is a bug in importer, please report it")),
        }
    }
}

/// The settings of a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The list's name in messages.
    pub list_id: String,
    /// Where the run reports what it does.
    pub events: RunEvents,
    /// `None`: a full load. Otherwise, only changes after this time are read.
    pub since: Option<DateTime<Utc>>,
    /// Length of the part of the last window that is read again, in addition to its last second.
    pub overlap: TimeDelta,
    /// Rows left out of a full load, counted from the oldest change.
    pub start_offset: u64,
    /// Rows per page, at least 1.
    pub items_per_request: usize,
    /// Pages read at the same time; at least 1.
    pub worker_count: usize,
    /// Name that distinguishes the entry from the others of its list.
    pub entry: String,
    /// The checkpoint of the entry; the hold, the positions and the dead letters of its delivery.
    pub store: Arc<dyn RunStore>,
    /// Everything that the result depends on, as text. A run does not resume a checkpoint with another
    /// fingerprint.
    pub run_fingerprint: String,
    /// Whether members were delivered before, even without a ledger.
    pub delivered_before: bool,
    /// Whether the archived listing is read at all.
    pub reads_archived: bool,
    /// Names of the entries that have this delivery, this one included; `None` if an entry of the state file
    /// can't be read.
    pub siblings: Option<Vec<String>>,
    /// Consent scope in which the opt-outs of full loads are compared: the delivery and the entry's consent
    /// settings.
    pub consent_scope: String,
    /// Whether any number of opt-outs and opt-ins is allowed.
    pub allow_mass_change: bool,
    /// The ledger of the delivery, and the cache of what the sink has accepted, if the entry uses one.
    pub records: Arc<dyn DeliveryCache>,
    /// Whether to skip payloads that the sink already has.
    pub holds_back: bool,
    /// Set when the sink has accepted something.
    pub taken: Arc<AtomicBool>,
    /// Confirmation of a first load into a sink with a caution; `None`: the load begins at once.
    pub confirm: Option<Confirm>,
}

impl Plan {
    /// Returns whether no other entry has this delivery.
    pub fn is_alone(&self) -> bool {
        self.siblings.as_ref().is_some_and(|siblings| siblings.len() == 1)
    }
}

/// How a run without a fault ended.
#[derive(Debug)]
pub enum Ended {
    /// Everything in the windows is delivered or counted.
    Finished(Outcome),
    /// A stop was requested; the records read until then are delivered.
    Stopped(Counts),
}

/// The result of a finished run.
#[derive(Debug)]
pub struct Outcome {
    /// The end of the last window. Every change up to then that was visible is delivered.
    pub until: DateTime<Utc>,
    /// Duration of the run with its interrupted parts, but without the time between them.
    pub elapsed: Duration,
    pub counts: Counts,
    /// Names in the settings that no record has.
    pub unknown: Vec<String>,
    pub noticed: Noticed,
    /// How rejected records are delivered again.
    pub remedy: Remedy,
}
