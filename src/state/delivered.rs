//! Reduces an entry to the settings that change what is delivered. An edit of any other setting keeps the checkpoint and the
//! dead letters of the entry. Pure.

use serde_json::{Map, Value, json};

use super::fields::{
    self, ALLOW_MASS_CHANGE, COLLECTION, CONTACT_FIELDS, ENABLED, EVERY, FIRST_LOAD, FULL_LOAD,
    ITEMS_PER_REQUEST, LIST_ID, MAPPING, OVERLAP, OWNED, PROPERTIES, SINK, SOURCE, UNCHANGED, WORKER_COUNT,
};
use crate::base::{
    adapter::NOTES,
    contact::{PropertySource, TAGS},
};

/// Fields that change how an entry runs, but not which payloads a run from the beginning makes.
pub const PACE: [&str; 9] = [
    ENABLED.name,
    ITEMS_PER_REQUEST.name,
    WORKER_COUNT.name,
    ALLOW_MASS_CHANGE.name,
    EVERY.name,
    UNCHANGED.name,
    FULL_LOAD.name,
    FIRST_LOAD.name,
    OVERLAP.name,
];

/// Settings of adapters that do not change the payloads either.
const ADAPTER_PACE: [&str; 3] = ["min_interval", "retry", "rotate_mb"];

/// Defaults of the settings of adapters: type, setting, value as JSON.
pub const ADAPTER_DEFAULTS: [(&str, &str, &str); 5] = [
    ("when_i_work", "days_ahead", "1"),
    ("when_i_work", "days_prior", "0"),
    ("when_i_work", "time_zone", "\"UTC\""),
    ("when_i_work", "unpublished", "false"),
    ("when_i_work", "open_shifts", "false"),
];

/// Default mappings: for the default source, and for any other source.
pub const DEFAULT_MAPPING: [&str; 2] = ["ometria_contact", "as_is"];

/// Returns the settings of an entry that change what is delivered, each in one spelling. Notes, unknown fields, fields that
/// importer writes, the pace, spelled-out defaults and the order of keys make no difference.
pub fn settings(list_id: &str, fields: &Map<String, Value>) -> Map<String, Value> {
    let counts = |name: &str| {
        name != LIST_ID.name
            && !PACE.contains(&name)
            && !OWNED.contains(&name)
            && fields::ALL.iter().any(|field| field.name == name)
    };
    let mut settings: Map<String, Value> = fields
        .iter()
        .filter(|(name, _)| counts(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    for name in [SOURCE.name, MAPPING.name, SINK.name] {
        settings.entry(name).and_modify(|said| *said = adapter(said));
    }
    settings.entry(CONTACT_FIELDS.name).and_modify(without_default_tags);
    settings.entry(PROPERTIES.name).and_modify(in_full);
    let source = settings.get(SOURCE.name).and_then(|said| said.as_str().or(said["type"].as_str()));
    let by_default = source.is_none_or(|source| default(SOURCE.name) == Some(json!(source)));
    let mapping = DEFAULT_MAPPING[usize::from(!by_default)];
    settings.retain(|name, value| match name.as_str() {
        name if name == MAPPING.name => *value != mapping,
        name if name == COLLECTION.name => *value != format!("mailchimp_{list_id}"),
        name if name == CONTACT_FIELDS.name || name == PROPERTIES.name => *value != json!({}),
        name => default(name).as_ref() != Some(value),
    });
    sorted(Value::Object(settings)).as_object().cloned().unwrap_or_default()
}

fn default(name: &str) -> Option<Value> {
    let field = fields::ALL.iter().find(|field| field.name == name)?;
    serde_json::from_str(field.default?).ok()
}

/// Writes an adapter in one spelling: `{"type": "a"}` and `"a"` are the same.
fn adapter(said: &Value) -> Value {
    let Value::Object(object) = said else { return said.clone() };
    let kind = object.get("type").cloned().unwrap_or_default();
    let is_default = |name: &str, value: &Value| {
        let known = ADAPTER_DEFAULTS.iter().find(|(of, setting, _)| kind == *of && *setting == name);
        known.is_some_and(|(_, _, default)| serde_json::from_str(default).ok().as_ref() == Some(value))
    };
    let mut object = object.clone();
    // Only at this level: deeper down, a name that begins like a note may name a field of the payload.
    object.retain(|name, value| {
        !NOTES.iter().any(|note| name.starts_with(note))
            && !ADAPTER_PACE.contains(&name.as_str())
            && !is_default(name, value)
    });
    if object.len() == 1 && object.contains_key("type") { kind } else { Value::Object(object) }
}

fn without_default_tags(tags: &mut Value) {
    if let Value::Object(tags) = tags {
        tags.retain(|field, tag| !TAGS.iter().any(|(known, usual)| field == known && tag.as_str() == *usual));
    }
}

/// Writes properties in one spelling: `"language"` and `{"from": "language"}` are the same, with or without the default type.
fn in_full(properties: &mut Value) {
    for property in properties.as_object_mut().into_iter().flat_map(|properties| properties.values_mut()) {
        if property.is_string() {
            *property = json!({ "from": property.take() });
        }
        let source: Option<PropertySource> = property["from"].as_str().and_then(|from| from.parse().ok());
        let kind = source.map(|source| json!(source.kind()));
        if let Value::Object(property) = property
            && property.get("type") == kind.as_ref()
        {
            property.remove("type");
        }
    }
}

/// Sorts the keys of every object.
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

#[cfg(test)]
mod tests {
    use crate::state::schema;

    fn folder(entry: &str) -> String {
        schema::read(&format!("[{entry}]")).unwrap().entries[0].id.folder()
    }

    #[test]
    fn an_edit_that_changes_nothing_of_what_is_delivered_keeps_the_name() {
        for (entry, same) in [
            (
                r#"{"list_id": "a"}"#,
                r#"{"list_id": "a", "source": "mailchimp", "sink": {"type": "ometria", "x-": 1}}"#,
            ),
            (
                r#"{"list_id": "a"}"#,
                r#"{"list_id": "a", "mapping": {"type": "ometria_contact", "_why": "so"}}"#,
            ),
            (
                r#"{"list_id": "a"}"#,
                r#"{"list_id": "a", "consent": "full", "archived": "opt_out", "start_offset": 0}"#,
            ),
            (
                r#"{"list_id": "a"}"#,
                r#"{"list_id": "a", "collection": "mailchimp_a", "fields": {"firstname": "FNAME", "gender": null}}"#,
            ),
            (
                r#"{"list_id": "a"}"#,
                r#"{"list_id": "a", "x-note": 1, "_": 2, "note": {}, "enabled": false, "every": "5m"}"#,
            ),
            (
                r#"{"list_id": "a"}"#,
                r#"{"list_id": "a", "source": {"min_interval": "5s", "type": "mailchimp", "retry": false}}"#,
            ),
            (
                r#"{"list_id": "a"}"#,
                r#"{"list_id": "a", "latest_timestamp": null, "total_updates": 5, "properties": {}}"#,
            ),
            (
                r#"{"list_id": "a", "consent": "none", "properties": {"b": "vip", "c": "merge_fields.BIRTHDAY"}}"#,
                r#"{"properties": {"c": {"type": "month_day", "from": "merge_fields.BIRTHDAY"}, "b": {"from": "vip"}}, "list_id": "a", "consent": "none"}"#,
            ),
            (
                r#"{"list_id": "a", "source": "when_i_work", "sink": "stdout"}"#,
                r#"{"list_id": "a", "source": {"type": "when_i_work", "days_ahead": 1, "time_zone": "UTC"}, "mapping": "as_is", "sink": {"type": "stdout"}}"#,
            ),
        ] {
            assert_eq!(folder(entry), folder(same), "{same}");
        }
    }

    #[test]
    fn an_edit_that_changes_what_is_delivered_changes_the_name() {
        let entries = [
            r#"{"list_id": "a"}"#,
            r#"{"list_id": "b"}"#,
            r#"{"list_id": "a", "start_offset": 6}"#,
            r#"{"list_id": "a", "consent": "none"}"#,
            r#"{"list_id": "a", "archived": "skip"}"#,
            r#"{"list_id": "a", "marketing_permission": "p"}"#,
            r#"{"list_id": "a", "collection": "mailchimp_b"}"#,
            r#"{"list_id": "a", "fields": {"firstname": null}}"#,
            r#"{"list_id": "a", "fields": {"gender": "GENDER"}}"#,
            r#"{"list_id": "a", "properties": {"b": "vip"}}"#,
            r#"{"list_id": "a", "properties": {"b": {"from": "vip", "type": "text"}}}"#,
            r#"{"list_id": "a", "sink": "stdout"}"#,
            r#"{"list_id": "a", "sink": {"type": "ndjson", "path": "out/a"}}"#,
            r#"{"list_id": "a", "mapping": "as_is", "sink": "stdout"}"#,
            r#"{"list_id": "a", "mapping": {"type": "fields", "fields": {"_id": "id"}}, "sink": "stdout"}"#,
            r#"{"list_id": "a", "mapping": {"type": "fields", "fields": {"x-id": "id"}}, "sink": "stdout"}"#,
            r#"{"list_id": "a", "source": "when_i_work", "sink": "stdout"}"#,
            r#"{"list_id": "a", "source": "when_i_work", "mapping": "ometria_contact", "sink": "stdout"}"#,
            r#"{"list_id": "a", "source": {"type": "when_i_work", "days_ahead": 2}, "sink": "stdout"}"#,
        ];
        let mut names: Vec<String> = entries.iter().map(|entry| folder(entry)).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), entries.len());
    }
}
