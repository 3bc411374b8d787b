//! Groups records into batches across pages. Services count requests, so a batch that is not full wastes one.
//! Pure: the caller passes the time.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::sink::BatchLimits;

/// A queue that returns full batches, and a smaller one when its oldest record has waited long enough or no
/// more records will arrive.
pub struct Batcher<T> {
    limits: BatchLimits,
    waiting: VecDeque<Item<T>>,
    /// Size of all records that wait.
    size: Size,
}

struct Item<T> {
    record: T,
    size: Size,
    arrived: Instant,
}

/// Size of the payloads of a record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    pub payloads: usize,
    pub bytes: usize,
}

impl Size {
    pub fn plus(self, other: Size) -> Size {
        Size { payloads: self.payloads + other.payloads, bytes: self.bytes + other.bytes }
    }

    fn minus(self, other: Size) -> Size {
        Size { payloads: self.payloads - other.payloads, bytes: self.bytes - other.bytes }
    }

    pub fn exceeds(self, limits: BatchLimits) -> bool {
        self.payloads > limits.records || limits.bytes.is_some_and(|most| self.bytes > most)
    }

    fn reaches(self, limits: BatchLimits) -> bool {
        self.payloads >= limits.records || limits.bytes.is_some_and(|most| self.bytes >= most)
    }
}

impl<T> Batcher<T> {
    /// Creates a batcher whose batches keep to `limits`. A record that exceeds them alone is a batch alone.
    pub fn new(limits: BatchLimits) -> Self {
        Batcher { limits, waiting: VecDeque::new(), size: Size::default() }
    }

    pub fn push(&mut self, record: T, size: Size, now: Instant) {
        self.size = self.size.plus(size);
        self.waiting.push_back(Item { record, size, arrived: now });
    }

    /// Returns whether more records may be queued: the queue has at most one batch of payloads per slot of the sink plus
    /// `further`, and at most one batch of bytes per slot.
    pub fn has_room(&self, further: usize) -> bool {
        let slots = self.limits.in_flight;
        let bytes = self.limits.bytes.map_or(usize::MAX, |most| most.saturating_mul(slots));
        self.size.payloads <= self.payloads_per_batch() * slots + further && self.size.bytes <= bytes
    }

    /// Returns the number of payloads in a full batch.
    pub fn payloads_per_batch(&self) -> usize {
        if self.alone() { 1 } else { self.limits.records }
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.waiting.iter().map(|item| &item.record)
    }

    /// Returns the next batch in the order of arrival: a full one, one whose oldest record has waited for
    /// `linger`, or with `rest` any.
    pub fn next(&mut self, now: Instant, rest: bool) -> Option<Vec<T>> {
        let due = rest || self.due().is_some_and(|due| due <= now);
        if !due && !self.size.reaches(self.limits) {
            return None;
        }
        let (mut records, mut size, mut closed) = (0, Size::default(), due);
        for item in &self.waiting {
            let larger = size.plus(item.size);
            if records > 0 && (self.alone() || larger.exceeds(self.limits)) {
                closed = true;
                break;
            }
            (records, size) = (records + 1, larger);
            if size.reaches(self.limits) {
                closed = true;
                break;
            }
        }
        if records == 0 || !closed {
            return None;
        }
        self.size = self.size.minus(size);
        Some(self.waiting.drain(..records).map(|item| item.record).collect())
    }

    /// Returns the time at which the oldest record has waited for `linger`; `None` if nothing waits, or if
    /// batches wait until they are full.
    pub fn due(&self) -> Option<Instant> {
        Some(self.waiting.front()?.arrived + self.limits.linger?)
    }

    fn alone(&self) -> bool {
        self.limits.linger == Some(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits(records: usize, bytes: Option<usize>, linger: Option<Duration>) -> BatchLimits {
        BatchLimits { records, bytes, in_flight: 1, linger }
    }

    const ONE: Size = Size { payloads: 1, bytes: 10 };

    proptest! {
        #[test]
        fn every_record_leaves_once_and_in_order_and_no_batch_has_room_for_the_next_record(
            records in 1usize..20,
            bytes in prop::option::of(1usize..100),
            pages in prop::collection::vec(prop::collection::vec((1usize..4, 0usize..40), 0..30), 0..10),
        ) {
            let limits = limits(records, bytes, None);
            let mut batcher = Batcher::new(limits);
            let (mut batches, mut pushed, now) = (Vec::new(), Vec::new(), Instant::now());
            for page in pages {
                for (payloads, bytes) in page {
                    let size = Size { payloads, bytes };
                    batcher.push((pushed.len(), size), size, now);
                    pushed.push(size);
                }
                batches.extend(std::iter::from_fn(|| batcher.next(now, false)));
            }
            batches.extend(std::iter::from_fn(|| batcher.next(now, true)));
            prop_assert!(batcher.is_empty() && batcher.size == Size::default());
            let size = |batch: &[(usize, Size)]| batch.iter().fold(Size::default(), |all, (_, one)| all.plus(*one));
            for pair in batches.windows(2) {
                let (this, next) = (size(&pair[0]), pair[1][0].1);
                prop_assert!(this.reaches(limits) || this.plus(next).exceeds(limits), "it has room");
            }
            prop_assert!(batches.iter().all(|batch| batch.len() == 1 || !size(batch).exceeds(limits)));
            let left: Vec<usize> = batches.concat().iter().map(|(number, _)| *number).collect();
            prop_assert_eq!(left, (0..pushed.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_batch_that_is_not_full_leaves_when_its_oldest_record_has_waited_for_linger() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut batcher = Batcher::new(limits(10, None, Some(5 * second)));
        assert_eq!(batcher.due(), None);
        batcher.push("a", ONE, start);
        batcher.push("b", ONE, start + 4 * second);
        assert_eq!(batcher.due(), Some(start + 5 * second));
        assert_eq!(batcher.next(start + 4 * second, false), None);
        assert_eq!(batcher.next(start + 5 * second, false), Some(vec!["a", "b"]));
        assert_eq!((batcher.next(start + 90 * second, false), batcher.due()), (None, None));
    }

    #[test]
    fn with_a_linger_of_zero_every_record_leaves_alone_and_at_once() {
        let now = Instant::now();
        let mut batcher = Batcher::new(limits(10, None, Some(Duration::ZERO)));
        for record in ["a", "b", "c"] {
            batcher.push(record, Size { payloads: 2, ..ONE }, now);
        }
        let batches: Vec<_> = std::iter::from_fn(|| batcher.next(now, false)).collect();
        assert_eq!(batches, [["a"], ["b"], ["c"]]);
    }

    #[test]
    fn pages_are_read_while_the_waiting_records_fill_no_more_than_a_round_of_batches_and_some_pages() {
        let now = Instant::now();
        for (limits, further, room) in [
            (limits(3, None, None), 0, 4),
            (limits(3, None, None), 5, 9),
            (limits(100, Some(30), None), 5, 4),
        ] {
            let mut batcher = Batcher::new(limits);
            let pushed = std::iter::from_fn(|| batcher.has_room(further).then(|| batcher.push((), ONE, now)));
            assert_eq!(pushed.count(), room, "{limits:?}");
        }
    }
}
