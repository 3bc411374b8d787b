//! The fields of an entry: the one list that reading, the JSON Schema and the hints for unknown names come from.

use serde_json::{Value, json};

use crate::base::{
    adapter::NOTES,
    contact::{PropertyKind, PropertySource, TAGS},
    time,
};

/// What may stand in an entry.
pub struct Field {
    pub name: &'static str,
    pub kind: Kind,
    /// The value that counts when the field is absent, as JSON; nothing where it is required or only written.
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
    /// ISO 3166-1 alpha-2.
    Country,
    /// Fields of a contact, each with a merge tag or null.
    Tags,
    /// Properties of a contact, each with what it is read from.
    Properties,
    /// A third party or a mapping: its type, or an object with the type and its settings.
    Adapter,
    /// A length of time, at least a second.
    Span,
    /// A length of time, at least a second and at most a day.
    SpanOfADay,
    /// Whether and for how long it is remembered what was sent.
    Unchanged,
}

/// Mailchimp puts no more rows into one answer.
const MAX_ITEMS_PER_REQUEST: u64 = 1000;
/// Mailchimp's limit of simultaneous connections.
const MAX_WORKER_COUNT: u64 = 10;

pub const LIST_ID: Field = Field {
    name: "list_id",
    kind: Kind::Name,
    default: None,
    about: "What is read at the source: in Mailchimp the id of the list (audience). Required.",
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
    about: "Records a page; also the most in a batch, up to what the sink takes (Ometria 100).",
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
pub const COLLECTION: Field = Field {
    name: "collection",
    kind: Kind::Name,
    default: None,
    about: "The collection of the contacts in Ometria; mailchimp_<list_id> if absent. Another one makes new contacts.",
};
pub const DEFAULT_COUNTRY: Field = Field {
    name: "default_country",
    kind: Kind::Country,
    default: None,
    about: "Where phone numbers without a country code are from. If absent, such numbers are left out.",
};
pub const MARKETING_PERMISSION: Field = Field {
    name: "marketing_permission",
    kind: Kind::Name,
    default: None,
    about: "The id of the marketing permission (GDPR) without which nobody is opted in.",
};
pub const CONTACT_FIELDS: Field = Field {
    name: "fields",
    kind: Kind::Tags,
    default: None,
    about: "The merge tags that fields of a contact are read from, where they differ from the usual; null leaves one out.",
};
pub const PROPERTIES: Field = Field {
    name: "properties",
    kind: Kind::Properties,
    default: None,
    about: "Custom fields of the contacts, and what each is read from. They must have been set up in Ometria.",
};
pub const SOURCE: Field = Field {
    name: "source",
    kind: Kind::Adapter,
    default: Some("\"mailchimp\""),
    about: "Where the records come from: a type, or an object with `type` and its settings.",
};
pub const MAPPING: Field = Field {
    name: "mapping",
    kind: Kind::Adapter,
    default: None,
    about: "What becomes of a record: a type, or an object with `type` and its settings. If absent, ometria_contact for members of \
            Mailchimp, else as_is.",
};
pub const SINK: Field = Field {
    name: "sink",
    kind: Kind::Adapter,
    default: Some("\"ometria\""),
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

pub const ALL: [&Field; 24] = [
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
    &COLLECTION,
    &DEFAULT_COUNTRY,
    &MARKETING_PERMISSION,
    &CONTACT_FIELDS,
    &PROPERTIES,
    &ELAPSED_SECONDS,
    &TOTAL_UPDATES,
];

/// The fields that we write; all others are the user's.
pub const OWNED: [&str; 3] = [LATEST_TIMESTAMP.name, ELAPSED_SECONDS.name, TOTAL_UPDATES.name];

/// A name without spaces: an id, a merge tag.
const NAME: &str = "^[^\\s\\p{Cc}]+$";

pub fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// A merge tag, and not a path to it.
const TAG: &str = "^[^\\s.\\p{Cc}]+$";

pub fn is_tag(text: &str) -> bool {
    is_name(text) && !text.contains('.')
}

/// What belongs into an object of the entry, whatever the types of its ends.
const WITHIN: [(&str, &str); 4] =
    [("min_interval", "source"), ("retry", "source"), ("store", "unchanged"), ("expire", "unchanged")];

/// What to say of a field that is none of ours; nothing when it is a note.
pub fn unknown(name: &str) -> Option<String> {
    if ALL.iter().any(|field| field.name == name) || NOTES.iter().any(|note| name.starts_with(note)) {
        return None;
    }
    if let Some((_, within)) = WITHIN.iter().find(|(known, _)| *known == name) {
        return Some(format!("`{name}` is not used here; it belongs into the object of `{within}`"));
    }
    let distance = |field: &&&Field| strsim::damerau_levenshtein(field.name, &name.to_lowercase());
    let nearest = ALL.iter().min_by_key(distance).filter(|field| distance(field) <= 1 + field.name.len() / 4);
    Some(match nearest {
        Some(field) => format!("unknown field `{name}` is not used; did you mean `{}`?", field.name),
        None => format!(
            "unknown field `{name}` is kept, but not used (a note of your own may be named `x-{name}`)"
        ),
    })
}

/// The JSON Schema of the state file, draft 2020-12. Editors complete and check by it.
pub fn json_schema() -> Value {
    let properties = ALL.iter().map(|field| (field.name.to_owned(), field.json_schema()));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The state file of importer",
        "description": "One entry for each list. Comments and trailing commas are allowed.",
        "type": "array",
        "items": {
            "type": "object",
            "required": [LIST_ID.name],
            "properties": properties.collect::<serde_json::Map<_, _>>(),
        },
    })
}

impl Field {
    fn json_schema(&self) -> Value {
        let mut schema = match self.kind {
            Kind::Name => json!({"type": "string", "pattern": NAME}),
            Kind::Time => json!({"type": ["string", "null"],
                "pattern": "^\\s*\\d{4}-\\d{2}-\\d{2}([Tt ]\\d{2}:\\d{2}(:\\d{2}([.,]\\d+)?)?([Zz]|[+-]\\d{2}(:?\\d{2})?)?)?\\s*$"}),
            Kind::Flag => json!({"type": "boolean"}),
            Kind::Word(words) => json!({"enum": words}),
            Kind::Whole { least, .. } => json!({"type": "integer", "minimum": least}),
            Kind::Number => json!({"type": ["number", "null"]}),
            Kind::Country => {
                json!({"enum": rust_iso3166::ALL.iter().map(|country| country.alpha2).collect::<Vec<_>>()})
            }
            Kind::Tags => tags_schema(),
            Kind::Properties => properties_schema(),
            Kind::Adapter => json!({"anyOf": [{"type": "string", "pattern": NAME},
                {"type": "object", "required": ["type"], "properties": {"type": {"type": "string", "pattern": NAME}}}]}),
            Kind::Span => span_schema(),
            Kind::SpanOfADay => json!({"type": "string", "pattern": time::SPAN_OF_A_DAY}),
            Kind::Unchanged => {
                json!({"anyOf": [{"enum": STORES}, {"type": "object", "additionalProperties": false,
                "properties": {"store": {"enum": STORES}, "expire": span_schema()}}]})
            }
        };
        if let Kind::Whole { most: Some(most), .. } = self.kind {
            schema["maximum"] = most.into();
        }
        if let Some(default) = self.default {
            schema["default"] = serde_json::from_str(default).unwrap_or_default();
        }
        schema["description"] = self.about.into();
        schema
    }
}

/// Where it can be remembered what was sent.
pub const STORES: [&str; 2] = ["embedded", "off"];

fn span_schema() -> Value {
    json!({"type": "string", "pattern": time::SPAN})
}

fn tags_schema() -> Value {
    let tag = |(field, tag): &(&str, Option<&str>)| {
        ((*field).to_owned(), json!({"type": ["string", "null"], "pattern": TAG, "default": tag}))
    };
    let tags: serde_json::Map<_, _> = TAGS.iter().map(tag).collect();
    json!({"type": "object", "properties": tags, "additionalProperties": false})
}

fn properties_schema() -> Value {
    let (plain, parts) = (PropertySource::PLAIN.join("|"), PropertySource::PARTS.join("|"));
    let name = "[^\\s.\\p{Cc}]+";
    let from = format!("^({plain}|interests\\.{name}|merge_fields\\.{name}(\\.({parts}))?)$");
    let from = json!({"type": "string", "pattern": from});
    let typed = |from: String, kinds: &[&str]| {
        let from = json!({"type": "string", "pattern": format!("^({from})$")});
        json!({"type": "object", "required": ["from"], "additionalProperties": false,
            "properties": {"from": from, "type": {"enum": kinds}}})
    };
    let merge = typed(format!("merge_fields\\.{name}(\\.({parts}))?"), &PropertyKind::WORDS);
    let flags = typed(format!("vip|interests\\.{name}"), &PropertySource::FLAG_WORDS);
    let texts = typed("language|source|status|tags".to_owned(), &PropertySource::TEXT_WORDS);
    json!({"type": "object", "propertyNames": {"pattern": NAME},
        "additionalProperties": {"anyOf": [from, merge, flags, texts]}})
}
