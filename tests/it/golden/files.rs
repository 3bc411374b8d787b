//! The files that a world leaves behind, read by their format alone, so that code may move without touching this module.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use importer::state::layout::{DEAD_LETTER, LISTS, OURS};
use serde_json::Value;

use super::line::numbers;
use crate::ledger;

/// Stands in for the version of the program.
const VERSION: &str = "VERSION";

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

/// Returns the names of all files in the state folder, without those of writes that were cut off. Digests are left out, since
/// some are of paths.
pub fn names(folder: &Path) -> Vec<String> {
    let paths = below(folder);
    let names = paths.iter().flat_map(|path| {
        let name = path.strip_prefix(folder).unwrap().display().to_string();
        if self::name(path) == ledger::NAME { as_two(path, &name) } else { vec![name] }
    });
    let names = names.filter(|name| !name.ends_with(".new") && !name.ends_with("/format"));
    let names: BTreeSet<PathBuf> = names.map(|name| without_digests(&as_recorded(&name)).into()).collect();
    names.into_iter().map(|name| name.display().to_string()).collect()
}

/// Returns a name in the layout of version 0.1, in which the golden records were written first: files were under the id
/// of the list.
fn as_recorded(name: &str) -> String {
    let parts: Vec<&str> = name.split('/').collect();
    let id = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    match parts[..] {
        [OURS, LISTS, list, _, "held.json"] => format!("{OURS}/{LISTS}/{}/held-DIGEST.json", id(list)),
        [OURS, LISTS, list, _, file] => format!("{OURS}/{LISTS}/{}/{file}", id(list)),
        [OURS, LISTS, _, _, entry, file] => format!("{OURS}/{LISTS}/{entry}/{file}"),
        [DEAD_LETTER, file] => format!("{DEAD_LETTER}/{}.ndjson", id(file)),
        _ => name.to_owned(),
    }
}

/// Returns the names of the ledger and of the delivery cache, which were two files in version 0.1.
fn as_two(path: &Path, name: &str) -> Vec<String> {
    let ledger = ledger::read(path).map(|_| "ledger");
    let cache = ledger::has_cache(path).then_some("unchanged-DIGEST.redb");
    ledger.into_iter().chain(cache).map(|file| name.replace(ledger::NAME, file)).collect()
}

/// Replaces every part of a name that is an MD5 in hexadecimal digits.
fn without_digests(name: &str) -> String {
    let parts = name.split_inclusive(['-', '.', '/']);
    parts
        .map(|part| {
            let digits = part.trim_end_matches(['-', '.', '/']);
            let is_digest = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            if is_digest { part.replace(digits, "DIGEST") } else { part.to_owned() }
        })
        .collect()
}

/// Returns the fate of every record according to the ledgers, checkpoints, dead letters and holds.
pub fn fates(folder: &Path) -> Vec<String> {
    let mut fates = vec![];
    let recorded = |path: PathBuf| {
        let name = path.strip_prefix(folder).unwrap().display().to_string();
        (PathBuf::from(as_recorded(&name.replace(ledger::NAME, "ledger"))), path)
    };
    let mut files: Vec<_> = below(&folder.join(OURS).join(LISTS)).into_iter().map(recorded).collect();
    files.sort();
    for (recorded, path) in files {
        let list = name(recorded.parent().unwrap());
        if name(&path) == ledger::NAME {
            fates.extend(settled(&path).into_iter().map(|line| format!("ledger {list} {line}")));
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        match name(&recorded).as_str() {
            "checkpoint.ndjson" => {
                fates.extend(checkpoint(&bytes).into_iter().map(|line| format!("checkpoint {list} {line}")));
            }
            hold if hold.starts_with("held") => fates.push(format!("hold {list} {}", held(&bytes))),
            _ => {}
        }
    }
    for path in below(&folder.join(DEAD_LETTER)) {
        let recorded = as_recorded(&path.strip_prefix(folder).unwrap().display().to_string());
        let mut lines: Vec<String> = fs::read_to_string(&path)
            .unwrap()
            .lines()
            .map(|line| letter(&name(Path::new(&recorded)), line))
            .collect();
        lines.sort();
        fates.extend(lines);
    }
    fates
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
