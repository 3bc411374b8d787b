//! Ways in which listings of servers, and of caches in front of them, may differ from the documentation.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
};

use serde_json::{Value, json};

/// How the listings of an account differ from the documentation.
#[derive(Debug, Default)]
pub struct Quirks {
    pub total: Totals,
    /// Upper bound of the rows in one response, whatever the request asks for.
    pub cap: Option<usize>,
    pub offset: Offsets,
    /// Whether every response gives its rows new ids.
    pub new_ids: bool,
    /// Numbers of the members whose rows have no id.
    pub without_id: BTreeSet<u64>,
    /// Numbers of the members whose rows have no time of their last change.
    pub without_time: BTreeSet<u64>,
    /// Number of invented ids.
    pub made: AtomicU64,
}

/// The value of `total_items`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Totals {
    #[default]
    Right,
    /// The number of rows in the response.
    OfPage,
    /// A constant.
    Fixed(u64),
    /// Never more than this.
    AtMost(u64),
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Offsets {
    #[default]
    Kept,
    /// Every page is the first one.
    Ignored,
    /// A page that would begin after the last row is the last page.
    Clamped,
    /// After the last row the list begins again.
    Wrapped,
}

impl Quirks {
    /// Returns the range of rows, out of `total`, in a page of `count` rows from `offset`.
    pub(super) fn page(&self, offset: usize, count: usize, total: usize) -> std::ops::Range<usize> {
        let count = self.cap.map_or(count, |cap| count.min(cap));
        let offset = match self.offset {
            Offsets::Kept => offset,
            Offsets::Ignored => 0,
            Offsets::Clamped if offset >= total => total.saturating_sub(count),
            Offsets::Clamped => offset,
            Offsets::Wrapped => offset % total.max(1),
        };
        let end = offset.saturating_add(count).min(total);
        offset.min(end)..end
    }

    /// Returns the reported total of a listing with `total` rows, of which the response has `rows`.
    pub(super) fn total(&self, total: usize, rows: usize) -> u64 {
        match self.total {
            Totals::Right => total as u64,
            Totals::OfPage => rows as u64,
            Totals::Fixed(total) => total,
            Totals::AtMost(most) => most.min(total as u64),
        }
    }

    /// Whether the row of the member with this number can't be read.
    pub fn spoils(&self, number: u64) -> bool {
        self.without_id.contains(&number) || self.without_time.contains(&number)
    }

    /// Spoils the row of the member with this number.
    pub(super) fn spoil(&self, number: u64, member: &mut Value) {
        if self.without_id.contains(&number) {
            member["id"] = Value::Null;
            (member["contact_id"], member["unique_email_id"]) = (Value::Null, Value::Null);
        }
        if self.without_time.contains(&number) {
            member["last_changed"] = json!("");
        }
        if self.new_ids {
            let number = self.made.fetch_add(1, Ordering::Relaxed);
            let id = format!("{:x}", md5::compute(format!("made up {number}")));
            (member["id"], member["contact_id"]) = (json!(id), json!(id));
        }
    }
}
