//! Which pages join, and how those that do not are read again.

use std::{collections::HashSet, ops::Range, time::Duration};

use super::*;
use crate::{
    engine::paging::offset::Stage,
    store::progress::{MOST, Row},
};

fn rows(keys: impl IntoIterator<Item = u128>) -> Vec<Row> {
    keys.into_iter().map(|key| Row { key, second: key as i64 }).collect()
}

/// A page in the middle of the listing that was requested at this second and answered at once, in full.
fn read(at: u64, rows: Vec<Row>) -> Read {
    let (asked, answered) = (Duration::from_secs(at), Duration::from_secs(at));
    let (keys, wanted) = (rows.iter().copied().collect(), rows.len());
    Read { asked, answered, keys, wanted, ends: false, reaches_total: false, lowest: false, rows }
}

/// A walk in pages of 10 rows with an overlap of 5, whose last joined page has these rows since second 10.
fn below(upper: Range<u128>) -> Walk {
    let mut walk = Walk::new(10, 4);
    walk.stage = Stage::Down;
    walk.upper = Some(read(10, rows(upper)));
    walk
}

/// Adds a page of 10 rows that was read.
fn add(walk: &mut Walk, offset: u64, read: Read) {
    let page = walk.page(offset, 10);
    walk.pages.push_back(Page { readings: 1, state: State::Read(read), ..page });
}

fn pages(walk: &Walk) -> Vec<(u64, usize)> {
    walk.pages.iter().map(|page| (page.offset, page.height)).collect()
}

#[test]
fn a_page_joins_by_a_shared_row_or_by_a_newer_snapshot_that_leaves_no_gap() {
    const HEIGHT: usize = 10;
    let far = |at| read(at, rows(900..910));
    let short = |at| read(at, rows(900..909));
    let ends = |read| Read { ends: true, ..read };
    // An empty page in between was answered at second 20.
    for (read, passed_empty, joins) in [
        (read(0, vec![]), true, true),
        (read(11, rows(15..25)), false, true),
        (read(11, rows(15..21)), true, true),
        (read(11, rows(10..20)), false, false),
        // The upper page was answered at second 10: until second 70 a snapshot may be older than that answer.
        (far(69), false, false),
        (far(70), false, true),
        (ends(far(69)), false, false),
        // The server has cut it off, or the listing ends with it.
        (short(70), false, false),
        (ends(short(70)), false, true),
        // Until every snapshot is newer than the empty page, rows above this page may be in the range of the empty page.
        (far(79), true, false),
        (far(80), true, true),
        (short(80), true, false),
        (read(80, rows(900..911)), true, false),
        (ends(far(70)), true, true),
    ] {
        let mut walk = below(20..30);
        walk.empty_answered = passed_empty.then_some(Duration::from_secs(20));
        let what = (read.asked, read.rows.first().copied(), read.rows.len(), read.ends, passed_empty);
        assert_eq!(walk.joins(&read, HEIGHT), joins, "{what:?}");
        walk.upper = None;
        assert_eq!(
            walk.joins(&read, HEIGHT),
            read.ends || read.rows.is_empty() || (joins && passed_empty && read.asked.as_secs() == 80),
            "the highest page: {what:?}"
        );
    }
}

#[test]
fn pages_join_from_the_top_down_until_one_does_not() {
    let mut walk = below(40..50);
    (walk.opened, walk.total) = (60, 55);
    add(&mut walk, 30, read(10, rows(30..45)));
    add(&mut walk, 20, read(10, vec![]));
    add(&mut walk, 10, read(10, rows(10..25)));
    walk.pages.push_back(Page {
        id: 99,
        offset: 0,
        height: 10,
        readings: 0,
        heavies: 0,
        state: State::Asked,
    });
    walk.join();
    let joined: Vec<_> =
        walk.joined().into_iter().map(|page| (page.offset, page.rows.len(), page.total)).collect();
    assert_eq!(joined, [(30, 15, 55), (20, 0, 55)]);
    assert_eq!(pages(&walk), [(10, 10), (0, 10)], "the third shares no row with the first");
    assert!(matches!(walk.pages[0].state, State::Due) && walk.empty_answered.is_some());
    // The last page with rows is the one to join with.
    walk.pages[0].state = State::Read(read(10, rows(20..35)));
    walk.join();
    assert_eq!(walk.joined().len(), 1);
    assert_eq!(walk.empty_answered, None);
    assert_eq!(walk.upper.as_ref().map(|upper| upper.rows[0].key), Some(20));
}

/// Joins one page that nothing is shared with, or everything, or that is empty.
fn join_one(walk: &mut Walk, number: u64, how: &str) {
    let answered = walk.upper.as_ref().map_or(0, |upper| upper.answered.as_secs());
    let far = u128::from(number) * 1000;
    let read = match how {
        "late" => read(answered + 60, rows(far..far + 10)),
        "empty" => read(answered, vec![]),
        _ => read(answered, walk.upper.as_ref().map(|upper| upper.rows.clone()).unwrap_or_default()),
    };
    add(walk, 1000 - number, read);
    walk.join();
    assert_eq!(walk.joined().len(), 1, "page {number}, {how}");
    walk.empty_answered = None;
}

#[test]
fn a_walk_whose_pages_join_only_by_time_fails_after_thirty_in_a_row() {
    let late = Some("returned 30 pages in a row that share no record with their neighbor");
    let mut walk = below(1..11);
    for number in 1..=30 {
        assert_eq!(walk.failed(), None, "{number}");
        join_one(&mut walk, number, "late");
    }
    assert_eq!(walk.failed(), late);
    // Any other page in between begins the count anew; they are not counted themselves.
    for other in ["empty", "shared"] {
        let mut walk = below(1..11);
        (1..30).for_each(|number| join_one(&mut walk, number, "late"));
        (30..70).for_each(|number| join_one(&mut walk, number, other));
        (70..99).for_each(|number| join_one(&mut walk, number, "late"));
        assert_eq!(walk.failed(), None, "{other}");
        join_one(&mut walk, 99, "late");
        assert_eq!(walk.failed(), late, "{other}");
    }
}

/// The server's answers to one page, by the number of the first row.
fn failed_after(readings: &[u128]) -> Option<usize> {
    let mut walk = below(20..30);
    add(&mut walk, 0, read(10, rows(900..910)));
    readings.iter().position(|first| {
        walk.pages[0].state = State::Read(read(10, rows(*first..first + 10)));
        walk.join();
        let failed = walk.failed() == Some("returns different record ids in every answer");
        assert!(failed == walk.failed().is_some());
        failed
    })
}

#[test]
fn a_walk_fails_when_three_readings_of_a_page_in_a_row_share_no_record_with_the_one_before() {
    assert_eq!(failed_after(&[100, 200, 300, 400, 500]), Some(3));
    // Neighbors may move between two answers.
    assert_eq!(failed_after(&[100, 200, 300, 309, 400, 500]), None);
    assert_eq!(failed_after(&[100, 200, 300, 309, 400, 500, 600]), Some(6));
    assert_eq!(failed_after(&[100; 9]), None);
}

/// A page that joins in between begins the count of strangers anew.
#[test]
fn readings_of_another_page_are_not_compared() {
    let mut walk = below(20..30);
    for number in 0..5 {
        add(&mut walk, 0, read(10, rows(900 + 100 * number..910 + 100 * number)));
        walk.join();
        assert_eq!(pages(&walk), [(0, 10)]);
        walk.pages[0].state = State::Read(read(10, rows(20..30)));
        walk.join();
        assert!(walk.pages.is_empty() && walk.unjoined.is_empty());
    }
    assert_eq!(walk.failed(), None);
}

/// The page below the rows 200 to 299: 100 rows from offset 100, with an overlap of 10.
fn unjoined(answer: usize, proven: usize, ends: bool) -> Walk {
    let mut walk = Walk::new(100, 4);
    (walk.stage, walk.overlap, walk.proven) = (Stage::Down, 10, proven);
    walk.upper = Some(read(10, rows(200..300)));
    let page = walk.page(100, 100);
    let state = State::Read(Read { wanted: 110, ends, ..read(10, rows(900..900 + answer as u128)) });
    walk.pages.push_back(Page { state, ..page });
    walk.join();
    assert!(walk.joined().is_empty() && matches!(walk.pages[0].state, State::Due));
    walk
}

#[test]
fn a_full_page_that_does_not_join_is_read_again_with_twice_the_overlap() {
    let walk = unjoined(110, 110, false);
    assert_eq!((walk.overlap, walk.stride, walk.cap), (20, 100, MOST));
    assert_eq!(pages(&walk), [(100, 100)]);
    // So is a short page at the end of the listing: the server has not cut it off.
    assert_eq!(unjoined(50, 110, true).overlap, 20);
}

#[test]
fn the_overlap_grows_to_the_size_of_a_page_and_half_of_an_answer() {
    for (stride, cap, overlap, expected) in [
        (100, MOST, 40, (80, 100)),
        (100, MOST, 80, (100, 100)),
        (100, 150, 40, (75, 75)),
        (100, 110, 10, (20, 90)),
    ] {
        let mut walk = unjoined(110, 110, false);
        (walk.stride, walk.cap, walk.overlap) = (stride, cap, overlap);
        walk.pages[0].state = State::Read(read(10, rows(900..1010)));
        walk.join();
        assert_eq!((walk.overlap, walk.stride), expected, "{stride} {cap} {overlap}");
        let height: usize = walk.pages.iter().map(|page| page.height).sum();
        assert!(height == 100 && walk.pages.iter().all(|page| page.height <= walk.stride));
    }
}

#[test]
fn a_page_that_the_server_has_cut_off_is_read_again_in_pages_that_fit() {
    // The longest answer yet: the cap is known.
    let walk = unjoined(60, 60, false);
    assert_eq!((walk.cap, walk.overlap, walk.stride), (60, 5, 55));
    assert_eq!(pages(&walk), [(150, 50), (100, 50)]);
    // A longer one has come before, so that it may have been an exception.
    let walk = unjoined(60, 61, false);
    assert_eq!((walk.cap, walk.overlap, walk.stride), (MOST, 10, 100));
    assert_eq!(pages(&walk), [(150, 50), (100, 50)]);
    // Even an answer that is shorter than the overlap brings the walk on.
    assert_eq!(pages(&unjoined(3, 61, false)).len(), 100);
}

#[test]
fn the_keys_of_the_last_reading_are_those_to_compare_with() {
    let walk = unjoined(110, 110, false);
    assert_eq!(walk.unjoined, (900..1010).collect::<KeySet<u128>>());
    assert_eq!(walk.strangers, 0);
}

/// Walks down from row 20 of a window with this number of rows, at a server that returns at most `cap` of them and
/// then reports the number of rows in the answer as the total. Returns the rows read and the assumed limit.
fn walked(held: u64, cap: usize) -> (Vec<u128>, usize) {
    let last = Joined { offset: 20, rows: vec![], opened: 30, total: 30, cut: vec![] };
    let mut walk = Walk::new(20, 1).resume(&last, vec![], Duration::ZERO);
    let (mut found, mut requests) = (HashSet::new(), 0);
    while !walk.finished() {
        requests += 1;
        let now = Duration::from_secs(requests);
        assert!(requests < 500 && walk.failed().is_none(), "{:?} {:?}", walk.failed(), pages(&walk));
        let Some(ask) = walk.ask(now) else { continue };
        let end = held.min(ask.span.offset + ask.span.count.min(cap) as u64);
        let answer: Vec<u128> = (ask.span.offset..end).map(u128::from).collect();
        let total = if cap < MOST { answer.len() as u64 } else { held };
        walk.answered(ask, rows(answer), total, now);
        found.extend(walk.joined().into_iter().flat_map(|page| page.rows).map(|row| row.key));
    }
    let mut found: Vec<u128> = found.into_iter().collect();
    found.sort_unstable();
    (found, walk.server().cap)
}

/// A run that resumes when almost all rows have left its window has received no answer with more rows.
#[test]
fn the_few_rows_that_a_window_has_left_are_not_taken_for_the_limit_of_the_server() {
    for held in 0..=20 {
        assert_eq!(walked(held, MOST), ((0..u128::from(held)).collect(), MOST), "{held} rows");
    }
    for cap in 2..=10 {
        assert_eq!(walked(20, cap).0, (0..20).collect::<Vec<_>>(), "a limit of {cap}");
    }
}
