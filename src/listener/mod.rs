//! Listeners: what importer does with the events of its work.

pub mod log;
