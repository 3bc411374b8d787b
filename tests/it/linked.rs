//! State files behind links: every command and the lock use importer's own files beside the file itself.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use importer::{
    app::wiring::VOCABULARY,
    base::{
        clock::{Clock, SystemClock},
        events::Events,
    },
    state::{
        Edit, RunStamp, StateFile,
        lock::{self, NotLocked},
    },
};

use crate::places::dead_letter;
use crate::{
    loopback::{Loopback, Running, finish},
    support::at,
};

fn take(folder: &Path) -> Result<lock::Lock, NotLocked> {
    lock::take(folder, at("2026-11-21T12:00:00"))
}

/// Makes `real/state.json`, and an empty folder for a link.
fn place() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let (real, named) = (place.path().join("real"), place.path().join("named"));
    fs::create_dir(&real).unwrap();
    fs::create_dir(&named).unwrap();
    fs::write(real.join("state.json"), r#"[{"list_id": "a"}]"#).unwrap();
    (place, real, named)
}

/// Makes folders through which a command reaches `real/state.json`.
fn ways(place: &Path, real: &Path) -> Vec<PathBuf> {
    let folders = ["link", "chain", "relative", "other-name"].map(|name| place.join(name));
    folders.iter().for_each(|folder| fs::create_dir(folder).unwrap());
    let [link, chain, relative, middle] = &folders;
    symlink(real.join("state.json"), link.join("state.json")).unwrap();
    symlink(middle.join("lists.json"), chain.join("state.json")).unwrap();
    symlink("../link/state.json", middle.join("lists.json")).unwrap();
    symlink("../real/state.json", relative.join("state.json")).unwrap();
    let folder = place.join("folder");
    symlink(real, &folder).unwrap();
    vec![link.clone(), chain.clone(), relative.clone(), folder]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_finds_behind_a_link_what_go_has_left() {
    let loopback = Loopback::start(Duration::ZERO, r#"[{"list_id": "link1"}]"#).await.list("link1", 40);
    let (place, real, _) = place();
    let named = loopback.folder.path();
    let member =
        loopback.sandbox.mailchimp().members("link1").find(|member| member.status == "subscribed").cloned();
    let member = member.unwrap();
    loopback.sandbox.ometria().refuse(&member.contact_id("link1"), true);
    for folder in ways(place.path(), &real).into_iter().chain([real.clone()]) {
        fs::write(real.join("state.json"), r#"[{"list_id": "link1"}]"#).unwrap();
        fs::remove_file(named.join("state.json")).unwrap();
        symlink(folder.join("state.json"), named.join("state.json")).unwrap();
        let told = folder.display();
        assert_eq!(finish(loopback.command(&["go", "--once"])).await.0, 0, "{told}");
        assert!(dead_letter(&real, "link1").exists() && !named.join("dead-letter").exists(), "{told}");
        assert!(
            real.join(".importer/history").exists() && !named.join(".importer/history").exists(),
            "{told}"
        );
        assert!(real.join(".importer/lists").exists() && !named.join(".importer/lists").exists(), "{told}");
        let (code, log, _) = finish(loopback.command(&["replay", "link1"])).await;
        assert!(code == 1 && log.contains("1 dead letter: 0 sent"), "{told}: {log}");
        let (code, log, _) = finish(loopback.command(&["verify", "link1"])).await;
        assert!(code == 3, "{told}: {log}");
        let (code, log, _) = finish(loopback.command(&["why", "link1", &member.id()])).await;
        assert!(code == 0 && log.contains("rejected"), "{told}: {log}");
        let (code, log, _) = finish(loopback.command(&["state", "log"])).await;
        assert!(code == 0 && log.contains("link1: total_updates"), "{told}: {log}");
    }
}

#[test]
fn two_ways_to_one_state_file_are_one_lock() {
    let (place, real, _) = place();
    for way in ways(place.path(), &real) {
        let held = take(&way).unwrap();
        assert!(matches!(take(&real), Err(NotLocked::Taken(_))), "{}", way.display());
        drop(held);
        let held = take(&real).unwrap();
        assert!(matches!(take(&way), Err(NotLocked::Taken(_))), "{}", way.display());
        drop(held);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dangling_link_is_reported_and_its_file_may_come_later() {
    let loopback = Loopback::start(Duration::ZERO, "[]").await;
    let (_place, real, _) = place();
    let link = loopback.folder.path().join("state.json");
    let put = |target: PathBuf| {
        fs::remove_file(&link).unwrap();
        symlink(target, &link).unwrap();
    };
    put(real.join("later.json"));
    let (code, _, log) = finish(loopback.command(&["go", "--once"])).await;
    assert!(code == 2 && log.contains("there is no state file"), "{log}");
    fs::write(real.join("later.json"), "[]").unwrap();
    let (code, _, log) = finish(loopback.command(&["go", "--once"])).await;
    assert!(code == 0 && real.join(".importer").exists(), "{log}");
    put(real.join("no/state.json"));
    let (code, _, log) = finish(loopback.command(&["go", "--once"])).await;
    assert!(code == 2 && log.contains("leads to the folder `") && log.contains("/no`"), "{log}");
    put(link.clone());
    let (code, _, log) = finish(loopback.command(&["go", "--once"])).await;
    assert!(code == 2 && log.contains("is part of a loop"), "{log}");
}

/// Opens the state file as `go` does, without runs.
fn open(folder: &Path) -> StateFile {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    StateFile::open(folder, clock, VOCABULARY, Events::default()).unwrap()
}

fn edit(file: &StateFile) -> Edit {
    let entry = file.load().unwrap().entries.remove(0);
    let stamp =
        RunStamp { latest_timestamp: at("2026-11-21T11:00:00"), elapsed_seconds: 1.0, total_updates: 2 };
    Edit { entry: entry.id, alone: entry.alone, was: entry.was, stamp }
}

#[test]
fn a_link_that_is_changed_while_importer_runs_is_followed_and_lets_no_second_one_in() {
    let (place, real, named) = place();
    let other = place.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("state.json"), r#"[{"list_id": "b"}]"#).unwrap();
    symlink(real.join("state.json"), named.join("state.json")).unwrap();
    let held = take(&named).unwrap();
    let file = open(&named);
    fs::create_dir_all(real.join(".importer/lists/a")).unwrap();
    fs::remove_file(named.join("state.json")).unwrap();
    symlink(other.join("state.json"), named.join("state.json")).unwrap();
    // Another importer works there.
    let theirs = take(&other).unwrap();
    assert!(file.load().unwrap_err().to_string().contains("another importer"));
    drop(theirs);
    let edit = edit(&file);
    assert_eq!(edit.entry.list_id, "b");
    assert!(matches!(take(&other), Err(NotLocked::Taken(_))), "the file that is written is locked");
    assert!(matches!(take(&real), Err(NotLocked::Taken(_))), "and so are our own files");
    assert!(matches!(take(&named), Err(NotLocked::Taken(_))));
    file.apply(&[edit]).unwrap();
    assert!(fs::read_to_string(other.join("state.json")).unwrap().contains("2026-11-21T11:00:00"));
    assert_eq!(fs::read_to_string(real.join("state.json")).unwrap(), r#"[{"list_id": "a"}]"#);
    drop((file, held));
    // The next start refuses to work without the records.
    let told = take(&named).unwrap_err().to_string();
    assert!(told.contains("led to `") && told.contains("move `.importer` and `dead-letter`"), "{told}");
    fs::remove_dir_all(other.join(".importer")).unwrap();
    fs::rename(real.join(".importer"), other.join(".importer")).unwrap();
    take(&named).unwrap();
}

#[test]
fn a_file_replaced_by_a_link_keeps_its_records() {
    let (_place, real, named) = place();
    fs::write(named.join("state.json"), r#"[{"list_id": "a"}]"#).unwrap();
    drop((take(&named).unwrap(), open(&named)));
    fs::create_dir_all(named.join(".importer/lists/a")).unwrap();
    fs::create_dir_all(named.join("dead-letter")).unwrap();
    fs::remove_file(named.join("state.json")).unwrap();
    symlink(real.join("state.json"), named.join("state.json")).unwrap();
    take(&named).unwrap();
    assert!(real.join(".importer/lists/a").exists() && real.join("dead-letter").exists());
    assert!(!named.join(".importer/lists").exists() && !named.join("dead-letter").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_an_older_version_beside_the_link_are_reported_and_then_moved() {
    let loopback = Loopback::start(Duration::ZERO, r#"[{"list_id": "link2"}]"#).await.list("link2", 10);
    let (_place, real, _) = place();
    let named = loopback.folder.path();
    assert_eq!(finish(loopback.command(&["go", "--once"])).await.0, 0);
    fs::rename(named.join("state.json"), real.join("state.json")).unwrap();
    symlink(real.join("state.json"), named.join("state.json")).unwrap();
    let (code, _, log) = finish(loopback.command(&["verify", "link2"])).await;
    assert!(code == 2 && log.contains("run `importer go --once` to move it there"), "{log}");
    // Records exist in both places: a person has to decide which ones count.
    fs::create_dir_all(real.join(".importer/lists")).unwrap();
    let (code, _, log) = finish(loopback.command(&["go", "--once"])).await;
    assert!(code == 2 && log.contains("both exist"), "{log}");
    fs::remove_dir(real.join(".importer/lists")).unwrap();
    assert_eq!(finish(loopback.command(&["go", "--once"])).await.0, 0);
    assert_eq!(finish(loopback.command(&["verify", "link2"])).await.0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quit_file_counts_in_the_named_folder_and_beside_the_file() {
    let loopback = Loopback::start(Duration::ZERO, "[]").await;
    let (_place, real, _) = place();
    let named = loopback.folder.path();
    fs::remove_file(named.join("state.json")).unwrap();
    symlink(real.join("state.json"), named.join("state.json")).unwrap();
    fs::write(real.join("state.json"), "[]").unwrap();
    for folder in [named, &real] {
        let mut running = Running::start(loopback.command(&["go"]));
        running.wait_for("sleeping for").await;
        fs::write(folder.join("controller.quit"), "").unwrap();
        running.wait_for("found").await;
        assert!(running.end().await.success());
        assert!(!folder.join("controller.quit").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_and_a_revert_write_beside_the_file_itself() {
    let state = r#"[{"list_id": "link3", "mapping": "as_is", "sink": "ndjson"}]"#;
    let loopback = Loopback::start(Duration::ZERO, state).await.list("link3", 10);
    let (_place, real, _) = place();
    let named = loopback.folder.path();
    fs::rename(named.join("state.json"), real.join("state.json")).unwrap();
    symlink(real.join("state.json"), named.join("state.json")).unwrap();
    assert_eq!(finish(loopback.command(&["go", "--once"])).await.0, 0);
    assert!(real.join("out/link3.ndjson").exists() && !named.join("out").exists());
    // The link leads to a missing file now; the file comes back in its old place.
    fs::remove_file(real.join("state.json")).unwrap();
    let (code, _, log) = finish(loopback.command(&["state", "revert", "1"])).await;
    assert_eq!((code, fs::read_to_string(real.join("state.json")).unwrap().as_str()), (0, state), "{log}");
    assert!(fs::symlink_metadata(named.join("state.json")).unwrap().is_symlink());
}
