//! Reads how an entry wants its contacts.

use std::collections::BTreeMap;

use jsonc_parser::ast::{Object, ObjectProp, Value};

use super::{
    entry::Reader,
    fields::{
        ARCHIVED, COLLECTION, CONSENT, CONTACT_FIELDS, DEFAULT_COUNTRY, Field, MARKETING_PERMISSION,
        PROPERTIES, is_name, is_tag,
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
                value => text(value).filter(|tag| is_tag(tag)).map(Some),
            };
            match tag {
                Some(tag) => _ = tags.insert(name.to_owned(), tag),
                None => self.unlike(
                    &format!("fields.{name}"),
                    &prop.value,
                    "a merge tag alone, such as \"FNAME\", or null to leave it out",
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
                Ok(property) => properties.push(property),
                Err((at, expected)) => self.unlike(&format!("properties.{id}"), at, &expected),
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

/// Either `"from"`, or `{"from": …, "type": …}`; else the value that is wrong, and what it should be.
fn property<'a>(id: &str, value: &'a Value<'a>) -> Result<Property, (&'a Value<'a>, String)> {
    let (from, kind) = match value {
        Value::Object(object) => {
            let stranger =
                object.properties.iter().find(|prop| !["from", "type"].contains(&prop.name.as_str()));
            let from = object.get("from").filter(|_| stranger.is_none());
            let from =
                from.ok_or((value, "an object with `from` and perhaps `type`, and nothing else".to_owned()))?;
            (&from.value, object.get("type").map(|prop| &prop.value))
        }
        value => (value, None),
    };
    let source: Option<PropertySource> = text(from).and_then(|text| text.parse().ok());
    let source = source.ok_or_else(|| (from, sources()))?;
    let kind = match kind {
        None => source.kind(),
        Some(word) => {
            let kind = serde_json::from_value::<PropertyKind>(word.clone().into()).ok();
            let kind = kind.filter(|kind| source.can_be(*kind));
            kind.ok_or_else(|| (word, format!("read as one of {}", source.words().join(", "))))?
        }
    };
    Ok(Property { id: id.to_owned(), from: source, kind })
}

fn sources() -> String {
    let (plain, parts) = (PropertySource::PLAIN.join(", "), PropertySource::PARTS.join(", "));
    format!(
        "read from one of {plain}, interests.ID, merge_fields.TAG, or merge_fields.TAG and .PART, one of {parts}"
    )
}

fn text(value: &Value) -> Option<String> {
    value.as_string_lit().map(|text| text.value.to_string())
}
