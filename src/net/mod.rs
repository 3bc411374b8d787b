//! The one way out: every request to a third party leaves through [`Http`], which knows its account's limits.
//! Knows nothing of lists, records or the state file.

pub mod answer;
pub mod backoff;
pub mod doors;
pub mod environment;
pub mod gate;
pub mod http;
mod pace;
mod queue;
pub mod session;
pub mod transport;

pub use doors::Doors;
pub use environment::{Environment, Refused, Unopened};
pub use gate::Gate;
pub use http::{Account, Door, Http};
pub use queue::Caller;
pub use transport::{Request, Response, Transport, TransportError};
