//! Holds: after the safety brake, a hold blocks a delivery until a person lifts it. A delivery is a list and
//! its sink. `allow_mass_change`, `importer release` and `--fresh` lift a hold; no other edit of an entry, no
//! neighboring entry and no update of importer does.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::files;
use crate::base::fault::Fault;

/// Name of the file, in the folder of the list: `held-<digest of the sink>.json`.
const PREFIX: &str = "held-";
const EXTENSION: &str = "json";
/// Name of the hold that older versions wrote into the folder of an entry, which is `<list>` or
/// `<list>-<8 hex digits>`. It blocks all deliveries of the list.
const FORMER: &str = "held.json";

/// The reason for a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldReason {
    /// The entry whose run was stopped, by the name of its folder; empty if an older version wrote it.
    #[serde(default)]
    pub entry: String,
    pub what: String,
    pub why: String,
}

/// A hold on disk.
#[derive(Debug, Clone)]
pub struct Hold {
    path: PathBuf,
    /// The delivery that it blocks; `None`: all deliveries of the list.
    delivery: Option<String>,
    held: HoldReason,
}

impl HoldReason {
    /// Returns the error of a blocked run, which names the three ways to lift the hold.
    pub fn fault(&self, list_id: &str) -> Fault {
        let hint = format!(
            "nothing more is sent from this list to this sink until a person lifts the hold. If the change \
             is a mistake, correct it at the source, then run `importer release {list_id}`, or start \
             importer once with `--fresh`. If it is intended, put \"allow_mass_change\": true into the entry"
        );
        Fault::list(&self.what).because(&self.why).hint(hint)
    }
}

impl Hold {
    /// Returns whether the hold blocks this delivery.
    pub fn stops(&self, delivery: &str) -> bool {
        self.delivery.as_deref().is_none_or(|stopped| stopped == delivery)
    }

    /// Returns the error of a blocked run.
    pub fn fault(&self, list_id: &str) -> Fault {
        self.held.fault(list_id)
    }
}

/// Writes the hold that blocks a delivery. `folder` is the list's.
///
/// # Errors
///
/// The file could not be written.
pub async fn keep(folder: &Path, delivery: &str, held: &HoldReason) -> Result<(), Fault> {
    let bytes = serde_json::to_vec(held).unwrap_or_default();
    let path = folder.join(format!("{PREFIX}{delivery}.{EXTENSION}"));
    files::blocking(&path, move |path| files::replace(path, &bytes).map(|_| ())).await
}

/// Returns all holds of a list. `folder` is the list's.
///
/// # Errors
///
/// A file could not be read.
pub async fn all(folder: &Path) -> Result<Vec<Hold>, Fault> {
    files::blocking(folder, find).await
}

/// Checks that this delivery is not on hold. `entry` is the name of the run's entry if the entry has
/// `allow_mass_change`; then the run may begin even if the delivery is on hold. `entries` contains the names
/// of all entries of the list; `None` if they are unknown.
///
/// Such a run lifts the holds of its own entry, of entries that were changed or removed, and those that name
/// no entry. It keeps the holds of the other current entries. If `entries` is unknown, every other entry
/// counts as current, so its holds stay.
///
/// # Errors
///
/// The delivery is on hold, or a file could not be read or removed.
pub async fn check(
    folder: &Path,
    delivery: &str,
    list_id: &str,
    entry: Option<&str>,
    entries: Option<&[String]>,
) -> Result<(), Fault> {
    let holds: Vec<Hold> = all(folder).await?.into_iter().filter(|hold| hold.stops(delivery)).collect();
    let (Some(first), allowed) = (holds.first(), entry) else { return Ok(()) };
    let Some(entry) = allowed else { return Err(first.fault(list_id)) };
    let is_there = |name: &String| entries.is_none_or(|entries| entries.contains(name));
    let lifted = |held: &HoldReason| held.entry.is_empty() || held.entry == entry || !is_there(&held.entry);
    lift(holds.into_iter().filter(|hold| lifted(&hold.held)).collect()).await
}

/// Lifts these holds.
///
/// # Errors
///
/// A file could not be removed.
pub async fn lift(holds: Vec<Hold>) -> Result<(), Fault> {
    for hold in holds {
        files::blocking(&hold.path, files::remove).await?;
    }
    Ok(())
}

/// Lifts all holds in the folder of one entry or list.
pub fn clear(folder: &Path) -> io::Result<()> {
    for path in in_folder(folder)? {
        files::remove(&path)?;
    }
    Ok(())
}

fn find(folder: &Path) -> io::Result<Vec<Hold>> {
    let mut holds = vec![];
    let mut folders = files::siblings(folder)?;
    folders.push(folder.to_owned());
    for path in folders.iter().map(|folder| in_folder(folder)).collect::<io::Result<Vec<_>>>()?.concat() {
        let Some(bytes) = files::read(&path)? else { continue };
        // A hold that can't be understood still counts.
        let held = serde_json::from_slice(&bytes).unwrap_or_else(|_| HoldReason {
            entry: String::new(),
            what: format!("stopped by the safety brake; `{}` can't be read", path.display()),
            why: "a mass change of consent may be a mistake".into(),
        });
        holds.push(Hold { delivery: delivery(&path), path, held });
    }
    Ok(holds)
}

fn delivery(path: &Path) -> Option<String> {
    let name = path.file_stem()?.to_str()?;
    name.strip_prefix(PREFIX).map(str::to_owned)
}

/// Returns the files of holds in one folder, including those of older versions.
fn in_folder(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let files = match fs::read_dir(folder) {
        Ok(files) => files,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(vec![]);
        }
        Err(error) => return Err(error),
    };
    let mut found = vec![];
    for file in files {
        let path = file?.path();
        let extension = path.extension().is_some_and(|extension| extension == EXTENSION);
        if path.file_name().is_some_and(|name| name == FORMER) || (extension && delivery(&path).is_some()) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(entry: &str) -> HoldReason {
        HoldReason { entry: entry.into(), what: "stopped".into(), why: "too many".into() }
    }

    #[tokio::test]
    async fn a_hold_stops_its_delivery_and_no_other_until_its_own_entry_is_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("a");
        keep(&list, "one", &of("a-1")).await.unwrap();
        let entries = ["a-1".to_owned(), "a-2".to_owned()];
        let stopped =
            async |delivery, entry, entries| check(&list, delivery, "a", entry, entries).await.is_err();
        assert!(stopped("one", None, None).await && !stopped("two", None, None).await);
        // Another entry may run if it is allowed, but it does not lift the hold.
        assert!(!stopped("one", Some("a-2"), Some(&entries[..])).await);
        assert!(!stopped("one", Some("a-2"), None).await);
        assert!(stopped("one", None, None).await);
        assert!(!stopped("one", Some("a-1"), Some(&entries[..])).await);
        assert!(!stopped("one", None, None).await);
        // The entry was edited when it was allowed.
        keep(&list, "one", &of("a-0")).await.unwrap();
        assert!(!stopped("one", Some("a-2"), Some(&entries[..])).await);
        assert!(!stopped("one", None, None).await);
    }

    #[tokio::test]
    async fn a_hold_of_an_older_version_stops_the_whole_list_and_a_damaged_one_too() {
        for (name, text) in [
            ("a/held.json", r#"{"origin": "x", "what": "stopped", "why": "too many"}"#),
            ("a-0123abcd/held.json", r#"{"origin": "x", "what": "stopped", "why": "too many"}"#),
            ("a/held.json", "{"),
            ("a/held-one.json", ""),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            files::replace(&path, text.as_bytes()).unwrap();
            let list = folder.path().join("a");
            let fault = check(&list, "one", "a", None, None).await.unwrap_err().to_string();
            assert!(fault.contains("stopped") && fault.contains("importer release a"), "{fault}");
            assert!(check(&folder.path().join("b"), "one", "b", None, None).await.is_ok());
            assert!(check(&folder.path().join("a0"), "one", "a0", None, None).await.is_ok());
            lift(all(&list).await.unwrap()).await.unwrap();
            assert!(!path.exists() && check(&list, "one", "a", None, None).await.is_ok());
        }
    }
}
