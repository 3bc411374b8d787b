//! The results of runs that are not in the state file yet: those that wait are written together, so that a thousand of
//! them cost a few writes. Pure; [`Writer`](super::writer::Writer) does the writes.

use std::sync::Arc;

use super::schedule::RunId;
use crate::{state::Edit, store::RunStore};

/// The result of a finished run.
pub struct Finished {
    pub run: RunId,
    pub edit: Edit,
    /// The store with its checkpoint.
    pub store: Arc<dyn RunStore>,
    /// Whether the write of the result is reported as routine.
    pub routine: bool,
}

/// The results of one write, in their order.
#[derive(Debug)]
pub struct Save {
    pub edits: Vec<Edit>,
    /// The stores with the checkpoints of the runs.
    pub stores: Vec<Arc<dyn RunStore>>,
}

/// The results that are not in the state file yet. Each list has one at most, so the queue is bounded by the
/// number of entries.
#[derive(Default)]
pub struct Saver {
    /// The results for the next write.
    waiting: Vec<Finished>,
    /// The results of the write in progress.
    writing: Vec<Finished>,
    /// The results that could not be written yet. The journal has them too.
    kept: Vec<Finished>,
    /// Whether a write or a look for late saves is in progress. There is one step at a time.
    in_step: bool,
}

impl Saver {
    /// Adds a result to the next write.
    pub fn add(&mut self, finished: Finished) {
        self.waiting.push(finished);
    }

    /// Returns whether the result of a run was kept, since it could not be written.
    pub fn is_waiting(&self, run: RunId) -> bool {
        self.kept.iter().any(|finished| finished.run == run)
    }

    /// Keeps a result that could not be written.
    pub fn keep(&mut self, finished: Finished) {
        self.kept.push(finished);
    }

    /// Adds the results that could not be written to the next write, since the state file is readable again.
    pub fn retry(&mut self) {
        let kept = self.kept.drain(..).map(|finished| Finished { routine: false, ..finished });
        self.waiting.extend(kept);
    }

    /// Returns the results that could not be written.
    pub fn kept(&self) -> &[Finished] {
        &self.kept
    }

    /// Returns the results that wait, as the write that begins now; `None` if there are none or a step is in progress.
    pub fn begin(&mut self) -> Option<Save> {
        if self.in_step || self.waiting.is_empty() {
            return None;
        }
        self.in_step = true;
        self.writing = std::mem::take(&mut self.waiting);
        Some(Save {
            edits: self.writing.iter().map(|finished| finished.edit.clone()).collect(),
            stores: self.writing.iter().map(|finished| Arc::clone(&finished.store)).collect(),
        })
    }

    /// Returns whether a look for late saves begins now: no step is in progress. A write includes such a look.
    pub fn look_back(&mut self) -> bool {
        !std::mem::replace(&mut self.in_step, true)
    }

    /// Ends the write in progress and returns its results. After a write that `succeeded`, a look for late saves
    /// follows.
    pub fn written(&mut self, succeeded: bool) -> Vec<Finished> {
        self.in_step = succeeded;
        std::mem::take(&mut self.writing)
    }

    /// Ends the look for late saves in progress.
    pub fn looked_back(&mut self) {
        self.in_step = false;
    }

    /// Returns whether a write is in progress.
    pub fn is_writing(&self) -> bool {
        !self.writing.is_empty()
    }

    /// Returns whether results are being written or wait for a write. A look for late saves may be in progress after
    /// that.
    pub fn has_results(&self) -> bool {
        self.is_writing() || !self.waiting.is_empty()
    }

    /// Returns whether a step is in progress or results wait for one.
    pub fn is_busy(&self) -> bool {
        self.in_step || !self.waiting.is_empty()
    }
}
