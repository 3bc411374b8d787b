//! Events of a run.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};

use crate::base::{counts::Counts, remedy::Remedy};

/// Reason for which a run ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseReason {
    /// The entry says `"enabled": false`.
    Disabled,
    /// The entry is not in the state file anymore.
    Removed,
    /// The entry has another source or another sink.
    Redirected,
    /// A person or a program has requested it.
    Requested,
}

impl fmt::Display for PauseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PauseReason::Disabled => "paused by its entry",
            PauseReason::Removed => "its entry was removed from the state file",
            PauseReason::Redirected => "its source or sink was changed in the state file",
            PauseReason::Requested => "stopped on request",
        })
    }
}

/// What a finished run has found besides its counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    /// Names in the settings that no record has.
    pub unknown: Vec<String>,
    /// The time by the source's clock and by ours, if they are far apart.
    pub clocks: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// Number of rows that changed after the end of the window, the latest of these changes, and that end.
    pub after_end: Option<(u64, DateTime<Utc>, DateTime<Utc>)>,
    /// Where the rejected records are.
    pub rejected_at: String,
    /// How rejected records are delivered again.
    pub remedy: Remedy,
    /// Rows that the entry's `start_offset` leaves out.
    pub start_offset: u64,
}

/// What happens in a run.
#[derive(Debug, Clone, PartialEq)]
pub enum RunEvent {
    /// The run begins. `full`: it is a full load.
    Started { full: bool },
    /// An interrupted run is resumed.
    Resumed { settled: u64 },
    /// A first load begins that may have effects which the sink warns of.
    FirstLoad { caution: &'static str },
    /// Any number of opt-outs and opt-ins may pass.
    MassChangeAllowed,
    /// Without a record of what was delivered, a mass opt-in can't be detected.
    NoLedger,
    /// Without a record of what was delivered, all archived records are read.
    NoLedgerForArchived,
    /// The source has returned a page; `offset` if it counts rows.
    PageRead { records: usize, offset: Option<u64> },
    /// The sink has accepted payloads of a batch.
    BatchDelivered { payloads: usize },
    /// The pass up to now: records read, those with a known fate, and those to read. `sent` are those of the whole run
    /// that the sink has accepted. `regular`: at the interval at which people want to read it.
    Progress { seen: u64, done: u64, window: u64, sent: u64, regular: bool },
    /// The source returns fewer records per answer than requested.
    AnswersCapped { records: usize },
    /// The source is too slow for this page.
    PageTooSlow { problem: String, split: bool },
    /// Two neighboring pages share no record.
    PagesApart { wait: Duration },
    /// The boundary seconds of the window were read.
    BoundaryRead { details: String },
    /// The window is read again.
    WindowRepeated { why: String },
    /// The sink has not yet accepted some payloads of a batch.
    PartlyAccepted { left: usize, payloads: usize, wait: Duration },
    /// Rows share their id with other rows.
    IdsRepeat { rows: u64 },
    /// The source no longer lists a shard that was not read to its end.
    ShardGone { shard: String },
    /// The run ends early, since its entry has changed.
    Pausing { reason: PauseReason },
    /// The run was stopped, with the program or because its entry has changed (`reason`). `full`: it was a full load.
    Stopped { counts: Box<Counts>, reason: Option<PauseReason>, full: bool },
    /// The run failed while it was ending.
    FailedAtPause { reason: PauseReason, problem: String, full: bool },
    /// The run was aborted after a pause.
    CutAtPause { reason: PauseReason },
    /// `routine`: the same failure was reported before.
    Failed { problem: String, routine: bool },
    /// `routine`: a run without changes of an entry that runs often. `repeated`: the findings were reported before.
    Finished {
        elapsed: Duration,
        counts: Box<Counts>,
        findings: Box<Findings>,
        routine: bool,
        repeated: bool,
    },
}
