//! Syncs lists between services, such as Mailchimp and Ometria, as configured in one file. People may edit
//! the file while importer runs.
//!
//! The modules form layers, called floors: each floor imports only lower floors. A test checks this.
//!
//! ```text
//! 6  cli · app · main        command line; wiring; exit codes
//! 5  api                     the HTTP API (feature `api`)
//! 4  controller              schedules and runs entries; writes the state file
//! 3  engine                  one run of one list: pages, batches, outcome
//! 2  source  mapping  sink   the adapters, by kind
//!    sandbox                 emulators of the services
//!    listener                log messages of events
//! 1  net  state  store       HTTP; the state file; data that outlives a run
//! 0  base                    shared types: record, window, fault, clock. No I/O
//! ```
//!
//! `ARCHITECTURE.md` describes the modules.

#[cfg(feature = "api")]
pub mod api;
pub mod app;
pub mod base;
pub mod cli;
pub mod controller;
pub mod engine;
pub mod listener;
pub mod mapping;
pub mod net;
pub mod sandbox;
pub mod sink;
pub mod source;
pub mod state;
pub mod store;
