//! One run of one list: decides which rows to request, delivers their records, and checks that none is
//! missing. Knows no third party and no state file: it receives a pipeline and returns an outcome. The store
//! keeps what outlives the run.

pub mod batcher;
pub mod clocks;
pub mod confirm;
pub mod coverage;
pub mod deferred;
mod deliver;
mod guard;
mod in_flight;
pub mod notices;
pub mod paging;
mod pass;
pub mod pending;
pub mod plan;
mod received;
#[cfg(test)]
mod records_tests;
#[cfg(test)]
mod rejects_tests;
pub mod replay;
pub mod run;
#[cfg(test)]
mod sinks_tests;
#[cfg(test)]
mod sources_tests;
#[cfg(test)]
mod stores_tests;
#[cfg(test)]
pub mod support_tests;
#[cfg(test)]
mod unchanged_tests;
pub mod verify;
mod watermark;
mod windows;
