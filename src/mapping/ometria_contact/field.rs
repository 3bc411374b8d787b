//! A field of a Mailchimp member, or of an object within one. Reading is lenient: a field of an unexpected type counts
//! as absent. Mailchimp sends `""` for unset texts and times, and also for an unset address, which otherwise is
//! an object.

use std::borrow::Cow;

use serde::Deserialize;

use crate::base::{json::Value, text::is_blank};

/// A field that may be absent. Its value is parsed only when it is read.
#[derive(Clone, Copy)]
pub struct Field<'a>(pub Option<Value<'a>>);

impl<'a> Field<'a> {
    /// Returns the value as this type; `None` if the field is absent or of another type.
    pub fn get<T: Deserialize<'a>>(self) -> Option<T> {
        self.0?.parse()
    }

    /// Returns the text; `None` if it is blank.
    pub fn text(self) -> Option<Cow<'a, str>> {
        self.0?.filled()
    }

    /// Returns a field of the object; an absent object has none.
    pub fn field(self, name: &str) -> Field<'a> {
        Field(self.0.and_then(|value| value.field(name)))
    }

    /// Returns the value; `None` if the field is not set.
    pub fn filled(self) -> Option<Value<'a>> {
        self.0.filter(|value| !is_unset(*value))
    }

    /// Returns whether the field exists, even if it is not set.
    pub fn exists(self) -> bool {
        self.0.is_some()
    }

    /// Returns whether the field is set.
    pub fn is_filled(self) -> bool {
        self.filled().is_some()
    }
}

/// Returns whether a value counts as not set: null, a blank text, an empty object or an empty list.
pub fn is_unset(value: Value) -> bool {
    match value.text() {
        Some(text) => is_blank(&text),
        None => matches!(value.raw(), "null" | "{}" | "[]"),
    }
}
