//! Events about entries: why they run or not, and what happens to their results.

use std::{fmt, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

/// Why a due entry starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It has no timestamp.
    Full,
    /// Its timestamp is older than `every`.
    Incremental { since: DateTime<Utc>, every: TimeDelta },
    /// A sync was requested, although its timestamp is not older than `every`.
    Requested { since: DateTime<Utc> },
}

/// Why an entry can't start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// Its `enabled` is false.
    Paused,
    Running,
    /// Its previous run, with other settings, has not ended.
    PreviousRun,
    /// Its own previous run, or the run of another entry of the list, has not ended.
    OtherEntry,
    /// Its last run failed.
    Resting {
        left: Duration,
    },
    /// A person has stopped its list.
    Stopped,
}

/// Why the result of a run is not in the state file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overruled {
    /// An edit by hand has precedence.
    ByHand,
    /// The entry was removed or changed during the run.
    Gone,
    /// The entry has another source or sink.
    Redirected,
}

impl fmt::Display for Overruled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Overruled::ByHand => {
                "latest_timestamp or start_offset was changed by hand during the run; the edit is kept and the result of \
                 the run is not written"
            }
            Overruled::Gone => "its entry was removed or changed during the run, so the result is not written",
            Overruled::Redirected => {
                "its source or its sink was changed during the run, so the result is not written; it belongs to the \
                 former delivery. The next run uses the new settings"
            }
        })
    }
}

/// What happens to an entry.
#[derive(Debug, Clone, PartialEq)]
pub enum EntryEvent {
    /// The entry is due. `routine`: it runs so often that only runs with changes are news.
    Due {
        start: Start,
        routine: bool,
    },
    UpToDate {
        since: DateTime<Utc>,
    },
    /// The timestamp is in the future, so the entry does not run. `problem` begins with the path of the file.
    Future {
        problem: String,
    },
    /// The entry can't start now.
    Waits {
        obstacle: Obstacle,
    },
    /// The first load waits for a confirmation in the state file.
    FirstLoadWaits,
    /// The entry was added or enabled after the start of `go --once`.
    NotThisTime,
    /// Its source, mapping or sink can't be opened.
    NotOpened {
        problem: String,
    },
    /// The run ignores `start_offset`: it reads the whole source (`reads_all`), the source counts no rows, or the run
    /// is an incremental sync.
    OffsetIgnored {
        offset: u64,
        reads_all: bool,
        counts_rows: bool,
    },
    /// The result of the run is in the state file.
    Written {
        latest_timestamp: DateTime<Utc>,
        routine: bool,
    },
    /// The result of the run is not written.
    Overruled(Overruled),
    /// The result is in the journal; the next start writes it to the state file.
    InJournal,
    /// The run was cut short by the end of the program.
    CutShort,
}
