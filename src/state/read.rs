//! Reads the state file, for commands and for the writer.

use std::{io, path::Path};

use super::{
    disk,
    finding::{Finding, Place},
    model::Snapshot,
    schema,
    vocabulary::Vocabulary,
};
use crate::base::fault::Fault;

/// Reads a state file. If an editor is saving it, waits up to 10 s until the text is whole.
///
/// # Errors
///
/// A [`Fault::Process`], with the place if the text is no array of entries. A bad entry is no error; see
/// [`schema::read`].
pub fn load(path: &Path, vocabulary: &'static Vocabulary) -> Result<Snapshot, Fault> {
    inspect(path, vocabulary)?.map_err(|finding| finding.fault(path))
}

/// Does the work of [`load`], but returns `None`, without parsing anything, if the text is `known`.
///
/// # Errors
///
/// Those of [`load`].
pub fn load_unless(
    path: &Path,
    known: Option<&str>,
    vocabulary: &'static Vocabulary,
) -> Result<Option<Snapshot>, Fault> {
    let Some(text) = text_unless(path, known)? else { return Ok(None) };
    schema::read(&text, vocabulary).map(Some).map_err(|finding| finding.fault(path))
}

/// Does the work of [`load`], but returns a [`Finding`] if the text as a whole is no array of entries.
///
/// # Errors
///
/// A [`Fault::Process`] if the file is missing, unreadable or not UTF-8.
pub fn inspect(path: &Path, vocabulary: &'static Vocabulary) -> Result<Result<Snapshot, Finding>, Fault> {
    Ok(schema::read(&text(path)?, vocabulary))
}

/// Returns the whole text of a state file, or of a copy of it.
///
/// # Errors
///
/// A [`Fault::Process`] if the file is missing, unreadable or not UTF-8.
pub fn text(path: &Path) -> Result<String, Fault> {
    Ok(text_unless(path, None)?.unwrap_or_default())
}

/// Does the work of [`text`], but returns `None`, without parsing anything, if the text is `known`: that of an
/// earlier reading.
///
/// # Errors
///
/// Those of [`text`].
pub fn text_unless(path: &Path, known: Option<&str>) -> Result<Option<String>, Fault> {
    let is_known = |bytes: &[u8]| known.is_some_and(|known| known.as_bytes() == bytes);
    let bytes = disk::read_whole(path, |bytes| is_known(bytes) || is_whole(bytes))
        .map_err(|error| unreadable(path, &error))?;
    if is_known(&bytes) {
        return Ok(None);
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
        Finding::new(&text, Place::of(&text, text.len()), "expected UTF-8 text").fault(path)
    })?;
    Ok(Some(text))
}

/// Returns whether a text is a whole state file, and not the part that an editor has written so far: UTF-8
/// that parses.
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
        format!("copy {} there and add your lists", example.display())
    } else {
        "create it with `[{\"list_id\": \"…\"}]` and the id of your list".into()
    })
}
