//! The checkpoint on disk: a file to which every settled page adds a line. A crash leaves at most one incomplete
//! line, which is ignored.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::future::BoxFuture;
use serde::Serialize;

use super::{Checkpoint, CheckpointLog, Header, Line, VERSION};
use crate::{
    base::{event::StoreEvent, events::Events, fault::Fault},
    store::{OpenedCheckpoint, files, hold},
};

const NAME: &str = "checkpoint.ndjson";

/// Returns the path of the checkpoint in an entry's folder.
pub fn path(folder: &Path) -> PathBuf {
    folder.join(NAME)
}

/// Opens the checkpoint in an entry's folder, as [`RunStore::open_checkpoint`](crate::store::RunStore) describes.
///
/// # Errors
///
/// The file could not be read or removed. A file that can't be understood is no error: the list starts over.
pub async fn open(folder: &Path, run_fingerprint: &str, events: &Events) -> Result<OpenedCheckpoint, Fault> {
    let path = path(folder);
    let wanted = run_fingerprint.to_owned();
    let found = files::blocking(&path, move |path| load(path, &wanted)).await?;
    let left = match found {
        Found::Left(left) => {
            if left.is_damaged {
                let (path, lines) = (path.clone(), left.lines.len() + 1);
                events.emit(StoreEvent::CheckpointDamaged { path, lines });
            }
            Some(*left)
        }
        Found::Nothing => None,
        Found::Other => {
            let location = path.display().to_string();
            events.emit(StoreEvent::CheckpointOfOtherSettings { location });
            None
        }
        Found::Unreadable => {
            events.emit(StoreEvent::CheckpointUnreadable { path: path.clone() });
            None
        }
    };
    let (file, left) = left.map(|left| (left.file, (left.header, left.lines))).unzip();
    let log = FileLog { path, file };
    Ok((Checkpoint::new(log), left))
}

/// The file to which a run adds its pages.
struct FileLog {
    path: PathBuf,
    /// `None`: this run has not opened it yet.
    file: Option<Arc<File>>,
}

impl CheckpointLog for FileLog {
    fn begin<'a>(&'a mut self, header: &'a Header, lines: &'a [Line]) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let mut whole = Vec::new();
            write_line(&mut whole, header);
            lines.iter().for_each(|line| write_line(&mut whole, line));
            let file = files::blocking(&self.path, move |path| files::replace(path, &whole)).await?;
            self.file = Some(Arc::new(file));
            Ok(())
        })
    }

    fn append<'a>(&'a mut self, lines: &'a [Line], sync: bool) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let mut text = Vec::new();
            lines.iter().for_each(|line| write_line(&mut text, line));
            let file = self.file.clone();
            let write = move |path: &Path| {
                let file = file.map_or_else(|| open_end(path).map(Arc::new), Ok)?;
                (&*file).write_all(&text)?;
                if sync {
                    file.sync_data()?;
                }
                Ok(file)
            };
            self.file = Some(files::blocking(&self.path, write).await?);
            Ok(())
        })
    }
}

/// Removes all checkpoints and all holds below these folders. Returns the number of removed checkpoints.
///
/// # Errors
///
/// A file could not be removed.
pub async fn discard_all(folders: &Path) -> Result<usize, Fault> {
    let work = |folders: &Path| {
        let files = files::below(folders)?;
        files.iter().filter(|path| hold::is_hold(path)).try_for_each(|path| files::remove(path).map(drop))?;
        drop_below(folders)
    };
    files::blocking(folders, work).await
}

/// Removes the checkpoint in an entry's folder, so that the next run starts over. Returns whether there was one.
///
/// # Errors
///
/// The file could not be removed.
pub async fn discard(folder: &Path) -> Result<bool, Fault> {
    files::blocking(&path(folder), files::remove).await
}

/// Removes all checkpoints in a folder and below it. Returns their number.
///
/// # Errors
///
/// A file could not be removed.
pub fn drop_below(folder: &Path) -> io::Result<usize> {
    let checkpoints = files::below(folder)?.into_iter().filter(|path| path.ends_with(NAME));
    checkpoints.map(|path| files::remove(&path).map(usize::from)).sum()
}

/// Removes the checkpoints of the entries of a delivery that were changed or removed: other settings may have
/// delivered their records differently since. `entries` are the names of the current ones, `folder` is the
/// delivery's. Returns the removed files.
///
/// # Errors
///
/// A file could not be removed.
pub async fn drop_orphans(folder: &Path, entries: Vec<String>) -> Result<Vec<PathBuf>, Fault> {
    let work = move |folder: &Path| {
        let mut dropped = vec![];
        for entry in files::in_folder(folder)?.into_iter().filter(|path| path.is_dir()) {
            let name = entry.file_name().unwrap_or_default().to_string_lossy();
            if !entries.iter().any(|entry| *entry == name) {
                let path = self::path(&entry);
                dropped.extend(files::remove(&path)?.then_some(path));
                // This succeeds only if the folder is empty.
                let _ = fs::remove_dir(&entry);
            }
        }
        Ok(dropped)
    };
    files::blocking(folder, work).await
}

/// Returns the run fingerprint in this checkpoint; `None` if the file is missing or can't be understood.
pub fn run_fingerprint(path: &Path) -> io::Result<Option<String>> {
    let Some(bytes) = files::read(path)? else { return Ok(None) };
    let header = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(serde_json::from_slice::<Header>(header).ok().map(|header| header.run_fingerprint))
}

/// Replaces the run fingerprint of a checkpoint and keeps the rest.
pub fn set_run_fingerprint(path: &Path, run_fingerprint: &str) -> io::Result<()> {
    let Some(bytes) = files::read(path)? else { return Ok(()) };
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let mut header: Header = serde_json::from_slice(&bytes[..end])?;
    header.run_fingerprint = run_fingerprint.to_owned();
    let whole = [&serde_json::to_vec(&header)?, &bytes[end..]].concat();
    files::replace(path, &whole).map(|_| ())
}

fn write_line(text: &mut Vec<u8>, line: &impl Serialize) {
    // Writing to memory can't fail, and these are plain structs.
    let _ = serde_json::to_writer(&mut *text, line);
    text.push(b'\n');
}

/// Opens a file to add lines to it.
fn open_end(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).open(path)
}

struct Left {
    file: Arc<File>,
    header: Header,
    lines: Vec<Line>,
    /// Whether lines follow that can't be understood.
    is_damaged: bool,
}

enum Found {
    Nothing,
    Left(Box<Left>),
    /// The checkpoint has another run fingerprint.
    Other,
    Unreadable,
}

fn load(path: &Path, run_fingerprint: &str) -> io::Result<Found> {
    let Some(bytes) = files::read(path)? else { return Ok(Found::Nothing) };
    let mut whole = bytes.split_inclusive(|byte| *byte == b'\n').take_while(|line| line.ends_with(b"\n"));
    let header =
        whole.next().and_then(|line| Some((line.len(), serde_json::from_slice::<Header>(line).ok()?)));
    let Some((mut len, header)) = header.filter(|(_, header)| header.version == VERSION) else {
        return Ok(Found::Unreadable);
    };
    if header.run_fingerprint != run_fingerprint {
        files::remove(path)?;
        return Ok(Found::Other);
    }
    let (mut lines, mut is_damaged) = (Vec::new(), false);
    for line in whole {
        let Ok(parsed) = serde_json::from_slice(line) else {
            is_damaged = true;
            break;
        };
        len += line.len();
        lines.push(parsed);
    }
    let file = open_end(path)?;
    file.set_len(len as u64)?;
    Ok(Found::Left(Box::new(Left { file: Arc::new(file), header, lines, is_damaged })))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        base::{
            time,
            window::{Listing, Window},
        },
        store::progress::Progress,
    };

    fn line(offset: u64) -> Line {
        let part = Window { listing: Listing::Listed, since: None, until: time::parse("2026-11-21") };
        let progress = Progress { window: Some(9), ..Progress::new(part) };
        Line {
            walk: 0,
            progress,
            offset,
            opened: 9,
            total: 9,
            cut: vec![],
            names: vec![],
            rows: String::new(),
            read_twice: 0,
            fields: BTreeMap::new(),
            seconds: 1.5,
            choice: None,
        }
    }

    fn header() -> Header {
        Header::new("null", vec![])
    }

    async fn left(folder: &Path, run_fingerprint: &str) -> Option<(Header, Vec<Line>)> {
        open(folder, run_fingerprint, &Events::default()).await.unwrap().1
    }

    #[tokio::test]
    async fn settled_pages_are_found_again_only_by_a_run_with_the_same_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        let (mut checkpoint, nothing) = open(folder.path(), "null", &Events::default()).await.unwrap();
        assert_eq!(nothing, None);
        checkpoint.begin(header());
        assert_eq!(left(folder.path(), "null").await, None, "nothing is settled yet");
        checkpoint.append(vec![line(5)]).await.unwrap();
        checkpoint.append(vec![line(4), line(3)]).await.unwrap();
        assert_eq!(left(folder.path(), "null").await, Some((header(), vec![line(5), line(4), line(3)])));
        assert_eq!(left(folder.path(), "2026-11-21").await, None);
        assert_eq!(left(folder.path(), "null").await, None, "it was removed");
        checkpoint.begin(header());
        checkpoint.append(vec![line(5)]).await.unwrap();
        assert!(discard(folder.path()).await.unwrap());
        assert!(!discard(folder.path()).await.unwrap());
        assert_eq!(left(folder.path(), "null").await, None);
    }

    /// Cuts the file at every byte: the remainder is a prefix of the pages, and lines can be added to it.
    #[tokio::test]
    async fn a_file_that_ends_anywhere_holds_the_pages_up_to_there() {
        let folder = tempfile::tempdir().unwrap();
        let (mut checkpoint, _) = open(folder.path(), "null", &Events::default()).await.unwrap();
        checkpoint.begin(header());
        checkpoint.append(vec![line(5), line(4)]).await.unwrap();
        let path = folder.path().join(NAME);
        let whole = std::fs::read(&path).unwrap();
        let mut found = Vec::new();
        for len in 0..=whole.len() {
            files::replace(&path, &whole[..len]).unwrap();
            let (mut checkpoint, left) = open(folder.path(), "null", &Events::default()).await.unwrap();
            let Some((_, lines)) = left else { continue };
            found.push(lines.len());
            checkpoint.append(vec![line(1)]).await.unwrap();
            let (_, again) = super::tests::left(folder.path(), "null").await.unwrap();
            assert_eq!(again[..], [&lines[..], &[line(1)]].concat()[..]);
        }
        assert!(found.is_sorted() && found.contains(&0) && found.ends_with(&[2]), "{found:?}");
    }

    #[tokio::test]
    async fn a_new_pass_replaces_the_previous_one() {
        let folder = tempfile::tempdir().unwrap();
        let (mut checkpoint, _) = open(folder.path(), "null", &Events::default()).await.unwrap();
        checkpoint.begin(header());
        checkpoint.append(vec![line(5)]).await.unwrap();
        checkpoint.begin(Header { pass: 2, ..header() });
        assert_eq!(left(folder.path(), "null").await.unwrap().0.pass, 1, "until the new pass has a page");
        checkpoint.append(vec![line(7)]).await.unwrap();
        assert_eq!(left(folder.path(), "null").await, Some((Header { pass: 2, ..header() }, vec![line(7)])));
    }
}
