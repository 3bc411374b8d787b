//! What the controller reports about itself: plain data, whose field names are the JSON keys. Commands, the API and the
//! page render it.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    base::{counts::Counts, remedy::Remedy},
    store::runs::{RunKind, RunRecord},
};

/// The state of the controller at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The moment.
    pub time: DateTime<Utc>,
    pub file: FileStatus,
    /// The elements of the file, in file order.
    pub entries: Vec<EntryStatus>,
}

/// The answer to a question for the status; the names of the fields are the JSON keys.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The process that has the lock of the state folder; `None` if there is none.
    pub pid: Option<u32>,
    /// Whether that process has published this status. If not, it is what a start would show.
    pub is_published: bool,
    /// Whether that process has published nothing for some minutes.
    pub is_silent: bool,
    /// Why importer's own files were not read: mostly because the state file can't be read.
    pub not_stored: Option<String>,
    /// The present, from which ages are counted.
    #[serde(skip)]
    pub now: DateTime<Utc>,
    #[serde(flatten)]
    pub status: Status,
}

/// The state file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStatus {
    pub path: String,
    /// Why the file can't be read, if it can't. The entries are then those of the last version that could be read.
    pub broken: Option<String>,
}

/// One element of the state file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntryStatus {
    /// `None` if it can't be read.
    pub list_id: Option<String>,
    /// Name that distinguishes the entry from the others of its list; `None` if the element has a problem.
    pub entry: Option<String>,
    /// Where the element begins: `<path>:<line>:<column>`.
    pub place: String,
    /// `None` if the element has a problem.
    pub source: Option<Adapter>,
    /// `None` if the element has a problem.
    pub sink: Option<Adapter>,
    pub state: EntryState,
    /// The progress of the run, if one is active and has reported it.
    pub progress: Option<RunProgress>,
    /// Whether a run was requested that has not started yet.
    pub requested: bool,
    pub latest_timestamp: Option<DateTime<Utc>>,
    /// When `every` is over; `None` without a timestamp.
    pub next_due: Option<DateTime<Utc>>,
    /// The last result of the entry in this process.
    pub last_result: Option<RunResult>,
    /// What importer's own files say of the entry. Commands add it.
    #[serde(default)]
    pub stored: Option<Stored>,
}

/// What importer's own files say of an entry and its delivery.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    pub last_run: Option<RunRecord>,
    /// The last run that changed something at the sink, rejected records or did not finish.
    pub last_run_with_changes: Option<RunRecord>,
    /// Whether the next run continues an interrupted one.
    pub is_interrupted: bool,
    /// Why these files can't be read, if they can't.
    pub unreadable: Option<String>,
    /// Rejected records of the delivery that wait to be delivered again.
    pub rejected: u64,
    /// How they are delivered again.
    #[serde(default)]
    pub remedy: Remedy,
    /// Notices that wait for their receiver.
    pub notices_waiting: u64,
    pub oldest_notice: Option<DateTime<Utc>>,
    /// Notices that were dropped: at most 1,000,000 wait, for 30 days, and an earlier version can't read all notices
    /// of a later one.
    pub notices_dropped: u64,
    /// Notices that the receiver has refused for good, so they were dropped too.
    #[serde(default)]
    pub notices_refused: u64,
}

/// The progress of an active run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunProgress {
    /// Different records read in this pass.
    pub read: u64,
    /// Those with a known fate: delivered, unchanged, skipped or rejected.
    pub done: u64,
    /// Records to read, as far as the source has counted them: at least those read.
    pub total: u64,
    /// Records that the sink has accepted.
    pub sent: u64,
    /// Records done per second, over the last half minute.
    pub records_per_second: Option<f64>,
    /// Time that is left at this rate.
    pub seconds_left: Option<u64>,
}

/// The type of a source or a sink, and its account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adapter {
    #[serde(rename = "type")]
    pub kind: String,
    /// `None` for the account without a name.
    pub account: Option<String>,
}

/// What an entry does, or why it does nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum EntryState {
    /// A run is active, or its result is being written.
    Running { kind: RunKind, start: DateTime<Utc> },
    /// The entry is due, but can't start yet.
    Waiting {
        #[serde(rename = "for")]
        cause: Wait,
    },
    /// The entry has `"enabled": false`.
    Paused,
    /// A stop of the list was requested. The entry starts when a sync is requested, when it is edited, or when importer
    /// starts again.
    Stopped,
    /// The last runs failed, as often as `failures` says; the next one starts at `until`.
    Resting { until: DateTime<Utc>, failures: u32, why: String },
    /// The entry is due and starts at the next check.
    Due,
    /// `every` is not over yet.
    UpToDate { next_due: DateTime<Utc> },
    /// The safety brake has stopped the delivery, until a person lifts the hold.
    Held { why: String },
    /// The entry can't run. `text` begins with its place in the file.
    Problem { text: String },
    /// The entry has had the only run that `go --once` gives it, or was not enabled when that started.
    Done,
}

/// What a due entry waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// The end of other runs: the maximum number of runs is active.
    Capacity,
    /// The end of a run of another entry of its list.
    List,
    /// The end of its own active run, which began with other settings.
    PreviousRun,
    /// The write of its last result: the state file can't be written now.
    Result,
    /// A person who confirms the first load: the entry has `"first_load": "ask"`.
    Person,
}

/// The result of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    pub list_id: String,
    /// Name that distinguishes the entry from the others of its list, also in dead letters.
    pub entry: String,
    pub kind: RunKind,
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
    pub outcome: RunOutcome,
}

/// How a run has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum RunOutcome {
    /// Everything up to `latest_timestamp` is delivered.
    Finished {
        counts: Counts,
        latest_timestamp: DateTime<Utc>,
        /// Why the state file does not have the result, if it does not.
        not_written: Option<String>,
    },
    /// The run failed; the next one delivers what this one has not delivered.
    Failed { error: String },
    /// The run was stopped before its end. Without counts, it was cut short.
    Stopped { reason: String, counts: Option<Counts> },
}

/// The answer to a request for a sync, for one entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Synced {
    /// `None` if the `list_id` of the element can't be read, or if the request as a whole was refused.
    pub list_id: Option<String>,
    /// Where the entry begins: `<path>:<line>:<column>`; `None` without an entry.
    pub place: Option<String>,
    pub answer: SyncAnswer,
}

/// What a request for a sync has led to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum SyncAnswer {
    /// A run has started.
    Started,
    /// A run starts as soon as the previous one has ended or there is capacity.
    Queued,
    /// The run has ended. Only for callers that wait.
    Ended { result: Box<RunResult> },
    /// No run starts.
    Refused { reason: Refusal },
}

/// Why no run of an entry starts on request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Refusal {
    /// The state file has no entry of this list.
    UnknownList,
    /// The entry has `"enabled": false`.
    Paused,
    /// The entry can't run. `text` names the place in the file.
    Problem { text: String },
    /// The safety brake has stopped the delivery, until a person lifts the hold.
    Held { why: String },
    /// The first load waits until a person confirms it.
    FirstLoad,
    /// A person has stopped the list after the request.
    Stopped,
    /// importer is stopping.
    Stopping,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::UnknownList => "the state file has no entry of this list; check the `list_id`",
            Refusal::Paused => "the entry is paused; set `enabled` to true",
            Refusal::Problem { text } => text,
            Refusal::Held { why } => why,
            Refusal::FirstLoad => {
                "the first load waits for a confirmation; set `first_load` to \"confirmed\""
            }
            Refusal::Stopped => "the list was stopped on request; request a sync to start it again",
            Refusal::Stopping => "importer is stopping; request the sync after the next start",
        })
    }
}
