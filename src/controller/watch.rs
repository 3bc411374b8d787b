//! Notifies the controller when the state file may have changed. It watches the folder, not the file: a save
//! by rename replaces the file, and a watch on the replaced file would report nothing more.

use std::path::{Path, PathBuf};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{Receiver, channel};

use crate::{
    base::{event::FileEvent, events::Events},
    state::layout::OURS,
};

/// Reports events in the folder of the state file. Events that arrive before the controller waits again count
/// as one. The controller has to compare the text itself, since an event can concern another file or a link
/// to the state file.
pub struct Watch {
    changes: Receiver<()>,
    watcher: Option<RecommendedWatcher>,
    watched: Vec<PathBuf>,
    events: Events,
}

impl Watch {
    /// Watches the folder of `path`. If the file system reports no events, it emits an event and reports no
    /// change; the controller also reads the file once a minute.
    pub fn file(path: &Path, events: Events) -> Self {
        let (sender, changes) = channel(1);
        let hear = move |event: notify::Result<Event>| {
            let ours = |path: &PathBuf| path.components().any(|part| part.as_os_str() == OURS);
            let concerns_us = event.is_ok_and(|event| {
                !matches!(event.kind, EventKind::Access(_)) && !event.paths.iter().all(ours)
            });
            if concerns_us {
                // If the channel is full, an unread notification is already waiting.
                let _ = sender.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(hear);
        if let Err(error) = &watcher {
            events.emit(FileEvent::NotWatched { error: error.to_string() });
        }
        let mut watch = Watch { changes, watcher: watcher.ok(), watched: vec![], events };
        watch.follow(path);
        watch
    }

    /// Returns a watch that reports what arrives on `changes`, for tests.
    pub fn manual(changes: Receiver<()>) -> Self {
        Watch { changes, watcher: None, watched: vec![], events: Events::default() }
    }

    /// Watches the folder of the file and, if it is a link, the folder of its target. Call it again after an
    /// edit, which may have changed the link. Folders that are watched already stay watched.
    pub fn follow(&mut self, path: &Path) {
        let Some(watcher) = &mut self.watcher else { return };
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        for folder in [path, &target].into_iter().filter_map(Path::parent) {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            if self.watched.iter().any(|watched| watched == folder) {
                continue;
            }
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                self.events.emit(FileEvent::NotWatched { error: error.to_string() });
            }
            self.watched.push(folder.to_owned());
        }
    }

    /// Waits for the next change. Never completes if there is no watcher.
    pub async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            std::future::pending().await
        }
    }
}
