//! The history of runs: one line of JSON for each run of a delivery, for people and programs. It is bounded by age and
//! size. Runs without changes are dropped first, so that they never push out the last ones with changes.

use std::{
    fs::OpenOptions,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::files;
use crate::base::{counts::Counts, fault::Fault};

/// Name of the file in the folder of a delivery.
const NAME: &str = "runs.ndjson";
/// Age from which a run is dropped.
const AGE: TimeDelta = TimeDelta::days(90);
/// Size of the file in bytes from which runs are dropped, until it has half of it: some thousand runs.
const SIZE: u64 = 1 << 20;
/// Number of bytes at the end of the file in which the last run of an entry is looked for first.
const TAIL: u64 = 1 << 14;

/// Why a run began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It was due by its timestamp, or an earlier run did not finish.
    Schedule,
    /// A person added the entry or changed its timestamp.
    HandEdit,
    /// A person or a program asked for it.
    Command,
}

/// What a run reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunKind {
    /// The whole list.
    #[serde(rename = "full")]
    FullLoad,
    /// The changes since the last run.
    #[serde(rename = "incremental")]
    Sync,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResultKind {
    /// Everything in its windows is delivered or counted.
    Finished,
    /// It was stopped: with the program, since its entry has changed, or on request. The next run continues.
    Stopped,
    Failed,
}

/// One run. The names of the fields are those of the lines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    pub list_id: String,
    /// Name of the entry's folder, which distinguishes the entries of a delivery.
    pub entry: String,
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
    pub cause: Cause,
    pub kind: RunKind,
    pub result: ResultKind,
    /// The `latest_timestamp` with which the run began.
    pub since: Option<DateTime<Utc>>,
    /// The `latest_timestamp` that it reached, if it finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_timestamp: Option<DateTime<Utc>>,
    /// The counts of a run that finished or was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// Why the run failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why the run was stopped, or why the state file does not have its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub requests: u64,
    /// Requests that a service did not accept, or did not answer.
    pub refusals: u64,
}

impl RunRecord {
    /// Returns whether the run is of no interest a day later: it finished, sent nothing and rejected nothing.
    pub fn is_quiet(&self) -> bool {
        let quiet = |counts: &Counts| counts.brought_nothing() && counts.rejected.is_empty();
        self.result == ResultKind::Finished
            && self.kind == RunKind::Sync
            && self.counts.as_ref().is_some_and(quiet)
    }
}

/// The history of the runs of a delivery.
#[derive(Debug, Clone)]
pub struct RunHistory(PathBuf);

impl RunHistory {
    /// Returns the history in the folder of a delivery.
    pub fn of(delivery: &Path) -> Self {
        RunHistory(delivery.join(NAME))
    }

    /// Adds a run. It is not synced: a loss of power may lose the last runs.
    ///
    /// # Errors
    ///
    /// The file could not be read or written.
    pub async fn append(&self, run: RunRecord) -> Result<(), Fault> {
        files::blocking(&self.0, move |path| append(path, &run, SIZE)).await
    }

    /// Returns all runs, the oldest first. Leaves out lines that can't be understood.
    ///
    /// # Errors
    ///
    /// The file could not be read.
    pub async fn all(&self) -> Result<Vec<RunRecord>, Fault> {
        files::blocking(&self.0, |path| Ok(parse(&files::read(path)?.unwrap_or_default()))).await
    }

    /// Returns the last run of an entry, the last one that finished, and the last one that was not quiet.
    ///
    /// # Errors
    ///
    /// The file could not be read.
    pub async fn last(&self, entry: &str) -> Result<LastRuns, Fault> {
        let entry = entry.to_owned();
        files::blocking(&self.0, move |path| {
            let near = LastRuns::among(parse(&tail(path, TAIL)?), &entry);
            match (&near.with_changes, &near.finished) {
                (Some(_), Some(_)) => Ok(near),
                _ => Ok(LastRuns::among(parse(&files::read(path)?.unwrap_or_default()), &entry)),
            }
        })
        .await
    }
}

/// The last runs of an entry.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LastRuns {
    pub last: Option<RunRecord>,
    /// The last run that finished.
    pub finished: Option<RunRecord>,
    /// The last run that was not quiet.
    pub with_changes: Option<RunRecord>,
}

impl LastRuns {
    /// Adds a run that has ended after all others.
    pub fn add(&mut self, run: RunRecord) {
        if !run.is_quiet() {
            self.with_changes = Some(run.clone());
        }
        if run.result == ResultKind::Finished {
            self.finished = Some(run.clone());
        }
        self.last = Some(run);
    }

    /// Finds the last runs of an entry among runs in their order.
    pub(super) fn among(runs: Vec<RunRecord>, entry: &str) -> Self {
        let mut last = LastRuns::default();
        runs.into_iter().filter(|run| run.entry == entry).for_each(|run| last.add(run));
        last
    }
}

fn append(path: &Path, run: &RunRecord, most: u64) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut line = serde_json::to_vec(run)?;
    line.push(b'\n');
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let size = file.metadata()?.len();
    // A crash may have left an incomplete last line.
    if size > 0 && !ends_a_line(&mut file, size)? {
        line.insert(0, b'\n');
    }
    file.write_all(&line)?;
    let oldest = parse(&head(&mut file)?).first().map(|first| first.end);
    if size > most || oldest.is_some_and(|oldest| oldest < run.end - AGE - TimeDelta::days(1)) {
        let most = if size > most { most / 2 } else { most };
        let kept = kept(parse(&files::read(path)?.unwrap_or_default()), run.end, most);
        let lines: Result<Vec<Vec<u8>>, _> = kept.iter().map(serde_json::to_vec).collect();
        let mut text = lines?.join(&b'\n');
        text.push(b'\n');
        files::replace(path, &text)?;
    }
    Ok(())
}

/// Returns the runs to keep, the oldest first: none older than 90 days, and at most `most` bytes. Runs that are
/// not quiet and the last run of each entry have precedence; among equals, later runs do.
fn kept(runs: Vec<RunRecord>, now: DateTime<Utc>, most: u64) -> Vec<RunRecord> {
    let size = |run: &RunRecord| serde_json::to_vec(run).map_or(0, |line| line.len() as u64 + 1);
    let mut left = most;
    let mut sizes = vec![];
    let mut last_of: Vec<String> = vec![];
    // From the latest on: real runs and the last run of each entry count first, then the other quiet ones.
    for (index, run) in runs.iter().enumerate().rev() {
        let is_last = !last_of.contains(&run.entry);
        if is_last {
            last_of.push(run.entry.clone());
        }
        sizes.push((run.is_quiet() && !is_last, index, size(run), run.end < now - AGE));
    }
    sizes.sort_by_key(|(quiet, ..)| *quiet);
    let mut stays = vec![false; runs.len()];
    for (_, index, size, is_old) in sizes {
        // An older run that is smaller does not take the place of a later one.
        left = left.saturating_sub(size);
        stays[index] = !is_old && left > 0;
    }
    runs.into_iter().zip(stays).filter(|(_, stays)| *stays).map(|(run, _)| run).collect()
}

fn parse(bytes: &[u8]) -> Vec<RunRecord> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

fn ends_a_line(file: &mut std::fs::File, size: u64) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::Start(size - 1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// Returns the first line of a file, or the part of it that is not too long.
fn head(file: &mut std::fs::File) -> io::Result<Vec<u8>> {
    let mut head = vec![];
    file.seek(SeekFrom::Start(0))?;
    file.take(TAIL).read_to_end(&mut head)?;
    head.truncate(head.iter().position(|byte| *byte == b'\n').unwrap_or(0));
    Ok(head)
}

/// Returns the whole lines among the last bytes of a file; nothing if there is no file.
fn tail(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(error),
    };
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(most)))?;
    let mut tail = vec![];
    file.take(most).read_to_end(&mut tail)?;
    if size > most {
        let first = tail.iter().position(|byte| *byte == b'\n').map_or(tail.len(), |newline| newline + 1);
        tail.drain(..first);
    }
    Ok(tail)
}

#[cfg(test)]
#[path = "runs_tests.rs"]
pub mod tests;
