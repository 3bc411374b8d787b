//! The part of the contact settings in the names of an entry on disk. Two spellings of a setting have to give
//! the same name, and no release may change the name of equal settings, because importer finds checkpoints by
//! the name.

use serde_json::{Map, Value, json, value::to_raw_value};

use super::{ContactSettings, PropertySource, TAGS};
use crate::base::{
    consent::Policy,
    declared::{Names, Values},
};

/// Brings the contact settings of an entry into one spelling and removes defaults.
pub fn normalize(list_id: &str, settings: &mut Map<String, Value>) {
    settings.entry("fields").and_modify(without_default_tags);
    settings.entry("properties").and_modify(in_full);
    settings.retain(|name, value| match name.as_str() {
        "collection" => *value != default_collection(list_id),
        "fields" | "properties" => *value != json!({}),
        _ => true,
    });
}

/// Returns the default collection of a list.
pub fn default_collection(list_id: &str) -> String {
    format!("mailchimp_{list_id}")
}

/// Returns what the settings contribute to the names.
pub fn names(policy: Policy, values: &Values) -> Names {
    let settings = ContactSettings::read(policy, values);
    Names {
        // Order matters: over Ometria's limit, the last properties are left out.
        order: settings.properties.iter().map(|property| property.id.clone()).collect(),
        consent: json!(settings.marketing_permission),
        former: to_raw_value(&settings).unwrap_or_default(),
    }
}

/// Removes merge tags that are the defaults.
fn without_default_tags(tags: &mut Value) {
    if let Value::Object(tags) = tags {
        tags.retain(|field, tag| !TAGS.iter().any(|(known, usual)| field == known && tag.as_str() == *usual));
    }
}

/// Brings properties into one spelling: `"language"` and `{"from": "language"}` mean the same, with or
/// without the default type.
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
