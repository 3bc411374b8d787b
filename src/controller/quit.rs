//! The file whose appearance stops the program.

use std::path::{Path, PathBuf};

use log::{info, warn};
use tokio::fs;

pub const NAME: &str = "controller.quit";

/// Quit files: one in the named folder, and one beside the state file if that is a link.
pub struct QuitFile(Vec<PathBuf>);

impl QuitFile {
    pub fn in_folders(folders: [&Path; 2]) -> Self {
        QuitFile(folders.map(|folder| folder.join(NAME)).to_vec())
    }

    /// Removes one from before the start: it was meant for another run.
    pub async fn clear(&self) {
        for path in &self.0 {
            if fs::remove_file(path).await.is_ok() {
                info!("removed an old {:?}.", path.display().to_string());
            }
        }
    }

    /// Whether it has appeared; it is removed then.
    pub async fn found(&self) -> bool {
        let mut found = false;
        for path in &self.0 {
            if !fs::try_exists(path).await.unwrap_or(false) {
                continue;
            }
            found = true;
            info!("found {:?}.", path.display().to_string());
            if let Err(error) = fs::remove_file(path).await {
                warn!("{:?} could not be removed: {error}.", path.display().to_string());
            }
        }
        found
    }
}
