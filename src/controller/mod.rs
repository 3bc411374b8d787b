//! Decides what runs and writes what came of it. One task owns all of it, so nothing is locked; it is the only one
//! that writes the state file.

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
    deferred::Late,
    file::File,
    pauses::Pauses,
    quit::QuitFile,
    schedule::{slots::Slots, turns::Turns},
    watch::Watch,
};
pub use self::{
    fingerprint::past,
    runs::{remembers, unchanged},
};
use crate::{
    base::{clock::Clock, fault::Fault},
    engine::{
        confirm::Confirm,
        plan::{Ended, Ends},
    },
    state::{Entry, StateFile, Unfit},
    store::checkpoint::Checkpoint,
};

/// How often the state file is read when nobody tells of a change.
const LOOK: Duration = Duration::from_secs(60);
/// How often the quit file is looked for, and whatever else is cheap to look at.
const GLANCE: Duration = Duration::from_secs(1);
/// How long after a write a late save to the text before it is looked for every second.
const LATE: Duration = Duration::from_secs(5);
/// An editor makes several events of one save.
const SETTLE: Duration = Duration::from_millis(200);
/// How long runs may go on delivering after a stop: under the ten seconds that Docker gives.
const GRACE: Duration = Duration::from_secs(8);

/// How long after that runs may take to be dropped.
const LAST: Duration = Duration::from_secs(1);

/// Whether to go on after all entries were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Every entry once, then the end.
    Once,
    /// Until stopped.
    Loop,
}

/// How the controller ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All that was due is delivered, or a stop was asked for and all is saved.
    Done,
    /// At least one entry failed.
    Failed,
}

/// Whose ends are wanted.
pub struct Wanted<'a> {
    pub entry: &'a Entry,
    /// Its requests go before those that are not.
    pub urgent: bool,
}

/// Opens the ends of an entry. Asks nobody.
pub type Open = Box<dyn Fn(Wanted) -> Result<Ends, Unfit> + Send + Sync>;

/// What the controller works with.
pub struct Tools {
    pub state: StateFile,
    pub clock: Arc<dyn Clock>,
    pub open: Open,
    pub watch: Watch,
    /// Interrupted runs start from their beginning.
    pub fresh: bool,
    /// The question before a first load; `None`: a first load starts without one.
    pub confirm: Option<Confirm>,
    /// Cancelled by whoever wants the program to stop; by the controller itself when it finds the quit file.
    pub stop: CancellationToken,
}

/// Runs until every entry was looked at once, or until stopped. A [`Fault`] means that the state file can't be used.
pub async fn run(tools: Tools, mode: Mode) -> Result<Verdict, Fault> {
    info!("starting, state file {:?}.", tools.state.path().display().to_string());
    let fresh = tools.fresh;
    let mut controller = Controller::new(tools, mode);
    controller.quit.clear().await;
    if fresh {
        let dropped = Checkpoint::discard_all(&controller.file.folders().all()).await?;
        info!("checkpoints dropped: {dropped}; interrupted runs start from their beginning.");
    }
    let ended = controller.turn().await;
    let saved = controller.wind_up().await;
    if mode == Mode::Once && !controller.stop.is_cancelled() {
        controller.late.last_look().await;
    }
    ended.and(saved)?;
    Ok(if mode == Mode::Once && controller.failed { Verdict::Failed } else { Verdict::Done })
}

/// Why the entries are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// In its turn: every entry is told.
    Regular,
    /// A run or a rest has ended: only what starts is told.
    After,
}

/// An entry, whether its source wants a failed run tried again, and how it ended.
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
    slots: Slots,
    pauses: Pauses,
    turns: Turns,
    /// When the entries were last looked at.
    considered: Instant,
    /// The same by the wall clock.
    looked: DateTime<Utc>,
    quit: QuitFile,
    late: Late,
    /// The lists that were enabled when a single pass began.
    once: Vec<String>,
    written: Option<Instant>,
    failed: bool,
}

impl Controller {
    fn new(tools: Tools, mode: Mode) -> Self {
        let Tools { state, clock, open, watch, stop, confirm, fresh: _ } = tools;
        let open = Arc::new(open);
        let quit = QuitFile::in_folders([state.path().parent().unwrap_or(Path::new(".")), state.home()]);
        Controller {
            late: Late::new(state.folders().late(), Arc::clone(&clock)),
            file: File::new(state, Arc::clone(&open)),
            looked: clock.now(),
            clock,
            open,
            watch,
            confirm,
            stop,
            mode,
            jobs: JoinSet::new(),
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

    async fn turn(&mut self) -> Result<(), Fault> {
        let mut look = interval_at(Instant::now() + LOOK, LOOK);
        let mut glance = interval(GLANCE);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        glance.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stop = self.stop.clone();
        self.look().await?;
        let enabled = self.file.entries().into_iter().filter(|entry| entry.enabled);
        self.once = enabled.map(|entry| entry.id.list_id).collect();
        while self.mode == Mode::Loop || !self.jobs.is_empty() {
            // Also one that has ended by now, while something else was done.
            let turn = self.slots.next_rest_end(self.considered).into_iter().chain(self.next_turn()).min();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(ran) = self.jobs.join_next_with_id() => self.ended(ran).await?,
                _ = glance.tick() => {
                    self.glance().await;
                    self.late.glance();
                }
                _ = look.tick() => self.look_again().await?,
                Some(()) = reached(turn), if self.mode == Mode::Loop => self.consider(Look::After),
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

    async fn glance(&self) {
        if self.quit.found().await {
            self.stop.cancel();
        }
        if self.written.is_some_and(|written| written.elapsed() < LATE) {
            self.file.look_back().await;
        }
        self.pauses.cut_overdue(Instant::now());
    }

    /// Reads the file again. A single pass then only ends the runs of paused or removed entries; it starts no new list.
    async fn look_again(&mut self) -> Result<(), Fault> {
        if self.mode == Mode::Loop {
            return self.look().await;
        }
        if !self.file.changed().await {
            return Ok(());
        }
        match self.file.read().await {
            Ok(_) => self.consider(Look::After),
            Err(fault) => self.is_broken(&fault),
        }
        for entry in self.file.entries().iter().filter(|entry| entry.enabled && !self.has_turn(entry)) {
            info!(
                "list {:?}: its entry is new and is not part of this pass; start importer again to run it.",
                entry.id.list_id
            );
        }
        Ok(())
    }

    /// Reads the file and starts what is due. While the file is unusable the last good one stays in force.
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
        self.consider(Look::Regular);
        if self.mode == Mode::Loop {
            info!("sleeping for {} seconds.", LOOK.as_secs());
        }
        Ok(())
    }

    fn is_broken(&self, fault: &Fault) {
        error!("{fault}");
        let until = "the file is read again as soon as it is saved";
        match self.file.was_read() {
            true => info!("{until}; until then the lists as last read stay in force."),
            false => info!("{until}."),
        }
    }

    /// After a stop: what was read is delivered and saved, for as long as the grace lasts.
    async fn wind_up(&mut self) -> Result<(), Fault> {
        let mut saved = Ok(());
        // These lists have finished; only their results wait.
        for (task, edit) in &self.file.unwritten {
            self.slots.free(*task);
            info!(
                "list {:?}: the result of its run is in the journal, the next start writes it.",
                edit.entry.list_id
            );
        }
        if self.jobs.is_empty() {
            self.file.look_back().await;
            return saved;
        }
        self.stop.cancel();
        info!("stopping: what was read is being delivered; ctrl-c stops at once.");
        let deadline = Instant::now() + GRACE;
        while let Ok(Some(ran)) = timeout_at(deadline, self.jobs.join_next_with_id()).await {
            saved = saved.and(self.ended(ran).await);
        }
        for list in self.slots.running() {
            warn!("list {list:?} was cut short; what it had left is sent by its next run.");
        }
        // A run that never yields can't be cut short; the end of the process does it.
        let _ = timeout_at(deadline + LAST, self.jobs.shutdown()).await;
        self.file.look_back().await;
        saved
    }
}

/// Waits until then; `None` if there is nothing to wait for.
async fn reached(time: Option<Instant>) -> Option<()> {
    sleep_until(time?).await;
    Some(())
}
