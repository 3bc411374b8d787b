//! Checks the entries: which of them are due, and which start now.

use log::{error, info, warn};
use tokio::time::Instant;

use super::{
    Controller, Mode, OpenRequest, Poll, report,
    schedule::{
        capacity::RunKind,
        due::{self, Due},
        slots::Slot,
        turns::Turns,
    },
    siblings::Destination,
};
use crate::{
    base::identity::ListId,
    state::{Entry, identity::EntryId, model::FirstLoad},
    store::{checkpoint, records},
};

impl Controller {
    /// Checks all entries and starts those that are due and free: those first that have waited longest for
    /// capacity, the others in file order.
    pub(super) fn consider(&mut self, poll: Poll) {
        if self.stop.is_cancelled() || self.is_migrating {
            return;
        }
        self.end_paused();
        let now = Instant::now();
        self.looked = self.clock.now();
        let snapshot = self.file.snapshot();
        let mut due: Vec<(&Entry, Due)> = Vec::new();
        for entry in &snapshot.entries {
            match self.slot(entry, now) {
                Slot::Free if entry.enabled && self.has_turn(entry) => {
                    due.extend(self.decide(entry, poll).map(|starts| (entry, starts)));
                }
                slot => log_if_regular(poll, entry, &slot),
            }
        }
        due.sort_by_key(|(entry, _)| self.capacity.rank(&entry.list));
        let mut waiting: Vec<&ListId> = Vec::new();
        for (entry, due) in due {
            let kind = if due == Due::Full { RunKind::FullLoad } else { RunKind::Sync };
            match self.slot(entry, now) {
                Slot::Free if self.capacity.has_capacity(kind) => match self.slots.take(&entry.list) {
                    Some(lease) => self.start(entry.clone(), due, lease),
                    None => log_if_regular(poll, entry, &Slot::Waiting),
                },
                Slot::Free => waiting.push(&entry.list),
                // Another entry of the list has just started.
                slot => log_if_regular(poll, entry, &slot),
            }
        }
        self.capacity.wait(waiting.into_iter());
        if poll == Poll::Regular && self.capacity.waiting() > 0 {
            info!("{}", report::no_capacity(self.capacity.waiting()));
        }
        self.plan_wake(&snapshot.entries, now);
    }

    /// Returns whether the entry can run at `now`. It waits while its previous run, with another source or sink,
    /// ends.
    fn slot(&self, entry: &Entry, now: Instant) -> Slot {
        match self.slots.of(&entry.id, &entry.list, now) {
            Slot::Free if self.pauses.is_ending(&entry.id) => Slot::Waiting,
            slot => slot,
        }
    }

    /// Stops the runs whose entries are paused, removed or redirected in the state file as last read.
    fn end_paused(&mut self) {
        let snapshot = self.file.snapshot();
        let open = |id: &EntryId| {
            let entry = snapshot.entries.iter().find(|entry| entry.id == *id)?;
            let pipeline = (self.open)(OpenRequest { entry, urgent: false }).ok()?;
            Some(Destination::of(&pipeline))
        };
        for (list, pause) in self.pauses.follow(&snapshot.mentions, &open, Instant::now()) {
            info!("{}", report::pausing(&list, pause));
        }
    }

    /// Returns whether the entry may start: with `go --once`, only lists that were enabled at its start may.
    pub(super) fn has_turn(&self, entry: &Entry) -> bool {
        self.mode == Mode::Loop || self.once.is_empty() || self.once.contains(&entry.list)
    }

    /// Returns what the entry has to run if it is due, and logs why it does not run if it is not.
    fn decide(&mut self, entry: &Entry, poll: Poll) -> Option<Due> {
        let from = self.turns.since(entry, self.clock.now());
        let due = due::decide(entry.latest_timestamp, from, entry.every, self.clock.now());
        match due {
            Due::UpToDate { .. } if poll == Poll::Regular => info!("{}", report::due(entry, due)),
            Due::UpToDate { .. } => {}
            Due::Future { .. } if poll == Poll::After => {}
            Due::Future { .. } => {
                error!("{}: {}", self.file.path().display(), report::due(entry, due));
                self.failed = true;
                self.settle(entry.id.clone());
            }
            Due::Full if self.waits_for_a_person(entry) => {
                if poll == Poll::Regular || self.mode == Mode::Once {
                    warn!("{}", report::first_load_waits(entry));
                }
                if self.mode == Mode::Once {
                    self.failed = true;
                    self.settle(entry.id.clone());
                }
            }
            Due::Full | Due::Incremental { .. } => return Some(due),
        }
        None
    }

    /// Returns whether the first load of the entry waits until a person confirms it. A load is a first load
    /// if its delivery has no ledger, which a run writes before it delivers a record, and the entry has no
    /// checkpoint.
    fn waits_for_a_person(&self, entry: &Entry) -> bool {
        if entry.first_load != FirstLoad::Ask {
            return false;
        }
        // An entry that can't be opened is reported when it starts.
        let Ok(pipeline) = (self.open)(OpenRequest { entry, urgent: false }) else { return false };
        let folders = self.file.folders();
        !records::exists(&folders.delivery(&pipeline.delivery))
            && !checkpoint::path(&folders.entry(&pipeline.delivery, &entry.folder)).exists()
    }

    /// With `go --once`, prevents another run of the entry.
    pub(super) fn settle(&mut self, id: EntryId) {
        if self.mode == Mode::Once {
            self.slots.settle(id);
        }
    }

    /// Notes when the next entry is due and when the next delay ends, so that the loop need not look at every
    /// entry again before then.
    fn plan_wake(&mut self, entries: &[Entry], now: Instant) {
        let free = |entry: &&Entry| entry.enabled && self.slot(entry, now) == Slot::Free;
        let due = entries.iter().filter(free).filter_map(|entry| self.turns.due_at(entry, self.looked));
        self.next_due = due.filter(|at| *at >= self.looked).min();
        self.next_rest_end = self.slots.next_rest_end(now);
    }

    /// Returns when the entries have to be checked again: the next of the free entries is due, or a delay ends.
    /// Returns `None` if there is no such time or the mode is [`Mode::Once`].
    pub(super) fn next_wake(&self) -> Option<Instant> {
        if self.mode == Mode::Once {
            return None;
        }
        let left = Turns::next(self.next_due.into_iter(), self.looked, self.clock.now());
        left.map(|left| Instant::now() + left).into_iter().chain(self.next_rest_end).min()
    }
}

/// Logs why an entry can't start, at a regular check only.
fn log_if_regular(poll: Poll, entry: &Entry, slot: &Slot) {
    if poll == Poll::Regular
        && let Some(why) = report::not_free(entry, slot)
    {
        info!("{why}");
    }
}
