//! Reading the state file, without being part of its writing.

use std::{io, path::Path};

use super::{
    disk,
    finding::{Finding, Place},
    model::Snapshot,
    schema,
    vocabulary::Vocabulary,
};
use crate::base::fault::Fault;

/// Reads a state file, waiting a moment for one that is just being saved. A [`Fault::Process`] says what is wrong with
/// it and where.
pub fn load(path: &Path, vocabulary: &'static Vocabulary) -> Result<Snapshot, Fault> {
    inspect(path, vocabulary)?.map_err(|finding| finding.fault(path))
}

/// As [`load`], with a finding where the text as a whole is no array of entries.
pub fn inspect(path: &Path, vocabulary: &'static Vocabulary) -> Result<Result<Snapshot, Finding>, Fault> {
    Ok(schema::read(&text(path)?, vocabulary))
}

/// The whole text of a state file, or of a copy of it.
pub fn text(path: &Path) -> Result<String, Fault> {
    let bytes = disk::read_whole(path, is_whole).map_err(|error| unreadable(path, &error))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
        Finding::new(&text, Place::of(&text, text.len()), "expected UTF-8 text").fault(path)
    })
}

/// Whether a text is a whole state file, not a part that an editor has written so far: valid UTF-8 that parses.
pub fn is_whole(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| schema::parse(text).is_ok())
}

fn unreadable(path: &Path, error: &io::Error) -> Fault {
    let shown = path.display();
    if error.kind() != io::ErrorKind::NotFound {
        return Fault::process(format!("could not read `{shown}`")).because(error);
    }
    let example = path.with_file_name("state.example.json");
    Fault::process(format!("there is no state file `{shown}`")).hint(if example.exists() {
        format!("copy {} there and put your lists into it", example.display())
    } else {
        "write `[{\"list_id\": \"…\"}]` into it, with the id of your list".into()
    })
}
