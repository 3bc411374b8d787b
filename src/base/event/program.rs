//! Events of the program as a whole.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use chrono::{DateTime, Utc};

use crate::base::remedy::Remedy;

/// What the program does, and how it ends.
#[derive(Debug, Clone, PartialEq)]
pub enum ProgramEvent {
    /// The program can't start or go on; `problem` is a whole sentence.
    Unusable {
        problem: String,
    },
    /// `RUST_LOG` is neither a level nor a list of `target=level`.
    UnknownLogLevel,
    Starting {
        state_file: PathBuf,
    },
    /// The HTTP API is served.
    Listening {
        address: SocketAddr,
        /// The file with the token, if it was made for this run and is not shown on a terminal.
        token: Option<PathBuf>,
    },
    /// Interrupted runs start from their beginning.
    CheckpointsDropped {
        checkpoints: usize,
    },
    /// All entries are checked now.
    Checking,
    /// The controller waits for the next check.
    Sleeping {
        seconds: u64,
    },
    /// A signal asks the program to stop.
    Signal {
        name: &'static str,
    },
    /// A second signal stops the program at once.
    SignalAgain {
        name: &'static str,
    },
    /// A quit file was found.
    QuitFound {
        path: PathBuf,
    },
    /// A quit file of an earlier run was removed.
    QuitRemoved {
        path: PathBuf,
    },
    /// A quit file could not be removed.
    QuitStays {
        path: PathBuf,
        error: String,
    },
    /// Runs deliver what they have read, and end.
    Stopping,
    /// The program was stopped.
    Stopped,
    /// Everything that was due is done.
    Done,
    /// At least one entry failed.
    DoneWithFailures,
    /// Rejected records of a list wait for a person, with `go --once --strict`.
    RejectedWait {
        list_id: String,
        records: usize,
        location: PathBuf,
        remedy: Remedy,
    },
    /// Some list has rejected records, with `go --once --strict`.
    DoneWithRejected,
    /// Lists are due and wait for the end of other runs.
    NoCapacity {
        lists: usize,
        runs: usize,
        loads: usize,
    },
    /// A sink found errors after it had accepted records.
    DeferredErrors {
        kinds: BTreeMap<String, u64>,
        /// Whether there may be more.
        at_least: bool,
        /// Time of the poll before; `None` if there was none.
        since: Option<DateTime<Utc>>,
    },
    /// The deferred errors of a sink could not be polled.
    DeferredErrorsUnknown {
        problem: String,
    },
    /// A sink did not report its deferred errors in time.
    DeferredErrorsLate,
}
