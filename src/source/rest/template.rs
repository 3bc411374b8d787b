//! Texts with placeholders such as `{list_id}`, and the values that replace them. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::base::{fault::Fault, json::Json};

/// The values of the placeholders, by name.
pub type Values = BTreeMap<String, Json>;

/// A text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(String),
}

impl Template {
    /// Reads a text. A pair of braces is a placeholder if it has a name in it, so that JSON in a parameter is none.
    ///
    /// # Errors
    ///
    /// A placeholder has none of the names in `known`.
    pub fn read(text: &str, known: &[String]) -> Result<Self, String> {
        let (mut parts, mut rest) = (vec![], text);
        let mut plain = String::new();
        while let Some((before, after)) = rest.split_once('{') {
            plain.push_str(before);
            match after.split_once('}').filter(|(name, _)| is_name(name)) {
                None => {
                    plain.push('{');
                    rest = after;
                }
                Some((name, after)) if known.iter().any(|known| known == name) => {
                    parts.extend([Part::Text(std::mem::take(&mut plain)), Part::Name(name.to_owned())]);
                    rest = after;
                }
                Some((name, _)) => {
                    return Err(format!(
                        "unknown placeholder {{{name}}}; use one of {}",
                        known.iter().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(", ")
                    ));
                }
            }
        }
        plain.push_str(rest);
        parts.push(Part::Text(plain));
        parts.retain(|part| *part != Part::Text(String::new()));
        Ok(Template(parts))
    }

    /// Returns whether the text has this placeholder.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Name(known) if known == name))
    }

    /// Returns the text with this text in the place of each placeholder.
    pub fn with(&self, text: &str) -> String {
        self.0.iter().map(|part| if let Part::Text(text) = part { text.as_str() } else { text }).collect()
    }

    /// Returns the address with the values, each percent-encoded, so that it stays one segment of the path or one
    /// value of the query.
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: a value is missing, or can't be a part of an address.
    pub fn address(&self, values: &Values) -> Result<String, Fault> {
        self.fill(|name| {
            let text = text(name, values)?;
            // The parser of addresses drops such segments, encoded or not.
            match text.as_str() {
                "" | "." | ".." => Err(unusable(name, "can't be a part of an address")),
                text => Ok(encoded(text)),
            }
        })
    }

    /// Returns the text with the values.
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: a value is missing, or no text, number or flag.
    pub fn text(&self, values: &Values) -> Result<String, Fault> {
        self.fill(|name| text(name, values))
    }

    /// Returns the value itself if the text is a single placeholder, else the text with the values.
    ///
    /// # Errors
    ///
    /// As those of [`Self::text`].
    pub fn value(&self, values: &Values) -> Result<Value, Fault> {
        let alone = match &self.0[..] {
            [Part::Name(name)] => values.get(name).and_then(|value| serde_json::from_str(value.get()).ok()),
            _ => None,
        };
        alone.map_or_else(|| self.text(values).map(Value::from), Ok)
    }

    fn fill(&self, value: impl Fn(&str) -> Result<String, Fault>) -> Result<String, Fault> {
        let part = |part: &Part| match part {
            Part::Text(text) => Ok(text.clone()),
            Part::Name(name) => value(name),
        };
        self.0.iter().map(part).collect()
    }
}

/// Returns whether a text can be the name of a placeholder.
pub fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(plain)
}

/// Returns a value as text: a text, or the digits of a number.
fn text(name: &str, values: &Values) -> Result<String, Fault> {
    let value = values.get(name).ok_or_else(|| unusable(name, "is missing"))?;
    let raw = value.get();
    match (value.value().text(), raw.as_bytes().first()) {
        (Some(text), _) => Ok(text.into_owned()),
        (None, Some(b'-' | b'0'..=b'9' | b't' | b'f')) => Ok(raw.to_owned()),
        _ => Err(unusable(name, "is not a string, a number or a boolean")),
    }
}

fn unusable(name: &str, why: &str) -> Fault {
    Fault::list(format!("the value of `{{{name}}}` {why}"))
        .hint(format!("check the path of `{name}` in `context`, `list_id`, or the key of the record"))
}

/// Percent-encodes all but unreserved characters (RFC 3986, section 2.3).
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values() -> Values {
        let values = [
            ("list_id", "\"a/b ü\""),
            ("me", "170000000000000000007"),
            ("who", "{\"a\": [1]}"),
            ("up", "\"..\""),
        ];
        values.map(|(name, text)| (name.to_owned(), Json::read(text.to_owned()).unwrap())).into()
    }

    fn read(text: &str) -> Result<Template, String> {
        Template::read(text, &["list_id", "me", "who", "up", "absent"].map(str::to_owned))
    }

    #[test]
    fn placeholders_are_replaced_and_other_braces_stay() {
        for (text, expected) in [
            ("https://h/{list_id}/x?me={me}", "https://h/a%2Fb%20%C3%BC/x?me=170000000000000000007"),
            ("{me}{me}", "170000000000000000007170000000000000000007"),
            (r#"{"a": 1}{me}"#, r#"{"a": 1}170000000000000000007"#),
            ("{{me}}", "{170000000000000000007}"),
            ("{", "{"),
            ("{}", "{}"),
            ("", ""),
        ] {
            assert_eq!(read(text).unwrap().address(&values()).unwrap(), expected, "{text}");
        }
        assert_eq!(read("{list_id}").unwrap().text(&values()).unwrap(), "a/b ü");
    }

    #[test]
    fn a_single_placeholder_is_the_value_itself() {
        for (text, expected) in
            [("{who}", json!({"a": [1]})), ("{list_id}", json!("a/b ü")), ("a {list_id}", json!("a a/b ü"))]
        {
            assert_eq!(read(text).unwrap().value(&values()).unwrap(), expected);
        }
    }

    #[test]
    fn a_value_that_is_missing_or_of_the_wrong_kind_is_named() {
        for (text, why) in [
            ("{absent}", "the value of `{absent}` is missing"),
            ("{who}", "the value of `{who}` is not a string, a number or a boolean"),
            ("{up}", "the value of `{up}` can't be a part of an address"),
        ] {
            let fault = read(text).unwrap().address(&values()).unwrap_err();
            assert!(fault.to_string().starts_with(why), "{fault}");
        }
        assert_eq!(
            Template::read("/{lsit_id}", &["list_id".to_owned(), "me".to_owned()]).unwrap_err(),
            "unknown placeholder {lsit_id}; use one of {list_id}, {me}"
        );
    }
}
