//! Events about notices.

use std::time::Duration;

/// What happens to the notices of a delivery.
#[derive(Debug, Clone, PartialEq)]
pub enum NoticeEvent {
    /// The receiver has confirmed notices: `notices` in one attempt.
    Delivered { list_id: String, notices: u64 },
    /// The receiver has refused notices for good, so they are dropped: `notices` in one attempt.
    Refused { list_id: String, notices: u64 },
    /// Notices could not be delivered. The next attempt follows after `wait`. `notices`: the number of those that wait,
    /// if it is known.
    Waiting { list_id: String, notices: Option<u64>, problem: String, wait: Duration },
    /// Notices were dropped, `dropped` since the delivery exists: more than `most` waited, they were older than
    /// `days`, or a later version wrote them in a form that this one can't read.
    Dropped { list_id: String, dropped: u64, most: u64, days: i64 },
    /// `go --once` ends although notices are left. `notices`: their number, if it is known.
    Left { list_id: String, notices: Option<u64>, problem: String },
}
