//! The state file as it was read: its entries and what is wrong with it. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Map;

use super::{
    finding::{BOM, Finding, Place},
    identity::{EntryId, Was},
};
use crate::base::{
    consent::Policy,
    declared::{Names, Values},
    time,
};

/// The file as it was at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub text: String,
    /// The entries that can run, in file order.
    pub entries: Vec<Entry>,
    /// What keeps the other entries from running.
    pub problems: Vec<Finding>,
    /// What was read differently from how it was written.
    pub warnings: Vec<Finding>,
    /// Every element of the file, including those with a problem.
    pub mentions: Vec<Mention>,
}

/// Identity and pause of an element of the file, whatever else is wrong with it.
#[derive(Debug, Clone)]
pub struct Mention {
    /// `None` if its `list_id` can't be read.
    pub id: Option<EntryId>,
    /// The name of its folder; empty without an `id`.
    pub folder: String,
    /// Whether it says `"enabled": false`.
    pub disabled: bool,
}

/// One list to import.
#[derive(Debug, Clone)]
pub struct Entry {
    pub id: EntryId,
    /// The name of its folder, which depends only on the list and `settings`.
    pub folder: String,
    /// The settings that change what is delivered, each in one spelling.
    pub settings: Map<String, serde_json::Value>,
    /// Whether no other entry has its list.
    pub alone: bool,
    pub place: Place,
    /// Whether it runs at all.
    pub enabled: bool,
    pub start_offset: u64,
    pub items_per_request: usize,
    pub worker_count: usize,
    /// What is said of the ends; others know what it means.
    pub source: Said,
    pub mapping: Said,
    pub sink: Said,
    /// How long after the end of a run the next one is due.
    pub every: TimeDelta,
    /// Length of the part of the last window that is read again.
    pub overlap: TimeDelta,
    /// Whether it is remembered what the sink holds, and for how long; nothing: as is usual for the source.
    pub unchanged: Option<Remember>,
    /// Whether a full load, too, leaves out what the sink holds.
    pub full_load: FullLoad,
    /// Whether the first load starts by itself.
    pub first_load: FirstLoad,
    /// What of people's consent is passed on.
    pub policy: Policy,
    /// The fields that belong to an adapter; adapters know what they mean.
    pub declared: Values,
    /// What those fields contribute to the names of runs and baselines.
    pub names: Names,
    /// Whether an unusual share of opt-outs is meant.
    pub allow_mass_change: bool,
    pub latest_timestamp: Option<DateTime<Utc>>,
    /// Whether a run of it was recorded before, whatever the timestamp says.
    pub delivered_before: bool,
    /// What a run's result will depend on.
    pub was: Was,
}

/// Why an entry can't run although every field of it can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    pub place: Place,
    pub text: String,
    /// The entry is right, and the environment is not.
    pub environment: bool,
}

impl Snapshot {
    /// Takes out the entries that can't run for other reasons than how they are written.
    pub fn examine(&mut self, fit: impl Fn(&Entry) -> Result<(), Unfit>) {
        let text = self.text.strip_prefix(BOM).unwrap_or(&self.text);
        let problems = &mut self.problems;
        self.entries.retain(|entry| match fit(entry) {
            Ok(()) => true,
            Err(Unfit { place, text: what, .. }) => {
                problems.push(Finding::new(text, place, what));
                false
            }
        });
    }
}

/// How long it is remembered what was sent, if nothing else is said.
pub const EXPIRE: &str = "7d";

/// What an entry says of one of its ends, as it stands there: a text, an object, or null if it is not mentioned.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    pub value: serde_json::Value,
    /// Of the value; of the entry if it is not mentioned.
    pub place: Place,
}

/// For how long it is remembered what the sink holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remember {
    Off,
    For(TimeDelta),
}

impl Remember {
    /// Where nothing else is said.
    pub fn usual() -> Self {
        time::span(EXPIRE).map_or(Remember::Off, Remember::For)
    }
}

/// What a full load sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FullLoad {
    #[default]
    All,
    ChangedOnly,
}

/// Whether the first load of a list starts by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirstLoad {
    /// It starts by itself; on a terminal it waits up to half a minute for Enter.
    #[default]
    Go,
    /// It waits until the entry says `confirmed`.
    Ask,
    /// It starts at once.
    Confirmed,
}
