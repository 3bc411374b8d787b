//! The current time. Waiting is left to tokio, so that a test can pause both clocks together.

use chrono::{DateTime, Utc};

/// The wall clock.
pub trait Clock: Send + Sync {
    /// Returns the current time.
    fn now(&self) -> DateTime<Utc>;
}

/// The clock of the machine.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
        Utc::now()
    }
}
