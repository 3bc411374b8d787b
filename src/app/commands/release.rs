//! `importer release LIST`: lifts the hold of a list that the safety brake stopped, once a person has
//! corrected the mistake at the source.

use std::{
    io::{Write, stdout},
    path::PathBuf,
};

use anyhow::bail;

use super::lists::Lists;
use crate::{
    app::wiring::Keys,
    cli::{self, exit},
    state::Entry,
    store::{
        hold::{self, Hold},
        migrate::drop_checkpoints,
    },
};

/// Lifts the holds of a list and returns the exit code.
///
/// The command takes no lock, so it works while importer runs. No run of the delivery begins while the hold
/// exists. The command therefore removes the checkpoint first and the hold last, so that no run can continue
/// from rows that were read before the mistake was corrected.
///
/// # Errors
///
/// An entry of the state file has a problem, or importer's own files can't be read or removed.
pub async fn run(options: &cli::Release) -> anyhow::Result<u8> {
    let list_id = &options.list_id;
    let lists = Lists::open(&options.state, Keys::None)?;
    if lists.problems > 0 {
        bail!(
            "an entry of the state file has a problem; run `importer check`, correct the entry, and release the list again"
        );
    }
    let entries: Vec<&Entry> = lists.entries.iter().filter(|entry| entry.id.list_id == *list_id).collect();
    let folder = lists.folders.of_list(list_id);
    let holds = hold::all(&folder).await?;
    if holds.is_empty() {
        let unknown = if entries.is_empty() { ", and no entry of the state file has this list" } else { "" };
        writeln!(stdout(), "list {list_id:?} is not on hold{unknown}; nothing was changed.")?;
        return Ok(exit::FAILED);
    }
    let dropped = drop_checkpoints(&folder, kept(&lists, &entries, &holds)?).await?;
    hold::lift(holds).await?;
    let run = match dropped {
        0 => "no interrupted run was left",
        _ => "its interrupted run was dropped",
    };
    writeln!(
        stdout(),
        "list {list_id:?} is released: the hold is lifted, and {run}. The next run starts from the list's \
         latest_timestamp and reads the list as it is then. A running importer starts it within an hour, or after \
         `every` if its source has \"retry\": false; to start it at once, restart importer."
    )?;
    Ok(exit::DONE)
}

/// Returns the folders of the entries that no hold stops; their checkpoints stay. Returns none if a hold
/// belongs to a delivery that no current entry has: any entry may then be the one that was stopped.
fn kept(lists: &Lists, entries: &[&Entry], holds: &[Hold]) -> anyhow::Result<Vec<PathBuf>> {
    let mut deliveries = vec![];
    for entry in entries {
        deliveries.push(lists.pipeline(entry)?.delivery);
    }
    if !holds.iter().all(|hold| deliveries.iter().any(|delivery| hold.stops(delivery))) {
        return Ok(vec![]);
    }
    let free = |delivery: &String| !holds.iter().any(|hold| hold.stops(delivery));
    let free = entries.iter().zip(&deliveries).filter(|(_, delivery)| free(delivery));
    Ok(free.flat_map(|(entry, _)| [lists.folders.entry(entry)]).collect())
}
