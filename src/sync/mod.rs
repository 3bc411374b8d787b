//! One run of one list: which rows to ask for, what becomes of them, when all of them are delivered. Knows no third
//! party and no state file: it is handed its ends and returns an outcome.

pub mod batcher;
pub mod due;
pub mod job;
pub mod walk;
