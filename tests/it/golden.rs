//! Golden records: what the program does in many worlds, so that it is seen whether another version still does the same.
//!
//! Of each world is recorded how its runs ended, every request, what the sink holds, the fate of every record, the fields that
//! importer writes, the state file, the names of all files, and the log without its words. 76 worlds made by hand are kept as text
//! (`tests/golden/worlds`), 200 worlds of seeds as digests (`tests/golden/seeds.txt`). [`store`] says how to record anew, and how to
//! get the whole text of a world.
//!
//! A world takes the same course in every process, see [`baton`]. Left out is what other runs of the same program differ in, and
//! what another wording may change:
//!
//! * the order of requests and of log lines;
//! * the words of the log, of holds and of dead letters; numbers in lines about retries and rests, which depend on chance;
//! * digests in names of files, and the names of sinks in a ledger: those of a file's sink depend on the path of the state folder;
//! * the order of rows in a ledger, which is that of a map, and the seconds in a checkpoint;
//! * the bytes of the memory of a sink (redb). What it holds shows in what a later run sends;
//! * bodies of pushes but for their number of records: what was delivered is what the sink holds;
//! * the crate's version, and the path of the state folder.
//!
//! Edits of the state file in a loop are made some seconds past the full minute, at which the loop reads the file by itself.

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

/// Bounds of the size of a list: smaller than in the soak, since each seed is lived through in every run of the tests.
const MEMBERS: std::ops::Range<u64> = 50..130;
const SEEDS: u64 = 200;
/// Tests that share the seeds.
const PARTS: u64 = 8;

/// Lives through a world under a paused clock, and records it. The name of its folder is another one each time, so that a record
/// that depends on it is found out.
fn recorded(story: impl Future<Output = World>) -> Record {
    fastrand::seed(RandomState::new().build_hasher().finish());
    Record::of(&baton::run(story))
}

/// Compares one part of the seeds with what is kept of them.
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
