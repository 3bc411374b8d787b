//! `importer go --once --strict`: reports rejected records before the program exits.

use std::{collections::BTreeMap, path::Path};

use log::{error, info};

use super::{commands::lists::Lists, wiring::Keys};
use crate::{cli::exit, store::dead_letter};

/// Logs the dead-letter files of the deliveries in the state file and returns the exit code.
///
/// # Errors
///
/// The state file or a dead-letter file can't be read.
pub async fn exit_code(folder: &Path) -> anyhow::Result<u8> {
    let lists = Lists::open(folder, Keys::None)?;
    let mut files = BTreeMap::new();
    for entry in &lists.entries {
        let pipeline = lists.pipeline(entry)?;
        files.insert(lists.folders.dead_letter(&pipeline.delivery), entry.id.list_id.as_str());
    }
    let mut waiting = false;
    for (file, list) in files {
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
