//! An entry that is paused or removed while its list runs: the run ends within seconds, as for a stop.

use std::{fs, time::Duration};

use importer::{
    controller::Verdict,
    sandbox::{Service, Trouble},
};
use tokio::time::sleep;

use crate::support::{World, minutes};

/// Upper bound of the time in which importer stops a run.
const SOON: Duration = Duration::from_secs(9);
/// Size of a list that loads for 16 s.
const SIZE: u64 = 5000;
/// Time of the edit, from the start.
const EDITED: Duration = Duration::from_secs(4);
/// Upper bound of the records that were read before the edit and are still delivered: two rounds of
/// deliveries and a few pages.
const UNDER_WAY: usize = 2500;

fn world(list: &str, text: &str) -> World {
    World::new().set("OMETRIA_RATE", "3").list(list, SIZE).with_state(text)
}

async fn import(world: &World, once: bool) -> Verdict {
    if once { world.once().await } else { world.go_for(minutes(5)).await }.unwrap()
}

/// Saves `edit` while the list loads. Returns the contacts at that moment, and the contacts soon afterwards.
async fn edited(world: &World, edit: &str) -> (usize, usize) {
    sleep(EDITED).await;
    world.save(edit);
    let before = world.contacts();
    sleep(SOON).await;
    (before, world.contacts())
}

/// Runs one list whose entry is edited during the load, and checks that the run ends soon and can continue
/// later.
async fn assert_stops(list: &str, edit: &str, once: bool) -> World {
    let text = format!(r#"[{{"list_id": "{list}"}}]"#);
    let world = world(list, &text);
    let (verdict, (before, soon)) = tokio::join!(import(&world, once), edited(&world, edit));
    assert_eq!(verdict, Verdict::Done);
    assert!(before > 500 && soon - before < UNDER_WAY, "{before}, {soon} soon after the edit");
    let of_list = |world: &World| {
        let collection = format!("mailchimp_{list}");
        world.sandbox.ometria().contacts().keys().filter(|key| key.0 == collection).count()
    };
    let sent = of_list(&world);
    assert!(sent <= soon, "{sent} were sent in the end, {soon} soon after the edit");
    assert_eq!(world.state(), edit, "nothing is recorded as delivered");
    // With the former entry, the load continues where it ended.
    world.save(&text);
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(world.logged("resuming the interrupted run"), 1);
    world.assert_delivered(list);
    let pushed: usize = world.pushes().iter().sum();
    assert_eq!(pushed, world.contacts(), "nobody is sent twice");
    world
}

#[tokio::test(start_paused = true)]
async fn a_list_paused_during_a_load_stops_soon_and_continues_when_enabled_again() {
    for once in [false, true] {
        let world = assert_stops("pause1", r#"[{"list_id": "pause1", "enabled": false}]"#, once).await;
        let told = "records were delivered, and the load continues when the entry is enabled again";
        let lines = world.lines("list \"pause1\": paused by its entry; ");
        assert!(lines.len() == 1 && lines[0].contains(told), "{lines:?}");
        assert_eq!(world.logged("ERROR"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_whose_entry_is_removed_while_it_loads_stops_soon() {
    for (once, edit) in [(false, "[]"), (true, "[]"), (false, r#"[/* {"list_id": "gone1"} */]"#)] {
        let world = assert_stops("gone1", edit, once).await;
        let lines = world.lines("list \"gone1\": its entry was removed from the state file; ");
        assert!(lines.len() == 1 && lines[0].contains("records were delivered"), "{lines:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_is_paused_and_changed_in_one_save_stops_too() {
    let edit = r#"[{"list_id": "both1", "enabled": false, "consent": "none", "worker_count": 2}]"#;
    assert_stops("both1", edit, false).await;
    // Another problem of the entry does not undo the pause.
    let edit = r#"[{"list_id": "both1", "enabled": false, "worker_count": "soon"}]"#;
    assert_stops("both1", edit, false).await;
}

#[tokio::test(start_paused = true)]
async fn a_list_id_that_is_changed_stops_the_old_list_and_a_single_pass_does_not_begin_the_new_one() {
    for once in [false, true] {
        let world = world("old1", r#"[{"list_id": "old1"}]"#).list("new1", 50);
        let (verdict, (before, soon)) =
            tokio::join!(import(&world, once), edited(&world, r#"[{"list_id": "new1"}]"#));
        assert_eq!(verdict, Verdict::Done);
        assert!(soon - before < UNDER_WAY, "{before}, {soon} soon after the edit");
        assert!(world.contacts() <= soon + 50, "{} in the end", world.contacts());
        let new = world.sandbox.ometria().contacts().keys().any(|key| key.0 == "mailchimp_new1");
        assert_eq!(new, !once);
        assert_eq!(
            world.logged("list \"new1\": its entry was added or enabled after the start"),
            usize::from(once)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_enabled_again_while_its_run_still_stops_continues_from_there() {
    for once in [false, true] {
        let text = r#"[{"list_id": "again1"}, {"list_id": "other1"}]"#;
        let world = world("again1", text).list("other1", SIZE);
        let edits = async {
            sleep(EDITED).await;
            world.save(r#"[{"list_id": "again1", "enabled": false}, {"list_id": "other1"}]"#);
            // The pause is noticed while deliveries are in flight.
            sleep(Duration::from_millis(300)).await;
            world.save(r#"[{"list_id": "again1", "enabled": true}, {"list_id": "other1"}]"#);
        };
        let (verdict, ()) = tokio::join!(import(&world, once), edits);
        assert_eq!(verdict, Verdict::Done);
        assert_eq!(world.logged("list \"again1\": paused by its entry; "), 1);
        assert_eq!(world.logged("list \"again1\": resuming the interrupted run"), 1);
        assert_eq!(world.logged("list \"again1\" finished"), 1);
        world.assert_delivered("again1");
        world.assert_delivered("other1");
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_entries_of_a_list_only_the_one_that_is_gone_stops() {
    let entry = |name: &str| format!(r#"{{"list_id": "two1", "collection": "{name}"}}"#);
    let both = format!("[{}, {}]", entry("first"), entry("second"));
    let held = |world: &World, name: &str| {
        world.sandbox.ometria().contacts().keys().filter(|key| key.0 == name).count()
    };
    let paused = r#"{"list_id": "two1", "collection": "first", "enabled": false}"#;
    for once in [false, true] {
        for rest in [format!("[{}]", entry("second")), format!("[{paused}, {}]", entry("second"))] {
            let world = world("two1", &both);
            let (verdict, (before, soon)) = tokio::join!(import(&world, once), edited(&world, &rest));
            assert_eq!(verdict, Verdict::Done);
            // The second entry has begun by then.
            let expected = world.expected("two1").len();
            let first = held(&world, "first");
            assert!(
                first >= before && first < before + UNDER_WAY && first < expected,
                "{before}, {soon}, {first}"
            );
            assert_eq!(held(&world, "second"), expected);
        }
        // The waiting entry is removed; the running one continues.
        let world = world("two1", &both);
        let first = format!("[{}]", entry("first"));
        let (verdict, _) = tokio::join!(import(&world, once), edited(&world, &first));
        assert_eq!(verdict, Verdict::Done);
        assert_eq!(held(&world, "first"), world.expected("two1").len());
        assert_eq!(held(&world, "second"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_of_the_entry_stops_nothing() {
    let text = r#"[{"list_id": "stay1"}]"#;
    let edits = [
        // A file that is broken, empty, or no list of entries.
        r#"[{"list_id": "#,
        "",
        "{}",
        // The entry has a problem: it can't be read or opened.
        r#"[{"list_id": "stay1", "worker_count": "many"}]"#,
        r#"[{"list_id": "stay1", "sink": "acme"}]"#,
        r#"[{"list_id": "stay1", "enabled": "false"}]"#,
        r#"[{"list_id": "stay1", "enabled": true, "enabled": false}]"#,
        // The entry may be the one whose `list_id` can't be read.
        r#"[{"list_id": 1}]"#,
        r#"[{"enabled": false}]"#,
        r#"["stay1"]"#,
        r#"[{"list_id": "stay 1"}]"#,
        r#"[{"list_id": "another1", "list_id": "stay1"}]"#,
        // The entry was edited.
        r#"[{"list_id": "stay1", "worker_count": 2, "x-note": "enabled: false"}]"#,
    ];
    for once in [false, true] {
        for edit in edits {
            let world = World::new().set("OMETRIA_RATE", "2").list("stay1", 1300).with_state(text);
            let edits = async {
                sleep(Duration::from_secs(2)).await;
                world.save(edit);
                sleep(Duration::from_secs(3)).await;
                world.save(text);
            };
            let (verdict, ()) = tokio::join!(import(&world, once), edits);
            assert_eq!(verdict, Verdict::Done, "{edit}");
            assert_eq!(world.logged("list \"stay1\" finished"), 1, "{edit}");
            assert_eq!(world.logged("resuming the interrupted run"), 0, "{edit}");
            world.assert_delivered("stay1");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_missing_for_a_moment_stops_nothing() {
    for once in [false, true] {
        let text = r#"[{"list_id": "lost1"}]"#;
        let world = world("lost1", text);
        let edits = async {
            sleep(EDITED).await;
            world.save(text);
            fs::remove_file(world.folder.path().join("state.json")).unwrap();
            sleep(Duration::from_secs(3)).await;
            world.save(text);
        };
        let (verdict, ()) = tokio::join!(import(&world, once), edits);
        assert_eq!(verdict, Verdict::Done);
        assert_eq!(world.logged("list \"lost1\" finished"), 1);
        world.assert_delivered("lost1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_paused_run_does_not_wait_for_a_service_that_is_down_and_is_no_failure() {
    for once in [false, true] {
        let world = world("down1", r#"[{"list_id": "down1"}]"#);
        let edits = async {
            sleep(EDITED).await;
            for _ in 0..2 {
                world.sandbox.trouble(Service::Ometria, Trouble::Status(503, Some("60")));
            }
            sleep(Duration::from_secs(1)).await;
            world.save(r#"[{"list_id": "down1", "enabled": false}]"#);
            sleep(SOON + Duration::from_secs(1)).await;
            assert_eq!(world.logged("list \"down1\": paused by its entry; the run was cut short"), 1);
            if !once {
                world.save(r#"[{"list_id": "down1"}]"#);
            }
        };
        let (verdict, ()) = tokio::join!(import(&world, once), edits);
        assert_eq!(verdict, Verdict::Done);
        assert_eq!(world.logged("list \"down1\": resuming the interrupted run"), usize::from(!once));
        if !once {
            world.assert_delivered("down1");
        }
    }
}
