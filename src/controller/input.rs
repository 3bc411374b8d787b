//! The inputs and the actions of the [`Machine`](super::machine::Machine).

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::{sync::oneshot, time::Instant};

use super::{
    handle::Command,
    history,
    lists::Lists,
    saver::Save,
    schedule::RunId,
    siblings::Destination,
    status::{Refusal, RunResult, Status, Synced},
};
use crate::{
    base::{fault::Fault, identity::DeliveryId, requests::RequestCounter},
    engine::plan::Ended,
    state::{Entry, document::Outcome},
    store::{Lease, RunStore, hold::HoldReason},
};

/// The moment of an input.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub instant: Instant,
    pub utc: DateTime<Utc>,
    /// Whether the program has to stop.
    pub is_stopping: bool,
}

/// Something that has happened.
pub enum Input {
    /// The program has started.
    Begin,
    /// The time for the regular check has come.
    Poll,
    /// The file may have changed. `true`: its text, or the error of reading it, differs from the last one.
    FileChanged(bool),
    /// The file was read, on [`Action::Read`].
    Read(Reading, Result<FileRead, Fault>),
    /// A second has passed. `quit`: the quit file was found.
    Tick { quit: bool },
    /// An entry is due, or a delay has ended.
    WakeUp,
    /// A run has begun, on [`Action::Start`], with this destination.
    Began(RunId, Begun),
    /// A run could not begin, on [`Action::Start`], since its entry can't be opened.
    NotOpened(RunId, String),
    /// Runs have ended.
    Ended(Vec<(RunId, RunEnd)>),
    /// Results were written, on [`Action::Save`].
    Written(Result<Written, Fault>),
    /// Late saves were looked for, on [`Action::LookBack`] or after a successful write.
    LookedBack,
    /// Whether these deliveries are on hold now, and why.
    Holds(Vec<(DeliveryId, Option<HoldReason>)>),
    /// A handle has sent a command.
    Command(Command),
    /// The program has to stop.
    Stop,
    /// The time in which runs may still deliver after a stop is over.
    GraceOver,
}

/// A run that has begun.
pub struct Begun {
    /// Where it delivers.
    pub destination: Destination,
    /// Where its history is written.
    pub store: Arc<dyn RunStore>,
    /// Counts its requests.
    pub requests: Arc<RequestCounter>,
}

/// What to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// The file, after late saves were recovered; and the files of version 0.1 are taken over.
    All,
    /// The file, if it has changed.
    Changes,
}

/// The file as read.
pub enum FileRead {
    Unchanged,
    /// The file was read. `problems` is the number of entries that can't run.
    Read {
        lists: Lists,
        problems: usize,
        /// Whether files of version 0.1 are still to be taken over; until then, nothing runs.
        is_migrating: Result<bool, Fault>,
    },
}

/// The file after a write.
pub struct Written {
    pub lists: Lists,
    /// The outcome of each edit, in the order of the edits.
    pub outcomes: Vec<Outcome>,
}

/// How a run has ended.
pub enum RunEnd {
    /// By itself, or after [`Action::Cancel`].
    Ran(Box<Ran>),
    /// By a panic.
    Panicked,
    /// It was aborted, on [`Action::Abort`].
    Aborted,
}

/// A run that has ended by itself.
pub struct Ran {
    /// The entry at the start of the run.
    pub entry: Entry,
    pub store: Arc<dyn RunStore>,
    /// Whether a failed run is tried again before its next turn.
    pub retry: bool,
    /// Where the run has delivered.
    pub destination: Destination,
    /// Where the same entry would deliver now, since a reference in its settings may lead elsewhere; `None` if it can't
    /// be opened.
    pub delivery_now: Option<DeliveryId>,
    /// The hold of the delivery after a failed run.
    pub hold: Option<HoldReason>,
    /// Whether the delivery has a ledger.
    pub has_ledger: bool,
    pub ended: Result<Ended, Fault>,
}

/// Something to do.
#[derive(Debug)]
pub enum Action {
    /// Reads the file; [`Input::Read`] follows.
    Read(Reading),
    /// Restarts the interval until the next regular check.
    ResetPoll,
    /// Opens an entry and starts its run; [`Input::Began`] or [`Input::NotOpened`] follows.
    Start(Box<Start>),
    /// Lets a run deliver what it has read, and end.
    Cancel(RunId),
    /// Ends a run at once.
    Abort(RunId),
    /// Begins to write results; [`Input::Written`] follows.
    Save(Save),
    /// Begins to look for late saves; [`Input::LookedBack`] follows.
    LookBack,
    /// Closes databases that no run uses.
    CloseIdleDatabases,
    /// Delivers the notices that are due.
    DeliverNotices,
    /// Publishes the status.
    Publish,
    /// Polls the sink for deferred errors, if that is due.
    PollDeferredErrors,
    /// Stops the program, and with it all runs.
    StopProgram,
    /// Adds a run to the history.
    Record(Box<history::Ended>),
    /// Answers a command.
    Reply(Reply),
}

/// A run to start.
#[derive(Debug)]
pub struct Start {
    pub run: RunId,
    pub entry: Entry,
    /// `None`: a full load. Otherwise, a sync of the changes since then.
    pub since: Option<DateTime<Utc>>,
    /// The lease of the list.
    pub lease: Arc<dyn Lease>,
}

/// An answer, with the way to the caller.
#[derive(Debug)]
pub enum Reply {
    Synced(oneshot::Sender<Vec<Synced>>, Vec<Synced>),
    Stopped(oneshot::Sender<Result<Vec<RunResult>, Refusal>>, Result<Vec<RunResult>, Refusal>),
    Status(oneshot::Sender<Status>, Box<Status>),
    Results(oneshot::Sender<Vec<RunResult>>, Vec<RunResult>),
}

impl Reply {
    /// Sends the answer. A caller that has gone does not get it.
    pub fn send(self) {
        match self {
            Reply::Synced(to, answer) => drop(to.send(answer)),
            Reply::Stopped(to, answer) => drop(to.send(answer)),
            Reply::Status(to, answer) => drop(to.send(*answer)),
            Reply::Results(to, answer) => drop(to.send(answer)),
        }
    }
}
