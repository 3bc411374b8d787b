//! What a run works with, and what comes of it.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    clocks::{Clocks, Noticed},
    confirm::Confirm,
};
use crate::{
    base::{clock::Clock, counts::Counts, fault::Fault},
    mapping::Mapping,
    sink::Sink,
    source::{Pages, Rows, Source},
    store::{
        cache::Unchanged,
        migrate::{self, Past, Place},
    },
};

/// The third parties of one list.
pub struct Ends {
    pub source: Box<dyn Source>,
    pub mapping: Box<dyn Mapping>,
    pub sink: Arc<dyn Sink>,
    /// The clock of this machine.
    pub clock: Arc<dyn Clock>,
    /// Whether a run that has failed is tried again before its next turn.
    pub retry: bool,
    /// A digest of what tells the sink and its account from others.
    pub held_by: String,
    /// A digest of the sink's type and address. Another key of the account makes no difference.
    pub delivery: String,
}

impl Ends {
    /// The rows of a source that is read by rows.
    pub fn rows(&self) -> Result<&dyn Rows, Fault> {
        match self.source.pages() {
            Pages::Rows(rows) => Ok(rows),
            Pages::Chain(_) => Err(Fault::list("this source can't be asked for single rows")),
        }
    }

    /// Returns the time by the source's clock and by ours.
    pub fn clocks(&self) -> Clocks {
        Clocks { source: self.source.now(), ours: self.clock.now() }
    }

    /// Whether every run reads all that there is to read.
    pub fn rereads(&self) -> bool {
        matches!(self.source.pages(), Pages::Chain(_))
    }
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// For the log.
    pub list_id: String,
    /// Nothing: a full load. Else what changed after this time.
    pub since: Option<DateTime<Utc>>,
    /// Length of the part of the last window that is read again, in addition to its last second.
    pub overlap: TimeDelta,
    /// Rows left out of a full load, counted from the oldest change.
    pub start_offset: u64,
    /// Rows a page, and the most payloads a batch; at least 1.
    pub items_per_request: usize,
    /// Pages read at once; at least 1.
    pub worker_count: usize,
    /// Where the checkpoint of this entry is kept.
    pub folder: PathBuf,
    /// Where the ledger of the list is kept, which its entries share: they run one after the other.
    pub list_folder: PathBuf,
    /// The file that keeps the list's rejected records.
    pub dead_letter: PathBuf,
    /// What the result depends on, as text: an interrupted run of another origin does not go on.
    pub origin: String,
    /// Whether members were delivered before, even if we have no record of it.
    pub delivered_before: bool,
    /// Whether the listing of the archived is read at all.
    pub reads_archived: bool,
    /// Whether the list has no other entry.
    pub alone: bool,
    /// Where older versions of importer may have kept the records of the entry.
    pub past: Past,
    /// The name under which the opt-outs of full loads are compared: the delivery and the entry's consent settings.
    pub audience: String,
    /// Whether any number of opt-outs and opt-ins may pass.
    pub allow_mass_change: bool,
    /// What the sink has accepted of each record, if that is remembered.
    pub unchanged: Unchanged,
    /// Whether what the sink holds already is not sent again.
    pub holds_back: bool,
    /// Set when the sink has taken something.
    pub taken: Arc<AtomicBool>,
    /// The question before a first load into a sink with a caution; `None`: the load begins at once.
    pub confirm: Option<Confirm>,
}

impl Plan {
    /// Where the records of the entry are kept.
    pub fn place(&self) -> Place<'_> {
        let Plan { folder, list_folder, dead_letter, origin, .. } = self;
        Place { folder, list_folder, dead_letter, origin }
    }

    /// What tells the entry from others of its list.
    pub fn entry(&self) -> String {
        migrate::name(&self.folder)
    }
}

/// How a run ended when nothing failed.
#[derive(Debug)]
pub enum Ended {
    /// Everything in the windows is delivered or counted.
    Finished(Outcome),
    /// A stop was asked for; what was read is delivered.
    Stopped(Counts),
}

#[derive(Debug)]
pub struct Outcome {
    /// The end of the last window. Every change up to then that was visible is delivered.
    pub until: DateTime<Utc>,
    /// Interrupted parts of the run included, but not the time in between.
    pub elapsed: Duration,
    pub counts: Counts,
    /// What the settings name and no record has had.
    pub unknown: Vec<String>,
    pub noticed: Noticed,
}
