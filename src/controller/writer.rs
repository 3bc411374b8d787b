//! Writes the results of runs into the state file and looks for late saves, one step at a time, beside the loop.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{
    file::{blocking, bug},
    saver::Save,
};
use crate::{
    base::{
        event::{FileEvent, StoreEvent},
        events::Events,
        fault::Fault,
    },
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
    events: Events,
    step: JoinSet<Done>,
    /// Whether the step is a write.
    is_write: bool,
}

impl Writer {
    pub fn new(state: Arc<StateFile>, events: Events) -> Self {
        Writer { state, events, step: JoinSet::new(), is_write: false }
    }

    /// Begins to write these results.
    pub fn write(&mut self, save: Save) {
        let (state, events) = (Arc::clone(&self.state), self.events.clone());
        self.is_write = true;
        self.step.spawn(async move { Done::Written(write(&state, save, &events).await) });
    }

    /// Begins to look for late saves.
    pub fn look_back(&mut self) {
        let events = self.events.clone();
        self.look(move |state| {
            if let Err(fault) = state.look_back() {
                events.emit(FileEvent::Unusable { problem: fault.to_string() });
            }
        });
    }

    fn look(&mut self, look: impl FnOnce(&StateFile) + Send + 'static) {
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

    /// Waits for the look for late saves that follows the last write.
    pub async fn close(&mut self) {
        while self.next().await.is_some() {}
    }
}

/// Writes results: first into the journal, then into the state file. In between, removes the checkpoints.
async fn write(
    state: &Arc<StateFile>,
    Save { edits, stores }: Save,
    events: &Events,
) -> Result<Box<Applied>, Fault> {
    let edits = Arc::new(edits);
    // A checkpoint is needed until the journal has the result: a crash before that would lose the run.
    let pending = Arc::clone(&edits);
    let kept = blocking(state, move |state| state.keep_pending(&pending)).await;
    match &kept {
        Ok(()) => drop_checkpoints(&stores, events).await,
        Err(fault) => {
            let lists = edits.iter().map(|edit| edit.entry.list_id.clone()).collect();
            events.emit(FileEvent::NotJournaled { lists, problem: fault.to_string() });
        }
    }
    let applied = blocking(state, move |state| state.apply(&edits)).await?;
    if kept.is_err() {
        // The state file has the results now.
        drop_checkpoints(&stores, events).await;
    }
    Ok(Box::new(applied))
}

/// Removes the checkpoints of runs whose results are saved. Reports a failure.
async fn drop_checkpoints(stores: &[Arc<dyn RunStore>], events: &Events) {
    for store in stores {
        if let Err(fault) = store.discard_checkpoint().await {
            events.emit(StoreEvent::CheckpointStays { problem: fault.to_string() });
        }
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
