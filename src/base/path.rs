//! Paths of values in JSON: names and positions, separated by dots. Pure.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Path of a value. Empty for the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    shown: String,
    /// The same path as a JSON pointer (RFC 6901).
    pointer: String,
}

impl Path {
    pub fn new(shown: String) -> Self {
        let part = |name: &str| format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        let pointer = if shown.is_empty() { String::new() } else { shown.split('.').map(part).collect() };
        Path { shown, pointer }
    }

    /// Returns the path as the user wrote it.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Returns the value at the path, or null if there is none.
    pub fn get<'a>(&self, value: &'a Value) -> &'a Value {
        value.pointer(&self.pointer).unwrap_or(&Value::Null)
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Path::new)
    }
}
