//! The checkpoint, from which an interrupted run resumes: a file to which every settled page adds a line. A
//! crash leaves at most one incomplete line, which is ignored.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use log::warn;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{
    files, hold,
    position::ShardPosition,
    progress::{BoundarySecond, Progress, Server},
};
use crate::base::{counts::Counts, fault::Fault, window::Window};

const NAME: &str = "checkpoint.ndjson";
/// Version of the format, increased when the files of older versions can't be read any more.
const VERSION: u32 = 1;
/// Maximum part of a run that a loss of power may undo. A crash of the program alone undoes nothing.
const SYNC: Duration = Duration::from_secs(2);

/// The first line of the file: identifies the pass and its run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    pub version: u32,
    /// Everything that the run's result depends on; with another origin, the checkpoint is useless.
    #[serde(rename = "origin")]
    pub run_fingerprint: String,
    /// Number of the pass, from 1.
    pub pass: u32,
    /// One window for each listing.
    pub windows: Vec<Window>,
    /// Counts of the previous passes.
    pub counts: Counts,
    /// Seconds that the run took before this pass.
    pub seconds: f64,
    /// The mapping's choice for the whole list.
    pub choice: Option<String>,
    /// Limits that the source's answers have revealed.
    #[serde(default)]
    pub server: Server,
    /// Whether the source's totals were found to be wrong, in this run or before.
    #[serde(default)]
    pub totals_wrong: bool,
    /// The end of the previous pass.
    #[serde(default)]
    pub before: Option<DateTime<Utc>>,
    /// Time of the latest change among the rows that the previous passes read.
    #[serde(default)]
    pub newest: Option<DateTime<Utc>>,
    /// The shards of a stream, one for each window, with the positions at which the run began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<ShardPosition>,
}

impl Header {
    /// Creates the header of the first pass of a run.
    pub fn new(run_fingerprint: &str, windows: Vec<Window>) -> Self {
        Header {
            version: VERSION,
            run_fingerprint: run_fingerprint.to_owned(),
            pass: 1,
            windows,
            counts: Counts::default(),
            seconds: 0.0,
            choice: None,
            server: Server::default(),
            totals_wrong: false,
            before: None,
            newest: None,
            shards: vec![],
        }
    }
}

impl Header {
    /// Changes the end of all windows.
    pub fn end_at(&mut self, until: DateTime<Utc>) {
        self.windows.iter_mut().for_each(|window| window.until = Some(until));
    }
}

/// A settled page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Index of the listing.
    pub walk: usize,
    pub progress: Progress,
    pub offset: u64,
    pub opened: u64,
    pub total: u64,
    pub cut: Vec<BoundarySecond>,
    /// The page's records and their fates, as [`Seen::encode`](super::seen::Seen::encode) returns them, with
    /// the names that they use.
    pub names: Vec<String>,
    pub rows: String,
    /// Rows read twice over the whole run, up to this page.
    pub read_twice: u64,
    /// Fields left out over the whole run, up to this page.
    #[serde(default)]
    pub fields: BTreeMap<String, u64>,
    pub seconds: f64,
    pub choice: Option<String>,
}

/// The checkpoint of one entry.
pub struct Checkpoint {
    path: PathBuf,
    /// Header of the current pass.
    header: Option<Header>,
    file: Option<Arc<File>>,
    synced: Instant,
}

impl Checkpoint {
    /// Returns the path of the checkpoint in an entry's folder.
    pub fn path(folder: &Path) -> PathBuf {
        folder.join(NAME)
    }

    /// Opens the checkpoint in an entry's folder. Returns it with what an interrupted run of the same origin
    /// has left in it. Removes a checkpoint of another origin.
    ///
    /// # Errors
    ///
    /// The file could not be read or removed. A file that can't be understood is no error: the list starts
    /// over.
    pub async fn open(
        folder: &Path,
        run_fingerprint: &str,
    ) -> Result<(Self, Option<(Header, Vec<Line>)>), Fault> {
        let path = folder.join(NAME);
        let wanted = run_fingerprint.to_owned();
        let found = files::blocking(&path, move |path| load(path, &wanted)).await?;
        let told = path.display();
        let left = match found {
            Found::Left(left) => Some(*left),
            Found::Nothing => None,
            Found::Other => {
                warn!("{}", of_another_state(&path));
                None
            }
            Found::Unreadable => {
                warn!("`{told}` can't be read and is discarded; the list starts again.");
                None
            }
        };
        let file = left.as_ref().map(|left| Arc::clone(&left.file));
        let header = left.as_ref().map(|left| left.header.clone());
        let checkpoint = Checkpoint { path, header, file, synced: Instant::now() };
        Ok((checkpoint, left.map(|left| (left.header, left.lines))))
    }

    /// Starts a new pass. Writes nothing before its first page is settled, since most passes are finished by
    /// then.
    pub fn begin(&mut self, header: Header) {
        (self.header, self.file) = (Some(header), None);
    }

    /// Changes the end of the current pass, before its first page.
    pub fn until(&mut self, until: DateTime<Utc>) {
        if let Some(header) = &mut self.header {
            header.end_at(until);
        }
    }

    /// Adds the lines of settled pages. A crash of the program loses none of them; a loss of power may lose
    /// those of the last two seconds. Returns whether all lines so far are safe from a loss of power.
    ///
    /// # Errors
    ///
    /// The file could not be written.
    pub async fn append(&mut self, lines: Vec<Line>) -> Result<bool, Fault> {
        let mut text = Vec::new();
        for line in &lines {
            write_line(&mut text, line);
        }
        let (file, header) = (self.file.clone(), self.header.clone());
        let sync = self.synced.elapsed() >= SYNC;
        let write = move |path: &Path| match file {
            Some(file) => {
                (&*file).write_all(&text)?;
                if sync {
                    file.sync_data()?;
                }
                Ok(file)
            }
            None => {
                let mut whole = Vec::new();
                write_line(&mut whole, &header);
                whole.extend(text);
                files::replace(path, &whole).map(Arc::new)
            }
        };
        self.file = Some(files::blocking(&self.path, write).await?);
        if sync {
            self.synced = Instant::now();
        }
        Ok(sync)
    }

    /// Removes all checkpoints and all holds below these folders. Returns the number of removed checkpoints.
    ///
    /// # Errors
    ///
    /// A file could not be removed.
    pub async fn discard_all(folders: &Path) -> Result<usize, Fault> {
        let work = |folders: &Path| {
            let files = files::below(folders)?;
            files
                .iter()
                .filter(|path| hold::is_hold(path))
                .try_for_each(|path| files::remove(path).map(drop))?;
            drop_below(folders)
        };
        files::blocking(folders, work).await
    }

    /// Removes the checkpoint, so that the next run starts over. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// The file could not be removed.
    pub async fn discard(folder: &Path) -> Result<bool, Fault> {
        files::blocking(&folder.join(NAME), files::remove).await
    }
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
                let path = Checkpoint::path(&entry);
                dropped.extend(files::remove(&path)?.then_some(path));
                // This succeeds only if the folder is empty.
                let _ = fs::remove_dir(&entry);
            }
        }
        Ok(dropped)
    };
    files::blocking(folder, work).await
}

/// Returns the warning for a checkpoint from which no run can resume.
pub fn of_another_state(path: &Path) -> String {
    format!(
        "`{}` is discarded, and the list starts again: its latest_timestamp, start_offset or a setting \
         of its source, mapping, sink, consent or contacts was changed, or importer was updated.",
        path.display()
    )
}

/// Returns the origin of the run that left this checkpoint, or `None` if the file is missing or can't be
/// understood.
pub fn run_fingerprint(path: &Path) -> io::Result<Option<String>> {
    let Some(bytes) = files::read(path)? else { return Ok(None) };
    let header = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(serde_json::from_slice::<Header>(header).ok().map(|header| header.run_fingerprint))
}

/// Replaces the origin of a checkpoint and keeps the rest.
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

struct Left {
    file: Arc<File>,
    header: Header,
    lines: Vec<Line>,
}

enum Found {
    Nothing,
    Left(Box<Left>),
    /// The checkpoint of a run with another origin.
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
    let mut lines = Vec::new();
    for line in whole {
        let Ok(parsed) = serde_json::from_slice(line) else {
            warn!(
                "`{}` is damaged; the pages after line {} are read again.",
                path.display(),
                lines.len() + 1
            );
            break;
        };
        len += line.len();
        lines.push(parsed);
    }
    let file = OpenOptions::new().append(true).open(path)?;
    file.set_len(len as u64)?;
    Ok(Found::Left(Box::new(Left { file: Arc::new(file), header, lines })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{time, window::Listing};

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
        Checkpoint::open(folder, run_fingerprint).await.unwrap().1
    }

    #[tokio::test]
    async fn settled_pages_are_found_again_by_a_run_of_the_same_origin_only() {
        let folder = tempfile::tempdir().unwrap();
        let (mut checkpoint, nothing) = Checkpoint::open(folder.path(), "null").await.unwrap();
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
        assert!(Checkpoint::discard(folder.path()).await.unwrap());
        assert!(!Checkpoint::discard(folder.path()).await.unwrap());
        assert_eq!(left(folder.path(), "null").await, None);
    }

    /// Cuts the file at every byte: the remainder is a prefix of the pages, and lines can be added to it.
    #[tokio::test]
    async fn a_file_that_ends_anywhere_holds_the_pages_up_to_there() {
        let folder = tempfile::tempdir().unwrap();
        let (mut checkpoint, _) = Checkpoint::open(folder.path(), "null").await.unwrap();
        checkpoint.begin(header());
        checkpoint.append(vec![line(5), line(4)]).await.unwrap();
        let path = folder.path().join(NAME);
        let whole = std::fs::read(&path).unwrap();
        let mut found = Vec::new();
        for len in 0..=whole.len() {
            files::replace(&path, &whole[..len]).unwrap();
            let (mut checkpoint, left) = Checkpoint::open(folder.path(), "null").await.unwrap();
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
        let (mut checkpoint, _) = Checkpoint::open(folder.path(), "null").await.unwrap();
        checkpoint.begin(header());
        checkpoint.append(vec![line(5)]).await.unwrap();
        checkpoint.begin(Header { pass: 2, ..header() });
        assert_eq!(left(folder.path(), "null").await.unwrap().0.pass, 1, "until the new pass has a page");
        checkpoint.append(vec![line(7)]).await.unwrap();
        assert_eq!(left(folder.path(), "null").await, Some((Header { pass: 2, ..header() }, vec![line(7)])));
    }
}
