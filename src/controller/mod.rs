//! Decides which entries run and writes their results. One task owns all of its state, so it needs no locks,
//! and only that task writes the state file.

mod deferred;
mod file;
mod fingerprint;
mod pauses;
pub mod quit;
mod report;
mod runs;
pub mod schedule;
pub mod watch;

use std::{path::Path, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use log::{Level, error, info, warn};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, interval_at, sleep, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use self::{
    deferred::DeferredErrors,
    file::File,
    pauses::Pauses,
    quit::QuitFile,
    schedule::{slots::Slots, turns::Turns},
    watch::Watch,
};
pub use self::{
    fingerprint::past,
    runs::{records, records_folder, remembers},
};
use crate::{
    base::{clock::Clock, fault::Fault},
    engine::{
        confirm::Confirm,
        plan::{Ended, Pipeline},
    },
    state::{Entry, StateFile, Unfit},
    store::{checkpoint::Checkpoint, records::Databases},
};

/// Interval at which the controller checks all lists, also if the watch reports no change.
const POLL: Duration = Duration::from_secs(60);
/// Interval of the tick, which does the cheap checks, such as the one for the quit file.
const TICK: Duration = Duration::from_secs(1);
/// Time after a write during which every tick looks for edits that an editor saved to the replaced text.
const LATE: Duration = Duration::from_secs(5);
/// Delay between a file event and the read that follows, since an editor causes several events with one save.
const SETTLE: Duration = Duration::from_millis(200);
/// Maximum time that runs may go on delivering after a stop: less than the 10 s after which Docker kills a
/// container that it stops (`docker stop`, default of `--timeout`).
const GRACE: Duration = Duration::from_secs(8);

/// Maximum time, after the grace, that aborted runs may take to end.
const LAST: Duration = Duration::from_secs(1);

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
/// The state file or importer's own files beside it can't be used. Faults of single entries are logged, not
/// returned; with [`Mode::Once`] they result in [`Verdict::Failed`].
pub async fn run(tools: Tools, mode: Mode) -> Result<Verdict, Fault> {
    info!("starting, state file {:?}.", tools.state.path().display().to_string());
    let fresh = tools.fresh;
    let mut controller = Controller::new(tools, mode);
    controller.quit.clear().await;
    if fresh {
        let dropped = Checkpoint::discard_all(&controller.file.folders().all()).await?;
        info!(
            "checkpoints dropped: {dropped}; interrupted runs start from their beginning, and all holds are lifted."
        );
    }
    let ended = controller.turn().await;
    let saved = controller.wind_up().await;
    if mode == Mode::Once && !controller.stop.is_cancelled() {
        controller.late.last_poll().await;
    }
    ended.and(saved)?;
    Ok(if mode == Mode::Once && controller.failed { Verdict::Failed } else { Verdict::Done })
}

/// Reason for which the controller checks the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Poll {
    /// The regular check: logs the state of every entry.
    Regular,
    /// A run or a delay has ended: logs only the entries that start.
    After,
}

/// An entry, whether its source permits retries, and the result of its run.
type Ran = (Entry, bool, Result<Ended, Fault>);

struct Controller {
    file: File,
    clock: Arc<dyn Clock>,
    open: Arc<Open>,
    watch: Watch,
    confirm: Option<Confirm>,
    stop: CancellationToken,
    mode: Mode,
    jobs: JoinSet<Ran>,
    /// The records of the deliveries.
    databases: Arc<Databases>,
    slots: Slots,
    pauses: Pauses,
    turns: Turns,
    /// Time of the last check of the entries.
    considered: Instant,
    /// The same time by the wall clock.
    looked: DateTime<Utc>,
    quit: QuitFile,
    late: DeferredErrors,
    /// The lists that were enabled when the controller started; `go --once` runs no others.
    once: Vec<String>,
    /// Time of the last write of the state file.
    written: Option<Instant>,
    /// Whether an entry has failed.
    failed: bool,
}

impl Controller {
    fn new(tools: Tools, mode: Mode) -> Self {
        let Tools { state, clock, open, watch, stop, confirm, fresh: _ } = tools;
        let open = Arc::new(open);
        let quit = QuitFile::in_folders([state.path().parent().unwrap_or(Path::new(".")), state.home()]);
        Controller {
            late: DeferredErrors::new(state.folders().late(), Arc::clone(&clock)),
            file: File::new(state, Arc::clone(&open)),
            looked: clock.now(),
            clock,
            open,
            watch,
            confirm,
            stop,
            mode,
            jobs: JoinSet::new(),
            databases: Arc::default(),
            slots: Slots::default(),
            pauses: Pauses::default(),
            turns: Turns::default(),
            considered: Instant::now(),
            quit,
            once: vec![],
            written: None,
            failed: false,
        }
    }

    /// Runs the loop until the controller is stopped or, with [`Mode::Once`], until all runs have ended.
    async fn turn(&mut self) -> Result<(), Fault> {
        let mut look = interval_at(Instant::now() + POLL, POLL);
        let mut tick = interval(TICK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stop = self.stop.clone();
        self.look().await?;
        let enabled = self.file.entries().into_iter().filter(|entry| entry.enabled);
        self.once = enabled.map(|entry| entry.id.list_id).collect();
        while self.mode == Mode::Loop || !self.jobs.is_empty() {
            // It may have passed already, while another branch was busy.
            let turn = self.slots.next_rest_end(self.considered).into_iter().chain(self.next_turn()).min();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(ran) = self.jobs.join_next_with_id() => self.ended(ran).await?,
                _ = tick.tick() => {
                    self.tick().await;
                    self.late.tick();
                }
                _ = look.tick() => self.look_again().await?,
                Some(()) = reached(turn), if self.mode == Mode::Loop => self.consider(Poll::After),
                () = self.watch.changed() => {
                    sleep(SETTLE).await;
                    if self.file.changed().await {
                        info!("the state file has changed.");
                        look.reset();
                        self.look_again().await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Does the checks of a tick: the quit file, late saves, and runs that have to be aborted.
    async fn tick(&self) {
        if self.quit.found().await {
            self.stop.cancel();
        }
        if self.written.is_some_and(|written| written.elapsed() < LATE) {
            self.file.look_back().await;
        }
        self.pauses.cut_overdue(Instant::now());
        self.databases.close_idle();
    }

    /// Reads the file again. With [`Mode::Once`] it ends runs of paused or removed entries and starts no list.
    async fn look_again(&mut self) -> Result<(), Fault> {
        if self.mode == Mode::Loop {
            return self.look().await;
        }
        if !self.file.changed().await {
            return Ok(());
        }
        match self.file.read().await {
            Ok(_) => self.consider(Poll::After),
            Err(fault) => self.is_broken(&fault),
        }
        for entry in self.file.entries().iter().filter(|entry| entry.enabled && !self.has_turn(entry)) {
            info!(
                "list {:?}: its entry was added or enabled after the start and does not run now; start importer \
                 again to run it.",
                entry.id.list_id
            );
        }
        Ok(())
    }

    /// Reads the file and starts the due entries: those as last read while the file can't be read.
    async fn look(&mut self) -> Result<(), Fault> {
        info!("checking all lists.");
        self.file.look_back().await;
        self.watch.follow(self.file.path());
        match self.file.read().await {
            Ok(problems) => {
                self.failed |= problems > 0;
                for (task, edit) in std::mem::take(&mut self.file.unwritten) {
                    self.write(task, edit, Level::Info).await?;
                }
            }
            Err(fault) if self.mode == Mode::Once => return Err(fault),
            Err(fault) => self.is_broken(&fault),
        }
        self.consider(Poll::Regular);
        if self.mode == Mode::Loop {
            info!("sleeping for {} seconds.", POLL.as_secs());
        }
        Ok(())
    }

    /// Logs that the state file can't be read.
    fn is_broken(&self, fault: &Fault) {
        error!("{fault}");
        let until = "importer reads the state file again as soon as it is saved";
        match self.file.was_read() {
            true => info!("{until}; until then, importer uses the last valid version of the lists."),
            false => info!("{until}."),
        }
    }

    /// Ends the runs after a stop, and saves their results. They deliver what they have read within [`GRACE`].
    async fn wind_up(&mut self) -> Result<(), Fault> {
        let mut saved = Ok(());
        // These runs have finished; only their results are not written yet.
        for (task, edit) in &self.file.unwritten {
            self.slots.free(*task);
            info!(
                "list {:?}: the result of its run is in the journal; the next start writes it to the state file.",
                edit.entry.list_id
            );
        }
        if self.jobs.is_empty() {
            self.file.look_back().await;
            return saved;
        }
        self.stop.cancel();
        info!("stopping: delivering the records that were read; Ctrl-C stops at once.");
        let deadline = Instant::now() + GRACE;
        while let Ok(Some(ran)) = timeout_at(deadline, self.jobs.join_next_with_id()).await {
            saved = saved.and(self.ended(ran).await);
        }
        for list in self.slots.running() {
            warn!("list {list:?} was cut short; its next run delivers the rest.");
        }
        // A run that never yields can't be aborted; the end of the process ends it.
        let _ = timeout_at(deadline + LAST, self.jobs.shutdown()).await;
        self.databases.close().await;
        self.file.look_back().await;
        saved
    }
}

/// Waits until `time`. Returns `None` at once if there is no time to wait for.
async fn reached(time: Option<Instant>) -> Option<()> {
    sleep_until(time?).await;
    Some(())
}
