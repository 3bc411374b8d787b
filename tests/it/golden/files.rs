//! The files that a world leaves behind, read by their format alone, so that code may move without touching this module.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use importer::state::layout::{DEAD_LETTER, LISTS, OURS};
use serde_json::Value;

use super::line::numbers;
use crate::ledger;

/// Stands in for the version of the program.
const VERSION: &str = "VERSION";
/// Number of hexadecimal digits of an MD5.
const MD5_DIGITS: usize = 32;
/// Number of these digits at the end of a delivery's name, after a dot.
const DELIVERY_DIGITS: usize = 12;

/// Returns the paths of all files below a folder, sorted.
fn below(folder: &Path) -> Vec<PathBuf> {
    let Ok(files) = fs::read_dir(folder) else { return vec![] };
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().flat_map(|path| if path.is_dir() { below(&path) } else { vec![path] }).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns a path within `folder`, without digests.
fn within(folder: &Path, path: &Path) -> String {
    without_digests(&path.strip_prefix(folder).unwrap().display().to_string())
}

/// Returns the names of all files in the state folder, without those of writes that were cut off. Digests are left out, since
/// some are of paths.
pub fn names(folder: &Path) -> Vec<String> {
    let paths = below(folder);
    let names = paths.iter().map(|path| within(folder, path));
    let mut names: Vec<String> = names.filter(|name| !name.ends_with(".new")).collect();
    names.sort();
    names
}

/// Replaces every part of a name that is an MD5 in hexadecimal digits, or its first digits at the end of a delivery's name.
fn without_digests(name: &str) -> String {
    let mut follows_dot = false;
    let parts = name.split_inclusive(['-', '.', '/']).map(|part| {
        let digits = part.trim_end_matches(['-', '.', '/']);
        let is_digest = digits.len() == MD5_DIGITS || (digits.len() == DELIVERY_DIGITS && follows_dot);
        follows_dot = part.ends_with('.');
        match is_digest && digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            true => part.replace(digits, "DIGEST"),
            false => part.to_owned(),
        }
    });
    parts.collect()
}

/// Returns the fate of every record according to the ledgers, checkpoints, dead letters and holds.
pub fn fates(folder: &Path) -> Vec<String> {
    let lists = folder.join(OURS).join(LISTS);
    let mut files: Vec<Vec<String>> = below(&lists).iter().map(|path| of_run(&lists, path)).collect();
    files.extend(below(&folder.join(DEAD_LETTER)).iter().map(|path| letters(path)));
    // The order of the files is that of their names, which have digests of paths.
    files.sort();
    files.concat()
}

/// Returns a line for each fact in a file that outlives runs; `lists` is the folder of all of these files.
fn of_run(lists: &Path, path: &Path) -> Vec<String> {
    let owner = within(lists, path.parent().unwrap());
    let lines = |kind: &str, facts: Vec<String>| -> Vec<String> {
        facts.iter().map(|fact| format!("{kind} {owner} {fact}")).collect()
    };
    match name(path).as_str() {
        ledger::NAME => {
            let cache = ledger::has_cache(path).then(|| format!("cache {owner}"));
            cache.into_iter().chain(lines("ledger", settled(path))).collect()
        }
        "checkpoint.ndjson" => lines("checkpoint", checkpoint(&fs::read(path).unwrap())),
        "held.json" => lines("hold", vec![held(&fs::read(path).unwrap())]),
        _ => vec![],
    }
}

/// Returns a line for each dead letter in a file.
fn letters(path: &Path) -> Vec<String> {
    let file = without_digests(&name(path));
    let text = fs::read_to_string(path).unwrap();
    let mut lines: Vec<String> = text.lines().map(|line| letter(&file, line)).collect();
    lines.sort();
    lines
}

/// Returns the head of a ledger and a line for each record.
fn settled(path: &Path) -> Vec<String> {
    let Some(ledger) = ledger::read(path) else { return vec![] };
    let mut head = ledger.summary.clone();
    // The order of the names is that in which records of a pass come out of a map.
    head.as_object_mut().unwrap().remove("names");
    // A file's sink is named by a digest of its path, which is in a folder of this world alone.
    if let Some(known) = head["opt_outs"].as_object() {
        let consent = |to: &str| to.split_once(' ').map_or("", |(_, consent)| consent).to_owned();
        let mut known: Vec<String> =
            known.iter().map(|(to, count)| format!("{count} {}", consent(to))).collect();
        known.sort();
        head["opt_outs"] = known.into();
    }
    let mut rows = ledger.lines();
    rows.sort();
    [vec![canonical(&head)], rows].concat()
}

/// Returns a checkpoint without the words of names and without durations.
fn checkpoint(bytes: &[u8]) -> Vec<String> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let lines = lines.map(|line| match serde_json::from_slice::<Value>(line) {
        Ok(line) => line,
        Err(_) => Value::String("half a line".into()),
    });
    let reduced = lines.map(|mut line| {
        if let Some(line) = line.as_object_mut() {
            let (names, rows) = (line.remove("names"), line.remove("rows"));
            let rows = rows.as_ref().and_then(Value::as_str).map(|rows| rows.len());
            line.remove("seconds");
            if let Some(rows) = rows {
                let names: Vec<Value> = names.and_then(|names| names.as_array().cloned()).unwrap_or_default();
                let mut names: Vec<String> = names.iter().map(canonical).collect();
                names.sort();
                line.insert("settled".into(), format!("{rows} bytes, {}", names.join(" ")).into());
            }
        }
        canonical(&line).replace(env!("CARGO_PKG_VERSION"), VERSION)
    });
    reduced.collect()
}

/// Returns the entry and the numbers of a hold.
fn held(bytes: &[u8]) -> String {
    let hold: Value = serde_json::from_slice(bytes).unwrap();
    let texts = ["what", "why"].map(|name| hold[name].as_str().unwrap_or_default());
    format!("{} {:?}", hold["entry"], numbers(&texts.join(" ")))
}

/// Returns a dead letter without personal data and without words.
fn letter(file: &str, line: &str) -> String {
    let letter: Value = serde_json::from_str(line).unwrap();
    let field = |name: &str| letter[name].to_string();
    let reason = letter["reason"].as_str().unwrap();
    let reason = match reason.contains(' ') {
        true => format!("a sentence {:?}", numbers(reason)),
        false => reason.to_owned(),
    };
    let payload = if letter["payload"].is_null() { "none".into() } else { digest(&letter["payload"]) };
    let fields = ["time", "changed", "opts_out", "deleted"].map(field).join(" ");
    format!("dead letter {file} {} {} {reason} {fields} {payload}", field("key"), field("entry"))
}

/// Returns the lines of the files that sinks have written, in their order: the key or a digest of each.
pub fn written(folder: &Path) -> Vec<String> {
    let mut written = vec![];
    for path in below(folder) {
        for line in fs::read_to_string(&path).unwrap().lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            let deleted = if value["deleted"] == true { " deleted" } else { "" };
            written.push(format!("{} {}{deleted}", name(&path), digest(&value)));
        }
    }
    written
}

/// Returns the MD5 of a value, whatever the order of its keys is.
pub fn digest(value: &Value) -> String {
    format!("{:x}", md5::compute(canonical(value)))
}

/// Returns a value as JSON with its keys in order, also where another crate turns on `preserve_order`.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
            let fields = sorted.iter().map(|(key, value)| format!("{:?}:{}", key, canonical(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        Value::Array(values) => format!("[{}]", values.iter().map(canonical).collect::<Vec<_>>().join(",")),
        value => value.to_string(),
    }
}

#[test]
fn a_name_loses_its_digests_and_nothing_else() {
    let md5 = digest(&Value::Null);
    let short = &md5[..DELIVERY_DIGITS];
    for (name, expected) in [
        (format!("{OURS}/displaced-{md5}"), ".importer/displaced-DIGEST"),
        (
            format!("{md5}.mailchimp/ometria.acme.{short}/held.json"),
            "DIGEST.mailchimp/ometria.acme.DIGEST/held.json",
        ),
        (format!("a.mailchimp--ndjson.{short}.ndjson"), "a.mailchimp--ndjson.DIGEST.ndjson"),
        // The digest in the name of an entry is that of its settings.
        ("ndjson.d41d8cd98f00/a-99914b932bd3/x".to_owned(), "ndjson.DIGEST/a-99914b932bd3/x"),
    ] {
        assert_eq!(without_digests(&name), expected);
    }
}
