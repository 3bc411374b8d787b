//! What one answer shows.

use super::*;
use crate::store::progress::{MOST, Server};

fn rows(offset: u64, count: u64) -> Vec<Row> {
    (offset..offset + count).map(|key| Row { key: u128::from(key), second: key as i64 }).collect()
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A walk on its way down from row 30, in pages of 10 with an overlap of 5, before any page has joined.
fn down() -> Walk {
    let mut walk = Walk::new(10, 4);
    (walk.stage, walk.unread, walk.first) = (Stage::Down, 30, false);
    (walk.opened, walk.total, walk.most) = (50, 50, 50);
    walk
}

#[test]
fn an_answer_that_has_the_last_row_reaches_the_total_and_is_not_doubted() {
    let (searching, walking) = (true, false);
    for (phase, offset, rows, total, proven, doubts, expected) in [
        // Further down, the total decides.
        (walking, 20, 7, 27, 0, true, true),
        (walking, 20, 7, 28, 9, true, false),
        (walking, 20, 7, 26, 9, true, false),
        (walking, 20, 10, 30, 10, true, true),
        // At the bottom and at the top, the total may be the number of rows in the answer.
        (walking, 0, 7, 7, 9, true, true),
        (walking, 0, 7, 7, 7, true, false),
        (walking, 0, 7, 7, 0, true, false),
        (walking, 0, 7, 8, 9, true, false),
        (searching, 20, 7, 27, 9, true, true),
        (searching, 20, 7, 27, 7, true, false),
        (searching, 20, 7, 27, 0, true, false),
        // No answer is known, and the length is no round number.
        (walking, 0, 7, 7, 0, false, true),
        (walking, 0, 10, 10, 0, false, false),
        (searching, 20, 7, 27, 0, false, true),
        (searching, 20, 10, 30, 0, false, false),
        // The longest answer yet may have been cut off.
        (walking, 0, 7, 7, 3, false, false),
        (walking, 0, 7, 7, 8, false, true),
        // An empty answer is never cut off.
        (walking, 0, 0, 0, 0, true, true),
        (searching, 20, 0, 20, 0, true, true),
        (searching, 20, 0, 21, 0, true, false),
    ] {
        let mut walk = if phase == searching { Walk::new(10, 1) } else { down() };
        (walk.proven, walk.doubts) = (proven, doubts);
        let case =
            format!("searching: {phase}, {offset} + {rows} of {total}, {proven} proven, doubts: {doubts}");
        assert_eq!(walk.reaches_the_end(offset, rows, total), expected, "{case}");
    }
}

#[test]
fn where_totals_are_wrong_only_an_answer_on_the_way_down_that_is_shorter_than_others_ends_the_listing() {
    for (rows, proven, total, expected) in
        [(7, 8, 0, true), (7, 8, 27, true), (7, 7, 27, false), (7, 0, 27, false)]
    {
        let mut walk = down().distrusting(true);
        walk.proven = proven;
        assert_eq!(walk.reaches_the_end(20, rows, total), expected, "{rows} {proven} {total}");
        let mut walk = Walk::new(10, 1).distrusting(true);
        walk.proven = proven;
        assert!(!walk.reaches_the_end(20, rows, total), "a probe decides: {rows} {proven} {total}");
    }
}

#[test]
fn more_rows_than_its_own_total_show_that_totals_are_wrong() {
    for (offset, count, total, wrong) in
        [(20, 5, 25, false), (20, 5, 24, true), (20, 5, 26, false), (20, 0, 10, false)]
    {
        let mut walk = down();
        walk.unread = offset + 10;
        let ask = walk.ask(seconds(0)).unwrap();
        assert_eq!(ask.span.offset, offset);
        walk.answered(ask, rows(offset, count), total, seconds(0));
        assert_eq!(walk.totals_wrong(), wrong, "{count} rows from {offset} of {total}");
        // One answer is enough.
        let ask = walk.ask(seconds(0)).unwrap();
        walk.answered(ask, rows(ask.span.offset, 5), 1000, seconds(0));
        assert_eq!(walk.totals_wrong(), wrong);
    }
}

/// The highest page of the walk, with 15 rows requested from offset 20.
#[test]
fn only_an_answer_that_is_shorter_than_requested_ends_a_listing() {
    for (count, total, ends) in [(14, 34, true), (15, 35, false), (14, 35, false)] {
        let mut walk = down();
        let ask = walk.ask(seconds(0)).unwrap();
        assert_eq!((ask.span.offset, ask.span.count), (20, 15));
        assert_eq!(walk.answered(ask, rows(20, count), total, seconds(0)), Rows::Take);
        assert_eq!(walk.joined().len(), usize::from(ends), "{count} rows of {total}");
    }
}

#[test]
fn an_answer_belongs_to_the_page_that_it_was_requested_for() {
    let mut walk = down();
    let asks: Vec<PageRequest> = std::iter::from_fn(|| walk.ask(seconds(1))).collect();
    assert_eq!(asks.iter().map(|ask| ask.span.offset).collect::<Vec<_>>(), [20, 10, 0]);
    // The lowest page comes first, and waits.
    walk.answered(asks[2], rows(0, 15), 30, seconds(2));
    assert!(walk.joined().is_empty());
    assert_eq!(walk.pages.iter().map(|page| page.readings).collect::<Vec<_>>(), [0, 0, 1]);
    walk.answered(asks[0], rows(20, 10), 30, seconds(3));
    let upper = walk.upper.as_ref().unwrap();
    assert_eq!((upper.asked, upper.answered, upper.wanted), (seconds(1), seconds(3), 15));
    assert!(!upper.lowest && upper.ends);
    walk.answered(asks[1], rows(10, 15), 30, seconds(4));
    assert_eq!(walk.joined().iter().map(|page| page.offset).collect::<Vec<_>>(), [20, 10, 0]);
    assert!(walk.upper.as_ref().unwrap().lowest);
}

#[test]
fn the_first_answer_opens_the_window_and_the_fewest_rows_since_are_kept() {
    let mut walk = Walk::new(10, 4);
    for (offset, count, total, expected) in
        [(0, 10, 25, (25, 25)), (20, 4, 24, (25, 24)), (10, 15, 29, (25, 24))]
    {
        let ask = walk.ask(seconds(0)).unwrap();
        assert_eq!(ask.span.offset, offset);
        walk.answered(ask, rows(offset, count), total, seconds(0));
        assert_eq!((walk.opened(), walk.least()), expected);
    }
    assert_eq!(walk.joined().iter().map(|page| (page.opened, page.total)).collect::<Vec<_>>(), [(25, 24); 2]);
}

/// A snapshot may be as old as [`LAG`], so that until then a higher total may be one from before the opening.
#[test]
fn a_window_grows_by_what_its_totals_say_a_minute_after_it_was_opened() {
    let mut walk = Walk::new(10, 4);
    let ask = walk.ask(seconds(100)).unwrap();
    walk.answered(ask, rows(0, 10), 25, seconds(100));
    for (now, total, growth) in
        [(101, 30, 0), (159, 31, 0), (160, 28, 3), (161, 27, 3), (1000, 20, 3), (1001, 35, 10)]
    {
        walk.told(total, seconds(now));
        assert_eq!(walk.growth(), growth, "{total} rows at {now} s");
    }
    assert_eq!((walk.opened(), walk.least()), (25, 20));
}

#[test]
fn a_cap_is_believed_unless_a_longer_answer_has_come_before() {
    for (cap, proven, known) in [(50, 50, 50), (50, 49, 50), (50, 51, MOST)] {
        let mut walk = Walk::new(100, 1);
        walk.proven = proven;
        walk.searched(Outcome::Capped(cap));
        assert_eq!(walk.server(), Server { cap: known, proven, doubts: true });
    }
    let mut walk = Walk::new(100, 1);
    walk.searched(Outcome::Endless("found no end".into()));
    assert_eq!(walk.failed(), Some("found no end"));
    assert_eq!((walk.ask(seconds(0)), walk.finished()), (None, false));
}

/// A page that may be the highest is kept until a probe shows that it is.
#[test]
fn rows_are_kept_during_the_search_and_taken_when_their_page_is_the_highest() {
    let mut walk = Walk::new(10, 4);
    let mut answer = |offset, count, end: u64| {
        let ask = walk.ask(seconds(0)).unwrap();
        assert_eq!((ask.span.offset, ask.span.count), (offset, count));
        walk.answered(ask, rows(offset, (count as u64).min(end - offset)), end, seconds(0))
    };
    assert_eq!(answer(0, 10, 35), Rows::Keep);
    assert_eq!(answer(30, 15, 45), Rows::Keep);
    // A probe: the last 14 rows again, and one more.
    assert_eq!(answer(31, 15, 45), Rows::TakeKept(30));
    assert_eq!(
        walk.joined().iter().map(|page| (page.offset, page.rows.len())).collect::<Vec<_>>(),
        [(30, 15)]
    );
    let mut walk = Walk::new(10, 4);
    for (offset, rows_kept) in [(0, Rows::Keep), (30, Rows::Take)] {
        let ask = walk.ask(seconds(0)).unwrap();
        assert_eq!(ask.span.offset, offset);
        let page = rows(offset, (ask.span.count as u64).min(35 - offset));
        assert_eq!(walk.answered(ask, page, 35, seconds(0)), rows_kept);
    }
}

#[test]
fn a_walk_of_one_answer_has_all_rows_at_once() {
    let mut walk = Walk::new(10, 1).knowing(Server { cap: MOST, proven: 9, doubts: true });
    let ask = walk.ask(seconds(3)).unwrap();
    assert_eq!(ask.at(), seconds(3));
    assert_eq!(walk.answered(ask, rows(0, 7), 7, seconds(4)), Rows::Take);
    assert!(walk.finished() && walk.held_all_at_once());
    assert_eq!(walk.server().proven, 9, "the longest answer");
    let joined = walk.joined();
    assert_eq!((joined.len(), joined[0].offset, joined[0].rows.len()), (1, 0, 7));
    assert!(walk.joined().is_empty(), "each page is returned once");
}
