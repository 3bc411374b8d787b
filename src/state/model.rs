//! The content of the state file: its entries, problems and warnings. Pure.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Map;

use super::{
    finding::{BOM, Finding, Lines, Place},
    identity::{BaseVersion, EntryId},
    locate,
    syntax::parse,
};
use crate::base::{
    consent::Policy,
    declared::{Names, Values},
    identity::ListId,
    time,
};

/// The content of the file at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub text: String,
    /// The entries that can run, in file order.
    pub entries: Vec<Entry>,
    /// The problems that prevent the other entries from running.
    pub problems: Vec<Finding>,
    /// Fields that are ignored, and values that are replaced by a maximum.
    pub warnings: Vec<Finding>,
    /// Every element of the file, including those with a problem, in file order.
    pub elements: Vec<Element>,
    /// Every element of the file, by list.
    pub mentions: Mentions,
    /// Credentials that stand in the file, as it spells them. No output may contain them.
    pub credentials: Vec<String>,
}

/// An element of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// The place where it begins.
    pub place: Place,
    /// `None` if it can't be read.
    pub list_id: Option<String>,
}

/// Every element of the file, by list.
#[derive(Debug, Clone, Default)]
pub struct Mentions {
    by_list: HashMap<String, Vec<Mention>>,
    /// Whether the `list_id` of an element can't be read: it could be any list.
    pub unreadable: bool,
}

impl Mentions {
    /// Adds an element, in file order; `None` if its `list_id` can't be read.
    pub fn add(&mut self, mention: Option<Mention>) {
        match mention {
            Some(mention) => self.by_list.entry(mention.id.list_id.clone()).or_default().push(mention),
            None => self.unreadable = true,
        }
    }

    /// Returns the elements with this `list_id`, in file order.
    pub fn of_list(&self, list_id: &str) -> &[Mention] {
        self.by_list.get(list_id).map_or(&[], Vec::as_slice)
    }
}

/// Identity, pause and route of an element of the file. Identity and pause are known even if the element has a
/// problem.
#[derive(Debug, Clone)]
pub struct Mention {
    pub id: EntryId,
    /// The name of its folder.
    pub folder: String,
    /// Whether it has `"enabled": false`.
    pub disabled: bool,
    /// The entry's route, see [`delivered::route`](super::delivered::route); `None` if the entry has a problem.
    pub route: Option<serde_json::Value>,
}

/// One list to import.
#[derive(Debug, Clone)]
pub struct Entry {
    pub id: EntryId,
    pub list: ListId,
    /// The name of its folder, which depends only on the list and `settings`.
    pub folder: String,
    /// The settings that change what is delivered, each in one spelling.
    pub settings: Map<String, serde_json::Value>,
    /// See [`delivered::route`](super::delivered::route).
    pub route: serde_json::Value,
    /// Whether no other entry has the same list.
    pub alone: bool,
    /// The place of its opening brace.
    pub place: Place,
    /// Whether it may run; false pauses it.
    pub enabled: bool,
    pub start_offset: u64,
    pub items_per_request: usize,
    pub worker_count: usize,
    /// The raw settings of source, mapping, sink and receiver of notices; the wiring interprets them.
    pub source: RawSetting,
    pub mapping: RawSetting,
    pub sink: RawSetting,
    pub notify: RawSetting,
    /// Time from the end of a run to the next one.
    pub every: TimeDelta,
    /// Length of the part of the last window that is read again.
    pub overlap: TimeDelta,
    /// Whether and for how long deliveries are cached; `None` for the default of the source.
    pub unchanged: Option<Remember>,
    /// Whether a full load skips the records that the sink already has.
    pub full_load: FullLoad,
    /// Whether the first load starts by itself.
    pub first_load: FirstLoad,
    /// Which statements on consent are passed on.
    pub policy: Policy,
    /// The fields that belong to an adapter; only the adapters interpret them.
    pub declared: Values,
    /// What those fields contribute to the names of runs and baselines.
    pub names: Names,
    /// Whether an unusual share of opt-outs or opt-ins is intended.
    pub allow_mass_change: bool,
    pub latest_timestamp: Option<DateTime<Utc>>,
    /// Whether the entry has a `total_updates`: an earlier run succeeded, whatever `latest_timestamp` is.
    pub delivered_before: bool,
    /// The base version of the next run.
    pub was: BaseVersion,
}

/// Why an entry can't run although all of its fields are valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    pub place: Place,
    pub text: String,
    /// Whether the cause is the environment and not the entry.
    pub environment: bool,
}

impl Snapshot {
    /// Removes the entries for which `fit` returns an error, and adds that error to the problems.
    pub fn examine(&mut self, mut fit: impl FnMut(&Entry) -> Result<(), Unfit>) {
        let mut unfit = vec![];
        self.entries.retain(|entry| match fit(entry) {
            Ok(()) => true,
            Err(reason) => {
                unfit.push(reason);
                false
            }
        });
        if unfit.is_empty() {
            return;
        }
        let body = self.text.strip_prefix(BOM).unwrap_or(&self.text);
        let hidden = locate::hidden(body, &self.credentials);
        let (lines, shown, array) = (Lines::of(body), Lines::of(&hidden), parse(body).ok());
        let problems = unfit.into_iter().map(|Unfit { place, text, .. }| {
            let place = array.as_ref().map_or(place, |array| locate::setting(&lines, array, place, &text));
            shown.finding(place, text)
        });
        let problems: Vec<Finding> = problems.collect();
        self.problems.extend(problems);
    }

    /// Makes a finding. Its excerpt of the file shows no credential.
    pub fn finding(&self, place: Place, text: impl Into<String>) -> Finding {
        let body = self.text.strip_prefix(BOM).unwrap_or(&self.text);
        Finding::new(&locate::hidden(body, &self.credentials), place, text)
    }
}

/// The default of `unchanged.expire`.
pub const EXPIRE: &str = "7d";

/// The raw setting of a source, mapping, sink or receiver of notices: a text, an object, or null if the entry has none.
#[derive(Debug, Clone, PartialEq)]
pub struct RawSetting {
    pub value: serde_json::Value,
    /// Paths of all members of its objects, in the order of the file.
    pub order: Arc<[Vec<String>]>,
    /// The place of the value; that of the entry if it has none.
    pub place: Place,
}

/// Whether and for how long deliveries are cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remember {
    Off,
    For(TimeDelta),
}

impl Remember {
    /// Returns the default: on, for [`EXPIRE`].
    pub fn by_default() -> Self {
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
    /// It starts by itself; on a terminal it waits up to 30 s for Enter.
    #[default]
    Go,
    /// It waits until the value is `confirmed`.
    Ask,
    /// It starts at once.
    Confirmed,
}
