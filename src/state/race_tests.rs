//! Tests the real writer, with two edits in each write, against users who save thousands of times, and against a
//! reader that never stops.
#![expect(clippy::disallowed_methods, reason = "the tests act as the user, who may save in any way")]

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use chrono::TimeDelta;

use super::{
    disk::{Means, Step},
    document::{Edit, RunStamp},
    file::StateFile,
    layout::NAME,
    schema,
    vocabulary::SAMPLE,
};
use crate::base::{clock::SystemClock, events::Events, time};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Save {
    Rename,
    InPlace,
    Truncate,
}

/// Least number of saves for each kind of save.
const SAVES: u64 = 1_000;
/// Least number of saves that must coincide with a write of importer. With fewer, there was no race.
const CROSSED: u64 = 10;

fn counter(text: &str) -> Option<u64> {
    schema::parse(text).ok()?;
    let (_, rest) = text.split_once("\"x-count\": ")?;
    rest.split(',').next()?.trim().parse().ok()
}

/// Returns the text once it contains the user's last save; `None` if it does not within 2 s.
fn see(path: &Path, expected: u64) -> Option<String> {
    for _ in 0..400 {
        let text = fs::read_to_string(path).unwrap_or_default();
        if counter(&text) == Some(expected) {
            return Some(text);
        }
        thread::sleep(Duration::from_millis(5));
    }
    None
}

fn save(path: &Path, text: &str, how: Save) {
    match how {
        Save::Rename => {
            fs::write(path.with_file_name("new"), text).unwrap();
            fs::rename(path.with_file_name("new"), path).unwrap();
        }
        Save::InPlace => {
            // Overwrites the text first, then cuts off what remains of a longer one.
            let mut file = OpenOptions::new().write(true).open(path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file.set_len(text.len() as u64).unwrap();
        }
        Save::Truncate => {
            let mut file = OpenOptions::new().write(true).truncate(true).open(path).unwrap();
            let (first, rest) = text.as_bytes().split_at(text.len() / 2);
            file.write_all(first).unwrap();
            thread::sleep(Duration::from_micros(fastrand::u64(..500)));
            file.write_all(rest).unwrap();
        }
    }
}

/// The result of a race.
#[derive(Debug)]
struct Race {
    saves: u64,
    /// Edits that the user made and that are missing afterwards.
    lost: u64,
    /// Writes of importer.
    writes: u64,
    /// Saves that an exchange had replaced and that were put back.
    crossed: u64,
    /// Saves that are kept aside because a newer one is in force.
    aside: usize,
}

fn race(how: Save) -> Race {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME);
    let text = "[\n  {\"list_id\": \"a\"},\n  {\"list_id\": \"b\", \"x-count\": 0, \"x\": 1},\n  {\"list_id\": \"c\"}\n]\n";
    fs::write(&path, text).unwrap();
    let crossed = Arc::new(AtomicU64::new(0));
    let count_crossed = Arc::clone(&crossed);
    let hook = move |step| {
        count_crossed.fetch_add(u64::from(step == Step::PutBack), Ordering::Relaxed);
        Ok(())
    };
    let file = StateFile::open(folder.path(), Arc::new(SystemClock), &SAMPLE, Events::default()).unwrap();
    let file = file.with(Means::Exchange, Box::new(hook));
    let (done, writes) = (AtomicBool::new(false), AtomicU64::new(0));
    let (lost, saves) = thread::scope(|threads| {
        threads.spawn(|| {
            let start = time::parse("2019-10-21T10:00:00").unwrap();
            let mut entries = file.load().unwrap().entries;
            while !done.load(Ordering::Relaxed) {
                let seconds = writes.load(Ordering::Relaxed) as i64;
                let latest_timestamp = start + TimeDelta::seconds(seconds);
                let stamp = RunStamp { latest_timestamp, elapsed_seconds: 1.0, total_updates: 2 };
                let ours = entries.iter().filter(|entry| entry.id.list_id != "b");
                let edits: Vec<Edit> = ours
                    .map(|entry| Edit { entry: entry.id.clone(), alone: entry.alone, was: entry.was, stamp })
                    .collect();
                if let Ok(applied) = file.apply(&edits) {
                    // A save of a text from before the last write removes its stamps. The user's edit wins.
                    entries = applied.snapshot.entries;
                    writes.fetch_add(1, Ordering::Relaxed);
                }
                file.look_back().unwrap();
            }
        });
        let mut lost = 0;
        let (mut saves, mut count) = (0, 0);
        while saves < SAVES || (crossed.load(Ordering::Relaxed) < CROSSED && saves < 20 * SAVES) {
            saves += 1;
            let Some(text) = see(&path, count) else {
                lost += 1;
                count = counter(&fs::read_to_string(&path).unwrap()).unwrap();
                continue;
            };
            thread::sleep(Duration::from_micros(fastrand::u64(..6_000)));
            let changed =
                text.replace(&format!("\"x-count\": {count},"), &format!("\"x-count\": {},", count + 1));
            save(&path, &changed, how);
            count += 1;
        }
        lost += u64::from(see(&path, count).is_none());
        done.store(true, Ordering::Relaxed);
        (lost, saves)
    });
    let names = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name());
    let aside = names.filter(|name| name.to_str().unwrap().contains("conflict")).count();
    Race { saves, lost, writes: writes.into_inner(), crossed: crossed.load(Ordering::Relaxed), aside }
}

#[test]
fn not_one_edit_is_lost_in_a_race() {
    for how in [Save::Rename, Save::InPlace, Save::Truncate] {
        let race = race(how);
        let Race { saves, lost, writes, crossed, aside } = race;
        println!(
            "{saves} saves {how:?}: {lost} lost, {writes} writes of importer, {crossed} coincided, {aside} kept aside"
        );
        assert!(crossed >= CROSSED, "there was no race");
        assert_eq!(lost, 0);
    }
}

#[test]
fn a_reader_never_sees_an_incomplete_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME);
    fs::write(&path, format!("[{{\"list_id\": \"a\", \"x-long\": \"{}\"}}]", "x".repeat(100_000))).unwrap();
    let file = StateFile::open(folder.path(), Arc::new(SystemClock), &SAMPLE, Events::default()).unwrap();
    let done = AtomicBool::new(false);
    let reads = thread::scope(|threads| {
        let reader = threads.spawn(|| {
            let mut reads = 0;
            while !done.load(Ordering::Relaxed) {
                assert!(schema::read(&fs::read_to_string(&path).unwrap(), &SAMPLE).is_ok());
                reads += 1;
            }
            reads
        });
        for seconds in 0..200 {
            let entry = file.load().unwrap().entries.remove(0);
            let latest_timestamp = time::parse("2019-10-21T10:00:00").unwrap() + TimeDelta::seconds(seconds);
            let stamp = RunStamp { latest_timestamp, elapsed_seconds: 1.0, total_updates: 2 };
            file.apply(&[Edit { entry: entry.id, alone: entry.alone, was: entry.was, stamp }]).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(reads > 200, "only {reads} reads");
}
