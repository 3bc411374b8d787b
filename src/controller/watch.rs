//! Tells when the state file may have changed. Watches the folder, not the file: a save by rename gives the name to
//! another file, and a watch on the old one would never speak again.

use std::{ffi::OsStr, path::Path};

use anyhow::Context;
use log::warn;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{Receiver, channel};

use crate::state::file::NAME;

/// Speaks when something happened to the state file; several events before it is heard are one.
pub struct Watch {
    changes: Receiver<()>,
    /// Held so that it goes on watching.
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Where the file system gives no events, says so and never speaks: the controller also looks every minute.
    pub fn folder(folder: &Path) -> Self {
        let (sender, changes) = channel(1);
        let hear = move |event: notify::Result<Event>| {
            let concerns_us = event.is_ok_and(|event| {
                !matches!(event.kind, EventKind::Access(_))
                    && event.paths.iter().any(|path| path.file_name() == Some(OsStr::new(NAME)))
            });
            if concerns_us {
                // Full: a change is waiting to be heard already.
                let _ = sender.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(hear).and_then(|mut watcher| {
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        let watcher = watcher.context("the state folder can't be watched");
        if let Err(error) = &watcher {
            warn!("{error:#}; edits of the state file are seen once a minute.");
        }
        Watch { changes, _watcher: watcher.ok() }
    }

    /// A watch that another end speaks for.
    pub fn manual(changes: Receiver<()>) -> Self {
        Watch { changes, _watcher: None }
    }

    /// Waits for the next change; for ever if none can be heard of.
    pub async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            std::future::pending().await
        }
    }
}
