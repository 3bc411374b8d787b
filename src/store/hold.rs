//! Holds: after the safety brake, a hold blocks a delivery until a person lifts it. A delivery is a list and
//! its sink. `allow_mass_change`, `importer release` and `--fresh` lift a hold; no other edit of an entry, no
//! neighboring entry and no update of importer does.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{RunStore, files};
use crate::base::fault::Fault;

/// Name of the file, in the folder of the delivery.
const NAME: &str = "held.json";
/// Prefix of the holds that version 0.1 wrote into the folder of a list: `held-<digest of the sink>.json`.
const FORMER: &str = "held-";

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
    pub reason: HoldReason,
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
    /// Returns the error of a blocked run.
    pub fn fault(&self, list_id: &str) -> Fault {
        self.reason.fault(list_id)
    }

    /// Returns the folder of the delivery that it blocks.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }
}

/// Writes the hold that blocks a delivery. `folder` is the delivery's.
///
/// # Errors
///
/// The file could not be written.
pub async fn keep(folder: &Path, held: &HoldReason) -> Result<(), Fault> {
    let bytes = serde_json::to_vec(held).unwrap_or_default();
    files::blocking(&folder.join(NAME), move |path| files::replace(path, &bytes).map(|_| ())).await
}

/// Returns the hold of a delivery, if it is on hold. `folder` is the delivery's.
///
/// # Errors
///
/// The file could not be read.
pub async fn of(folder: &Path) -> Result<Option<Hold>, Fault> {
    files::blocking(&folder.join(NAME), read).await
}

/// Returns the reason for the hold of a delivery; `None` if the delivery is not on hold, or if the file can't be read.
/// `folder` is the delivery's. Blocks for one small file.
pub fn peek(folder: &Path) -> Option<HoldReason> {
    read(&folder.join(NAME)).ok().flatten().map(|hold| hold.reason)
}

/// Returns the holds in a folder and in the folders below it.
///
/// # Errors
///
/// A file could not be read.
pub async fn below(folder: &Path) -> Result<Vec<Hold>, Fault> {
    let work = |folder: &Path| {
        let paths = files::below(folder)?.into_iter().filter(|path| is_hold(path));
        paths.filter_map(|path| read(&path).transpose()).collect::<io::Result<Vec<_>>>()
    };
    files::blocking(folder, work).await
}

/// Checks that the delivery of this store is not on hold. `entry` is the name of the run's entry if the entry has
/// `allow_mass_change`; then the run may begin even if the delivery is on hold. `entries` contains the names
/// of all entries with this delivery; `None` if they are unknown.
///
/// Such a run lifts the hold if it is of its own entry, of an entry that was changed or removed, or of no entry.
/// It keeps the hold of another current entry. If `entries` is unknown, every other entry counts as current.
///
/// # Errors
///
/// The delivery is on hold, or the hold could not be read or lifted.
pub async fn check(
    store: &dyn RunStore,
    list_id: &str,
    entry: Option<&str>,
    entries: Option<&[String]>,
) -> Result<(), Fault> {
    let (Some(hold), allowed) = (store.hold().await?, entry) else { return Ok(()) };
    let Some(entry) = allowed else { return Err(hold.fault(list_id)) };
    let is_there = |name: &String| entries.is_none_or(|entries| entries.contains(name));
    let by = &hold.entry;
    if by.is_empty() || by == entry || !is_there(by) { store.lift_hold().await } else { Ok(()) }
}

/// Lifts a hold.
///
/// # Errors
///
/// The file could not be removed.
pub async fn lift(hold: Hold) -> Result<(), Fault> {
    files::blocking(&hold.path, files::remove).await.map(|_| ())
}

/// Lifts the hold of a delivery, if there is one. `folder` is the delivery's.
///
/// # Errors
///
/// The file could not be removed.
pub async fn lift_of(folder: &Path) -> Result<(), Fault> {
    files::blocking(&folder.join(NAME), files::remove).await.map(|_| ())
}

/// Returns whether a file is a hold, of this version or an earlier one.
pub fn is_hold(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name == NAME || (name.starts_with(FORMER) && name.ends_with(".json"))
}

/// Copies the hold that version 0.1 wrote for a delivery, if there is one. `folders` are those of the list and its
/// entries then; a hold without a digest blocked every delivery of the list.
pub(super) fn take_over(folders: &[PathBuf], digest: &str, to: &Path) -> io::Result<bool> {
    let names = [format!("{FORMER}{digest}.json"), NAME.to_owned()];
    let paths = folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name)));
    for path in paths {
        if let Some(hold) = read(&path)? {
            files::replace(&to.join(NAME), &serde_json::to_vec(&hold.reason)?)?;
            return Ok(true);
        }
    }
    Ok(false)
}

fn read(path: &Path) -> io::Result<Option<Hold>> {
    let Some(bytes) = files::read(path)? else { return Ok(None) };
    // A hold that can't be understood still counts.
    let reason = serde_json::from_slice(&bytes).unwrap_or_else(|_| HoldReason {
        entry: String::new(),
        what: format!("stopped by the safety brake; `{}` can't be read", path.display()),
        why: "a mass change of consent may be a mistake".into(),
    });
    Ok(Some(Hold { path: path.to_owned(), reason }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::FolderStore;

    fn reason(entry: &str) -> HoldReason {
        HoldReason { entry: entry.into(), what: "stopped".into(), why: "too many".into() }
    }

    #[tokio::test]
    async fn a_hold_stops_its_delivery_and_no_other_until_its_own_entry_is_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        keep(&one, &reason("a-1")).await.unwrap();
        let entries = ["a-1".to_owned(), "a-2".to_owned()];
        let stopped = async |delivery, entry, entries| {
            check(&FolderStore::alone(delivery), "a", entry, entries).await.is_err()
        };
        assert!(stopped(&one, None, None).await && !stopped(&two, None, None).await);
        // Another entry may run if it is allowed, but it does not lift the hold.
        assert!(!stopped(&one, Some("a-2"), Some(&entries[..])).await);
        assert!(!stopped(&one, Some("a-2"), None).await);
        assert!(stopped(&one, None, None).await);
        assert!(!stopped(&one, Some("a-1"), Some(&entries[..])).await);
        assert!(!stopped(&one, None, None).await);
        // The entry was edited when it was allowed.
        keep(&one, &reason("a-0")).await.unwrap();
        assert!(!stopped(&one, Some("a-2"), Some(&entries[..])).await);
        assert!(!stopped(&one, None, None).await);
    }

    #[tokio::test]
    async fn a_damaged_hold_still_stops_its_delivery() {
        for text in ["", "{"] {
            let folder = tempfile::tempdir().unwrap();
            files::replace(&folder.path().join("a/held.json"), text.as_bytes()).unwrap();
            let fault = check(&FolderStore::alone(&folder.path().join("a")), "a", None, None)
                .await
                .unwrap_err()
                .to_string();
            assert!(fault.contains("stopped") && fault.contains("importer release a"), "{fault}");
            for hold in below(folder.path()).await.unwrap() {
                lift(hold).await.unwrap();
            }
            assert!(check(&FolderStore::alone(&folder.path().join("a")), "a", None, None).await.is_ok());
        }
    }

    #[test]
    fn a_hold_of_version_0_1_is_taken_over_by_its_delivery_or_by_every_one_if_it_names_none() {
        let text = r#"{"origin": "x", "what": "stopped", "why": "too many"}"#;
        for (name, taken) in [
            ("a/held.json", true),
            ("a-0123abcd/held.json", true),
            ("a/held-d1.json", true),
            ("a/held-d2.json", false),
            ("b/held-d1.json", false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            files::replace(&folder.path().join(name), text.as_bytes()).unwrap();
            let (lists, to) =
                (["a", "a-0123abcd"].map(|name| folder.path().join(name)), folder.path().join("to"));
            assert_eq!(take_over(&lists, "d1", &to).unwrap(), taken, "{name}");
            assert_eq!(to.join(NAME).exists(), taken, "{name}");
        }
    }
}
