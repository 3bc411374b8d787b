//! A Mailchimp member, or an object within one. Reading is lenient: a field of an unexpected type counts as
//! absent. Mailchimp sends `""` for unset texts and times, and also for an unset address, which otherwise is
//! an object.

use std::borrow::Cow;

use serde::Deserialize;

use crate::base::json::Value;

/// An object, whose fields are parsed only when they are read; `None` for an absent object.
#[derive(Clone, Copy)]
pub struct Member<'a>(Option<Value<'a>>);

impl<'a> Member<'a> {
    /// Reads an object; returns `None` if the JSON is not an object.
    pub fn read(body: Value<'a>) -> Option<Self> {
        body.is_object().then_some(Member(Some(body)))
    }

    fn field(&self, name: &str) -> Option<Value<'a>> {
        self.0?.field(name)
    }

    /// Returns a field as this type; `None` if it is absent or of another type.
    pub fn get<T: Deserialize<'a>>(&self, name: &str) -> Option<T> {
        self.field(name)?.parse()
    }

    /// Returns a text; `None` if it is blank.
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.field(name)?.filled()
    }

    /// Returns an object within this one; an absent object has no fields.
    pub fn inner(&self, name: &str) -> Member<'a> {
        Member(self.field(name).filter(|value| value.is_object()))
    }

    /// Returns the names of the fields that are set. If a name occurs twice, its last value counts.
    pub fn filled(&self) -> impl Iterator<Item = Cow<'a, str>> {
        let mut fields: Vec<(Cow<'a, str>, Value<'a>)> = self.0.into_iter().flat_map(Value::fields).collect();
        // The later one of two comes first then, and stays.
        fields.reverse();
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        fields.dedup_by(|(a, _), (b, _)| a == b);
        fields.into_iter().filter(|(_, value)| !is_unset(*value)).map(|(name, _)| name)
    }

    /// Returns whether the field exists, even if it is not set.
    pub fn has(&self, name: &str) -> bool {
        self.field(name).is_some()
    }

    /// Returns whether the field is set.
    pub fn is_filled(&self, name: &str) -> bool {
        self.field(name).is_some_and(|value| !is_unset(value))
    }
}

/// Returns whether a value counts as not set: null, a blank text, an empty object or an empty list.
fn is_unset(value: Value) -> bool {
    match value.text() {
        Some(text) => text.trim().is_empty(),
        None => matches!(value.raw(), "null" | "{}" | "[]"),
    }
}
