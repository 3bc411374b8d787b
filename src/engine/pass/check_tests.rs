//! Reads a second that does not fit into one answer, while one of its rows leaves.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use serde_json::value::to_raw_value;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    engine::{
        plan::Ended,
        run,
        support_tests::{AsItIs, List, NOON, Store, pipeline, plan, runtime},
    },
    source::{OffsetPaging, Paging, Scope, Source},
};

#[test]
fn near_seconds_are_looked_at_together_and_a_group_is_halved_without_losing_one() {
    let group = |first, last| Seconds { first, last };
    assert_eq!(groups(vec![500, 3, 1, 62, 62]), [group(1, 62), group(500, 500)]);
    assert_eq!(groups(vec![5, i64::MIN]), [group(i64::MIN, i64::MIN), group(5, 5)]);
    assert_eq!(group(1, 62).halves(), [group(1, 31), group(32, 62)]);
    assert_eq!(group(5, 6).halves(), [group(5, 5), group(6, 6)]);
    assert_eq!(
        groups(vec![i64::MIN])[0].window(Window { listing: Listing::Listed, since: None, until: None }),
        None
    );
}

/// Rows of one second, all in one list.
const TIED: u64 = 12;
/// The row that stays, and that no page of the walk shows.
const HIDDEN: u64 = 5;
/// The row that leaves after the walk.
const LEAVING: u64 = 6;
/// Rows per answer.
const CAP: usize = 4;

/// An answer of the server.
#[derive(Debug, Clone)]
struct Answer {
    /// Whether it answers a reading of the second by itself.
    by_itself: bool,
    rows: Vec<u64>,
}

/// A server that lists the rows of one second in another order in every answer. Each answer of the walk comes
/// from a snapshot with [`LEAVING`]; of the answers to readings of the second by itself, only the third does.
#[derive(Clone)]
struct Tied {
    clock: List,
    answers: Arc<Mutex<Vec<Answer>>>,
}

impl Tied {
    fn second() -> DateTime<Utc> {
        *NOON - TimeDelta::hours(2)
    }

    /// Returns the rows of an answer, and its total.
    fn answer(&self, window: &Window, span: Span) -> (Vec<u64>, u64) {
        let second = Tied::second();
        let outside = window.since.is_some_and(|since| since >= second)
            || window.until.is_some_and(|until| until < second);
        if window.listing == Listing::Archived || outside {
            return (vec![], 0);
        }
        let (from, count) = (span.offset as usize, span.count.min(CAP));
        let page = |rows: Vec<u64>| rows.into_iter().skip(from).take(count).collect();
        let mut answers = self.answers.lock().unwrap();
        let by_itself = window.since.is_some_and(|since| since > DateTime::UNIX_EPOCH);
        let number = answers.iter().filter(|answer| answer.by_itself).count();
        let (rows, total) = match (by_itself, number) {
            // Whichever page is requested, the hidden row is in another one.
            (false, 0) => {
                let others = (0..TIED).filter(|row| *row != HIDDEN);
                let mut rows: Vec<u64> = others.collect();
                rows.insert(if from > 0 { 0 } else { rows.len() }, HIDDEN);
                (page(rows), TIED)
            }
            // The first round shows 11 rows, as many as the newest snapshot has; one of them is in no answer
            // but the stale one.
            (true, 2) => (vec![4, LEAVING, 7, 8], TIED),
            (true, 3) => (vec![9, 10, 11], TIED - 1),
            _ => (page((0..TIED).filter(|row| *row != LEAVING).collect()), TIED - 1),
        };
        answers.push(Answer { by_itself, rows: rows.clone() });
        (rows, total)
    }
}

impl Source for Tied {
    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    fn paging(&self) -> Paging<'_> {
        Paging::Offset(self)
    }

    fn scope(&self) -> Scope {
        Scope::Changes
    }
}

impl OffsetPaging for Tied {
    fn read<'a>(&'a self, window: &'a Window, span: Span) -> BoxFuture<'a, Result<Page, Fault>> {
        let (rows, total) = self.answer(window, span);
        let record = |row: u64| Record {
            key: row.to_string().into(),
            changed: Some(Tied::second()),
            status: "subscribed".into(),
            deleted: false,
            unreadable: None,
            body: to_raw_value(&[row, 0]).unwrap().into(),
        };
        let records = rows.into_iter().map(record).collect();
        Box::pin(async move {
            sleep(Duration::from_millis(200)).await;
            Ok(Page { records, total, at: self.now() })
        })
    }
}

/// The number of rows that were read reaches the total of the newest snapshot, but one of them has left it.
#[test]
fn a_row_that_only_a_stale_answer_shows_does_not_stand_for_one_that_was_never_shown() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let tick = Duration::from_millis(1);
        let clock = List { begun: Instant::now(), tick, changes: &[], late: false };
        let source = Tied { clock, answers: Arc::default() };
        let store = Store::of((), tick, 1, 0.0);
        let pipeline = pipeline(source.clone(), AsItIs, store.clone(), clock);
        let ended = run::run(&pipeline, &plan(folder.path(), CAP, 1), &CancellationToken::new()).await;
        let Ok(Ended::Finished(outcome)) = ended else { panic!("{ended:?}") };
        assert_eq!(outcome.counts.unexplained, 0);
        let answers = source.answers.lock().unwrap().clone();
        let of_walk = answers.iter().filter(|answer| !answer.by_itself);
        assert!(of_walk.clone().any(|answer| answer.rows.contains(&LEAVING)), "{answers:?}");
        assert!(of_walk.clone().all(|answer| !answer.rows.contains(&HIDDEN)), "{answers:?}");
        let lost: Vec<u64> = (0..TIED).filter(|row| !store.has(*row)).collect();
        assert!(lost.is_empty(), "never delivered: {lost:?}; {answers:?}");
    });
}
