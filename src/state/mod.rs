//! The state file. It belongs to the user: importer reads all of it and writes three fields of an entry,
//! nothing else. These modules know no third party and no run.

pub mod delivered;
pub mod disk;
pub mod document;
pub mod fields;
pub mod file;
#[cfg(test)]
mod file_tests;
pub mod finding;
pub mod folders;
pub mod history;
pub mod home;
pub mod identity;
mod journal;
#[cfg(test)]
mod journal_tests;
pub mod json_schema;
pub mod layout;
mod linger;
mod locate;
pub mod lock;
pub mod model;
#[cfg(test)]
mod race_tests;
pub mod read;
mod reader;
mod recover;
pub mod schema;
pub mod syntax;
pub mod vocabulary;

pub use document::{Edit, RunStamp};
pub use file::{Applied, StateFile};
pub use model::{Entry, Snapshot, Unfit};
pub use vocabulary::Vocabulary;
