//! Tracks which entries can't run now, and why. Pure: callers pass the time in.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::RunId;
use crate::{
    base::identity::ListId,
    state::{
        Entry,
        identity::{BaseVersion, EntryId},
    },
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
    /// A person has stopped the entry. It does not start by itself before its entry is edited.
    Stopped,
    /// The entry has had the only run that `go --once` gives it.
    Settled,
}

/// An entry that failed `times` times in a row, the last time because of `why`.
pub struct Failed {
    id: EntryId,
    pub times: u32,
    pub until: Instant,
    pub why: String,
}

/// An entry that a person has stopped, and its base version at that time: an edit of `latest_timestamp` starts it
/// again, although the timestamp does not belong to the identity.
struct Stopped {
    id: EntryId,
    was: BaseVersion,
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
    /// The list of each run.
    runs: HashMap<RunId, ListId>,
    failed: HashMap<String, Vec<Failed>>,
    settled: HashMap<String, Vec<EntryId>>,
    stopped: HashMap<String, Vec<Stopped>>,
}

impl Slots {
    /// Creates the slots of lists that run by these leases.
    pub fn new(leases: Arc<dyn Leases>) -> Self {
        Slots {
            leases,
            running: HashMap::new(),
            runs: HashMap::new(),
            failed: HashMap::new(),
            settled: HashMap::new(),
            stopped: HashMap::new(),
        }
    }

    /// Returns whether the entry can run at `now`.
    pub fn of(&self, entry: &Entry, now: Instant) -> Slot {
        let id = &entry.id;
        if self.settled.get(&id.list_id).is_some_and(|settled| settled.contains(id)) {
            return Slot::Settled;
        }
        match self.if_asked(entry) {
            Slot::Free if self.is_stopped(entry) => Slot::Stopped,
            Slot::Free => {
                let resting = self.resting(id, now);
                resting.map_or(Slot::Free, |failed| Slot::Resting { left: failed.until - now })
            }
            taken => taken,
        }
    }

    /// Returns whether the entry could run if a person asked for it: neither a delay nor a stop counts then, nor that
    /// the entry has had its only run.
    pub fn if_asked(&self, entry: &Entry) -> Slot {
        if !self.leases.is_taken(&entry.list) {
            return Slot::Free;
        }
        let is_own = self.running.get(&entry.list).is_some_and(|run| run.id == entry.id);
        if is_own { Slot::Running } else { Slot::Waiting }
    }

    /// Returns the last failure of the entry if the entry is delayed at `now`.
    pub fn resting(&self, id: &EntryId, now: Instant) -> Option<&Failed> {
        let failed = self.failed.get(&id.list_id).map_or(&[][..], Vec::as_slice);
        failed.iter().find(|failed| failed.id == *id && failed.until > now)
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

    /// Records that a run of the entry has the lease of its list. The lease is kept until [`free`](Self::free).
    pub fn run(&mut self, run: RunId, entry: &Entry, lease: Arc<dyn Lease>) {
        self.runs.insert(run, entry.list.clone());
        self.running.insert(entry.list.clone(), Run { id: entry.id.clone(), _lease: lease });
    }

    /// Drops the lease of a run, and returns the entry; `None` if the run is unknown.
    pub fn free(&mut self, run: RunId) -> Option<EntryId> {
        let list = self.runs.remove(&run)?;
        self.running.remove(&list).map(|run| run.id)
    }

    /// Records that the entry failed because of `why`, and delays its next run by `rest`, or, with `None`, by the
    /// growing delay.
    pub fn rest(&mut self, id: EntryId, now: Instant, rest: Option<Duration>, why: &str) {
        let failed = self.failed.entry(id.list_id.clone()).or_default();
        let index = failed.iter().position(|failed| failed.id == id);
        let times = index.map_or(0, |index| failed.swap_remove(index).times);
        let rest = rest.unwrap_or_else(|| REST.saturating_mul(1 << times.min(16)).min(LONGEST_REST));
        failed.push(Failed { id, times: times + 1, until: now + rest, why: why.to_owned() });
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

    /// Lets the entry not start by itself until it is edited.
    pub fn stop(&mut self, entry: &Entry) {
        self.restart(&entry.id);
        let stopped = Stopped { id: entry.id.clone(), was: entry.was };
        self.stopped.entry(entry.id.list_id.clone()).or_default().push(stopped);
    }

    /// Takes [`stop`](Self::stop) back.
    pub fn restart(&mut self, id: &EntryId) {
        if let Some(stopped) = self.stopped.get_mut(&id.list_id) {
            stopped.retain(|stopped| stopped.id != *id);
        }
    }

    /// Takes over the base version of an entry that importer has written itself: that is no edit.
    pub fn written(&mut self, entry: &Entry) {
        let stopped = self.stopped.get_mut(&entry.id.list_id).map_or(&mut [][..], Vec::as_mut_slice);
        stopped
            .iter_mut()
            .filter(|stopped| stopped.id == entry.id)
            .for_each(|stopped| stopped.was = entry.was);
    }

    fn is_stopped(&self, entry: &Entry) -> bool {
        let stopped = self.stopped.get(&entry.id.list_id).map_or(&[][..], Vec::as_slice);
        stopped.iter().any(|stopped| stopped.id == entry.id && stopped.was == entry.was)
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

    fn entry(text: &str) -> Entry {
        schema::read(&format!("[{text}]"), &SAMPLE).unwrap().entries.remove(0)
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_is_free_unless_its_list_runs_or_it_is_delayed_or_has_had_its_run() {
        let (a, edited, b) = (
            entry(r#"{"list_id": "a"}"#),
            entry(r#"{"list_id": "a", "worker_count": 1}"#),
            entry(r#"{"list_id": "b"}"#),
        );
        let (now, run) = (Instant::now(), RunId(1));
        let mut slots = slots();
        let lease = slots.take(&a.list).unwrap();
        slots.run(run, &a, lease);
        assert!(slots.take(&edited.list).is_none());
        assert_eq!(
            (slots.of(&a, now), slots.of(&edited, now), slots.of(&b, now)),
            (Slot::Running, Slot::Waiting, Slot::Free)
        );
        assert_eq!(slots.free(run), Some(a.id.clone()));
        slots.rest(a.id.clone(), now, None, "x");
        assert_eq!((slots.of(&a, now), slots.of(&edited, now)), (Slot::Resting { left: REST }, Slot::Free));
        assert_eq!((slots.of(&a, now + REST), slots.if_asked(&a)), (Slot::Free, Slot::Free));
        slots.rest(a.id.clone(), now, None, "x");
        assert_eq!(slots.of(&a, now), Slot::Resting { left: 2 * REST });
        (0..20).for_each(|_| slots.rest(a.id.clone(), now, None, "x"));
        assert_eq!(slots.of(&a, now), Slot::Resting { left: LONGEST_REST });
        slots.recovered(&a.id);
        slots.rest(a.id.clone(), now, None, "x");
        assert_eq!(slots.of(&a, now), Slot::Resting { left: REST });
        slots.settle(b.id.clone());
        assert_eq!((slots.of(&b, now), slots.if_asked(&b)), (Slot::Settled, Slot::Free));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopped_entry_is_free_again_after_an_edit_and_not_after_a_write_of_ours() {
        let timed = |second| {
            entry(&format!(r#"{{"list_id": "a", "latest_timestamp": "2026-11-21T12:00:0{second}"}}"#))
        };
        let (a, stamped, edited) =
            (timed(0), timed(1), entry(r#"{"list_id": "a", "latest_timestamp": null}"#));
        let (now, mut slots) = (Instant::now(), slots());
        slots.stop(&a);
        assert_eq!((slots.of(&a, now), slots.if_asked(&a)), (Slot::Stopped, Slot::Free));
        assert_eq!(slots.of(&entry(r#"{"list_id": "a", "worker_count": 1}"#), now), Slot::Free);
        assert_eq!(slots.of(&stamped, now), Slot::Free, "a person has set the timestamp");
        slots.written(&stamped);
        assert_eq!((slots.of(&stamped, now), slots.of(&edited, now)), (Slot::Stopped, Slot::Free));
        slots.restart(&stamped.id);
        assert_eq!(slots.of(&stamped, now), Slot::Free);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fixed_delay_does_not_grow() {
        let (a, now, turn) = (entry(r#"{"list_id": "a"}"#), Instant::now(), Duration::from_secs(5));
        let mut slots = slots();
        for _ in 0..3 {
            slots.rest(a.id.clone(), now, Some(turn), "x");
            assert_eq!(slots.of(&a, now), Slot::Resting { left: turn });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_delay_ends_once() {
        let (a, b) = (entry(r#"{"list_id": "a"}"#).id, entry(r#"{"list_id": "b"}"#).id);
        let now = Instant::now();
        let mut slots = slots();
        assert_eq!(slots.next_rest_end(now), None);
        slots.rest(b, now + REST / 2, None, "x");
        slots.rest(a, now, None, "x");
        let mut seen = now;
        let ends: Vec<_> =
            std::iter::from_fn(|| slots.next_rest_end(seen).inspect(|end| seen = *end)).take(3).collect();
        assert_eq!(ends, [now + REST, now + REST * 3 / 2]);
    }
}
