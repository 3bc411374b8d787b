//! Events about what is stored of runs and deliveries.

use std::path::PathBuf;

/// What happens to checkpoints and to the records of a delivery.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreEvent {
    /// A checkpoint of other settings is discarded.
    CheckpointOfOtherSettings { location: String },
    /// A checkpoint can't be read and is discarded.
    CheckpointUnreadable { path: PathBuf },
    /// A checkpoint is damaged after this line.
    CheckpointDamaged { path: PathBuf, lines: usize },
    /// A checkpoint could not be removed.
    CheckpointStays { problem: String },
    /// The last runs of the process are missing in the history, since the disk is too slow.
    HistoryIncomplete,
    /// A run is missing in the history.
    RunUnrecorded { list_id: String, problem: String },
    /// A database can't be read and was renamed to `aside`.
    DatabaseSetAside { path: PathBuf, aside: PathBuf },
    /// A command can't read a database.
    DatabaseUnreadable { path: PathBuf },
    /// What waited in memory could not be written.
    DatabaseUnwritten { path: PathBuf, error: String },
    /// A ledger of an earlier version can't be read.
    FormerLedgerUnreadable { path: PathBuf },
    /// A cache of an earlier version can't be read.
    FormerCacheUnreadable { path: PathBuf },
}
