//! Carries out the commands of handles.

use std::path::Path;

use log::info;
use tokio::sync::oneshot;

use super::{
    Poll,
    calls::{Asked, Waiter},
    handle::Command,
    input::{Action, Reply},
    lists::Lists,
    machine::Machine,
    pauses::Pause,
    report,
    schedule::{RunId, due::Due},
    status::{Refusal, RunResult, SyncAnswer, Synced},
};
use crate::state::{Entry, finding::Place, identity::EntryId};

/// Why no entry runs while files of version 0.1 are still to be migrated.
const MIGRATING: &str = "the files of importer 0.1 can't be migrated while an entry has a problem; correct the problems \
                         of the state file";

impl Machine {
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::SyncNow { list, waits, reply } => self.sync_now(list.as_deref(), waits, reply),
            Command::StopOne { list, reply } => self.stop_one(&list, reply),
            Command::Status { reply } => {
                let status = Box::new(self.status());
                self.act(Action::Reply(Reply::Status(reply, status)));
            }
            Command::Results { list, reply } => {
                let results = self.results.of(list.as_deref());
                self.act(Action::Reply(Reply::Results(reply, results)));
            }
        }
    }

    /// Requests a run of each entry of `list`, or of every enabled entry.
    fn sync_now(&mut self, list: Option<&str>, waits: bool, reply: oneshot::Sender<Vec<Synced>>) {
        let (answers, entries) = self.requested(list);
        let call = self.calls.sync(reply, answers);
        for (index, entry) in entries {
            self.slots.restart(&entry.id);
            self.calls.ask(&entry, Waiter::Sync { call, entry: index });
        }
        self.consider(Poll::After);
        let answer = self.calls.answer_now(call, waits);
        answer.into_iter().for_each(|reply| self.act(Action::Reply(reply)));
    }

    /// Returns the answers to a request as far as they are final, and the entries that have to run, each with the index
    /// of its answer.
    fn requested(&self, list: Option<&str>) -> (Vec<Synced>, Vec<(usize, Entry)>) {
        let (mut answers, mut entries) = (vec![], vec![]);
        let mut add = |list_id: Option<&str>, place, checked: Result<&Entry, Refusal>| {
            let answer = match checked {
                Ok(entry) => {
                    entries.push((answers.len(), entry.clone()));
                    SyncAnswer::Queued
                }
                Err(reason) => SyncAnswer::Refused { reason },
            };
            answers.push(Synced { list_id: list_id.map(str::to_owned), place, answer });
        };
        let lists = self.lists();
        for (element, entry) in lists.elements(&self.path) {
            let wanted = match (list, &entry) {
                (Some(list), _) => element.list_id.as_deref() == Some(list),
                (None, Ok(entry)) => entry.enabled,
                (None, Err(_)) => true,
            };
            if wanted {
                let checked = match entry {
                    Ok(entry) => self.refusal(&lists, entry).map_or(Ok(entry), Err),
                    Err(text) => Err(Refusal::Problem { text }),
                };
                add(element.list_id.as_deref(), Some(place(&self.path, element.place)), checked);
            }
        }
        if answers.is_empty() && list.is_some() {
            let unreadable = self.broken.clone().filter(|_| self.lists.is_none());
            let unknown = unreadable.map_or(Refusal::UnknownList, |text| Refusal::Problem { text });
            answers.push(Synced {
                list_id: list.map(str::to_owned),
                place: None,
                answer: SyncAnswer::Refused { reason: unknown },
            });
        }
        (answers, entries)
    }

    /// Returns why an entry can't run on request.
    fn refusal(&self, lists: &Lists, entry: &Entry) -> Option<Refusal> {
        if self.is_ending() {
            return Some(Refusal::Stopping);
        }
        if self.is_migrating {
            return Some(Refusal::Problem { text: MIGRATING.into() });
        }
        if !entry.enabled {
            return Some(Refusal::Paused);
        }
        if let Some(why) = self.held(lists, entry) {
            return Some(Refusal::Held { why });
        }
        match self.due_by_itself(entry) {
            due @ Due::Future { .. } => Some(Refusal::Problem { text: self.in_the_future(entry, due) }),
            Due::Full if self.waits_for_a_person(entry) => Some(Refusal::FirstLoad),
            _ => None,
        }
    }

    /// Returns why the delivery of an entry is on hold; `None` if it is not, or if the entry may lift the hold.
    pub(super) fn held(&self, lists: &Lists, entry: &Entry) -> Option<String> {
        let hold = self.holds.get(lists.delivery(entry)?).filter(|_| !entry.allow_mass_change)?;
        Some(hold.fault(&entry.id.list_id).to_string())
    }

    /// Says that the timestamp of an entry is in the future, with its place.
    pub(super) fn in_the_future(&self, entry: &Entry, due: Due) -> String {
        format!("{}: {}", place(&self.path, entry.place), report::due(entry, due))
    }

    /// Refuses the requested entries that can't run anymore, since they or the file were changed.
    pub(super) fn refuse_asked(&mut self) {
        if self.calls.is_empty() {
            return;
        }
        let lists = self.lists();
        let mut calls = std::mem::take(&mut self.calls);
        let replies = calls.refuse(|asked| {
            let entry = present(&lists, asked).ok_or(Refusal::UnknownList)?;
            self.refusal(&lists, entry).map_or(Ok(entry.id.clone()), Err)
        });
        self.calls = calls;
        replies.into_iter().for_each(|reply| self.act(Action::Reply(reply)));
    }

    /// Ends the runs of a list, and lets its entries not start by themselves.
    fn stop_one(&mut self, list: &str, reply: oneshot::Sender<Result<Vec<RunResult>, Refusal>>) {
        let lists = self.lists();
        let of_list: Vec<&Entry> =
            lists.snapshot.entries.iter().filter(|entry| entry.id.list_id == list).collect();
        let active = self.runs.iter().filter(|(_, active)| active.entry.id.list_id == list);
        let runs: Vec<RunId> = active.map(|(run, _)| *run).collect();
        if lists.snapshot.mentions.of_list(list).is_empty() && runs.is_empty() {
            return self.act(Action::Reply(Reply::Stopped(reply, Err(Refusal::UnknownList))));
        }
        of_list.iter().for_each(|entry| self.slots.stop(entry));
        let is_other = |asked: &Asked| asked.id.list_id != list;
        let refused = self.calls.refuse(|asked| match is_other(asked) {
            true => Ok(asked.id.clone()),
            false => Err(Refusal::Stopped),
        });
        refused.into_iter().for_each(|reply| self.act(Action::Reply(reply)));
        if runs.is_empty() {
            return self.act(Action::Reply(Reply::Stopped(reply, Ok(vec![]))));
        }
        let call = self.calls.stop(reply, runs.len());
        for run in runs {
            self.runs.entry(run).and_modify(|active| active.waiters.push(Waiter::Stop { call }));
            if self.pauses.stop(run, self.now.instant) {
                self.act(Action::Cancel(run));
                info!("{}", report::pausing(list, Pause::Requested));
            }
        }
    }
}

/// Finds a requested entry in the file: by its identity, by the settings that change what is delivered, or by its list if
/// that has no other entry.
fn present<'a>(lists: &'a Lists, asked: &Asked) -> Option<&'a Entry> {
    let EntryId { list_id, .. } = &asked.id;
    let of_list = || lists.snapshot.entries.iter().filter(|entry| entry.id.list_id == *list_id);
    of_list()
        .find(|entry| entry.id == asked.id)
        .or_else(|| of_list().find(|entry| entry.folder == asked.folder))
        .or_else(|| of_list().find(|entry| entry.alone))
}

/// Formats a place in the state file.
pub fn place(path: &Path, place: Place) -> String {
    format!("{}:{}:{}", path.display(), place.line, place.column)
}
