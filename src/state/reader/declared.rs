//! Reads the fields of an entry that an adapter declares. The adapter checks the values; this module adds the
//! place of a problem.

use jsonc_parser::ast::{Object, ObjectProp};
use serde_json::Value;

use super::Reader;
use crate::base::declared::{Check, EntryField, Raw, Values, Wrong};

impl Reader<'_> {
    /// Reads the declared fields of an entry and returns their values unchanged. Leaves out values with a
    /// problem.
    pub fn declared(&mut self, object: &Object) -> Values {
        let fields = self.vocabulary.declared.fields.iter();
        let values = fields.filter_map(|field| {
            let prop = object.get(field.name)?;
            Some((field.name, self.raw(field, prop)?))
        });
        Values(values.collect())
    }

    fn raw(&mut self, field: &EntryField, prop: &ObjectProp) -> Option<Raw> {
        match field.check {
            Check::Whole(check) => {
                let value: Value = prop.value.clone().into();
                match check(&value) {
                    Ok(()) => return Some(Raw::Whole(value)),
                    Err(expected) => self.unexpected(prop, &expected),
                }
                None
            }
            Check::Members(check) => self.members(prop, check).map(Raw::Members),
        }
    }

    /// Reads an object member by member. Leaves out members with a problem.
    fn members(
        &mut self,
        prop: &ObjectProp,
        check: fn(&str, &Value) -> Result<(), Wrong>,
    ) -> Option<Vec<(String, Value)>> {
        let Some(object) = prop.value.as_object() else {
            self.unexpected(prop, "an object `{ … }`");
            return None;
        };
        self.refuse_repeats_within(&prop.value);
        let mut members = vec![];
        for member in &object.properties {
            let (name, value) = (member.name.as_str(), Value::from(member.value.clone()));
            match check(name, &value) {
                Ok(()) => members.push((name.to_owned(), value)),
                Err(Wrong::Name(text)) => self.problem(member, text),
                Err(Wrong::Value { within, expected }) => {
                    let part = within.and_then(|key| member.value.as_object()?.get(key));
                    let part = part.map_or(&member.value, |part| &part.value);
                    self.unlike(&format!("{}.{name}", prop.name.as_str()), part, &expected);
                }
            }
        }
        Some(members)
    }
}
