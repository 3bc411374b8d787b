//! Sizes of pages for servers that cap their answers.

use super::*;
use crate::store::progress::Server;

/// A walk with pages of `size` rows, an overlap of `overlap`, and a server that gives `cap` rows.
fn fitted(size: usize, overlap: usize, cap: usize) -> Walk {
    let mut walk = Walk::new(size, 1);
    walk.overlap = overlap;
    walk.fit(cap);
    walk
}

#[test]
fn a_page_and_its_overlap_fit_into_one_answer() {
    for (size, overlap, cap, (stride, shared)) in [
        // A twentieth of an answer overlaps, at least 5 rows, but never more than a fifth.
        (900, 45, 400, (380, 20)),
        (900, 45, 100, (95, 5)),
        (900, 45, 20, (16, 4)),
        (900, 45, 3, (2, 1)),
        (900, 45, 2, (1, 1)),
        // What is small enough stays.
        (50, 5, 100, (50, 5)),
        (50, 1, 52, (50, 1)),
    ] {
        let walk = fitted(size, overlap, cap);
        assert_eq!((walk.stride, walk.overlap, walk.cap), (stride, shared, cap), "{size} in {cap}");
        assert!(walk.least_stride <= walk.stride && walk.stride + walk.overlap <= cap);
        assert_eq!(walk.failed(), None);
    }
}

#[test]
fn a_server_that_gives_one_row_in_an_answer_cannot_be_walked() {
    let walk = fitted(100, 5, 1);
    assert_eq!(walk.failed(), Some("returns only one row per answer, so pages can't overlap"));
    assert_eq!(fitted(100, 5, 0).failed(), walk.failed());
}

/// An answer that was cut off at 100 rows stays known when a longer one follows.
#[test]
fn a_cap_only_falls() {
    let mut walk = fitted(900, 45, 100);
    let before = (walk.stride, walk.overlap, walk.cap);
    walk.fit(100);
    walk.fit(500);
    assert_eq!((walk.stride, walk.overlap, walk.cap), before);
}

#[test]
fn the_limits_of_two_listings_are_those_of_the_stricter_one() {
    let (a, b) =
        (Server { cap: 100, proven: 30, doubts: false }, Server { cap: 200, proven: 50, doubts: true });
    assert_eq!(a.and(b), Server { cap: 100, proven: 50, doubts: false });
    assert_eq!(b.and(a), Server { cap: 100, proven: 50, doubts: true });
}
