//! Golden records: what the program does in many worlds, so that another version can be compared with this one.
//!
//! A record holds how each run ended, every request, the contents of the sink, the fate of every record, the fields that
//! importer writes, the state file, the names of all files, and the log without its words. 76 hand-made worlds are kept as text
//! (`tests/golden/worlds`), 200 worlds by seed as digests (`tests/golden/seeds.txt`). [`store`] explains how to record anew and
//! how to write the whole text of a world.
//!
//! [`baton`] makes a world run the same way in every process. A record leaves out what differs between runs of one program and
//! what another wording may change:
//!
//! * the order of requests and of log lines;
//! * the words of the log, of holds and of dead letters, and numbers in lines about retries and cool-downs, which are random;
//! * digests in file names and the names of sinks in a ledger: those of a file sink depend on the path of the state folder;
//! * the order of rows in a ledger, which is that of a map, and the seconds in a checkpoint;
//! * the bytes of a delivery cache (redb), except whether there is one; the next run shows what the cache contains;
//! * the bodies of pushes, except for their number of records; the contents of the sink show what was delivered;
//! * the version of the crate, and the path of the state folder.
//!
//! Worlds edit the state file some seconds past a full minute, because the loop reads the file at full minutes.

mod baton;
mod files;
mod kinds;
mod line;
mod record;
mod store;
mod worlds;

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, Hasher, RandomState},
};

use self::record::Record;
use crate::{soak::life::Life, support::World};

/// Bounds of the size of a list; smaller than in the soak, because every test run covers all seeds.
const MEMBERS: std::ops::Range<u64> = 50..130;
const SEEDS: u64 = 200;
/// Tests that share the seeds.
const PARTS: u64 = 8;

/// Runs a world under a paused clock and records it. The folder has a random name, so that a record that depends on the name
/// fails.
fn recorded(story: impl Future<Output = World>) -> Record {
    fastrand::seed(RandomState::new().build_hasher().finish());
    Record::of(&baton::run(story))
}

/// Compares one part of the seeds with their digests.
fn seeds(part: u64) {
    let mut records = BTreeMap::new();
    for seed in (1..=SEEDS).filter(|seed| seed % PARTS == part) {
        println!("seed {seed}");
        records.insert(seed, recorded(Life::of(seed, MEMBERS).live()));
    }
    let differences = store::compare_digests(&records);
    assert!(
        differences.is_empty(),
        "{} sections differ from tests/golden/seeds.txt:\n{}\nTo see the lines, run this test with GOLDEN_DUMP=<folder> in both versions and \
         compare the folders with `diff -r`; to accept them, run it with GOLDEN=write.",
        differences.len(),
        differences.join("\n")
    );
}

/// Makes a test of each part of the seeds.
macro_rules! parts {
    ($($name:ident: $part:literal),*) => {
        $(#[test] fn $name() { seeds($part); })*
    };
}

parts!(
    worlds_of_seeds_leave_what_they_left_before_0: 0,
    worlds_of_seeds_leave_what_they_left_before_1: 1,
    worlds_of_seeds_leave_what_they_left_before_2: 2,
    worlds_of_seeds_leave_what_they_left_before_3: 3,
    worlds_of_seeds_leave_what_they_left_before_4: 4,
    worlds_of_seeds_leave_what_they_left_before_5: 5,
    worlds_of_seeds_leave_what_they_left_before_6: 6,
    worlds_of_seeds_leave_what_they_left_before_7: 7
);

/// Compares worlds made by hand with their files.
fn by_hand(stories: &[worlds::Story]) {
    let differences: Vec<String> = stories
        .iter()
        .filter_map(|story| {
            println!("world {}", story.name);
            store::compare_whole(story.name, &recorded((story.tell)()))
        })
        .collect();
    assert!(
        differences.is_empty(),
        "{} worlds differ from tests/golden/worlds:\n{}To accept them, run this test with GOLDEN=write.",
        differences.len(),
        differences.join("\n")
    );
}

#[test]
fn loads_and_syncs_leave_what_they_left_before() {
    by_hand(worlds::loads::STORIES);
}

#[test]
fn people_and_their_edits_leave_what_they_left_before() {
    by_hand(worlds::edits::STORIES);
}

#[test]
fn refusals_and_outages_leave_what_they_left_before() {
    by_hand(worlds::troubles::STORIES);
}

#[test]
fn other_adapters_and_settings_leave_what_they_left_before() {
    by_hand(worlds::settings::STORIES);
}

#[test]
fn everything_that_is_kept_belongs_to_a_world() {
    let mut names: Vec<String> = worlds::all().map(|story| format!("{}.txt", story.name)).collect();
    names.sort();
    let files = std::fs::read_dir(store::folder().join("worlds")).unwrap();
    let mut kept: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    kept.sort();
    assert_eq!(kept, names);
    assert!(names.len() >= 40, "{} worlds", names.len());
    assert_eq!(store::kept_seeds(), (1..=SEEDS).collect::<Vec<_>>());
}
