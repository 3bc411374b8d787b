//! Tells when the state file may have changed. Watches the folder, not the file: a save by rename gives the name to
//! another file, and a watch on the old one would never speak again.

use std::path::{Path, PathBuf};

use log::warn;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{Receiver, channel};

use crate::state::disk::OURS;

/// Speaks when something happened beside the state file; several events before it is heard are one. Whether the file
/// says something new is for the listener to see: a link on the way to it may have been changed as well.
pub struct Watch {
    changes: Receiver<()>,
    watcher: Option<RecommendedWatcher>,
    watched: Vec<PathBuf>,
}

impl Watch {
    /// Where the file system gives no events, says so and never speaks: the controller also looks every minute.
    pub fn file(path: &Path) -> Self {
        let (sender, changes) = channel(1);
        let hear = move |event: notify::Result<Event>| {
            let ours = |path: &PathBuf| path.components().any(|part| part.as_os_str() == OURS);
            let concerns_us = event.is_ok_and(|event| {
                !matches!(event.kind, EventKind::Access(_)) && !event.paths.iter().all(ours)
            });
            if concerns_us {
                // Full: a change is waiting to be heard already.
                let _ = sender.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(hear);
        if let Err(error) = &watcher {
            warn!("{error}: edits of the state file are seen once a minute.");
        }
        let mut watch = Watch { changes, watcher: watcher.ok(), watched: vec![] };
        watch.follow(path);
        watch
    }

    /// A watch that another end speaks for.
    pub fn manual(changes: Receiver<()>) -> Self {
        Watch { changes, watcher: None, watched: vec![] }
    }

    /// Watches the folder of the file, and the folder of what it is a link to: that may be another one after an edit.
    pub fn follow(&mut self, path: &Path) {
        let Some(watcher) = &mut self.watcher else { return };
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        for folder in [path, &target].into_iter().filter_map(Path::parent) {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            if self.watched.iter().any(|watched| watched == folder) {
                continue;
            }
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                warn!("{error}: edits of the state file are seen once a minute.");
            }
            self.watched.push(folder.to_owned());
        }
    }

    /// Waits for the next change; for ever if none can be heard of.
    pub async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            std::future::pending().await
        }
    }
}
