//! Everything that outlives a run: checkpoints, ledgers, dead letters, holds, and the cache of what the sink
//! has accepted of each record. Knows no adapter and no state file; callers pass the folders of the files.

pub mod cache;
pub mod checkpoint;
pub mod dead_letter;
pub mod files;
pub mod format;
pub mod hold;
pub mod ledger;
pub mod migrate;
pub mod position;
pub mod progress;
pub mod seen;
