//! Reduces an entry to the settings that change what is delivered. After an edit of any other setting, the
//! entry keeps its checkpoint and its dead letters. Pure.

use serde_json::{Map, Value};

use super::{
    fields::{
        ALLOW_MASS_CHANGE, ENABLED, EVERY, FIRST_LOAD, FULL_LOAD, ITEMS_PER_REQUEST, LIST_ID, MAPPING,
        NOTIFY, OVERLAP, OWNED, SINK, SOURCE, UNCHANGED, WORKER_COUNT,
    },
    vocabulary::Vocabulary,
};
use crate::base::spec::{Catalog, is_note};

/// Fields that change how an entry runs, or who is notified of it, but not which payloads a complete run produces.
pub const PACE: [&str; 10] = [
    ENABLED.name,
    ITEMS_PER_REQUEST.name,
    WORKER_COUNT.name,
    ALLOW_MASS_CHANGE.name,
    EVERY.name,
    UNCHANGED.name,
    FULL_LOAD.name,
    FIRST_LOAD.name,
    OVERLAP.name,
    NOTIFY.name,
];

/// Returns the settings of an entry that change what is delivered, each in one spelling. Notes, unknown
/// fields, the fields that importer writes, the fields of [`PACE`], explicit defaults and the order of keys
/// make no difference.
pub fn settings(list_id: &str, fields: &Map<String, Value>, vocabulary: &Vocabulary) -> Map<String, Value> {
    let counts = |name: &str| {
        name != LIST_ID.name
            && !PACE.contains(&name)
            && !OWNED.contains(&name)
            && vocabulary.fields().any(|field| field == name)
    };
    let mut settings: Map<String, Value> = fields
        .iter()
        .filter(|(name, _)| counts(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    for (name, catalog) in
        [(SOURCE.name, vocabulary.source), (MAPPING.name, vocabulary.mapping), (SINK.name, vocabulary.sink)]
    {
        settings.entry(name).and_modify(|said| *said = adapter(said, catalog));
    }
    (vocabulary.declared.normalize)(list_id, &mut settings);
    let source = settings.get(SOURCE.name).and_then(|said| said.as_str().or(said["type"].as_str()));
    let mapping = (vocabulary.default_mapping)(source.or(vocabulary.source.default).unwrap_or_default());
    settings.retain(|name, value| match name.as_str() {
        name if name == MAPPING.name => *value != mapping,
        name => vocabulary.default(name).as_ref() != Some(value),
    });
    sorted(Value::Object(settings)).as_object().cloned().unwrap_or_default()
}

/// Returns the settings that decide which list an entry reads and where it delivers: the type, the account, the
/// settings that [identify](crate::base::spec::Setting::identifies) a list or a destination, and the references to credentials, of
/// the source and the sink. Two versions of an entry with the same route have the same destination as long as the
/// variables and files that they read have the same values. `settings` is the result of
/// [`settings`](self::settings).
pub fn route(settings: &Map<String, Value>, vocabulary: &Vocabulary) -> Value {
    let parts = [(SOURCE.name, vocabulary.source), (SINK.name, vocabulary.sink)];
    parts.into_iter().map(|(name, catalog)| route_part(settings.get(name), catalog)).collect()
}

/// Returns the part of a source or a sink that belongs to the route, in one spelling: a type without such settings is a
/// word, and the default type is null.
fn route_part(raw: Option<&Value>, catalog: &Catalog) -> Value {
    let Some(raw) = raw else { return Value::Null };
    let part = match raw {
        Value::Object(object) => reduced(object, catalog),
        word => word.clone(),
    };
    let is_default = part.as_str().is_some_and(|kind| catalog.default == Some(kind));
    if is_default { Value::Null } else { part }
}

fn reduced(object: &Map<String, Value>, catalog: &Catalog) -> Value {
    let kind = object.get("type").cloned().unwrap_or_default();
    let spec = kind.as_str().and_then(|kind| catalog.spec(kind));
    let counts = |name: &str| {
        name == "type" || catalog.settings(spec).any(|setting| setting.name == name && setting.identifies)
    };
    let members = object.iter().filter(|(name, _)| counts(name));
    let part: Map<String, Value> = members.map(|(name, value)| (name.clone(), value.clone())).collect();
    if part.len() == 1 && part.contains_key("type") { kind } else { Value::Object(part) }
}

/// Returns an adapter in one spelling: `{"type": "a"}` becomes `"a"`. Notes and settings without effect are
/// removed.
fn adapter(said: &Value, catalog: &Catalog) -> Value {
    let Value::Object(object) = said else { return said.clone() };
    let kind = object.get("type").cloned().unwrap_or_default();
    let mut object = object.clone();
    // Notes exist only at this level: in nested objects, a name that begins like a note may be a field of the
    // payload.
    object.retain(|name, value| !is_note(name) && !catalog.is_idle(&kind, name, value));
    if object.len() == 1 && object.contains_key("type") { kind } else { Value::Object(object) }
}

/// Sorts the keys of every object, at any depth.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut fields: Vec<(String, Value)> =
                object.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(values) => values.into_iter().map(sorted).collect(),
        value => value,
    }
}
