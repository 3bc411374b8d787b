//! Which pages are requested instead of one that was too heavy.

use std::time::Duration;

use super::*;
use crate::store::progress::Row;

/// A walk on its way down, with `pages` as offset and height, highest first.
fn walk(size: usize, pages: &[(u64, usize)]) -> Walk {
    let mut walk = Walk::new(size, 4);
    walk.stage = Stage::Down;
    for (offset, height) in pages {
        let page = walk.page(*offset, *height);
        walk.pages.push_back(page);
    }
    walk
}

fn pages(walk: &Walk) -> Vec<(u64, usize)> {
    walk.pages.iter().map(|page| (page.offset, page.height)).collect()
}

#[test]
fn a_page_is_split_from_the_top_down_and_its_parts_know_what_it_went_through() {
    for (height, most, expected) in [
        (10, 10, vec![(100, 10)]),
        (10, 11, vec![(100, 10)]),
        (10, 5, vec![(105, 5), (100, 5)]),
        (10, 4, vec![(106, 4), (102, 4), (100, 2)]),
        (3, 1, vec![(102, 1), (101, 1), (100, 1)]),
    ] {
        let mut walk = walk(100, &[(200, 20), (100, height), (90, 10)]);
        (walk.pages[1].heavies, walk.pages[1].readings) = (2, 3);
        walk.split(1, most);
        let all = [vec![(200, 20)], expected, vec![(90, 10)]].concat();
        assert_eq!(pages(&walk), all, "{height} rows in pages of {most}");
        let parts = walk.pages.iter().filter(|page| (100..200).contains(&page.offset));
        assert!(parts.clone().all(|page| (page.heavies, page.readings) == (2, 3)));
        assert!(parts.clone().all(|page| matches!(page.state, State::Due)));
        let mut ids: Vec<u64> = walk.pages.iter().map(|page| page.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), walk.pages.len(), "an answer belongs to one page");
    }
}

/// The page in the middle is too heavy; its neighbors have been requested too.
#[test]
fn only_the_page_that_was_too_heavy_is_requested_again() {
    let mut walk = walk(100, &[(300, 100), (200, 100), (100, 100)]);
    let asked: Vec<PageRequest> = std::iter::from_fn(|| walk.ask(Duration::ZERO)).take(3).collect();
    assert_eq!(walk.too_slow(asked[1]), Shrink::Halved);
    assert_eq!(pages(&walk), [(300, 100), (250, 50), (200, 50), (100, 100)]);
    let again: Vec<PageRequest> = std::iter::from_fn(|| walk.ask(Duration::ZERO)).take(2).collect();
    assert_eq!(again.iter().map(|ask| ask.span.offset).collect::<Vec<_>>(), [250, 200]);
    assert_eq!(walk.strides().0, 50, "the pages below are smaller too");
    // An earlier request of one of its neighbors fails for another reason.
    walk.again(asked[2]);
    assert_eq!(walk.ask(Duration::ZERO).map(|ask| ask.span.offset), Some(100));
    assert_eq!(walk.ask(Duration::ZERO), None);
}

/// Halvings are counted for each page: that the one above was slow is no reason to cut the window.
#[test]
fn the_window_is_cut_after_the_third_time_that_the_same_page_is_too_heavy() {
    let mut walk = walk(400, &[(400, 100), (0, 400)]);
    let (upper, lower) = (walk.ask(Duration::ZERO).unwrap(), walk.ask(Duration::ZERO).unwrap());
    assert_eq!((walk.too_slow(upper), walk.too_slow(lower)), (Shrink::Halved, Shrink::Halved));
    assert_eq!(pages(&walk), [(400, 100), (300, 100), (200, 100), (100, 100), (0, 100)]);
    let upper = walk.ask(Duration::ZERO).unwrap();
    assert_eq!((upper.span.offset, walk.too_slow(upper)), (400, Shrink::Halved));
    let upper = walk.ask(Duration::ZERO).unwrap();
    assert_eq!((upper.span.offset, walk.too_slow(upper)), (400, Shrink::Cut));
}

#[test]
fn pages_are_not_halved_below_the_least_size() {
    let mut walk = Walk::new(400, 1).at_least(150);
    let mut sizes = Vec::new();
    for _ in 0..3 {
        let ask = walk.ask(Duration::ZERO).unwrap();
        sizes.push(ask.span.count);
        walk.too_slow(ask);
    }
    assert_eq!(sizes, [400, 200, 150]);
    assert_eq!(walk.strides(), (150, 150));
}

/// The answer to a request that was made before the page was split.
#[test]
fn a_page_that_was_split_takes_no_answer_to_the_request_for_the_whole() {
    let mut walk = walk(100, &[(0, 100)]);
    let whole = walk.ask(Duration::ZERO).unwrap();
    walk.too_slow(whole);
    walk.answered(whole, vec![Row { key: 1, second: 1 }], 100, Duration::ZERO);
    assert!(walk.pages.iter().all(|page| matches!(page.state, State::Due)));
}
