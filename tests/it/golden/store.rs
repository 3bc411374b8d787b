//! Reads, writes and compares golden records.
//!
//! `GOLDEN=write` records anew. `GOLDEN_DUMP=folder` writes the whole text of every world into a folder, so that two versions of
//! the program can be compared with `diff -r`.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
};

use super::record::{Record, Section};

/// A section with more lines is kept as its first lines and a digest.
const MOST_LINES: usize = 150;
/// Number of lines kept of a longer section.
const FIRST_LINES: usize = 20;
/// Maximum number of differences shown per section.
const SHOWN: usize = 8;

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("golden")
}

fn writes() -> bool {
    env::var("GOLDEN").is_ok_and(|golden| golden == "write")
}

/// Writes the whole text of a world if `GOLDEN_DUMP` is set.
fn dump(world: &str, record: &Record) {
    if let Some(folder) = env::var_os("GOLDEN_DUMP") {
        fs::create_dir_all(&folder).unwrap();
        fs::write(Path::new(&folder).join(format!("{world}.txt")), text(record, usize::MAX)).unwrap();
    }
}

/// A section as one line.
fn digest(section: &Section) -> String {
    format!("{} {:x}", section.lines.len(), md5::compute(section.lines.join("\n")))
}

fn text(record: &Record, most: usize) -> String {
    let mut text = String::new();
    for section in &record.0 {
        text += &format!("== {} ==\n", section.name);
        let lines = section.lines.len();
        let kept = if lines > most { FIRST_LINES } else { lines };
        section.lines[..kept].iter().for_each(|line| text += &format!("{line}\n"));
        if kept < lines {
            text += &format!("… of {}\n", digest(section));
        }
    }
    text
}

/// Compares a record with the file of its world. Returns what differs.
pub fn compare_whole(world: &str, record: &Record) -> Option<String> {
    dump(world, record);
    let path = folder().join("worlds").join(format!("{world}.txt"));
    let found = text(record, MOST_LINES);
    if writes() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, found).unwrap();
        return None;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    (found != expected).then(|| difference(world, &expected, &found))
}

/// The first lines that differ, section by section.
fn difference(world: &str, expected: &str, found: &str) -> String {
    let (expected, found) = (sections(expected), sections(found));
    let mut told = format!("world {world}:\n");
    for (name, lines) in &found {
        let before = expected.get(name).cloned().unwrap_or_default();
        let gone = before.iter().filter(|line| !lines.contains(line)).map(|line| format!("  - {line}"));
        let new = lines.iter().filter(|line| !before.contains(line)).map(|line| format!("  + {line}"));
        let changes: Vec<String> = gone.take(SHOWN).chain(new.take(SHOWN)).collect();
        if *lines != before {
            let order = if changes.is_empty() { "  the same lines in another order or number" } else { "" };
            told += &format!(" section {name}:\n{}{order}\n", changes.join("\n"));
        }
    }
    told
}

fn sections(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let parts = text.split("== ").filter_map(|part| part.split_once(" ==\n"));
    parts.map(|(name, lines)| (name, lines.lines().collect())).collect()
}

/// Compares records with the digests of their seeds. Returns the differences.
pub fn compare_digests(records: &BTreeMap<u64, Record>) -> Vec<String> {
    let path = folder().join("seeds.txt");
    records.iter().for_each(|(seed, record)| dump(&format!("seed-{seed:03}"), record));
    if writes() {
        write_digests(&path, records);
        return vec![];
    }
    let expected = read_digests(&fs::read_to_string(&path).unwrap_or_default());
    let mut differences = vec![];
    for (seed, name, found) in digests(records) {
        let expected = expected.get(&(seed, name.to_owned())).map_or("nothing", String::as_str);
        if expected != found {
            differences.push(format!("seed {seed}, section {name}: was {expected}, is {found}"));
        }
    }
    differences
}

fn digests(records: &BTreeMap<u64, Record>) -> Vec<(u64, &'static str, String)> {
    let of_one = |(seed, record): (&u64, &Record)| -> Vec<(u64, &'static str, String)> {
        record.0.iter().map(|section| (*seed, section.name, digest(section))).collect()
    };
    records.iter().flat_map(of_one).collect()
}

/// Reads lines such as `7 requests: 12 <digest>`.
fn read_digests(text: &str) -> BTreeMap<(u64, String), String> {
    let line = |line: &str| {
        let (what, digest) = line.split_once(": ")?;
        let (seed, section) = what.split_once(' ')?;
        Some(((seed.parse().ok()?, section.to_owned()), digest.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

/// Replaces the lines of these seeds. Other processes replace the lines of other seeds at the same time.
fn write_digests(path: &Path, records: &BTreeMap<u64, Record>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap();
    file.lock().unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    let mut all = read_digests(&text);
    all.retain(|(seed, _), _| !records.contains_key(seed));
    all.extend(digests(records).into_iter().map(|(seed, name, digest)| ((seed, name.to_owned()), digest)));
    let lines = all.iter().map(|((seed, section), digest)| format!("{seed} {section}: {digest}\n"));
    let text: String = lines.collect();
    file.rewind().unwrap();
    file.set_len(0).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// The seeds whose digests are kept.
pub fn kept_seeds() -> Vec<u64> {
    let text = fs::read_to_string(folder().join("seeds.txt")).unwrap_or_default();
    let mut seeds: Vec<u64> = read_digests(&text).into_keys().map(|(seed, _)| seed).collect();
    seeds.dedup();
    seeds
}
