//! Checks the entries: which of them are due, and which start now.

use tokio::time::Instant;

use super::{
    Mode, Poll,
    input::{Action, Now},
    machine::Machine,
    schedule::{
        capacity::{LOADS, RUNS},
        due::{self, Due},
        slots::Slot,
        turns::Turns,
    },
};
use crate::{
    base::{
        event::{EntryEvent, Obstacle, ProgramEvent, RunEvent},
        identity::ListId,
    },
    state::{Entry, identity::EntryId, model::FirstLoad},
    store::runs::RunKind,
};

impl Machine {
    /// Checks all entries and starts those that are due and free: those first that have waited longest for
    /// capacity, the others in file order.
    pub(super) fn consider(&mut self, poll: Poll) {
        if self.is_ending() || self.is_migrating {
            return;
        }
        self.end_paused();
        self.refuse_asked();
        self.looked = self.now.utc;
        let snapshot = self.lists().snapshot;
        let mut due: Vec<(&Entry, Due)> = Vec::new();
        for entry in &snapshot.entries {
            match self.slot(entry) {
                Slot::Free if entry.enabled && self.has_turn(entry) => {
                    due.extend(self.decide(entry, poll).map(|starts| (entry, starts)));
                }
                slot => self.report_if_regular(poll, entry, &slot),
            }
        }
        due.sort_by_key(|(entry, _)| self.capacity.rank(&entry.list));
        let mut waiting: Vec<&ListId> = Vec::new();
        for (entry, due) in due {
            let kind = if due == Due::Full { RunKind::FullLoad } else { RunKind::Sync };
            match self.slot(entry) {
                Slot::Free if self.capacity.has_capacity(kind) => match self.slots.take(&entry.list) {
                    Some(lease) => self.start(entry, due, lease),
                    None => self.report_if_regular(poll, entry, &Slot::Waiting),
                },
                Slot::Free => waiting.push(&entry.list),
                // Another entry of the list has just started.
                slot => self.report_if_regular(poll, entry, &slot),
            }
        }
        self.capacity.wait(waiting.into_iter());
        if poll == Poll::Regular && self.capacity.waiting() > 0 {
            let lists = self.capacity.waiting();
            self.events.emit(ProgramEvent::NoCapacity { lists, runs: RUNS, loads: LOADS });
        }
        self.plan_wake(&snapshot.entries);
    }

    /// Returns whether the entry can run now. It waits while its previous run, with another source or sink, ends.
    pub(super) fn slot(&self, entry: &Entry) -> Slot {
        let slot = match self.calls.is_asked(&entry.id) {
            true => self.slots.if_asked(entry),
            false => self.slots.of(entry, self.now.instant),
        };
        match slot {
            Slot::Free if self.pauses.is_ending(&entry.id) => Slot::Waiting,
            slot => slot,
        }
    }

    /// Stops the runs whose entries are paused, removed or redirected in the state file as last read.
    fn end_paused(&mut self) {
        let lists = self.lists();
        let open = |id: &EntryId| Some(lists.opened(lists.entry(id)?)?.destination.clone());
        for (run, reason) in self.pauses.follow(&lists.snapshot.mentions, &open, self.now.instant) {
            self.act(Action::Cancel(run));
            self.emit_run(run, RunEvent::Pausing { reason });
        }
    }

    /// Returns whether the entry may start: with `go --once`, only lists that were enabled at its start may, and those
    /// that a person requests.
    pub(super) fn has_turn(&self, entry: &Entry) -> bool {
        self.mode == Mode::Loop
            || self.once.is_empty()
            || self.once.contains(&entry.list)
            || self.calls.is_asked(&entry.id)
    }

    /// Returns what the entry has to run now without a request.
    pub(super) fn due_by_itself(&self, entry: &Entry) -> Due {
        let from = self.turns.since(entry, self.now.utc);
        due::decide(entry.latest_timestamp, from, entry.every, self.now.utc)
    }

    /// Returns what the entry has to run now.
    fn due(&self, entry: &Entry) -> Due {
        match self.due_by_itself(entry) {
            Due::UpToDate { since } if self.calls.is_asked(&entry.id) => Due::Incremental { since },
            due => due,
        }
    }

    /// Returns what the entry has to run if it is due, and reports why it does not run if it is not.
    fn decide(&mut self, entry: &Entry, poll: Poll) -> Option<Due> {
        let due = self.due(entry);
        match due {
            Due::UpToDate { since } if poll == Poll::Regular => {
                self.emit(entry, EntryEvent::UpToDate { since });
            }
            Due::UpToDate { .. } => {}
            Due::Future { .. } if poll == Poll::After => {}
            Due::Future { since } => {
                self.emit(entry, EntryEvent::Future { problem: self.in_the_future(entry, since) });
                self.failed = true;
                self.settle_once(entry.id.clone());
            }
            Due::Full if self.waits_for_a_person(entry) => {
                if poll == Poll::Regular || self.mode == Mode::Once {
                    self.emit(entry, EntryEvent::FirstLoadWaits);
                }
                if self.mode == Mode::Once {
                    self.failed = true;
                    self.settle_once(entry.id.clone());
                }
            }
            Due::Full | Due::Incremental { .. } => return Some(due),
        }
        None
    }

    /// Reports why an entry can't start, at a regular check only; not if it has had the only run that `go --once` gives
    /// it.
    fn report_if_regular(&self, poll: Poll, entry: &Entry, slot: &Slot) {
        let obstacle = match slot {
            Slot::Free => Obstacle::Paused,
            Slot::Running => Obstacle::Running,
            Slot::Waiting if entry.alone => Obstacle::PreviousRun,
            Slot::Waiting => Obstacle::OtherEntry,
            Slot::Resting { left } => Obstacle::Resting { left: *left },
            Slot::Stopped => Obstacle::Stopped,
            Slot::Settled => return,
        };
        if poll == Poll::Regular {
            self.emit(entry, EntryEvent::Waits { obstacle });
        }
    }

    /// Returns whether the load of the entry is a first load that waits until a person confirms it.
    pub(super) fn waits_for_a_person(&self, entry: &Entry) -> bool {
        let Some(lists) = self.lists.as_ref().filter(|_| entry.first_load == FirstLoad::Ask) else {
            return false;
        };
        let has_ledger = || lists.delivery(entry).is_some_and(|delivery| self.ledgers.contains(delivery));
        lists.first_loads.contains(&entry.folder) && !has_ledger()
    }

    /// With `go --once`, prevents another run of the entry.
    pub(super) fn settle_once(&mut self, id: EntryId) {
        if self.mode == Mode::Once {
            self.slots.settle(id);
        }
    }

    /// Notes when the next entry is due and when the next delay ends, so that the loop need not look at every
    /// entry again before then.
    fn plan_wake(&mut self, entries: &[Entry]) {
        let free = |entry: &&Entry| entry.enabled && self.slot(entry) == Slot::Free;
        let due = entries.iter().filter(free).filter_map(|entry| self.turns.due_at(entry, self.looked));
        self.next_due = due.filter(|at| *at >= self.looked).min();
        self.next_rest_end = self.slots.next_rest_end(self.now.instant);
    }

    /// Returns when the entries have to be checked again: the next of the free entries is due, or a delay ends.
    /// Returns `None` if there is no such time or the mode is [`Mode::Once`].
    pub fn next_wake(&self, now: Now) -> Option<Instant> {
        if self.mode == Mode::Once {
            return None;
        }
        let left = Turns::next(self.next_due.into_iter(), self.looked, now.utc);
        left.map(|left| now.instant + left).into_iter().chain(self.next_rest_end).min()
    }
}
