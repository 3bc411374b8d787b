//! Keeps people's lists in step between the services that hold them: the members of Mailchimp lists become contacts
//! in Ometria, driven by one file that people edit while it runs.
//!
//! The house has floors, and every import points down; a test holds that.
//!
//! ```text
//! 6  cli · app · main        words from the shell; wiring; exit codes
//! 4  controller              what is due, what is running, who writes the state file
//! 3  engine                  one run of one list: pages, batches, outcome
//! 2  source  mapping  sink   the adapters, by kind
//!    sandbox                 emulators of the third parties
//! 1  net  state  store       the one way out; the user's file; what outlives a run
//! 0  base                    words: record, window, fault, clock. No I/O
//! ```
//!
//! `ARCHITECTURE.md` is the map.

pub mod app;
pub mod base;
pub mod cli;
pub mod controller;
pub mod engine;
pub mod mapping;
pub mod net;
pub mod sandbox;
pub mod sink;
pub mod source;
pub mod state;
pub mod store;
