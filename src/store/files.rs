//! Files of importer itself: complete and on disk before they get their name.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use tokio::task::spawn_blocking;

use crate::base::fault::Fault;

/// Writes `bytes` to a new file and gives it the name `path`, replacing an older file. Returns the open file.
/// Only the owner may read it.
#[expect(clippy::disallowed_methods, reason = "replaces the former file as a whole, on purpose")]
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(folder)?.sync_all()?;
    Ok(file)
}

/// Does the work of [`replace`] without waiting for the disk: a loss of power may lose the file.
#[expect(clippy::disallowed_methods, reason = "replaces the former file as a whole, on purpose")]
pub fn publish(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    fs::rename(&new, path)
}

/// Returns the contents of a file; `None` if there is no such file.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the files in a folder and in the folders below it; none if there is no such folder.
///
/// # Errors
///
/// A folder could not be read.
pub fn below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![];
    for path in in_folder(folder)? {
        if path.is_dir() { found.extend(below(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

/// Returns the files and folders in a folder, sorted by name; none if there is no such folder.
///
/// # Errors
///
/// The folder could not be read.
pub fn in_folder(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let paths = match fs::read_dir(folder) {
        Ok(files) => files.map(|file| Ok(file?.path())).collect::<io::Result<Vec<_>>>(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => Err(error),
    };
    let mut paths = paths?;
    paths.sort();
    Ok(paths)
}

/// Removes a file. Returns whether there was one.
pub fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Runs file work on a separate thread.
///
/// # Errors
///
/// A [`Fault::List`] that names `path`.
pub async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T, Fault> {
    let (named, path) = (path.display().to_string(), path.to_owned());
    let done = spawn_blocking(move || work(&path)).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|error| {
        let hint = "check the folder's permissions and the free space; the next run continues from here";
        Fault::list(format!("can't access `{named}`")).because(error).hint(hint)
    })
}

/// Makes the fault of importer's own files, without which no list can run.
pub fn unusable(folder: &Path, error: io::Error) -> Fault {
    let hint = "check the folder's permissions and the free space, and start importer again; nothing is lost";
    Fault::process(format!("can't access `{}`", folder.display())).because(error).hint(hint)
}
