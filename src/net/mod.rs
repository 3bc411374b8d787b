//! Network access: every request to a third party is a call of its account ([`call`]), which keeps the limits
//! of the account; [`Http`] makes those over HTTP. Independent of lists, records and the state file.

pub mod account;
pub mod accounts;
pub mod answer;
pub mod auth;
pub mod call;
pub mod classify;
pub mod endpoint;
pub mod environment;
pub mod files;
pub mod http;
pub mod limiter;
mod outage;
mod pace;
mod queue;
pub mod transport;

pub use account::Account;
pub use accounts::AccountClients;
pub use environment::{Environment, Refused, Unopened};
pub use http::{AccountClient, Http};
pub use limiter::RateLimiter;
pub use queue::Caller;
pub use transport::{Request, Response, Transport, TransportError};
