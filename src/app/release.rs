//! `importer release LIST`: lifts the hold of a list that the safety brake has stopped, after a mistake was mended at the source.

use std::{
    io::{Write, stdout},
    path::PathBuf,
};

use anyhow::bail;

use super::{ends::Keys, lists::Lists};
use crate::{
    cli::{self, exit},
    state::Entry,
    sync::{
        held::{self, Hold},
        takeover::drop_checkpoints,
    },
};

/// Returns the exit code.
///
/// It takes no lock, so that it works while importer runs. While the hold is there, no run of the delivery begins; so the
/// checkpoint goes first and the hold last, and no run can go on from what was read before the mistake was mended.
pub async fn run(options: &cli::Release) -> anyhow::Result<u8> {
    let list_id = &options.list_id;
    let lists = Lists::open(&options.state, Keys::None)?;
    if lists.problems > 0 {
        bail!(
            "an entry of the state file has a problem; `importer check` shows it. Mend it, then release the list"
        );
    }
    let entries: Vec<&Entry> = lists.entries.iter().filter(|entry| entry.id.list_id == *list_id).collect();
    let folder = lists.folders.of_list(list_id);
    let holds = held::all(&folder).await?;
    if holds.is_empty() {
        let unknown = if entries.is_empty() { ", and no entry of the state file has this list" } else { "" };
        writeln!(stdout(), "list {list_id:?} is not on hold{unknown}; nothing was changed.")?;
        return Ok(exit::FAILED);
    }
    let dropped = drop_checkpoints(&folder, kept(&lists, &entries, &holds)?).await?;
    held::lift(holds).await?;
    let run = match dropped {
        0 => "no interrupted run was left",
        _ => "its interrupted run is dropped",
    };
    writeln!(
        stdout(),
        "list {list_id:?} is released: the hold is lifted, and {run}. The next run reads from the list's latest_timestamp, as the list is \
         then. An importer that is running tries the list again within an hour; to try it at once, start importer again."
    )?;
    Ok(exit::DONE)
}

/// The folders of entries that no hold stops. If a hold is of a delivery that no entry has as it is now, any of them may have been
/// the one that was stopped.
fn kept(lists: &Lists, entries: &[&Entry], holds: &[Hold]) -> anyhow::Result<Vec<PathBuf>> {
    let mut deliveries = vec![];
    for entry in entries {
        deliveries.push(lists.ends(entry)?.delivery);
    }
    if !holds.iter().all(|hold| deliveries.iter().any(|delivery| hold.stops(delivery))) {
        return Ok(vec![]);
    }
    let free = |delivery: &String| !holds.iter().any(|hold| hold.stops(delivery));
    let free = entries.iter().zip(&deliveries).filter(|(_, delivery)| free(delivery));
    Ok(free.flat_map(|(entry, _)| [lists.folders.entry(entry)]).collect())
}
