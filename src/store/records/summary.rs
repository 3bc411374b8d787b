//! The summary of a ledger, and what a pass adds to it. Pure.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{delivery::Settled, row::Status};
use crate::store::seen::{Known, Seen};

pub(in crate::store) const VERSION: u32 = 1;
/// Status of records that are gone at the source.
pub const GONE: &str = "deleted";
/// Maximum number of statuses. The index of a status is one byte.
pub(super) const STATUSES: usize = 256;

/// What is known of all records of a ledger together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub(in crate::store) version: u32,
    /// The end of the last window whose records were all delivered.
    pub until: DateTime<Utc>,
    /// Time from which the archived listing still has to be read: no member that was archived before needs an
    /// opt-out anymore.
    pub archived_until: DateTime<Utc>,
    /// Whether the ledger began with a full load; otherwise it contains only records that changed since it
    /// began.
    pub whole: bool,
    /// Rows that `start_offset` left out of the full load.
    pub left_out: u64,
    /// Opt-outs of the last full load that left out no record, by consent scope: the delivery and the consent
    /// settings of its entry.
    #[serde(default)]
    pub opt_outs: BTreeMap<String, u64>,
    /// The mapping's choice for the whole list.
    pub choice: Option<String>,
    /// Whether the source's totals were found to be wrong, so that no count can be compared with them.
    #[serde(default)]
    pub totals_wrong: bool,
    /// Largest number of records that the source has returned in one answer.
    #[serde(default)]
    pub most_rows: usize,
    /// The statuses that records have or had.
    pub(in crate::store) names: Vec<String>,
    /// Number of records with a status.
    pub(in crate::store) rows: usize,
}

impl Summary {
    /// Creates the summary of a ledger that begins with a pass.
    pub(super) fn new(delivered: &Delivered<'_>) -> Self {
        Summary {
            version: VERSION,
            until: delivered.until,
            archived_until: delivered.until,
            whole: delivered.whole,
            left_out: delivered.left_out,
            opt_outs: BTreeMap::new(),
            choice: None,
            totals_wrong: false,
            most_rows: 0,
            names: vec![],
            rows: 0,
        }
    }

    /// Returns the number of records in the ledger.
    pub fn len(&self) -> u64 {
        self.rows as u64
    }

    /// Returns the opt-outs of the last full load in this consent scope, `to:<delivery> <consent>`. Without
    /// one, returns the number that an older version wrote as `<entry> <consent>`: the smallest, if several
    /// entries had the same consent settings.
    pub fn opt_outs(&self, consent_scope: &str) -> Option<u64> {
        let former = |key: &&String| !key.starts_with(DELIVERY) && consent(key) == consent(consent_scope);
        let known = self.opt_outs.get(consent_scope).copied();
        known.or_else(|| self.opt_outs.iter().filter(|(key, _)| former(key)).map(|(_, count)| *count).min())
    }

    /// Returns whether no finished pass has delivered a record yet.
    pub fn is_empty(&self) -> bool {
        self.rows == 0 && !self.whole
    }

    /// Returns what a status in the database means.
    pub(super) fn settled(&self, status: Status) -> Option<Settled> {
        let name = self.names.get(usize::from(status.index))?;
        Some(Settled { status: Arc::from(name.as_str()), rejected: status.rejected })
    }

    /// Returns whether records of this status were at the source.
    pub(super) fn is_there(&self, status: Status) -> bool {
        self.names.get(usize::from(status.index)).is_some_and(|name| name != GONE)
    }

    /// Takes over what a pass says of the ledger as a whole.
    pub(super) fn take(&mut self, delivered: Delivered<'_>) {
        let Delivered { whole, left_out, opt_outs, until, archived, choice, totals_wrong, most_rows, .. } =
            delivered;
        if whole {
            (self.whole, self.left_out) = (true, left_out);
            (self.totals_wrong, self.most_rows) = (false, 0);
            self.choice = None;
        }
        self.until = until;
        self.totals_wrong |= totals_wrong;
        self.most_rows = self.most_rows.max(most_rows);
        self.opt_outs.extend(opt_outs);
        if archived {
            self.archived_until = until;
        }
        self.choice = choice.or(self.choice.take());
    }
}

/// Prefix of a consent scope.
pub const DELIVERY: &str = "to:";

fn consent(consent_scope: &str) -> Option<&str> {
    consent_scope.split_once(' ').map(|(_, consent)| consent)
}

/// What one pass adds to the ledger.
pub struct Delivered<'a> {
    /// The records of each listing, the plain one first.
    pub seen: Vec<&'a Seen>,
    /// Whether the pass replaces the ledger because it read the whole list.
    pub whole: bool,
    pub left_out: u64,
    /// Consent scope and number of opt-outs, of a full load that left out no record.
    pub opt_outs: Option<(String, u64)>,
    pub until: DateTime<Utc>,
    /// Whether the archived listing was read too, or is known to be empty.
    pub archived: bool,
    pub choice: Option<String>,
    /// Whether the source's totals were found to be wrong.
    pub totals_wrong: bool,
    /// Largest number of records in one answer.
    pub most_rows: usize,
}

impl Delivered<'_> {
    /// Returns what a ledger begins with before the first delivery of its list: only the time from which the
    /// archived listing has to be read.
    pub fn beginning(from: DateTime<Utc>) -> Self {
        Delivered {
            seen: vec![],
            whole: false,
            left_out: 0,
            opt_outs: None,
            until: from,
            archived: true,
            choice: None,
            totals_wrong: false,
            most_rows: 0,
        }
    }

    /// Splits the statuses of the records from the rest.
    pub(super) fn split(self) -> (Statuses, Delivered<'static>) {
        let statuses = Statuses::of(&self.seen);
        let Delivered { whole, left_out, opt_outs, until, archived, choice, totals_wrong, most_rows, .. } =
            self;
        let seen = vec![];
        (
            statuses,
            Delivered { seen, whole, left_out, opt_outs, until, archived, choice, totals_wrong, most_rows },
        )
    }
}

/// Number of parts in which the records of a pass are sorted, by the first three bits of their keys.
const PARTS: u128 = 8;

/// The place of a record in the listings of a pass.
struct Place {
    /// The first half of the key, which tells nearly all keys apart.
    prefix: u64,
    listing: u32,
    index: u32,
}

/// Returns the keys of all records, with their places.
fn places<'a>(listings: &'a [&Seen]) -> impl Iterator<Item = (u128, Place)> + 'a {
    let places = |(listing, seen): (usize, &'a &Seen)| {
        let place = move |(index, (key, _)): (usize, (u128, Known))| {
            (key, Place { prefix: (key >> 64) as u64, listing: listing as u32, index: index as u32 })
        };
        seen.iter().enumerate().map(place)
    };
    listings.iter().enumerate().flat_map(places)
}

/// The statuses of the records of a pass.
#[derive(Debug, Default)]
pub(super) struct Statuses {
    names: Vec<String>,
    /// The keys of the records, sorted: those of one page of the file are then written together.
    keys: Vec<u128>,
    /// The status of each record, as an index into these names, in the order of the keys.
    statuses: Vec<Status>,
}

impl Statuses {
    /// Returns the records of these listings. Of a record in several listings the newest version counts, of two of
    /// the same second that of the later listing.
    fn of(listings: &[&Seen]) -> Self {
        let mut names = vec![];
        let mut statuses_of: Vec<Vec<u8>> = vec![];
        for seen in listings {
            statuses_of.push(seen.statuses().iter().map(|name| index_of(&mut names, name)).collect());
        }
        let all = listings.iter().map(|seen| seen.records()).sum();
        let (mut keys, mut statuses) = (Vec::with_capacity(all), Vec::with_capacity(all));
        let record = |at: &Place| listings[at.listing as usize].record(at.index as usize);
        // Sorts places instead of copies of the records, and one part of them after the other, since a list may have
        // millions.
        let mut part: Vec<Place> = vec![];
        for first in 0..PARTS {
            part.clear();
            part.extend(places(listings).filter(|(key, _)| key >> 125 == first).map(|(_, place)| place));
            part.sort_unstable_by(|a, b| {
                let order = |at: &Place| {
                    let (key, known) = record(at);
                    (key, known.second, at.listing)
                };
                a.prefix.cmp(&b.prefix).then_with(|| order(a).cmp(&order(b)))
            });
            for (at, place) in part.iter().enumerate() {
                let (key, known) = record(place);
                if part.get(at + 1).is_some_and(|next| record(next).0 == key) {
                    continue;
                }
                let index = statuses_of[place.listing as usize][usize::from(known.status)];
                keys.push(key);
                statuses.push(Status { index, rejected: known.fate.is_rejected() });
            }
        }
        Statuses { names, keys, statuses }
    }

    pub fn contains(&self, key: u128) -> bool {
        self.keys.binary_search(&key).is_ok()
    }

    /// Returns the index of each of these statuses among `names`. Adds new statuses to `names`.
    pub fn within(&self, names: &mut Vec<String>) -> Vec<u8> {
        self.names.iter().map(|name| index_of(names, name)).collect()
    }

    /// Returns the statuses by key, as indices of [`within`](Self::within).
    pub fn iter(&self, indices: &[u8]) -> impl Iterator<Item = (u128, Status)> {
        let status = |status: &Status| Status { index: indices[usize::from(status.index)], ..*status };
        self.keys.iter().copied().zip(self.statuses.iter().map(status))
    }
}

/// Returns the index of a status among the names. A status for which there is no space counts as the last
/// one.
pub(in crate::store) fn index_of(names: &mut Vec<String>, name: &str) -> u8 {
    let known = names.iter().position(|known| known == name);
    let index = known.unwrap_or_else(|| {
        if names.len() < STATUSES {
            names.push(name.to_owned());
        }
        names.len() - 1
    });
    index as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The index of a status is one byte. Further statuses of a source count as the 256th one.
    #[test]
    fn a_status_beyond_the_256th_counts_as_the_256th() {
        let mut names = Vec::new();
        let indices: Vec<u8> = (0..300).map(|n| index_of(&mut names, &n.to_string())).collect();
        assert_eq!((indices[0], indices[254], indices[255], indices[299]), (0, 254, 255, 255));
        assert_eq!((index_of(&mut names, "1"), index_of(&mut names, "299"), names.len()), (1, 255, 256));
    }
}
