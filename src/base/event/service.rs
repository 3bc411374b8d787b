//! Events of the services' accounts.

use std::time::Duration;

/// What happens in calls of a service.
#[derive(Debug, Clone, PartialEq)]
pub enum ServiceEvent {
    /// An attempt failed, and another one follows.
    Retrying {
        /// What the call does, such as ``could not read list `a` ``.
        doing: String,
        service: String,
        problem: String,
        /// Whether all requests to the service pause.
        pauses: bool,
        /// Number of the next attempt, and of the last one that is made.
        attempt: u32,
        attempts: u32,
        wait: Duration,
        /// Whether the same problem was reported a moment ago.
        routine: bool,
    },
    /// The address in this variable is not https.
    Unencrypted { variable: String },
    /// The address in this setting or variable lets a server of a network be used without being verified.
    Unverified { setting: String },
    /// The shifts that begin within a minute may be more than the service returns.
    ShiftsCutOff { shifts: usize, from: String },
}
