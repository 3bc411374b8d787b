//! Events about entries: why they run or not, and what happens to their results.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// Why a due entry starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It has no timestamp.
    Full,
    /// Its timestamp is older than `every`.
    Incremental { since: DateTime<Utc>, every: TimeDelta },
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
    /// The timestamp is in the future, so the entry does not run.
    Future {
        file: String,
        place: String,
        since: DateTime<Utc>,
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
    /// An edit by hand overruled the result of the run.
    OverruledByHand,
    /// The entry was removed or changed during the run, so the result is not written.
    Gone,
    /// The entry has another source or sink, so the result is not written.
    Redirected,
    /// The result is in the journal; the next start writes it to the state file.
    InJournal,
    /// The run was cut short by the end of the program.
    CutShort,
}
