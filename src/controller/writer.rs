//! Writes the results of runs into the state file and looks for late saves, one step at a time, beside the loop.

use std::sync::Arc;

use log::{error, warn};
use tokio::task::JoinSet;

use super::{
    file::{blocking, bug},
    report,
    saver::Save,
};
use crate::{
    base::fault::Fault,
    state::{Applied, StateFile},
    store::RunStore,
};

/// What the writer has done.
pub enum Done {
    /// A write has ended. Without a fault, the outcomes are those of the edits, in their order, and a look for late
    /// saves follows at once.
    Written(Result<Box<Applied>, Fault>),
    /// Late saves were looked for; the next step can begin.
    LookedBack,
}

/// The step in progress, if any. The controller begins another one only when it has ended.
pub struct Writer {
    state: Arc<StateFile>,
    step: JoinSet<Done>,
    /// Whether the step is a write.
    is_write: bool,
}

impl Writer {
    pub fn new(state: Arc<StateFile>) -> Self {
        Writer { state, step: JoinSet::new(), is_write: false }
    }

    /// Begins to write these results.
    pub fn write(&mut self, save: Save) {
        let state = Arc::clone(&self.state);
        self.is_write = true;
        self.step.spawn(async move { Done::Written(write(&state, save).await) });
    }

    /// Begins to look for late saves.
    pub fn look_back(&mut self) {
        self.look(|state| {
            if let Err(fault) = state.look_back() {
                error!("{fault}");
            }
        });
    }

    fn look(&mut self, look: fn(&StateFile)) {
        let state = Arc::clone(&self.state);
        self.is_write = false;
        self.step.spawn_blocking(move || {
            look(&state);
            Done::LookedBack
        });
    }

    /// Waits for the end of the step in progress; returns `None` if there is none. Can be dropped and called
    /// again.
    pub async fn next(&mut self) -> Option<Done> {
        let done = self.step.join_next().await?;
        let done = done.unwrap_or_else(|error| match self.is_write {
            true => Done::Written(Err(bug().because(error))),
            false => Done::LookedBack,
        });
        if matches!(done, Done::Written(Ok(_))) {
            self.look(StateFile::look_back_soon);
        }
        Some(done)
    }
}

/// Writes results: first into the journal, then into the state file. In between, removes the checkpoints.
async fn write(state: &Arc<StateFile>, Save { edits, stores }: Save) -> Result<Box<Applied>, Fault> {
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
#[path = "writer_tests.rs"]
mod tests;
