//! The fields of an entry that belong to no adapter. Reading, the JSON Schema and the hints for unknown names
//! all use this list.

use serde_json::Value;

/// A field of an entry.
pub struct Field {
    pub name: &'static str,
    pub kind: FieldKind,
    /// The value that counts when the field is absent, as JSON. `None` if the field is required, only written
    /// by importer, or has a default that the adapters declare or that depends on the rest of the entry.
    pub default: Option<&'static str>,
    /// The description in the JSON Schema.
    pub about: &'static str,
}

/// The values that a field may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// A text without spaces.
    Name,
    /// An ISO 8601 time, or null.
    Time,
    /// True or false.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number. Less than `least` is a problem; more than `most` counts as `most`, with a warning.
    Whole { least: u64, most: Option<u64> },
    /// Any number, or null.
    Number,
    /// A source, mapping, sink or receiver of notices: its type, or an object with the type and its settings.
    Adapter,
    /// A duration of at least one second.
    Span,
    /// A duration from one second to one day.
    SpanOfADay,
    /// Whether and for how long delivered payloads are cached.
    Unchanged,
}

/// Upper bound of `items_per_request`, in records per page.
const MAX_ITEMS_PER_REQUEST: u64 = 1000;
/// Upper bound of `worker_count`, in pages that are read at once.
const MAX_WORKER_COUNT: u64 = 10;

pub const LIST_ID: Field = Field {
    name: "list_id",
    kind: FieldKind::Name,
    default: None,
    about: "What to read from the source, such as the id of a list. Required.",
};
pub const ENABLED: Field = Field {
    name: "enabled",
    kind: FieldKind::Flag,
    default: Some("true"),
    about: "false pauses the list: its current run ends within seconds, and none starts until the value is true again.",
};
pub const LATEST_TIMESTAMP: Field = Field {
    name: "latest_timestamp",
    kind: FieldKind::Time,
    default: Some("null"),
    about: "The time up to which every change is delivered. null loads the whole list. importer writes it after every run.",
};
pub const START_OFFSET: Field = Field {
    name: "start_offset",
    kind: FieldKind::Whole { least: 0, most: None },
    default: Some("0"),
    about: "Number of records that a full load leaves out, oldest change first. An incremental sync ignores it.",
};
pub const ITEMS_PER_REQUEST: Field = Field {
    name: "items_per_request",
    kind: FieldKind::Whole { least: 1, most: Some(MAX_ITEMS_PER_REQUEST) },
    default: Some("100"),
    about: "Records per page. A batch has no more than that, and no more than the sink allows.",
};
pub const WORKER_COUNT: Field = Field {
    name: "worker_count",
    kind: FieldKind::Whole { least: 1, most: Some(MAX_WORKER_COUNT) },
    default: Some("8"),
    about: "Number of pages that are read at once.",
};
pub const CONSENT: Field = Field {
    name: "consent",
    kind: FieldKind::Word(&["full", "opt_outs_only", "none"]),
    default: Some("\"full\""),
    about: "Which statements on consent are passed on: opt-ins and opt-outs, only opt-outs, or none.",
};
pub const ARCHIVED: Field = Field {
    name: "archived",
    kind: FieldKind::Word(&["opt_out", "skip"]),
    default: Some("\"opt_out\""),
    about: "Treatment of members that are archived after their delivery: opt them out, or leave them as they are.",
};
pub const ALLOW_MASS_CHANGE: Field = Field {
    name: "allow_mass_change",
    kind: FieldKind::Flag,
    default: Some("false"),
    about: "true lets a run opt out or opt in more records than the safety brake allows. Remove it afterwards.",
};
pub const SOURCE: Field = Field {
    name: "source",
    kind: FieldKind::Adapter,
    default: None,
    about: "Where the records come from: a type, or an object with `type` and its settings.",
};
pub const MAPPING: Field = Field {
    name: "mapping",
    kind: FieldKind::Adapter,
    default: None,
    about: "How records are converted: a type, or an object with `type` and its settings.",
};
pub const SINK: Field = Field {
    name: "sink",
    kind: FieldKind::Adapter,
    default: None,
    about: "Where the records go: a type, or an object with `type` and its settings.",
};
pub const NOTIFY: Field = Field {
    name: "notify",
    kind: FieldKind::Adapter,
    default: None,
    about: "Who gets a notice of each opt-out, deletion and rejection: a type, or an object with `type` and its settings.",
};
pub const EVERY: Field = Field {
    name: "every",
    kind: FieldKind::Span,
    default: Some("\"2h\""),
    about: "Time from the end of a run to the next one: a number and a unit, s, m, h or d.",
};
pub const OVERLAP: Field = Field {
    name: "overlap",
    kind: FieldKind::SpanOfADay,
    default: Some("\"60s\""),
    about: "How far each window overlaps the previous one, because changes may become visible late: 1s to 24h.",
};
pub const UNCHANGED: Field = Field {
    name: "unchanged",
    kind: FieldKind::Unchanged,
    default: None,
    about: "Whether records that the sink already has are skipped: embedded or off, or an object with `store` and `expire`. If \
            absent: embedded for sources that every run reads whole, otherwise off.",
};
pub const FULL_LOAD: Field = Field {
    name: "full_load",
    kind: FieldKind::Word(&["all", "changed_only"]),
    default: Some("\"all\""),
    about: "What a full load sends: everything, or only what the sink does not have already.",
};
pub const FIRST_LOAD: Field = Field {
    name: "first_load",
    kind: FieldKind::Word(&["go", "ask", "confirmed"]),
    default: Some("\"go\""),
    about: "Whether the first load of the list starts by itself (go) or waits (ask) until the value is confirmed.",
};
pub const ELAPSED_SECONDS: Field = Field {
    name: "elapsed_seconds",
    kind: FieldKind::Number,
    default: None,
    about: "Duration of the last run, in seconds. Written by importer.",
};
pub const TOTAL_UPDATES: Field = Field {
    name: "total_updates",
    kind: FieldKind::Number,
    default: None,
    about: "Number of records that the sink accepted in the last run. Written by importer.",
};

/// Every field, in the order of the JSON Schema.
pub const ALL: [&Field; 20] = [
    &LIST_ID,
    &SOURCE,
    &MAPPING,
    &SINK,
    &NOTIFY,
    &EVERY,
    &OVERLAP,
    &ENABLED,
    &LATEST_TIMESTAMP,
    &START_OFFSET,
    &ITEMS_PER_REQUEST,
    &WORKER_COUNT,
    &UNCHANGED,
    &FULL_LOAD,
    &FIRST_LOAD,
    &CONSENT,
    &ARCHIVED,
    &ALLOW_MASS_CHANGE,
    &ELAPSED_SECONDS,
    &TOTAL_UPDATES,
];

/// The fields that importer writes. All others belong to the user.
pub const OWNED: [&str; 3] = [LATEST_TIMESTAMP.name, ELAPSED_SECONDS.name, TOTAL_UPDATES.name];

/// Returns the value that counts when one of these fields is absent; `None` if there is no such value.
pub fn default(name: &str) -> Option<Value> {
    let field = ALL.iter().find(|field| field.name == name)?;
    serde_json::from_str(field.default?).ok()
}

/// The stores for cached deliveries; `off` caches none.
pub const STORES: [&str; 2] = ["embedded", "off"];
