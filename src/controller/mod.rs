//! Decides what runs and writes what came of it. One task owns all of it, so nothing is locked; it is the only one
//! that writes the state file.

pub mod quit;
mod report;
mod slots;
pub mod watch;

use std::{path::Path, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use log::{error, info, warn};
use tokio::{
    task::{JoinError, JoinSet, spawn_blocking},
    time::{Instant, MissedTickBehavior, interval, interval_at, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use self::{
    quit::QuitFile,
    slots::{Slot, Slots},
    watch::Watch,
};
use crate::{
    base::{clock::Clock, fault::Fault, time},
    state::{Applied, Edit, Entry, Snapshot, Stamp, StateFile, document::Overruled, schema::EntryId},
    sync::{
        due::{self, Due},
        job::{self, Ended, Ends, Outcome, Plan},
    },
};

/// How often the state file is read when nobody tells of a change.
const LOOK: Duration = Duration::from_secs(60);
/// How often the quit file is looked for.
const QUIT_LOOK: Duration = Duration::from_secs(1);
/// An editor makes several events of one save.
const SETTLE: Duration = Duration::from_millis(200);
/// How long runs may go on delivering after a stop: under the ten seconds that Docker gives.
const GRACE: Duration = Duration::from_secs(8);

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

/// Makes the ends of a list.
pub type Open = Box<dyn Fn(&str) -> Ends + Send + Sync>;

/// What the controller works with.
pub struct Tools {
    pub state: StateFile,
    pub clock: Arc<dyn Clock>,
    pub open: Open,
    pub watch: Watch,
    /// Cancelled by whoever wants the program to stop; by the controller itself when it finds the quit file.
    pub stop: CancellationToken,
}

/// Runs until every entry was looked at once, or until stopped. A [`Fault`] means that the state file can't be used.
pub async fn run(tools: Tools, mode: Mode) -> Result<Verdict, Fault> {
    info!("starting, state file {:?}.", tools.state.path().display().to_string());
    let mut controller = Controller::new(tools, mode);
    controller.quit.clear().await;
    let ended = controller.turn().await;
    let saved = controller.wind_up().await;
    ended.and(saved)?;
    Ok(if mode == Mode::Once && controller.failed { Verdict::Failed } else { Verdict::Done })
}

/// Why the entries are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// In its turn: every entry is told.
    Regular,
    /// A run has ended: only what starts is told.
    After,
}

type Ran = (Entry, Result<Ended, Fault>);

struct Controller {
    tools: Tools,
    mode: Mode,
    jobs: JoinSet<Ran>,
    slots: Slots,
    quit: QuitFile,
    snapshot: Option<Snapshot>,
    failed: bool,
}

impl Controller {
    fn new(tools: Tools, mode: Mode) -> Self {
        let quit = QuitFile::in_folder(tools.state.path().parent().unwrap_or(Path::new(".")));
        Controller {
            tools,
            mode,
            jobs: JoinSet::new(),
            slots: Slots::default(),
            quit,
            snapshot: None,
            failed: false,
        }
    }

    async fn turn(&mut self) -> Result<(), Fault> {
        let mut look = interval_at(Instant::now() + LOOK, LOOK);
        let mut quit = interval(QUIT_LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        quit.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stop = self.tools.stop.clone();
        self.look().await?;
        while self.mode == Mode::Loop || !self.jobs.is_empty() {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(ran) = self.jobs.join_next_with_id() => self.ended(ran).await?,
                _ = quit.tick() => if self.quit.found().await {
                    stop.cancel();
                },
                _ = look.tick(), if self.mode == Mode::Loop => self.look().await?,
                () = self.tools.watch.changed(), if self.mode == Mode::Loop => {
                    sleep(SETTLE).await;
                    if self.file_changed().await {
                        info!("the state file has changed.");
                        look.reset();
                        self.look().await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn load(&self) -> Result<Snapshot, Fault> {
        let state = self.tools.state.clone();
        blocking(move || state.load()).await
    }

    /// Whether the file says something else than when it was last read or written; our own writes are no news.
    async fn file_changed(&self) -> bool {
        match (self.load().await, &self.snapshot) {
            (Ok(new), Some(old)) => new.text != old.text,
            (Err(_), _) | (_, None) => true,
        }
    }

    /// Reads the file and starts what is due. While the file is unusable the last good one stays in force.
    async fn look(&mut self) -> Result<(), Fault> {
        info!("checking all lists.");
        match self.load().await {
            Ok(snapshot) => {
                self.tell_findings(&snapshot);
                self.snapshot = Some(snapshot);
            }
            Err(fault) if self.mode == Mode::Once => return Err(fault),
            Err(fault) if self.snapshot.is_some() => {
                error!("{fault}; until then the lists as last read stay in force.");
            }
            Err(fault) => error!("{fault}"),
        }
        self.consider(Look::Regular);
        if self.mode == Mode::Loop {
            info!("sleeping for {} seconds.", LOOK.as_secs());
        }
        Ok(())
    }

    fn tell_findings(&mut self, snapshot: &Snapshot) {
        for problem in &snapshot.problems {
            error!("{}; the other entries go on.", self.tools.state.tell(problem));
            self.failed = true;
        }
        for warning in &snapshot.warnings {
            warn!("{}.", self.tools.state.tell(warning));
        }
        if snapshot.entries.is_empty() && snapshot.problems.is_empty() {
            warn!("the state file holds no entry; add `{{\"list_id\": \"…\"}}` to it.");
        }
    }

    /// Starts every entry that is due and free.
    fn consider(&mut self, look: Look) {
        if self.tools.stop.is_cancelled() {
            return;
        }
        let entries = self.snapshot.as_ref().map(|snapshot| snapshot.entries.clone()).unwrap_or_default();
        let now = Instant::now();
        for entry in entries {
            let list = &entry.id.list_id;
            match self.slots.of(&entry.id, now) {
                Slot::Free => self.decide(entry, look),
                Slot::Running if look == Look::Regular => info!("list {list:?} is being imported."),
                Slot::Resting { left } if look == Look::Regular => {
                    info!("list {list:?} has failed and rests for {} more seconds.", left.as_secs());
                }
                _ => {}
            }
        }
    }

    fn decide(&mut self, entry: Entry, look: Look) {
        let due = due::decide(entry.latest_timestamp, self.tools.clock.now());
        let told = report::due(&entry, due);
        match due {
            Due::UpToDate { .. } if look == Look::Regular => info!("{told}"),
            Due::UpToDate { .. } => {}
            Due::Future { .. } => {
                error!("{}: {told}", self.tools.state.path().display());
                self.failed = true;
                self.settle(entry.id);
            }
            Due::Full => self.start(entry, None, &told),
            Due::Incremental { since } => self.start(entry, Some(since), &told),
        }
    }

    /// A single pass gives every entry one turn.
    fn settle(&mut self, id: EntryId) {
        if self.mode == Mode::Once {
            self.slots.settle(id);
        }
    }

    fn start(&mut self, entry: Entry, since: Option<DateTime<Utc>>, told: &str) {
        info!("{told}");
        if since.is_some() && entry.start_offset > 0 {
            warn!("{}", report::offset_ignored(&entry));
        }
        self.settle(entry.id.clone());
        let plan = Plan {
            list_id: entry.id.list_id.clone(),
            since,
            start_offset: entry.start_offset,
            items_per_request: entry.items_per_request,
            worker_count: entry.worker_count,
        };
        let ends = (self.tools.open)(&plan.list_id);
        let (stop, id) = (self.tools.stop.clone(), entry.id.clone());
        let task = self.jobs.spawn(async move {
            let ended = job::run(&ends, &plan, &stop).await;
            (entry, ended)
        });
        self.slots.run(task.id(), id);
    }

    async fn ended(&mut self, ran: Result<(tokio::task::Id, Ran), JoinError>) -> Result<(), Fault> {
        let task = ran.as_ref().map_or_else(JoinError::id, |(task, _)| *task);
        let id = self.slots.free(task);
        match ran {
            Ok((_, (entry, Ok(Ended::Finished(outcome))))) => self.save(entry, outcome).await?,
            Ok((_, (entry, Ok(Ended::Stopped(counts))))) => info!("{}", report::stopped(&entry, &counts)),
            Ok((_, (entry, Err(fault)))) => self.fail(entry.id, &fault.to_string()),
            // A panic has printed its own text; a task that was cut short at the end of a stop is no failure.
            Err(error) if error.is_panic() => {
                if let Some(id) = id {
                    self.fail(id, "this is a bug in importer, please report the text above");
                }
            }
            Err(_) => {}
        }
        self.consider(Look::After);
        Ok(())
    }

    fn fail(&mut self, id: EntryId, why: &str) {
        error!("list {:?} failed: {why}. Its entry is left as it was.", id.list_id);
        self.failed = true;
        self.slots.rest(id, Instant::now());
    }

    async fn save(&mut self, entry: Entry, outcome: Outcome) -> Result<(), Fault> {
        let stamp = Stamp {
            latest_timestamp: outcome.until,
            elapsed_seconds: outcome.elapsed.as_secs_f64(),
            total_updates: outcome.counts.sent,
        };
        let edit = Edit { entry: entry.id.clone(), was: entry.latest_timestamp, stamp };
        info!("{}", report::finished(&entry, &outcome));
        if let Some(told) = report::rejected(&entry, &outcome.counts) {
            warn!("{told}");
        }
        let state = self.tools.state.clone();
        let applied = blocking(move || state.apply(&edit)).await;
        match applied {
            Ok(Applied { snapshot, overruled }) => {
                match overruled {
                    None => {
                        let until = time::spoken(outcome.until);
                        info!("list {:?} updated, latest timestamp {until:?}.", entry.id.list_id);
                    }
                    Some(Overruled::ByHand) => warn!("{}", report::overruled_by_hand(&entry)),
                    Some(Overruled::NoSuchEntry) => warn!("{}", report::entry_gone(&entry)),
                }
                self.snapshot = Some(snapshot);
                Ok(())
            }
            Err(fault) if self.mode == Mode::Once => Err(fault),
            Err(fault) => {
                self.fail(entry.id, &fault.to_string());
                Ok(())
            }
        }
    }

    /// After a stop: what was read is delivered and saved, for as long as the grace lasts.
    async fn wind_up(&mut self) -> Result<(), Fault> {
        let mut saved = Ok(());
        if self.jobs.is_empty() {
            return saved;
        }
        self.tools.stop.cancel();
        info!("stopping: what was read is being delivered; ctrl-c stops at once.");
        let deadline = Instant::now() + GRACE;
        while let Ok(Some(ran)) = timeout_at(deadline, self.jobs.join_next_with_id()).await {
            saved = saved.and(self.ended(ran).await);
        }
        let left = self.jobs.len();
        if left > 0 {
            warn!("{left} lists were cut short; what they had left is sent by their next run.");
            self.jobs.shutdown().await;
        }
        saved
    }
}

/// Runs file work on a thread of its own. It doesn't panic; if it did, so would this.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Fault::process("the state file could not be handled").because(error)),
    }
}
