//! The folder of all of importer's own files: that of the state file itself, with links followed. Every
//! command and the lock use this module, so that all paths to one state file lead to one folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::layout::{DEAD_LETTER, LISTS, NAME, OURS};

/// Length at which a chain of links counts as a loop. Linux follows at most 40 links (`path_resolution(7)`).
const LINKS: usize = 40;
/// Name of the note beside a link: it has the folder in which the state file was at the last start.
const LAST: &str = "home";
/// Files and folders that older versions stored beside the link. The first two contain records and must not
/// be lost.
const MOVED: [&str; 7] =
    [LISTS, DEAD_LETTER, "format", "lists.before-0.2", "late-errors.json", "history", "journal.json"];

/// Returns the folder of importer's own files. `folder` is the one that the user names. Its state file may be
/// a link, be reached over links, or be missing.
///
/// # Errors
///
/// `folder` or the folder that a link leads to does not exist, or the links form a loop.
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
///
/// # Errors
///
/// The chain has [`LINKS`] links or more, or a link can't be read.
pub fn target(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match fs::read_link(&path) {
            Ok(link) => path = path.parent().unwrap_or(Path::new(".")).join(link),
            // The path is not a link, or does not exist.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound) => {
                return Ok(path);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other(format!("the link `{}` is part of a loop; point it at a file", path.display())))
}

/// Returns whether the state file in this folder is a link into another folder.
pub fn is_elsewhere(folder: &Path, home: &Path) -> bool {
    folder.canonicalize().is_ok_and(|folder| folder != home)
}

/// Returns the path of records that an older version left beside a link; `None` if there are none.
pub fn left_beside_link(folder: &Path, home: &Path) -> Option<PathBuf> {
    let matters = [MOVED[0], MOVED[1]].map(|name| beside(folder, name));
    matters.into_iter().find(|path| is_elsewhere(folder, home) && path.exists())
}

/// Moves the files that an older version left beside a link into the folder of the state file, and notes that
/// folder. The caller holds both locks.
///
/// # Errors
///
/// Records are in a former folder and can't be moved: a person has to decide which records count.
#[expect(clippy::disallowed_methods, reason = "the new name is free, and both locks are held")]
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
             and `{DEAD_LETTER}` to the new folder, or remove `{}` to start without these records",
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
        "an older version of importer left `{}` beside the link, but it belongs at `{}` now ({why}): keep the one that you need at the \
         second path, and move the other one out of the folder",
        from.display(),
        to.display()
    ))
}

fn beside(folder: &Path, name: &str) -> PathBuf {
    if name == DEAD_LETTER { folder.join(name) } else { folder.join(OURS).join(name) }
}
