//! What a run takes over before it begins: the checkpoint and the dead letters that an older version of importer kept under another
//! name. It drops the checkpoints of entries that are no longer in the state file as they were: what they have settled may have been
//! delivered differently since.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use log::warn;

use super::{
    checkpoint::{self, Checkpoint},
    dead_letter, files,
    job::Plan,
};
use crate::base::fault::Fault;

/// What a run may find of its entry's past.
#[derive(Debug, Clone, Default)]
pub struct Past {
    pub own: Relative,
    /// The origin that older versions wrote.
    pub origin: String,
    /// The entries of the list; nothing: one of the file can't be read, so it can't be told which folders are nobody's.
    pub entries: Option<Vec<Relative>>,
}

/// An entry of the list.
#[derive(Debug, Clone, Default)]
pub struct Relative {
    pub folder: PathBuf,
    /// Folders in which older versions may have kept its checkpoint.
    pub former: Vec<PathBuf>,
    /// Names by which they filed dead letters of this entry and of no other.
    pub names: Vec<String>,
}

impl Past {
    /// The names by which the dead letters of the list's entries are filed.
    pub fn names(&self) -> Option<Vec<String>> {
        Some(self.entries.as_ref()?.iter().map(|entry| name(&entry.folder)).collect())
    }

    /// Older names of dead letters, each with the one of today.
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

/// The name by which an entry's dead letters are filed: that of its folder.
pub fn name(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Drops the checkpoints of a list's entries, today's and older ones, but for those in the folders that are `kept`; returns how
/// many there were. `list` is the folder of the list.
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

/// Takes over what an older version has left of the plan's entry.
pub async fn take_over(plan: &Plan) -> Result<(), Fault> {
    let (past, origin, list) = (plan.past.clone(), plan.origin.clone(), plan.list_folder.clone());
    let work = move |folder: &Path| {
        move_checkpoint(folder, &origin, &past)?;
        drop_orphans(&list, &past)
    };
    let dropped = files::blocking(&plan.folder, work).await?;
    dropped.iter().for_each(|path| warn!("{}", checkpoint::of_another_state(path)));
    dead_letter::rename(&plan.dead_letter, plan.past.renamed()).await?;
    match plan.past.names() {
        Some(entries) => dead_letter::adopt(&plan.dead_letter, &entries).await,
        None => Ok(()),
    }
}

/// Gives the checkpoint its new place in one step, and then its new origin, so that a crash in between leaves one checkpoint.
#[expect(clippy::disallowed_methods, reason = "only to a name that is free: one process works on the folder")]
fn move_checkpoint(folder: &Path, origin: &str, past: &Past) -> io::Result<()> {
    let place = Checkpoint::path(folder);
    let ours = |path: &PathBuf| {
        let found = checkpoint::origin(path);
        found.is_ok_and(|found| found.is_some_and(|found| found == origin || found == past.origin))
    };
    let left = past.own.former.iter().map(|folder| Checkpoint::path(folder));
    if let Some(left) = left.into_iter().find(|left| !place.exists() && ours(left)) {
        fs::create_dir_all(folder)?;
        fs::rename(left, &place)?;
    }
    if !past.origin.is_empty() && checkpoint::origin(&place)?.as_ref() == Some(&past.origin) {
        checkpoint::set_origin(&place, origin)?;
    }
    Ok(())
}

/// Drops the checkpoints that no entry of the list can go on from; returns their paths.
fn drop_orphans(list: &Path, past: &Past) -> io::Result<Vec<PathBuf>> {
    let mut dropped = vec![];
    let Some(entries) = &past.entries else { return Ok(dropped) };
    let mut kept: Vec<&PathBuf> =
        entries.iter().flat_map(|entry| entry.former.iter().chain([&entry.folder])).collect();
    // What is left in this entry's own former folders can't go on. That of the list itself may be another entry's.
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
        // Only if it is empty.
        let _ = fs::remove_dir(folder);
    }
    Ok(dropped)
}
