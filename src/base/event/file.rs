//! Events about the state file and importer's own files beside it.

use std::path::PathBuf;

use chrono::{DateTime, Utc};

/// What happens to the state file.
#[derive(Debug, Clone, PartialEq)]
pub enum FileEvent {
    /// The text has changed since the last read.
    Changed,
    /// The file can't be read or written. Nothing is lost.
    Unusable { problem: String },
    /// The file is read again as soon as it is saved. `last_valid`: until then, its last valid version is used.
    Awaited { last_valid: bool },
    /// The file can be read again.
    Readable,
    /// An entry can't run. `problem` begins with its place, `path:line:column`; `excerpt` is the line with a caret.
    EntryInvalid { problem: String, excerpt: String },
    /// A warning that begins with its place in the file.
    Warning { text: String },
    /// The file has no entry.
    Empty,
    /// The file can't be watched, so edits take effect at the next check.
    NotWatched { error: String },
    /// The path of the file leads to another folder now.
    Moved { link: PathBuf, target: PathBuf, own_data: PathBuf, folders: [&'static str; 2] },
    /// The file system can't exchange two files.
    NoExchange { error: String },
    /// Late saves could not be looked for.
    LookBackFailed { problem: String },
    /// The version before could not be added to the history of the file.
    HistoryUnwritten { error: String },
    /// An edit that was saved during a write was applied.
    LateSaveApplied,
    /// Two saves conflict; the other one is in the file `kept`.
    Conflict { kept: PathBuf },
    /// An earlier process had finished a run, and its result is written now.
    InheritedResultWritten { list_id: String, latest_timestamp: DateTime<Utc> },
    /// The result of an earlier process still can't be written.
    InheritedResultWaits { list_id: String, latest_timestamp: DateTime<Utc>, problem: String },
    /// The results of these lists could not be written into the journal.
    NotJournaled { lists: Vec<String>, problem: String },
    /// The results of these lists could not be written into the file.
    ResultsUnwritten { lists: Vec<String>, problem: String },
    /// The results of runs wait until the file is usable.
    ResultsKept { results: usize },
    /// The files of an earlier version can't be taken over yet.
    NotMigrated { problem: String },
    /// The files of an earlier version were taken over.
    Migrated { version: &'static str, deliveries: usize, old_files: PathBuf },
}
