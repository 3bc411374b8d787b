//! Tracks which pages of a walk are settled. No I/O.
//!
//! A page is a range of rows that one request has read. A page is *above* another if it has higher offsets. A
//! walk reads from the highest page downwards and stitches each page to the page above: the two share a row,
//! so no row between them was skipped (see [`paging::offset`](super::paging::offset)). With cursor paging,
//! pages are added as they are read, without a stitch; the pages before a page count as above it.
//!
//! A page is settled when its records, and the records of every page above it, are delivered or counted. The
//! watermark is the boundary between the settled pages and the rest. A page above the watermark is never
//! needed again.
//!
//! A record may be in several pages. Pages are read in parallel, so the record may have been read first in a
//! page below the one that is stitched now. A page therefore waits for all of its records, no matter which
//! page they were read from.

use std::collections::{VecDeque, hash_map::Entry};

use crate::base::key::KeyMap;

/// The pages of several walks, each in its order. `P` is the data of a page that is needed when it is
/// settled.
pub struct Watermark<P> {
    /// Pending records, each with the pages that wait for it, as walk and page number.
    pending: KeyMap<u128, Waits>,
    walks: Vec<Walk<P>>,
}

struct Walk<P> {
    /// Stitched pages that are not settled, in order, each with the number of its pending records. The first
    /// page has the number `first`.
    pages: VecDeque<(P, usize)>,
    first: u64,
}

/// The pages that wait for a record, as walk and page number. Usually it is one page.
#[derive(Default)]
struct Waits {
    first: Option<(usize, u64)>,
    more: Vec<(usize, u64)>,
}

impl Waits {
    fn add(&mut self, page: (usize, u64)) {
        match self.first {
            None => self.first = Some(page),
            Some(_) => self.more.push(page),
        }
    }
}

impl<P> Watermark<P> {
    pub fn new(walks: usize) -> Self {
        let walks = (0..walks).map(|_| Walk { pages: VecDeque::new(), first: 0 }).collect();
        Watermark { pending: KeyMap::default(), walks }
    }

    /// Marks a record as pending. Returns whether it was not pending before.
    pub fn sent(&mut self, key: u128) -> bool {
        let entry = self.pending.entry(key);
        let is_new = matches!(entry, Entry::Vacant(_));
        entry.or_default();
        is_new
    }

    /// Returns the number of pending records.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Adds the next stitched page of a walk; `keys` are its records, each once.
    pub fn joined(&mut self, walk: usize, page: P, keys: impl Iterator<Item = u128>) {
        let pages = &mut self.walks[walk];
        let number = pages.first + pages.pages.len() as u64;
        let mut waits = 0;
        for key in keys {
            if let Some(waits_for) = self.pending.get_mut(&key) {
                waits_for.add((walk, number));
                waits += 1;
            }
        }
        pages.pages.push_back((page, waits));
    }

    /// Returns the number of stitched pages of a walk that are not settled.
    pub fn waiting(&self, walk: usize) -> usize {
        self.walks[walk].pages.len()
    }

    /// Marks the fate of a record as known.
    pub fn settled(&mut self, key: u128) {
        let Some(Waits { first, more }) = self.pending.remove(&key) else { return };
        for (walk, number) in first.into_iter().chain(more) {
            let Walk { pages, first } = &mut self.walks[walk];
            // The watermark can't have passed a page that waits.
            pages[(number - *first) as usize].1 -= 1;
        }
    }

    /// Returns the pages that the watermark has passed since the last call, in the order of their walk.
    pub fn advance(&mut self) -> Vec<(usize, P)> {
        let mut passed = Vec::new();
        for (index, walk) in self.walks.iter_mut().enumerate() {
            while walk.pages.front().is_some_and(|(_, waits)| *waits == 0) {
                passed.extend(walk.pages.pop_front().map(|(page, _)| (index, page)));
                walk.first += 1;
            }
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Sent(u128),
        Joined(usize, Vec<u128>),
        Settled(u128),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let key = 0u128..12;
        let step = prop_oneof![
            key.clone().prop_map(Step::Sent),
            (0usize..2, prop::collection::hash_set(key.clone(), 0..5))
                .prop_map(|(walk, keys)| Step::Joined(walk, keys.into_iter().collect())),
            key.prop_map(Step::Settled),
        ];
        prop::collection::vec(step, 0..60)
    }

    #[test]
    fn a_record_is_pending_from_its_sending_until_its_fate_is_known() {
        let mut watermark: Watermark<()> = Watermark::new(1);
        assert!(watermark.sent(1) && watermark.sent(2));
        assert!(!watermark.sent(1) && watermark.pending() == 2);
        watermark.settled(1);
        assert!(watermark.pending() == 1, "one result settles a record that was sent twice");
        assert!(watermark.sent(1));
    }

    #[test]
    fn pages_wait_until_their_mark_has_passed_them() {
        let mut watermark = Watermark::new(2);
        watermark.sent(1);
        watermark.joined(1, "a", [1, 2].into_iter());
        watermark.joined(1, "b", [3].into_iter());
        watermark.joined(1, "c", [1].into_iter());
        watermark.joined(0, "d", [4].into_iter());
        assert_eq!((watermark.waiting(0), watermark.waiting(1)), (1, 3));
        assert_eq!(watermark.advance(), [(0, "d")]);
        assert_eq!((watermark.waiting(0), watermark.waiting(1)), (0, 3));
        watermark.settled(1);
        assert_eq!(watermark.waiting(1), 3, "they are settled, but not returned yet");
        assert_eq!(watermark.advance(), [(1, "a"), (1, "b"), (1, "c")]);
        assert_eq!((watermark.waiting(1), watermark.advance()), (0, vec![]));
    }

    proptest! {
        #[test]
        fn a_page_is_passed_when_all_its_records_and_those_of_the_pages_above_are_settled_and_not_before(
            steps in steps(),
        ) {
            let mut watermark = Watermark::new(2);
            // The naive model: the records for which each page waits.
            let mut pending = HashSet::new();
            let mut waiting: [Vec<(usize, HashSet<u128>)>; 2] = Default::default();
            let mut passed = [0, 0];
            let mut number = 0;
            for step in steps {
                match step {
                    Step::Sent(key) => {
                        watermark.sent(key);
                        pending.insert(key);
                    }
                    Step::Joined(walk, keys) => {
                        number += 1;
                        watermark.joined(walk, number, keys.iter().copied());
                        let waits = keys.into_iter().filter(|key| pending.contains(key)).collect();
                        waiting[walk].push((number, waits));
                    }
                    Step::Settled(key) => {
                        watermark.settled(key);
                        pending.remove(&key);
                        waiting.iter_mut().flatten().for_each(|(_, waits)| {
                            waits.remove(&key);
                        });
                    }
                }
                let advanced = watermark.advance();
                for walk in 0..2 {
                    let settled = waiting[walk].iter().skip(passed[walk]).take_while(|(_, waits)| waits.is_empty());
                    let expected: Vec<usize> = settled.map(|(number, _)| *number).collect();
                    let of_walk = advanced.iter().filter(|(of, _)| *of == walk);
                    prop_assert_eq!(of_walk.map(|(_, page)| *page).collect::<Vec<_>>(), expected.clone());
                    passed[walk] += expected.len();
                }
            }
        }
    }
}
