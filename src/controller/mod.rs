//! Decides which entries run and writes their results. One task owns all of its state, so it needs no locks.
//! It waits neither for a run nor for a write of the state file.

mod deferred;
mod file;
mod fingerprint;
mod former;
#[cfg(test)]
mod leases_tests;
mod notices;
mod pauses;
mod poll;
pub mod quit;
mod report;
mod runs;
mod saver;
pub mod schedule;
mod siblings;
#[cfg(test)]
mod support_tests;
pub mod watch;

use std::{collections::HashSet, path::Path, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use log::{error, info, warn};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, interval_at, sleep, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use self::{
    deferred::DeferredErrors,
    file::File,
    notices::Notices,
    pauses::Pauses,
    quit::QuitFile,
    saver::{Done, Saver},
    schedule::{capacity::Capacity, slots::Slots, turns::Turns},
    watch::Watch,
};
pub use self::{
    fingerprint::run_fingerprint,
    former::former_fingerprints,
    runs::{records, remembers, run_store},
    siblings::{Destination, Destinations, siblings},
};
use crate::{
    base::{clock::Clock, fault::Fault, identity::ListId},
    engine::{
        confirm::Confirm,
        plan::{Ended, Pipeline},
    },
    state::{Entry, StateFile, Unfit},
    store::{RunStore, checkpoint, leases::ProcessLeases, migrate, records::Databases},
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
    let folders = controller.file.folders();
    controller.is_migrating = migrate::begin(&folders.ours(), &folders.dead_letters())?;
    if fresh {
        let dropped = checkpoint::discard_all(&folders.all()).await?
            + checkpoint::discard_all(&migrate::before(&folders.ours())).await?;
        info!(
            "checkpoints dropped: {dropped}; interrupted runs start from their beginning, and all holds are lifted."
        );
    }
    let ended = controller.turn().await;
    if mode == Mode::Once && ended.is_ok() {
        controller.deliver_last_notices().await;
    }
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

/// An entry, its store, whether its source permits retries, and the result of its run.
type Ran = (Entry, Arc<dyn RunStore>, bool, Result<Ended, Fault>);

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
    notices: Notices,
    slots: Slots,
    capacity: Capacity,
    pauses: Pauses,
    turns: Turns,
    saver: Saver,
    /// When the next free entry is due, as of the last check.
    next_due: Option<DateTime<Utc>>,
    /// When the next delay of a failed entry ends, as of the last check.
    next_rest_end: Option<Instant>,
    /// Time of the last check of the entries.
    looked: DateTime<Utc>,
    quit: QuitFile,
    late: DeferredErrors,
    /// The lists that were enabled when the controller started; `go --once` runs no others.
    once: HashSet<ListId>,
    /// Time of the last write of the state file.
    last_write: Option<Instant>,
    /// Whether an entry has failed.
    failed: bool,
    /// Whether deliveries still have to take over files of version 0.1.
    is_migrating: bool,
}

impl Controller {
    fn new(tools: Tools, mode: Mode) -> Self {
        let Tools { state, clock, open, watch, stop, confirm, fresh: _ } = tools;
        let open = Arc::new(open);
        let state = Arc::new(state);
        let databases = Arc::default();
        let quit = QuitFile::in_folders([state.path().parent().unwrap_or(Path::new(".")), state.home()]);
        Controller {
            late: DeferredErrors::new(state.folders().late(), Arc::clone(&clock)),
            saver: Saver::new(Arc::clone(&state)),
            file: File::new(state, Arc::clone(&open)),
            notices: Notices::new(Arc::clone(&open), Arc::clone(&databases), Arc::clone(&clock)),
            looked: clock.now(),
            clock,
            open,
            watch,
            confirm,
            stop,
            mode,
            jobs: JoinSet::new(),
            databases,
            slots: Slots::new(Arc::new(ProcessLeases::default())),
            capacity: Capacity::default(),
            pauses: Pauses::default(),
            turns: Turns::default(),
            next_due: None,
            next_rest_end: None,
            quit,
            once: HashSet::new(),
            last_write: None,
            failed: false,
            is_migrating: false,
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
        let snapshot = self.file.snapshot();
        let enabled = snapshot.entries.iter().filter(|entry| entry.enabled);
        self.once = enabled.map(|entry| entry.list.clone()).collect();
        while self.mode == Mode::Loop || !self.jobs.is_empty() || self.saver.is_busy() {
            self.saver.begin();
            // The file is read between two writes only. A read beside a write could show the older text last.
            let may_read = !self.saver.is_writing();
            // It may have passed already, while another branch was busy.
            let wake = self.next_wake();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(ran) = self.jobs.join_next_with_id() => {
                    self.ended(ran);
                    while let Some(ran) = self.jobs.try_join_next_with_id() {
                        self.ended(ran);
                    }
                    self.consider(Poll::After);
                }
                Some(done) = self.saver.next() => {
                    if let Done::Written(results, applied) = done {
                        self.written(results, applied)?;
                        self.consider(Poll::After);
                    }
                }
                _ = tick.tick() => {
                    self.tick().await;
                    self.late.tick();
                }
                _ = look.tick(), if may_read => self.look_again().await?,
                Some(()) = reached(wake) => self.consider(Poll::After),
                () = self.watch.changed(), if may_read => {
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
    async fn tick(&mut self) {
        if self.quit.found().await {
            self.stop.cancel();
        }
        if self.last_write.is_some_and(|written| written.elapsed() < LATE) {
            self.saver.look_back();
        }
        self.pauses.cut_overdue(Instant::now());
        self.deliver_notices();
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
        for entry in
            self.file.snapshot().entries.iter().filter(|entry| entry.enabled && !self.has_turn(entry))
        {
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
                self.take_over(problems).await?;
                self.saver.retry();
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
        let deadline = Instant::now() + GRACE;
        self.notices.stop().await;
        if !self.jobs.is_empty() {
            self.stop.cancel();
            info!("stopping: delivering the records that were read; Ctrl-C stops at once.");
        }
        while !self.jobs.is_empty() {
            self.saver.begin();
            tokio::select! {
                biased;
                Some(ran) = self.jobs.join_next_with_id() => self.ended(ran),
                Some(done) = self.saver.next() => saved = saved.and(self.done(done)),
                () = sleep_until(deadline) => break,
            }
        }
        self.saver.begin();
        while let Some(done) = self.saver.next().await {
            saved = saved.and(self.done(done));
            self.saver.begin();
        }
        for kept in self.saver.kept() {
            // The run has finished; only its result is not written yet.
            self.slots.free(kept.task);
            info!(
                "list {:?}: the result of its run is in the journal; the next start writes it to the state file.",
                kept.edit.entry.list_id
            );
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

    /// Handles what the saver has done after a stop.
    fn done(&mut self, done: Done) -> Result<(), Fault> {
        match done {
            Done::Written(results, applied) => self.written(results, applied),
            Done::LookedBack => Ok(()),
        }
    }
}

/// Waits until `time`. Returns `None` at once if there is no time to wait for.
async fn reached(time: Option<Instant>) -> Option<()> {
    sleep_until(time?).await;
    Some(())
}
