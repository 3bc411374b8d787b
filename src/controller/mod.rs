//! Decides which entries run and writes their results. The [`Machine`](machine::Machine) decides, the
//! [`Driver`](driver::Driver) waits and acts, and a [`Handle`](handle::Handle) commands both.

mod active;
mod answers;
mod calls;
mod checks;
mod commands;
mod deferred;
mod driver;
mod file;
mod fingerprint;
mod former;
pub mod handle;
mod history;
mod input;
#[cfg(test)]
mod leases_tests;
mod lists;
mod machine;
mod names;
mod notices;
pub mod offline;
mod overview;
mod pauses;
mod poll;
mod progress;
pub mod publish;
pub mod quit;
mod record;
pub mod results;
mod runs;
mod saver;
mod saves;
pub mod schedule;
mod siblings;
mod starts;
pub mod status;
pub mod stored;
#[cfg(test)]
mod support_tests;
pub mod watch;
mod writer;

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use self::{driver::Driver, handle::Commands, watch::Watch};
pub use self::{
    fingerprint::run_fingerprint,
    former::former_fingerprints,
    names::run_name,
    siblings::{Destination, Destinations, siblings},
    starts::{records, remembers, run_store},
};
use crate::{
    base::{clock::Clock, event::ProgramEvent, events::Events, fault::Fault},
    engine::{confirm::Confirm, plan::Pipeline},
    state::{Entry, StateFile, Unfit},
    store::{checkpoint, leases::ProcessLeases, migrate},
};

/// Interval at which the controller checks all lists, also if the watch reports no change.
const POLL: Duration = Duration::from_secs(60);
/// Interval of the tick, which does the cheap checks, such as the one for the quit file.
const TICK: Duration = Duration::from_secs(1);
/// Maximum time that runs may go on delivering after a stop: less than the 10 s after which Docker kills a
/// container that it stops (`docker stop`, default of `--timeout`).
const GRACE: Duration = Duration::from_secs(8);

/// How long the controller runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Until every entry that is due has run once (`go --once`).
    Once,
    /// Until it is stopped.
    Loop,
}

/// How the controller ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything due is delivered, or the controller was stopped and all results are saved.
    Done,
    /// At least one entry failed.
    Failed,
}

/// The arguments of [`Open`].
pub struct OpenRequest<'a> {
    pub entry: &'a Entry,
    /// Whether requests of the entry take precedence over those of entries that are not urgent.
    pub urgent: bool,
}

/// Opens the source, the mapping and the sink of an entry. It sends no request, so an error is one of the
/// entry's settings or of the environment.
pub type Open = Box<dyn Fn(OpenRequest) -> Result<Pipeline, Unfit> + Send + Sync>;

/// The dependencies and options of the controller.
pub struct Tools {
    pub state: StateFile,
    pub clock: Arc<dyn Clock>,
    pub open: Open,
    pub watch: Watch,
    /// Where the controller and its runs report what they do.
    pub events: Events,
    /// The commands of handles; see [`handle::channel`].
    pub commands: Commands,
    /// Whether interrupted runs start from their beginning.
    pub fresh: bool,
    /// The question before a first load; `None`: a first load starts without one.
    pub confirm: Option<Confirm>,
    /// Stops the program when it is cancelled. The controller cancels it itself when it finds the quit file.
    pub stop: CancellationToken,
}

/// Runs the due entries, once or until the controller is stopped, depending on `mode`.
///
/// # Errors
///
/// The state file or importer's own files beside it can't be used. Faults of single entries are reported, not
/// returned; with [`Mode::Once`] they result in [`Verdict::Failed`].
pub async fn run(tools: Tools, mode: Mode) -> Result<Verdict, Fault> {
    let events = tools.events.clone();
    events.emit(ProgramEvent::Starting { state_file: tools.state.path().to_owned() });
    let fresh = tools.fresh;
    let mut driver = Driver::new(tools, mode, Arc::new(ProcessLeases::default()));
    driver.quit.clear().await;
    let folders = driver.file.folders();
    driver.is_migrating = migrate::begin(&folders.ours(), &folders.dead_letters())?;
    if fresh {
        let dropped = checkpoint::discard_all(&folders.all()).await?
            + checkpoint::discard_all(&migrate::before(&folders.ours())).await?;
        events.emit(ProgramEvent::CheckpointsDropped { checkpoints: dropped });
    }
    driver.run().await
}

/// Reason for which the controller checks the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Poll {
    /// The regular check: reports the state of every entry.
    Regular,
    /// A run or a delay has ended: reports only the entries that start.
    After,
}
