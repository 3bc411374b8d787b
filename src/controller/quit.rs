//! The file whose appearance stops the program.

use std::path::{Path, PathBuf};

use log::{info, warn};
use tokio::fs;

pub const NAME: &str = "controller.quit";

pub struct QuitFile(PathBuf);

impl QuitFile {
    pub fn in_folder(folder: &Path) -> Self {
        QuitFile(folder.join(NAME))
    }

    /// Removes one from before the start: it was meant for another run.
    pub async fn clear(&self) {
        if fs::remove_file(&self.0).await.is_ok() {
            info!("removed an old {:?}.", self.shown());
        }
    }

    /// Whether it has appeared; it is removed then.
    pub async fn found(&self) -> bool {
        if !fs::try_exists(&self.0).await.unwrap_or(false) {
            return false;
        }
        info!("found {:?}.", self.shown());
        if let Err(error) = fs::remove_file(&self.0).await {
            warn!("{:?} could not be removed: {error}.", self.shown());
        }
        true
    }

    fn shown(&self) -> String {
        self.0.display().to_string()
    }
}
