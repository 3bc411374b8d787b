//! Stops the program when an operator creates the quit file.

use std::path::{Path, PathBuf};

use log::{info, warn};
use tokio::fs;

/// File name of the quit file.
pub const NAME: &str = "controller.quit";

/// The paths of the quit file: in the folder that the operator named and, if the state file is a link, beside
/// its target.
pub struct QuitFile(Vec<PathBuf>);

impl QuitFile {
    /// Returns the quit files of both folders. Does no I/O.
    pub fn in_folders(folders: [&Path; 2]) -> Self {
        QuitFile(folders.map(|folder| folder.join(NAME)).to_vec())
    }

    /// Removes quit files from before the start, since they were meant for an earlier process.
    pub async fn clear(&self) {
        for path in &self.0 {
            if fs::remove_file(path).await.is_ok() {
                info!("removed an old {:?}.", path.display().to_string());
            }
        }
    }

    /// Returns whether a quit file exists, and removes it.
    pub async fn found(&self) -> bool {
        let mut found = false;
        for path in &self.0 {
            if !fs::try_exists(path).await.unwrap_or(false) {
                continue;
            }
            found = true;
            info!("found {:?}.", path.display().to_string());
            if let Err(error) = fs::remove_file(path).await {
                warn!(
                    "could not remove {:?}: {error}; remove it before the next start.",
                    path.display().to_string()
                );
            }
        }
        found
    }
}
