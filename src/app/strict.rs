//! `importer go --once --strict`: reports rejected records before the program exits.

use std::{collections::BTreeMap, path::Path};

use super::{commands::lists::Lists, wiring::Keys};
use crate::{
    base::{event::ProgramEvent, events::Events},
    cli::exit,
    store::dead_letter,
};

/// Reports the dead-letter files of the deliveries in the state file and returns the exit code.
///
/// # Errors
///
/// The state file or a dead-letter file can't be read.
pub async fn exit_code(folder: &Path, events: &Events) -> anyhow::Result<u8> {
    let lists = Lists::open(folder, Keys::None, events)?;
    let mut files = BTreeMap::new();
    for entry in lists.entries() {
        let pipeline = lists.pipeline(entry)?;
        let found = (entry.id.list_id.as_str(), pipeline.remedy());
        files.insert(lists.folders.dead_letter(&pipeline.delivery), found);
    }
    let mut waiting = false;
    for (file, (list, remedy)) in files {
        let (letters, unreadable) = dead_letter::read(&file).await?;
        let count = letters.len() + unreadable;
        if count > 0 {
            waiting = true;
            let (list_id, location) = (list.to_owned(), file);
            events.emit(ProgramEvent::RejectedWait { list_id, records: count, location, remedy });
        }
    }
    if !waiting {
        events.emit(ProgramEvent::Done);
        return Ok(exit::DONE);
    }
    events.emit(ProgramEvent::DoneWithRejected);
    Ok(exit::REJECTED)
}
