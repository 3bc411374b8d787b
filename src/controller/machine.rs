//! The controller as a state machine: [`Machine::handle`] turns what has happened into what to do. It does no I/O, never
//! waits and has no clock: the time comes with each input. The [`Driver`](super::driver::Driver) makes the inputs and
//! does the actions.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use log::{error, info, warn};
use tokio::time::Instant;

use super::{
    GRACE, Mode, POLL, Poll, Verdict,
    calls::Calls,
    input::{Action, FileRead, Input, Now, Reading},
    lists::Lists,
    pauses::Pauses,
    results::Results,
    runs::Active,
    saver::Saver,
    schedule::{RunId, capacity::Capacity, slots::Slots, turns::Turns},
    status::{Refusal, RunOutcome},
};
use crate::{
    base::{
        fault::Fault,
        identity::{DeliveryId, ListId},
    },
    state::Entry,
    store::{Leases, hold::HoldReason},
};

/// Time after a write during which every tick looks for edits that an editor saved to the replaced text.
const LATE: Duration = Duration::from_secs(5);

/// Everything that the controller knows and decides by.
pub struct Machine {
    pub(super) mode: Mode,
    /// The path of the state file, for messages.
    pub(super) path: PathBuf,
    /// The moment of the input.
    pub(super) now: Now,
    /// The actions that the input leads to.
    actions: Vec<Action>,
    /// The file as last read, if it could be read at least once.
    pub(super) lists: Option<Lists>,
    /// Why the file could not be read the last time, if it could not.
    pub(super) broken: Option<String>,
    /// Whether deliveries still have to take over files of version 0.1.
    pub(super) is_migrating: bool,
    pub(super) slots: Slots,
    pub(super) capacity: Capacity,
    pub(super) pauses: Pauses,
    pub(super) turns: Turns,
    pub(super) saver: Saver,
    /// The runs whose results are not final.
    pub(super) runs: BTreeMap<RunId, Active>,
    /// The last number of a run.
    pub(super) last_run: u64,
    pub(super) calls: Calls,
    pub(super) results: Results,
    /// The deliveries that are known to be on hold.
    pub(super) holds: HashMap<DeliveryId, HoldReason>,
    /// The deliveries of which a run of this process has left a ledger.
    pub(super) ledgers: HashSet<DeliveryId>,
    /// When the next free entry is due, as of the last check.
    pub(super) next_due: Option<DateTime<Utc>>,
    /// When the next delay of a failed entry ends, as of the last check.
    pub(super) next_rest_end: Option<Instant>,
    /// Time of the last check of the entries.
    pub(super) looked: DateTime<Utc>,
    /// The lists that were enabled when the controller started; `go --once` runs no others.
    pub(super) once: HashSet<ListId>,
    /// Time of the last write of the state file.
    pub(super) last_write: Option<Instant>,
    /// Whether an entry has failed.
    pub(super) failed: bool,
    /// The first fault that ends the controller.
    fault: Option<Fault>,
    ending: Option<Ending>,
}

/// The end of the controller, after a stop or a fault.
struct Ending {
    /// When the runs have to have ended.
    deadline: Instant,
    is_over: bool,
}

/// What the controller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Everything.
    Running,
    /// The ends of the runs, until this time, and the writes of their results.
    Ending(Instant),
    /// The writes of the last results.
    Saving,
    /// Nothing.
    Over,
}

impl Machine {
    /// Makes the machine for the state file at `path`, whose lists run by these leases.
    pub fn new(mode: Mode, path: PathBuf, leases: Arc<dyn Leases>, now: Now) -> Self {
        Machine {
            mode,
            path,
            now,
            actions: vec![],
            lists: None,
            broken: None,
            is_migrating: false,
            slots: Slots::new(leases),
            capacity: Capacity::default(),
            pauses: Pauses::default(),
            turns: Turns::default(),
            saver: Saver::default(),
            runs: BTreeMap::new(),
            last_run: 0,
            calls: Calls::default(),
            results: Results::default(),
            holds: HashMap::new(),
            ledgers: HashSet::new(),
            next_due: None,
            next_rest_end: None,
            looked: now.utc,
            once: HashSet::new(),
            last_write: None,
            failed: false,
            fault: None,
            ending: None,
        }
    }

    /// Takes in what has happened, and returns what to do, in this order.
    pub fn handle(&mut self, now: Now, input: Input) -> Vec<Action> {
        self.now = now;
        match input {
            Input::Begin => self.check(),
            Input::Poll => self.check_again(),
            Input::FileChanged(false) => {}
            Input::FileChanged(true) => {
                info!("the state file has changed.");
                self.act(Action::ResetPoll);
                self.check_again();
            }
            Input::Read(Reading::All, read) => self.read(read),
            Input::Read(Reading::Changes, read) => self.read_again(read),
            Input::Tick { quit } => self.tick(quit),
            Input::WakeUp => self.consider(Poll::After),
            Input::Began(run, destination) => self.began(run, destination),
            Input::NotOpened(run, why) => self.not_opened(run, &why),
            Input::Ended(runs) => {
                for (run, end) in runs {
                    self.ended(run, end);
                }
                self.consider(Poll::After);
            }
            Input::Written(written) => self.written(written),
            Input::LookedBack => self.saver.looked_back(),
            Input::Holds(holds) => {
                holds.into_iter().for_each(|(delivery, hold)| self.note_hold(delivery, hold))
            }
            Input::Command(command) => self.command(command),
            Input::Stop => self.wind_up(),
            Input::GraceOver => self.ending.iter_mut().for_each(|ending| ending.is_over = true),
        }
        if let Some(save) = self.saver.begin() {
            self.act(Action::Save(save));
        }
        std::mem::take(&mut self.actions)
    }

    /// Returns what the controller waits for. Without [`Phase::Running`], nothing starts anymore.
    pub fn phase(&self) -> Phase {
        match &self.ending {
            None if self.mode == Mode::Loop || !self.capacity.is_idle() || self.saver.is_busy() => {
                Phase::Running
            }
            Some(ending) if !self.capacity.is_idle() && !ending.is_over => Phase::Ending(ending.deadline),
            Some(_) if self.saver.is_busy() => Phase::Saving,
            _ => Phase::Over,
        }
    }

    /// Returns whether the file may be read now: between two writes only. A read beside a write could show the older
    /// text last.
    pub fn may_read(&self) -> bool {
        !self.saver.is_writing()
    }

    /// Ends what is left when nothing is waited for anymore, and answers every request. Returns the replies, and when
    /// the runs had to have ended.
    pub fn finish(&mut self, now: Now) -> (Vec<Action>, Instant) {
        self.now = now;
        for kept in self.saver.kept() {
            // The run has finished; only its result is not written yet.
            self.slots.free(kept.run);
            info!(
                "list {:?}: the result of its run is in the journal; the next start writes it to the state file.",
                kept.edit.entry.list_id
            );
        }
        for list in self.slots.running() {
            warn!("list {list:?} was cut short; its next run delivers the rest.");
        }
        while let Some(run) = self.runs.keys().next().copied() {
            let why = "importer was stopped, and the run was cut short".into();
            self.settle(run, RunOutcome::Stopped { why, counts: None });
        }
        self.refuse_all();
        let deadline = self.ending.as_ref().map_or(now.instant + GRACE, |ending| ending.deadline);
        (std::mem::take(&mut self.actions), deadline)
    }

    /// Returns how the controller has ended.
    ///
    /// # Errors
    ///
    /// The fault that has ended it.
    pub fn verdict(self) -> Result<Verdict, Fault> {
        match self.fault {
            Some(fault) => Err(fault),
            None if self.mode == Mode::Once && self.failed => Ok(Verdict::Failed),
            None => Ok(Verdict::Done),
        }
    }

    pub(super) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Returns the file as last read; without any entry before the first read.
    pub(super) fn lists(&self) -> Lists {
        self.lists.clone().unwrap_or_default()
    }

    /// Begins a check of all lists: the file is read first.
    fn check(&mut self) {
        info!("checking all lists.");
        self.act(Action::Read(Reading::All));
    }

    /// Begins a further check. With [`Mode::Once`] it ends runs of paused or removed entries and starts no list.
    fn check_again(&mut self) {
        match self.mode {
            Mode::Loop => self.check(),
            Mode::Once => self.act(Action::Read(Reading::Changes)),
        }
    }

    /// Starts the due entries: those as last read while the file can't be read.
    fn read(&mut self, read: Result<FileRead, Fault>) {
        match read {
            Ok(FileRead::Unchanged) => {}
            Ok(FileRead::Read { lists, problems, is_migrating }) => {
                self.failed |= problems > 0;
                self.take(lists);
                match is_migrating {
                    Ok(is_migrating) => self.is_migrating = is_migrating,
                    Err(fault) => return self.give_up(fault),
                }
                self.saver.retry();
            }
            Err(fault) if self.mode == Mode::Once => return self.give_up(fault),
            Err(fault) => self.is_broken(&fault),
        }
        self.consider(Poll::Regular);
        match self.mode {
            Mode::Loop => info!("sleeping for {} seconds.", POLL.as_secs()),
            Mode::Once => {
                let lists = self.lists();
                let enabled = lists.snapshot.entries.iter().filter(|entry| entry.enabled);
                self.once = enabled.map(|entry| entry.list.clone()).collect();
            }
        }
    }

    /// Takes in the file that was read again with [`Mode::Once`].
    fn read_again(&mut self, read: Result<FileRead, Fault>) {
        match read {
            Ok(FileRead::Unchanged) => return,
            Ok(FileRead::Read { lists, .. }) => {
                self.take(lists);
                self.consider(Poll::After);
            }
            Err(fault) => self.is_broken(&fault),
        }
        let lists = self.lists();
        let is_late = |entry: &&Entry| entry.enabled && !self.has_turn(entry);
        for entry in lists.snapshot.entries.iter().filter(is_late) {
            info!(
                "list {:?}: its entry was added or enabled after the start and does not run now; start importer \
                 again to run it.",
                entry.id.list_id
            );
        }
    }

    /// Takes over the file as read or written.
    pub(super) fn take(&mut self, lists: Lists) {
        self.results.keep(|list_id| !lists.snapshot.mentions.of_list(list_id).is_empty());
        self.lists = Some(lists);
        self.broken = None;
    }

    /// Logs that the state file can't be read.
    fn is_broken(&mut self, fault: &Fault) {
        error!("{fault}");
        let until = "importer reads the state file again as soon as it is saved";
        match self.lists {
            Some(_) => info!("{until}; until then, importer uses the last valid version of the lists."),
            None => info!("{until}."),
        }
        self.broken = Some(fault.to_string());
    }

    /// Does the checks of a tick: the quit file, late saves, and runs that have to be aborted.
    fn tick(&mut self, quit: bool) {
        if quit {
            self.act(Action::StopProgram);
        }
        let is_late = |written: Instant| self.now.instant.duration_since(written) < LATE;
        if self.last_write.is_some_and(is_late) && self.saver.look_back() {
            self.act(Action::LookBack);
        }
        let overdue: Vec<RunId> = self.pauses.overdue(self.now.instant).collect();
        overdue.into_iter().for_each(|run| self.act(Action::Abort(run)));
        self.act(Action::CloseIdleDatabases);
        self.act(Action::PollDeferredErrors);
    }

    /// Ends the controller because of a fault.
    pub(super) fn give_up(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
        self.wind_up();
    }

    /// Begins the end of the controller: runs deliver what they have read within [`GRACE`], and results are saved.
    fn wind_up(&mut self) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some(Ending { deadline: self.now.instant + GRACE, is_over: false });
        if !self.capacity.is_idle() {
            self.act(Action::StopProgram);
            info!("stopping: delivering the records that were read; Ctrl-C stops at once.");
        }
        self.refuse_all();
    }

    /// Returns whether the controller ends.
    pub(super) fn is_ending(&self) -> bool {
        self.now.is_stopping || self.ending.is_some()
    }

    /// Refuses the requested runs that have not started.
    fn refuse_all(&mut self) {
        let replies = self.calls.refuse(|_| Err(Refusal::Stopping));
        replies.into_iter().for_each(|reply| self.act(Action::Reply(reply)));
    }
}
