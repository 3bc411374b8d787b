//! The one way out: every request to a third party leaves through [`Http`], which knows its account's limits.
//! Knows nothing of lists, members or the state file.

pub mod backoff;
pub mod gate;
pub mod http;
mod pace;
mod queue;
pub mod transport;

pub use gate::Gate;
pub use http::{Account, Door, Http};
pub use queue::Caller;
pub use transport::{Request, Response, Transport, TransportError};
