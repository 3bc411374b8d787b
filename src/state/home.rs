//! The folder of all of importer's own files: that of the state file itself, with links followed. Every command and the lock use
//! this module, so that all paths to one state file lead to one folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::layout::{DEAD_LETTER, NAME, OURS};

/// Length of the longest chain of links that is followed; Linux has the same limit.
const LINKS: usize = 40;
/// Name of the note in the folder of a link that says where the state file was at the last start.
const LAST: &str = "home";
/// Files and folders that older versions kept beside the link. The first two must not be lost.
const MOVED: [&str; 5] = ["lists", DEAD_LETTER, "late-errors.json", "history", "journal.json"];

/// Returns the folder of importer's own files. `folder` is the one that the user names; its state file may be a link, be reached
/// over links, or be missing.
///
/// # Errors
///
/// If the folder does not exist, or the folder that a link leads to, or if links lead in a circle.
pub fn of(folder: &Path) -> io::Result<PathBuf> {
    let target = target(&folder.join(NAME))?;
    let home = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    home.canonicalize().map_err(|error| {
        let what =
            format!("`{}` leads to the folder `{}`: {error}", folder.join(NAME).display(), home.display());
        io::Error::new(error.kind(), what)
    })
}

/// Returns the path of the file that a path leads to over links. The file may be missing.
pub fn target(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match fs::read_link(&path) {
            Ok(link) => path = path.parent().unwrap_or(Path::new(".")).join(link),
            // The path is no link, or nothing is there.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound) => {
                return Ok(path);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other(format!("`{}` is a link that leads in a circle", path.display())))
}

/// Whether the state file in this folder is a link into another folder.
pub fn is_elsewhere(folder: &Path, home: &Path) -> bool {
    folder.canonicalize().is_ok_and(|folder| folder != home)
}

/// Returns the records that an older version left beside a link, if there are any.
pub fn left_beside_link(folder: &Path, home: &Path) -> Option<PathBuf> {
    let matters = [MOVED[0], MOVED[1]].map(|name| beside(folder, name));
    matters.into_iter().find(|path| is_elsewhere(folder, home) && path.exists())
}

/// Moves the files that an older version left beside a link to the state file, and notes its folder. The caller holds both locks.
///
/// # Errors
///
/// If records remain in a former folder: a person has to decide which ones count.
#[expect(clippy::disallowed_methods, reason = "only to a name that is free, under both locks")]
pub fn settle(folder: &Path, home: &Path) -> io::Result<()> {
    if !is_elsewhere(folder, home) {
        return Ok(());
    }
    for name in MOVED {
        let (from, to) = (beside(folder, name), beside(home, name));
        match (from.exists(), to.exists()) {
            (false, _) => {}
            (true, false) => {
                fs::create_dir_all(to.parent().unwrap_or(home))?;
                fs::rename(&from, &to).map_err(|error| at_two_places(&from, &to, &error.to_string()))?;
            }
            (true, true) if Some(&from) == left_beside_link(folder, home).as_ref() => {
                return Err(at_two_places(&from, &to, "both exist"));
            }
            (true, true) => {}
        }
    }
    let note = folder.join(OURS).join(LAST);
    let last = fs::read_to_string(&note).map(PathBuf::from).unwrap_or_default();
    let (from, to) = (beside(&last, MOVED[0]), beside(home, MOVED[0]));
    if last.is_absolute() && last != home && from.exists() && !to.exists() {
        return Err(io::Error::other(format!(
            "the link `{}` led to `{}` before and leads to `{}` now, but importer's records are still in the former folder: move `{OURS}` \
             and `{DEAD_LETTER}` from there, or remove `{}` to start without them",
            folder.join(NAME).display(),
            last.display(),
            home.display(),
            note.display()
        )));
    }
    fs::write(&note, home.as_os_str().as_encoded_bytes())
}

fn at_two_places(from: &Path, to: &Path, why: &str) -> io::Error {
    io::Error::other(format!(
        "an older version of importer kept `{}` beside the link, but its place is now `{}` ({why}): keep the one that counts in the second \
         place, and move the other one away",
        from.display(),
        to.display()
    ))
}

fn beside(folder: &Path, name: &str) -> PathBuf {
    if name == DEAD_LETTER { folder.join(name) } else { folder.join(OURS).join(name) }
}
