//! The progress of a listing, as stored in a checkpoint.

use serde::{Deserialize, Serialize};

use crate::base::window::{Cursor, Window};

/// Maximum number of rows per request; a source may return fewer.
pub const MOST: usize = 1000;
/// The second of a row whose time is unknown.
pub const UNTIMED: i64 = i64::MIN;

/// One row of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Row {
    pub key: u128,
    /// The second of its last change, since 1970; [`UNTIMED`] if it is unknown.
    pub second: i64,
}

/// A boundary second: its rows may be spread over a page and the one above, with neither page containing all
/// of them. No source promises an order within a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundarySecond {
    pub second: i64,
    /// Number of pairs of neighboring rows of this second that both pages show in the same order, as the
    /// lowest rows of the upper page and the highest rows of the lower one; `None` if the order differs. One
    /// shared row is no evidence of an order.
    pub in_order: Option<u32>,
}

/// Limits that a server's answers have revealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Maximum number of rows in one answer; [`MOST`] until the server has truncated one.
    pub cap: usize,
    /// Length of the longest answer so far, in rows.
    pub proven: usize,
    /// Whether to doubt a first page that reaches its total even if its length is no round number. Used only
    /// while no answer is known.
    pub doubts: bool,
}

impl Default for Server {
    fn default() -> Self {
        Server { cap: MOST, proven: 0, doubts: true }
    }
}

impl Server {
    /// Combines the limits of both; `doubts` is that of `self`.
    pub fn and(self, other: Server) -> Self {
        Server { cap: self.cap.min(other.cap), proven: self.proven.max(other.proven), ..self }
    }
}

/// The progress of a listing's walk, apart from its pages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The part of the window that the walk currently reads.
    pub part: Window,
    /// The remaining parts, the next one last.
    pub rest: Vec<Window>,
    /// Rows in the window when it was opened. With cursor paging, the first total that the source reported.
    pub window: Option<u64>,
    /// Rows in the previous parts when their walks ended. With cursor paging, the smallest total that the
    /// source reported.
    pub held: u64,
    /// The largest growth of a part in rows, and the rows that were listed although their time is outside the
    /// window.
    pub growth: u64,
    pub outside: u64,
    /// Whether an answer had more rows than its own total.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub totals_wrong: bool,
    /// With cursor paging and in a shard, the page after this one; `None` after the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

impl Progress {
    /// Returns the progress at the beginning of a window.
    pub fn new(window: Window) -> Self {
        Progress {
            part: window,
            rest: vec![],
            window: None,
            held: 0,
            growth: 0,
            outside: 0,
            totals_wrong: false,
            next: None,
        }
    }
}
