//! Where the tests of the engine keep what outlives a run: on disk, or in memory.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use chrono::TimeDelta;

use super::{plan::Plan, support_tests as support};
use crate::store::{
    FolderStore, Outbox, RunStore,
    records::{
        CacheRules, StoredOutbox,
        support_tests::{Delivery, OutboxInMemory, RecordsInMemory},
    },
    support_tests::InMemory,
};

/// The two kinds of stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    OnDisk,
    InMemory,
}

/// A delivery without earlier runs, and what its runs leave.
pub enum Kept {
    OnDisk(tempfile::TempDir),
    InMemory(InMemory, Arc<Mutex<Delivery>>),
}

impl Kept {
    pub fn new(keeps: Keeps) -> Self {
        match keeps {
            Keeps::OnDisk => Kept::OnDisk(tempfile::tempdir().unwrap()),
            Keeps::InMemory => Kept::InMemory(InMemory::new("e"), Arc::default()),
        }
    }

    /// Returns the plan of the next run, with a delivery cache if it may `expire`. The last run has ended with its
    /// process: what it had not made durable is lost.
    pub fn plan(&self, size: usize, workers: usize, expire: Option<TimeDelta>) -> Plan {
        match self {
            Kept::OnDisk(folder) => Plan {
                records: support::records(folder.path(), expire),
                ..support::plan(folder.path(), size, workers)
            },
            Kept::InMemory(store, records) => {
                records.lock().unwrap().crash();
                let rules = CacheRules { version: 1, expire };
                Plan {
                    store: Arc::new(store.clone()),
                    records: Arc::new(RecordsInMemory::new(records, "destination", rules)),
                    ..support::plan(Path::new("not used"), size, workers)
                }
            }
        }
    }

    /// Returns the store with the checkpoint, to look into it between two runs.
    pub fn store(&self) -> Arc<dyn RunStore> {
        match self {
            Kept::OnDisk(folder) => Arc::new(FolderStore::alone(folder.path())),
            Kept::InMemory(store, _) => Arc::new(store.clone()),
        }
    }

    /// Returns the outbox as the next process finds it. Every plan must have been dropped.
    pub fn outbox(&self) -> Box<dyn Outbox> {
        match self {
            Kept::OnDisk(folder) => Box::new(StoredOutbox::new(&Arc::default(), folder.path())),
            Kept::InMemory(_, records) => {
                records.lock().unwrap().crash();
                Box::new(OutboxInMemory(Arc::clone(records)))
            }
        }
    }
}
