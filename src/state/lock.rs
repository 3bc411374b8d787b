//! Locks a state file for one process. One lock is beside the file itself, and a second one beside a link to
//! it. The kernel releases the locks of a process that crashed.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::Path,
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{disk, home, layout::OURS};
use crate::base::time;

/// The locks of one process; dropping them releases them.
#[derive(Debug)]
pub struct Lock {
    _files: Vec<File>,
}

/// The process that holds a lock, as its lock file names it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    pub host: String,
    pub since: String,
}

/// Why a state file could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum NotLocked {
    /// Another importer holds the lock.
    #[error("{0}")]
    Taken(String),
    #[error(
        "there is no folder `{0}` (create it with a state.json in it, or name another folder with --state)"
    )]
    NoFolder(String),
    #[error("can't access the state file: {0}")]
    Link(io::Error),
    #[error(
        "could not write to the state folder: {0} (check the folder's permissions and the free disk space)"
    )]
    Io(#[from] io::Error),
}

/// Locks the folder of the state file for this process, and also the named folder if the file is a link. The
/// second lock keeps another importer out of the named folder even after the link is changed.
///
/// # Errors
///
/// Another importer holds a lock, the folder is missing or not writable, or [`home::settle`] refuses to
/// start.
pub fn take(folder: &Path, now: DateTime<Utc>) -> Result<Lock, NotLocked> {
    if !folder.is_dir() {
        return Err(NotLocked::NoFolder(folder.display().to_string()));
    }
    let home = home::of(folder).map_err(NotLocked::Link)?;
    let mut files = vec![];
    if home::is_elsewhere(folder, &home) {
        match one(folder, now) {
            // The process can't write to that folder, so no importer of this user has stored files in it.
            Err(NotLocked::Io(error)) if is_forbidden(&error) => {}
            taken => files.push(taken?),
        }
    }
    files.push(one(&home, now)?);
    if files.len() > 1 {
        home::settle(folder, &home).map_err(NotLocked::Link)?;
    }
    Ok(Lock { _files: files })
}

fn is_forbidden(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// Returns the process that holds the lock of this state folder now; `None` if there is none. Writes nothing.
///
/// # Errors
///
/// The folder or its lock file can't be read.
pub fn holder(folder: &Path) -> io::Result<Option<Holder>> {
    let path = home::of(folder)?.join(OURS).join("lock");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(serde_json::from_slice(&fs::read(path)?).ok()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Locks one folder, without following its state file. The lock lasts until the returned file is dropped.
///
/// # Errors
///
/// Another importer holds the lock, or the lock file can't be written.
pub fn one(folder: &Path, now: DateTime<Utc>) -> Result<File, NotLocked> {
    fs::create_dir_all(folder.join(OURS))?;
    let path = folder.join(OURS).join("lock");
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
    match try_lock(&file) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Holder>(&text).ok());
            let holder = holder.map_or("another importer".into(), |holder| {
                format!(
                    "another importer (pid {} on {}, since {} UTC)",
                    holder.pid, holder.host, holder.since
                )
            });
            let folder = folder.display();
            return Err(NotLocked::Taken(format!(
                "{holder} is using the folder `{folder}` (stop it with `touch {folder}/controller.quit`, or use another folder)"
            )));
        }
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let holder = Holder { pid: std::process::id(), host, since: time::log_format(now) };
    file.set_len(0)?;
    file.write_all(serde_json::to_string(&holder).map_err(io::Error::from)?.as_bytes())?;
    Ok(file)
}

/// Takes the lock of a file. Tries several times, since a command that looks up the [`holder`] has the lock for
/// microseconds.
fn try_lock(file: &File) -> Result<(), TryLockError> {
    const TRIES: u32 = 10;
    for _ in 1..TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => disk::pause(Duration::from_millis(20)),
            tried => return tried,
        }
    }
    file.try_lock()
}
