//! The history of runs: what stays of it, and what is found in it.

use super::*;
use crate::base::time;

fn at(minute: i64) -> DateTime<Utc> {
    time::parse("2026-11-21T12:00:00").unwrap() + TimeDelta::minutes(minute)
}

pub fn run(entry: &str, minute: i64, sent: u64) -> RunRecord {
    RunRecord {
        list_id: "l".into(),
        entry: entry.into(),
        start: at(minute),
        end: at(minute),
        cause: Cause::Schedule,
        kind: RunKind::Sync,
        result: ResultKind::Finished,
        since: Some(at(minute - 120)),
        latest_timestamp: Some(at(minute)),
        counts: Some(Counts { sent, ..Counts::default() }),
        error: None,
        reason: None,
        requests: 2,
        refusals: 0,
    }
}

#[tokio::test]
async fn runs_are_found_in_their_order_and_by_entry() {
    let folder = tempfile::tempdir().unwrap();
    let history = RunHistory::of(&folder.path().join("new"));
    assert_eq!(history.all().await.unwrap(), []);
    assert_eq!(history.last("a").await.unwrap(), LastRuns::default());
    let failed =
        RunRecord { result: ResultKind::Failed, counts: None, error: Some("x".into()), ..run("b", 3, 0) };
    let runs = [run("a", 0, 5), run("b", 1, 7), run("a", 2, 0), failed.clone()];
    for run in &runs {
        history.append(run.clone()).await.unwrap();
    }
    assert_eq!(history.all().await.unwrap(), runs);
    let [first, second, quiet, _] = runs;
    let a = LastRuns { last: Some(quiet.clone()), finished: Some(quiet), with_changes: Some(first) };
    assert_eq!(history.last("a").await.unwrap(), a, "a quiet run does not hide the last one with changes");
    let b = LastRuns { last: Some(failed.clone()), finished: Some(second), with_changes: Some(failed) };
    assert_eq!(history.last("b").await.unwrap(), b);
}

#[tokio::test]
async fn a_run_with_changes_is_found_behind_any_number_of_quiet_ones() {
    let folder = tempfile::tempdir().unwrap();
    let history = RunHistory::of(folder.path());
    for minute in 0..200 {
        history.append(run("a", minute, u64::from(minute == 0))).await.unwrap();
    }
    let last = history.last("a").await.unwrap();
    assert_eq!((last.last.unwrap().end, last.with_changes.unwrap().end), (at(199), at(0)));
}

#[tokio::test]
async fn a_line_that_a_crash_has_cut_costs_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (history, path) = (RunHistory::of(folder.path()), folder.path().join(NAME));
    history.append(run("a", 0, 1)).await.unwrap();
    let whole = std::fs::read(&path).unwrap();
    files::replace(&path, &[&whole[..], &whole[..20]].concat()).unwrap();
    history.append(run("a", 1, 1)).await.unwrap();
    assert_eq!(history.all().await.unwrap(), [run("a", 0, 1), run("a", 1, 1)]);
}

#[test]
fn age_and_size_are_bounded_and_quiet_runs_go_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME);
    let most = 40_000;
    for minute in 0..1_000 {
        append(&path, &run("a", minute, u64::from(minute == 10)), most).unwrap();
        let size = std::fs::metadata(&path).unwrap().len();
        assert!(size <= most + 1_000, "{size} bytes after {minute} runs");
    }
    let runs = parse(&std::fs::read(&path).unwrap());
    assert!(runs.len() > 20, "{}", runs.len());
    assert_eq!(runs[0], run("a", 10, 1), "the run with changes stays");
    assert_eq!(runs.last(), Some(&run("a", 999, 0)));
    // 92 days later, only the new run is left.
    append(&path, &run("a", 92 * 24 * 60 + 1_000, 0), most).unwrap();
    assert_eq!(parse(&std::fs::read(&path).unwrap()).len(), 1);
}

#[test]
fn the_last_run_of_an_entry_stays_even_if_it_was_quiet() {
    let runs: Vec<RunRecord> =
        (0..100).map(|minute| run(if minute == 0 { "b" } else { "a" }, minute, 1)).collect();
    let runs: Vec<RunRecord> =
        runs.into_iter().map(|run| RunRecord { counts: Some(Counts::default()), ..run }).collect();
    let size = serde_json::to_vec(&runs[0]).unwrap().len() as u64 + 20;
    let kept = kept(runs, at(100), 10 * size);
    assert!(kept.len() >= 9 && kept[0].entry == "b", "{kept:?}");
}
