//! The run store on files, in the folder of a delivery.

use std::{collections::HashSet, path::PathBuf};

use futures::{FutureExt, future::BoxFuture};

use super::{
    OpenedCheckpoint, RunStore, checkpoint,
    dead_letter::{self, DeadLetter},
    hold::{self, HoldReason},
    position::{self, Positions, StoredPositions},
    runs::{LastRuns, RunHistory, RunRecord},
};
use crate::base::{events::Events, fault::Fault};

/// The files of one entry and its delivery. Only the process that has the lock of the state folder writes to them.
#[derive(Debug, Clone)]
pub struct FolderStore {
    /// Folder of the entry's checkpoint.
    pub checkpoint: PathBuf,
    /// Folder of the delivery's hold and positions. It contains the folders of its entries' checkpoints.
    pub delivery: PathBuf,
    /// File of the delivery's dead letters.
    pub dead_letters: PathBuf,
    /// Where the store reports files that it discards.
    pub events: Events,
}

impl FolderStore {
    /// Returns a store with all of its files in one folder, for an entry that shares its delivery with no other.
    #[cfg(test)]
    pub fn alone(folder: &std::path::Path) -> Self {
        let (checkpoint, delivery) = (folder.to_owned(), folder.to_owned());
        FolderStore {
            checkpoint,
            delivery,
            dead_letters: folder.join("dead.ndjson"),
            events: Events::default(),
        }
    }
}

impl RunStore for FolderStore {
    fn hold(&self) -> BoxFuture<'_, Result<Option<HoldReason>, Fault>> {
        hold::of(&self.delivery).map(|found| Ok(found?.map(|hold| hold.reason))).boxed()
    }

    fn keep_hold<'a>(&'a self, hold: &'a HoldReason) -> BoxFuture<'a, Result<(), Fault>> {
        hold::keep(&self.delivery, hold).boxed()
    }

    fn lift_hold(&self) -> BoxFuture<'_, Result<(), Fault>> {
        hold::lift_of(&self.delivery).boxed()
    }

    fn open_checkpoint<'a>(
        &'a self,
        run_fingerprint: &'a str,
    ) -> BoxFuture<'a, Result<OpenedCheckpoint, Fault>> {
        checkpoint::open(&self.checkpoint, run_fingerprint, &self.events).boxed()
    }

    fn discard_checkpoint(&self) -> BoxFuture<'_, Result<(), Fault>> {
        checkpoint::discard(&self.checkpoint).map(|done| done.map(drop)).boxed()
    }

    fn discard_orphans<'a>(&'a self, entries: &'a [String]) -> BoxFuture<'a, Result<Vec<String>, Fault>> {
        let dropped = checkpoint::drop_orphans(&self.delivery, entries.to_vec());
        dropped.map(|paths| Ok(paths?.iter().map(|path| path.display().to_string()).collect())).boxed()
    }

    fn positions(&self) -> BoxFuture<'_, Result<Option<StoredPositions>, Fault>> {
        position::load(&self.delivery).boxed()
    }

    fn keep_positions<'a>(
        &'a self,
        entry: &'a str,
        positions: Positions,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        position::save(&self.delivery, entry, positions).boxed()
    }

    fn append_dead_letters(&self, letters: Vec<DeadLetter>) -> BoxFuture<'_, Result<(), Fault>> {
        dead_letter::append(&self.dead_letters, letters).boxed()
    }

    fn dead_letters(&self) -> BoxFuture<'_, Result<(Vec<DeadLetter>, usize), Fault>> {
        dead_letter::read(&self.dead_letters).boxed()
    }

    fn tidy_dead_letters<'a>(
        &'a self,
        entry: &'a str,
        settled: HashSet<u128>,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        dead_letter::tidy(&self.dead_letters, entry, settled).boxed()
    }

    fn adopt_dead_letters<'a>(&'a self, entries: &'a [String]) -> BoxFuture<'a, Result<(), Fault>> {
        dead_letter::adopt(&self.dead_letters, entries).boxed()
    }

    fn record_run(&self, run: RunRecord) -> BoxFuture<'_, Result<(), Fault>> {
        async move { RunHistory::of(&self.delivery).append(run).await }.boxed()
    }

    fn last_runs<'a>(&'a self, entry: &'a str) -> BoxFuture<'a, Result<LastRuns, Fault>> {
        async move { RunHistory::of(&self.delivery).last(entry).await }.boxed()
    }

    fn dead_letter_location(&self) -> String {
        self.dead_letters.display().to_string()
    }
}
