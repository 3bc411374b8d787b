//! The way to command a running controller, and to learn what it does: for commands, the API and tests.

use tokio::sync::{mpsc, oneshot};

use super::status::{Refusal, RunResult, Status, Synced};

/// Number of commands that may wait for the controller. A caller beyond that waits until there is room.
const ROOM: usize = 16;

/// A command for the controller, with the way to its answer. An answer that nobody waits for anymore is dropped.
#[derive(Debug)]
pub enum Command {
    /// See [`Handle::sync_now`] and [`Handle::sync_and_wait`].
    SyncNow { list: Option<String>, waits: bool, reply: oneshot::Sender<Vec<Synced>> },
    /// See [`Handle::stop_one`].
    StopOne { list: String, reply: oneshot::Sender<Result<Vec<RunResult>, Refusal>> },
    /// See [`Handle::status`].
    Status { reply: oneshot::Sender<Status> },
    /// See [`Handle::results`].
    Results { list: Option<String>, reply: oneshot::Sender<Vec<RunResult>> },
}

/// Commands a running controller. Clones command the same one. The controller never waits for a caller, so a caller may
/// drop any of these calls; a command that was sent is carried out nevertheless.
#[derive(Debug, Clone)]
pub struct Handle(mpsc::Sender<Command>);

/// The commands that the handles of one controller have sent.
pub type Commands = mpsc::Receiver<Command>;

/// The controller has ended and does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("importer is not running anymore; start it again")]
pub struct Gone;

/// Returns a handle, and the commands that its controller receives.
pub fn channel() -> (Handle, Commands) {
    let (sender, commands) = mpsc::channel(ROOM);
    (Handle(sender), commands)
}

impl Handle {
    /// Requests a run of each entry of `list`, or of every enabled entry. It starts as soon as it can, even if the
    /// entry is not due, is delayed after a failure, or its list was [stopped](Self::stop_one). An entry without `latest_timestamp` is loaded, any other is synced.
    ///
    /// A run that was active before the request does not count: the requested run reads the source after the request.
    /// Requests that wait for the same entry share one run.
    ///
    /// Returns for each entry whether its run has started or is queued, or why it does not start.
    ///
    /// # Errors
    ///
    /// The controller has ended.
    pub async fn sync_now(&self, list: Option<&str>) -> Result<Vec<Synced>, Gone> {
        self.sync(list, false).await
    }

    /// Does the work of [`sync_now`](Self::sync_now), and returns for each entry how its run has ended, when all have
    /// ended and their results are in the state file. A stop of the program is such an end too.
    ///
    /// # Errors
    ///
    /// The controller has ended.
    pub async fn sync_and_wait(&self, list: Option<&str>) -> Result<Vec<Synced>, Gone> {
        self.sync(list, true).await
    }

    /// Ends the runs of `list` as a pause does: what was read is delivered, and the checkpoint stays. The entries of the
    /// list do not start by themselves again before a sync is requested, the entry is edited, or importer starts again.
    ///
    /// Returns the results of the runs when they have ended; none if no run was active.
    ///
    /// # Errors
    ///
    /// The controller has ended. The inner error: the state file has no entry of this list.
    pub async fn stop_one(&self, list: &str) -> Result<Result<Vec<RunResult>, Refusal>, Gone> {
        let list = list.to_owned();
        self.ask(|reply| Command::StopOne { list, reply }).await
    }

    /// Returns what the controller and each entry do.
    ///
    /// # Errors
    ///
    /// The controller has ended.
    pub async fn status(&self) -> Result<Status, Gone> {
        self.ask(|reply| Command::Status { reply }).await
    }

    /// Returns the last results in this process, newest first: those of `list`, or of all lists. At most
    /// [`PER_LIST`](super::results::PER_LIST) of each list.
    ///
    /// # Errors
    ///
    /// The controller has ended.
    pub async fn results(&self, list: Option<&str>) -> Result<Vec<RunResult>, Gone> {
        let list = list.map(str::to_owned);
        self.ask(|reply| Command::Results { list, reply }).await
    }

    async fn sync(&self, list: Option<&str>, waits: bool) -> Result<Vec<Synced>, Gone> {
        let list = list.map(str::to_owned);
        self.ask(|reply| Command::SyncNow { list, waits, reply }).await
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Gone> {
        let (reply, answer) = oneshot::channel();
        self.0.send(command(reply)).await.map_err(|_| Gone)?;
        answer.await.map_err(|_| Gone)
    }
}
