//! A member, or an object in it, as Mailchimp tells it. Every field is read leniently: what has an unexpected type counts as
//! absent. Unset texts and times arrive as `""`, and so does an unset address instead of an object.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The fields of an object, each unread until it is asked for.
pub struct Member<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Member<'a> {
    /// Nothing if it is no object.
    pub fn read(body: &'a RawValue) -> Option<Self> {
        serde_json::from_str(body.get()).ok().map(Member)
    }

    /// A field as this type; nothing if it is absent or of another type.
    pub fn get<T: Deserialize<'a>>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.0.get(name)?.get()).ok()
    }

    /// A text that is not blank.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).filter(|text: &String| !text.trim().is_empty())
    }

    /// An object in this one; without fields if there is none.
    pub fn inner(&self, name: &str) -> Member<'a> {
        self.0.get(name).and_then(|body| Member::read(body)).unwrap_or(Member(BTreeMap::new()))
    }

    /// The names of the fields that hold something.
    pub fn filled(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, value)| !is_unset(value)).map(|(name, _)| name.as_str())
    }

    /// Whether there is such a field, also if it is not set.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub fn is_filled(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !is_unset(value))
    }
}

fn is_unset(value: &RawValue) -> bool {
    let blank = || serde_json::from_str(value.get()).is_ok_and(|text: String| text.trim().is_empty());
    matches!(value.get(), "null" | "\"\"" | "{}" | "[]") || blank()
}
