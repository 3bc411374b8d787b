//! `kill -9` at any moment of a big load, many times.

use std::{fs, path::Path, process::Stdio, time::Duration};

use serde_json::Value;
use tokio::time::sleep;

use crate::places::checkpoints;
use crate::{
    loopback::{Loopback, finish},
    support::read,
};

const MEMBERS: u64 = 100_000;
const KILLS: u32 = 200;

/// Returns the number of settled rows in a checkpoint. Every line except a truncated one has to be readable.
fn settled(folder: &Path) -> usize {
    let Some(path) = checkpoints(folder).pop() else { return 0 };
    let Ok(text) = fs::read_to_string(path) else { return 0 };
    let whole: Vec<&str> = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).collect();
    let lines = whole.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.skip(1).map(|line| line["rows"].as_str().unwrap().len()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_of_100_000_that_is_killed_200_times_goes_on_each_time_and_misses_nobody() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let entry = |random: &mut fastrand::Rng| {
        let (items, workers) = (random.u32(100..=400), random.u32(1..=10));
        format!(r#"[{{"list_id": "kill1", "items_per_request": {items}, "worker_count": {workers}}}]"#)
    };
    let loopback = Loopback::start(Duration::ZERO, &entry(&mut random)).await.list("kill1", MEMBERS);
    let path = loopback.folder.path();
    let (mut last, mut went_back, mut killed) = (0, 0, 0);
    // If a machine settles nothing before the kill, the next processes live longer.
    let mut longest = 450;
    while killed < KILLS {
        let mut command = loopback.command(&["go", "--once"]);
        // Slow enough for the load to outlast the kills: 200 lives of 0.45 s push 74,000 contacts at most.
        let mut child = command.env("OMETRIA_RATE", "6").stderr(Stdio::null()).spawn().unwrap();
        sleep(Duration::from_millis(random.u64(20..longest))).await;
        child.start_kill().unwrap();
        child.wait().await.unwrap();
        killed += 1;
        let state = loopback.state();
        assert_eq!(read(&state).problems.len(), 0, "{state}");
        assert!(!state.contains("latest_timestamp"), "seed {seed}: the load was over after {killed} kills");
        let settled = settled(path);
        went_back += u32::from(settled < last);
        last = settled;
        if last == 0 && killed % 20 == 0 {
            longest *= 2;
        }
        if random.u8(..10) == 0 {
            fs::write(path.join("state.json"), entry(&mut random)).unwrap();
        }
    }
    assert!(last > 0 && went_back == 0, "seed {seed}: {went_back} times less was settled than before");
    let expected = loopback.expected("kill1");
    let (code, _, log) = finish(loopback.command(&["go", "--once"])).await;
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("resuming the interrupted run"), "{log}");
    assert_eq!(loopback.sandbox.ometria().contacts().len(), expected, "seed {seed}: members are missing");
    let entry: Value = serde_json::from_str(&loopback.state()).unwrap();
    assert_eq!(entry[0]["total_updates"], expected, "every contact once, over all parts");
    assert!(checkpoints(path).is_empty());
    // Only records in flight at a kill are sent again: up to eight batches of 100, and the records that
    // waited for them.
    let sent: usize = loopback.sandbox.seen().pushes.iter().sum();
    let twice = sent - expected;
    println!("{killed} kills, {twice} members sent twice, of {expected}");
    assert!(twice < killed as usize * 1000, "{twice} members were sent twice");
}
