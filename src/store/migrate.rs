//! Takes over the files of version 0.1, which were filed under the id of a list, and files them under deliveries.
//!
//! 1. The old folders get new names; importer reads them from there, and removes nothing from them.
//! 2. The folder of each delivery is built beside its place, and then gets its name.
//! 3. The lists whose deliveries are all known are marked, and the layout is named.
//!
//! A crash at any moment repeats the migration of at most one delivery. A delivery whose entry could not be opened, or is
//! added later, is migrated before its first run; if its list is marked, only the hold is.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{checkpoint, dead_letter::DeadLetter, files, format, hold};
use crate::base::{events::Events, fault::Fault, identity::DeliveryId};

/// The folder of version 0.1, beside the new one, as the migration renames it.
const LISTS_BEFORE: &str = "lists.before-0.2";
/// The folder of its dead letters, within that of the new ones: only that folder contains personal data.
const LETTERS_BEFORE: &str = "before-0.2";
/// Mark in the old folder of a list whose deliveries have all taken over its files.
const MARK: &str = "taken-over";

/// Where version 0.1 kept the files of a delivery, and where they belong.
#[derive(Debug, Clone)]
pub struct Former {
    /// The folder of importer's own files.
    pub ours: PathBuf,
    /// Name of the list's folder.
    pub list: String,
    pub delivery: DeliveryId,
    pub digests: FormerDigests,
    /// Digest of the sink's destination, as the records of the delivery contain it.
    pub destination: String,
    /// The folder of the delivery.
    pub folder: PathBuf,
    /// The file of its dead letters.
    pub dead_letter: PathBuf,
    pub entries: Vec<FormerEntry>,
    /// Names that the list's entries with another delivery may have in dead letters.
    pub others: Vec<String>,
    /// Where files that can't be read are reported.
    pub events: Events,
}

/// The digests in the names of the files of a delivery.
#[derive(Debug, Clone, Default)]
pub struct FormerDigests {
    /// Digest of the sink's type, address and key, which names the delivery cache.
    pub cache: String,
    /// Digest of the sink's type and address, which names the hold.
    pub delivery: String,
}

/// An entry with this delivery.
#[derive(Debug, Clone)]
pub struct FormerEntry {
    pub name: String,
    /// Names of the folders that may contain its checkpoint.
    pub folders: Vec<String>,
    /// Names that it may have in dead letters, and no other entry has.
    pub names: Vec<String>,
    /// The run fingerprints by which its checkpoint is recognized, and the one that replaces them.
    pub recognized: Vec<String>,
    pub run_fingerprint: String,
}

/// Called before each change on disk; a test returns an error there, as if the process were killed.
type Step<'a> = &'a dyn Fn() -> io::Result<()>;

/// Renames the old folders if there are any. Returns whether deliveries have to take over their files.
///
/// # Errors
///
/// The layout is newer than this program, or a file could not be read or renamed.
pub fn begin(ours: &Path, letters: &Path) -> Result<bool, Fault> {
    if format::check(ours)? {
        return Ok(false);
    }
    let begun = rename(ours, letters, &|| Ok(()));
    begun.map_err(|error| files::unusable(ours, error))
}

/// Names the layout after the deliveries have taken over their files. `lists` are the folder names of the lists whose
/// deliveries are all known.
///
/// # Errors
///
/// A file could not be written.
pub fn finish(ours: &Path, lists: &[String]) -> Result<(), Fault> {
    mark(ours, lists, &|| Ok(())).map_err(|error| files::unusable(ours, error))
}

/// Takes over the files of a delivery, if it has no folder yet. Returns whether there were any.
///
/// # Errors
///
/// A file could not be read or written.
pub async fn take_over(former: &Former) -> Result<bool, Fault> {
    let former = former.clone();
    files::blocking(&former.ours.clone(), move |_| adopt(&former, &|| Ok(()))).await
}

/// Returns the folder with the old folders of lists.
pub fn before(ours: &Path) -> PathBuf {
    ours.join(LISTS_BEFORE)
}

#[expect(clippy::disallowed_methods, reason = "the new names are free, and only one process uses the folder")]
fn rename(ours: &Path, letters: &Path, step: Step) -> io::Result<bool> {
    let (lists, old_lists) = (ours.join("lists"), before(ours));
    let old: Vec<PathBuf> = files::in_folder(letters)?.into_iter().filter(|path| is_old(path)).collect();
    if !old_lists.exists() {
        if !lists.exists() && old.is_empty() {
            step()?;
            return format::write(ours).map(|()| false);
        }
        step()?;
        if lists.exists() { fs::rename(&lists, &old_lists)? } else { fs::create_dir_all(&old_lists)? }
    }
    let kept = letters.join(LETTERS_BEFORE);
    for path in old {
        step()?;
        fs::create_dir_all(&kept)?;
        fs::rename(&path, kept.join(path.file_name().unwrap_or_default()))?;
    }
    Ok(true)
}

/// Returns whether this is a file with dead letters of version 0.1: its name has no hyphen.
fn is_old(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".ndjson") && !name.contains("--")
}

fn mark(ours: &Path, lists: &[String], step: Step) -> io::Result<()> {
    for list in lists {
        let folder = before(ours).join(list);
        if folder.exists() && !folder.join(MARK).exists() {
            step()?;
            files::replace(&folder.join(MARK), &[])?;
        }
    }
    if format::is_written(ours) {
        return Ok(());
    }
    step()?;
    format::write(ours)
}

#[expect(clippy::disallowed_methods, reason = "the new name is free, and only one process uses the folder")]
fn adopt(former: &Former, step: Step) -> io::Result<bool> {
    let Former { ours, list, delivery, digests, folder, .. } = former;
    let old = before(ours);
    if folder.exists() || !old.exists() {
        return Ok(false);
    }
    let new = folder.with_file_name(format!("new-{}", delivery.name()));
    if new.exists() {
        fs::remove_dir_all(&new)?;
    }
    let of_list = folders_of(&old, list)?;
    step()?;
    let mut found = hold::take_over(&of_list, &digests.delivery, &new)?;
    if !old.join(list).join(MARK).exists() {
        step()?;
        found |= super::former::import(
            &old.join(list),
            &digests.cache,
            &former.destination,
            &new,
            &former.events,
        )?;
        for entry in &former.entries {
            step()?;
            found |= take_checkpoint(&old, entry, &new)?;
        }
        step()?;
        found |= take_letters(former)?;
    }
    if new.exists() {
        step()?;
        fs::rename(&new, folder)?;
        fs::File::open(folder.parent().unwrap_or(ours))?.sync_all()?;
    }
    Ok(found)
}

/// Returns the old folders of a list and of its entries.
///
/// # Errors
///
/// The folder could not be read.
pub fn folders_before(ours: &Path, list: &str) -> io::Result<Vec<PathBuf>> {
    folders_of(&before(ours), list)
}

/// Returns the old folders of a list and of its entries. The names of the latter begin with that of the list.
fn folders_of(old: &Path, list: &str) -> io::Result<Vec<PathBuf>> {
    let is_one = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name == list || name.strip_prefix(list).is_some_and(|rest| rest.starts_with('-'))
    };
    Ok(files::in_folder(old)?.into_iter().filter(is_one).collect())
}

/// Copies the checkpoint of an entry, if one of its former folders has it.
fn take_checkpoint(old: &Path, entry: &FormerEntry, new: &Path) -> io::Result<bool> {
    for path in entry.folders.iter().map(|name| checkpoint::path(&old.join(name))) {
        let Some(found) = checkpoint::run_fingerprint(&path)? else { continue };
        if found == entry.run_fingerprint || entry.recognized.contains(&found) {
            let to = checkpoint::path(&new.join(&entry.name));
            files::replace(&to, &files::read(&path)?.unwrap_or_default())?;
            checkpoint::set_run_fingerprint(&to, &entry.run_fingerprint)?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// Copies the dead letters of the delivery's entries, under their current names. Those of entries that no longer exist
/// go to each of its entries. Lines that can't be understood are copied as they are.
fn take_letters(former: &Former) -> io::Result<bool> {
    let letters = former.dead_letter.with_file_name(LETTERS_BEFORE);
    let path = letters.join(format!("{}.ndjson", former.list));
    let Some(bytes) = files::read(&path)? else { return Ok(false) };
    let mut text = Vec::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match serde_json::from_slice::<DeadLetter>(line) {
            Ok(letter) if former.others.contains(&letter.entry) => {}
            Ok(letter) => {
                let own = |entry: &&FormerEntry| entry.names.contains(&letter.entry);
                let one = former.entries.iter().find(own).map_or(&former.entries[..], std::slice::from_ref);
                for entry in one {
                    let letter = DeadLetter { entry: entry.name.clone(), ..letter.clone() };
                    serde_json::to_writer(&mut text, &letter)?;
                    text.push(b'\n');
                }
            }
            Err(_) => text.extend(line),
        }
    }
    if text.is_empty() { Ok(false) } else { files::replace(&former.dead_letter, &text).map(|_| true) }
}

#[cfg(test)]
#[path = "migrate_tests.rs"]
mod tests;
