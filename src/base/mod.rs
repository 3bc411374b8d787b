//! Types that every layer shares: record, window, fault, clock, and settings that both the state file and the
//! adapters know. No I/O.

pub mod account;
pub mod adapter;
pub mod backoff;
pub mod clock;
pub mod consent;
pub mod country;
pub mod counts;
pub mod declared;
pub mod event;
pub mod events;
pub mod fate;
pub mod fault;
pub mod identity;
#[cfg(feature = "jq")]
pub mod jq;
pub mod json;
pub mod key;
pub mod notice;
pub mod path;
pub mod record;
pub mod redact;
pub mod reference;
pub mod remedy;
pub mod requests;
pub mod secret;
pub mod spec;
pub mod text;
pub mod time;
pub mod unreadable;
pub mod window;
