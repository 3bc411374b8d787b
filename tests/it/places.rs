//! Where importer keeps its own files, for tests that read or damage them. The names of deliveries contain a digest
//! of the sink's address, so these functions look for them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use importer::state::layout::{DEAD_LETTER, LISTS, OURS};

/// Returns the folder of the only delivery of a list; a path that does not exist if there is none.
pub fn delivery(folder: &Path, list_id: &str) -> PathBuf {
    let of_list = |path: &PathBuf| name(path).split('.').next() == Some(list_id);
    let lists = below(&folder.join(OURS).join(LISTS)).into_iter().filter(of_list);
    let found: Vec<PathBuf> = lists.flat_map(|list| below(&list)).collect();
    assert!(found.len() < 2, "{found:?}");
    found.into_iter().next().unwrap_or_else(|| folder.join("no list/no delivery"))
}

/// Returns the file with the dead letters of the only delivery of a list, or the path at which it would be.
pub fn dead_letter(folder: &Path, list_id: &str) -> PathBuf {
    let of_list = |path: &PathBuf| name(path).split('.').next() == Some(list_id);
    let found: Vec<PathBuf> = below(&folder.join(DEAD_LETTER)).into_iter().filter(of_list).collect();
    assert!(found.len() < 2, "{found:?}");
    found.into_iter().next().unwrap_or_else(|| {
        let delivery = delivery(folder, list_id);
        let list = delivery.parent().unwrap();
        folder.join(DEAD_LETTER).join(format!("{}--{}.ndjson", name(list), name(&delivery)))
    })
}

/// Returns the checkpoints of all entries.
pub fn checkpoints(folder: &Path) -> Vec<PathBuf> {
    ours(folder, "checkpoint.ndjson")
}

/// Returns importer's own files of lists whose names begin with `prefix`.
pub fn ours(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let lists = below(&folder.join(OURS).join(LISTS));
    let deliveries: Vec<PathBuf> = lists.iter().flat_map(|list| below(list)).collect();
    let files: Vec<PathBuf> = deliveries.iter().flat_map(|delivery| below(delivery)).collect();
    let of_entries = files.iter().flat_map(|file| below(file));
    files.iter().cloned().chain(of_entries).filter(|path| name(path).starts_with(prefix)).collect()
}

/// Returns what is in a folder, sorted; nothing if it is none.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(folder).into_iter().flatten().map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}
