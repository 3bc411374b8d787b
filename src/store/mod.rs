//! Everything that outlives a run: checkpoints, positions, dead letters, holds, and the records of each delivery
//! (its ledger and its delivery cache). Knows no adapter and no state file; callers pass the folders of the files.

pub mod checkpoint;
pub mod dead_letter;
pub mod files;
pub mod format;
pub mod former;
pub mod hold;
pub mod migrate;
pub mod position;
pub mod progress;
pub mod records;
pub mod seen;
