//! Many lists that are due at once: how many run at a time, and in which order.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use importer::{
    base::clock::{Clock, SystemClock},
    controller::{
        Verdict,
        schedule::capacity::{LOADS, RUNS},
    },
    engine::plan::Pipeline,
    sandbox::{Service, Trouble},
};
use tokio::time::{sleep, timeout};

use crate::{
    loopback::{LIMIT, Loopback, Running},
    support::{World, entries},
};

/// A clock of a pipeline that counts how many pipelines there are.
struct Counted {
    clock: Arc<dyn Clock>,
    now: Arc<AtomicUsize>,
}

impl Counted {
    /// Puts a counting clock into a pipeline. `peak` is the largest number of pipelines so far.
    fn pipeline(pipeline: Pipeline, now: &Arc<AtomicUsize>, peak: &AtomicUsize) -> Pipeline {
        peak.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        let clock = Arc::new(Counted { clock: pipeline.clock, now: Arc::clone(now) });
        Pipeline { clock, ..pipeline }
    }
}

impl Clock for Counted {
    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns an entry of each list, `<name>0` and so on, with more fields.
fn lists(name: &str, count: usize, more: &str) -> String {
    let entries: Vec<String> =
        (0..count).map(|list| format!(r#"{{"list_id": "{name}{list}"{more}}}"#)).collect();
    entries.join(",\n")
}

/// Returns a world with these lists of Mailchimp, and the largest number of its pipelines at a time.
fn world(names: &[(&str, usize, u64)], text: &str) -> (World, Arc<AtomicUsize>) {
    let (now, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let highest = Arc::clone(&peak);
    let world = World::new().opening(move |pipeline| Counted::pipeline(pipeline, &now, &peak));
    for (name, count, size) in names {
        for list in 0..*count {
            world.sandbox.mailchimp().add_list(&format!("{name}{list}"), *size, 1, world.clock.now());
        }
    }
    (world.with_state(text), highest)
}

const DUE: &str = r#", "latest_timestamp": "2026-11-20T00:00:00""#;

#[tokio::test(start_paused = true)]
async fn lists_that_are_due_at_once_run_some_at_a_time_and_all_of_them_run() {
    let count = LOADS * 2 + 1;
    let (world, peak) = world(&[("many", count, 3)], &format!("[{}]", lists("many", count, "")));
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(peak.load(Ordering::Relaxed), LOADS);
    assert!(entries(&world.state()).iter().all(|entry| entry.latest_timestamp.is_some()));
    let waiting = format!("{} lists are due and wait for the end of other runs: at most 32", LOADS + 1);
    assert_eq!(world.logged(&waiting), 1);
}

#[tokio::test(start_paused = true)]
async fn big_loads_leave_capacity_for_syncs_which_end_first() {
    let (loads, syncs) = (RUNS + 8, RUNS);
    let text = format!("[{},\n{}]", lists("load", loads, ""), lists("sync", syncs, DUE));
    let (world, peak) = world(&[("load", loads, 400), ("sync", syncs, 1)], &text);
    let world = world.set("OMETRIA_RATE", "1");
    let later = async {
        sleep(Duration::from_secs(50)).await;
        let entries = entries(&world.state());
        let ended = |name: &str| {
            let of = entries.iter().filter(|entry| entry.id.list_id.starts_with(name));
            of.filter(|entry| entry.delivered_before).count()
        };
        assert_eq!((ended("sync"), ended("load")), (syncs, 0));
        world.stop();
    };
    let (verdict, ()) = tokio::join!(world.go(), later);
    assert_eq!(verdict.unwrap(), Verdict::Done);
    assert_eq!(peak.load(Ordering::Relaxed), RUNS);
    let waiting = loads - LOADS + syncs - (RUNS - LOADS);
    assert_eq!(world.logged(&format!("{waiting} lists are due and wait")), 1);
}

#[tokio::test(start_paused = true)]
async fn lists_that_are_due_all_the_time_take_turns() {
    let count = 2 * RUNS + 16;
    let more = format!(r#"{DUE}, "every": "1s""#);
    let (world, _) = world(&[("turn", count, 1)], &format!("[{}]", lists("turn", count, &more)));
    // Two connections can't serve as many runs as are due.
    let world = world.set("MAILCHIMP_CONNECTIONS", "2");
    world.go_for(Duration::from_secs(45)).await.unwrap();
    let left: Vec<String> = entries(&world.state())
        .into_iter()
        .filter(|entry| !entry.delivered_before)
        .map(|entry| entry.id.list_id)
        .collect();
    assert!(left.is_empty(), "never had their turn: {left:?}");
}

/// The emulator holds every push, so that each run that could begin has its checkpoint open: the archived
/// records, of which there are none, are settled by then.
#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_lists_that_are_due_at_once_keep_fewer_than_100_files_open() {
    let count = 2000;
    let text = format!("[{}]", lists("file", count, &DUE.replace("2026", "2010")));
    let loopback = Loopback::start(Duration::ZERO, &text).await;
    for list in 0..count {
        loopback.sandbox.mailchimp().add_list(&format!("file{list}"), 20, 1, SystemClock.now());
        loopback.sandbox.trouble(Service::Ometria, Trouble::Stall { carried_out: false });
    }
    let mut running = Running::start(loopback.command(&["go"]));
    let (mut started, mut read, mut checked) = (BTreeSet::new(), BTreeSet::new(), false);
    while !checked || started.len() > read.len() {
        let line = running.wait_for("").await;
        let list = || line.split('"').nth(1).unwrap().to_owned();
        if line.contains(", firing ") {
            started.insert(list());
        }
        if line.contains(" records from ") && !line.contains(": 0 records") {
            read.insert(list());
        }
        checked |= line.contains("sleeping for 60 seconds");
    }
    let process = format!("/proc/{}", running.child.id().unwrap());
    let open = || -> Vec<String> {
        let files = fs::read_dir(format!("{process}/fd")).unwrap();
        let path = |file: fs::DirEntry| Some(fs::read_link(file.path()).ok()?.display().to_string());
        files.filter_map(|file| path(file.ok()?)).collect()
    };
    let checkpoints = |open: &[String]| open.iter().filter(|path| path.contains("checkpoint")).count();
    let all_open = async {
        while checkpoints(&open()) < started.len() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIMIT, all_open).await.unwrap();
    let open = open();
    assert_eq!((started.len(), checkpoints(&open)), (RUNS, RUNS));
    assert!(open.len() < 100, "{} files: {open:?}", open.len());
    let threads = fs::read_dir(format!("{process}/task")).unwrap().count();
    assert!(threads < 100, "{threads} threads");
    running.signal("KILL");
    running.end().await;
}
