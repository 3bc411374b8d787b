//! Prepares the files of an older version of importer for a run. Moves the checkpoint and the dead letters to
//! their current place. Removes the checkpoints of entries that were changed or removed: other settings may
//! have delivered their records differently since.
//!
//! Only a change of the settings for what is delivered counts. If an entry of the state file can't be read,
//! no checkpoint is removed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use log::warn;

use super::{
    checkpoint::{self, Checkpoint},
    dead_letter, files,
};
use crate::base::fault::Fault;

/// Places and names that older versions of importer used for an entry, and the entries of its list.
#[derive(Debug, Clone, Default)]
pub struct Past {
    pub own: Relative,
    /// The origin that older versions wrote.
    pub run_fingerprint: String,
    /// The entries of the list; `None` if an entry of the state file can't be read, so that the folders
    /// without an entry are unknown.
    pub entries: Option<Vec<Relative>>,
}

/// An entry of the list.
#[derive(Debug, Clone, Default)]
pub struct Relative {
    pub folder: PathBuf,
    /// Folders in which older versions may have stored its checkpoint.
    pub former: Vec<PathBuf>,
    /// Names that older versions used in the dead letters of this entry and of no other.
    pub names: Vec<String>,
}

impl Past {
    /// Returns the current names of the list's entries, as used in dead letters, if all entries are known.
    pub fn names(&self) -> Option<Vec<String>> {
        Some(self.entries.as_ref()?.iter().map(|entry| name(&entry.folder)).collect())
    }

    /// Returns the older names of entries, each with the current one.
    pub fn renamed(&self) -> Vec<(String, String)> {
        let own = std::slice::from_ref(&self.own);
        let entries = self.entries.as_deref().unwrap_or(own);
        let of = |entry: &Relative| {
            let today = name(&entry.folder);
            entry.names.iter().map(move |former| (former.clone(), today.clone())).collect::<Vec<_>>()
        };
        entries.iter().flat_map(of).collect()
    }
}

/// Returns the name of an entry in its dead letters: the name of its folder.
pub fn name(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Removes the checkpoints of a list's entries, current and older ones, except those in the folders `kept`.
/// Returns the number of removed checkpoints. `list` is the folder of the list.
///
/// # Errors
///
/// A file could not be removed.
pub async fn drop_checkpoints(list: &Path, kept: Vec<PathBuf>) -> Result<usize, Fault> {
    let work = move |list: &Path| {
        let mut folders = files::siblings(list)?;
        folders.push(list.to_owned());
        folders.retain(|folder| !kept.contains(folder));
        let mut dropped = 0;
        for folder in folders {
            dropped += usize::from(files::remove(&Checkpoint::path(&folder))?);
        }
        Ok(dropped)
    };
    files::blocking(list, work).await
}

/// The current places of an entry's files.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The folder of its checkpoint.
    pub folder: &'a Path,
    pub list_folder: &'a Path,
    pub dead_letter: &'a Path,
    pub run_fingerprint: &'a str,
}

/// Moves the checkpoint and the dead letters that an older version left of an entry.
///
/// # Errors
///
/// A file could not be read, moved or removed.
pub async fn take_over(place: Place<'_>, past: &Past) -> Result<(), Fault> {
    let (renamed, names) = (past.renamed(), past.names());
    let (past, run_fingerprint, list) =
        (past.clone(), place.run_fingerprint.to_owned(), place.list_folder.to_owned());
    let work = move |folder: &Path| {
        move_checkpoint(folder, &run_fingerprint, &past)?;
        drop_orphans(&list, &past)
    };
    let dropped = files::blocking(place.folder, work).await?;
    dropped.iter().for_each(|path| warn!("{}", checkpoint::of_another_state(path)));
    dead_letter::rename(place.dead_letter, renamed).await?;
    match names {
        Some(entries) => dead_letter::adopt(place.dead_letter, &entries).await,
        None => Ok(()),
    }
}

/// Moves the checkpoint to its current place in one step, and then replaces its origin, so that a crash in
/// between leaves one checkpoint.
#[expect(
    clippy::disallowed_methods,
    reason = "the target does not exist, and only one process uses the folder"
)]
fn move_checkpoint(folder: &Path, run_fingerprint: &str, past: &Past) -> io::Result<()> {
    let place = Checkpoint::path(folder);
    let ours = |path: &PathBuf| {
        let found = checkpoint::run_fingerprint(path);
        found.is_ok_and(|found| {
            found.is_some_and(|found| found == run_fingerprint || found == past.run_fingerprint)
        })
    };
    let left = past.own.former.iter().map(|folder| Checkpoint::path(folder));
    if let Some(left) = left.into_iter().find(|left| !place.exists() && ours(left)) {
        fs::create_dir_all(folder)?;
        fs::rename(left, &place)?;
    }
    if !past.run_fingerprint.is_empty()
        && checkpoint::run_fingerprint(&place)?.as_ref() == Some(&past.run_fingerprint)
    {
        checkpoint::set_run_fingerprint(&place, run_fingerprint)?;
    }
    Ok(())
}

/// Removes the checkpoints from which no entry of the list can resume. Returns their paths.
fn drop_orphans(list: &Path, past: &Past) -> io::Result<Vec<PathBuf>> {
    let mut dropped = vec![];
    let Some(entries) = &past.entries else { return Ok(dropped) };
    let mut kept: Vec<&PathBuf> =
        entries.iter().flat_map(|entry| entry.former.iter().chain([&entry.folder])).collect();
    // A checkpoint that is still in a former folder of this entry can't be resumed. The folder of the list
    // may belong to another entry.
    kept.retain(|folder| {
        !past.own.former.contains(folder) || (entries.len() > 1 && folder.as_path() == list)
    });
    let mut folders = files::siblings(list)?;
    folders.push(list.to_owned());
    for folder in folders.iter().filter(|folder| !kept.contains(folder)) {
        let path = Checkpoint::path(folder);
        if files::remove(&path)? {
            dropped.push(path);
        }
        // This succeeds only if the folder is empty.
        let _ = fs::remove_dir(folder);
    }
    Ok(dropped)
}
