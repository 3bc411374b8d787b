//! What is known about a delivery belongs to its list and its sink, whatever other entries there are.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use importer::{base::identity::DeliveryId, controller::Verdict, sandbox::SECOND_MAILCHIMP_KEY};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    fixtures,
    loopback::{Loopback, finish},
    places,
    support::{World, at, hours, minutes},
};

const SIZE: u64 = 400;

/// Returns an entry of the list into the default sink.
fn contacts(list_id: &str) -> Value {
    json!({"list_id": list_id})
}

/// Returns an entry of the list into a file.
fn file(list_id: &str) -> Value {
    json!({"list_id": list_id, "mapping": "as_is", "sink": "ndjson"})
}

fn state(entries: &[Value]) -> String {
    Value::from(entries).to_string()
}

/// Returns the number of members that a load delivers into the file.
fn listed(world: &World, list_id: &str) -> usize {
    world.sandbox.mailchimp().members(list_id).filter(|member| member.status != "archived").count()
}

#[tokio::test(start_paused = true)]
async fn each_sink_of_a_list_has_a_first_load_of_its_own_in_either_order_and_if_it_is_added_later() {
    for (first, then) in [
        (vec![contacts("two1"), file("two1")], None),
        (vec![file("two1"), contacts("two1")], None),
        (vec![file("two1")], Some(vec![file("two1"), contacts("two1")])),
        (vec![contacts("two1")], Some(vec![file("two1"), contacts("two1")])),
        // A trial into a file.
        (vec![file("two1")], Some(vec![contacts("two1")])),
    ] {
        let world = World::new().list("two1", SIZE).with_state(&state(&first));
        assert_eq!(world.once().await.unwrap(), Verdict::Done);
        if let Some(then) = &then {
            world.save(&state(then));
            assert_eq!(world.once().await.unwrap(), Verdict::Done);
        }
        assert_eq!(world.logged("is loaded for the first time"), 1, "{first:?} {then:?}");
        let lines = world.out("two1.ndjson").len();
        assert!(lines > 0 && lines.is_multiple_of(listed(&world, "two1")), "{lines}: {first:?} {then:?}");
        world.assert_delivered("two1");
        assert_eq!(places::ours(world.folder.path(), "records.redb").len(), 2, "{first:?} {then:?}");
    }
}

/// Returns the number of a listed member that is subscribed and was changed longest ago: a load delivers it first.
fn oldest(world: &World, list_id: &str) -> u64 {
    let mailchimp = world.sandbox.mailchimp();
    let subscribed = mailchimp.members(list_id).filter(|member| member.status == "subscribed");
    subscribed.min_by_key(|member| member.last_changed).unwrap().number
}

/// The ledger of the other sink knows nothing of what the interrupted load has delivered.
#[tokio::test(start_paused = true)]
async fn a_member_archived_after_an_interrupted_load_is_opted_out_although_another_sink_has_finished_one() {
    let slow = json!({"list_id": "two2", "items_per_request": 10, "worker_count": 1});
    let world = World::new().list("two2", SIZE).with_state(&state(std::slice::from_ref(&slow)));
    world.go_for(Duration::from_secs(3)).await.unwrap();
    assert!(world.contacts() > 20 && world.contacts() < 300, "{}", world.contacts());
    sleep(minutes(5)).await;
    let number = oldest(&world, "two2");
    world.sandbox.mailchimp().archive("two2", number, world.clock.now());
    sleep(minutes(5)).await;
    let mut paused = slow;
    paused["enabled"] = false.into();
    world.save(&state(&[paused, file("two2")]));
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    sleep(minutes(5)).await;
    // Another payload: the interrupted run is dropped.
    let other = json!({"list_id": "two2", "fields": {"gender": null}});
    world.save(&state(&[other, file("two2")]));
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    world.assert_delivered("two2");
}

#[tokio::test(start_paused = true)]
async fn entries_that_are_added_moved_disabled_and_removed_meanwhile_keep_what_is_theirs() {
    let slow = json!({"list_id": "two3", "items_per_request": 20, "worker_count": 1});
    let world = World::new().list("two3", SIZE).with_state(&state(std::slice::from_ref(&slow)));
    let edits = async {
        sleep(Duration::from_secs(2)).await;
        world.save(&state(&[slow.clone(), file("two3")]));
        sleep(Duration::from_secs(2)).await;
        assert_eq!(world.out("two3.ndjson").len(), 0, "one run of a list at a time");
        world.save(&state(&[file("two3"), slow.clone()]));
        sleep(Duration::from_secs(1)).await;
        let mut paused = slow.clone();
        paused["enabled"] = false.into();
        world.save(&state(&[paused, file("two3")]));
        sleep(minutes(2)).await;
        world.stop();
    };
    tokio::join!(world.go(), edits).0.unwrap();
    let sent = world.contacts();
    assert!(sent > 0 && sent < listed(&world, "two3"), "{sent}");
    assert_eq!(world.out("two3.ndjson").len(), listed(&world, "two3"));
    // The file's entry is gone; the load of the contacts continues where it was.
    world.save(&state(&[slow]));
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(world.logged("resuming the interrupted run"), 1);
    world.assert_delivered("two3");
    // Back again: the file has a ledger, and no member is read again.
    let mut back = file("two3");
    back["latest_timestamp"] = "2026-11-21T12:00:00".into();
    let lines = world.out("two3.ndjson").len();
    sleep(hours(3)).await;
    world.save(&state(&[back]));
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(world.logged("there is no record of what was delivered"), 0);
    assert_eq!(world.out("two3.ndjson").len(), lines);
}

#[tokio::test(start_paused = true)]
async fn what_a_sink_holds_is_found_again_when_the_entry_comes_back_to_it() {
    let world = World::new();
    world.sandbox.when_i_work().invent(50, 1, world.clock.now());
    let entry = |path: &str| {
        state(&[
            json!({"list_id": "shifts", "source": "when_i_work", "latest_timestamp": "2026-11-21T00:00:00",
            "sink": {"type": "ndjson", "path": path}}),
        ])
    };
    for (path, lines) in [("out/a.ndjson", 0), ("out/b.ndjson", 0), ("out/a.ndjson", 0), ("out/b.ndjson", 0)]
    {
        let before = world.out(&path[4..]).len();
        world.save(&entry(path));
        assert_eq!(world.once().await.unwrap(), Verdict::Done);
        let new = world.out(&path[4..]).len() - before;
        assert_eq!(new == lines, before > 0, "{path}: {new} lines after {before}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_and_why_speak_for_each_sink_and_a_trial_into_a_file_counts_for_the_file_alone() {
    let loopback = Loopback::start(Duration::ZERO, &state(&[file("two4")])).await.list("two4", 50);
    assert_eq!(finish(loopback.command(&["go", "--once"])).await.0, 0);
    assert_eq!(finish(loopback.command(&["verify", "two4"])).await.0, 0);
    std::fs::write(loopback.folder.path().join("state.json"), state(&[contacts("two4"), file("two4")]))
        .unwrap();
    let (code, told, _) = finish(loopback.command(&["verify", "two4"])).await;
    assert!(code == 1 && told.contains("no run of the list into this sink is on record"), "{told}");
    assert!(told.contains("Nothing is missing"), "the file's own: {told}");
    assert_eq!(finish(loopback.command(&["go", "--once"])).await.0, 0);
    let (code, told, _) = finish(loopback.command(&["verify", "two4"])).await;
    assert!(code == 0 && told.matches("Nothing is missing").count() == 2, "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_list_is_named_by_its_source_too() {
    let world = World::new().list("shifts", SIZE);
    world.sandbox.when_i_work().invent(50, 1, at("2026-11-21T11:00:00"));
    let shifts = json!({"list_id": "shifts", "source": "when_i_work",
        "sink": {"type": "ndjson", "path": "out/shifts.ndjson"}});
    world.save(&state(&[contacts("shifts"), shifts]));
    assert_eq!(world.once().await.unwrap(), Verdict::Done, "{:?}", world.log());
    assert_eq!(world.logged("waits until its own previous run, or the run of another entry"), 0);
    assert!(!world.out("shifts.ndjson").is_empty());
    world.assert_delivered("shifts");
    let lists = world.folder.path().join(".importer/lists");
    assert!(lists.join("shifts.mailchimp").exists() && lists.join("shifts.when_i_work").exists());
}

/// The file as an editor saves it while the entry's first load is on its way to the file `a`.
#[tokio::test(start_paused = true)]
async fn an_entry_that_gets_another_sink_or_source_in_mid_run_is_loaded_there_and_its_former_run_ends() {
    let entry = |sink: &str, source: Value| {
        json!({"list_id": "two5", "items_per_request": 10, "worker_count": 1, "mapping": "as_is",
            "source": source, "sink": {"type": "ndjson", "path": sink}})
    };
    let plain = json!("mailchimp");
    for (edited, second) in [
        (entry("out/b.ndjson", plain.clone()), "b"),
        (entry("out/a.ndjson", json!({"type": "mailchimp", "account": "second"})), "a"),
    ] {
        let world =
            World::new().list("two5", SIZE).with_state(&state(&[entry("out/a.ndjson", plain.clone())]));
        let world = world.set("MAILCHIMP_APIKEY_SECOND", SECOND_MAILCHIMP_KEY);
        world.sandbox.second_mailchimp().add_list("two5", SIZE, 7, at("2026-11-21T11:00:00"));
        let edits = async {
            sleep(Duration::from_secs(3)).await;
            world.save(&state(std::slice::from_ref(&edited)));
            sleep(minutes(5)).await;
            world.stop();
        };
        tokio::join!(world.go(), edits).0.unwrap();
        assert_eq!(world.logged("its entry has another source or sink"), 1, "{:?}", world.log());
        assert_eq!(world.logged("its source or sink was changed in the state file"), 1);
        assert_eq!(world.logged("two5\" updated"), 1, "only the second run is a result");
        let log = world.log();
        let at = |text: &str| log.iter().rposition(|line| line.contains(text));
        let former = at("its source or sink was changed in the state file");
        assert!(former.is_some() && former < at("firing full load"), "one run after the other: {log:?}");
        let out = |name: &str| world.out(&format!("{name}.ndjson")).len();
        let whole = listed(&world, "two5");
        match second {
            "b" => {
                assert!(out("a") > 0 && out("a") < whole && out("b") == whole, "{} {}", out("a"), out("b"))
            }
            _ => assert!(out("a") > whole && out("a") < 2 * whole, "{}", out("a")),
        }
        // Undone: the first load continues where it was.
        world.save(&state(&[entry("out/a.ndjson", plain.clone())]));
        assert_eq!(world.once().await.unwrap(), Verdict::Done);
        assert_eq!(world.logged("resuming the interrupted run"), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_entries_with_one_address_but_other_headers_query_or_credentials_need_an_account() {
    let entry = |more: Value| {
        let mut sink = json!({"type": "http", "url": "https://receiver.example.org/hook"});
        sink.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"list_id": "two6", "mapping": "as_is", "sink": sink})
    };
    let loopback = Loopback::start(Duration::ZERO, "[]").await;
    for (more, problem) in [
        (json!({"headers": {"X-Tenant": "acme"}}), true),
        (json!({"url": "https://receiver.example.org/hook?tenant=acme"}), true),
        (json!({"headers": {"X-Tenant": "acme"}, "account": "acme"}), false),
        (json!({"url": "https://receiver.example.org/other"}), false),
        (json!({"rate": 5, "batch_size": 10}), false),
    ] {
        let text = format!("[{},\n{}]", entry(json!({})), entry(more.clone()));
        std::fs::write(loopback.folder.path().join("state.json"), text).unwrap();
        let (code, told, log) = finish(loopback.command(&["check"])).await;
        let named = format!("{told}{log}")
            .contains("sends to the same address as the entry at line 1, but with other headers");
        assert_eq!((code != 0, named), (problem, problem), "{more}: {told} {log}");
    }
}

/// A file of secrets may hold the address of the sink.
#[tokio::test(start_paused = true)]
async fn the_result_of_a_run_is_dropped_if_what_its_settings_refer_to_leads_elsewhere_at_the_end() {
    let moved = Arc::new(AtomicBool::new(false));
    let is_moved = Arc::clone(&moved);
    let slow = json!({"list_id": "two7", "items_per_request": 20, "worker_count": 1});
    let world = World::new().list("two7", SIZE).with_state(&state(&[slow])).opening(move |mut pipeline| {
        if is_moved.load(Ordering::Relaxed) {
            let list = pipeline.delivery.list.clone();
            pipeline.delivery = DeliveryId::new(list, "ometria", None, "elsewhere");
        }
        pipeline
    });
    let edits = async {
        sleep(Duration::from_secs(2)).await;
        moved.store(true, Ordering::Relaxed);
        sleep(minutes(5)).await;
        world.stop();
    };
    tokio::join!(world.go(), edits).0.unwrap();
    assert_eq!(world.logged("its source or its sink was changed during the run"), 1, "{:?}", world.log());
    assert_eq!((world.logged("firing full load"), world.logged("two7\" updated")), (2, 1));
}

/// The journal and the swap file would be applied and removed at a start.
#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_newer_layout_are_left_alone_and_both_versions_are_named() {
    let loopback = Loopback::start(Duration::ZERO, "[]").await.list("two8", 20);
    let folder = loopback.folder.path();
    fixtures::restore_folder(folder, folder, fixtures::CURRENT, "journal");
    std::fs::write(folder.join(".importer/format"), r#"{"layout": 3, "version": "0.3.0"}"#).unwrap();
    std::fs::write(folder.join(".importer/slot"), "[]").unwrap();
    let before = contents(folder);
    assert!(before.iter().any(|(path, _)| path.ends_with("journal.json")), "{before:?}");
    for command in [
        &["go", "--once"][..],
        &["replay"],
        &["verify", "two8"],
        &["why", "two8", "a"],
        &["release", "two8"],
        &["state", "log"],
        &["state", "revert", "1"],
    ] {
        let (code, told, log) = finish(loopback.command(command)).await;
        let told = format!("{told}{log}");
        assert!(
            code == 2 && told.contains("0.3.0") && told.contains(env!("CARGO_PKG_VERSION")),
            "{command:?} {code} {told}"
        );
        assert!(contents(folder) == before, "{command:?} has changed a file");
    }
}

/// Returns the files below a folder with their contents.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fixtures::files(folder)
        .into_iter()
        .map(|file| (file.clone(), std::fs::read(file).unwrap()))
        .collect();
    files.sort();
    files
}
