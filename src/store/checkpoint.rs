//! The checkpoint, from which an interrupted run resumes: the header of a pass, and a line for each page that the
//! pass has settled.

mod file;

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use tokio::time::Instant;

pub use self::file::{
    discard, discard_all, drop_below, drop_orphans, open, path, run_fingerprint, set_run_fingerprint,
};
use super::{
    CheckpointLog,
    position::ShardPosition,
    progress::{BoundarySecond, Progress, Server},
};
use crate::base::{counts::Counts, fault::Fault, window::Window};

/// Version of the format, increased when the files of older versions can't be read anymore.
const VERSION: u32 = 1;
/// Maximum part of a run that a loss of power may undo. A crash of the program alone undoes nothing.
const SYNC: Duration = Duration::from_secs(2);

/// The first line of a checkpoint: identifies the pass and its run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    pub version: u32,
    /// Everything that the result of the run depends on, as text. A run with another fingerprint can't resume the
    /// checkpoint.
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
    #[serde(serialize_with = "unescaped")]
    pub rows: String,
    /// Rows read twice over the whole run, up to this page.
    pub read_twice: u64,
    /// Fields left out over the whole run, up to this page.
    #[serde(default)]
    pub fields: BTreeMap<String, u64>,
    pub seconds: f64,
    pub choice: Option<String>,
}

/// Serializes a text that needs no escapes without serde_json's byte-by-byte search for them; nearly all of a line is
/// this text.
fn unescaped<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    match RawValue::from_string(format!("\"{text}\"")) {
        Ok(raw) if !text.contains('\\') => raw.serialize(serializer),
        _ => serializer.serialize_str(text),
    }
}

/// The checkpoint of one entry, as a run writes it.
pub struct Checkpoint {
    log: Box<dyn CheckpointLog>,
    /// Header of the current pass; `None` while the log has it already.
    header: Option<Header>,
    synced: Instant,
}

impl Checkpoint {
    /// Creates the checkpoint that a run writes to `log`. Until [`begin`](Self::begin), it continues the pass that
    /// is in the log.
    pub fn new(log: impl CheckpointLog + 'static) -> Self {
        Checkpoint { log: Box::new(log), header: None, synced: Instant::now() }
    }

    /// Starts a new pass. Writes nothing before its first page is settled, since most passes are finished by
    /// then.
    pub fn begin(&mut self, header: Header) {
        self.header = Some(header);
    }

    /// Removes the pages of the current pass, so that the next run begins the pass again.
    ///
    /// # Errors
    ///
    /// The log could not be written.
    pub async fn start_over(&mut self, header: Header) -> Result<(), Fault> {
        self.log.begin(&header, &[]).await?;
        self.header = None;
        Ok(())
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
    /// The log could not be written.
    pub async fn append(&mut self, lines: Vec<Line>) -> Result<bool, Fault> {
        let sync = self.synced.elapsed() >= SYNC;
        match &self.header {
            Some(header) => {
                self.log.begin(header, &lines).await?;
                self.header = None;
            }
            None => self.log.append(&lines, sync).await?,
        }
        if sync {
            self.synced = Instant::now();
        }
        Ok(sync)
    }
}
