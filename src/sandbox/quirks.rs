//! Listings of servers, and of caches in front of them, that do not keep to what is documented.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

/// How the listings of an account differ from what is documented.
#[derive(Debug, Default)]
pub struct Quirks {
    pub total: Totals,
    /// The most rows in one answer, whatever is asked for.
    pub cap: Option<usize>,
    pub offset: Offsets,
    /// Every answer gives its rows other ids.
    pub new_ids: bool,
    /// Ids that were made up.
    pub made: AtomicU64,
}

/// What `total_items` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Totals {
    #[default]
    Right,
    /// The number of rows in the answer.
    OfPage,
    /// Always the same.
    Fixed(u64),
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Offsets {
    #[default]
    Kept,
    /// Every page is the first one.
    Ignored,
    /// A page that would begin behind the last row is the last page.
    Clamped,
    /// Behind the last row the list begins again.
    Wrapped,
}

impl Quirks {
    /// The rows of `total` that a page of `count` from `offset` on holds.
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

    pub(super) fn total(&self, total: usize, rows: usize) -> u64 {
        match self.total {
            Totals::Right => total as u64,
            Totals::OfPage => rows as u64,
            Totals::Fixed(total) => total,
        }
    }

    pub(super) fn rename(&self, member: &mut Value) {
        if self.new_ids {
            let number = self.made.fetch_add(1, Ordering::Relaxed);
            let id = format!("{:x}", md5::compute(format!("made up {number}")));
            (member["id"], member["contact_id"]) = (json!(id), json!(id));
        }
    }
}
