//! Paths of files that a sink writes. Pure.

use std::path::{Component, Path, PathBuf};

/// Removes `.` and `..` from a path, since `out/./a` and `out/b/../a` are the same file.
pub fn plain(path: &Path) -> String {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => _ = plain.pop(),
            Component::CurDir => {}
            component => plain.push(component),
        }
    }
    plain.display().to_string()
}

/// Returns the path by which a file is identified: relative to the folder of the state file if it is below that. A state
/// folder that is moved, or mounted at another place, takes the file along.
pub fn identity(path: &Path, folder: &Path) -> String {
    let path = plain(path);
    Path::new(&path).strip_prefix(folder).map_or(path.clone(), |below| below.display().to_string())
}

/// Whether a path, relative to the state file's folder, is reserved for the state file and importer's data.
pub fn is_ours(path: &Path) -> bool {
    let mut depth = 0;
    path.components().any(|component| match component {
        Component::Normal(name) => {
            depth += 1;
            let name = name.to_string_lossy();
            let place = [".importer", "dead-letter", "controller.quit"].contains(&name.as_ref());
            name.starts_with("state.json") || (depth == 1 && (place || name.starts_with("state.")))
        }
        Component::ParentDir => {
            depth -= 1;
            false
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_of_our_own_files_are_reserved() {
        for (path, expected) in [
            ("state.json", true),
            ("./state.json", true),
            ("controller.quit", true),
            ("state.example.json", true),
            ("../state/state.json", true),
            (".importer/a.ndjson", true),
            ("out/../dead-letter/a.ndjson", true),
            ("out/a.ndjson", false),
            ("/var/spool/dead-letter/a.ndjson", false),
        ] {
            assert_eq!(is_ours(Path::new(path)), expected, "{path}");
        }
    }
}
