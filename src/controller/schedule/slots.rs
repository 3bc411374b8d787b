//! Tracks which entries can't run now, and why. Pure: callers pass the time in.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{task, time::Instant};

use crate::{
    base::identity::ListId,
    state::identity::EntryId,
    store::{Lease, Leases},
};

/// Delay before a failed entry runs again. It doubles with each further failure, up to [`LONGEST_REST`].
const REST: Duration = Duration::from_secs(60);
const LONGEST_REST: Duration = Duration::from_secs(3600);

/// Whether an entry can run now.
#[derive(Debug, PartialEq, Eq)]
pub enum Slot {
    /// The entry can start.
    Free,
    /// The entry is running.
    Running,
    /// The lease of the list is taken, or the previous run of this entry is still ending.
    Waiting,
    /// The entry failed and is delayed. An edit of the entry ends the delay, since it changes its identity.
    Resting { left: Duration },
    /// The entry has had the only run that `go --once` gives it.
    Settled,
}

/// An entry that failed `times` times in a row.
struct Failed {
    id: EntryId,
    times: u32,
    until: Instant,
}

/// A run, which has the lease of its list.
struct Run {
    id: EntryId,
    _lease: Arc<dyn Lease>,
}

/// The entries that are not free: running ones by list, the others by the id of their list. The leases decide whether a
/// list can run; the slots know which entry runs, and which entries are delayed.
pub struct Slots {
    leases: Arc<dyn Leases>,
    running: HashMap<ListId, Run>,
    /// The list of each task.
    tasks: HashMap<task::Id, ListId>,
    failed: HashMap<String, Vec<Failed>>,
    settled: HashMap<String, Vec<EntryId>>,
}

impl Slots {
    /// Creates the slots of lists that run by these leases.
    pub fn new(leases: Arc<dyn Leases>) -> Self {
        Slots {
            leases,
            running: HashMap::new(),
            tasks: HashMap::new(),
            failed: HashMap::new(),
            settled: HashMap::new(),
        }
    }

    /// Returns whether the entry can run at `now`.
    pub fn of(&self, id: &EntryId, list: &ListId, now: Instant) -> Slot {
        let list_id = id.list_id.as_str();
        if self.settled.get(list_id).is_some_and(|settled| settled.contains(id)) {
            return Slot::Settled;
        }
        if self.leases.is_taken(list) {
            let is_own = self.running.get(list).is_some_and(|run| run.id == *id);
            return if is_own { Slot::Running } else { Slot::Waiting };
        }
        let failed = self.failed.get(list_id).map_or(&[][..], Vec::as_slice);
        let resting = failed.iter().find(|failed| failed.id == *id && failed.until > now);
        resting.map_or(Slot::Free, |failed| Slot::Resting { left: failed.until - now })
    }

    /// Returns the ids of the lists that are running, sorted.
    pub fn running(&self) -> Vec<&str> {
        let mut lists: Vec<&str> = self.running.keys().map(|list| list.id.as_str()).collect();
        lists.sort_unstable();
        lists
    }

    /// Takes the lease of a list; `None` if another run has it.
    pub fn take(&self, list: &ListId) -> Option<Arc<dyn Lease>> {
        self.leases.take(list)
    }

    /// Records that `task` runs the entry with the lease of its list. The lease is kept until [`free`](Self::free).
    pub fn run(&mut self, task: task::Id, id: EntryId, list: ListId, lease: Arc<dyn Lease>) {
        self.tasks.insert(task, list.clone());
        self.running.insert(list, Run { id, _lease: lease });
    }

    /// Drops the lease of the entry that `task` ran, and returns the entry; `None` if the task is unknown.
    pub fn free(&mut self, task: task::Id) -> Option<EntryId> {
        let list = self.tasks.remove(&task)?;
        self.running.remove(&list).map(|run| run.id)
    }

    /// Records a failure of the entry and delays its next run by `rest`, or, with `None`, by the growing delay.
    pub fn rest(&mut self, id: EntryId, now: Instant, rest: Option<Duration>) {
        let failed = self.failed.entry(id.list_id.clone()).or_default();
        let index = failed.iter().position(|failed| failed.id == id);
        let times = index.map_or(0, |index| failed.swap_remove(index).times);
        let rest = rest.unwrap_or_else(|| REST.saturating_mul(1 << times.min(16)).min(LONGEST_REST));
        failed.push(Failed { id, times: times + 1, until: now + rest });
    }

    /// Returns the end of the delay that ends first after `seen`, the time of the last check. Earlier ends
    /// are over: an entry that was not started at that check does not wait for its delay.
    pub fn next_rest_end(&self, seen: Instant) -> Option<Instant> {
        self.failed.values().flatten().map(|failed| failed.until).filter(|until| *until > seen).min()
    }

    /// Forgets the entry's failures, since it has succeeded.
    pub fn recovered(&mut self, id: &EntryId) {
        if let Some(failed) = self.failed.get_mut(&id.list_id) {
            failed.retain(|failed| failed.id != *id);
        }
    }

    /// Lets the entry not run again in this process (`go --once`).
    pub fn settle(&mut self, id: EntryId) {
        self.settled.entry(id.list_id.clone()).or_default().push(id);
    }

    /// Takes [`settle`](Self::settle) back.
    pub fn unsettle(&mut self, id: &EntryId) {
        if let Some(settled) = self.settled.get_mut(&id.list_id) {
            settled.retain(|settled| settled != id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        state::{schema, vocabulary::SAMPLE},
        store::leases::ProcessLeases,
    };

    fn slots() -> Slots {
        Slots::new(Arc::new(ProcessLeases::default()))
    }

    fn id(text: &str) -> EntryId {
        schema::read(&format!("[{text}]"), &SAMPLE).unwrap().entries.remove(0).id
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_is_free_unless_its_list_runs_or_it_is_delayed_or_has_had_its_run() {
        let (a, edited, b) = (
            id(r#"{"list_id": "a"}"#),
            id(r#"{"list_id": "a", "worker_count": 1}"#),
            id(r#"{"list_id": "b"}"#),
        );
        let now = Instant::now();
        let mut slots = slots();
        let task = task::JoinSet::new().spawn(async {}).id();
        let lease = slots.take(&a.list(&SAMPLE)).unwrap();
        slots.run(task, a.clone(), a.list(&SAMPLE), lease);
        assert!(slots.take(&edited.list(&SAMPLE)).is_none());
        assert_eq!(
            (
                slots.of(&a, &a.list(&SAMPLE), now),
                slots.of(&edited, &edited.list(&SAMPLE), now),
                slots.of(&b, &b.list(&SAMPLE), now)
            ),
            (Slot::Running, Slot::Waiting, Slot::Free)
        );
        assert_eq!(slots.free(task), Some(a.clone()));
        slots.rest(a.clone(), now, None);
        assert_eq!(
            (slots.of(&a, &a.list(&SAMPLE), now), slots.of(&edited, &edited.list(&SAMPLE), now)),
            (Slot::Resting { left: REST }, Slot::Free)
        );
        assert_eq!(slots.of(&a, &a.list(&SAMPLE), now + REST), Slot::Free);
        slots.rest(a.clone(), now, None);
        assert_eq!(slots.of(&a, &a.list(&SAMPLE), now), Slot::Resting { left: 2 * REST });
        (0..20).for_each(|_| slots.rest(a.clone(), now, None));
        assert_eq!(slots.of(&a, &a.list(&SAMPLE), now), Slot::Resting { left: LONGEST_REST });
        slots.recovered(&a);
        slots.rest(a.clone(), now, None);
        assert_eq!(slots.of(&a, &a.list(&SAMPLE), now), Slot::Resting { left: REST });
        slots.settle(b.clone());
        assert_eq!(slots.of(&b, &b.list(&SAMPLE), now), Slot::Settled);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fixed_delay_does_not_grow() {
        let (a, now, turn) = (id(r#"{"list_id": "a"}"#), Instant::now(), Duration::from_secs(5));
        let mut slots = slots();
        for _ in 0..3 {
            slots.rest(a.clone(), now, Some(turn));
            assert_eq!(slots.of(&a, &a.list(&SAMPLE), now), Slot::Resting { left: turn });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_delay_ends_once() {
        let (a, b) = (id(r#"{"list_id": "a"}"#), id(r#"{"list_id": "b"}"#));
        let now = Instant::now();
        let mut slots = slots();
        assert_eq!(slots.next_rest_end(now), None);
        slots.rest(b, now + REST / 2, None);
        slots.rest(a, now, None);
        let mut seen = now;
        let ends: Vec<_> =
            std::iter::from_fn(|| slots.next_rest_end(seen).inspect(|end| seen = *end)).take(3).collect();
        assert_eq!(ends, [now + REST, now + REST * 3 / 2]);
    }
}
