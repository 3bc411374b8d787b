//! `importer release LIST`: lifts the hold of a list that the safety brake stopped, once a person has
//! corrected the mistake at the source.

use std::{
    io::{Write, stdout},
    path::PathBuf,
};

use super::lists::Lists;
use crate::{
    app::wiring::Keys,
    base::{events::Events, identity::file_name},
    cli::{self, exit},
    store::{checkpoint, files, hold, migrate},
};

/// Lifts the holds of a list and returns the exit code.
///
/// The command takes no lock, so it works while importer runs. No run of the delivery begins while the hold
/// exists. The command therefore removes the checkpoints first and the hold last, so that no run can continue
/// from rows that were read before the mistake was corrected.
///
/// # Errors
///
/// The state file or importer's own files can't be read, or a file can't be removed.
pub async fn run(options: &cli::Release, events: &Events) -> anyhow::Result<u8> {
    let list_id = &options.list_id;
    let lists = Lists::open(&options.state, Keys::None, events)?;
    let mut holds = vec![];
    for folder in folders(&lists, list_id)? {
        holds.extend(hold::below(&folder).await?);
    }
    if holds.is_empty() {
        let known = !lists.snapshot.problems.is_empty() || lists.of(list_id).is_ok();
        let unknown = if known { "" } else { ", and no entry of the state file has this list" };
        writeln!(stdout(), "list {list_id:?} is not on hold{unknown}; nothing was changed.")?;
        return Ok(exit::FAILED);
    }
    let mut dropped = 0;
    // A delivery that is migrated later must not continue from old rows either.
    for folder in migrate::folders_before(&lists.folders.ours(), &file_name(list_id))? {
        dropped += checkpoint::drop_below(&folder)?;
    }
    for hold in holds {
        dropped += checkpoint::drop_below(hold.folder())?;
        hold::lift(hold).await?;
    }
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

/// Returns the folders of a list, by its id or by its name on disk. Those of version 0.1 count too: a delivery takes
/// over its hold when it runs first.
fn folders(lists: &Lists, list_id: &str) -> anyhow::Result<Vec<PathBuf>> {
    let id = file_name(list_id);
    let mut found = files::in_folder(&lists.folders.all())?;
    found.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name == list_id || name.split('.').next() == Some(&id)
    });
    found.extend(migrate::folders_before(&lists.folders.ours(), &id)?);
    Ok(found)
}
