//! Two neighboring pages, row by row.

use super::*;

/// A page somewhere in the middle of a listing.
fn page(rows: impl IntoIterator<Item = (u128, i64)>) -> Read {
    let rows: Vec<Row> = rows.into_iter().map(|(key, second)| Row { key, second }).collect();
    Read {
        asked: Duration::ZERO,
        answered: Duration::ZERO,
        keys: rows.iter().copied().collect(),
        wanted: rows.len(),
        ends: false,
        reaches_total: false,
        lowest: false,
        rows,
    }
}

/// A page whose rows are all of second 7.
fn crowded(keys: &[u128]) -> Read {
    page(keys.iter().map(|key| (*key, 7)))
}

#[test]
fn pages_share_a_row_only_if_both_have_its_time_and_the_same_version() {
    for (lower, upper, shares) in [
        ([(1, 10), (2, 20)], [(2, 20), (3, 30)], true),
        ([(1, 10), (2, 20)], [(2, 21), (3, 30)], false),
        ([(1, 10), (2, 20)], [(3, 30), (4, 40)], false),
        // Without a time nobody knows whether the row has moved.
        ([(1, 10), (2, UNTIMED)], [(2, UNTIMED), (3, 30)], false),
        ([(1, 10), (2, UNTIMED)], [(2, UNTIMED), (1, 10)], true),
    ] {
        assert_eq!(page(lower).shares(&page(upper)), shares, "{lower:?} {upper:?}");
    }
}

#[test]
fn a_page_holds_a_second_if_it_reaches_beyond_it_at_both_sides_or_nothing_follows() {
    let rows = [(1, UNTIMED), (2, 10), (3, 20), (4, 20), (5, 30), (6, UNTIMED)];
    for (lowest, ends, held) in [
        (false, false, [false, true, false]),
        (true, false, [true, true, false]),
        (false, true, [false, true, true]),
        (true, true, [true, true, true]),
    ] {
        let page = Read { lowest, ends, ..page(rows) };
        assert_eq!([10, 20, 30].map(|second| page.holds(second)), held, "{lowest} {ends}");
        // A second outside the page, and one between its rows.
        assert_eq!([5, 25, 35].map(|second| page.holds(second)), [lowest, true, ends], "{lowest} {ends}");
    }
    let untimed = Read { lowest: true, ends: true, ..page([(1, UNTIMED), (2, UNTIMED)]) };
    assert!(!untimed.holds(10), "nothing says when its rows changed");
}

#[test]
fn the_edges_of_a_page_are_its_outermost_rows_with_a_time() {
    let edges = |rows: &[(u128, i64)]| {
        let page = page(rows.iter().copied());
        (page.bottom(), page.top())
    };
    assert_eq!(edges(&[(1, 3), (2, 5), (3, 9)]), (Some(3), Some(9)));
    assert_eq!(edges(&[(1, UNTIMED), (2, 5), (3, 6), (4, UNTIMED)]), (Some(5), Some(6)));
    assert_eq!(edges(&[(1, UNTIMED)]), (None, None));
    assert_eq!(edges(&[]), (None, None));
}

#[test]
fn the_seconds_at_both_edges_are_cut_unless_one_page_holds_them() {
    let cut =
        |lower: Read, upper: Read| lower.cut(&upper).into_iter().map(|cut| cut.second).collect::<Vec<_>>();
    let lower = || page([(1, 5), (2, 7), (3, 8)]);
    // The page above begins in the second in which the lower one ends.
    assert_eq!(cut(lower(), page([(4, 8), (5, 9)])), [8], "once, not twice");
    // Each edge in a second of its own: the upper page may have more rows of 8, the lower one more of 9.
    assert_eq!(cut(lower(), page([(4, 9), (5, 10)])), [9, 8]);
    assert_eq!(
        cut(page([(1, 5), (2, 7), (3, 9)]), page([(2, 7), (3, 9), (4, 10)])),
        [0; 0],
        "each holds one"
    );
    // The upper page reaches below its second, or ends the listing.
    assert_eq!(cut(lower(), page([(3, 7), (4, 8), (5, 9)])), [0; 0], "7 lies inside the lower page");
    let last = Read { ends: true, lowest: true, ..page([(4, 8), (5, 8)]) };
    assert_eq!(cut(lower(), last), [0; 0]);
    // The lower page shows that it has the whole second.
    assert_eq!(cut(Read { ends: true, ..lower() }, page([(4, 8), (5, 9)])), [0; 0]);
    assert_eq!(cut(page([]), page([(4, 8), (5, 9)])), [0; 0], "an empty page cuts nothing");
    assert_eq!(cut(lower(), page([(4, UNTIMED), (5, UNTIMED)])), [8]);
}

/// The lower page on the left, the upper one on the right.
#[test]
fn an_order_is_shown_by_pairs_of_rows_that_both_pages_have_in_the_same_order() {
    let cases: [(&[u128], &[u128], Option<u32>); 11] = [
        (&[1, 2, 3, 4, 5, 6], &[4, 5, 6, 7, 8, 9], Some(2)),
        // Another order in each answer.
        (&[1, 2, 3, 4, 6, 5], &[4, 5, 6, 7, 8, 9], None),
        // One row is no pair, and no row shows nothing.
        (&[1, 2, 3], &[3, 4, 5], Some(0)),
        (&[1, 2, 3], &[4, 5, 6], None),
        // From the lowest shared row to the top of the lower page, at most every second row may be another one.
        (&[1, 4, 0, 0], &[4, 5], None),
        (&[1, 4, 0, 5, 0, 6, 0], &[4, 5, 6], Some(2)),
        (&[1, 4, 0, 5, 0], &[4, 5, 6], Some(1)),
        (&[1, 4, 0, 5, 0, 0], &[4, 5, 6], None),
        // The same from the bottom of the upper page.
        (&[1, 4, 5], &[9, 4, 8, 5, 6], Some(1)),
        (&[1, 4, 5], &[9, 8, 4, 7, 5, 6], None),
        (&[1, 4, 5], &[4, 5, 6, 7, 8, 9, 10], Some(1)),
    ];
    for (lower, upper, order) in cases {
        // A zero is a row that only the lower page has.
        let lower: Vec<u128> = lower
            .iter()
            .enumerate()
            .map(|(at, key)| if *key == 0 { 100 + at as u128 } else { *key })
            .collect();
        assert_eq!(crowded(&lower).in_order(&crowded(upper), 7), order, "{lower:?} {upper:?}");
    }
}

#[test]
fn rows_of_other_seconds_and_rows_that_changed_are_no_evidence_of_an_order() {
    let lower = page([(1, 6), (2, 6), (3, 7), (4, 7)]);
    // Row 2 stands above row 1 here, but both are of the second before.
    let upper = page([(2, 6), (1, 6), (3, 7), (4, 7)]);
    assert_eq!(lower.in_order(&upper, 7), Some(1));
    assert_eq!(lower.in_order(&upper, 6), None);
    assert_eq!(lower.in_order(&page([(3, 7), (4, 8)]), 7), Some(0), "row 4 has changed in between");
    assert_eq!(lower.in_order(&upper, 5), None);
}

#[test]
fn a_second_that_is_cut_is_reported_with_its_order() {
    let cut = crowded(&[1, 2, 3, 4]).cut(&crowded(&[3, 4, 5]));
    assert_eq!(cut, [BoundarySecond { second: 7, in_order: Some(1) }]);
}
