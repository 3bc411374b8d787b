//! The controller as a state machine: [`Machine::handle`] turns what has happened into what to do. It does no I/O, never
//! waits and has no clock: the time comes with each input. The [`Driver`](super::driver::Driver) makes the inputs and
//! does the actions.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
};

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::{
    GRACE, Mode, Poll, Verdict,
    active::Active,
    calls::Calls,
    history::Ended as EndedRun,
    input::{Action, Input, Now, Reading},
    lists::Lists,
    names::{entry_name, run_name},
    pauses::Pauses,
    results::Results,
    saver::Saver,
    schedule::{RunId, capacity::Capacity, slots::Slots, turns::Turns},
    status::{Refusal, RunOutcome},
};
use crate::{
    base::{
        event::{EntryEvent, EntryName, Event, FileEvent, ProgramEvent, RunEvent},
        events::Events,
        fault::Fault,
        identity::{DeliveryId, ListId},
    },
    state::Entry,
    store::{Leases, hold::HoldReason},
};

/// Everything that the controller knows and decides by.
pub struct Machine {
    pub(super) mode: Mode,
    /// The path of the state file, for messages.
    pub(super) path: PathBuf,
    /// Where the machine reports what it decides. Emitting never waits.
    pub(super) events: Events,
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
    /// The lines of finished runs whose results could not be written yet.
    pub(super) unrecorded: BTreeMap<RunId, EndedRun>,
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
    pub fn new(mode: Mode, path: PathBuf, leases: Arc<dyn Leases>, events: Events, now: Now) -> Self {
        Machine {
            mode,
            path,
            events,
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
            unrecorded: BTreeMap::new(),
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
                self.events.emit(FileEvent::Changed);
                self.act(Action::ResetPoll);
                self.check_again();
            }
            Input::Read(Reading::All, read) => self.read(read),
            Input::Read(Reading::Changes, read) => self.read_again(read),
            Input::Tick { quit } => self.tick(quit),
            Input::WakeUp => self.consider(Poll::After),
            Input::Began(run, begun) => self.began(run, begun),
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

    /// Returns what the controller waits for. Runs start only in [`Phase::Running`].
    pub fn phase(&self) -> Phase {
        match &self.ending {
            None if self.mode == Mode::Loop || !self.capacity.is_idle() || self.saver.has_results() => {
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

    /// Settles what is left at the end: active runs are cut short, unwritten results stay in the journal. Answers
    /// every request. Returns the replies, and the deadline of the runs.
    pub fn finish(&mut self, now: Now) -> (Vec<Action>, Instant) {
        self.now = now;
        for kept in self.saver.kept() {
            // The run has finished; only its result is not written yet.
            self.slots.free(kept.run);
            let entry = EntryName::alone(&kept.edit.entry.list_id);
            self.events.emit(Event::Entry(entry, EntryEvent::InJournal));
        }
        for list in self.slots.running() {
            self.events.emit(Event::Entry(EntryName::alone(list), EntryEvent::CutShort));
        }
        while let Some(run) = self.runs.keys().next().copied() {
            let why = "importer was stopped, and the run was cut short".into();
            self.settle(run, RunOutcome::Stopped { reason: why, counts: None });
        }
        for (_, mut ended) in std::mem::take(&mut self.unrecorded) {
            ended.run.reason = Some("its result is in the journal".into());
            self.act(Action::Record(Box::new(ended)));
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
            self.events.emit(ProgramEvent::Stopping);
        }
        self.refuse_all();
    }

    /// Reports something about an entry.
    #[track_caller]
    pub(super) fn emit(&self, entry: &Entry, event: EntryEvent) {
        self.events.emit(Event::Entry(entry_name(entry), event));
    }

    /// Reports something about a run whose result is not final.
    #[track_caller]
    pub(super) fn emit_run(&self, run: RunId, event: RunEvent) {
        if let Some(active) = self.runs.get(&run) {
            self.events.emit(Event::Run(Arc::new(run_name(&active.entry)), event));
        }
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

#[cfg(test)]
#[path = "handle_tests.rs"]
mod tests;
