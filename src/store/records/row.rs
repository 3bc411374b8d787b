//! The bytes of one record in the database: its status in the ledger and its cached delivery. Pure.

use std::{io::Write, sync::Arc};

use chrono::DateTime;

use super::delivery::{CachedDelivery, Change, Sent};
use crate::base::fate::Fate;

/// Version of the format, in the upper half of the first byte.
const VERSION: u8 = 1;
/// Flags in the lower half of the first byte.
const SETTLED: u8 = 1;
const REJECTED: u8 = 2;
const CACHED: u8 = 4;
/// Flags of a cached delivery.
const HAS_DIGEST: u8 = 1;
const OPTED_OUT: u8 = 2;
const WAS_SENT: u8 = 4;
/// Bytes of a row without a cached delivery.
const HEAD: usize = 2;
/// Bytes of a typical row with one, for which space is reserved.
const TYPICAL: usize = 96;

/// The last known version of a record, with the index of its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Status {
    /// Index of the status among the names of the summary.
    pub index: u8,
    pub rejected: bool,
}

/// One record in the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::store) struct Row {
    /// `None` if no finished pass has settled the record.
    pub status: Option<Status>,
    /// The cached delivery, with the generation of the cache in which it was written.
    pub cached: Option<(u32, CachedDelivery)>,
}

impl Row {
    /// Returns the cached delivery, unless the cache was cleared since.
    pub fn cached_in(&self, generation: u32) -> Option<&CachedDelivery> {
        self.cached.as_ref().filter(|(written, _)| *written == generation).map(|(_, cached)| cached)
    }

    /// Applies a change to the cached delivery.
    pub fn apply(&mut self, change: &Change, generation: u32) {
        self.cached = Some((generation, change.over(self.cached_in(generation))));
    }

    /// Returns whether nothing is known of the record.
    pub fn is_empty(&self) -> bool {
        self.status.is_none() && self.cached.is_none()
    }

    /// Returns the bytes of the row.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(if self.cached.is_some() { TYPICAL } else { HEAD });
        self.write_to(&mut bytes);
        bytes
    }

    /// Adds the bytes of the row to others. A row without a cached delivery has two.
    pub fn write_to(&self, bytes: &mut Vec<u8>) {
        let status = self.status.unwrap_or(Status { index: 0, rejected: false });
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let flags = flag(self.status.is_some(), SETTLED)
            | flag(status.rejected, REJECTED)
            | flag(self.cached.is_some(), CACHED);
        let head: [u8; HEAD] = [VERSION << 4 | flags, status.index];
        bytes.extend(head);
        let Some((generation, CachedDelivery { sent, seen, fate })) = &self.cached else { return };
        let digest = sent.as_ref().and_then(|sent| sent.digest);
        let opted_out = sent.as_ref().is_some_and(|sent| sent.opted_out);
        bytes.extend(generation.to_le_bytes());
        bytes.push(
            flag(digest.is_some(), HAS_DIGEST) | flag(opted_out, OPTED_OUT) | flag(sent.is_some(), WAS_SENT),
        );
        bytes.extend(seen.timestamp_millis().to_le_bytes());
        if let Some(Sent { at, request_id, .. }) = sent {
            bytes.extend(digest.iter().flat_map(|digest| digest.to_le_bytes()));
            bytes.extend(at.timestamp_millis().to_le_bytes());
            let request_id = shortened(request_id);
            bytes.push(request_id.len() as u8);
            bytes.extend(request_id.as_bytes());
        }
        // Writing to memory can't fail.
        let _ = write!(bytes, "{fate}");
    }

    /// Returns the row with these bytes; `None` if they are of another version or incomplete.
    pub fn decode(bytes: &[u8]) -> Option<Row> {
        let mut bytes = Bytes(bytes);
        let (flags, index) = (bytes.byte()?, bytes.byte()?);
        if flags >> 4 != VERSION {
            return None;
        }
        let status = (flags & SETTLED != 0).then_some(Status { index, rejected: flags & REJECTED != 0 });
        let cached = if flags & CACHED == 0 { None } else { Some(bytes.cached()?) };
        Some(Row { status, cached })
    }
}

/// Longest identifier of a request that is stored, in bytes. It is shown to people only.
const LONGEST: usize = u8::MAX as usize;

fn shortened(request_id: &str) -> &str {
    let end = (0..=LONGEST.min(request_id.len())).rev().find(|end| request_id.is_char_boundary(*end));
    &request_id[..end.unwrap_or_default()]
}

/// The bytes that are still to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn cached(&mut self) -> Option<(u32, CachedDelivery)> {
        let (generation, flags) = (u32::from_le_bytes(self.array()?), self.byte()?);
        let time = |millis: [u8; 8]| DateTime::from_timestamp_millis(i64::from_le_bytes(millis));
        let seen = time(self.array()?)?;
        let sent = if flags & WAS_SENT == 0 {
            None
        } else {
            let digest =
                if flags & HAS_DIGEST == 0 { None } else { Some(u128::from_le_bytes(self.array()?)) };
            let at = time(self.array()?)?;
            let length = self.byte()?;
            let request_id: Arc<str> = std::str::from_utf8(self.take(length.into())?).ok()?.into();
            Some(Sent { digest, opted_out: flags & OPTED_OUT != 0, at, request_id })
        };
        let fate = Fate::parse(std::str::from_utf8(self.0).ok()?);
        Some((generation, CachedDelivery { sent, seen, fate }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::fate::Effect;

    fn cached() -> impl Strategy<Value = (u32, CachedDelivery)> {
        let time = || (0i64..4_000_000_000_000).prop_map(|ms| DateTime::from_timestamp_millis(ms).unwrap());
        let sent = (any::<Option<u128>>(), any::<bool>(), time(), "[a-zé-]{0,40}").prop_map(
            |(digest, opted_out, at, id)| Sent { digest, opted_out, at, request_id: id.as_str().into() },
        );
        let fate = prop_oneof![
            Just(Fate::Sent(Effect::None)),
            Just(Fate::Unchanged),
            Just(Fate::skipped("pending")),
            Just(Fate::rejected("no_id")),
        ];
        let cached = (prop::option::of(sent), time(), fate).prop_map(|(sent, seen, fate)| CachedDelivery {
            sent,
            seen,
            fate,
        });
        (any::<u32>(), cached)
    }

    fn rows() -> impl Strategy<Value = Row> {
        let status = (any::<u8>(), any::<bool>()).prop_map(|(index, rejected)| Status { index, rejected });
        (prop::option::of(status), prop::option::of(cached()))
            .prop_map(|(status, cached)| Row { status, cached })
    }

    proptest! {
        #[test]
        fn a_row_that_is_written_is_read_as_itself(row in rows()) {
            prop_assert_eq!(Row::decode(&row.encode()), Some(row));
        }

        /// A row that ends early is no row, except within the text of its fate.
        #[test]
        fn an_incomplete_row_is_none(row in rows()) {
            let bytes = row.encode();
            let text = row.cached.as_ref().map_or(0, |(_, cached)| cached.fate.to_string().len());
            for len in 0..bytes.len() - text {
                prop_assert_eq!(Row::decode(&bytes[..len]), None);
            }
        }

        #[test]
        fn any_bytes_are_a_row_or_none(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Row::decode(&bytes);
        }
    }

    #[test]
    fn a_row_of_the_ledger_has_two_bytes_and_another_version_is_none() {
        let status = Some(Status { index: 7, rejected: true });
        assert_eq!(Row { status, cached: None }.encode(), [0x13, 7]);
        assert_eq!(Row::decode(&[0x23, 7]), None);
        assert!(Row::default().is_empty());
    }

    #[test]
    fn a_long_request_id_is_cut_at_a_character() {
        let id = format!("{}é", "a".repeat(254));
        assert_eq!(shortened(&id).len(), 254);
        assert_eq!(shortened("r-1"), "r-1");
    }
}
