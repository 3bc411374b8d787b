//! `importer go --once --strict`: reports rejected records before the program exits.

use std::{collections::BTreeMap, path::Path};

use log::{error, info};

use super::wiring::VOCABULARY;
use crate::{
    cli::exit,
    state::{folders::Folders, home, layout::NAME, read},
    store::dead_letter,
};

/// Logs the dead-letter files of the lists in the state file and returns the exit code.
///
/// # Errors
///
/// The state file or a dead-letter file can't be read.
pub async fn exit_code(folder: &Path) -> anyhow::Result<u8> {
    let (snapshot, folders) = (read::load(&folder.join(NAME), VOCABULARY)?, Folders::of(&home::of(folder)?));
    let lists: BTreeMap<_, _> = snapshot
        .entries
        .iter()
        .map(|entry| (folders.dead_letter(entry), entry.id.list_id.as_str()))
        .collect();
    let mut waiting = false;
    for (file, list) in lists {
        let (letters, unreadable) = dead_letter::read(&file).await?;
        let count = letters.len() + unreadable;
        if count > 0 {
            waiting = true;
            error!(
                "list {list:?}: {count} rejected records wait in {}; correct the cause, then run `importer replay {list}`.",
                file.display()
            );
        }
    }
    if !waiting {
        info!("done.");
        return Ok(exit::DONE);
    }
    error!("done, but rejected records wait; see the errors above.");
    Ok(exit::REJECTED)
}
