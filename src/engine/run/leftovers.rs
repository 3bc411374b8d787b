//! Before a run: what entries that no longer exist have left in the delivery.

use log::warn;

use crate::{
    base::fault::Fault,
    engine::plan::Plan,
    store::{checkpoint, dead_letter},
};

/// Removes the checkpoints of entries that were changed or removed, and gives their dead letters to the current
/// entries. Does nothing if an entry of the state file can't be read, since it may be theirs.
///
/// # Errors
///
/// A file could not be read or written.
pub(super) async fn tidy(plan: &Plan) -> Result<(), Fault> {
    let Some(entries) = &plan.siblings else { return Ok(()) };
    let dropped = checkpoint::drop_orphans(&plan.delivery_folder, entries.clone()).await?;
    dropped.iter().for_each(|path| warn!("{}", checkpoint::of_another_state(path)));
    dead_letter::adopt(&plan.dead_letter, entries).await
}
