//! Describes what the controller and each entry do.

use std::time::Duration;

use super::{
    commands::place,
    lists::Lists,
    machine::Machine,
    schedule::{due::Due, slots::Slot},
    status::{Adapter, EntryState, EntryStatus, FileStatus, Status, Wait},
};
use crate::{
    base::spec::ACCOUNT,
    state::{Entry, model::Element},
};

impl Machine {
    /// Returns what the controller and each entry do.
    pub(super) fn status(&self) -> Status {
        let lists = self.lists();
        let entries = lists.elements(&self.path).into_iter();
        let entries = entries.map(|(element, entry)| match entry {
            Ok(entry) => self.entry_status(&lists, element, entry),
            Err(text) => self.problem_status(element, text),
        });
        Status {
            time: self.now.utc,
            file: FileStatus { path: self.path.display().to_string(), broken: self.broken.clone() },
            entries: entries.collect(),
        }
    }

    fn entry_status(&self, lists: &Lists, element: &Element, entry: &Entry) -> EntryStatus {
        let source = Adapter { kind: entry.list.source.clone(), account: entry.list.account.clone() };
        EntryStatus {
            list_id: Some(entry.id.list_id.clone()),
            entry: Some(entry.folder.clone()),
            place: place(&self.path, element.place),
            source: Some(source),
            sink: sink(lists, entry),
            state: self.state(lists, entry),
            progress: None,
            requested: self.calls.is_asked(&entry.id),
            latest_timestamp: entry.latest_timestamp,
            next_due: self.turns.due_at(entry, self.now.utc),
            last_result: self.results.last(&entry.id.list_id, &entry.folder).cloned(),
            stored: None,
        }
    }

    fn problem_status(&self, element: &Element, text: String) -> EntryStatus {
        EntryStatus {
            list_id: element.list_id.clone(),
            entry: None,
            place: place(&self.path, element.place),
            source: None,
            sink: None,
            state: EntryState::Problem { text },
            progress: None,
            requested: false,
            latest_timestamp: None,
            next_due: None,
            last_result: None,
            stored: None,
        }
    }

    fn state(&self, lists: &Lists, entry: &Entry) -> EntryState {
        let active = self.runs.values().find(|active| active.entry.id == entry.id);
        // With `go --once`, an entry that runs has had its turn.
        let is_running = self.slots.if_asked(entry) == Slot::Running;
        if let Some(active) = active.filter(|_| is_running) {
            return EntryState::Running { kind: active.kind, start: active.began };
        }
        if !entry.enabled {
            return EntryState::Paused;
        }
        let slot = self.slot(entry);
        if slot == Slot::Stopped {
            return EntryState::Stopped;
        }
        if let Some(why) = self.held(lists, entry) {
            return EntryState::Held { why };
        }
        match slot {
            Slot::Resting { left } => self.resting(entry, left),
            Slot::Settled => EntryState::Done,
            Slot::Waiting if self.pauses.is_running(&entry.id) => {
                EntryState::Waiting { cause: Wait::PreviousRun }
            }
            Slot::Waiting => self.idle(entry, Some(Wait::List)),
            Slot::Running => EntryState::Waiting { cause: Wait::Result },
            Slot::Stopped | Slot::Free if !self.has_turn(entry) => EntryState::Done,
            Slot::Stopped | Slot::Free => self.idle(entry, None),
        }
    }

    /// Describes an entry that is not running, by its timestamp. `wait`: what it waits for if it is due.
    fn idle(&self, entry: &Entry, wait: Option<Wait>) -> EntryState {
        let is_requested = self.calls.is_asked(&entry.id);
        match (self.due_by_itself(entry), self.turns.due_at(entry, self.now.utc)) {
            (Due::Future { since }, _) => EntryState::Problem { text: self.in_the_future(entry, since) },
            (Due::Full, _) if self.waits_for_a_person(entry) => EntryState::Waiting { cause: Wait::Person },
            (Due::UpToDate { .. }, Some(next_due)) if !is_requested => EntryState::UpToDate { next_due },
            _ => {
                let capacity = self.capacity.is_waiting(&entry.list).then_some(Wait::Capacity);
                let cause = wait.or(capacity);
                cause.map_or(EntryState::Due, |cause| EntryState::Waiting { cause })
            }
        }
    }

    fn resting(&self, entry: &Entry, left: Duration) -> EntryState {
        let failed = self.slots.resting(&entry.id, self.now.instant);
        EntryState::Resting {
            until: self.now.utc + left,
            failures: failed.map_or(0, |failed| failed.times),
            why: failed.map(|failed| failed.why.clone()).unwrap_or_default(),
        }
    }
}

/// Returns the sink of an entry: as it was opened, or, for a paused entry that can't be opened, as the entry names it.
fn sink(lists: &Lists, entry: &Entry) -> Option<Adapter> {
    if let Some(delivery) = lists.delivery(entry) {
        return Some(Adapter { kind: delivery.sink.clone(), account: delivery.account.clone() });
    }
    let said = &entry.sink.value;
    let kind = said.as_str().or(said["type"].as_str())?.to_owned();
    Some(Adapter { kind, account: said[ACCOUNT].as_str().map(str::to_owned) })
}
