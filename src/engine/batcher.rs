//! Groups payloads into batches across pages. Services count requests, so every batch that is not full wastes
//! one.

use std::collections::VecDeque;

/// A queue that returns full batches, and a smaller one only at the end.
pub struct Batcher<T> {
    size: usize,
    waiting: VecDeque<T>,
}

impl<T> Batcher<T> {
    /// Creates a batcher with `size` payloads per batch, at least 1.
    pub fn new(size: usize) -> Self {
        Batcher { size: size.max(1), waiting: VecDeque::new() }
    }

    pub fn push(&mut self, payload: T) {
        self.waiting.push_back(payload);
    }

    /// Returns the number of payloads per batch.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Returns the number of payloads that are in no batch yet.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.waiting.iter()
    }

    /// Returns the next full batch, in the order of arrival.
    pub fn full(&mut self) -> Option<Vec<T>> {
        (self.waiting.len() >= self.size).then(|| self.waiting.drain(..self.size).collect())
    }

    /// Returns the next batch once no more payloads will arrive; it may be smaller.
    pub fn rest(&mut self) -> Option<Vec<T>> {
        let size = self.size.min(self.waiting.len());
        (size > 0).then(|| self.waiting.drain(..size).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_payload_leaves_once_and_in_order_and_only_the_last_batch_is_smaller(
            size in 1usize..20,
            pages in prop::collection::vec(0usize..50, 0..10),
        ) {
            let mut batcher = Batcher::new(size);
            let mut batches = Vec::new();
            let mut pushed = 0;
            for page in pages {
                for _ in 0..page {
                    batcher.push(pushed);
                    pushed += 1;
                }
                batches.extend(std::iter::from_fn(|| batcher.full()));
                prop_assert!(batcher.waiting() < size);
            }
            batches.extend(std::iter::from_fn(|| batcher.rest()));
            let sizes: Vec<usize> = batches.iter().map(Vec::len).collect();
            if let Some((last, others)) = sizes.split_last() {
                prop_assert!(others.iter().all(|&len| len == size));
                prop_assert!((1..=size).contains(last));
            }
            prop_assert_eq!(batches.concat(), (0..pushed).collect::<Vec<_>>());
        }
    }
}
