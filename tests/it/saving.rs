//! Results on their way into the state file: a file that can't be written, many results at once.

use std::{fs, time::Duration};

use importer::controller::Verdict;
use tokio::time::sleep;

use crate::support::{World, minutes};

const STAMP: &str = "2026-11-21T12:00:00";

/// Loads a list whose state file is broken before the load ends.
fn broken_world(list: &str) -> (World, String) {
    let text = format!(r#"[{{"list_id": "{list}"}}]"#);
    (World::new().list(list, 450).with_state(&text), text)
}

async fn break_it(world: &World) {
    sleep(Duration::from_millis(500)).await;
    world.save("[{");
}

#[tokio::test(start_paused = true)]
async fn a_single_pass_that_cannot_write_its_result_fails_and_the_next_start_writes_it() {
    let (world, text) = broken_world("unwritten1");
    let (ended, ()) = tokio::join!(world.once(), break_it(&world));
    let fault = ended.unwrap_err().to_string();
    assert!(fault.contains("state.json:1:2: "), "{fault}");
    assert_eq!(world.state(), "[{");
    assert_eq!(world.logged("the result of the run is kept"), 1);
    world.save(&text);
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(world.field("latest_timestamp"), STAMP);
    assert_eq!(world.logged("wrote the result of an earlier run"), 1);
    assert_eq!(world.logged("firing full load"), 1, "it was not run again");
}

#[tokio::test(start_paused = true)]
async fn a_result_that_waits_at_a_stop_is_written_by_the_next_start() {
    let (world, text) = broken_world("unwritten2");
    let edits = async {
        break_it(&world).await;
        sleep(minutes(2)).await;
        assert_eq!(world.logged("the result of the run is kept"), 1);
        assert_eq!(world.logged("list \"unwritten2\" has no latest timestamp"), 1, "the list stays taken");
        world.stop();
    };
    let (ended, ()) = tokio::join!(world.go(), edits);
    assert_eq!(ended.unwrap(), Verdict::Done);
    assert_eq!(world.logged("the result of its run is in the journal; the next start writes it"), 1);
    world.save(&text);
    world.go_for(minutes(2)).await.unwrap();
    assert_eq!(world.field("latest_timestamp"), STAMP);
    assert_eq!(world.logged("firing full load"), 1, "it was not run again");
}

/// Returns the texts of the history, oldest first, with their authors.
fn history(world: &World) -> Vec<(String, String)> {
    let folder = world.folder.path().join(".importer/history");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let version = |path: &std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap();
        (name.rsplit('-').next().unwrap().to_owned(), fs::read_to_string(path).unwrap())
    };
    files.iter().map(version).collect()
}

#[tokio::test(start_paused = true)]
async fn a_result_leaves_one_version_of_ours_after_the_one_it_was_written_into() {
    let text = r#"[{"list_id": "versions1"}]"#;
    let world = World::new().list("versions1", 50).with_state(text);
    world.once().await.unwrap();
    assert_eq!(history(&world), [("hand".into(), text.into()), ("importer".into(), world.state())]);
}
