//! Reads how an entry wants its contacts.

use std::collections::BTreeMap;

use jsonc_parser::ast::{Object, ObjectProp, Value};

use super::{
    entry::Reader,
    fields::{
        ARCHIVED, COLLECTION, CONSENT, CONTACT_FIELDS, DEFAULT_COUNTRY, Field, MARKETING_PERMISSION,
        PROPERTIES, is_name,
    },
};
use crate::base::{
    consent::Policy,
    contact::{ContactSettings, Property, PropertyKind, PropertySource, TAGS},
};

impl Reader<'_> {
    pub fn contact(&mut self, object: &Object) -> ContactSettings {
        ContactSettings {
            policy: Policy { consent: self.word(object, &CONSENT), archived: self.word(object, &ARCHIVED) },
            collection: self.name(object, &COLLECTION),
            default_country: self.country(object),
            marketing_permission: self.name(object, &MARKETING_PERMISSION),
            fields: self.tags(object),
            properties: self.properties(object),
        }
    }

    fn name(&mut self, object: &Object, field: &Field) -> Option<String> {
        let prop = object.get(field.name)?;
        let name = text(&prop.value).filter(|name| is_name(name));
        if name.is_none() {
            self.unlike(field.name, &prop.value, "a name without spaces");
        }
        name
    }

    fn country(&mut self, object: &Object) -> Option<String> {
        let prop = object.get(DEFAULT_COUNTRY.name)?;
        let known =
            |code: &str| rust_iso3166::from_alpha2(code).is_some_and(|country| country.alpha2 == code);
        let code = text(&prop.value).filter(|code| known(code));
        if code.is_none() {
            self.unlike(
                DEFAULT_COUNTRY.name,
                &prop.value,
                "a country's ISO 3166-1 alpha-2 code, such as \"GB\"",
            );
        }
        code
    }

    fn tags(&mut self, object: &Object) -> BTreeMap<String, Option<String>> {
        let mut tags = BTreeMap::new();
        for prop in self.inner(object, &CONTACT_FIELDS) {
            let name = prop.name.as_str();
            if !TAGS.iter().any(|(known, _)| *known == name) {
                let known: Vec<&str> = TAGS.iter().map(|(known, _)| *known).collect();
                self.problem(prop, format!("`fields` knows no `{name}`, only {}", known.join(", ")));
                continue;
            }
            let tag = match &prop.value {
                Value::NullKeyword(_) => Some(None),
                value => text(value).filter(|tag| is_name(tag)).map(Some),
            };
            match tag {
                Some(tag) => _ = tags.insert(name.to_owned(), tag),
                None => self.unlike(
                    &format!("fields.{name}"),
                    &prop.value,
                    "a merge tag such as \"FNAME\", or null to leave it out",
                ),
            }
        }
        tags
    }

    fn properties(&mut self, object: &Object) -> Vec<Property> {
        let mut properties = vec![];
        for prop in self.inner(object, &PROPERTIES) {
            let id = prop.name.as_str();
            if !is_name(id) {
                self.problem(prop, "the id of a property is a name without spaces".into());
                continue;
            }
            match property(id, &prop.value) {
                Some(property) => properties.push(property),
                None => self.unlike(
                    &format!("properties.{id}"),
                    &prop.value,
                    "what it is read from, such as \"merge_fields.COMPANY\" or {\"from\": \"merge_fields.POINTS\", \
                     \"type\": \"number\"}",
                ),
            }
        }
        properties
    }

    /// What stands in an object of the entry; nothing if there is none.
    fn inner<'a>(&mut self, object: &'a Object<'a>, field: &Field) -> &'a [ObjectProp<'a>] {
        let Some(prop) = object.get(field.name) else { return &[] };
        match &prop.value {
            Value::Object(inner) => {
                self.refuse_repeated_keys(inner);
                &inner.properties
            }
            _ => {
                self.unlike(field.name, &prop.value, "an object `{ … }`");
                &[]
            }
        }
    }
}

/// Either `"from"`, or `{"from": …, "type": …}`.
fn property(id: &str, value: &Value) -> Option<Property> {
    let (from, kind) = match value {
        Value::Object(object) => {
            let known = |prop: &ObjectProp| ["from", "type"].contains(&prop.name.as_str());
            if !object.properties.iter().all(known) {
                return None;
            }
            (text(&object.get("from")?.value)?, object.get("type").map(|prop| &prop.value))
        }
        value => (text(value)?, None),
    };
    let from: PropertySource = from.parse().ok()?;
    let kind = match kind {
        None => from.kind(),
        Some(word) => serde_json::from_value::<PropertyKind>(word.clone().into()).ok()?,
    };
    Some(Property { id: id.to_owned(), from, kind })
}

fn text(value: &Value) -> Option<String> {
    value.as_string_lit().map(|text| text.value.to_string())
}
