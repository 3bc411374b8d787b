//! Reads one entry of the state file: every field, and every problem.

mod adapters;
mod declared;

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use jsonc_parser::{
    ast::{Object, ObjectProp, Value},
    common::Ranged,
};
use serde::de::DeserializeOwned;

use super::{
    delivered,
    fields::{
        ALLOW_MASS_CHANGE, ARCHIVED, CONSENT, ENABLED, EVERY, FIRST_LOAD, FULL_LOAD, Field, FieldKind,
        ITEMS_PER_REQUEST, LATEST_TIMESTAMP, LIST_ID, MAPPING, NOTIFY, OVERLAP, SINK, SOURCE, START_OFFSET,
        TOTAL_UPDATES, WORKER_COUNT,
    },
    finding::{Finding, Lines, Place},
    identity::{EntryId, identify, was},
    model::Entry,
    syntax::kind,
    vocabulary::Vocabulary,
};
use crate::base::{consent::Policy, declared::is_name, time};

/// Reads one entry and collects its problems and warnings.
pub struct Reader<'a> {
    pub(super) lines: &'a Lines<'a>,
    pub(super) vocabulary: &'static Vocabulary,
    pub problems: Vec<Finding>,
    pub warnings: Vec<Finding>,
}

impl<'a> Reader<'a> {
    /// Makes a reader. `lines` are those of the whole file without a byte-order mark.
    pub fn new(lines: &'a Lines<'a>, vocabulary: &'static Vocabulary) -> Self {
        Reader { lines, vocabulary, problems: vec![], warnings: vec![] }
    }

    /// Adds a problem, at the beginning of `at`.
    pub fn problem(&mut self, at: &impl Ranged, text: String) {
        self.problems.push(self.finding(at, text));
    }

    fn warning(&mut self, at: &impl Ranged, text: String) {
        self.warnings.push(self.finding(at, text));
    }

    fn finding(&self, at: &impl Ranged, text: String) -> Finding {
        self.lines.finding(self.place(at), text)
    }

    /// Returns the place at which `at` begins.
    pub(super) fn place(&self, at: &impl Ranged) -> Place {
        self.lines.place(at.start())
    }

    /// Reads an element of the file. Returns `None` if it is no entry or its identity can't be read; even if
    /// it returns an entry, `problems` decides whether the entry may run.
    pub fn entry(&mut self, element: &Value) -> Option<Entry> {
        let Value::Object(object) = element else {
            self.problem(element, format!("expected an entry `{{ … }}`, found {}", kind(element)));
            return None;
        };
        self.refuse_repeated_keys(object);
        for prop in &object.properties {
            if let Some(text) = self.vocabulary.unknown(prop.name.as_str()) {
                self.warning(prop, text);
            }
        }
        // All fields are read before a missing one ends the reading, so that all problems are reported.
        let id = self.id(object);
        let enabled = self.flag(object, &ENABLED);
        let start_offset = self.whole(object, &START_OFFSET);
        let items_per_request = self.whole(object, &ITEMS_PER_REQUEST) as usize;
        let worker_count = self.whole(object, &WORKER_COUNT) as usize;
        let [source, mapping, sink, notify] =
            [&SOURCE, &MAPPING, &SINK, &NOTIFY].map(|field| self.said(object, field));
        let every = self.span(object, &EVERY);
        let overlap = self.span(object, &OVERLAP);
        let unchanged = self.remember(object);
        let full_load = self.word(object, &FULL_LOAD);
        let first_load = self.word(object, &FIRST_LOAD);
        let policy = Policy { consent: self.word(object, &CONSENT), archived: self.word(object, &ARCHIVED) };
        let declared = self.declared(object);
        let allow_mass_change = self.flag(object, &ALLOW_MASS_CHANGE);
        let latest_timestamp = self.time(object, &LATEST_TIMESTAMP);
        let place = self.place(object);
        let id = id?;
        let settings = id.settings(self.vocabulary);
        Some(Entry {
            folder: id.folder_with(&settings),
            route: delivered::route(&settings, self.vocabulary),
            settings,
            names: (self.vocabulary.declared.names)(policy, &declared),
            list: id.list(self.vocabulary),
            id,
            alone: true,
            place,
            enabled,
            start_offset,
            items_per_request,
            worker_count,
            source,
            mapping,
            sink,
            notify,
            every,
            overlap,
            unchanged,
            full_load,
            first_load,
            policy,
            declared,
            allow_mass_change,
            latest_timestamp,
            delivered_before: object.get(TOTAL_UPDATES.name).is_some(),
            was: was(object)?,
        })
    }

    /// Reads the identity. Returns `None`, with a problem, if `list_id` is missing or invalid.
    fn id(&mut self, object: &Object) -> Option<EntryId> {
        let id = identify(object).filter(|id| is_name(&id.list_id));
        if id.is_none() {
            match object.get(LIST_ID.name) {
                Some(prop) => {
                    self.unexpected(prop, "the id of a list without spaces, such as \"1a2d7ebf82\"")
                }
                None => self.problem(object, "this entry has no `list_id`".into()),
            }
        }
        id
    }

    /// Reports duplicate keys. Some tools read the first one and some the last, so neither counts.
    pub(super) fn refuse_repeated_keys(&mut self, object: &Object) {
        let mut names: Vec<&str> = object.properties.iter().map(|prop| prop.name.as_str()).collect();
        names.sort_unstable();
        if names.windows(2).all(|pair| pair[0] != pair[1]) {
            return;
        }
        let mut names = HashSet::new();
        for prop in &object.properties {
            let name = prop.name.as_str();
            if !names.insert(name) {
                self.problem(prop, format!("duplicate key `{name}`; remove one"));
            }
        }
    }

    /// Reads true or false. Returns the default if the field is absent, or with a problem if it is invalid.
    fn flag(&mut self, object: &Object, field: &Field) -> bool {
        let default = field.default == Some("true");
        let Some(prop) = object.get(field.name) else { return default };
        let flag = prop.value.as_boolean_lit().map(|flag| flag.value);
        if flag.is_none() {
            self.unexpected(prop, "true or false");
        }
        flag.unwrap_or(default)
    }

    /// Reads one of the field's words. Returns the default if the field is absent, or with a problem if it is
    /// invalid.
    pub(super) fn word<T: Default + DeserializeOwned>(&mut self, object: &Object, field: &Field) -> T {
        let (Some(prop), FieldKind::Word(words)) = (object.get(field.name), field.kind) else {
            return T::default();
        };
        let word = serde_json::from_value(prop.value.clone().into());
        word.unwrap_or_else(|_| {
            self.unexpected(prop, &format!("one of {}", words.join(", ")));
            T::default()
        })
    }

    /// Reads a whole number within the field's bounds. Returns the default if the field is absent, or with a
    /// problem if it is invalid.
    fn whole(&mut self, object: &Object, field: &Field) -> u64 {
        let FieldKind::Whole { least, most } = field.kind else { return 0 };
        let default = field.default.and_then(|text| text.parse().ok()).unwrap_or(least);
        let Some(prop) = object.get(field.name) else { return default };
        let number = prop.value.as_number_lit().and_then(|number| whole(number.value));
        let Some(number) = number.filter(|&number| number >= least) else {
            let range = most.map_or(format!("of at least {least}"), |most| format!("from {least} to {most}"));
            self.unexpected(prop, &format!("a whole number {range}"));
            return default;
        };
        if let Some(most) = most.filter(|&most| number > most) {
            let text = format!("`{}` is {number}; using the maximum of {most}", field.name);
            self.warning(&prop.value, text);
            return most;
        }
        number
    }

    /// Reads a time. Returns `None` if it is null or absent, or with a problem if it is invalid.
    fn time(&mut self, object: &Object, field: &Field) -> Option<DateTime<Utc>> {
        let prop = object.get(field.name)?;
        if prop.value.as_null_keyword().is_some() {
            return None;
        }
        let time = prop.value.as_string_lit().and_then(|text| time::parse(&text.value));
        if time.is_none() {
            self.unexpected(
                prop,
                "a time such as \"2019-10-21T09:50:54\" (UTC unless it names a zone), or null for a full load",
            );
        }
        time
    }

    pub(super) fn unexpected(&mut self, prop: &ObjectProp, expected: &str) {
        self.unlike(prop.name.as_str(), &prop.value, expected);
    }

    /// Adds the problem that a value is not as expected; shows its first 40 characters.
    pub(super) fn unlike(&mut self, name: &str, value: &Value, expected: &str) {
        let found: String = value.text(self.lines.text()).chars().take(40).collect();
        self.problem(value, format!("`{name}` must be {expected}; found {found}"));
    }
}

/// Parses a whole number without sign, fraction or exponent. A number above 64 bits counts as the largest
/// one.
fn whole(digits: &str) -> Option<u64> {
    let ordinary = digits.bytes().all(|digit| digit.is_ascii_digit());
    ordinary.then(|| digits.parse().unwrap_or(u64::MAX))
}
