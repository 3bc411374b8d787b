//! The status of the entries while no controller runs.

use std::{collections::HashMap, path::Path, sync::Arc};

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::{
    Mode, Open, OpenRequest,
    file::first_loads,
    input::Now,
    lists::{Lists, Opened},
    machine::Machine,
    status::Status,
};
use crate::{
    base::events::Events,
    state::{Snapshot, folders::Folders},
    store::{hold, leases::ProcessLeases},
};

/// Returns the status that a controller would report now if it had just read the file at `path` and started nothing.
pub fn status(path: &Path, snapshot: Snapshot, open: &Open, folders: &Folders, now: DateTime<Utc>) -> Status {
    let opened: HashMap<String, Opened> = snapshot
        .entries
        .iter()
        .filter_map(|entry| {
            let pipeline = open(OpenRequest { entry, urgent: false }).ok()?;
            Some((entry.folder.clone(), Opened::of(&pipeline)))
        })
        .collect();
    let first_loads = first_loads(&snapshot, &opened, folders);
    let lists =
        Lists { snapshot: Arc::new(snapshot), opened: Arc::new(opened), first_loads: Arc::new(first_loads) };
    let now = Now { instant: Instant::now(), utc: now, is_stopping: false };
    let leases = Arc::new(ProcessLeases::default());
    let mut machine = Machine::new(Mode::Loop, path.to_owned(), leases, Events::default(), now);
    for opened in lists.opened.values() {
        let delivery = &opened.destination.delivery;
        machine.note_hold(delivery.clone(), hold::peek(&folders.delivery(delivery)));
    }
    machine.take(lists);
    machine.status()
}
