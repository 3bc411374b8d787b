//! Stops the program when an operator creates the quit file.

use std::path::{Path, PathBuf};

use tokio::{fs, task::spawn_blocking, time::sleep};

use super::TICK;
use crate::base::{event::ProgramEvent, events::Events};

/// File name of the quit file.
pub const NAME: &str = "controller.quit";

/// The paths of the quit file: in the folder that the operator named and, if the state file is a link, beside
/// its target.
pub struct QuitFile {
    paths: Vec<PathBuf>,
    events: Events,
}

impl QuitFile {
    /// Returns the quit files of both folders. Does no I/O.
    pub fn in_folders(folders: [&Path; 2], events: Events) -> Self {
        QuitFile { paths: folders.map(|folder| folder.join(NAME)).to_vec(), events }
    }

    /// Removes quit files from before the start, since they were meant for an earlier process.
    pub async fn clear(&self) {
        for path in &self.paths {
            if fs::remove_file(path).await.is_ok() {
                self.events.emit(ProgramEvent::QuitRemoved { path: path.clone() });
            }
        }
    }

    /// Waits until a quit file exists, and removes it.
    pub async fn appears(&self) {
        while !self.found().await {
            sleep(TICK).await;
        }
    }

    /// Returns whether a quit file exists, and removes it.
    pub async fn found(&self) -> bool {
        let paths = self.paths.clone();
        let exists = move || paths.iter().any(|path| path.try_exists().unwrap_or(false));
        // One call for both paths: handing a call to another thread is most of what an idle controller costs.
        spawn_blocking(exists).await.unwrap_or(false) && self.taken().await
    }

    /// Removes the quit files. Returns whether there was one. Both paths may lead to one file, so each is looked for
    /// again.
    async fn taken(&self) -> bool {
        let mut taken = false;
        for path in &self.paths {
            if !fs::try_exists(path).await.unwrap_or(false) {
                continue;
            }
            taken = true;
            self.events.emit(ProgramEvent::QuitFound { path: path.clone() });
            if let Err(error) = fs::remove_file(path).await {
                let (path, error) = (path.clone(), error.to_string());
                self.events.emit(ProgramEvent::QuitStays { path, error });
            }
        }
        taken
    }
}
