//! One process a folder. The kernel frees the lock of a process that crashed.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::Write,
    path::Path,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::disk::OURS;
use crate::base::time;

/// Held until dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
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
    #[error("could not write in the state folder: {0} (importer needs the right to write there)")]
    Io(#[from] std::io::Error),
}

/// Locks the folder for this process.
pub fn take(folder: &Path, now: DateTime<Utc>) -> Result<Lock, NotLocked> {
    if !folder.is_dir() {
        return Err(NotLocked::NoFolder(folder.display().to_string()));
    }
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
    file.write_all(serde_json::to_string(&holder).map_err(std::io::Error::from)?.as_bytes())?;
    Ok(Lock { _file: file })
}
