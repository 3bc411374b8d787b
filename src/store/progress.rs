//! How far the reading of a listing has come, as a checkpoint keeps it.

use serde::{Deserialize, Serialize};

use crate::base::window::{Cursor, Window};

/// The most rows that are asked for at once; a source may answer with fewer.
pub const MOST: usize = 1000;
/// The second of a row whose time is unknown.
pub const UNTIMED: i64 = i64::MIN;

/// One row of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Row {
    pub key: u128,
    /// The second of its last change, since 1970; the least there is if it is not told.
    pub second: i64,
}

/// A second of which one part may be in a page and another in the one above, and neither holds all: within a second nobody
/// promises an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    pub second: i64,
    /// Pairs of neighboring rows of this second that both pages show in the same order, as the lowest rows of the upper page
    /// and the highest rows of the lower one; none if the order differs. One shared row is no evidence of an order.
    pub in_order: Option<u32>,
}

/// Limits that a server's answers have shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Upper bound of the rows in one answer; [`MOST`] as long as the server has cut none off.
    pub cap: usize,
    /// Length of the longest answer so far, in rows.
    pub proven: usize,
    /// Whether a first page that reaches its total is doubted even if its length is no round number. Matters only while no answer
    /// is known.
    pub doubts: bool,
}

impl Default for Server {
    fn default() -> Self {
        Server { cap: MOST, proven: 0, doubts: true }
    }
}

impl Server {
    /// Combines what both have shown; `doubts` is that of `self`.
    pub fn and(self, other: Server) -> Self {
        Server { cap: self.cap.min(other.cap), proven: self.proven.max(other.proven), ..self }
    }
}

/// How far a listing's walk has come, apart from its pages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The stretch of the window that is walked now.
    pub part: Window,
    /// What is still to be walked after it, the next one last.
    pub rest: Vec<Window>,
    /// Rows in the window when it was opened.
    pub window: Option<u64>,
    /// Rows that the parts before held at their end.
    pub held: u64,
    /// The most rows by which a part has grown, and rows that were listed although their time is not in the window.
    pub growth: u64,
    pub outside: u64,
    /// Whether an answer had more rows than its own total.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub totals_wrong: bool,
    /// Of a chain: the page after this one, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

impl Progress {
    /// At the beginning of a window.
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
