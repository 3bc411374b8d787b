//! What a walk requests after a crash and while a page is held, and what it reports of itself.

use std::{collections::VecDeque, time::Duration};

use super::*;

fn rows(offset: u64, count: usize) -> Vec<Row> {
    (offset..offset + count as u64).map(|key| Row { key: u128::from(key), second: key as i64 }).collect()
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A walk of 30 rows in pages of 10 with an overlap of 5, of which the highest page has joined.
fn begun(workers: usize) -> Walk {
    let mut walk = Walk::new(10, workers);
    for (offset, count) in [(0, 10), (20, 9)] {
        let ask = walk.ask(seconds(0)).unwrap();
        assert_eq!(ask.span.offset, offset);
        walk.answered(ask, rows(offset, count), 29, seconds(0));
    }
    assert_eq!(walk.joined().len(), 1);
    walk
}

#[test]
fn a_walk_is_finished_when_every_page_was_requested_and_has_joined() {
    let mut walk = Walk::new(10, 4);
    assert!(!walk.finished() && !walk.held_all_at_once(), "its end is not known");
    walk = begun(4);
    assert!(!walk.finished() && walk.pages.is_empty(), "two pages are still to be requested");
    let asks: Vec<PageRequest> = std::iter::from_fn(|| walk.ask(seconds(7))).collect();
    assert_eq!(
        asks.iter().map(|ask| (ask.span.offset, ask.at())).collect::<Vec<_>>(),
        [(10, seconds(7)), (0, seconds(7))]
    );
    assert!(!walk.finished(), "they are under way");
    for ask in asks {
        walk.answered(ask, rows(ask.span.offset, 15), 29, seconds(8));
    }
    assert!(walk.finished() && !walk.held_all_at_once());
    assert_eq!(walk.ask(seconds(9)), None);
    walk.failed = Some("is gone".into());
    assert_eq!((walk.finished(), walk.failed()), (false, Some("is gone")));
}

#[test]
fn after_a_crash_a_walk_goes_on_below_the_last_joined_page() {
    let last = Joined { offset: 20, rows: rows(20, 9), opened: 33, total: 29, cut: vec![] };
    let mut walk = Walk::new(10, 4).resume(&last, last.rows.clone(), seconds(100));
    assert_eq!((walk.opened(), walk.least(), walk.growth()), (33, 29, 0));
    assert!(!walk.finished());
    let ask = walk.ask(seconds(100)).unwrap();
    assert_eq!((ask.span.offset, ask.span.count), (10, 15));
    // It joins by a row that the page above had before the crash.
    walk.answered(ask, rows(10, 11), 40, seconds(100));
    assert_eq!(walk.joined().len(), 1);
    assert_eq!((walk.opened(), walk.least()), (33, 29), "the window was opened before the crash");
    // Totals count from a minute after the new beginning on.
    walk.answered(ask, rows(10, 11), 40, seconds(159));
    assert_eq!(walk.growth(), 0);
    walk.answered(ask, rows(10, 11), 40, seconds(160));
    assert_eq!(walk.growth(), 7);
}

/// The upper page is that of the crash, and no snapshot is taken to be newer before a minute has passed.
#[test]
fn after_a_crash_a_page_that_shares_no_row_with_the_one_above_does_not_join() {
    for (upper, at, joins) in [
        (rows(20, 9), 159, false),
        (rows(20, 9), 160, true),
        // Only empty pages had joined: nothing shows that no row stood above this page.
        (vec![], 160, false),
    ] {
        let last = Joined { offset: 20, rows: rows(20, 9), opened: 29, total: 29, cut: vec![] };
        let mut walk = Walk::new(10, 4).resume(&last, upper.clone(), seconds(100));
        let ask = walk.ask(seconds(at)).unwrap();
        walk.answered(ask, rows(900, 15), 29, seconds(at));
        assert_eq!(!walk.joined().is_empty(), joins, "{} rows above, at {at} s", upper.len());
    }
}

#[test]
fn after_a_crash_an_empty_page_that_had_joined_is_still_no_seam() {
    let last = Joined { offset: 20, rows: vec![], opened: 29, total: 29, cut: vec![] };
    let mut walk = Walk::new(10, 4).resume(&last, rows(30, 5), seconds(100));
    let ask = walk.ask(seconds(160)).unwrap();
    walk.answered(ask, rows(900, 15), 29, seconds(160));
    assert!(walk.joined().is_empty());
}

/// The page below the joined one has been read four times in vain. It waits; the pages below it do not.
#[test]
fn a_page_that_waits_for_a_newer_snapshot_holds_up_no_other_page() {
    let mut walk = begun(4);
    let (front, below) = (walk.ask(seconds(1)).unwrap(), walk.ask(seconds(1)).unwrap());
    assert_eq!((front.span.offset, below.span.offset, walk.ask(seconds(1))), (10, 0, None));
    for reading in 1..=4 {
        assert_eq!(walk.held(), None, "{reading}");
        walk.answered(PageRequest { at: seconds(1), ..front }, rows(900, 15), 29, seconds(1));
    }
    assert_eq!(walk.held(), Some(LAG));
    walk.again(below);
    assert_eq!(walk.ask(seconds(59)).map(|ask| ask.span.offset), Some(0));
    assert_eq!(walk.ask(seconds(59)), None);
    assert_eq!(walk.ask(LAG).map(|ask| ask.span.offset), Some(10));
}

#[test]
fn a_request_never_exceeds_what_the_server_gives() {
    let mut walk = begun(4);
    walk.cap = 12;
    assert_eq!(walk.ask(seconds(1)).map(|ask| ask.span.count), Some(12));
    let mut walk = Walk::new(100, 1).knowing(Server { cap: 60, proven: 60, doubts: false });
    assert_eq!(walk.ask(seconds(0)).map(|ask| ask.span.count), Some(55));
    assert_eq!(walk.server(), Server { cap: 60, proven: 60, doubts: false });
}

#[test]
fn pages_have_the_size_that_was_set_within_bounds() {
    for (size, strides, overlap) in [
        (0, (1, 1), 1),
        (1, (1, 1), 1),
        (3, (3, 1), 3),
        (100, (100, 25), 5),
        (400, (400, 100), 20),
        (1000, (950, 237), 50),
        (5000, (950, 237), 50),
    ] {
        let walk = Walk::new(size, 1);
        assert_eq!((walk.strides(), walk.overlap), (strides, overlap), "{size}");
    }
    for (least, expected) in [(0, 1), (7, 7), (500, 100)] {
        assert_eq!(Walk::new(100, 1).at_least(least).strides(), (100, expected), "{least}");
    }
}

#[test]
fn a_walk_is_told_whether_totals_are_wrong_before_it_begins() {
    assert!(!Walk::new(10, 1).totals_wrong());
    assert!(Walk::new(10, 1).distrusting(true).totals_wrong());
    assert!(!Walk::new(10, 1).distrusting(false).totals_wrong());
}

/// Pages are requested from the top down, at most twice as many as there are workers.
#[test]
fn the_lowest_page_has_the_rows_that_are_left() {
    let last = Joined { offset: 25, rows: rows(25, 9), opened: 34, total: 34, cut: vec![] };
    let mut walk = Walk::new(10, 1).resume(&last, last.rows.clone(), seconds(0));
    let mut asked = VecDeque::new();
    while let Some(ask) = walk.ask(seconds(0)) {
        asked.push_back((ask.span.offset, ask.span.count));
        if asked.len() >= 2 {
            walk.answered(ask, rows(ask.span.offset, ask.span.count), 34, seconds(0));
        }
        assert!(asked.len() < 9);
    }
    assert_eq!(asked, [(15, 15), (5, 15)], "the first one has not been answered");
    let mut walk = Walk::new(10, 2).resume(&last, last.rows.clone(), seconds(0));
    let spans: Vec<_> =
        std::iter::from_fn(|| walk.ask(seconds(0))).map(|ask| (ask.span.offset, ask.span.count)).collect();
    assert_eq!(spans, [(15, 15), (5, 15), (0, 10)]);
    let mut ids: Vec<u64> = walk.pages.iter().map(|page| page.id).collect();
    ids.dedup();
    assert!(ids.len() == 3 && !ids.contains(&0));
}
