//! The layout of importer's own files. A program that meets a newer layout must not touch it.

use std::{io, path::Path};

use serde::{Deserialize, Serialize};

use super::files;
use crate::base::fault::Fault;

/// Name of the file, in the folder of importer's own files.
const NAME: &str = "format";
/// The layout that this version writes. Version 0.1 wrote layout 1, without this file.
const LAYOUT: u32 = 2;

#[derive(Serialize, Deserialize)]
struct Format {
    layout: u32,
    /// Version of the program that wrote the file first.
    version: String,
}

/// Checks that this program knows the layout of the files in `ours`. Returns whether the file that names the layout
/// exists.
///
/// # Errors
///
/// [`Fault::Process`]: the layout is newer, or the file can't be read.
pub fn check(ours: &Path) -> Result<bool, Fault> {
    let path = ours.join(NAME);
    let unreadable = |why: &dyn std::fmt::Display| {
        Fault::process(format!("can't read `{}`, which names the layout of importer's files", path.display()))
            .because(why)
            .hint("restore it from a backup, or use the version of importer that wrote it")
    };
    let Some(bytes) = files::read(&path).map_err(|error| unreadable(&error))? else { return Ok(false) };
    let found: Format = serde_json::from_slice(&bytes).map_err(|error| unreadable(&error))?;
    match found.layout {
        LAYOUT => Ok(true),
        layout => Err(Fault::process(format!(
            "`{}` has layout {layout}, written by importer {}; this is importer {}, which knows layout {LAYOUT} only",
            ours.display(),
            found.version,
            env!("CARGO_PKG_VERSION")
        ))
        .hint(format!("use importer {} or later", found.version))),
    }
}

/// Returns whether the layout is named in `ours`.
pub(super) fn is_written(ours: &Path) -> bool {
    ours.join(NAME).exists()
}

/// Names the layout of this version in `ours`.
pub(super) fn write(ours: &Path) -> io::Result<()> {
    let format = Format { layout: LAYOUT, version: env!("CARGO_PKG_VERSION").to_owned() };
    files::replace(&ours.join(NAME), &serde_json::to_vec(&format)?).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_layout_and_a_damaged_file_are_errors_that_say_what_to_do() {
        let ours = tempfile::tempdir().unwrap();
        assert!(!check(ours.path()).unwrap());
        write(ours.path()).unwrap();
        assert!(check(ours.path()).unwrap());
        for (text, told) in [
            (
                r#"{"layout": 3, "version": "0.9.1"}"#,
                ["layout 3, written by importer 0.9.1", "use importer 0.9.1 or later"],
            ),
            ("{", ["can't read", "restore it from a backup"]),
        ] {
            files::replace(&ours.path().join(NAME), text.as_bytes()).unwrap();
            let fault = check(ours.path()).unwrap_err();
            assert!(matches!(fault, Fault::Process(_)));
            let fault = fault.to_string();
            assert!(told.iter().all(|told| fault.contains(told)), "{fault}");
        }
    }
}
