//! Paths of values in JSON: names and positions, separated by dots. Pure.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::json;

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

    /// Returns the value at the path of a scanned text; `None` if there is none.
    pub fn find<'a>(&self, value: json::Value<'a>) -> Option<json::Value<'a>> {
        if self.shown.is_empty() {
            return Some(value);
        }
        self.shown.split('.').try_fold(value, |value, name| match name.parse() {
            Ok(position) if value.is_array() => value.items().nth(position),
            _ => value.field(name),
        })
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Path::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json::Json;

    #[test]
    fn a_path_leads_to_the_same_value_of_a_tree_and_of_a_text() {
        let text = r#"{"a": {"b": [1, {"c": null}], "0": "x"}, "": 5, "a/b": 6, "t~": 7}"#;
        let (tree, json) = (serde_json::from_str(text).unwrap(), Json::read(text.to_owned()).unwrap());
        for (path, expected) in [
            ("a.b.0", "1"),
            ("a.0", "\"x\""),
            ("a.b.1.c", "null"),
            ("a/b", "6"),
            ("t~", "7"),
            ("a.b.2", ""),
            ("a.b.c", ""),
            ("a.b.0.c", ""),
            ("b", ""),
            (".", ""),
        ] {
            let path = Path::new(path.to_owned());
            let found = path.find(json.value()).map(json::Value::raw);
            assert_eq!(found.unwrap_or_default(), expected, "{path:?}");
            let found = path.get(&tree);
            assert_eq!(found.to_string(), if expected.is_empty() { "null" } else { expected }, "{path:?}");
        }
        let whole = Path::new(String::new());
        assert_eq!(whole.find(json.value()).map(json::Value::raw), Some(text));
        assert_eq!(whole.get(&tree), &tree);
    }
}
