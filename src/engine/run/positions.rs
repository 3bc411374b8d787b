//! The positions in a stream: where a run begins, and what it leaves to the next one.

use crate::{
    base::{
        event::RunEvent,
        fault::Fault,
        window::{Listing, Window},
    },
    engine::{paging::shards, plan::Plan},
    source::ShardPaging,
    store::{
        checkpoint::Header,
        position::{self, Position, Positions, ShardPosition},
    },
};

/// Opens a window for each shard of a stream, at the stored positions. A full load begins at the start of
/// each shard.
///
/// # Errors
///
/// The shards can't be listed or read in order, or the positions are missing or can't be read. The run of an
/// entry with a timestamp never begins at the start of the stream by itself.
pub(super) async fn begin(source: &dyn ShardPaging, plan: &Plan, header: &mut Header) -> Result<(), Fault> {
    let stored = stored(plan).await?;
    if stored.is_none() && plan.since.is_some() {
        let hint = "set `latest_timestamp` to null to read the stream from its beginning";
        let what = "there are no positions of an earlier run with these settings";
        return Err(Fault::list(what).hint(hint));
    }
    let stored = stored.unwrap_or_default();
    header.shards = shards::begin(source.shards().await?, &stored)?;
    for (id, _) in stored.iter().filter(|(_, position)| **position != Position::Closed) {
        if !header.shards.iter().any(|shard| shard.id == *id) {
            plan.events.emit(RunEvent::ShardGone { shard: id.clone() });
        }
    }
    let until = header.windows.first().and_then(|window| window.until);
    header.windows = vec![Window { listing: Listing::Listed, since: None, until }; header.shards.len()];
    Ok(())
}

/// Stores the positions after a pass whose records are all settled.
///
/// # Errors
///
/// The store could not be read or written. The next run then resumes this one, or repeats it.
pub(super) async fn keep(plan: &Plan, listed: Vec<ShardPosition>) -> Result<(), Fault> {
    let stored = stored(plan).await?.unwrap_or_default();
    plan.store.keep_positions(&plan.entry, position::after_run(stored, listed)).await
}

/// Returns the positions that count for this run: a full load replaces those of earlier runs.
///
/// # Errors
///
/// The positions can't be read, or another entry has stored them: each would miss the events that the other reads.
async fn stored(plan: &Plan) -> Result<Option<Positions>, Fault> {
    let found = match plan.store.positions().await {
        Err(_) if plan.since.is_none() => return Ok(None),
        found => found?,
    };
    let Some(found) = found else { return Ok(None) };
    let is_there = |name: &String| plan.siblings.as_ref().is_none_or(|siblings| siblings.contains(name));
    if found.entry != plan.entry && is_there(&found.entry) {
        let hint = "give the entries different sinks, or remove one of them";
        return Err(Fault::list("another entry reads this stream into the same sink").hint(hint));
    }
    Ok(plan.since.is_some().then_some(found.shards))
}
