//! Events about notices.

use std::time::Duration;

/// What happens to the notices of a delivery.
#[derive(Debug, Clone, PartialEq)]
pub enum NoticeEvent {
    /// The receiver has confirmed notices.
    Delivered { list_id: String, notices: u64 },
    /// The receiver has refused notices for good, so they are dropped.
    Refused { list_id: String, notices: u64 },
    /// Notices could not be delivered. The next attempt follows after `wait`.
    Waiting { list_id: String, notices: u64, problem: String, wait: Duration },
    /// Notices were dropped, `dropped` so far: at most `most` wait, for this number of days.
    Dropped { list_id: String, dropped: u64, most: u64, days: i64 },
    /// `go --once` ends although notices are left.
    Left,
}
