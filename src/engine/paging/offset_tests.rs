//! Runs the walk against lists from which rows leave, with several workers and a server whose snapshots may
//! be stale.

use std::{
    collections::{BinaryHeap, HashMap, HashSet},
    time::Duration,
};

use fastrand::Rng;

use super::{Joined, PageRequest, Rows, Shrink, Walk};
use crate::{
    base::window::Span,
    store::progress::{BoundarySecond, MOST, Row, Server, UNTIMED},
};

/// Rows that each changed in a second of their own.
fn rows(keys: impl IntoIterator<Item = u64>) -> Vec<Row> {
    keys.into_iter().map(|key| Row { key: u128::from(key), second: key as i64 }).collect()
}

/// Returns the pages that one worker requests from a list that does not change.
fn asked(total: u64, size: usize) -> Vec<(u64, usize)> {
    asked_knowing(Server::default(), total, size)
}

fn asked_knowing(server: Server, total: u64, size: usize) -> Vec<(u64, usize)> {
    let mut walk = Walk::new(size, 1).knowing(server);
    let mut asked = Vec::new();
    while let Some(ask) = walk.ask(Duration::ZERO) {
        asked.push((ask.span.offset, ask.span.count));
        let page = rows((ask.span.offset..total).take(ask.span.count));
        walk.answered(ask, page, total, Duration::ZERO);
    }
    assert!(walk.finished());
    asked
}

#[test]
fn the_first_page_shows_the_size_and_the_rest_is_read_from_the_top_with_an_overlap() {
    assert_eq!(asked(250, 100), [(0, 100), (200, 105), (100, 105), (0, 105)]);
    assert_eq!(asked(299, 100), [(0, 100), (200, 105), (100, 105), (0, 105)]);
    // The server may have truncated an answer that reaches the total and is no shorter than others.
    assert_eq!(asked(300, 100), [(0, 100), (200, 105), (280, 21), (100, 105), (0, 105)]);
}

#[test]
fn a_page_of_the_maximum_size_includes_its_overlap() {
    for (offset, count) in asked(5000, 1000) {
        assert!(count <= MOST && offset % 950 == 0, "{offset} {count}");
    }
    assert_eq!(asked(5000, 1000).len(), 2 + 5);
}

#[test]
fn a_window_that_fits_one_page_is_one_request() {
    for rows in [0, 1, 99] {
        let server = Server { proven: 105, ..Server::default() };
        assert_eq!(asked_knowing(server, rows, 100), [(0, 100)], "{rows}");
    }
    // A server without an earlier answer may truncate answers, most likely at round numbers, and report the
    // rows of the answer as the total.
    let unknown = Server { doubts: false, ..Server::default() };
    assert_eq!(asked_knowing(unknown, 7, 100), [(0, 100)]);
    assert_eq!(asked_knowing(unknown, 50, 100), [(0, 100), (30, 21)]);
    assert_eq!(asked(7, 100), [(0, 100), (1, 7)]);
    // A full page does not show that it is the last one.
    assert_eq!(asked(100, 100), [(0, 100), (80, 21)]);
}

#[test]
fn a_full_top_page_makes_the_search_continue_above_it() {
    let mut walk = Walk::new(10, 4);
    let mut answer = |count: u64, total| {
        let ask = walk.ask(Duration::ZERO).unwrap();
        assert_eq!(walk.ask(Duration::ZERO), None);
        let page = rows(ask.span.offset..ask.span.offset + count);
        walk.answered(ask, page, total, Duration::ZERO);
        (ask.span.offset, walk.joined().len())
    };
    assert_eq!(answer(10, 25), (0, 0));
    assert_eq!(answer(15, 43), (20, 0));
    assert_eq!(answer(3, 43), (40, 1));
    let offsets: Vec<u64> =
        std::iter::from_fn(|| walk.ask(Duration::ZERO)).map(|ask| ask.span.offset).collect();
    assert_eq!(offsets, [30, 20, 10, 0]);
}

#[test]
fn workers_run_a_bounded_number_of_pages_ahead() {
    let mut walk = Walk::new(10, 3);
    for _ in 0..2 {
        let ask = walk.ask(Duration::ZERO).unwrap();
        let page = rows((ask.span.offset..1005).take(ask.span.count));
        walk.answered(ask, page, 1005, Duration::ZERO);
    }
    assert_eq!(std::iter::from_fn(|| walk.ask(Duration::ZERO)).count(), 6);
}

#[test]
fn a_page_that_shares_no_row_is_read_again_and_finally_waits_until_every_snapshot_is_newer() {
    let mut walk = Walk::new(10, 1);
    let second = Duration::from_secs;
    for keys in [0..10, 20..25] {
        let ask = walk.ask(second(0)).unwrap();
        walk.answered(ask, rows(keys), 25, second(1));
    }
    for reading in 0..4 {
        let ask = walk.ask(second(2)).unwrap();
        assert_eq!((ask.span.offset, ask.span.count), (10, 10 + [5, 10, 10, 10][reading]));
        walk.answered(ask, rows((900..).take(ask.span.count)), 25, second(2));
    }
    // The lower page may be read in the meantime.
    assert_eq!(walk.ask(second(3)).map(|ask| ask.span.offset), Some(0));
    assert_eq!((walk.ask(second(3)), walk.held()), (None, Some(second(61))));
    let ask = walk.ask(second(61)).unwrap();
    walk.answered(ask, rows((900..).take(ask.span.count)), 25, second(62));
    assert_eq!(walk.held(), None);
}

#[test]
fn a_page_that_is_too_slow_is_halved_and_the_smaller_size_kept() {
    let mut walk = Walk::new(400, 1);
    let mut spans = Vec::new();
    while let Some(ask) = walk.ask(Duration::ZERO) {
        let Span { offset, count } = ask.span;
        // Everything above row 700 is slow.
        if offset + count as u64 > 700 && count > 250 {
            assert_eq!(walk.too_slow(ask), Shrink::Halved, "{offset} {count}");
            continue;
        }
        spans.push((offset, count));
        walk.answered(ask, rows((offset..1000).take(count)), 1000, Duration::ZERO);
    }
    assert!(walk.finished());
    let down = [(800, 220), (600, 220), (400, 220), (200, 220), (0, 220)];
    assert_eq!(spans, [&[(0, 400)], &down[..]].concat());
}

#[test]
fn when_two_halvings_do_not_help_a_page_the_window_must_be_cut() {
    // At the first page, at the highest, and on the way down.
    for slow in [0, 800, 600] {
        let mut walk = Walk::new(200, 1);
        let mut reliefs = Vec::new();
        let mut first = true;
        while let Some(ask) = walk.ask(Duration::ZERO) {
            let Span { offset, count } = ask.span;
            if (slow..slow + 200).contains(&offset) && (first || slow > 0) {
                reliefs.push(walk.too_slow(ask));
                if reliefs.ends_with(&[Shrink::Cut]) {
                    break;
                }
                continue;
            }
            first = false;
            walk.answered(ask, rows((offset..1000).take(count)), 1000, Duration::ZERO);
        }
        assert_eq!(reliefs, [Shrink::Halved, Shrink::Halved, Shrink::Cut], "{slow}");
    }
}

/// A change that becomes visible late moves a row from a low offset to the top of the window. A page that
/// still shows it below does not fit a page that shows it above.
#[test]
fn a_row_that_moved_within_the_window_does_not_connect_pages() {
    let mut walk = Walk::new(10, 1);
    let second = Duration::from_secs;
    let moved = Row { key: 12, second: 24 };
    for page in [rows(0..10), [rows(20..24), vec![moved]].concat()] {
        let ask = walk.ask(second(0)).unwrap();
        walk.answered(ask, page, 25, second(0));
    }
    // A stale snapshot: row 12 is where it was, and rows 17 to 19 are in neither page.
    let ask = walk.ask(second(1)).unwrap();
    walk.answered(ask, rows(2..17), 25, second(1));
    assert_eq!(walk.joined().len(), 1, "only the highest page");
    let ask = walk.ask(second(1)).unwrap();
    assert_eq!(ask.span.offset, 10, "it is read again");
}

/// Returns the boundary seconds that the walk reports. The list has 29 rows with the given seconds, read in
/// pages of 10 with an overlap of 5. The server keeps the order within a second, or shuffles it for every
/// answer.
fn cut(second: fn(u64) -> i64, keeps_order: bool) -> (Vec<i64>, bool) {
    let mut walk = Walk::new(10, 1);
    let mut random = Rng::with_seed(1);
    while let Some(ask) = walk.ask(Duration::ZERO) {
        let mut all: Vec<u64> = (0..29).collect();
        if !keeps_order {
            random.shuffle(&mut all);
        }
        all.sort_by_key(|key| second(*key));
        let page = all.into_iter().skip(ask.span.offset as usize).take(ask.span.count);
        let page = page.map(|key| Row { key: u128::from(key), second: second(key) }).collect();
        walk.answered(ask, page, 29, walk_time(ask));
    }
    let cut: Vec<BoundarySecond> = walk.joined().into_iter().flat_map(|joined| joined.cut).collect();
    let in_order = cut.iter().all(|cut| cut.in_order.is_some());
    let mut seconds: Vec<i64> = cut.iter().map(|cut| cut.second).collect();
    seconds.sort_unstable();
    seconds.dedup();
    (seconds, in_order)
}

/// Pages that share no row are stitched by time.
fn walk_time(ask: PageRequest) -> Duration {
    ask.at()
}

#[test]
fn a_boundary_second_is_reported_with_its_order_unless_one_page_contains_it() {
    type Case = (fn(u64) -> i64, &'static [i64]);
    let seconds: [Case; 5] = [
        // Every row has its own second.
        (|key| key as i64, &[]),
        (|key| i64::from(key >= 8), &[1]),
        (|_| 7, &[7]),
        // Rows 19 to 22: the page from 10 to 24 contains them all.
        (|key| if (19..=22).contains(&key) { 19 } else { key as i64 }, &[]),
        // Rows 9 to 15: neither the page from 10 upwards nor the page up to 14 contains them all.
        (|key| if (9..=15).contains(&key) { 9 } else { key as i64 }, &[9]),
    ];
    for (second, expected) in seconds {
        assert_eq!(cut(second, true), (expected.to_vec(), true));
        assert_eq!(cut(second, false), (expected.to_vec(), expected.is_empty()));
    }
}

/// Rows 8 to 17 changed in one second, and rows at the edges of pages have no readable time.
#[test]
fn a_row_without_a_time_hides_no_boundary_second() {
    let second = |key: u64| if (8..=17).contains(&key) { 8 } else { key as i64 };
    for untimed in 5..20 {
        let mut walk = Walk::new(10, 1);
        while let Some(ask) = walk.ask(Duration::ZERO) {
            let page = (ask.span.offset..29).take(ask.span.count);
            let time = |key| if key == untimed { UNTIMED } else { second(key) };
            let page = page.map(|key| Row { key: u128::from(key), second: time(key) }).collect();
            walk.answered(ask, page, 29, Duration::ZERO);
        }
        let cut: Vec<i64> =
            walk.joined().iter().flat_map(|joined| &joined.cut).map(|cut| cut.second).collect();
        assert!(cut.contains(&8), "row {untimed} has no time: {cut:?}");
    }
}

/// Pages that overlap by one row show the same order, whatever the server does.
#[test]
fn one_shared_row_is_no_evidence_of_an_order() {
    let mut walk = Walk::new(1, 1);
    while let Some(ask) = walk.ask(Duration::ZERO) {
        let Span { offset, count } = ask.span;
        let page = (offset..30).take(count).map(|key| Row { key: u128::from(key), second: 7 }).collect();
        walk.answered(ask, page, 30, Duration::ZERO);
    }
    let joined = walk.joined();
    assert!(joined.iter().flat_map(|joined| &joined.cut).all(|cut| cut.in_order == Some(0)));
    assert!(joined.iter().any(|joined| !joined.cut.is_empty()));
}

/// The order in which pages are requested.
#[derive(Clone, Copy, PartialEq)]
enum Scheme {
    Walk,
    /// The common scheme: rising offsets.
    Rising,
}

/// A list from which a row leaves several times a second, and a server whose snapshots are up to `stale` old.
struct World {
    scheme: Scheme,
    edits_per_second: f64,
    stale: Duration,
    rows: u32,
    size: usize,
    /// Share of answers after which the program crashes and resumes with another page size.
    crashes: f64,
    seed: u64,
    /// Maximum number of rows in one answer.
    cap: usize,
    /// Returns the reported total for the true total and the number of rows in the answer.
    total: fn(u64, u64) -> u64,
}

/// `lost` counts the rows that stayed, should have been read, and were not.
struct Outcome {
    lost: usize,
    requests: usize,
    crashes: usize,
}

impl World {
    /// Creates a world with 4,000 rows and without crashes; `stale` is in seconds.
    fn new(edits_per_second: f64, stale: u64, size: usize, seed: u64) -> Self {
        let stale = Duration::from_secs(stale);
        let (cap, total): (_, fn(u64, u64) -> u64) = (MOST, |total, _| total);
        World {
            scheme: Scheme::Walk,
            edits_per_second,
            stale,
            rows: 4000,
            size,
            crashes: 0.0,
            seed,
            cap,
            total,
        }
    }

    fn run(&self) -> Outcome {
        const WORKERS: usize = 8;
        let mut random = Rng::with_seed(self.seed);
        let mut pictures = vec![(Duration::ZERO, (0..self.rows).collect::<Vec<u32>>())];
        let mut next_edit = Duration::ZERO;
        let mut walk = Walk::new(self.size, WORKERS);
        let mut rising = (0..u64::from(self.rows)).step_by(self.size);
        let (mut seen, mut opened) = (HashSet::new(), None);
        let mut busy: BinaryHeap<(std::cmp::Reverse<Duration>, usize)> = BinaryHeap::new();
        let mut under_way: Vec<(Option<PageRequest>, Vec<u32>, u64)> = Vec::new();
        let (mut now, mut requests, mut crashes) = (Duration::ZERO, 0, 0);
        let mut settled: Vec<Joined> = Vec::new();
        let mut kept = HashMap::new();
        loop {
            while busy.len() < WORKERS {
                let (ask, offset, count) = match self.scheme {
                    Scheme::Walk => match walk.ask(now) {
                        Some(ask) => (Some(ask), ask.span.offset, ask.span.count),
                        None => break,
                    },
                    Scheme::Rising => match rising.next() {
                        Some(offset) => (None, offset, self.size),
                        None => break,
                    },
                };
                requests += 1;
                let span = Duration::from_secs_f64(0.2 + 0.8 * random.f64());
                // The server takes the snapshot during the request or before it.
                let mut made = now + span.mul_f64(random.f64());
                if random.bool() {
                    made = made.saturating_sub(self.stale);
                }
                while next_edit <= made {
                    let mut rows = pictures.last().unwrap().1.clone();
                    if !rows.is_empty() {
                        rows.remove(random.usize(..rows.len()));
                    }
                    pictures.push((next_edit, rows));
                    next_edit += Duration::from_secs_f64(-(1.0 - random.f64()).ln() / self.edits_per_second);
                }
                let picture = &pictures.iter().rev().find(|(at, _)| *at <= made).unwrap_or(&pictures[0]).1;
                let opened = opened.get_or_insert_with(|| picture.clone());
                debug_assert!(!opened.is_empty() || self.rows == 0);
                let page: Vec<u32> =
                    picture.iter().skip(offset as usize).take(count.min(self.cap)).copied().collect();
                let total = (self.total)(picture.len() as u64, page.len() as u64);
                under_way.push((ask, page, total));
                busy.push((std::cmp::Reverse(now + span), under_way.len() - 1));
            }
            let Some((std::cmp::Reverse(end), index)) = busy.pop() else {
                let waits = self.scheme == Scheme::Walk && !walk.finished() && walk.failed().is_none();
                match walk.held().filter(|_| waits) {
                    Some(until) => now = now.max(until),
                    None => break,
                }
                continue;
            };
            now = end;
            let (ask, page, total) = std::mem::take(&mut under_way[index]);
            let answer = rows(page.iter().map(|row| u64::from(*row)));
            match ask.map(|ask| (ask.span.offset, walk.answered(ask, answer, total, now))) {
                None | Some((_, Rows::Take)) => seen.extend(page),
                Some((offset, Rows::Keep)) => {
                    kept.insert(offset, page);
                }
                Some((_, Rows::TakeKept(offset))) => seen.extend(kept.remove(&offset).unwrap()),
            }
            settled.extend(walk.joined());
            if random.f64() < self.crashes && !settled.is_empty() {
                // Only what was settled is known; the rest is forgotten.
                crashes += 1;
                busy.clear();
                seen = settled.iter().flat_map(|page| &page.rows).map(|row| row.key as u32).collect();
                let upper = settled.iter().rev().find(|page| !page.rows.is_empty());
                let upper = upper.map(|page| page.rows.clone()).unwrap_or_default();
                now += Duration::from_secs_f64(100.0 * random.f64());
                let size = [self.size, 30, 400][random.usize(..3)];
                walk = Walk::new(size, 1 + random.usize(..WORKERS)).resume(
                    &settled[settled.len() - 1],
                    upper,
                    now,
                );
            }
        }
        let (cap, edits) = (self.cap, self.edits_per_second);
        let why = format!("{:?}, cap {cap}, {edits}/s, seed {}", walk.failed(), self.seed);
        assert!(self.scheme == Scheme::Rising || walk.finished(), "{why}");
        let stayed: HashSet<&u32> = pictures.last().unwrap().1.iter().collect();
        let wanted = opened.unwrap_or_default();
        let lost = wanted.iter().filter(|row| stayed.contains(row) && !seen.contains(row)).count();
        Outcome { lost, requests, crashes }
    }
}

#[test]
fn no_row_that_stays_is_lost_however_many_change_and_however_stale_the_snapshots() {
    for stale in [0, 5] {
        for edits_per_second in [0.2, 1.0, 5.0, 50.0] {
            for size in [50, 100, 1000] {
                for seed in 0..8 {
                    let world = World::new(edits_per_second, stale, size, seed);
                    let Outcome { lost, requests, .. } = world.run();
                    assert_eq!(lost, 0, "{edits_per_second}/s, {stale} s old, pages of {size}, seed {seed}");
                    assert!(requests < 12 * 4000 / size + 60, "{requests} requests of {}", 4000 / size);
                }
            }
        }
    }
}

#[test]
fn no_row_that_stays_is_lost_when_the_walk_resumes_after_crashes_with_other_page_sizes() {
    let mut crashed = 0;
    for stale in [0, 5] {
        for edits_per_second in [1.0, 5.0, 50.0] {
            for size in [50, 100] {
                for seed in 0..8 {
                    let world = World::new(edits_per_second, stale, size, seed);
                    let world = World { rows: 3000, crashes: 0.1, ..world };
                    let Outcome { lost, crashes, requests } = world.run();
                    crashed += crashes;
                    // A walk that joins nothing until the list is empty loses no row either.
                    assert!(requests < 400, "{requests} requests, {crashes} crashes");
                    assert_eq!(lost, 0, "{edits_per_second}/s, {stale} s old, pages of {size}, seed {seed}");
                }
            }
        }
    }
    assert!(crashed > 300, "only {crashed} crashes");
}

#[test]
fn no_row_that_stays_is_lost_whatever_the_totals_and_the_cap() {
    let totals: [fn(u64, u64) -> u64; 5] =
        [|total, _| total, |_, _| 0, |_, rows| rows, |_, _| 100, |total, _| total / 2];
    for (cap, size) in [(MOST, 100), (100, 100), (50, 100), (50, 1000), (10, 100)] {
        for total in totals {
            // Between two answers, fewer rows leave than a page of ten has.
            let busy = if cap == 10 { (1.0, 2) } else { (5.0, 5) };
            for (edits_per_second, stale) in [(0.01, 0), (0.2, 5), (1.0, 0), busy] {
                for seed in 0..8 {
                    let world = World::new(edits_per_second, stale, size, seed);
                    let lost = World { rows: 1500, cap, total, ..world }.run().lost;
                    let total = total(1500, 100);
                    assert_eq!(
                        lost, 0,
                        "cap {cap}, size {size}, total {total}, {edits_per_second}/s, seed {seed}"
                    );
                }
            }
        }
    }
}

/// Proves that this world can lose rows.
#[test]
fn rising_offsets_lose_rows_in_the_same_world() {
    let lost = |seed| World { scheme: Scheme::Rising, ..World::new(5.0, 0, 50, seed) }.run().lost;
    assert!((0..4).map(lost).sum::<usize>() > 0);
}
