//! Seconds whose rows leave while they are read, in answers from older and newer snapshots.

use std::collections::HashSet;

use fastrand::Rng;

use super::*;

/// Answers, each with the keys of its rows and its total.
type Answers = &'static [(&'static [u128], u64)];

fn after(answers: Answers) -> SecondRows {
    let mut rows = SecondRows::default();
    answers.iter().for_each(|(keys, total)| rows.answered(keys.iter().copied(), *total));
    rows
}

#[test]
fn a_second_is_complete_once_all_rows_of_one_snapshot_were_shown() {
    let cases: [(Answers, usize, bool); 14] = [
        (&[], 0, false),
        (&[(&[1, 2], 2)], 2, true),
        (&[(&[1, 2], 3)], 2, false),
        (&[(&[1, 2], 3), (&[2, 1], 3)], 2, false),
        (&[(&[1, 2], 3), (&[2, 3], 3)], 3, true),
        // Row 4 has left the newer snapshot, so it does not stand for row 3.
        (&[(&[1, 2], 3), (&[2, 4], 4)], 3, false),
        (&[(&[2, 4], 4), (&[1, 2], 3)], 3, false),
        // The rows of a newer snapshot are in the older one, too.
        (&[(&[2, 4], 4), (&[1, 2], 3), (&[3], 3)], 4, true),
        (&[(&[4], 4), (&[1, 2], 3), (&[3], 4)], 4, true),
        // Row 4 left before any answer showed it, and row 3 was shown once more since.
        (&[(&[2, 3], 4), (&[1, 2], 3)], 3, false),
        (&[(&[2, 3], 4), (&[1, 2], 3), (&[3], 3)], 3, true),
        // Rows that share a key count by their number in one answer.
        (&[(&[1, 1], 3), (&[1], 3)], 2, false),
        (&[(&[1], 3), (&[1, 1], 3), (&[2, 1], 3)], 3, true),
        // All rows have left.
        (&[(&[1], 2), (&[], 0)], 1, true),
    ];
    for (answers, shown, complete) in cases {
        let rows = after(answers);
        assert_eq!((rows.shown(), rows.is_complete()), (shown, complete), "{answers:?}");
    }
}

/// Reads a second from which some rows leave, in answers with random rows from snapshots of random age, until
/// it is complete. Returns whether it was complete while rows still left.
fn read(seed: u64) -> bool {
    let mut random = Rng::with_seed(seed);
    let (rows, cap) = (random.usize(5..60), random.usize(2..20));
    let (changes, stale) = (random.usize(10..200), random.usize(0..20));
    // A third of the rows share their key with another one, if both are often in one answer.
    let key = |row: usize| (if row % 6 == 1 && cap >= 10 { row - 1 } else { row }) as u128;
    // The number of the answer before which a row leaves; most rows stay.
    let leaves: Vec<usize> =
        (0..rows).map(|_| if random.u32(..4) == 0 { random.usize(..changes) } else { usize::MAX }).collect();
    let (mut second, mut shown) = (SecondRows::default(), HashSet::new());
    let most = changes + stale + 40 * rows;
    for now in 0..most {
        let time = now.saturating_sub(random.usize(..=stale));
        let mut snapshot: Vec<usize> = (0..rows).filter(|row| leaves[*row] > time).collect();
        let total = snapshot.len() as u64;
        random.shuffle(&mut snapshot);
        snapshot.truncate(cap);
        second.answered(snapshot.iter().map(|row| key(*row)), total);
        shown.extend(snapshot.into_iter().map(key));
        if second.is_complete() {
            let stayed = (0..rows).filter(|row| leaves[*row] == usize::MAX).map(key);
            let lost: Vec<u128> = stayed.filter(|key| !shown.contains(key)).collect();
            assert!(lost.is_empty(), "seed {seed}: never shown: {lost:?}");
            return leaves.iter().any(|left| (now..usize::MAX).contains(left));
        }
    }
    panic!("seed {seed}: not complete after {most} answers");
}

#[test]
fn no_row_that_stays_is_missing_from_a_complete_second_however_old_its_answers_are() {
    let early = (0..1000).filter(|seed| read(*seed)).count();
    assert!(early > 300, "only {early} were complete while rows left");
}
