//! Bounds how many runs are active at a time, and decides which of the waiting lists come next. Pure.

use std::collections::HashMap;

use tokio::task;

use crate::base::identity::ListId;

/// Maximum number of active runs. A run has up to two files open, a checkpoint and a database, so that all of
/// them and the connections stay below 100, and its records are in memory. More runs would only wait for the
/// rates of the accounts.
pub const RUNS: usize = 32;
/// Maximum number of active full loads, which may take hours. The other places stay free for incremental
/// syncs.
pub const LOADS: usize = 24;

/// What a run reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    FullLoad,
    Sync,
}

/// The active runs and the lists that wait for a place.
#[derive(Default)]
pub struct Places {
    active: HashMap<task::Id, Kind>,
    loads: usize,
    /// The number that each waiting list drew when it began to wait.
    waiting: HashMap<ListId, u64>,
    drawn: u64,
}

impl Places {
    /// Returns whether another run of this kind may begin.
    pub fn has_room(&self, kind: Kind) -> bool {
        self.active.len() < RUNS && (kind == Kind::Sync || self.loads < LOADS)
    }

    /// Records that `task` runs.
    pub fn begin(&mut self, task: task::Id, kind: Kind) {
        self.active.insert(task, kind);
        self.loads += usize::from(kind == Kind::FullLoad);
    }

    /// Records that `task` has ended.
    pub fn end(&mut self, task: task::Id) {
        if self.active.remove(&task) == Some(Kind::FullLoad) {
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
                self.drawn += 1;
                self.drawn
            });
            self.waiting.entry(list.clone()).or_insert(number);
        }
    }

    /// Returns the number of lists that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks() -> impl Iterator<Item = task::Id> {
        let mut tasks = task::JoinSet::new();
        std::iter::from_fn(move || Some(tasks.spawn(async {}).id()))
    }

    #[tokio::test]
    async fn loads_leave_places_to_syncs_and_syncs_may_have_all() {
        let mut places = Places::default();
        let tasks: Vec<task::Id> = tasks().take(RUNS).collect();
        for task in &tasks[..LOADS] {
            assert!(places.has_room(Kind::FullLoad));
            places.begin(*task, Kind::FullLoad);
        }
        assert!(!places.has_room(Kind::FullLoad));
        for task in &tasks[LOADS..] {
            assert!(places.has_room(Kind::Sync));
            places.begin(*task, Kind::Sync);
        }
        assert!(!places.has_room(Kind::Sync));
        places.end(tasks[LOADS]);
        assert!(places.has_room(Kind::Sync) && !places.has_room(Kind::FullLoad));
        places.end(tasks[0]);
        assert!(places.has_room(Kind::FullLoad));
        tasks.iter().for_each(|task| places.end(*task));
        for task in &tasks {
            assert!(places.has_room(Kind::Sync));
            places.begin(*task, Kind::Sync);
        }
        assert!(!places.has_room(Kind::Sync));
    }

    #[test]
    fn a_list_keeps_its_rank_while_it_waits_and_loses_it_when_it_does_not() {
        let mut places = Places::default();
        // Two lists have the same id, at different sources.
        let [a, b, c, d] = [("x", "1"), ("y", "1"), ("x", "2"), ("x", "3")].map(|(source, id)| ListId {
            source: source.into(),
            account: None,
            id: id.into(),
        });
        let names = [(&a, "a"), (&b, "b"), (&c, "c"), (&d, "d")];
        let order = |places: &Places| {
            let mut lists = names;
            lists.sort_by_key(|(list, _)| places.rank(list));
            lists.map(|(_, name)| name).concat()
        };
        assert_eq!(order(&places), "abcd");
        places.wait([&c, &d].into_iter());
        assert_eq!(order(&places), "cdab");
        // The first list was due again at once, and waits behind the others.
        places.wait([&c, &d, &a].into_iter());
        assert_eq!((order(&places), places.waiting()), ("cdab".to_owned(), 3));
        places.wait([&d, &a].into_iter());
        places.wait([&d, &a, &c, &d].into_iter());
        assert_eq!((order(&places), places.waiting()), ("dacb".to_owned(), 3));
    }
}
