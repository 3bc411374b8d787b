//! Displaced texts: the files that importer's writes have replaced. An editor that opened the old file before
//! the exchange may still save to it afterwards. This module keeps these files; `recover` finds such a save
//! and moves it into the state file.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{disk::Disk, document::Edit, layout::digest};

const PREFIX: &str = "displaced-";
/// Number of displaced texts that are kept. No editor is expected to keep a file open for longer than 8
/// writes.
const KEPT: usize = 8;

/// One displaced text.
pub struct Lingering {
    pub path: PathBuf,
    /// Digest of the text when it was last checked. The file name ends with it, so that a start after a crash
    /// can compare.
    pub digest: String,
    /// Digest of the text that replaced it.
    pub ours: String,
    /// The edits by which that text differs.
    pub edits: Vec<Edit>,
}

/// The displaced texts of this process, oldest first.
#[derive(Default)]
pub struct Displaced(pub Vec<Lingering>);

impl Displaced {
    /// Keeps the swap file as a displaced text. `before` is its text, `ours` the text that replaced it.
    #[expect(clippy::disallowed_methods, reason = "the name contains the digest of the text")]
    pub fn keep(
        &mut self,
        disk: &Disk,
        slot: &Path,
        before: &str,
        ours: &str,
        edits: &[Edit],
    ) -> io::Result<()> {
        let digest = digest(before.as_bytes());
        let path = disk.own(&format!("{PREFIX}{digest}"));
        fs::rename(slot, &path)?;
        self.0.retain(|lingering| lingering.path != path);
        let ours = self::digest(ours.as_bytes());
        self.0.push(Lingering { path, digest, ours, edits: edits.to_vec() });
        self.drop_oldest();
        Ok(())
    }

    /// Records that a save to a displaced text is handled. Later checks look for the next save.
    #[expect(clippy::disallowed_methods, reason = "the name contains the digest of the text")]
    pub fn renew(&mut self, disk: &Disk, path: &Path, text: &str) -> io::Result<()> {
        let Some(lingering) = self.0.iter_mut().find(|lingering| lingering.path == path) else {
            return Ok(());
        };
        let digest = digest(text.as_bytes());
        let renewed = disk.own(&format!("{PREFIX}{digest}"));
        fs::rename(path, &renewed)?;
        (lingering.path, lingering.digest) = (renewed, digest);
        Ok(())
    }

    fn drop_oldest(&mut self) {
        while self.0.len() > KEPT {
            let oldest = self.0.remove(0);
            let _ = fs::remove_file(oldest.path);
        }
    }
}

/// Returns the path of the displaced text with this digest.
pub fn path(disk: &Disk, digest: &str) -> PathBuf {
    disk.own(&format!("{PREFIX}{digest}"))
}

/// Returns the displaced texts of an earlier process, and for each whether it was saved after the last check.
pub fn left(disk: &Disk) -> io::Result<Vec<(PathBuf, bool)>> {
    let mut left = Vec::new();
    for file in fs::read_dir(disk.own(""))? {
        let path = file?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        if let Some(expected) = name.strip_prefix(PREFIX) {
            let changed = digest(&fs::read(&path)?) != expected;
            left.push((path, changed));
        }
    }
    Ok(left)
}
