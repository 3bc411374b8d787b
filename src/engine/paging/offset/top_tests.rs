//! The search for the end of a listing, answer by answer.

use std::{ops::Range, time::Duration};

use super::*;

const STRIDE: usize = 10;
const PAGE: usize = 15;

/// Rows of which each has its offset as its key.
fn rows(keys: Range<u64>) -> Vec<Row> {
    keys.map(|key| Row { key: u128::from(key), second: key as i64 }).collect()
}

fn read(rows: Vec<Row>, wanted: usize) -> Read {
    let keys = rows.iter().copied().collect();
    Read {
        asked: Duration::ZERO,
        answered: Duration::ZERO,
        rows,
        keys,
        wanted,
        ends: false,
        reaches_total: false,
        lowest: false,
    }
}

fn ask(search: &mut Search) -> (u64, usize) {
    let span = search.ask(STRIDE, PAGE).unwrap();
    assert_eq!(search.ask(STRIDE, PAGE), None, "one request at a time");
    (span.offset, span.count)
}

/// The outcome in short. A page that is the highest says that it ends the listing.
fn name(outcome: Outcome) -> String {
    match outcome {
        Outcome::Searching => "searching".into(),
        Outcome::Top(offset, read) => {
            assert!(read.ends);
            format!("top {offset} with {}", read.rows.len())
        }
        Outcome::Capped(cap) => format!("capped at {cap}"),
        Outcome::Endless(why) => why,
    }
}

/// Answers the next request from a list of `end` rows that reports `total`.
fn step(search: &mut Search, end: u64, total: u64) -> (u64, String) {
    let (offset, wanted) = ask(search);
    let to = end.min(offset + wanted as u64).max(offset);
    (offset, name(search.answered(offset, read(rows(offset..to), wanted), total)))
}

/// A search whose first answer was a full page.
fn begun(total: u64) -> Search {
    let mut search = Search::default();
    assert_eq!(step(&mut search, 1000, total), (0, "searching".into()));
    search
}

#[test]
fn the_first_request_is_for_the_lowest_page_and_a_repeated_one_keeps_its_offset() {
    let mut search = Search::default();
    assert_eq!(ask(&mut search), (0, STRIDE));
    search.again();
    assert_eq!(search.ask(5, 7), Some(Span { offset: 0, count: 5 }));
    name(search.answered(0, read(rows(0..5), 5), 100));
    assert_eq!(ask(&mut search), (90, PAGE));
    search.again();
    assert_eq!(search.ask(7, 9), Some(Span { offset: 90, count: 9 }));
}

/// Rows up to `low` were seen, and none at `high`; the page has 15 rows, 5 of them the overlap.
#[test]
fn the_next_offset_is_where_the_total_says_else_it_lies_between_what_was_seen_and_what_is_empty() {
    for (low, high, total, tried, expected) in [
        // The page that has the last row by the total.
        (10, None, 11, None, 10),
        (10, None, 20, None, 10),
        (10, None, 21, None, 20),
        (10, None, 100, None, 90),
        (10, Some(91), 100, None, 90),
        (25, None, 26, None, 25),
        (10, None, 101, Some(90), 100),
        // The total says nothing new: pages are skipped.
        (25, None, 25, None, 70),
        (25, None, 20, None, 70),
        (25, None, 100, Some(90), 70),
        // What it suggests is known to be empty: half of the rest.
        (10, Some(90), 100, None, 50),
        (10, Some(80), 100, None, 45),
        (25, Some(40), 0, None, 32),
        (25, Some(39), 0, None, 32),
        // One page reaches from a seen row to the end, and has room for one more.
        (25, Some(38), 0, None, 24),
        (25, Some(26), 0, None, 24),
        (0, Some(3), 0, None, 0),
        // Rows have left since they were seen.
        (25, Some(25), 0, None, 17),
        (25, Some(20), 100, None, 12),
        (25, Some(5), 0, None, 0),
    ] {
        let mut search = Search { low, high, total, tried, skip: 3, answers: 1, ..Search::default() };
        let case = format!("seen to {low}, empty from {high:?}, total {total}, tried {tried:?}");
        assert_eq!(ask(&mut search), (expected, PAGE), "{case}");
    }
}

/// Totals of 0, or of the rows of one answer, say nothing.
#[test]
fn without_a_total_the_search_skips_more_and_more_pages_and_then_halves_the_rest() {
    let mut search = Search::default();
    let mut offsets = Vec::new();
    for end in [10_000; 6] {
        offsets.push(step(&mut search, end, 0).0);
    }
    assert_eq!(offsets, [0, 10, 40, 100, 220, 460]);
    let mut search = Search::default();
    let steps: Vec<(u64, String)> = (0..7).map(|_| step(&mut search, 100, 0)).collect();
    assert_eq!(steps.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [0, 10, 40, 100, 77, 91, 92]);
    assert!(steps[..6].iter().all(|(_, outcome)| outcome == "searching"));
    assert_eq!(steps[6].1, "top 91 with 9");
}

/// The list has lost rows: an empty answer at a lower offset counts, one at a higher offset does not.
#[test]
fn the_lowest_empty_offset_and_the_highest_seen_row_are_kept() {
    let mut search = begun(0);
    for (offset, count, low, high) in [
        (500, 0, 10, Some(500)),
        (700, 0, 10, Some(500)),
        (300, 0, 10, Some(300)),
        (20, 15, 35, Some(300)),
        (5, 15, 35, Some(300)),
    ] {
        ask(&mut search);
        name(search.answered(offset, read(rows(offset..offset + count), PAGE), 0));
        assert_eq!((search.low, search.high), (low, high), "{count} rows at {offset}");
    }
    let kept: Vec<u64> = search.earlier.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(kept, [0, 5], "the first answer and the latest one with rows");
}

/// An empty page of 15 rows.
#[test]
fn an_empty_answer_ends_the_search_if_the_total_says_so_too_and_is_not_far_away() {
    for (offset, total, outcome) in [
        (100, 100, "top 100 with 0"),
        (100, 70, "top 100 with 0"),
        (100, 69, "searching"),
        (100, 101, "searching"),
        (0, 0, "top 0 with 0"),
        (0, 5, "top 0 with 0"),
    ] {
        let mut search = begun(1000);
        ask(&mut search);
        assert_eq!(name(search.answered(offset, read(vec![], PAGE), total)), outcome, "{offset} of {total}");
    }
    // Rows are rows, whatever the total.
    for total in [80, 110] {
        let mut search = begun(1000);
        ask(&mut search);
        assert_eq!(name(search.answered(100, read(rows(100..115), PAGE), total)), "searching", "{total}");
    }
}

#[test]
fn a_page_that_is_short_or_reaches_the_total_is_checked_by_a_probe() {
    for (count, total, checked) in [
        (15, 115, true),
        (14, 115, true),
        (14, 114, true),
        (1, 90, true),
        (15, 116, false),
        (15, 114, false),
        (0, 150, false),
    ] {
        let mut search = begun(1000);
        ask(&mut search);
        name(search.answered(100, read(rows(100..100 + count), PAGE), total));
        assert_eq!(search.candidate.is_some(), checked, "{count} rows, total {total}");
    }
    let mut search = begun(1000);
    ask(&mut search);
    let last = Read { ends: true, ..read(rows(100..110), PAGE) };
    assert_eq!(name(search.answered(100, last, 110)), "top 100 with 10", "nothing is left to check");
}

/// A probe requests the last rows of the page again, at most 20, and one more.
#[test]
fn a_probe_overlaps_the_page_that_it_checks() {
    for (count, probe) in
        [(1, (101, 1)), (2, (101, 2)), (15, (101, 15)), (20, (101, 20)), (21, (101, 21)), (30, (110, 21))]
    {
        let mut search = begun(1000);
        ask(&mut search);
        name(search.answered(100, read(rows(100..100 + count), 40), 1000));
        assert_eq!(ask(&mut search), probe, "{count} rows");
    }
}

#[test]
fn a_probe_shows_the_end_a_cap_or_nothing() {
    for (page, wanted, probe, outcome) in [
        // The same last row, and fewer rows than requested.
        (100..115, 15, 101..115, "top 100 with 15"),
        (100..110, 15, 101..110, "top 100 with 10"),
        // More rows, although the page was shorter than requested.
        (100..110, 15, 101..111, "capped at 10"),
        (100..110, 15, 105..113, "capped at 10"),
        // The page was full, so that the search goes on above it.
        (100..115, 15, 101..116, "searching"),
        // Rows have left: a full answer that ends with the page's last row, one without it, an empty one.
        (100..110, 15, 100..110, "searching"),
        (100..110, 15, 111..116, "searching"),
        (100..110, 15, 0..0, "searching"),
        // A page of one row: the probe begins above it.
        (100..101, 15, 101..101, "top 100 with 1"),
        (100..101, 15, 101..102, "capped at 1"),
        (100..101, 1, 101..102, "searching"),
    ] {
        let (mut search, case) = (begun(1000), format!("{page:?} of {wanted}, then {probe:?}"));
        ask(&mut search);
        // The page reaches its total, so that it is checked also if it is full.
        name(search.answered(100, read(rows(page.clone()), wanted), page.end));
        let (offset, wanted) = ask(&mut search);
        assert_eq!(name(search.answered(offset, read(rows(probe), wanted), 1000)), outcome, "{case}");
        assert!(search.candidate.is_none(), "{case}");
    }
}

#[test]
fn what_a_probe_sees_counts_for_the_search() {
    let mut search = begun(1000);
    ask(&mut search);
    name(search.answered(100, read(rows(100..115), PAGE), 115));
    assert_eq!(step(&mut search, 1000, 300), (101, "searching".into()));
    assert_eq!((search.low, search.total), (116, 300));
    assert_eq!(ask(&mut search), (290, PAGE));
}

#[test]
fn a_server_that_ignores_the_offset_is_found_out_at_the_third_answer() {
    let mut search = begun(100);
    let mut outcomes = Vec::new();
    for offset in [90, 10, 25] {
        assert_eq!(ask(&mut search), (offset, PAGE));
        outcomes.push(name(search.answered(offset, read(rows(0..15), PAGE), 100)));
    }
    let ignored = "returned the rows of offset 0 for offset 25; it seems to ignore the offset";
    assert_eq!(outcomes, ["searching", "searching", ignored]);
    // An answer with other rows in between begins the count anew.
    let mut search = begun(100);
    for same in [true, true, false, true, true] {
        let (offset, wanted) = ask(&mut search);
        let first = if same { 0 } else { offset };
        let outcome = search.answered(offset, read(rows(first..first + 15), wanted), 1000);
        assert_eq!(name(outcome), "searching", "{same}");
    }
}

#[test]
fn an_answer_repeats_a_lower_one_if_most_of_its_rows_are_the_same() {
    let search = begun(100);
    for (offset, answer, repeats) in [
        (10, rows(0..10), Some(0)),
        (50, rows(0..10), Some(0)),
        (50, rows(1..20), None),
        (50, rows(0..19), Some(0)),
        (50, rows(0..20), None),
        (50, rows(0..21), None),
        (50, rows(9..10), Some(0)),
        (50, rows(50..60), None),
        // Rows that have moved down a little are seen twice where answers overlap.
        (9, rows(0..10), None),
        (2, rows(2..12), None),
        (50, vec![], None),
    ] {
        let what = format!("{} rows from {:?} at {offset}", answer.len(), answer.first());
        assert_eq!(search.repeats(offset, &read(answer, PAGE)), repeats, "{what}");
    }
    let mut search = begun(100);
    ask(&mut search);
    name(search.answered(30, read(rows(30..45), PAGE), 100));
    assert_eq!(search.repeats(45, &read(rows(30..45), PAGE)), Some(30));
    assert_eq!(search.repeats(44, &read(rows(30..45), PAGE)), None);
}

#[test]
fn a_search_gives_up_beyond_the_end_of_any_list_and_after_120_answers() {
    let far = 10_000_000_000 - 15;
    let still = "still has rows at offset 10000000001, beyond the end of any list";
    for (offset, outcome) in [(far, "searching"), (far + 1, still)] {
        let mut search = begun(0);
        ask(&mut search);
        assert_eq!(name(search.answered(offset, read(rows(offset..offset + 15), PAGE), 0)), outcome);
    }
    for (answers, outcome) in [(119, "searching"), (120, "showed no end of the listing in 121 answers")] {
        let mut search = Search { answers, ..begun(0) };
        let (offset, wanted) = ask(&mut search);
        assert_eq!(name(search.answered(offset, read(rows(10..25), wanted), 0)), outcome);
        assert_eq!(search.answers, answers + 1);
    }
}
