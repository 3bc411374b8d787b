//! Publishes the status of a running controller in a file, for `importer status` in another process.

use std::{path::PathBuf, sync::Arc, time::Duration};

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::{Instant, timeout},
};

use super::status::Status;
use crate::{
    base::{event::FileEvent, events::Events, fault::Fault},
    store::files,
};

/// Longest time between two writes, so that a reader can see that the controller is alive.
const LONGEST: Duration = Duration::from_secs(30);

/// Maximum time that a write may take at the end.
const LAST: Duration = Duration::from_secs(2);

/// The content of the file.
#[derive(Debug, Serialize, Deserialize)]
pub struct Published {
    /// The process that wrote it.
    pub pid: u32,
    pub status: Status,
}

/// Writes the status when it has changed.
pub struct Publisher {
    path: Arc<PathBuf>,
    events: Events,
    /// The last status that was written, without its time, and when.
    last: Option<(Status, Instant)>,
    /// The write in progress.
    write: JoinSet<Option<String>>,
    /// Whether the failure was reported. One report is enough until a write succeeds: no run depends on the file.
    is_reported: bool,
}

impl Publisher {
    pub fn new(path: PathBuf, events: Events) -> Self {
        Publisher { path: Arc::new(path), events, last: None, write: JoinSet::new(), is_reported: false }
    }

    /// Returns whether the last write has failed, so that the status has to be published again.
    pub fn has_failed(&mut self) -> bool {
        while let Some(ended) = self.write.try_join_next() {
            self.wrote(ended.ok().flatten());
        }
        self.last.is_none()
    }

    /// Writes the status if it has changed or was not written for half a minute. Returns false if a write is in progress: the
    /// status has to be published again later.
    pub fn publish(&mut self, status: Status) -> bool {
        if !self.write.is_empty() {
            return false;
        }
        let timeless = Status { time: DateTime::UNIX_EPOCH, ..status.clone() };
        let is_old = |(last, at): &(Status, Instant)| *last != timeless || at.elapsed() >= LONGEST;
        if self.last.as_ref().is_none_or(is_old) {
            self.last = Some((timeless, Instant::now()));
            let path = Arc::clone(&self.path);
            self.write.spawn(async move {
                let write = move || {
                    let bytes = serde_json::to_vec(&Published { pid: std::process::id(), status })?;
                    files::publish(&path, &bytes)
                };
                // The runtime ends no thread for files, so this can't be canceled.
                spawn_blocking(write).await.ok()?.err().map(|error| error.to_string())
            });
        }
        true
    }

    /// Waits for the write in progress, but not for a disk that hangs.
    pub async fn close(&mut self) {
        while let Ok(Some(failed)) = timeout(LAST, self.write.join_next()).await {
            self.wrote(failed.ok().flatten());
        }
    }

    fn wrote(&mut self, failed: Option<String>) {
        let Some(error) = failed else {
            self.is_reported = false;
            return;
        };
        self.last = None;
        if !std::mem::replace(&mut self.is_reported, true) {
            self.events.emit(FileEvent::StatusUnwritten { path: (*self.path).clone(), error });
        }
    }
}

/// Returns what the last controller of a state folder has published; `None` if there is none, or none that
/// this version can read.
///
/// # Errors
///
/// The file could not be read.
pub async fn read(path: &std::path::Path) -> Result<Option<Published>, Fault> {
    files::blocking(path, |path| {
        let bytes = files::read(path)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    })
    .await
}
