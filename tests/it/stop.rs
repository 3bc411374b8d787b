//! A stop takes a few seconds: records that were read are delivered, and finished results are saved.

use std::{fs, time::Duration};

use importer::controller::{Verdict, quit};
use tokio::time::{Instant, sleep};

use crate::support::{World, minutes};

#[tokio::test(start_paused = true)]
async fn a_stop_delivers_what_was_read_asks_for_no_more_and_saves_what_is_finished() {
    let text = r#"[{"list_id": "short1"}, {"list_id": "long1"}]"#;
    let world = World::new().list("short1", 50).list("long1", 20_000).with_state(text);
    let (verdict, asked) = tokio::join!(world.once(), async {
        // Between two rounds of responses, at which requests begin.
        sleep(Duration::from_millis(10_100)).await;
        world.stop();
        (world.reads().len(), Instant::now())
    });
    assert_eq!(verdict.unwrap(), Verdict::Done);
    assert!(asked.1.elapsed() < Duration::from_secs(9), "{:?}", asked.1.elapsed());
    assert_eq!(world.reads().len(), asked.0, "a page was asked for after the stop");
    world.assert_delivered("short1");
    assert!(world.contacts() > 1000);
    assert!(world.state().ends_with(r#", {"list_id": "long1"}]"#), "{}", world.state());
    assert!(
        world.state().starts_with(r#"[{"list_id": "short1", "latest_timestamp": "2026-"#),
        "{}",
        world.state()
    );
    assert_eq!(world.logged("list \"long1\" stopped: "), 1);
}

#[tokio::test(start_paused = true)]
async fn a_quit_file_stops_the_loop_and_is_removed() {
    let world = World::new().list("quit1", 50).with_state(r#"[{"list_id": "quit1"}]"#);
    let file = world.folder.path().join(quit::NAME);
    let (verdict, asked) = tokio::join!(world.go(), async {
        sleep(minutes(5)).await;
        fs::write(&file, "").unwrap();
        Instant::now()
    });
    assert_eq!(verdict.unwrap(), Verdict::Done);
    assert!(asked.elapsed() < Duration::from_secs(3));
    assert!(!file.exists());
    world.assert_delivered("quit1");
}

#[tokio::test(start_paused = true)]
async fn a_quit_file_from_before_the_start_is_removed_with_a_log_line_and_the_run_continues() {
    let world = World::new().list("stale1", 50).with_state(r#"[{"list_id": "stale1"}]"#);
    fs::write(world.folder.path().join(quit::NAME), "").unwrap();
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    world.assert_delivered("stale1");
    assert_eq!(world.logged("INFO removed an old"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_server_that_is_down() {
    let world = World::new().list("stuck1", 50).with_state(r#"[{"list_id": "stuck1"}]"#);
    for _ in 0..20 {
        world.sandbox.trouble(
            importer::sandbox::Service::Ometria,
            importer::sandbox::Trouble::Status(503, Some("60")),
        );
    }
    let (verdict, asked) = tokio::join!(world.once(), async {
        sleep(Duration::from_secs(5)).await;
        world.stop();
        Instant::now()
    });
    assert_eq!(verdict.unwrap(), Verdict::Done);
    assert!(asked.elapsed() < Duration::from_secs(9), "{:?}", asked.elapsed());
    assert_eq!(world.logged("was cut short"), 1);
    assert_eq!(world.state(), r#"[{"list_id": "stuck1"}]"#);
}
