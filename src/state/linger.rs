//! The texts that our writes have displaced. An editor that opened the old file before the exchange may still write to
//! it afterwards; its save is found here and taken over.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{disk::Disk, document::Edit, layout::digest};

const PREFIX: &str = "displaced-";
/// How many of them are kept: an editor that is slower than so many of our writes is not to be expected.
const KEPT: usize = 8;

/// One displaced text.
pub struct Lingering {
    pub path: PathBuf,
    /// Of the text as it was when last looked at; it is also the end of its name, for whoever finds it after a crash.
    pub digest: String,
    /// Of the text that has taken its place.
    pub ours: String,
    /// What our text says besides.
    pub edit: Edit,
}

/// Oldest first.
#[derive(Default)]
pub struct Displaced(pub Vec<Lingering>);

impl Displaced {
    /// Keeps the file in the slot.
    #[expect(clippy::disallowed_methods, reason = "the new name is made for it")]
    pub fn keep(
        &mut self,
        disk: &Disk,
        slot: &Path,
        before: &str,
        ours: &str,
        edit: &Edit,
    ) -> io::Result<()> {
        let digest = digest(before.as_bytes());
        let path = disk.own(&format!("{PREFIX}{digest}"));
        fs::rename(slot, &path)?;
        self.0.retain(|lingering| lingering.path != path);
        self.0.push(Lingering { path, digest, ours: self::digest(ours.as_bytes()), edit: edit.clone() });
        self.drop_oldest();
        Ok(())
    }

    /// What was saved to a displaced text is taken care of; it is looked at for still later saves.
    #[expect(clippy::disallowed_methods, reason = "the new name is made for it")]
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

/// Where a displaced text of this digest is kept.
pub fn path(disk: &Disk, digest: &str) -> PathBuf {
    disk.own(&format!("{PREFIX}{digest}"))
}

/// The files that an earlier process has left, and whether each was written to after that process looked last.
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
