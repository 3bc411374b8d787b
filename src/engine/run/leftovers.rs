//! Before a run: what entries that no longer exist have left in the delivery.

use crate::{
    base::{event::StoreEvent, fault::Fault},
    engine::plan::Plan,
};

/// Removes the checkpoints of entries that were changed or removed, and gives their dead letters to the current
/// entries. Does nothing if an entry of the state file can't be read, since it may be theirs.
///
/// # Errors
///
/// The store could not be read or written.
pub(super) async fn tidy(plan: &Plan) -> Result<(), Fault> {
    let Some(entries) = &plan.siblings else { return Ok(()) };
    let dropped = plan.store.discard_orphans(entries).await?;
    for location in dropped {
        plan.events.all().emit(StoreEvent::CheckpointOfOtherSettings { location });
    }
    plan.store.adopt_dead_letters(entries).await
}
