//! Runs of which most records are rejected: a wrong setting or a wrong table, which a person corrects later.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;

use super::{
    plan::{Ended, Outcome, Pipeline, Plan},
    support_tests::{
        self as support, AsItIs, Feed, List, ROWS, Scope, Scoped, Store, plan, runtime, version,
    },
};
use crate::{
    base::{fault::Fault, record::Payload},
    sink::{Delivery, Prepared, Rejection, Settles, Sink, SinkSpec},
    source::Source,
};

/// Rows that are rejected: more than 100, and more than half, but neither the first nor the last.
static MOST: LazyLock<Vec<u64>> = LazyLock::new(|| (15..140).collect());
/// The same rows change while the first pass reads the list.
static CHANGES: LazyLock<Vec<(u64, u32)>> = LazyLock::new(|| MOST.iter().map(|row| (*row, 20)).collect());

fn list(feed: &Feed) -> List {
    feed.list
}

fn store(feed: &Feed, settles: Settles) -> Store<List> {
    Store { settles, ..Store::of(list(feed), Duration::from_millis(1), 1, 0.0) }
}

async fn ended(pipeline: &Pipeline, plan: &Plan) -> Result<Outcome, Fault> {
    match support::cut_off(pipeline, plan, usize::MAX).await.unwrap()? {
        Ended::Finished(outcome) => Ok(outcome),
        Ended::Stopped(_) => panic!("nothing stopped it"),
    }
}

/// Runs the list into a sink that rejects most rows, then into one that accepts all.
async fn corrects<S: Source + 'static>(source: impl Fn(Feed) -> S, rejecting: Store<List>, name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan { reads_archived: false, ..plan(folder.path(), 10, 3) };
    let feed = Feed::new(&[], false);
    let pipeline = support::pipeline(source(feed.clone()), AsItIs, rejecting.clone(), list(&feed));
    let fault = ended(&pipeline, &plan).await.unwrap_err().to_string();
    let (letters, _) = plan.store.dead_letters().await.unwrap();
    assert!(letters.len() > 100, "{name}: {fault}");
    assert!(fault.contains(&format!("{} of ", letters.len())), "{name}: {fault}, {} letters", letters.len());
    assert!(fault.contains("the next run reads the same records again"), "{name}: {fault}");
    rejecting.open.lock().unwrap().clear();
    let corrected = Store { rejected: &[], unfit: &[], ..rejecting };
    let pipeline = support::pipeline(source(feed.clone()), AsItIs, corrected.clone(), list(&feed));
    let outcome = ended(&pipeline, &plan).await.unwrap();
    assert!((0..ROWS).all(|row| corrected.has(row)), "{name}");
    assert_eq!(outcome.counts.rejected.values().sum::<u64>(), 0, "{name}");
    assert!(plan.store.dead_letters().await.unwrap().0.is_empty(), "{name}");
}

#[test]
fn once_the_cause_of_most_rejections_is_corrected_all_records_are_read_again() {
    for settles in [Settles::EachBatch, Settles::AtClose] {
        for by_sink in [true, false] {
            let name = format!("{settles:?}, rejected by the sink: {by_sink}");
            let rejecting = || {
                let store = store(&Feed::new(&[], false), settles);
                match by_sink {
                    true => Store { rejected: &MOST, ..store },
                    false => Store { unfit: &MOST, ..store },
                }
            };
            runtime().block_on(async {
                corrects(|feed| feed, rejecting(), &name).await;
                corrects(|feed| Scoped(feed, Scope::Full), rejecting(), &name).await;
                corrects(|feed| feed.list, rejecting(), &name).await;
            });
        }
    }
}

/// A sink that rejects what has changed, until it is corrected.
struct Strict(Store<List>, Arc<AtomicBool>);

impl Sink for Strict {
    fn spec(&self) -> SinkSpec {
        self.0.spec()
    }

    fn prepare(&self, payload: &Payload) -> Result<Prepared, Rejection> {
        let prepared = self.0.prepare(payload)?;
        match self.1.load(Ordering::Relaxed) && version(&prepared).1 > 0 {
            true => Err(Rejection::new("unfit")),
            false => Ok(prepared),
        }
    }

    fn deliver<'a>(&'a self, batch: &'a [Prepared]) -> BoxFuture<'a, Result<Delivery, Fault>> {
        self.0.deliver(batch)
    }
}

#[test]
fn a_catch_up_pass_that_rejects_most_records_does_not_repeat_the_load() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan { reads_archived: false, ..plan(folder.path(), 10, 3) };
        let feed = Feed::new(&CHANGES, false);
        let (store, strict) = (store(&feed, Settles::EachBatch), Arc::new(AtomicBool::new(true)));
        let sink = Strict(store.clone(), Arc::clone(&strict));
        let pipeline = support::pipeline(feed.clone(), AsItIs, sink, list(&feed));
        let fault = ended(&pipeline, &plan).await.unwrap_err();
        assert!(fault.to_string().contains("110 of 110 records were rejected"), "{fault}");
        let windows = feed.windows.lock().unwrap().len();
        assert_eq!(windows, 2, "the second pass failed");
        strict.store(false, Ordering::Relaxed);
        ended(&pipeline, &plan).await.unwrap();
        assert!(MOST.iter().all(|row| store.times().contains_key(&(*row, 1))));
        let later = feed.windows.lock().unwrap().split_off(windows);
        assert!(!later.is_empty() && later.iter().all(|window| window.since.is_some()), "{later:?}");
        assert!(plan.store.dead_letters().await.unwrap().0.is_empty());
    });
}
