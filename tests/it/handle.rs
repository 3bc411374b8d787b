//! A handle commands a running program: a sync on request, the stop of one list, the state of every entry.

use std::time::Duration;

use importer::{
    controller::{
        Verdict,
        handle::{Gone, Handle},
        status::{EntryState, EntryStatus, Refusal, RunOutcome, RunResult, Status, SyncAnswer, Synced, Wait},
    },
    sandbox::{SECOND_OMETRIA_KEY, Service, Trouble},
    store::runs::RunKind,
};
use tokio::time::{Instant, sleep};

use crate::support::{World, hours, minutes};

/// Size of a list that loads for 16 s with [`slow`].
const SIZE: u64 = 5000;

fn slow(world: World) -> World {
    world.set("OMETRIA_RATE", "3")
}

/// Runs the loop while `story` commands it, then stops it.
async fn told<T>(world: &World, story: impl AsyncFnOnce(Handle) -> T) -> T {
    let commands = async {
        sleep(Duration::from_millis(100)).await;
        let told = story(world.handle()).await;
        world.stop();
        told
    };
    let (verdict, told) = tokio::join!(world.go(), commands);
    assert_eq!(verdict.unwrap(), Verdict::Done);
    told
}

/// Returns the only answer.
fn only(answers: Vec<Synced>) -> SyncAnswer {
    let [Synced { answer, .. }] = <[Synced; 1]>::try_from(answers).unwrap();
    answer
}

fn result(answer: SyncAnswer) -> RunResult {
    let SyncAnswer::Ended { result } = answer else { panic!("{answer:?}") };
    *result
}

/// Returns the records that a finished run has sent.
fn sent(result: &RunResult) -> u64 {
    match &result.outcome {
        RunOutcome::Finished { counts, not_written: None, .. } => counts.sent,
        other => panic!("{other:?}"),
    }
}

fn of<'a>(status: &'a Status, list: &str) -> &'a EntryStatus {
    status.entries.iter().find(|entry| entry.list_id.as_deref() == Some(list)).unwrap()
}

async fn state(handle: &Handle, list: &str) -> EntryState {
    of(&handle.status().await.unwrap(), list).state.clone()
}

/// Refusal of a sync of this list.
async fn refused(handle: &Handle, list: &str) -> Refusal {
    match only(handle.sync_now(Some(list)).await.unwrap()) {
        SyncAnswer::Refused { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_requested_sync_runs_at_once_and_its_caller_gets_the_counts_of_what_is_in_the_state_file() {
    let world = World::new().list("now1", 50).with_state(r#"[{"list_id": "now1"}]"#);
    told(&world, async |handle| {
        sleep(minutes(5)).await;
        let before = world.field("latest_timestamp");
        let member = world.sandbox.mailchimp().members("now1").next().unwrap().number;
        world
            .sandbox
            .mailchimp()
            .edit("now1", member, world.clock.now(), |member| member.first = "Ada".into());
        sleep(minutes(5)).await;
        assert_eq!(world.field("latest_timestamp"), before, "it is not due for two hours");
        let asked = Instant::now();
        let result = result(only(handle.sync_and_wait(Some("now1")).await.unwrap()));
        assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
        assert_eq!((sent(&result), result.kind), (1, RunKind::Sync));
        assert_ne!(world.field("latest_timestamp"), before);
        world.assert_delivered("now1");
        assert_eq!(world.logged("firing the requested incremental sync."), 1);
        assert_eq!(only(handle.sync_now(Some("now1")).await.unwrap()), SyncAnswer::Started);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn requests_during_a_run_share_the_next_run_which_reads_what_changed_before_them() {
    let world = slow(World::new()).list("next1", SIZE).with_state(r#"[{"list_id": "next1"}]"#);
    told(&world, async |handle| {
        sleep(Duration::from_secs(4)).await;
        assert_eq!(only(handle.sync_now(Some("next1")).await.unwrap()), SyncAnswer::Queued);
        let both = tokio::join!(handle.sync_and_wait(None), handle.sync_and_wait(Some("next1")));
        let [one, two] = [both.0, both.1].map(|answers| result(only(answers.unwrap())));
        assert_eq!((&one, one.kind), (&two, RunKind::Sync), "the load does not count");
        let loads = handle.results(Some("next1")).await.unwrap();
        assert_eq!(
            loads.iter().map(|result| result.kind).collect::<Vec<_>>(),
            [RunKind::Sync, RunKind::FullLoad]
        );
        assert!(loads[1].end <= one.start);
        sleep(minutes(10)).await;
        assert_eq!(handle.results(None).await.unwrap().len(), 2, "three requests, one run");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_can_not_run_is_answered_with_the_reason() {
    let text = r#"[{"list_id": "off1", "enabled": false}, {"list_id": "bad1", "every": 5}, {"list_id": "ask1", "first_load": "ask"},
        {"list_id": "late1", "latest_timestamp": "2030-01-01T00:00:00"}]"#;
    let world = World::new().list("off1", 10).list("ask1", 10).list("late1", 10).with_state(text);
    told(&world, async |handle| {
        assert_eq!(refused(&handle, "off1").await, Refusal::Paused);
        assert_eq!(refused(&handle, "ask1").await, Refusal::FirstLoad);
        assert_eq!(refused(&handle, "none1").await, Refusal::UnknownList);
        for (list, place, problem) in
            [("bad1", "state.json:1:70: ", "`every`"), ("late1", "state.json:2:9: ", "in the future")]
        {
            let Refusal::Problem { text } = refused(&handle, list).await else { panic!("{list}") };
            assert!(text.contains(place) && text.contains(problem), "{text}");
            let EntryState::Problem { text: state } = state(&handle, list).await else { panic!("{list}") };
            assert_eq!(state, text);
        }
        assert_eq!(state(&handle, "off1").await, EntryState::Paused);
        assert_eq!(state(&handle, "ask1").await, EntryState::Waiting { cause: Wait::Person });
        // Without a list, paused entries are no news.
        let all = handle.sync_and_wait(None).await.unwrap();
        let lists: Vec<_> = all.iter().map(|synced| synced.list_id.as_deref().unwrap()).collect();
        assert_eq!(lists, ["bad1", "ask1", "late1"]);
        assert!(handle.stop_one("none1").await.unwrap() == Err(Refusal::UnknownList));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stopped_list_delivers_what_it_read_and_starts_again_only_on_request() {
    let text = r#"[{"list_id": "halt1"}, {"list_id": "free1"}]"#;
    let world = slow(World::new()).list("halt1", SIZE).list("free1", 50).with_state(text);
    told(&world, async |handle| {
        sleep(Duration::from_secs(4)).await;
        let asked = Instant::now();
        let stopped = handle.stop_one("halt1").await.unwrap().unwrap();
        assert!(asked.elapsed() < Duration::from_secs(9), "{:?}", asked.elapsed());
        let RunOutcome::Stopped { reason: why, counts: Some(counts) } = &stopped[0].outcome else {
            panic!("{stopped:?}")
        };
        assert_eq!((stopped.len(), why.as_str()), (1, "stopped on request"));
        assert!(counts.sent > 500, "{counts:?}");
        assert_eq!(state(&handle, "halt1").await, EntryState::Stopped);
        sleep(hours(5)).await;
        assert_eq!(handle.results(Some("halt1")).await.unwrap(), stopped, "it does not start by itself");
        assert!(handle.results(Some("free1")).await.unwrap().len() > 1, "the other list goes on");
        assert_eq!(handle.stop_one("halt1").await.unwrap(), Ok(vec![]));
        let result = result(only(handle.sync_and_wait(Some("halt1")).await.unwrap()));
        assert_eq!(result.kind, RunKind::FullLoad);
        assert_eq!(world.logged("resuming the interrupted run"), 1);
        world.assert_delivered("halt1");
        assert!(matches!(state(&handle, "halt1").await, EntryState::UpToDate { .. }));
    })
    .await;
    assert_eq!(world.logged("ERROR"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_list_starts_again_after_an_edit_of_its_entry() {
    let edited = |text: &str, edit: &str| text.replace("\"list_id\"", &format!("{edit}, \"list_id\""));
    for edit in [r#""worker_count": 2"#, r#""latest_timestamp": null"#] {
        let world = World::new().list("halt2", 50).with_state(r#"[{"list_id": "halt2"}]"#);
        told(&world, async |handle| {
            sleep(minutes(5)).await;
            assert_eq!(handle.stop_one("halt2").await.unwrap(), Ok(vec![]));
            sleep(hours(3)).await;
            assert_eq!(handle.results(None).await.unwrap().len(), 1);
            let text = world.state();
            let text = match edit.contains("null") {
                true => text.replace(&world.field("latest_timestamp").to_string(), "null"),
                false => edited(&text, edit),
            };
            world.save(&text);
            sleep(minutes(1)).await;
            assert_eq!(handle.results(None).await.unwrap().len(), 2, "{text}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_overrides_the_rest_after_a_failure() {
    let world = World::new().list("rest1", 50).with_state(r#"[{"list_id": "rest1"}]"#);
    (0..12).for_each(|_| world.sandbox.trouble(Service::Mailchimp, Trouble::Status(400, None)));
    told(&world, async |handle| {
        sleep(minutes(20)).await;
        let EntryState::Resting { until, failures, why } = state(&handle, "rest1").await else { panic!() };
        assert!(
            failures >= 3 && until > world.clock.now() && why.contains("400"),
            "{failures} {until} {why}"
        );
        let failed = result(only(handle.sync_and_wait(Some("rest1")).await.unwrap()));
        assert!(matches!(failed.outcome, RunOutcome::Failed { error } if error.contains("400")));
        let EntryState::Resting { failures: more, .. } = state(&handle, "rest1").await else { panic!() };
        assert_eq!(more, failures + 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_held_delivery_is_shown_and_not_run_until_the_hold_is_lifted() {
    let world = World::new().list("held1", 2000).with_state(r#"[{"list_id": "held1"}]"#);
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    sleep(hours(3)).await;
    let numbers: Vec<u64> = world.sandbox.mailchimp().members("held1").map(|member| member.number).collect();
    for number in numbers.into_iter().take(1500) {
        let now = world.clock.now();
        world.sandbox.mailchimp().edit("held1", number, now, |member| member.status = "unsubscribed");
    }
    sleep(minutes(10)).await;
    let held = async |handle: Handle| {
        sleep(minutes(1)).await;
        let EntryState::Held { why } = state(&handle, "held1").await else { panic!() };
        assert!(why.contains("importer release held1"), "{why}");
        assert_eq!(refused(&handle, "held1").await, Refusal::Held { why });
    };
    told(&world, held).await;
    // A hold of an earlier process is known from the start.
    told(&world, async |handle| {
        held(handle.clone()).await;
        let lists = world.folder.path().join(".importer/lists");
        let holds = importer::store::hold::below(&lists).await.unwrap();
        for hold in holds {
            importer::store::hold::lift(hold).await.unwrap();
        }
        assert!(!matches!(state(&handle, "held1").await, EntryState::Held { .. }));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_status_shows_what_each_entry_does() {
    let text = r#"[
  {"list_id": "load1"},
  {"list_id": "load1", "collection": "other"},
  {"list_id": "idle1", "sink": {"type": "ometria", "account": "eu"}},
  5
]"#;
    let world =
        slow(World::new()).set("OMETRIA_APIKEY_EU", SECOND_OMETRIA_KEY).list("load1", SIZE).list("idle1", 50);
    let world = world.with_state(text);
    let status = told(&world, async |handle| {
        sleep(Duration::from_secs(6)).await;
        let status = handle.status().await.unwrap();
        let EntryState::Running { kind: RunKind::FullLoad, start } = status.entries[0].state else {
            panic!("{:?}", status.entries[0])
        };
        assert!(start < status.time);
        assert_eq!(status.entries[1].state, EntryState::Waiting { cause: Wait::List });
        assert!(matches!(status.entries[2].state, EntryState::UpToDate { .. }), "{:?}", status.entries[2]);
        assert!(
            matches!(&status.entries[3].state, EntryState::Problem { text } if text.contains("json:5:3: "))
        );
        assert!(status.file.path.ends_with("state.json") && status.file.broken.is_none());
        let entry = &status.entries[2];
        assert!(entry.place.ends_with("state.json:4:3"), "{}", entry.place);
        let [source, sink] = [&entry.source, &entry.sink].map(|adapter| adapter.clone().unwrap());
        assert_eq!((source.kind.as_str(), source.account), ("mailchimp", None));
        assert_eq!((sink.kind.as_str(), sink.account.as_deref()), ("ometria", Some("eu")));
        assert!(sent(entry.last_result.as_ref().unwrap()) > 0);
        assert!(entry.next_due > entry.latest_timestamp && !entry.requested);
        world.save("[{");
        sleep(Duration::from_secs(2)).await;
        let broken = handle.status().await.unwrap();
        assert!(broken.file.broken.unwrap().contains("state.json:1:2"));
        assert_eq!(broken.entries.len(), 4, "the last valid version counts");
        world.save(text);
        sleep(Duration::from_secs(2)).await;
        status
    })
    .await;
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["entries"][0]["state"]["is"], "running");
    assert_eq!(json["entries"][1]["state"], serde_json::json!({"is": "waiting", "for": "list"}));
    assert_eq!(json["entries"][2]["sink"]["account"], "eu");
    assert_eq!(serde_json::from_value::<Status>(json).unwrap(), status);
}

#[tokio::test(start_paused = true)]
async fn a_stop_of_the_program_answers_every_caller() {
    let world = slow(World::new()).list("end1", SIZE).with_state(r#"[{"list_id": "end1"}]"#);
    let callers = async {
        sleep(Duration::from_millis(100)).await;
        let handle = world.handle();
        let stop = async {
            sleep(Duration::from_secs(4)).await;
            world.stop();
            sleep(Duration::from_millis(100)).await;
            assert!(matches!(refused(&handle, "end1").await, Refusal::Stopping));
        };
        let queued = handle.sync_and_wait(Some("end1"));
        let stopped = async {
            sleep(Duration::from_secs(3)).await;
            handle.stop_one("end1").await
        };
        let (queued, stopped, ()) = tokio::join!(queued, stopped, stop);
        assert_eq!(only(queued.unwrap()), SyncAnswer::Refused { reason: Refusal::Stopped });
        assert!(matches!(stopped.unwrap().unwrap()[0].outcome, RunOutcome::Stopped { .. }));
        handle
    };
    let (verdict, handle) = tokio::join!(world.go(), callers);
    assert_eq!(verdict.unwrap(), Verdict::Done);
    assert_eq!(handle.status().await, Err(Gone));
}

#[tokio::test(start_paused = true)]
async fn a_caller_whose_run_has_not_started_learns_that_the_program_stops() {
    let world = slow(World::new()).list("end2", SIZE).with_state(r#"[{"list_id": "end2"}]"#);
    let callers = async {
        sleep(Duration::from_secs(1)).await;
        let (handle, stop) = (world.handle(), async {
            sleep(Duration::from_secs(1)).await;
            world.stop();
        });
        let (answers, ()) = tokio::join!(handle.sync_and_wait(Some("end2")), stop);
        only(answers.unwrap())
    };
    let (verdict, answer) = tokio::join!(world.go(), callers);
    assert_eq!(verdict.unwrap(), Verdict::Done);
    assert_eq!(answer, SyncAnswer::Refused { reason: Refusal::Stopping });
}

#[tokio::test(start_paused = true)]
async fn a_requested_run_that_the_program_stops_is_an_answer_too() {
    let world = slow(World::new()).list("end3", SIZE).with_state(r#"[{"list_id": "end3"}]"#);
    let callers = async {
        sleep(Duration::from_secs(1)).await;
        let handle = world.handle();
        handle.stop_one("end3").await.unwrap().unwrap();
        let stop = async {
            sleep(Duration::from_secs(2)).await;
            world.stop();
        };
        let (answers, ()) = tokio::join!(handle.sync_and_wait(Some("end3")), stop);
        result(only(answers.unwrap()))
    };
    let (verdict, result) = tokio::join!(world.go(), callers);
    assert_eq!(verdict.unwrap(), Verdict::Done);
    assert!(
        matches!(result.outcome, RunOutcome::Stopped { reason: why, counts: Some(_) } if why == "importer was stopped")
    );
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_delays_nothing() {
    let world = World::new().list("away1", 50).with_state(r#"[{"list_id": "away1"}]"#);
    told(&world, async |handle| {
        sleep(minutes(5)).await;
        let gone = tokio::time::timeout(Duration::from_millis(1), handle.sync_and_wait(Some("away1"))).await;
        assert!(gone.is_err());
        sleep(minutes(1)).await;
        assert_eq!(handle.results(None).await.unwrap().len(), 2, "the run takes place nevertheless");
    })
    .await;
}
