//! What the position of a page keeps of the pages before: whether one was full, and the keys of the last one. Pure.

use serde::{Deserialize, Serialize};

use super::Shown;
use crate::base::{fault::Fault, key::key_digest};

/// What a position keeps of the pages before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Before {
    /// Whether one of them had as many records as requested. If not, the service may have a smaller limit, and a short
    /// page means nothing.
    pub full: bool,
    /// Digest of the keys of the last one; `None` if it had no record.
    keys: Option<u64>,
}

impl Before {
    /// Returns what the position after a page keeps.
    pub fn and(self, asked: Option<usize>, keys: &[&str]) -> Self {
        let full = asked.is_some_and(|asked| keys.len() >= asked);
        Before { full: self.full || full, keys: digest(keys) }
    }

    /// Returns whether the page before had these records.
    pub fn has(self, keys: &[&str]) -> bool {
        self.keys.is_some() && self.keys == digest(keys)
    }

    /// Returns whether a page has the same records as the page before, so that the listing ends: the page before was
    /// the last one, by the `total`, which is the number of `rows` before this page.
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: the page repeats the one before, and no total shows that the listing ends. Such a listing would
    /// never end.
    pub fn repeats(self, parameter: &str, rows: u64, shown: &Shown) -> Result<bool, Fault> {
        if !self.has(shown.keys) {
            return Ok(false);
        }
        if shown.total == Some(rows) {
            return Ok(true);
        }
        Err(Fault::list("the page has the same records as the one before").hint(format!(
            "check `paging.parameter`, since the service may ignore `{parameter}`; if it repeats its last page, set `total`"
        )))
    }
}

/// Returns a digest of some keys in any order.
fn digest(keys: &[&str]) -> Option<u64> {
    let mut digests: Vec<u128> = keys.iter().map(|key| key_digest(key)).collect();
    digests.sort_unstable();
    let text: String = digests.iter().map(|digest| format!("{digest:x} ")).collect();
    // The upper half is enough to tell two pages apart.
    (!digests.is_empty()).then(|| (key_digest(&text) >> 64) as u64)
}
