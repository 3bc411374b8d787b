//! Holds of the safety brake: no edit except `allow_mass_change` lifts one, nor do other entries of the list
//! or updates.

use std::{fs, path::PathBuf, time::Duration};

use clap::Parser;
use importer::{app, app::listeners::Listeners, cli::Cli, controller::Verdict};
use tokio::time::sleep;

use crate::{
    ledger, places,
    support::{World, entries, hours, minutes},
};

const SIZE: u64 = 2000;
const OUT: usize = 700;

fn opted_out(world: &World) -> usize {
    let ometria = world.sandbox.ometria();
    let contacts = ometria.contacts();
    contacts
        .values()
        .filter(|contact| contact.get("marketing_optin") == Some(&"EXPLICITLY_OPTEDOUT".into()))
        .count()
}

fn unsubscribe(world: &World, list_id: &str) -> Vec<u64> {
    let numbers: Vec<u64> = {
        let mailchimp = world.sandbox.mailchimp();
        let subscribed = mailchimp.members(list_id).filter(|member| member.status == "subscribed");
        subscribed.map(|member| member.number).take(OUT).collect()
    };
    let now = world.clock.now();
    for number in &numbers {
        world.sandbox.mailchimp().edit(list_id, *number, now, |member| member.status = "unsubscribed");
    }
    numbers
}

/// Makes a list that the brake has stopped. Also returns the unsubscribed members.
async fn held(list_id: &str) -> (World, Vec<u64>) {
    let world = World::new().list(list_id, SIZE).with_state(&format!(r#"[{{"list_id": "{list_id}"}}]"#));
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    sleep(hours(3)).await;
    let numbers = unsubscribe(&world, list_id);
    sleep(minutes(10)).await;
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    assert_eq!(world.logged("would be opted out"), 1);
    (world, numbers)
}

/// Runs importer, and checks that nothing is sent and that the log says why.
async fn assert_held(world: &World, what: &str) {
    let (sent, told) = (world.pushes().len(), world.logged("would be opted out"));
    assert_eq!(world.once().await.unwrap(), Verdict::Failed, "{what}");
    assert_eq!(world.pushes().len(), sent, "{what} let something be sent");
    assert!(world.logged("would be opted out") > told, "{what}");
}

/// Returns importer's own files whose names begin with `name`.
fn ours(world: &World, name: &str) -> Vec<PathBuf> {
    places::ours(world.folder.path(), name)
}

/// Removes what importer knows, as if it was of version 0.1 and empty. Returns the folder of its lists.
fn before_0_2(world: &World) -> PathBuf {
    let ours = world.folder.path().join(".importer");
    fs::remove_file(ours.join("format")).unwrap();
    fs::remove_dir_all(ours.join("lists")).unwrap();
    ours.join("lists")
}

/// Runs `importer release`. Returns its exit code.
async fn release(world: &World, list_id: &str) -> u8 {
    let folder = world.folder.path().to_str().unwrap();
    app::run(Cli::parse_from(["importer", "release", list_id, "--state", folder]), &Listeners::default())
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn no_edit_and_no_event_lifts_a_hold_but_those_that_name_it() {
    let (mut world, _) = held("hold1").await;
    let entry = |more: &str| {
        let entry = world.state().trim().trim_start_matches('[').trim_end_matches("}]").to_owned();
        format!("{entry}, {more}}}")
    };
    let plain = world.state();
    let one = plain.trim().trim_start_matches('[').trim_end_matches(']').to_owned();
    let when = world.field("latest_timestamp").as_str().unwrap().to_owned();
    for (what, text) in [
        ("a second entry", format!(r#"[{one}, {{"list_id": "hold1", "consent": "none"}}]"#)),
        ("a second entry before it", format!(r#"[{{"list_id": "hold1", "consent": "none"}}, {one}]"#)),
        (
            "a disabled second entry",
            format!(r#"[{one}, {{"list_id": "hold1", "start_offset": 5, "enabled": false}}]"#),
        ),
        (
            "a second entry that is allowed, but disabled",
            format!(
                r#"[{one}, {{"list_id": "hold1", "consent": "none", "allow_mass_change": true, "enabled": false}}]"#
            ),
        ),
        ("the second entry removed again", plain.clone()),
        ("a neighbor of another list", format!(r#"[{{"list_id": "other", "enabled": false}}, {one}]"#)),
        (
            "defaults spelled out",
            format!(
                "[{}]",
                entry(
                    r#""source": "mailchimp", "sink": "ometria", "mapping": "ometria_contact", "consent": "full", "enabled": true, "start_offset": 0"#
                )
            ),
        ),
        (
            "defaults as objects",
            format!("[{}]", entry(r#""source": {"type": "mailchimp"}, "sink": {"type": "ometria"}"#)),
        ),
        ("a note in the entry", format!("[{}]", entry(r#""x-note": 1, "_": {"a": 2}"#))),
        (
            "notes in its adapters",
            format!(
                "[{}]",
                entry(
                    r#""source": {"type": "mailchimp", "x-a": 1}, "sink": {"type": "ometria", "_b": 2}, "mapping": {"x-c": 3, "type": "ometria_contact"}"#
                )
            ),
        ),
        ("an unknown field", format!("[{}]", entry(r#""note": "unknown""#))),
        (
            "another order of keys",
            format!(r#"[{{"total_updates": 0, "latest_timestamp": "{when}", "list_id": "hold1"}}]"#),
        ),
        ("another timestamp", r#"[{"list_id": "hold1", "latest_timestamp": "2026-11-21T11:00:00"}]"#.into()),
        ("a timestamp set to null", r#"[{"list_id": "hold1", "latest_timestamp": null}]"#.into()),
        ("no timestamp", r#"[{"list_id": "hold1"}]"#.into()),
        (
            "another pace",
            format!("[{}]", entry(r#""worker_count": 2, "items_per_request": 50, "every": "1h""#)),
        ),
        (
            "another interval",
            format!("[{}]", entry(r#""source": {"type": "mailchimp", "min_interval": "1s"}"#)),
        ),
        (
            "settings that change what is sent",
            format!("[{}]", entry(r#""consent": "opt_outs_only", "collection": "c""#)),
        ),
        ("a switch to and fro", plain.clone()),
    ] {
        world.save(&text);
        assert_held(&world, what).await;
    }
    // An update: the files of another version.
    world.save(&plain);
    for checkpoint in ours(&world, "checkpoint") {
        let text = fs::read_to_string(&checkpoint).unwrap();
        fs::write(&checkpoint, text.replace(env!("CARGO_PKG_VERSION"), "0.0.9")).unwrap();
    }
    for hold in ours(&world, "held") {
        let text = fs::read_to_string(&hold).unwrap();
        fs::write(&hold, text.replace(env!("CARGO_PKG_VERSION"), "0.0.9")).unwrap();
    }
    assert_held(&world, "an update").await;
    world = world.set("OMETRIA_APIKEY", "another-key-of-the-account");
    assert_held(&world, "another key").await;
    // A damaged hold still counts.
    for hold in ours(&world, "held") {
        fs::write(&hold, "{").unwrap();
    }
    let sent = world.pushes().len();
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    assert_eq!(world.pushes().len(), sent);
}

#[tokio::test(start_paused = true)]
async fn in_the_loop_a_neighbor_that_comes_goes_and_is_paused_lifts_nothing() {
    let (world, _) = held("hold2").await;
    let plain = world.state();
    let one = plain.trim().trim_start_matches('[').trim_end_matches(']').to_owned();
    let sent = world.pushes().len();
    let edits = async {
        for text in [
            format!(r#"[{one}, {{"list_id": "hold2", "consent": "none"}}]"#),
            format!(r#"[{{"list_id": "hold2", "consent": "none", "enabled": false}}, {one}]"#),
            plain.clone(),
        ] {
            sleep(minutes(70)).await;
            world.save(&text);
        }
        sleep(minutes(150)).await;
        world.stop();
    };
    assert_eq!(tokio::join!(world.go(), edits).0.unwrap(), Verdict::Done);
    assert_eq!(world.pushes().len(), sent);
}

#[tokio::test(start_paused = true)]
async fn an_allowance_a_fresh_start_and_a_release_lift_it() {
    for way in ["allow_mass_change", "fresh", "release"] {
        let (mut world, numbers) = held("hold3").await;
        match way {
            "allow_mass_change" => {
                world.save(&world.state().replace("\"latest", "\"allow_mass_change\": true, \"latest"));
            }
            way => {
                let now = world.clock.now();
                for number in numbers {
                    world.sandbox.mailchimp().edit("hold3", number, now, |member| member.subscribe(now));
                }
                sleep(minutes(10)).await;
                if way == "fresh" {
                    world.fresh();
                } else {
                    assert_eq!(release(&world, "hold3").await, 0);
                    assert_eq!(ours(&world, "checkpoint"), Vec::<PathBuf>::new(), "what was read before");
                }
            }
        }
        assert_eq!(ours(&world, "held").is_empty(), way == "release");
        assert_eq!(world.once().await.unwrap(), Verdict::Done, "{way}");
        world.assert_delivered("hold3");
        assert_eq!(ours(&world, "held"), Vec::<PathBuf>::new(), "{way}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_before_the_correction_is_stopped_again_and_one_without_a_hold_says_so() {
    let (world, _) = held("hold4").await;
    let before = opted_out(&world);
    assert_eq!(release(&world, "other").await, 1);
    assert_held(&world, "another list's release").await;
    assert_eq!(release(&world, "hold4").await, 0);
    assert_eq!(release(&world, "hold4").await, 1, "there is no hold any more");
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    assert!(opted_out(&world) - before <= 420, "{}", opted_out(&world) - before);
    assert_held(&world, "the second stop").await;
}

#[tokio::test(start_paused = true)]
async fn a_hold_is_of_one_sink_and_others_of_the_list_run() {
    let (world, _) = held("hold5").await;
    let one = world.state().trim().trim_start_matches('[').trim_end_matches(']').to_owned();
    let sent = world.pushes().len();
    world.save(&format!(
        r#"[{one}, {{"list_id": "hold5", "mapping": "as_is", "sink": "ndjson", "x-sink": "file"}}]"#
    ));
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    assert_eq!(world.pushes().len(), sent);
    assert!(world.out("hold5.ndjson").len() as u64 >= SIZE / 2);
    // Its release keeps the checkpoint of the other entry.
    assert_eq!(release(&world, "hold5").await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_neighbor_that_is_allowed_runs_and_leaves_the_hold_of_the_other() {
    let (world, _) = held("hold6").await;
    let one = world.state().trim().trim_start_matches('[').trim_end_matches(']').to_owned();
    world.save(&format!(r#"[{{"list_id": "hold6", "consent": "none", "allow_mass_change": true}}, {one}]"#));
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    assert_eq!(ours(&world, "held").len(), 1);
    let sent = world.pushes().len();
    world.save(&format!("[{one}]"));
    assert_held(&world, "the neighbor's allowance").await;
    assert_eq!(world.pushes().len(), sent);
}

#[tokio::test(start_paused = true)]
async fn a_hold_of_an_older_version_holds_in_either_of_its_folders() {
    for (folder, more) in [("hold7", ""), ("hold7-0123abcd", r#", {"list_id": "hold7", "consent": "none"}"#)]
    {
        let (world, _) = held("hold7").await;
        let lists = before_0_2(&world);
        fs::create_dir_all(lists.join(folder)).unwrap();
        let former = r#"{"origin": "[\"x\"] importer 0.1.0", "what": "stopped when 700 of 2000 records would be opted out", "why": "more"}"#;
        fs::write(lists.join(folder).join("held.json"), former).unwrap();
        let one = world.state().trim().trim_start_matches('[').trim_end_matches(']').to_owned();
        world.save(&format!("[{one}{more}]"));
        assert_held(&world, folder).await;
        world.save(&format!(r#"[{one}, {{"list_id": "hold7", "sink": "stdout"}}]"#));
        assert_held(&world, "in every sink").await;
        assert_eq!(release(&world, "hold7").await, 0);
        assert_eq!(ours(&world, "held"), Vec::<PathBuf>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_full_load_is_held_against_survives_a_neighbor_and_is_found_after_an_update() {
    for former in [false, true] {
        let world = World::new().list("hold8", SIZE).with_state(r#"[{"list_id": "hold8"}]"#);
        assert_eq!(world.once().await.unwrap(), Verdict::Done);
        if former {
            // The format of an older version: with the name of the entry.
            ledger::edit(world.folder.path(), "hold8", |summary| {
                let (key, count) = summary["opt_outs"].as_object().unwrap().iter().next().unwrap();
                let renamed = format!("hold8 {}", key.split_once(' ').unwrap().1);
                summary["opt_outs"] = serde_json::json!({ renamed: count });
            });
        }
        sleep(hours(3)).await;
        unsubscribe(&world, "hold8");
        sleep(minutes(10)).await;
        world.save(r#"[{"list_id": "hold8", "source": "mailchimp", "x-note": 1}, {"list_id": "hold8", "start_offset": 1, "enabled": false}]"#);
        assert_eq!(world.once().await.unwrap(), Verdict::Failed);
        assert_eq!(world.logged("of the last full load"), 1, "former: {former}");
    }
}

/// Makes a full load that was stopped and has a checkpoint.
async fn interrupted(list_id: &str) -> World {
    let state = format!(
        r#"[{{"list_id": "{list_id}", "items_per_request": 20, "worker_count": 1, "consent": "full"}}]"#
    );
    let world = World::new().list(list_id, SIZE).with_state(&state);
    world.go_for(Duration::from_secs(6)).await.unwrap();
    assert_eq!(ours(&world, "checkpoint").len(), 1);
    world
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_run_survives_its_neighbors_notes_and_defaults() {
    let edits = [
        r#"[{"list_id": "hold9"}, {"list_id": "hold9", "collection": "c", "enabled": false}]"#,
        r#"[{"list_id": "hold9", "collection": "c", "enabled": false}, {"list_id": "hold9", "source": {"type": "mailchimp", "x-": 1}}]"#,
        r#"[{"x-note": [1], "worker_count": 1, "list_id": "hold9", "sink": "ometria", "note": 1}]"#,
    ];
    let world = interrupted("hold9").await;
    for (times, text) in (1..).zip(edits) {
        let slow = text.replace(r#""list_id": "hold9""#, r#""list_id": "hold9", "items_per_request": 20"#);
        world.save(&slow);
        world.go_for(Duration::from_secs(3)).await.unwrap();
        assert_eq!(world.logged("resuming the interrupted run"), times, "{text}");
    }
    world.save(edits[0]);
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    world.assert_delivered("hold9");
}

/// A run with other settings delivered other payloads in between, so the old run must not continue when the
/// settings are changed back.
#[tokio::test(start_paused = true)]
async fn an_interrupted_run_is_dropped_when_its_entry_was_another_one_in_between() {
    let world = interrupted("hold10").await;
    let (state, slow) = (world.state(), r#""items_per_request": 20, "worker_count": 1"#);
    world.save(&format!(r#"[{{"list_id": "hold10", "consent": "none", {slow}}}]"#));
    world.go_for(Duration::from_secs(15)).await.unwrap();
    assert_eq!(world.logged("and the list starts again: its latest_timestamp, "), 1);
    world.save(&state);
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(world.logged("resuming the interrupted run"), 0);
    world.assert_delivered("hold10");
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_of_an_older_version_is_found_in_either_of_its_folders_and_moved_once() {
    for (own, more) in
        [(false, ""), (true, r#", {"list_id": "hold11", "collection": "c", "enabled": false}"#)]
    {
        let world = interrupted("hold11").await;
        let state = world.state();
        let entry = entries(&state).remove(0);
        let folders = entry.id.former_folders();
        let checkpoint = ours(&world, "checkpoint").remove(0);
        let text = fs::read_to_string(&checkpoint).unwrap();
        let former = before_0_2(&world).join(&folders[usize::from(!own)]);
        fs::create_dir_all(&former).unwrap();
        let (head, rest) = text.split_once('\n').unwrap();
        let mut head: serde_json::Value = serde_json::from_str(head).unwrap();
        let said = serde_json::to_string(&(entry.was, &entry.names.former, [(); 3])).unwrap();
        head["origin"] = format!("{said} importer 0.1.0").into();
        let former = former.join("checkpoint.ndjson");
        fs::write(&former, format!("{head}\n{rest}")).unwrap();
        world.save(&state.replace("}]", &format!("}}{more}]")));
        world.go_for(Duration::from_secs(3)).await.unwrap();
        assert_eq!(world.logged("resuming the interrupted run"), 1, "{former:?}");
        assert_eq!(ours(&world, "checkpoint").len(), 1);
        world.go_for(Duration::from_secs(3)).await.unwrap();
        assert_eq!(world.logged("resuming the interrupted run"), 2);
        assert_eq!(world.once().await.unwrap(), Verdict::Done);
        world.assert_delivered("hold11");
    }
}
