//! The work that runs do on the records of a delivery: commits, each of which waits for the disk, and rows.

use std::{path::Path, sync::atomic::Ordering, time::Duration};

use chrono::TimeDelta;
use tokio::time::Instant;

use super::{
    plan::{Ended, Outcome, Plan},
    support_tests::{self as support, AsItIs, Feed, List, NOON, ROWS, Scope, Scoped, Store, runtime},
};
use crate::{
    base::fate::{Effect, Fate},
    store::{progress::Row, records::Delivered, seen::Seen},
};

/// Commits, and rows that were written and read.
type Work = (u64, u64, u64);

fn feed(changes: &'static [(u64, u32)]) -> Feed {
    let list = List { begun: Instant::now(), tick: Duration::from_millis(1), changes, late: false };
    Feed { list, ..Feed::new(changes, false) }
}

/// Runs the list to its end. Returns its outcome, the number of batches, and the work on the records.
async fn run(feed: &Feed, scope: Scope, folder: &Path, plan: &Plan) -> (Outcome, usize, Work) {
    let store = Store::of(feed.clone(), feed.list.tick, 1, 0.0);
    let pipeline = support::pipeline(Scoped(feed.clone(), scope), AsItIs, store.clone(), feed.list);
    let records = support::records(folder, None);
    let before = records.work().await;
    let ended = support::cut_off(&pipeline, plan, usize::MAX).await.unwrap().unwrap();
    let Ended::Finished(outcome) = ended else { panic!("it was stopped") };
    plan.store.discard_checkpoint().await.unwrap();
    let after = records.work().await;
    let work = (after.commits - before.commits, after.written - before.written, after.read - before.read);
    (outcome, store.deliveries.load(Ordering::Relaxed) - 1, work)
}

/// Returns a plan that skips what the sink has according to the delivery cache.
fn cached(folder: &Path) -> Plan {
    Plan {
        records: support::records(folder, Some(TimeDelta::days(7))),
        holds_back: true,
        reads_archived: false,
        ..support::plan(folder, 10, 3)
    }
}

#[test]
fn a_load_waits_for_the_disk_before_a_batch_only_if_that_changes_a_record_that_the_sink_has() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        // Some rows change between the second and the third run.
        let feed = feed(&[(3, 600_000), (4, 600_000), (77, 600_000)]);
        let plan = cached(folder.path());
        let (load, batches, work) = run(&feed, Scope::Full, folder.path(), &plan).await;
        assert_eq!((load.counts.sent, batches), (ROWS, 15));
        // The beginning and the end of the pass, and the daily housekeeping. Each row has two parts.
        assert_eq!((work.0, work.1), (3, 2 * ROWS));
        let (load, batches, work) = run(&feed, Scope::Full, folder.path(), &plan).await;
        assert_eq!((load.counts.unchanged, batches), (ROWS, 0));
        assert_eq!((work.0, work.1), (1, ROWS), "when the records were last read");
        let (load, _, work) = run(&feed, Scope::Full, folder.path(), &plan).await;
        assert_eq!((load.counts.unchanged, work.0, work.1), (ROWS, 1, 0));
        tokio::time::sleep(Duration::from_secs(700)).await;
        let (load, batches, work) = run(&feed, Scope::Full, folder.path(), &plan).await;
        assert_eq!((load.counts.unchanged, load.counts.sent, batches), (ROWS - 3, 3, 1));
        assert_eq!(work.0, 2, "before the batch, and the end of the pass");
    });
}

/// What is remembered is safe from a loss of power with the checkpoint, every two seconds.
#[test]
fn a_long_load_writes_what_it_remembers_with_its_checkpoint() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let feed = Feed::new(&[], false);
        let (load, batches, work) = run(&feed, Scope::Full, folder.path(), &cached(folder.path())).await;
        let seconds = load.elapsed.as_secs();
        assert!(seconds > 20 && batches == 15, "{seconds} s, {batches} batches");
        assert!(work.0 > 5 && work.0 <= 3 + seconds / 2, "{} commits in {seconds} s", work.0);
    });
}

#[test]
fn a_sync_that_finds_nothing_does_the_same_whatever_the_number_of_records_on_file() {
    let works = [1_000, 30_000].map(|records| {
        runtime().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let since = Some(*NOON - TimeDelta::hours(1));
            let plans = [
                Plan { since, ..cached(folder.path()) },
                Plan { since, ..support::plan(folder.path(), 10, 3) },
            ];
            fill(&plans[0], records).await;
            let mut works = vec![];
            for plan in &plans {
                let (sync, batches, work) = run(&feed(&[]), Scope::Changes, folder.path(), plan).await;
                assert_eq!((sync.counts.seen, batches), (0, 0));
                works.push(work);
            }
            works
        })
    });
    assert_eq!(works[0], works[1]);
    assert_eq!(works[0], [(1, 0, 0), (1, 0, 0)], "only the time of the sync is written");
}

/// Puts this number of records into the ledger.
async fn fill(plan: &Plan, records: u128) {
    let mut seen = Seen::default();
    for key in 0..records {
        seen.insert(Row { key, second: 5 }, "subscribed", Fate::Sent(Effect::None));
    }
    let delivered = Delivered {
        seen: vec![&seen],
        whole: true,
        left_out: 0,
        opt_outs: None,
        until: *NOON - TimeDelta::hours(1),
        archived: true,
        choice: None,
        totals_wrong: false,
        most_rows: 0,
    };
    plan.records.add(delivered).await.unwrap();
}
