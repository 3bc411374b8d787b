//! A Mailchimp member, or an object within one. Reading is lenient: a field of an unexpected type counts as
//! absent. Mailchimp sends `""` for unset texts and times, and also for an unset address, which otherwise is
//! an object.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

/// Fields of an object, each parsed only when it is read.
pub struct Member<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Member<'a> {
    /// Reads an object; returns `None` if the JSON is not an object.
    pub fn read(body: &'a RawValue) -> Option<Self> {
        serde_json::from_str(body.get()).ok().map(Member)
    }

    /// Returns a field as this type; `None` if it is absent or of another type.
    pub fn get<T: Deserialize<'a>>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.0.get(name)?.get()).ok()
    }

    /// Returns a text; `None` if it is blank.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).filter(|text: &String| !text.trim().is_empty())
    }

    /// Returns an object within this one; an absent object has no fields.
    pub fn inner(&self, name: &str) -> Member<'a> {
        self.0.get(name).and_then(|body| Member::read(body)).unwrap_or(Member(BTreeMap::new()))
    }

    /// Returns the names of the fields that are set.
    pub fn filled(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, value)| !is_unset(value)).map(|(name, _)| name.as_str())
    }

    /// Returns whether the field exists, even if it is not set.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Returns whether the field is set.
    pub fn is_filled(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !is_unset(value))
    }
}

/// Returns whether a value counts as not set: null, a blank text, an empty object or an empty list.
fn is_unset(value: &RawValue) -> bool {
    let blank = || serde_json::from_str(value.get()).is_ok_and(|text: String| text.trim().is_empty());
    matches!(value.get(), "null" | "\"\"" | "{}" | "[]") || blank()
}
