//! Locks a state file for one process: one lock is beside the file itself, and one more beside a link to it. The kernel frees the
//! locks of a process that crashed.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::Path,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{home, layout::OURS};
use crate::base::time;

/// Held until dropped.
#[derive(Debug)]
pub struct Lock {
    _files: Vec<File>,
}

/// Who holds a lock.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    pub host: String,
    pub since: String,
}

#[derive(Debug, thiserror::Error)]
pub enum NotLocked {
    #[error("{0}")]
    Taken(String),
    #[error(
        "there is no folder `{0}` (make it and put a state.json into it, or name another one with --state)"
    )]
    NoFolder(String),
    #[error("the state file can't be used: {0}")]
    Link(io::Error),
    #[error("could not write in the state folder: {0} (importer needs the right to write there)")]
    Io(#[from] io::Error),
}

/// Locks the folder of the state file for this process, and the named folder if the file is a link. The second lock keeps another
/// importer out when the link is changed.
pub fn take(folder: &Path, now: DateTime<Utc>) -> Result<Lock, NotLocked> {
    if !folder.is_dir() {
        return Err(NotLocked::NoFolder(folder.display().to_string()));
    }
    let home = home::of(folder).map_err(NotLocked::Link)?;
    let mut files = vec![];
    if home::is_elsewhere(folder, &home) {
        match one(folder, now) {
            // Without the right to write there, this user's importer has kept nothing in that folder.
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

/// Locks one folder, without following its state file.
pub fn one(folder: &Path, now: DateTime<Utc>) -> Result<File, NotLocked> {
    fs::create_dir_all(folder.join(OURS))?;
    let path = folder.join(OURS).join("lock");
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
    match file.try_lock() {
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
                "{holder} works on the folder `{folder}` (stop it with `touch {folder}/controller.quit`, or use another folder)"
            )));
        }
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let holder = Holder { pid: std::process::id(), host, since: time::spoken(now) };
    file.set_len(0)?;
    file.write_all(serde_json::to_string(&holder).map_err(io::Error::from)?.as_bytes())?;
    Ok(file)
}
