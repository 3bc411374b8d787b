//! The commands other than `go` and `sandbox`, one file each.

pub mod demo;
pub mod history;
pub(super) mod lists;
pub mod online;
pub mod preview;
pub mod release;
pub mod replay;
pub mod sandbox;
pub mod settings;
pub mod state;
pub mod status;
pub mod verify;
pub mod why;
