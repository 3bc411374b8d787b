//! Network access: every request to a third party goes through [`Http`], which keeps the limits of the
//! account. Independent of lists, records and the state file.

pub mod accounts;
pub mod answer;
pub mod auth;
pub mod environment;
pub mod http;
pub mod limiter;
mod pace;
mod queue;
pub mod transport;

pub use accounts::AccountClients;
pub use environment::{Environment, Refused, Unopened};
pub use http::{Account, AccountClient, Http};
pub use limiter::RateLimiter;
pub use queue::Caller;
pub use transport::{Request, Response, Transport, TransportError};
