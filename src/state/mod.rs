//! The user's file, in which we are a guest: read for what is to be done, changed in three fields and nowhere else.
//! Knows no third party and no run.

pub mod document;
pub mod file;
pub mod schema;

pub use document::{Edit, Stamp};
pub use file::{Applied, StateFile};
pub use schema::{Entry, Snapshot};
