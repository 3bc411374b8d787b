//! What people see: the status and the history of runs.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use chrono::TimeDelta;
use importer::{
    base::{
        clock::{Clock, SystemClock},
        time::log_format,
    },
    controller::status::{EntryState, RunProgress},
    state::lock,
    store::runs::{Cause, ResultKind, RunHistory, RunKind, RunRecord},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    loopback::{LIMIT, Loopback, Running, finish},
    places,
    support::{World, hours, minutes},
    terminal::Terminal,
};

/// Returns the history of the only delivery of a list.
async fn history(world: &World, list_id: &str) -> Vec<RunRecord> {
    RunHistory::of(&places::delivery(world.folder.path(), list_id)).all().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_run_is_one_line_with_its_cause_its_kind_and_its_counts() {
    let world = World::new().list("past1", 50).with_state(r#"[{"list_id": "past1"}]"#);
    let people = async {
        sleep(hours(2) + minutes(10)).await;
        world.save(&world.state().replace("\"2026-11-21T1", "\"2020-11-20T1"));
        sleep(minutes(1)).await;
        world.handle().sync_and_wait(Some("past1")).await.unwrap();
        world.stop();
    };
    let (verdict, ()) = tokio::join!(world.go(), people);
    verdict.unwrap();
    let runs = history(&world, "past1").await;
    let of = |run: &RunRecord| (run.cause, run.kind, run.result, run.counts.as_ref().unwrap().sent > 0);
    let expected = [
        (Cause::Schedule, RunKind::FullLoad, ResultKind::Finished, true),
        (Cause::Schedule, RunKind::Sync, ResultKind::Finished, false),
        (Cause::HandEdit, RunKind::Sync, ResultKind::Finished, true),
        (Cause::Command, RunKind::Sync, ResultKind::Finished, false),
    ];
    assert_eq!(runs.iter().map(of).collect::<Vec<_>>(), expected);
    assert_eq!(runs[0].since, None);
    assert_eq!((runs[1].since, runs[3].since), (runs[0].latest_timestamp, runs[2].latest_timestamp));
    assert!(runs.iter().all(|run| run.start <= run.end && run.error.is_none() && run.reason.is_none()));
    // Every request of the program belongs to a run, except the polls for deferred errors.
    let is_of_run = |request: &&String| !request.contains("error");
    let requests: Vec<String> = world.requests().into_keys().collect();
    let requests: u64 = requests.iter().filter(is_of_run).map(|request| world.requests()[request]).sum();
    assert_eq!(runs.iter().map(|run| run.requests).sum::<u64>(), requests);
    // A quiet run does not hide the last one with changes.
    let entry = &runs[0].entry;
    let history = RunHistory::of(&places::delivery(world.folder.path(), "past1"));
    let last = history.last(entry).await.unwrap();
    assert_eq!((last.last.as_ref(), last.with_changes.as_ref()), (Some(&runs[3]), Some(&runs[2])));
}

#[tokio::test(start_paused = true)]
async fn failed_and_stopped_runs_are_in_the_history_with_their_reasons() {
    let world = World::new().set("OMETRIA_RATE", "3").list("ends1", 3_000);
    let world = world.with_state(r#"[{"list_id": "ends1"}, {"list_id": "none1"}]"#);
    world.go_for(Duration::from_secs(4)).await.unwrap();
    let [stopped] = &history(&world, "ends1").await[..] else { panic!() };
    assert_eq!((stopped.result, stopped.cause), (ResultKind::Stopped, Cause::Schedule));
    assert_eq!(stopped.reason.as_deref(), Some("importer was stopped"));
    assert!(stopped.counts.as_ref().unwrap().sent > 0 && stopped.latest_timestamp.is_none());
    let failed = &history(&world, "none1").await[0];
    assert_eq!((failed.result, failed.counts.as_ref()), (ResultKind::Failed, None));
    assert!(failed.error.as_ref().unwrap().contains("404"), "{failed:?}");
    assert_eq!((failed.requests, failed.refusals), (1, 1));
    // The next run goes on, so nobody has asked for it by hand.
    world.once().await.unwrap();
    let [_, finished] = &history(&world, "ends1").await[..] else { panic!() };
    assert_eq!((finished.result, finished.cause), (ResultKind::Finished, Cause::Schedule));
}

#[tokio::test(start_paused = true)]
async fn a_run_reports_its_progress_with_rate_and_time_left() {
    let world = World::new().set("OMETRIA_RATE", "3").list("far1", 5_000);
    let world = world.with_state(r#"[{"list_id": "far1"}]"#);
    let person = async {
        let mut seen: Vec<RunProgress> = vec![];
        while seen.len() < 8 {
            sleep(Duration::from_secs(1)).await;
            let mut status = world.handle().status().await.unwrap();
            let entry = status.entries.remove(0);
            assert!(matches!(entry.state, EntryState::Running { kind: RunKind::FullLoad, .. }), "{entry:?}");
            seen.extend(entry.progress);
        }
        world.stop();
        seen
    };
    let (verdict, seen) = tokio::join!(world.go(), person);
    verdict.unwrap();
    let total =
        world.sandbox.mailchimp().members("far1").filter(|member| member.status != "archived").count();
    for pair in seen.windows(2) {
        assert!(pair[0].done <= pair[1].done && pair[0].sent <= pair[1].sent, "{pair:?}");
    }
    let last = seen.last().unwrap();
    assert!(last.done > 1_000 && last.done <= last.read && last.read <= last.total, "{last:?}");
    assert_eq!(last.total, total as u64);
    let rate = last.records_per_second.unwrap();
    // The sink takes 300 contacts a second.
    assert!((150.0..400.0).contains(&rate), "{last:?}");
    let left = (last.total - last.done) as f64 / rate;
    assert_eq!(last.seconds_left, Some(left.ceil() as u64));
}

async fn status(loopback: &Loopback, arguments: &[&str]) -> (i32, String, String) {
    finish(loopback.command(&[&["status"], arguments].concat())).await
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_without_a_running_importer_shows_what_a_start_would_do_and_what_runs_have_left() {
    let text =
        r#"[{"list_id": "shown"}, {"list_id": "idle", "enabled": false}, {"list_id": "bad", "every": 5}]"#;
    let loopback = Loopback::start(Duration::ZERO, text).await.list("shown", 50);
    let (code, before, log) = status(&loopback, &[]).await;
    assert_eq!(code, 0, "{log}");
    for line in [
        "importer is not running",
        "shown: mailchimp to ometria\n  now       due; runs when importer is started\n",
        "  now       paused (`enabled` is false)\n",
        ": `every` must be a duration",
    ] {
        assert!(before.contains(line), "{line}\n{before}");
    }
    assert!(!loopback.folder.path().join(".importer").exists(), "the status writes nothing");
    assert_eq!(finish(loopback.command(&["go", "--once"])).await.0, 1);
    let (_, after, _) = status(&loopback, &["shown"]).await;
    for line in ["  now       up to date, due ", "  delivered everything up to ", "  last run  "] {
        assert!(after.contains(line), "{line}\n{after}");
    }
    assert!(after.contains(", full load, ") && !after.contains("idle"), "{after}");
    let (code, told, _) = status(&loopback, &["--json", "shown"]).await;
    let told = parsed(&told);
    assert_eq!(
        (code, &told["pid"], &told["entries"][0]["state"]["is"]),
        (0, &Value::Null, &"up_to_date".into())
    );
    assert_eq!(told["entries"][0]["stored"]["last_run"]["result"], "finished");
    let (code, _, why) = status(&loopback, &["unknown"]).await;
    assert!(code == 2 && why.contains("no entry of the state file has the list \"unknown\""), "{why}");
    let (code, runs, _) = finish(loopback.command(&["history"])).await;
    assert!(code == 0 && runs.lines().count() == 1 && runs.starts_with("shown: "), "{runs}");
    let (_, runs, _) = finish(loopback.command(&["history", "shown", "--json"])).await;
    assert_eq!(parsed(&runs)["kind"], "full");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_check_fails_for_lists_that_are_stale_and_for_those_with_a_problem() {
    let list = |name: &str, rest: &str| format!(r#"[{{"list_id": "{name}"{rest}}}]"#);
    for (state, arguments, code, why) in [
        (list("new", ""), &["--fail-if-stale"][..], 1, "list \"new\" is not loaded yet"),
        (list("off", r#", "enabled": false"#), &["--fail-if-stale"], 0, ""),
        (list("bad", r#", "every": 5"#), &["--fail-if-stale"], 1, "`every` must be a duration"),
        (
            list("old", r#", "latest_timestamp": "2020-01-01T00:00:00""#),
            &["--fail-if-stale"],
            1,
            "is delivered up to 2020",
        ),
        (list("old", r#", "latest_timestamp": "2020-01-01T00:00:00""#), &["--fail-if-stale=99999d"], 0, ""),
        (
            list("old", r#", "latest_timestamp": "2020-01-01T00:00:00""#),
            &["--fail-if-stale=soon"],
            2,
            "invalid duration \"soon\"",
        ),
        (list("old", r#", "latest_timestamp": "2020-01-01T00:00:00""#), &[], 0, ""),
        (
            list("future", r#", "latest_timestamp": "2999-01-01T00:00:00""#),
            &["--fail-if-stale"],
            1,
            "is in the future",
        ),
    ] {
        let loopback = Loopback::start(Duration::ZERO, &state).await;
        let (found, _, log) = status(&loopback, arguments).await;
        assert_eq!(found, code, "{state} {arguments:?}: {log}");
        assert!(log.contains(why), "{state}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_of_a_running_importer_shows_its_progress_and_a_load_is_not_stale() {
    let loopback =
        Loopback::start(Duration::from_millis(100), r#"[{"list_id": "live"}]"#).await.list("live", 30_000);
    let mut command = loopback.command(&["go"]);
    command.env("OMETRIA_RATE", "8");
    let mut running = Running::start(command);
    running.wait_for("is loaded for the first time").await;
    let watched = async {
        loop {
            let (code, told, _) = status(&loopback, &["--json"]).await;
            assert_eq!(code, 0);
            let told = parsed(&told);
            if told["entries"][0]["progress"]["done"].as_u64() > Some(0) {
                return told;
            }
            sleep(Duration::from_millis(200)).await;
        }
    };
    let told = tokio::time::timeout(LIMIT, watched).await.unwrap();
    assert_eq!(told["entries"][0]["state"]["is"], "running");
    assert_eq!(told["pid"], running.child.id().unwrap());
    assert_eq!(status(&loopback, &["--fail-if-stale"]).await.0, 0);
    let file = loopback.folder.path().join(".importer/status.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // On a terminal, the status is drawn again and again in place.
    let mut terminal = Terminal::start(&loopback, "status --watch");
    terminal.wait_for(Some(" left")).await;
    terminal.shown.clear();
    terminal.wait_for(Some("loading, ")).await;
    assert!(
        terminal.shown.contains("\u{1b}[K") && terminal.shown.contains("\u{1b}[H"),
        "{:?}",
        terminal.shown
    );
    terminal.press(b"\x03").await;
    terminal.end().await;
    running.signal("KILL");
    running.end().await;
    let (_, told, _) = status(&loopback, &[]).await;
    assert!(told.contains("importer is not running"), "{told}");
    assert!(told.contains("continues an interrupted run"), "{told}");
    assert!(Path::new(&file).exists(), "what a dead process has published does not count");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_counts_only_if_the_process_with_the_lock_has_published_it_lately() {
    let text = r#"[{"list_id": "kept"}]"#;
    let loopback = Loopback::start(Duration::ZERO, text).await.list("kept", 5);
    assert_eq!(finish(loopback.command(&["go", "--once"])).await.0, 0);
    let ours = loopback.folder.path().join(".importer");
    let published = fs::read_to_string(ours.join("status.json")).unwrap();
    let _lock = lock::take(loopback.folder.path(), SystemClock.now()).unwrap();
    let ago = |minutes: i64| SystemClock.now() - TimeDelta::minutes(minutes);
    let pid = std::process::id();
    for (since, of, time, shown, health) in [
        (0, pid, 30, "has not reported yet", ""),
        (60, pid + 1, 30, "has not reported yet", ""),
        (60, pid, 30, "importer is running", "the running importer has reported nothing since"),
        (60, pid, 0, "importer is running", ""),
    ] {
        let holder = json!({"pid": pid, "host": "here", "since": log_format(ago(since))});
        fs::write(ours.join("lock"), holder.to_string()).unwrap();
        let mut status: Value = serde_json::from_str(&published).unwrap();
        (status["pid"], status["status"]["time"]) = (of.into(), ago(time).to_rfc3339().into());
        fs::write(ours.join("status.json"), status.to_string()).unwrap();
        let (code, told, log) = finish(loopback.command(&["status", "--fail-if-stale"])).await;
        assert!(told.contains(shown), "{since} {of} {time}: {told}");
        assert_eq!(
            (code, log.contains(health)),
            (i32::from(!health.is_empty()), true),
            "{since} {of} {time}: {log}"
        );
    }
    // A load may take hours; a sync may not.
    for (kind, code) in [("full", 0), ("incremental", 1)] {
        let mut status: Value = serde_json::from_str(&published).unwrap();
        (status["pid"], status["status"]["time"]) = (pid.into(), ago(0).to_rfc3339().into());
        let entry = &mut status["status"]["entries"][0];
        entry["state"] = json!({"is": "running", "kind": kind, "start": ago(300).to_rfc3339()});
        entry["latest_timestamp"] = ago(300).to_rfc3339().into();
        entry["next_due"] = ago(180).to_rfc3339().into();
        fs::write(ours.join("status.json"), status.to_string()).unwrap();
        assert_eq!(finish(loopback.command(&["status", "--fail-if-stale"])).await.0, code, "{kind}");
    }
    // Another version may have written something else.
    fs::write(ours.join("status.json"), "{}").unwrap();
    assert!(finish(loopback.command(&["status"])).await.1.contains("has not reported yet"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_file_that_was_never_readable_is_shown_and_not_healthy() {
    let loopback = Loopback::start(Duration::ZERO, "[{").await;
    let mut running = Running::start(loopback.command(&["go"]));
    running.wait_for("sleeping for 60 seconds").await;
    let broken = async {
        loop {
            let (code, told, log) = status(&loopback, &["--fail-if-stale"]).await;
            if told.contains("can't be read, so no list runs: ") {
                return (code, log);
            }
            sleep(Duration::from_millis(200)).await;
        }
    };
    let (code, log) = tokio::time::timeout(LIMIT, broken).await.unwrap();
    assert!(code == 1 && log.contains("the state file can't be read, so no list runs"), "{log}");
}

#[test]
fn a_command_that_asks_for_the_holder_of_the_lock_keeps_no_process_from_taking_it() {
    let folder = tempfile::tempdir().unwrap();
    drop(lock::take(folder.path(), SystemClock.now()).unwrap());
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                lock::holder(folder.path()).unwrap();
            }
        };
        scope.spawn(asking);
        for _ in 0..200 {
            drop(lock::take(folder.path(), SystemClock.now()).unwrap());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(lock::holder(folder.path()).unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_seen_enough_is_no_failure() {
    let entries: Vec<String> = (0..300).map(|number| format!(r#"{{"list_id": "list{number}"}}"#)).collect();
    let loopback = Loopback::start(Duration::ZERO, &format!("[{}]", entries.join(", "))).await;
    let mut command = loopback.command(&["status"]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let ended = tokio::time::timeout(LIMIT, child.wait_with_output()).await.unwrap().unwrap();
    let log = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success() && !log.contains("importer: "), "{log}");
}
