//! The words that every floor shares: record, window, fault, clock. No I/O, and no third party's name.

pub mod clock;
pub mod consent;
pub mod fault;
pub mod record;
pub mod secret;
pub mod time;
pub mod window;
