//! One run of one list: which rows to ask for, what becomes of them, when all of them are delivered. Knows no third
//! party and no state file: it is handed its ends and returns an outcome. What it must remember over runs it keeps in
//! files of an entry's own folder.

pub mod batcher;
mod brake;
mod chain;
pub mod checkpoint;
pub mod clocks;
pub mod confirm;
pub mod coverage;
pub mod dead_letter;
pub mod due;
mod files;
pub mod held;
#[cfg(test)]
mod held_back_tests;
pub mod job;
pub mod late;
pub mod ledger;
mod parcel;
mod pass;
pub mod replay;
mod seen;
mod sweep;
pub mod takeover;
pub mod unchanged;
pub mod verify;
pub mod walk;
mod watermark;
mod windows;
