//! The requests of handles that are not answered yet, and the entries that have to run because of them. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use tokio::sync::oneshot;

use super::{
    input::Reply,
    status::{Refusal, RunResult, SyncAnswer, Synced},
};
use crate::state::{Entry, identity::EntryId};

/// A request that waits for the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiter {
    /// A request for a sync, and the number of the entry within it.
    Sync { call: u64, entry: usize },
    /// A request to stop a list.
    Stop { call: u64 },
}

/// The requests that wait, by number.
#[derive(Default)]
pub struct Calls {
    last: u64,
    syncs: BTreeMap<u64, Sync>,
    stops: BTreeMap<u64, Stop>,
    /// The entries that have to run and have not started yet, by list.
    asked: HashMap<String, Vec<Asked>>,
}

struct Sync {
    reply: oneshot::Sender<Vec<Synced>>,
    entries: Vec<Synced>,
    /// The number of entries without a final answer.
    left: usize,
}

struct Stop {
    reply: oneshot::Sender<Result<Vec<RunResult>, Refusal>>,
    runs: Vec<RunResult>,
    /// The number of runs that have not ended.
    left: usize,
}

/// An entry that has to run.
pub struct Asked {
    pub id: EntryId,
    pub folder: String,
    waiters: Vec<Waiter>,
}

impl Calls {
    /// Adds a request for a sync. `entries` contains its answers, as far as they are final: those that are
    /// [`SyncAnswer::Queued`] are not. Returns its number.
    pub fn sync(&mut self, reply: oneshot::Sender<Vec<Synced>>, entries: Vec<Synced>) -> u64 {
        // Nobody waits for these anymore.
        self.syncs.retain(|_, call| !call.reply.is_closed());
        self.last += 1;
        let left = entries.iter().filter(|entry| entry.answer == SyncAnswer::Queued).count();
        self.syncs.insert(self.last, Sync { reply, entries, left });
        self.last
    }

    /// Lets an entry run as soon as it can. Requests for the same entry share its next run.
    pub fn ask(&mut self, entry: &Entry, waiter: Waiter) {
        let of_list = self.asked.entry(entry.id.list_id.clone()).or_default();
        match of_list.iter_mut().find(|asked| asked.id == entry.id) {
            Some(asked) => asked.waiters.push(waiter),
            None => of_list.push(Asked {
                id: entry.id.clone(),
                folder: entry.folder.clone(),
                waiters: vec![waiter],
            }),
        }
    }

    /// Returns whether a person has requested a run of this entry that has not started yet.
    pub fn is_asked(&self, id: &EntryId) -> bool {
        self.asked.get(&id.list_id).is_some_and(|of_list| of_list.iter().any(|asked| asked.id == *id))
    }

    /// Returns whether no entry has to run because of a request.
    pub fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    /// Records that a run of this entry starts. Returns the requests that wait for it; `None` if no one has requested
    /// the run.
    pub fn start(&mut self, id: &EntryId) -> Option<Vec<Waiter>> {
        let of_list = self.asked.get_mut(&id.list_id)?;
        let index = of_list.iter().position(|asked| asked.id == *id)?;
        let asked = of_list.swap_remove(index);
        self.asked.retain(|_, of_list| !of_list.is_empty());
        Some(asked.waiters)
    }

    /// Gives the requested entries their identities in an edited file, and refuses those that can't run. `check` returns
    /// the present identity of an entry, or why it can't run.
    pub fn refuse(&mut self, check: impl Fn(&Asked) -> Result<EntryId, Refusal>) -> Vec<Reply> {
        let mut refused = vec![];
        for of_list in self.asked.values_mut() {
            of_list.retain_mut(|asked| match check(asked) {
                Ok(id) => {
                    asked.id = id;
                    true
                }
                Err(reason) => {
                    refused.push((std::mem::take(&mut asked.waiters), reason));
                    false
                }
            });
        }
        self.asked.retain(|_, of_list| !of_list.is_empty());
        let answer =
            |(waiters, reason): (Vec<Waiter>, Refusal)| self.answer(waiters, &SyncAnswer::Refused { reason });
        refused.into_iter().flat_map(answer).collect()
    }

    /// Answers the requests that waited for a run.
    pub fn ended(&mut self, waiters: Vec<Waiter>, result: RunResult) -> Vec<Reply> {
        let mut replies = vec![];
        for waiter in &waiters {
            let Waiter::Stop { call } = waiter else { continue };
            let Some(stop) = self.stops.get_mut(call) else { continue };
            stop.runs.push(result.clone());
            stop.left -= 1;
            if stop.left == 0
                && let Some(Stop { reply, runs, .. }) = self.stops.remove(call)
            {
                replies.push(Reply::Stopped(reply, Ok(runs)));
            }
        }
        replies.extend(self.answer(waiters, &SyncAnswer::Ended { result: Box::new(result) }));
        replies
    }

    /// Answers a request at once if it has no entry without a final answer, or if its caller does not wait (`waits`).
    pub fn answer_now(&mut self, call: u64, waits: bool) -> Option<Reply> {
        if waits && self.syncs.get(&call).is_some_and(|sync| sync.left > 0) {
            return None;
        }
        let Sync { reply, mut entries, .. } = self.syncs.remove(&call)?;
        let queued: HashSet<usize> =
            self.waiters().filter(|(of, _)| *of == call).map(|(_, entry)| entry).collect();
        for (index, entry) in entries.iter_mut().enumerate() {
            if entry.answer == SyncAnswer::Queued && !queued.contains(&index) {
                entry.answer = SyncAnswer::Started;
            }
        }
        Some(Reply::Synced(reply, entries))
    }

    /// Adds a request to stop a list that waits for the end of `runs` runs, at least one. Returns its number.
    pub fn stop(&mut self, reply: oneshot::Sender<Result<Vec<RunResult>, Refusal>>, runs: usize) -> u64 {
        self.last += 1;
        self.stops.insert(self.last, Stop { reply, runs: vec![], left: runs });
        self.last
    }

    fn waiters(&self) -> impl Iterator<Item = (u64, usize)> {
        let waiters = self.asked.values().flatten().flat_map(|asked| &asked.waiters);
        waiters.filter_map(|waiter| match waiter {
            Waiter::Sync { call, entry } => Some((*call, *entry)),
            Waiter::Stop { .. } => None,
        })
    }

    fn answer(&mut self, waiters: Vec<Waiter>, answer: &SyncAnswer) -> Vec<Reply> {
        let mut replies = vec![];
        for waiter in waiters {
            let Waiter::Sync { call, entry } = waiter else { continue };
            let Some(sync) = self.syncs.get_mut(&call) else { continue };
            sync.entries[entry].answer = answer.clone();
            sync.left -= 1;
            if sync.left == 0
                && let Some(Sync { reply, entries, .. }) = self.syncs.remove(&call)
            {
                replies.push(Reply::Synced(reply, entries));
            }
        }
        replies
    }
}
