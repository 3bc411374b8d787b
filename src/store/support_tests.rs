//! A run store in memory, as a second implementation for tests.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex},
};

use futures::{FutureExt, future::BoxFuture};
use tokio::task::yield_now;

use super::{
    CheckpointLog, OpenedCheckpoint, RunStore,
    checkpoint::{Checkpoint, Header, Line},
    dead_letter::DeadLetter,
    hold::HoldReason,
    position::{Positions, StoredPositions},
    runs::{LastRuns, RunRecord},
};
use crate::base::{fault::Fault, key::key_digest};

/// The store of one entry. Each write happens between two awaits, so that a test can drop it before and after.
#[derive(Debug, Clone)]
pub struct InMemory {
    entry: String,
    delivery: Arc<Mutex<Delivery>>,
}

/// What all entries of a delivery share.
#[derive(Debug, Default)]
struct Delivery {
    hold: Option<HoldReason>,
    /// The checkpoints, by the names of their entries.
    checkpoints: BTreeMap<String, (Header, Vec<Line>)>,
    positions: Option<StoredPositions>,
    dead_letters: Vec<DeadLetter>,
    runs: Vec<RunRecord>,
}

impl InMemory {
    /// Creates the store of the first entry of a delivery.
    pub fn new(entry: &str) -> Self {
        InMemory { entry: entry.to_owned(), delivery: Arc::default() }
    }

    /// Returns the store of another entry with the same delivery.
    pub fn of(&self, entry: &str) -> Self {
        InMemory { entry: entry.to_owned(), delivery: Arc::clone(&self.delivery) }
    }

    fn work<'a, T: Send + 'a>(
        &'a self,
        work: impl FnOnce(&mut Delivery) -> T + Send + 'a,
    ) -> BoxFuture<'a, Result<T, Fault>> {
        async move {
            yield_now().await;
            let done = work(&mut self.delivery.lock().unwrap());
            yield_now().await;
            Ok(done)
        }
        .boxed()
    }
}

impl Delivery {
    fn tidy(&mut self, entry: &str, settled: &HashSet<u128>) {
        let letters = std::mem::take(&mut self.dead_letters);
        let of = |letter: &DeadLetter| (letter.entry.clone(), letter.key.clone());
        let last: BTreeMap<_, usize> =
            letters.iter().enumerate().map(|(at, letter)| (of(letter), at)).collect();
        let stays = |(at, letter): &(usize, DeadLetter)| {
            last[&of(letter)] == *at && !(letter.entry == entry && settled.contains(&key_digest(&letter.key)))
        };
        self.dead_letters = letters.into_iter().enumerate().filter(stays).map(|(_, letter)| letter).collect();
    }
}

impl RunStore for InMemory {
    fn hold(&self) -> BoxFuture<'_, Result<Option<HoldReason>, Fault>> {
        self.work(|delivery| delivery.hold.clone())
    }

    fn keep_hold<'a>(&'a self, hold: &'a HoldReason) -> BoxFuture<'a, Result<(), Fault>> {
        self.work(|delivery| delivery.hold = Some(hold.clone()))
    }

    fn lift_hold(&self) -> BoxFuture<'_, Result<(), Fault>> {
        self.work(|delivery| delivery.hold = None)
    }

    fn open_checkpoint<'a>(
        &'a self,
        run_fingerprint: &'a str,
    ) -> BoxFuture<'a, Result<OpenedCheckpoint, Fault>> {
        self.work(move |delivery| {
            let is_other = |(header, _): &(Header, Vec<Line>)| header.run_fingerprint != run_fingerprint;
            if delivery.checkpoints.get(&self.entry).is_some_and(is_other) {
                delivery.checkpoints.remove(&self.entry);
            }
            (Checkpoint::new(self.clone()), delivery.checkpoints.get(&self.entry).cloned())
        })
    }

    fn discard_checkpoint(&self) -> BoxFuture<'_, Result<(), Fault>> {
        self.work(|delivery| drop(delivery.checkpoints.remove(&self.entry)))
    }

    fn discard_orphans<'a>(&'a self, entries: &'a [String]) -> BoxFuture<'a, Result<Vec<String>, Fault>> {
        self.work(|delivery| {
            let known = delivery.checkpoints.keys().cloned();
            let orphans: Vec<String> = known.filter(|entry| !entries.contains(entry)).collect();
            delivery.checkpoints.retain(|entry, _| entries.contains(entry));
            orphans.into_iter().map(|entry| format!("the checkpoint of {entry}")).collect()
        })
    }

    fn positions(&self) -> BoxFuture<'_, Result<Option<StoredPositions>, Fault>> {
        self.work(|delivery| delivery.positions.clone())
    }

    fn keep_positions<'a>(
        &'a self,
        entry: &'a str,
        positions: Positions,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        self.work(|delivery| delivery.positions = Some(StoredPositions::new(entry, positions)))
    }

    fn append_dead_letters(&self, letters: Vec<DeadLetter>) -> BoxFuture<'_, Result<(), Fault>> {
        self.work(|delivery| delivery.dead_letters.extend(letters))
    }

    fn dead_letters(&self) -> BoxFuture<'_, Result<(Vec<DeadLetter>, usize), Fault>> {
        self.work(|delivery| (delivery.dead_letters.clone(), 0))
    }

    fn tidy_dead_letters<'a>(
        &'a self,
        entry: &'a str,
        settled: HashSet<u128>,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        self.work(move |delivery| delivery.tidy(entry, &settled))
    }

    fn adopt_dead_letters<'a>(&'a self, entries: &'a [String]) -> BoxFuture<'a, Result<(), Fault>> {
        self.work(|delivery| {
            for orphan in delivery.dead_letters.clone() {
                if !entries.contains(&orphan.entry) {
                    let of_each =
                        entries.iter().map(|entry| DeadLetter { entry: entry.clone(), ..orphan.clone() });
                    delivery.dead_letters.extend(of_each);
                    delivery.tidy(&orphan.entry, &HashSet::from([key_digest(&orphan.key)]));
                }
            }
        })
    }

    fn record_run(&self, run: RunRecord) -> BoxFuture<'_, Result<(), Fault>> {
        self.work(|delivery| delivery.runs.push(run))
    }

    fn last_runs<'a>(&'a self, entry: &'a str) -> BoxFuture<'a, Result<LastRuns, Fault>> {
        self.work(|delivery| LastRuns::among(delivery.runs.clone(), entry))
    }

    fn dead_letter_location(&self) -> String {
        "the memory of this process".to_owned()
    }
}

impl CheckpointLog for InMemory {
    fn begin<'a>(&'a mut self, header: &'a Header, lines: &'a [Line]) -> BoxFuture<'a, Result<(), Fault>> {
        self.work(|delivery| {
            delivery.checkpoints.insert(self.entry.clone(), (header.clone(), lines.to_vec()));
        })
    }

    fn append<'a>(&'a mut self, lines: &'a [Line], _: bool) -> BoxFuture<'a, Result<(), Fault>> {
        self.work(|delivery| {
            let left = delivery.checkpoints.get_mut(&self.entry);
            left.into_iter().for_each(|(_, known)| known.extend_from_slice(lines));
        })
    }
}
