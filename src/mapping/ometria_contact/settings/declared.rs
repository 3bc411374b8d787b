//! Fields of an entry that configure its contacts: their valid values, for reading and for the JSON Schema.

use serde_json::{Map, Value, json};

use super::{ContactSettings, Property, PropertyKind, PropertySource, TAGS, names};
use crate::base::{
    consent::Policy,
    country,
    declared::{Check, Declared, EntryField, NAME, Values, Wrong, is_name},
};

/// Declaration of the fields, for the reader of the state file.
pub const DECLARED: Declared = Declared {
    fields: &[COLLECTION, DEFAULT_COUNTRY, MARKETING_PERMISSION, FIELDS, PROPERTIES],
    normalize: names::normalize,
    names: names::names,
};

const COLLECTION: EntryField = EntryField {
    name: "collection",
    about: "Collection of the contacts in Ometria; mailchimp_<list_id> if absent. Another collection creates new contacts.",
    schema: name_schema,
    check: Check::Whole(check_name),
};
const DEFAULT_COUNTRY: EntryField = EntryField {
    name: "default_country",
    about: "Country of phone numbers without a country code. If absent, such numbers are left out.",
    schema: country_schema,
    check: Check::Whole(check_country),
};
const MARKETING_PERMISSION: EntryField = EntryField {
    name: "marketing_permission",
    about: "Id of the marketing permission (GDPR) that an opt-in requires.",
    schema: name_schema,
    check: Check::Whole(check_name),
};
const FIELDS: EntryField = EntryField {
    name: "fields",
    about: "Merge tags that fields of a contact are read from, where they differ from the defaults; null leaves a field out.",
    schema: tags_schema,
    check: Check::Members(|field, value| tag(field, value).map(drop)),
};
const PROPERTIES: EntryField = EntryField {
    name: "properties",
    about: "Custom fields of the contacts, and what each is read from. They have to exist in Ometria.",
    schema: properties_schema,
    check: Check::Members(|id, value| property(id, value).map(drop)),
};

impl ContactSettings {
    /// Reads the settings of an entry. `values` has passed the checks of [`DECLARED`].
    pub fn read(policy: Policy, values: &Values) -> Self {
        let tags = values.members(FIELDS.name).iter();
        let properties = values.members(PROPERTIES.name).iter();
        ContactSettings {
            policy,
            collection: values.text(COLLECTION.name),
            default_country: values.text(DEFAULT_COUNTRY.name),
            marketing_permission: values.text(MARKETING_PERMISSION.name),
            fields: tags
                .filter_map(|(field, value)| Some((field.clone(), tag(field, value).ok()?)))
                .collect(),
            properties: properties.filter_map(|(id, value)| property(id, value).ok()).collect(),
        }
    }
}

fn check_name(value: &Value) -> Result<(), String> {
    let fits = value.as_str().is_some_and(is_name);
    if fits { Ok(()) } else { Err("a name without spaces".to_owned()) }
}

fn check_country(value: &Value) -> Result<(), String> {
    let known = |code: &str| country::known(code).is_some();
    let fits = value.as_str().is_some_and(known);
    if fits { Ok(()) } else { Err("a country's ISO 3166-1 alpha-2 code, such as \"GB\"".to_owned()) }
}

/// Reads the merge tag of a contact field; `None` leaves the field out.
fn tag(field: &str, value: &Value) -> Result<Option<String>, Wrong> {
    if !TAGS.iter().any(|(known, _)| *known == field) {
        let known: Vec<&str> = TAGS.iter().map(|(known, _)| *known).collect();
        return Err(Wrong::Name(format!(
            "unknown field `{field}` in `fields`, expected one of {}",
            known.join(", ")
        )));
    }
    match value {
        Value::Null => Ok(None),
        Value::String(tag) if is_tag(tag) => Ok(Some(tag.clone())),
        _ => {
            let expected =
                "a merge tag without `merge_fields.`, such as \"FNAME\", or null to leave the field out"
                    .to_owned();
            Err(Wrong::Value { within: None, expected })
        }
    }
}

/// Reads a property: either `"from"`, or `{"from": …, "type": …}`.
fn property(id: &str, value: &Value) -> Result<Property, Wrong> {
    if !is_name(id) {
        return Err(Wrong::Name("invalid id of a property; use a name without spaces".to_owned()));
    }
    let (from, kind, within) = match value {
        Value::Object(object) => {
            let (from, kind) = parts(object)?;
            (from, kind, Some("from"))
        }
        value => (value, None, None),
    };
    let source: Option<PropertySource> = from.as_str().and_then(|text| text.parse().ok());
    let from = source.ok_or_else(|| Wrong::Value { within, expected: sources() })?;
    let kind = match kind {
        None => from.kind(),
        Some(word) => {
            let kind = serde_json::from_value::<PropertyKind>(word.clone()).ok();
            let expected = || format!("of a type that its source allows ({})", from.words().join(", "));
            let kind = kind.filter(|kind| from.can_be(*kind));
            kind.ok_or_else(|| Wrong::Value { within: Some("type"), expected: expected() })?
        }
    };
    Ok(Property { id: id.to_owned(), from, kind })
}

/// Returns `from` of a property, and its `type` if it has one.
fn parts(object: &Map<String, Value>) -> Result<(&Value, Option<&Value>), Wrong> {
    let known = object.keys().all(|key| ["from", "type"].contains(&key.as_str()));
    match object.get("from") {
        Some(from) if known => Ok((from, object.get("type"))),
        _ => {
            let expected = "an object with `from`, optionally `type`, and nothing else".to_owned();
            Err(Wrong::Value { within: None, expected })
        }
    }
}

/// Describes the valid sources of a property.
fn sources() -> String {
    let (plain, parts) = (PropertySource::PLAIN.join(", "), PropertySource::PARTS.join(", "));
    format!(
        "read from one of {plain}, interests.ID, merge_fields.TAG, or merge_fields.TAG.PART with one of the parts {parts}"
    )
}

/// Pattern of a merge tag, which unlike a path to a value contains no dot.
const TAG: &str = "^[^\\s.\\x00-\\x1f\\x7f-\\x9f]+$";

fn is_tag(text: &str) -> bool {
    is_name(text) && !text.contains('.')
}

fn name_schema() -> Value {
    json!({"type": "string", "pattern": NAME})
}

fn country_schema() -> Value {
    json!({"enum": rust_iso3166::ALL.iter().map(|country| country.alpha2).collect::<Vec<_>>()})
}

fn tags_schema() -> Value {
    let tag = |(field, tag): &(&str, Option<&str>)| {
        ((*field).to_owned(), json!({"type": ["string", "null"], "pattern": TAG, "default": tag}))
    };
    let tags: Map<_, _> = TAGS.iter().map(tag).collect();
    json!({"type": "object", "properties": tags, "additionalProperties": false})
}

fn properties_schema() -> Value {
    let (plain, parts) = (PropertySource::PLAIN.join("|"), PropertySource::PARTS.join("|"));
    let name = "[^\\s.\\x00-\\x1f\\x7f-\\x9f]+";
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
