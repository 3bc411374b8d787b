//! The history: the last 20 versions of the state file. One command undoes a mistaken edit.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::{
    disk::{self, Disk},
    home,
    layout::{OURS, digest},
    read, schema,
};

/// Number of versions that are kept.
const KEPT: usize = 20;
const FOLDER: &str = "history";

/// The author of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Importer,
    Hand,
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            By::Importer => "importer",
            By::Hand => "hand",
        })
    }
}

/// The state file as it was after one change.
#[derive(Debug, Clone)]
pub struct Version {
    /// Increases by one with each version and is never reused.
    pub number: u64,
    pub at: DateTime<Utc>,
    pub by: By,
    path: PathBuf,
}

impl Version {
    /// Returns the text of the state file in this version.
    ///
    /// # Errors
    ///
    /// The file of the version can't be read; it may have been removed since.
    pub fn text(&self) -> io::Result<String> {
        fs::read_to_string(&self.path)
    }

    /// Parses a file name such as `000042-20191021T105116-hand.json`. Returns `None` for any other name.
    fn named(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?.strip_suffix(".json")?;
        let mut parts = name.split('-');
        let (number, at, by) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
        let at = chrono::NaiveDateTime::parse_from_str(at, "%Y%m%dT%H%M%S").ok()?.and_utc();
        let by = if by == "importer" { By::Importer } else { By::Hand };
        Some(Version { number, at, by, path })
    }
}

/// Returns the versions of a folder's state file, oldest first; none if there is no history yet.
///
/// # Errors
///
/// The folder of the history can't be found or read.
pub fn versions(folder: &Path) -> io::Result<Vec<Version>> {
    kept(&home::of(folder)?)
}

fn kept(home: &Path) -> io::Result<Vec<Version>> {
    let files = match fs::read_dir(home.join(OURS).join(FOLDER)) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(error),
    };
    let paths = files.map(|file| Ok(file?.path())).collect::<io::Result<Vec<_>>>()?;
    let mut versions: Vec<Version> = paths.into_iter().filter_map(Version::named).collect();
    versions.sort_by_key(|version| version.number);
    Ok(versions)
}

/// Adds a version, unless the newest version has the same text. Keeps at most 20 versions; see
/// [`expendable`].
///
/// # Errors
///
/// The history can't be read or written.
pub fn record(disk: &Disk, text: &str, by: By, now: DateTime<Utc>) -> io::Result<()> {
    let mut versions = kept(&disk.home)?;
    let newest = versions.last();
    let same = newest.and_then(|newest| newest.text().ok()).is_some_and(|newest| newest == text);
    if same {
        return Ok(());
    }
    let number = newest.map_or(1, |newest| newest.number + 1);
    let folder = disk.home.join(OURS).join(FOLDER);
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{number:06}-{}-{by}.json", now.format("%Y%m%dT%H%M%S")));
    #[expect(clippy::disallowed_methods, reason = "a new file; an incomplete one equals a missing one")]
    fs::write(&path, text)?;
    if let Ok(like) = fs::metadata(&disk.path) {
        fs::set_permissions(&path, like.permissions())?;
    }
    versions.push(Version { number, at: now, by, path });
    while versions.len() > KEPT {
        let index = expendable(&versions);
        fs::remove_file(versions.remove(index).path)?;
    }
    Ok(())
}

/// Returns the index of the version to remove first: the oldest version of importer that is followed by
/// another one of importer, otherwise the oldest of all. So importer's frequent writes do not push out what
/// people have written.
fn expendable(versions: &[Version]) -> usize {
    let ours = |version: &Version| version.by == By::Importer;
    versions.windows(2).position(|pair| pair.iter().all(ours)).unwrap_or(0)
}

/// Describes the differences between two texts, by entry and field.
pub fn changes(old: &str, new: &str) -> Vec<String> {
    let (Some(old_entries), Some(new_entries)) = (entries(old), entries(new)) else {
        return vec!["the text (one of the two versions can't be parsed)".into()];
    };
    let mut changes = Vec::new();
    let mut left = old_entries.clone();
    for entry in &new_entries {
        match take_like(&mut left, entry) {
            Some(before) => changes.extend(fields(&before, entry)),
            None => changes.push(format!("{}: added", name(entry))),
        }
    }
    changes.extend(left.iter().map(|entry| format!("{}: removed", name(entry))));
    if changes.is_empty() {
        let same = old_entries == new_entries;
        changes.push(if same { "comments or layout" } else { "the order of the entries" }.into());
    }
    changes
}

type Entry = Map<String, Value>;

fn entries(text: &str) -> Option<Vec<Entry>> {
    let array = schema::parse(text).ok()?;
    let entries = array.elements.into_iter().map(|element| match element.into() {
        Value::Object(entry) => entry,
        other => Map::from_iter([("entry".to_owned(), other)]),
    });
    Some(entries.collect())
}

/// Removes from `left` the earlier version of an entry, and returns it: of the entries of its list, the one
/// that differs in the fewest fields.
fn take_like(left: &mut Vec<Entry>, entry: &Entry) -> Option<Entry> {
    let of_list = |other: &&(usize, &Entry)| other.1.get("list_id") == entry.get("list_id");
    let nearest = left
        .iter()
        .enumerate()
        .filter(|other| of_list(&other))
        .min_by_key(|(_, other)| fields(other, entry).len());
    let index = nearest.map(|(index, _)| index)?;
    Some(left.remove(index))
}

/// Returns the `list_id` of an entry as text.
fn name(entry: &Entry) -> String {
    entry.get("list_id").map_or("(no list_id)".into(), |id| id.as_str().map_or(id.to_string(), str::to_owned))
}

/// Describes each field that differs between two versions of an entry.
fn fields(old: &Entry, new: &Entry) -> Vec<String> {
    let shown = |value: Option<&Value>| value.map_or("(absent)".into(), Value::to_string);
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    let changed = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    changed
        .map(|field| format!("{}: {field} {} → {}", name(new), shown(old.get(field)), shown(new.get(field))))
        .collect()
}

/// Replaces the text of the state file with that of an older version. The replaced text and the new text are
/// added to the history, in this order.
///
/// # Errors
///
/// The version can't be read, or the state file or the history can't be written.
pub fn revert(disk: &Disk, version: &Version, now: DateTime<Utc>) -> io::Result<()> {
    let text = version.text()?;
    let slot = disk.own(&format!("revert-{}", digest(text.as_bytes())));
    if !disk.path.exists() {
        #[expect(clippy::disallowed_methods, reason = "a file of importer that no process reads yet")]
        fs::write(&slot, &text)?;
        // The state file may be a link to a missing file.
        disk.move_to_free(&slot, &home::target(&disk.path)?)?;
        return record(disk, &text, By::Hand, now);
    }
    disk.write_slot(&slot, &text)?;
    disk.swap(&slot)?;
    // An editor may still be writing this text.
    let displaced = disk::read_whole(&slot, read::is_whole)?;
    record(disk, &String::from_utf8_lossy(&displaced), By::Hand, now)?;
    record(disk, &text, By::Hand, now)?;
    fs::remove_file(slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_versions_go_before_those_of_people_and_the_one_before_an_edit_stays() {
        let version = |(number, by)| Version { number, at: DateTime::UNIX_EPOCH, by, path: PathBuf::new() };
        let drop_one = |by: &[By]| {
            let versions: Vec<Version> = (0..).zip(by.iter().copied()).map(version).collect();
            expendable(&versions)
        };
        use By::{Hand, Importer};
        assert_eq!(drop_one(&[Hand, Importer, Importer, Hand, Importer, Importer]), 1);
        assert_eq!(drop_one(&[Hand, Importer, Hand, Importer, Importer]), 3);
        assert_eq!(drop_one(&[Hand, Importer, Hand, Importer]), 0);
    }

    #[test]
    fn changes_are_told_by_entry_and_field() {
        let old = r#"[{"list_id": "a", "latest_timestamp": null}, {"list_id": "b"}, {"list_id": "c", "n": 1}, {"list_id": "c", "n": 2}]"#;
        let new = r#"[{"list_id": "c", "n": 2, "m": 1}, {"list_id": "a", "latest_timestamp": "x"}, {"list_id": "c", "n": 1}, {"list_id": "d"}]"#;
        assert_eq!(
            changes(old, new),
            [r#"c: m (absent) → 1"#, r#"a: latest_timestamp null → "x""#, "d: added", "b: removed"]
        );
        assert_eq!(changes("[{}, 1]", "[{}, /**/ 1]"), ["comments or layout"]);
        assert_eq!(
            changes(r#"[{"list_id":"a"},{"list_id":"b"}]"#, r#"[{"list_id":"b"},{"list_id":"a"}]"#),
            ["the order of the entries"]
        );
        assert_eq!(changes("[", "[]"), ["the text (one of the two versions can't be parsed)"]);
    }
}
