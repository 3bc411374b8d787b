//! What a sink with [`Settles::AtClose`](crate::sink::Settles::AtClose) has got since its last close. Pure.

use crate::{
    base::{key::KeyMap, notice::NoticeKind},
    engine::deliver::Unclosed,
    store::records::{AcceptedDelivery, NewNotice},
};

/// Numbers of deliveries that count from now on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// Records that the sink has accepted, the unchanged ones included.
    pub accepted: u64,
    /// Records that the sink had already.
    pub unchanged: u64,
}

/// Deliveries that count once the sink is closed.
pub struct OpenDeliveries {
    /// Whether the close has to know the records, for the cache or the notices. A million of them take 170 MB.
    keeps_records: bool,
    /// The records, with what the sink has accepted of their last version. `None`: that version is in flight or was
    /// rejected.
    records: KeyMap<u128, Option<AcceptedDelivery>>,
    /// Notices about accepted versions of which the sink got a newer one.
    older: Vec<NewNotice>,
    /// Number of accepted deliveries, older versions included.
    count: Settled,
}

impl OpenDeliveries {
    pub fn new(keeps_records: bool) -> Self {
        OpenDeliveries {
            keeps_records,
            records: KeyMap::default(),
            older: Vec::new(),
            count: Settled::default(),
        }
    }

    /// Notes that these records are being sent.
    pub fn sent(&mut self, keys: impl Iterator<Item = u128>) {
        if self.keeps_records {
            self.records.extend(keys.map(|key| (key, None)));
        }
    }

    /// Records what the sink has accepted, of which it had some already.
    pub fn accepted(&mut self, accepted: Vec<AcceptedDelivery>, unchanged: u64) {
        self.count.accepted += accepted.len() as u64;
        self.count.unchanged += unchanged;
        if self.keeps_records {
            self.records.extend(accepted.into_iter().map(|accepted| (accepted.key, Some(accepted))));
        }
    }

    /// Records that a newer version of a record, with the effect `newer`, follows one that the sink has accepted.
    pub fn followed(&mut self, key: u128, newer: Option<NoticeKind>) {
        let Some(older) = self.records.get_mut(&key).and_then(Option::take) else { return };
        let Some(mut new) = older.notice else { return };
        if newer != Some(new.notice.kind) {
            // The notice is added after the newer version has ended the effect. If it were noted for the record, the
            // next notice with this effect would count as a repeat.
            new.record = None;
        }
        self.older.push(*new);
    }

    /// Returns what the close has to know. To be called once, before the close.
    pub fn take(&mut self) -> Unclosed {
        let (mut keys, mut accepted) = (Vec::with_capacity(self.records.len()), Vec::new());
        for (key, last) in std::mem::take(&mut self.records) {
            keys.push(key);
            accepted.extend(last);
        }
        Unclosed { keys, accepted, older: std::mem::take(&mut self.older) }
    }

    /// Records that the sink was closed. Returns the deliveries that count now.
    pub fn closed(self) -> Settled {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(key: u128) -> AcceptedDelivery {
        AcceptedDelivery { key, digest: 0, opted_out: false, request_id: None, notice: None }
    }

    #[test]
    fn records_are_kept_only_for_a_cache_or_notices_and_their_numbers_always() {
        for keeps in [true, false] {
            let mut open = OpenDeliveries::new(keeps);
            open.sent([1, 2, 3].into_iter());
            open.accepted(vec![accepted(1), accepted(3)], 1);
            let Unclosed { mut keys, accepted, older } = open.take();
            keys.sort_unstable();
            assert_eq!(keys, if keeps { vec![1, 2, 3] } else { vec![] });
            assert_eq!((accepted.len(), older.len()), (if keeps { 2 } else { 0 }, 0));
            assert_eq!(open.closed(), Settled { accepted: 2, unchanged: 1 });
        }
    }
}
