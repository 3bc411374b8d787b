//! The fate of every record of a pass: used to drop records that were read twice, to count, and for the
//! checkpoint and the ledger.

use std::hash::BuildHasher;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use chrono::{DateTime, Utc};
use hashbrown::HashTable;

use super::progress::Row;
use crate::base::{
    counts::Counts,
    fate::Fate,
    key::{KeyHasher, KeyMap, KeySet},
};

/// What is known of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The second of its last change.
    pub second: i64,
    /// Index of its status; see [`Seen::status`].
    pub status: u8,
    pub fate: Fate,
}

/// The records of one listing in one pass, by the digest of their key. A record takes some 42 bytes.
#[derive(Debug, Default)]
pub struct Seen {
    records: Vec<SeenRecord>,
    /// The index of each record.
    indices: HashTable<u32>,
    hashing: KeyHasher,
    /// Statuses that records have or had, such as `subscribed`.
    statuses: Vec<String>,
    /// Fates that records have or had. Where there is no space for one, its form with the reason `other` is
    /// here instead.
    fates: Vec<Fate>,
}

#[derive(Debug)]
struct SeenRecord {
    key: u128,
    known: Known,
}

/// Maximum number of different statuses and fates of a listing, after which new ones become `other`. Ten names
/// are still added then: the status `other`, the seven fates without a reason, and the two with the reason
/// `other`. With them a line has at most 250 names: their index is one byte, and earlier versions read no
/// more than 250.
const NAMES: usize = 240;

/// Status of records whose own status has no space.
const OTHER: &str = "other";

/// Bytes of a row: key, second, status, fate.
const ROW: usize = 16 + 8 + 1 + 1;

/// Returns the keys that occur more than once in an answer, each with the number of rows beyond the first.
pub fn repeats(keys: impl Iterator<Item = u128>) -> impl Iterator<Item = (u128, u64)> {
    let mut known = KeySet::with_capacity_and_hasher(keys.size_hint().0, KeyHasher::default());
    let mut repeated: KeyMap<u128, u64> = KeyMap::default();
    keys.filter(|key| !known.insert(*key)).for_each(|key| *repeated.entry(key).or_default() += 1);
    repeated.into_iter()
}

impl Seen {
    fn index(&self, key: u128) -> Option<usize> {
        let is = |index: &u32| self.records[*index as usize].key == key;
        self.indices.find(self.hashing.hash_one(key), is).map(|index| *index as usize)
    }

    pub fn get(&self, key: u128) -> Option<Known> {
        self.index(key).map(|index| self.records[index].known)
    }

    /// Returns the number of different records.
    pub fn records(&self) -> usize {
        self.records.len()
    }

    /// Returns the record of this index, in the order in which they were read.
    pub fn record(&self, index: usize) -> (u128, Known) {
        let SeenRecord { key, known } = &self.records[index];
        (*key, *known)
    }

    /// Returns the fates of the records, in the order in which they were read.
    pub fn fates(&self) -> impl Iterator<Item = Fate> {
        self.records.iter().map(|record| record.known.fate)
    }

    /// Returns the statuses, by their indices.
    pub fn statuses(&self) -> &[String] {
        &self.statuses
    }

    /// Returns the status of this index.
    pub fn status(&self, index: u8) -> &str {
        self.statuses.get(usize::from(index)).map_or("", String::as_str)
    }

    /// Adds a record, or replaces an older version of it.
    pub fn insert(&mut self, row: Row, status: &str, fate: Fate) {
        let status = self.status_index(status);
        self.note(fate);
        let known = Known { second: row.second, status, fate };
        match self.index(row.key) {
            Some(index) => self.records[index].known = known,
            None => self.add(SeenRecord { key: row.key, known }),
        }
    }

    fn add(&mut self, record: SeenRecord) {
        let Seen { records, indices, hashing, .. } = self;
        // The index can't overflow: 4 billion records would need 170 GB.
        let (hash, index) = (hashing.hash_one(record.key), records.len() as u32);
        records.push(record);
        indices.insert_unique(hash, index, |index| hashing.hash_one(records[*index as usize].key));
    }

    /// Replaces the fate of a record.
    pub fn set_fate(&mut self, key: u128, fate: Fate) {
        if let Some(index) = self.index(key) {
            self.records[index].known.fate = fate;
            self.note(fate);
        }
    }

    fn has_space(&self) -> bool {
        self.statuses.len() + self.fates.len() < NAMES
    }

    /// Returns the index of a status; that of `other` if there is no space for another one.
    fn status_index(&mut self, status: &str) -> u8 {
        let index = |statuses: &[String], status| statuses.iter().position(|known| known == status);
        if let Some(known) = index(&self.statuses, status) {
            return known as u8;
        }
        let status = if self.has_space() { status } else { OTHER };
        index(&self.statuses, status).unwrap_or_else(|| {
            self.statuses.push(status.to_owned());
            self.statuses.len() - 1
        }) as u8
    }

    /// Adds a fate to those that the checkpoint names.
    fn note(&mut self, fate: Fate) {
        if self.fates.contains(&fate) {
            return;
        }
        let fate = if self.has_space() { fate } else { fate.with_other_reason() };
        if !self.fates.contains(&fate) {
            self.fates.push(fate);
        }
    }

    /// Returns the index of a fate among the names of a line.
    fn fate_index(&self, fate: Fate) -> u8 {
        let index = |fate| self.fates.iter().position(|known| *known == fate);
        let noted = index(fate).or_else(|| index(fate.with_other_reason())).unwrap_or_default();
        (self.statuses.len() + noted) as u8
    }

    /// Counts every record once, by its fate.
    pub fn count(&self, counts: &mut Counts) {
        self.records.iter().for_each(|record| counts.count(record.known.fate));
    }

    pub fn iter(&self) -> impl Iterator<Item = (u128, Known)> {
        self.records.iter().map(|record| (record.key, record.known))
    }

    /// Returns the time of the latest change of all records.
    pub fn newest(&self) -> Option<DateTime<Utc>> {
        let second = self.records.iter().map(|record| record.known.second).max()?;
        DateTime::from_timestamp(second, 0)
    }

    /// Returns the number of different records that changed after this second.
    pub fn after(&self, second: i64) -> u64 {
        self.records.iter().filter(|record| record.known.second > second).count() as u64
    }

    /// Returns what is known of these rows, for a line of the checkpoint: the names of statuses and fates, and
    /// a text that refers to them by their indices. Without rows there are no names.
    pub fn encode(&self, rows: &[Row]) -> (Vec<String>, String) {
        let mut bytes = Vec::with_capacity(rows.len() * ROW);
        for row in rows {
            let Some(known) = self.get(row.key) else { continue };
            bytes.extend(row.key.to_be_bytes());
            bytes.extend(known.second.to_be_bytes());
            bytes.extend([known.status, self.fate_index(known.fate)]);
        }
        let fates = self.fates.iter().map(Fate::to_string);
        let names =
            if rows.is_empty() { vec![] } else { self.statuses.iter().cloned().chain(fates).collect() };
        (names, STANDARD_NO_PAD.encode(bytes))
    }

    /// Adds the rows of a text that [`Self::encode`] returned, with its names. Returns the rows in their order,
    /// or `None` if the text is incomplete or refers to a name that is missing.
    pub fn decode(&mut self, text: &str, names: &[String]) -> Option<Vec<Row>> {
        let bytes = STANDARD_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() % ROW == 0)?;
        // Earlier versions mix statuses and fates, so any name can be either.
        let fates: Vec<Fate> = names.iter().map(|name| Fate::parse(name)).collect();
        let mut rows = Vec::with_capacity(bytes.len() / ROW);
        for row in bytes.chunks_exact(ROW) {
            let key = u128::from_be_bytes(row[..16].try_into().ok()?);
            let second = i64::from_be_bytes(row[16..24].try_into().ok()?);
            let (status, fate) = (names.get(usize::from(row[24]))?, fates.get(usize::from(row[25]))?);
            self.insert(Row { key, second }, status, *fate);
            rows.push(Row { key, second });
        }
        Some(rows)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::fate::Effect;

    /// The fates that have no reason.
    const PLAIN: [Fate; 7] = [
        Fate::Sent(Effect::None),
        Fate::Sent(Effect::OptOut),
        Fate::Sent(Effect::OptOutAgain),
        Fate::Sent(Effect::OptIn),
        Fate::Sent(Effect::Deletion),
        Fate::Unchanged,
        Fate::Outdated,
    ];

    fn row(key: usize) -> Row {
        Row { key: key as u128, second: 0 }
    }

    /// Returns key, status and fate of every row of a line, read by the format alone, as earlier versions do.
    fn read(names: &[String], text: &str) -> Vec<(u128, String, String)> {
        let bytes = STANDARD_NO_PAD.decode(text).unwrap();
        let name = |index: u8| names[usize::from(index)].clone();
        let row =
            |row: &[u8]| (u128::from_be_bytes(row[..16].try_into().unwrap()), name(row[24]), name(row[25]));
        bytes.chunks(ROW).map(row).collect()
    }

    proptest! {
        #[test]
        fn encoded_rows_can_be_decoded(
            records in prop::collection::vec((any::<u128>(), any::<i64>(), 0usize..3, 0usize..3), 0..50),
            strangers in 0usize..3,
        ) {
            let statuses = ["subscribed", "cleaned", "vip"];
            let fates = [Fate::Sent(Effect::None), Fate::skipped("pending"), Fate::rejected("no_id")];
            let mut seen = Seen::default();
            let rows: Vec<Row> = records.iter().map(|(key, second, ..)| Row { key: *key, second: *second }).collect();
            for (row, (_, _, status, fate)) in rows.iter().zip(&records) {
                seen.insert(*row, statuses[*status], fates[*fate]);
            }
            // In the next process, the statuses may have other indices.
            let mut again = Seen::default();
            (0..strangers).for_each(|n| again.insert(row(n), statuses[2 - n], fates[2 - n]));
            let (names, text) = seen.encode(&rows);
            let back = again.decode(&text, &names);
            prop_assert_eq!(back.map(|rows| rows.len()), Some(rows.len()));
            for (key, known) in seen.iter() {
                let found = again.get(key).unwrap();
                prop_assert_eq!((found.second, found.fate), (known.second, known.fate));
                prop_assert_eq!(again.status(found.status), seen.status(known.status));
            }
            for (key, status, fate) in read(&names, &text) {
                let known = seen.get(key).unwrap();
                prop_assert_eq!((status.as_str(), fate), (seen.status(known.status), known.fate.to_string()));
            }
        }
    }

    #[test]
    fn an_incomplete_text_or_one_without_names_is_refused() {
        let mut seen = Seen::default();
        seen.insert(Row { key: 1, second: 2 }, "subscribed", Fate::Sent(Effect::None));
        let (names, text) = seen.encode(&[Row { key: 1, second: 2 }]);
        assert!(Seen::default().decode(&text[..text.len() - 1], &names).is_none());
        assert!(Seen::default().decode(&text, &[]).is_none());
        assert!(Seen::default().decode(&text, &names[..1]).is_none());
        assert!(Seen::default().decode(&text, &names).is_some());
    }

    /// Names and rows as an earlier version wrote them: statuses and fates in the order in which they occurred.
    #[test]
    fn the_rows_of_an_earlier_version_are_read() {
        let names =
            ["subscribed", "sent", "pending", "skipped pending", "sent opt_out", "other", "sent later"];
        let fates =
            [Fate::Sent(Effect::None), Fate::skipped("pending"), Fate::Sent(Effect::OptOut), Fate::Outdated];
        let mut bytes = Vec::new();
        for (key, status, fate) in [(1u128, 0, 1), (2, 2, 3), (3, 0, 4), (4, 5, 5)] {
            bytes.extend(key.to_be_bytes());
            bytes.extend(7i64.to_be_bytes());
            bytes.extend([status, fate]);
        }
        let mut seen = Seen::default();
        let rows = seen.decode(&STANDARD_NO_PAD.encode(bytes), &names.map(str::to_owned)).unwrap();
        assert_eq!(rows, [1, 2, 3, 4].map(|key| Row { key, second: 7 }));
        let known = rows.iter().map(|row| seen.get(row.key).unwrap());
        let found: Vec<_> = known.map(|known| (seen.status(known.status), known.fate)).collect();
        let statuses = ["subscribed", "pending", "subscribed", "other"];
        assert_eq!(found, statuses.into_iter().zip(fates).collect::<Vec<_>>());
    }

    #[test]
    fn a_line_names_all_statuses_and_fates_so_far_and_without_rows_none() {
        let mut seen = Seen::default();
        seen.insert(row(1), "subscribed", Fate::Sent(Effect::None));
        seen.insert(row(2), "pending", Fate::skipped("pending"));
        seen.set_fate(1, Fate::rejected("refused"));
        seen.set_fate(3, Fate::Unchanged);
        let (names, text) = seen.encode(&[row(1)]);
        assert_eq!(names, ["subscribed", "pending", "sent", "skipped pending", "rejected refused"]);
        assert_eq!(read(&names, &text), [(1, "subscribed".into(), "rejected refused".into())]);
        assert_eq!(seen.encode(&[]), (vec![], String::new()));
    }

    /// Earlier versions read 250 names of a listing. Whichever come first, the kinds of the fates stay as they
    /// are; statuses and reasons without a place become `other`.
    #[test]
    fn more_statuses_and_reasons_than_a_line_can_name_become_other() {
        let reason = |n: usize| Fate::parse(&format!("{} many_{n}", ["skipped", "rejected"][n % 2]));
        for (statuses, reasons, too_many) in
            [(300, 0, false), (300, 300, true), (0, 300, true), (115, 115, false), (125, 125, true)]
        {
            let mut seen = Seen::default();
            let status = |n: usize| format!("status_{n}");
            (0..statuses).for_each(|n| seen.insert(row(n), &status(n), PLAIN[0]));
            (0..reasons).for_each(|n| seen.insert(row(1000 + n), "subscribed", reason(n)));
            (0..7).for_each(|n| seen.insert(row(2000 + n), "subscribed", PLAIN[n]));
            let rows: Vec<Row> = seen.iter().map(|(key, _)| Row { key, second: 0 }).collect();
            let (names, text) = seen.encode(&rows);
            assert!(names.len() <= 250, "{} names for {statuses} statuses, {reasons} reasons", names.len());
            let mut others = 0;
            for (key, status, fate) in read(&names, &text) {
                let known = seen.get(key).unwrap();
                assert_eq!(status, seen.status(known.status));
                others += usize::from(fate != known.fate.to_string());
                assert!([known.fate, known.fate.with_other_reason()].contains(&Fate::parse(&fate)), "{fate}");
                assert!(names.len() >= 240 || Fate::parse(&fate) == known.fate, "there was space for {fate}");
            }
            assert_eq!(others > 0, too_many, "{statuses} statuses, {reasons} reasons");
            let mut again = Seen::default();
            assert!(again.decode(&text, &names).is_some());
            let (mut before, mut after) = (Counts::default(), Counts::default());
            seen.count(&mut before);
            again.count(&mut after);
            let sum = |counts: &Counts| {
                let [skipped, rejected] =
                    [&counts.skipped, &counts.rejected].map(|all| all.values().sum::<u64>());
                (counts.sent, counts.opt_outs, counts.unchanged, counts.superseded, skipped, rejected)
            };
            assert_eq!(sum(&before), sum(&after));
        }
    }
}
