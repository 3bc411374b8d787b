//! The fate of every record of a pass: used to drop records that were read twice, to count, and for the
//! checkpoint and the ledger. A fate is `sent`, `skipped` or `rejected` with its reason, or another word of
//! [`counts`](crate::base::counts).

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use chrono::{DateTime, Utc};

use super::progress::Row;
use crate::base::counts::Counts;

/// What is known of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The second of its last change.
    pub second: i64,
    /// Indices of its status and its fate in the names.
    pub status: u8,
    pub fate: u8,
}

/// The records of one listing in one pass, by the fingerprint of their key.
#[derive(Debug, Default)]
pub struct Seen {
    known: HashMap<u128, Known>,
    /// Statuses and fates, such as `subscribed` and `skipped pending`.
    names: Vec<String>,
}

/// Bytes of a row: key, second, status, fate.
const ROW: usize = 16 + 8 + 1 + 1;

/// Returns the fingerprint of a record's key. With 128 bits instead of the key, a list of a million members
/// takes some 70 MB, and two keys with the same fingerprint are not to be expected. It is MD5, since it has
/// to be the same in every process, and a collision benefits nobody.
pub fn record_key(key: &str) -> u128 {
    u128::from_be_bytes(md5::compute(key).0)
}

/// Returns the keys that occur more than once in an answer, each with the number of rows beyond the first.
pub fn repeats(keys: impl Iterator<Item = u128>) -> impl Iterator<Item = (u128, u64)> {
    let mut rows: HashMap<u128, u64> = HashMap::new();
    keys.for_each(|key| *rows.entry(key).or_default() += 1);
    rows.into_iter().map(|(key, rows)| (key, rows - 1)).filter(|(_, more)| *more > 0)
}

impl Seen {
    pub fn get(&self, key: u128) -> Option<Known> {
        self.known.get(&key).copied()
    }

    /// Returns the number of different records.
    pub fn records(&self) -> usize {
        self.known.len()
    }

    pub fn name(&self, place: u8) -> &str {
        self.names.get(usize::from(place)).map_or("", String::as_str)
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Adds a record, or replaces an older version of it.
    pub fn insert(&mut self, row: Row, status: &str, fate: &str) {
        let (status, fate) = (self.place(status), self.place(fate));
        self.known.insert(row.key, Known { second: row.second, status, fate });
    }

    /// Replaces the fate of a record.
    pub fn set_fate(&mut self, key: u128, fate: &str) {
        if self.known.contains_key(&key) {
            let fate = self.place(fate);
            self.known.entry(key).and_modify(|known| known.fate = fate);
        }
    }

    /// Returns the index of a name. A source with more than 250 different names has the further ones counted
    /// as `other`.
    fn place(&mut self, name: &str) -> u8 {
        const MOST: usize = 250;
        if let Some(place) = self.names.iter().position(|known| known == name) {
            return place as u8;
        }
        if self.names.len() <= MOST {
            self.names.push(if self.names.len() < MOST { name } else { "other" }.to_owned());
        }
        (self.names.len() - 1) as u8
    }

    /// Counts every record once, by its fate.
    pub fn count(&self, counts: &mut Counts) {
        self.known.values().for_each(|known| counts.count(self.name(known.fate)));
    }

    pub fn iter(&self) -> impl Iterator<Item = (u128, Known)> {
        self.known.iter().map(|(key, known)| (*key, *known))
    }

    /// Returns the time of the latest change of all records.
    pub fn newest(&self) -> Option<DateTime<Utc>> {
        let second = self.known.values().map(|known| known.second).max()?;
        DateTime::from_timestamp(second, 0)
    }

    /// Returns the number of different records that changed after this second.
    pub fn after(&self, second: i64) -> u64 {
        self.known.values().filter(|known| known.second > second).count() as u64
    }

    /// Returns what is known of these rows, as text for a file.
    pub fn encode(&self, rows: &[Row]) -> String {
        let mut bytes = Vec::with_capacity(rows.len() * ROW);
        for row in rows {
            let Some(known) = self.known.get(&row.key) else { continue };
            bytes.extend(row.key.to_be_bytes());
            bytes.extend(known.second.to_be_bytes());
            bytes.extend([known.status, known.fate]);
        }
        STANDARD_NO_PAD.encode(bytes)
    }

    /// Adds the rows of a text that [`Self::encode`] returned, with the names of that time. Returns the rows
    /// in their order, or `None` if the text is incomplete.
    pub fn decode(&mut self, text: &str, names: &[String]) -> Option<Vec<Row>> {
        let bytes = STANDARD_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() % ROW == 0)?;
        let mut rows = Vec::with_capacity(bytes.len() / ROW);
        for row in bytes.chunks_exact(ROW) {
            let key = u128::from_be_bytes(row[..16].try_into().ok()?);
            let second = i64::from_be_bytes(row[16..24].try_into().ok()?);
            let name = |place: u8| names.get(usize::from(place));
            self.insert(Row { key, second }, name(row[24])?, name(row[25])?);
            rows.push(Row { key, second });
        }
        Some(rows)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn encoded_rows_can_be_decoded(
            records in prop::collection::vec((any::<u128>(), any::<i64>(), 0usize..3, 0usize..3), 0..50),
            strangers in 0usize..3,
        ) {
            let (statuses, fates) = (["subscribed", "cleaned", "vip"], ["sent", "skipped pending", "rejected no_id"]);
            let mut seen = Seen::default();
            let rows: Vec<Row> = records.iter().map(|(key, second, ..)| Row { key: *key, second: *second }).collect();
            for (row, (_, _, status, fate)) in rows.iter().zip(&records) {
                seen.insert(*row, statuses[*status], fates[*fate]);
            }
            // In the next process, the names may have other indices.
            let mut again = Seen::default();
            (0..strangers).for_each(|n| again.insert(Row { key: n as u128, second: 0 }, fates[n], statuses[n]));
            let back = again.decode(&seen.encode(&rows), seen.names());
            prop_assert_eq!(back.map(|rows| rows.len()), Some(rows.len()));
            for (key, known) in seen.iter() {
                let found = again.get(key).unwrap();
                prop_assert_eq!(found.second, known.second);
                prop_assert_eq!(again.name(found.status), seen.name(known.status));
                prop_assert_eq!(again.name(found.fate), seen.name(known.fate));
            }
        }
    }

    #[test]
    fn an_incomplete_text_or_one_without_names_is_refused() {
        let mut seen = Seen::default();
        seen.insert(Row { key: 1, second: 2 }, "subscribed", "sent");
        let text = seen.encode(&[Row { key: 1, second: 2 }]);
        assert!(Seen::default().decode(&text[..text.len() - 1], seen.names()).is_none());
        assert!(Seen::default().decode(&text, &[]).is_none());
        assert!(Seen::default().decode(&text, seen.names()).is_some());
    }
}
