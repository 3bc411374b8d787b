//! The regular checks: what a tick looks for, and what follows a read of the state file.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Mode, POLL, Poll,
    input::{Action, FileRead, Reading},
    lists::Lists,
    machine::Machine,
    schedule::RunId,
};
use crate::{
    base::{
        event::{EntryEvent, FileEvent, ProgramEvent},
        fault::Fault,
    },
    state::Entry,
};

/// Time after a write during which every tick looks for edits that an editor saved to the replaced text.
const LATE: Duration = Duration::from_secs(5);

impl Machine {
    /// Begins a check of all lists: the file is read first.
    pub(super) fn check(&mut self) {
        self.events.emit(ProgramEvent::Checking);
        self.act(Action::Read(Reading::All));
    }

    /// Begins a further check. With [`Mode::Once`] it ends runs of paused or removed entries and starts no list.
    pub(super) fn check_again(&mut self) {
        match self.mode {
            Mode::Loop => self.check(),
            Mode::Once => self.act(Action::Read(Reading::Changes)),
        }
    }

    /// Starts the due entries. If the file can't be read, uses its last valid version.
    pub(super) fn read(&mut self, read: Result<FileRead, Fault>) {
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
            Mode::Loop => self.events.emit(ProgramEvent::Sleeping { seconds: POLL.as_secs() }),
            Mode::Once => {
                let lists = self.lists();
                let enabled = lists.snapshot.entries.iter().filter(|entry| entry.enabled);
                self.once = enabled.map(|entry| entry.list.clone()).collect();
            }
        }
    }

    /// Takes in the file that was read again with [`Mode::Once`].
    pub(super) fn read_again(&mut self, read: Result<FileRead, Fault>) {
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
            self.emit(entry, EntryEvent::NotThisTime);
        }
    }

    /// Takes over the file as read or written.
    pub(super) fn take(&mut self, lists: Lists) {
        self.results.keep(|list_id| !lists.snapshot.mentions.of_list(list_id).is_empty());
        self.lists = Some(lists);
        self.broken = None;
    }

    /// Reports that the state file can't be read.
    fn is_broken(&mut self, fault: &Fault) {
        self.events.emit(FileEvent::Unusable { problem: fault.to_string() });
        self.events.emit(FileEvent::Awaited { last_valid: self.lists.is_some() });
        self.broken = Some(fault.to_string());
    }

    /// Does the checks of a tick: the quit file, late saves, and runs that have to be aborted.
    pub(super) fn tick(&mut self, quit: bool) {
        if quit {
            self.act(Action::StopProgram);
        }
        let is_late = |written: Instant| self.now.instant.duration_since(written) < LATE;
        if self.last_write.is_some_and(is_late) && self.saver.look_back() {
            self.act(Action::LookBack);
        }
        let overdue: Vec<RunId> = self.pauses.overdue(self.now.instant).collect();
        overdue.into_iter().for_each(|run| self.act(Action::Abort(run)));
        if !self.is_migrating {
            self.act(Action::DeliverNotices);
        }
        self.act(Action::CloseIdleDatabases);
        self.act(Action::PollDeferredErrors);
        self.act(Action::Publish);
    }
}
