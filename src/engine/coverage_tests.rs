//! The counts of a run and the sentence that reports them.

use std::collections::BTreeMap;

use super::*;
use crate::{
    base::{
        counts::counted,
        fate::{Effect, Fate},
    },
    store::{progress, seen::Seen},
};

#[test]
fn every_fate_is_counted_in_its_place() {
    let mut counts = Counts::default();
    let fates = [
        (Fate::Sent(Effect::None), 1),
        (Fate::Sent(Effect::OptOut), 2),
        (Fate::Sent(Effect::OptOutAgain), 3),
        (Fate::Sent(Effect::OptIn), 4),
        (Fate::Sent(Effect::Deletion), 5),
        (Fate::Unchanged, 6),
        (Fate::skipped("pending"), 7),
        (Fate::skipped("archived"), 8),
        (Fate::rejected("no_id"), 9),
        (Fate::Outdated, 10),
    ];
    for (fate, times) in fates {
        (0..times).for_each(|_| counts.count(fate));
    }
    let of = |reasons: &[(&str, u64)]| reasons.iter().map(|(word, n)| ((*word).to_owned(), *n)).collect();
    let expected = Counts {
        sent: 1 + 2 + 3 + 4 + 5,
        opt_outs: 2 + 3,
        known_opt_outs: 3,
        opt_ins: 4,
        deletions: 5,
        unchanged: 6,
        skipped: of(&[("pending", 7), ("archived", 8)]),
        rejected: of(&[("no_id", 9)]),
        superseded: 10,
        ..Counts::default()
    };
    assert_eq!(counts, expected);
}

#[test]
fn every_known_record_is_counted_once_by_its_latest_fate() {
    let mut seen = Seen::default();
    for (key, fate) in [
        (1, Fate::Sent(Effect::None)),
        (2, Fate::skipped("pending")),
        (3, Fate::Sent(Effect::OptOut)),
        (1, Fate::rejected("no_id")),
    ] {
        seen.insert(progress::Row { key, second: 0 }, "subscribed", fate);
    }
    let mut counts = Counts::default();
    seen.count(&mut counts);
    assert_eq!((counts.sent, counts.opt_outs), (1, 1));
    assert_eq!((counts.skipped["pending"], counts.rejected["no_id"]), (1, 1));
}

#[test]
fn a_run_without_a_delivery_and_without_a_delisted_record_has_brought_nothing() {
    for (sent, unlisted, nothing) in [(0, 0, true), (1, 0, false), (0, 1, false), (1, 1, false)] {
        let counts = Counts { sent, unlisted, unchanged: 5, ..Counts::default() };
        assert_eq!(counts.brought_nothing(), nothing, "{sent} sent, {unlisted} unlisted");
    }
}

#[test]
fn the_rows_of_every_listing_are_added_up() {
    // 10 records, of which 1 left before it was read and 1 is missing; then 3 in a window of 2, and 1 of them twice.
    let first = Rows { window: 10, held: 9, seen: 8, ..Rows::default() };
    let second = Rows { window: 2, held: 2, seen: 3, repeated: 1, ..Rows::default() };
    let mut counts = Counts::default();
    [first, second, second].into_iter().for_each(|rows| rows.add_to(&mut counts));
    let Counts { window, seen, repeated, left, late, unexplained, .. } = counts;
    assert_eq!((window, seen, repeated), (14, 14, 2));
    assert_eq!((left, late, unexplained), (1, 4, 1));
    assert_eq!(window + late, seen + repeated + left + unexplained);
}

/// Every part of the last line of a run, alone.
#[test]
fn the_last_line_names_what_happened_and_leaves_out_what_did_not() {
    let plain = "0 records in the window, 0 seen: 0 sent, 0 skipped, 0 rejected; \
                 0 read twice, 0 left the window, 0 passes, 0 unexplained";
    let reasons = |word: &str, count| BTreeMap::from([(word.to_owned(), count)]);
    let none = Counts::default;
    for (counts, from, to) in [
        (none(), "", ""),
        (Counts { window: 7, ..none() }, "0 records", "7 records"),
        (Counts { seen: 7, ..none() }, "0 seen", "7 seen"),
        (Counts { sent: 7, ..none() }, "0 sent", "7 sent"),
        (Counts { opt_outs: 1, ..none() }, "0 sent", "0 sent (1 opted out)"),
        (Counts { deletions: 1, ..none() }, "0 sent", "0 sent (1 deleted)"),
        (Counts { opt_outs: 2, deletions: 1, ..none() }, "0 sent", "0 sent (2 opted out, 1 deleted)"),
        (Counts { unchanged: 1, ..none() }, "0 sent", "0 sent, 1 unchanged"),
        (Counts { skipped: reasons("pending", 3), ..none() }, "0 skipped", "3 skipped (3 pending)"),
        (Counts { rejected: reasons("no_id", 1), ..none() }, "0 rejected", "1 rejected (1 no_id)"),
        (Counts { superseded: 1, ..none() }, "0 rejected", "0 rejected, 1 superseded"),
        (Counts { read_twice: 5, ..none() }, "0 read twice", "5 read twice"),
        (Counts { left: 5, ..none() }, "0 left", "5 left"),
        (Counts { late: 1, ..none() }, "the window,", "the window, 1 came in late,"),
        (Counts { repeated: 1, ..none() }, "the window,", "the window, 1 repeated,"),
        (Counts { again: 1, ..none() }, "the window,", "the window, 1 settled again,"),
        (Counts { left_out: 1, ..none() }, "the window,", "the window, 1 left out by start_offset,"),
        (Counts { unlisted: 1, ..none() }, "the window,", "the window, 1 no longer listed,"),
        (Counts { passes: 1, ..none() }, "0 passes", "1 pass"),
        (Counts { passes: 2, ..none() }, "0 passes", "2 passes"),
        (Counts { unexplained: 1, ..none() }, "0 unexplained", "1 unexplained"),
        (Counts { unexplained: 1, totals_wrong: true, ..none() }, "0 unexplained", "unexplained: unknown"),
    ] {
        // The part is replaced where it stands last: "the window," also stands in "in the window, 0 seen".
        let (before, after) = plain.rsplit_once(from).unwrap();
        assert_eq!(counts.to_string(), format!("{before}{to}{after}"));
    }
}

#[test]
fn reasons_are_added_up_and_listed() {
    let reasons = BTreeMap::from([("archived".to_owned(), 1), ("pending".to_owned(), 2)]);
    assert_eq!(counted(&reasons), "1 archived, 2 pending");
    let counts = Counts { skipped: reasons, ..Counts::default() };
    assert!(counts.to_string().contains(", 3 skipped (1 archived, 2 pending), 0 rejected;"), "{counts}");
}

#[test]
fn rows_that_repeat_a_key_or_became_visible_later_are_not_missing() {
    for (window, held, seen, repeated, unseen, expected) in [
        // Expected: left, late, missing.
        (10, 10, 8, 2, 0, (0, 0, 0)),
        (10, 10, 8, 0, 2, (2, 0, 0)),
        (10, 10, 7, 1, 1, (1, 0, 1)),
        (10, 8, 6, 1, 0, (2, 0, 1)),
        (10, 13, 10, 2, 0, (0, 3, 1)),
        (10, 12, 10, 1, 1, (0, 1, 0)),
    ] {
        let rows = Rows { window, held, seen, repeated, unseen, ..Rows::default() };
        assert_eq!((rows.left(), rows.late(), rows.missing()), expected, "{rows:?}");
    }
}

/// A second look costs a request, so that an answer without a doubt gets none.
#[test]
fn only_rows_that_were_not_seen_and_totals_that_grow_are_looked_at_again() {
    for (held, seen, repeated, growth, suspicious) in [
        (10, 10, 0, 0, false),
        (10, 8, 2, 0, false),
        (10, 11, 0, 0, false),
        (10, 9, 0, 0, true),
        (10, 8, 1, 0, true),
        (10, 10, 0, 1, true),
    ] {
        let rows = Rows { window: 10, held, seen, repeated, growth, ..Rows::default() };
        assert_eq!(rows.suspicious(), suspicious, "{rows:?}");
    }
}

#[test]
fn unexplained_rows_are_named_with_what_the_source_counts_and_lists() {
    let mut rows = Rows { window: 10, held: 10, seen: 7, ..Rows::default() };
    assert_eq!(
        rows.unexplained(1, 0).as_deref(),
        Some("the source counts 10 records, but listed only 7 different ones; 2 are unexplained")
    );
    assert_eq!((rows.unseen, rows.left()), (1, 1), "the next window reads the row that came in late");
    let mut rows = Rows { window: 10, held: 10, seen: 10, growth: 3, ..Rows::default() };
    assert_eq!(
        rows.unexplained(2, 0).as_deref(),
        Some("the source's count grew by 3 in a window that has ended: it ignores the window's bounds")
    );
}
