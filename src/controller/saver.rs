//! Writes the results of runs into the state file, beside the loop: those that wait are written together, so
//! that a thousand of them cost a few writes, and the loop waits for none.

use std::sync::Arc;

use log::{Level, error, warn};
use tokio::task::{self, JoinSet};

use super::{
    file::{blocking, bug},
    report,
};
use crate::{
    base::fault::Fault,
    state::{Applied, Edit, StateFile},
    store::RunStore,
};

/// The result of a finished run.
pub struct Finished {
    /// The task that ran it.
    pub task: task::Id,
    pub edit: Edit,
    /// The store with its checkpoint.
    pub store: Arc<dyn RunStore>,
    /// Level of the message that the result is written.
    pub level: Level,
}

/// What the saver has done.
pub enum Done {
    /// A write has ended. Without a fault, the outcomes are those of the results, in their order.
    Written(Vec<Finished>, Result<Box<Applied>, Fault>),
    /// Late saves were looked for; the next write can begin.
    LookedBack,
}

/// The results that are not in the state file yet. Each list has one at most, so the queue is bounded by the
/// number of entries.
pub struct Saver {
    state: Arc<StateFile>,
    /// The results for the next write.
    waiting: Vec<Finished>,
    /// The results of the write in progress.
    writing: Vec<Finished>,
    /// The results that could not be written yet. The journal has them too.
    kept: Vec<Finished>,
    /// The one step that is in progress, if any.
    step: JoinSet<Step>,
}

enum Step {
    Write(Result<Box<Applied>, Fault>),
    LookBack,
}

impl Saver {
    pub fn new(state: Arc<StateFile>) -> Self {
        Saver { state, waiting: vec![], writing: vec![], kept: vec![], step: JoinSet::new() }
    }

    /// Adds a result to the next write.
    pub fn add(&mut self, finished: Finished) {
        self.waiting.push(finished);
    }

    /// Keeps a result that could not be written.
    pub fn keep(&mut self, finished: Finished) {
        self.kept.push(finished);
    }

    /// Adds the results that could not be written to the next write, since the state file is readable again.
    pub fn retry(&mut self) {
        let kept = self.kept.drain(..).map(|finished| Finished { level: Level::Info, ..finished });
        self.waiting.extend(kept);
    }

    /// Returns the results that could not be written.
    pub fn kept(&self) -> &[Finished] {
        &self.kept
    }

    /// Begins to write the results that wait, unless a step is in progress.
    pub fn begin(&mut self) {
        if !self.step.is_empty() || self.waiting.is_empty() {
            return;
        }
        self.writing = std::mem::take(&mut self.waiting);
        let edits = self.writing.iter().map(|finished| finished.edit.clone()).collect();
        let stores = self.writing.iter().map(|finished| Arc::clone(&finished.store)).collect();
        let state = Arc::clone(&self.state);
        self.step.spawn(async move { Step::Write(write(&state, edits, stores).await) });
    }

    /// Looks for late saves, unless a step is in progress: after a write, that is part of it.
    pub fn look_back(&mut self) {
        if self.step.is_empty() {
            let state = Arc::clone(&self.state);
            self.step.spawn_blocking(move || {
                if let Err(fault) = state.look_back() {
                    error!("{fault}");
                }
                Step::LookBack
            });
        }
    }

    /// Returns whether a write is in progress.
    pub fn is_writing(&self) -> bool {
        !self.writing.is_empty()
    }

    /// Returns whether a step is in progress or results wait for one.
    pub fn is_busy(&self) -> bool {
        !self.step.is_empty() || !self.waiting.is_empty()
    }

    /// Waits for the end of the step in progress; returns `None` if there is none. Can be dropped and called
    /// again.
    pub async fn next(&mut self) -> Option<Done> {
        let step = self.step.join_next().await?;
        let written = std::mem::take(&mut self.writing);
        Some(match step {
            Ok(Step::LookBack) => Done::LookedBack,
            Ok(Step::Write(Ok(applied))) => {
                let state = Arc::clone(&self.state);
                self.step.spawn_blocking(move || {
                    state.look_back_soon();
                    Step::LookBack
                });
                Done::Written(written, Ok(applied))
            }
            Ok(Step::Write(Err(fault))) => Done::Written(written, Err(fault)),
            Err(_) if written.is_empty() => Done::LookedBack,
            Err(error) => Done::Written(written, Err(bug().because(error))),
        })
    }
}

/// Writes results: first into the journal, then into the state file. In between, removes the checkpoints.
async fn write(
    state: &Arc<StateFile>,
    edits: Vec<Edit>,
    stores: Vec<Arc<dyn RunStore>>,
) -> Result<Box<Applied>, Fault> {
    let edits = Arc::new(edits);
    // A checkpoint is needed until the journal has the result: a crash before that would lose the run.
    let pending = Arc::clone(&edits);
    let kept = blocking(state, move |state| state.keep_pending(&pending)).await;
    match &kept {
        Ok(()) => drop_checkpoints(&stores).await,
        Err(fault) => {
            warn!("{}: {fault}", report::lists(edits.iter().map(|edit| edit.entry.list_id.as_str())))
        }
    }
    let applied = blocking(state, move |state| state.apply(&edits)).await?;
    if kept.is_err() {
        // The state file has the results now.
        drop_checkpoints(&stores).await;
    }
    Ok(Box::new(applied))
}

/// Removes the checkpoints of runs whose results are saved. Logs a warning if that fails.
async fn drop_checkpoints(stores: &[Arc<dyn RunStore>]) {
    for store in stores {
        if let Err(fault) = store.discard_checkpoint().await {
            warn!("{fault}");
        }
    }
}

#[cfg(test)]
#[path = "saver_tests.rs"]
mod tests;
