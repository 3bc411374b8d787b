//! An interrupted run continues where it ended, unless an edit requests something else in between.

use std::time::Duration;

use importer::{
    controller::Verdict,
    sandbox::{Service, Trouble},
};
use tokio::time::sleep;

use crate::places::checkpoints;
use crate::support::{World, hours, minutes};

/// Makes a load of 6,000 members that was stopped halfway.
async fn stopped(text: &str) -> World {
    let world = World::new().list("long1", 6000).with_state(text);
    let (verdict, ()) = tokio::join!(world.once(), async {
        sleep(Duration::from_secs(3)).await;
        world.stop();
    });
    assert_eq!(verdict.unwrap(), Verdict::Done);
    assert_eq!(world.logged("Its entry is unchanged; the next run continues from here."), 1);
    assert!(world.contacts() > 2000 && world.contacts() < 5000, "{}", world.contacts());
    assert!(!checkpoints(world.folder.path()).is_empty());
    world
}

/// Returns the number of contacts pushed so far, repetitions included.
fn pushed(world: &World) -> usize {
    world.pushes().iter().sum()
}

const PLAIN: &str = r#"[{"list_id": "long1", "items_per_request": 100}]"#;

#[tokio::test(start_paused = true)]
async fn a_stopped_load_continues_and_counts_its_parts_together() {
    let world = stopped(PLAIN).await;
    let before = world.contacts();
    sleep(hours(30)).await;
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    world.assert_delivered("long1");
    assert_eq!(world.logged("resuming the interrupted run"), 1);
    assert_eq!(world.field("total_updates"), world.contacts());
    let seconds = world.field("elapsed_seconds").as_f64().unwrap();
    assert!(seconds > 8.0 && seconds < 30.0, "{seconds}: both parts, but not the time in between");
    let twice = pushed(&world) - world.contacts();
    assert!(before > 2000 && twice <= 300, "{twice} sent twice");
    assert!(checkpoints(world.folder.path()).is_empty(), "nothing is left to go on with");
}

#[tokio::test(start_paused = true)]
async fn another_pace_or_a_pause_makes_it_no_other_run() {
    for text in [
        r#"[{"list_id": "long1", "items_per_request": 33, "worker_count": 2}]"#,
        r#"[{"list_id": "long1", "items_per_request": 1000, "enabled": true, "x-note": "go on"}]"#,
    ] {
        let world = stopped(PLAIN).await;
        world.save(text);
        world.once().await.unwrap();
        world.assert_delivered("long1");
        assert_eq!(world.field("total_updates"), world.contacts());
        assert!(pushed(&world) - world.contacts() <= 300);
    }
}

#[tokio::test(start_paused = true)]
async fn what_changed_while_it_was_stopped_is_delivered_as_it_is_now() {
    let world = stopped(PLAIN).await;
    sleep(hours(1)).await;
    for number in (0..6000).step_by(7) {
        let status = ["unsubscribed", "archived", "subscribed"][number as usize % 3];
        world.sandbox.mailchimp().edit("long1", number, world.clock.now(), |member| member.status = status);
    }
    sleep(minutes(1)).await;
    world.once().await.unwrap();
    world.assert_delivered("long1");
}

#[tokio::test(start_paused = true)]
async fn a_reload_requested_meanwhile_starts_from_the_beginning() {
    for text in [
        // A new null, an offset, and a first timestamp.
        r#"[{"list_id": "long1", "latest_timestamp": null}]"#,
        r#"[{"list_id": "long1", "start_offset": 3}]"#,
        r#"[{"list_id": "long1", "latest_timestamp": "2020-01-01T00:00:00"}]"#,
    ] {
        let world = stopped(PLAIN).await;
        world.save(text);
        let before = pushed(&world);
        world.once().await.unwrap();
        assert_eq!(world.logged("resuming the interrupted run"), 0, "{text}");
        assert_eq!(world.logged("and the list starts again: its latest_timestamp, "), 1, "{text}");
        assert!(pushed(&world) - before >= world.expected("long1").len() - 3, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn fresh_drops_what_an_interrupted_run_has_left() {
    let mut world = stopped(PLAIN).await;
    let before = pushed(&world);
    world.fresh();
    world.once().await.unwrap();
    let dropped =
        "checkpoints dropped: 1; interrupted runs start from their beginning, and all holds are lifted.";
    assert_eq!(world.logged(dropped), 1);
    assert_eq!(world.logged("resuming the interrupted run"), 0);
    assert_eq!(pushed(&world) - before, world.contacts());
    world.assert_delivered("long1");
}

#[tokio::test(start_paused = true)]
async fn a_reload_after_a_finished_load_does_not_go_on_with_it() {
    let world =
        World::new().list("long1", 1000).with_state(r#"[{"list_id": "long1", "latest_timestamp": null}]"#);
    world.once().await.unwrap();
    let before = pushed(&world);
    world.save(r#"[{"list_id": "long1", "latest_timestamp": null}]"#);
    world.once().await.unwrap();
    assert!(pushed(&world) - before >= world.expected("long1").len());
}

#[tokio::test(start_paused = true)]
async fn a_list_that_failed_in_the_middle_continues_after_its_cool_down() {
    let world = World::new().list("long1", 3000).with_state(PLAIN);
    let fail = async {
        sleep(Duration::from_secs(3)).await;
        world.sandbox.trouble(Service::Ometria, Trouble::Status(403, None));
        sleep(minutes(10)).await;
        world.stop();
    };
    let (verdict, ()) = tokio::join!(world.go(), fail);
    assert_eq!(verdict.unwrap(), Verdict::Done);
    assert_eq!(world.logged("list \"long1\" failed"), 1);
    assert_eq!(world.logged("resuming the interrupted run"), 1);
    world.assert_delivered("long1");
    assert_eq!(world.field("total_updates"), world.contacts());
}

/// The run is dropped at any moment, as by `kill -9`, many times, while members change.
#[tokio::test(start_paused = true)]
async fn a_load_that_is_cut_off_again_and_again_misses_nobody() {
    for seed in 0..6 {
        let mut random = fastrand::Rng::with_seed(seed);
        let world =
            World::new().list("long1", 2000).with_state(r#"[{"list_id": "long1", "items_per_request": 50}]"#);
        let mut cuts = 0;
        loop {
            let cut = Duration::from_millis(random.u64(300..3000));
            let ended = tokio::select! {
                verdict = world.once() => Some(verdict),
                () = sleep(cut) => None,
            };
            if let Some(verdict) = ended {
                assert_eq!(verdict.unwrap(), Verdict::Done, "seed {seed}");
                break;
            }
            cuts += 1;
            for _ in 0..20 {
                let now = world.clock.now();
                world
                    .sandbox
                    .mailchimp()
                    .edit("long1", random.u64(..2000), now, |member| member.status = "unsubscribed");
            }
            sleep(Duration::from_secs(random.u64(..100))).await;
        }
        sleep(hours(3)).await;
        world.once().await.unwrap();
        world.assert_delivered("long1");
        assert!(cuts > 0);
    }
}
