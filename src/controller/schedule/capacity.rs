//! Bounds how many runs are active at a time, and decides which of the waiting lists come next. Pure.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::RunId;
use crate::base::identity::ListId;

/// Maximum number of active runs. A run has up to two files open, a checkpoint and a database, so that all of
/// them and the connections stay below 100, and its records are in memory. More runs would only wait for the
/// rates of the accounts.
pub const RUNS: usize = 32;
/// Maximum number of active full loads, which may take hours. The remaining 8 runs are reserved for incremental syncs.
pub const LOADS: usize = 24;

/// What a run reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunKind {
    /// The whole list.
    #[serde(rename = "full")]
    FullLoad,
    /// The changes since the last run.
    #[serde(rename = "incremental")]
    Sync,
}

/// The active runs, and the lists that wait for capacity.
#[derive(Default)]
pub struct Capacity {
    active: HashMap<RunId, RunKind>,
    loads: usize,
    /// The number that each waiting list got when it began to wait.
    waiting: HashMap<ListId, u64>,
    /// The last of these numbers.
    last_number: u64,
}

impl Capacity {
    /// Returns whether another run of this kind may begin.
    pub fn has_capacity(&self, kind: RunKind) -> bool {
        self.active.len() < RUNS && (kind == RunKind::Sync || self.loads < LOADS)
    }

    /// Records that a run is active.
    pub fn begin(&mut self, run: RunId, kind: RunKind) {
        self.active.insert(run, kind);
        self.loads += usize::from(kind == RunKind::FullLoad);
    }

    /// Records that a run has ended.
    pub fn end(&mut self, run: RunId) {
        if self.active.remove(&run) == Some(RunKind::FullLoad) {
            self.loads -= 1;
        }
    }

    /// Returns the rank of a due list: those that have waited longest come first, and new ones last. Equal
    /// ranks keep the order of the file.
    pub fn rank(&self, list: &ListId) -> u64 {
        self.waiting.get(list).copied().unwrap_or(u64::MAX)
    }

    /// Records which lists wait now, in their order. A list that waited before keeps its rank.
    pub fn wait<'a>(&mut self, lists: impl Iterator<Item = &'a ListId>) {
        let mut before = std::mem::take(&mut self.waiting);
        for list in lists {
            let number = before.remove(list).unwrap_or_else(|| {
                self.last_number += 1;
                self.last_number
            });
            self.waiting.entry(list.clone()).or_insert(number);
        }
    }

    /// Returns whether no run is active.
    pub fn is_idle(&self) -> bool {
        self.active.is_empty()
    }

    /// Returns whether this list waits for capacity.
    pub fn is_waiting(&self, list: &ListId) -> bool {
        self.waiting.contains_key(list)
    }

    /// Returns the number of lists that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_leave_capacity_for_syncs_and_syncs_may_use_all_of_it() {
        let mut capacity = Capacity::default();
        let runs: Vec<RunId> = (0..).map(RunId).take(RUNS).collect();
        for run in &runs[..LOADS] {
            assert!(capacity.has_capacity(RunKind::FullLoad));
            capacity.begin(*run, RunKind::FullLoad);
        }
        assert!(!capacity.has_capacity(RunKind::FullLoad));
        for run in &runs[LOADS..] {
            assert!(capacity.has_capacity(RunKind::Sync));
            capacity.begin(*run, RunKind::Sync);
        }
        assert!(!capacity.has_capacity(RunKind::Sync));
        capacity.end(runs[LOADS]);
        assert!(capacity.has_capacity(RunKind::Sync) && !capacity.has_capacity(RunKind::FullLoad));
        capacity.end(runs[0]);
        assert!(capacity.has_capacity(RunKind::FullLoad));
        runs.iter().for_each(|run| capacity.end(*run));
        for run in &runs {
            assert!(capacity.has_capacity(RunKind::Sync));
            capacity.begin(*run, RunKind::Sync);
        }
        assert!(!capacity.has_capacity(RunKind::Sync));
    }

    #[test]
    fn a_list_keeps_its_rank_while_it_waits_and_loses_it_when_it_does_not() {
        let mut capacity = Capacity::default();
        // Two lists have the same id, at different sources.
        let [a, b, c, d] = [("x", "1"), ("y", "1"), ("x", "2"), ("x", "3")].map(|(source, id)| ListId {
            source: source.into(),
            account: None,
            id: id.into(),
        });
        let names = [(&a, "a"), (&b, "b"), (&c, "c"), (&d, "d")];
        let order = |capacity: &Capacity| {
            let mut lists = names;
            lists.sort_by_key(|(list, _)| capacity.rank(list));
            lists.map(|(_, name)| name).concat()
        };
        assert_eq!(order(&capacity), "abcd");
        capacity.wait([&c, &d].into_iter());
        assert_eq!(order(&capacity), "cdab");
        // The first list was due again at once, and waits behind the others.
        capacity.wait([&c, &d, &a].into_iter());
        assert_eq!((order(&capacity), capacity.waiting()), ("cdab".to_owned(), 3));
        capacity.wait([&d, &a].into_iter());
        capacity.wait([&d, &a, &c, &d].into_iter());
        assert_eq!((order(&capacity), capacity.waiting()), ("dacb".to_owned(), 3));
    }
}
