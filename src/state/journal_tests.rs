//! Tests with journals of an earlier build that was interrupted within a write: the current build finishes
//! the write. With `FIXTURES=write` the tests write the journals again; see `tests/fixtures/README.md`.
#![expect(clippy::disallowed_methods, reason = "the tests act as the user, who may save in any way")]

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, Utc};

use super::{
    disk::{Means, Step},
    document::{Edit, RunStamp},
    file::{SLOT, StateFile},
    layout::{NAME, OURS},
};
use crate::base::{clock::Clock, events::Events, time};

const TEXT: &str = "[\n  {\"list_id\": \"a\", \"consent\": \"full\"}, // ours\n  {\"list_id\": \"a\", \"worker_count\": 1, \"collection\": \"b\"}\n]\n";
const BEFORE: &str = "\"worker_count\": 1";
const AFTER: &str = "\"worker_count\": 2";
const STAMPED: &str = "\"latest_timestamp\": \"2026-11-21T12:00:00\"";
/// The files of a fixture. Displaced texts and the history are not part of it.
const FILES: [&str; 3] = [NAME, ".importer/journal.json", ".importer/slot"];

struct Noon;

impl Clock for Noon {
    fn now(&self) -> DateTime<Utc> {
        time::parse("2026-11-21T12:00:00").unwrap()
    }
}

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/state").join(name)
}

fn open(folder: &Path) -> StateFile {
    StateFile::open(folder, Arc::new(Noon), &crate::state::vocabulary::SAMPLE, Events::default()).unwrap()
}

/// Copies the files of a fixture.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join(OURS)).unwrap();
    for file in FILES {
        fs::write(to.join(file), fs::read(from.join(file)).unwrap()).unwrap();
    }
}

/// Interrupts a write at a step; if `saves`, the user saves before the exchange. Stores the files that remain
/// as the fixture, or compares them with it. Returns a copy of the fixture.
fn cut_off(name: &str, crash: Step, saves: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME);
    fs::write(&path, TEXT).unwrap();
    let at = path.clone();
    let hook = move |step| {
        if saves && step == Step::Prepared {
            fs::write(&at, TEXT.replace(BEFORE, AFTER)).unwrap();
        }
        if step == crash { Err(io::Error::other("crash")) } else { Ok(()) }
    };
    let file = open(folder.path()).with(Means::Exchange, Box::new(hook));
    let entry = file.load().unwrap().entries.remove(0);
    let stamp = RunStamp { latest_timestamp: Noon.now(), elapsed_seconds: 1.5, total_updates: 2 };
    let edit = Edit { entry: entry.id, alone: entry.alone, was: entry.was, stamp };
    assert!(file.apply(&[edit]).is_err());
    drop(file);
    if env::var("FIXTURES").is_ok_and(|wanted| wanted == "write" || wanted == name) {
        copy(folder.path(), &kept(name));
    }
    for file in FILES {
        let [written, kept] =
            [folder.path(), &kept(name)].map(|folder| fs::read_to_string(folder.join(file)).unwrap());
        assert_eq!(written, kept, "{file}: this build and the fixture {name} differ");
    }
    let copied = tempfile::tempdir().unwrap();
    copy(&kept(name), copied.path());
    copied
}

#[test]
fn a_write_that_an_earlier_build_had_prepared_is_made() {
    let folder = cut_off("journal_prepared", Step::Prepared, false);
    let path = folder.path().join(NAME);
    assert_eq!(fs::read_to_string(&path).unwrap(), TEXT);
    open(folder.path());
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.lines().nth(1).unwrap().contains(STAMPED) && text.matches(STAMPED).count() == 1, "{text}");
    assert!(!folder.path().join(OURS).join(SLOT).exists());
}

#[test]
fn a_save_that_an_earlier_build_had_exchanged_gets_its_name_back_and_the_result_is_added() {
    let folder = cut_off("journal_exchanged", Step::Exchanged, true);
    let path = folder.path().join(NAME);
    assert!(!fs::read_to_string(&path).unwrap().contains(AFTER), "the save is hidden");
    open(folder.path());
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(AFTER) && text.matches(STAMPED).count() == 1, "{text}");
    assert!(!folder.path().join(OURS).join(SLOT).exists());
}
