//! The commands besides `go`, a file each.

pub mod demo;
mod lists;
pub mod preview;
pub mod release;
pub mod replay;
pub mod state;
pub mod verify;
pub mod why;
