//! The fields of an entry that belong to no adapter: the one list from which reading, the JSON Schema and the hints for unknown
//! names come.

use serde_json::Value;

/// What may stand in an entry.
pub struct Field {
    pub name: &'static str,
    pub kind: Kind,
    /// The value that counts when the field is absent, as JSON; nothing where it is required, only written, or declared by the
    /// adapters.
    pub default: Option<&'static str>,
    pub about: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Without spaces.
    Name,
    /// ISO 8601, or null.
    Time,
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number. Less than `least` is a problem; more than `most` is cut with a warning.
    Whole {
        least: u64,
        most: Option<u64>,
    },
    /// Any number, or null.
    Number,
    /// A third party or a mapping: its type, or an object with the type and its settings.
    Adapter,
    /// A length of time, at least a second.
    Span,
    /// A length of time, at least a second and at most a day.
    SpanOfADay,
    /// Whether and for how long it is remembered what was sent.
    Unchanged,
}

/// The most records of a page.
const MAX_ITEMS_PER_REQUEST: u64 = 1000;
/// The most pages read at once.
const MAX_WORKER_COUNT: u64 = 10;

pub const LIST_ID: Field = Field {
    name: "list_id",
    kind: Kind::Name,
    default: None,
    about: "What is read at the source, such as the id of a list. Required.",
};
pub const ENABLED: Field = Field {
    name: "enabled",
    kind: Kind::Flag,
    default: Some("true"),
    about: "false pauses the list: its current run ends within seconds, and no other starts until it is true again.",
};
pub const LATEST_TIMESTAMP: Field = Field {
    name: "latest_timestamp",
    kind: Kind::Time,
    default: Some("null"),
    about: "Up to when everything is delivered. null loads the whole list; importer writes it after every run.",
};
pub const START_OFFSET: Field = Field {
    name: "start_offset",
    kind: Kind::Whole { least: 0, most: None },
    default: Some("0"),
    about: "A full load leaves out this many members, counted from the oldest change. An incremental sync ignores it.",
};
pub const ITEMS_PER_REQUEST: Field = Field {
    name: "items_per_request",
    kind: Kind::Whole { least: 1, most: Some(MAX_ITEMS_PER_REQUEST) },
    default: Some("100"),
    about: "Records a page; also the most in a batch, up to what the sink takes.",
};
pub const WORKER_COUNT: Field = Field {
    name: "worker_count",
    kind: Kind::Whole { least: 1, most: Some(MAX_WORKER_COUNT) },
    default: Some("8"),
    about: "Pages read at once.",
};
pub const CONSENT: Field = Field {
    name: "consent",
    kind: Kind::Word(&["full", "opt_outs_only", "none"]),
    default: Some("\"full\""),
    about: "What is passed on of people's consent: opt-ins and opt-outs, opt-outs only, or nothing.",
};
pub const ARCHIVED: Field = Field {
    name: "archived",
    kind: Kind::Word(&["opt_out", "skip"]),
    default: Some("\"opt_out\""),
    about: "What becomes of members who were archived after their delivery: opted out, or left as they were.",
};
pub const ALLOW_MASS_CHANGE: Field = Field {
    name: "allow_mass_change",
    kind: Kind::Flag,
    default: Some("false"),
    about: "true lets a run pass that was stopped for an unusual share of opt-outs or opt-ins. Remove it afterwards.",
};
pub const SOURCE: Field = Field {
    name: "source",
    kind: Kind::Adapter,
    default: None,
    about: "Where the records come from: a type, or an object with `type` and its settings.",
};
pub const MAPPING: Field = Field {
    name: "mapping",
    kind: Kind::Adapter,
    default: None,
    about: "What becomes of a record: a type, or an object with `type` and its settings.",
};
pub const SINK: Field = Field {
    name: "sink",
    kind: Kind::Adapter,
    default: None,
    about: "Where the records go: a type, or an object with `type` and its settings.",
};
pub const EVERY: Field = Field {
    name: "every",
    kind: Kind::Span,
    default: Some("\"2h\""),
    about: "How long after the end of a run the next one is due: a number and s, m, h or d.",
};
pub const OVERLAP: Field = Field {
    name: "overlap",
    kind: Kind::SpanOfADay,
    default: Some("\"60s\""),
    about: "How much of the last window a run reads again, since a change may become visible late: from 1s to 24h.",
};
pub const UNCHANGED: Field = Field {
    name: "unchanged",
    kind: Kind::Unchanged,
    default: None,
    about: "Whether records that the sink holds already are held back: embedded or off, or an object with `store` and `expire`. If \
            absent, embedded for sources that are read whole every time, else off.",
};
pub const FULL_LOAD: Field = Field {
    name: "full_load",
    kind: Kind::Word(&["all", "changed_only"]),
    default: Some("\"all\""),
    about: "What a full load sends: everything, or only what the sink does not hold already.",
};
pub const FIRST_LOAD: Field = Field {
    name: "first_load",
    kind: Kind::Word(&["go", "ask", "confirmed"]),
    default: Some("\"go\""),
    about: "Whether the first load of the list starts by itself (go) or waits (ask) until this says confirmed.",
};
pub const ELAPSED_SECONDS: Field = Field {
    name: "elapsed_seconds",
    kind: Kind::Number,
    default: None,
    about: "How long the last run took, in seconds. Written by importer.",
};
pub const TOTAL_UPDATES: Field = Field {
    name: "total_updates",
    kind: Kind::Number,
    default: None,
    about: "Records that the sink accepted in the last run. Written by importer.",
};

pub const ALL: [&Field; 19] = [
    &LIST_ID,
    &SOURCE,
    &MAPPING,
    &SINK,
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

/// The fields that we write; all others are the user's.
pub const OWNED: [&str; 3] = [LATEST_TIMESTAMP.name, ELAPSED_SECONDS.name, TOTAL_UPDATES.name];

/// Returns the value that counts when one of these fields is absent.
pub fn default(name: &str) -> Option<Value> {
    let field = ALL.iter().find(|field| field.name == name)?;
    serde_json::from_str(field.default?).ok()
}

/// Where it can be remembered what was sent.
pub const STORES: [&str; 2] = ["embedded", "off"];
