//! The choice of a source, mapping or sink in an entry: a type name, or an object with `type` and settings.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{secret::Secret, time};

/// Prefixes of keys that are the user's own notes.
pub const NOTES: [&str; 2] = ["x-", "_"];

/// Upper bound of the name of an account, in characters.
const ACCOUNT: usize = 32;

/// Pattern of the name of an account, for the JSON Schema; see [`is_account`].
pub const ACCOUNT_PATTERN: &str = "^(?!.*file$)[a-z][a-z0-9_]{0,31}$";

/// Returns whether a text is the name of an account: a letter, then letters, digits and `_`, all lower case. It does
/// not end in `file`, because its variables would be taken for those that name a file.
pub fn is_account(name: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
    name.len() <= ACCOUNT
        && name.bytes().all(plain)
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with("file")
}

/// The type that an entry chose, and its settings.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// Name of the type.
    pub kind: String,
    /// The settings, without the user's notes.
    pub settings: Map<String, Value>,
    /// The credentials that the settings refer to, by the name of the setting.
    pub credentials: BTreeMap<String, Secret>,
    /// Texts in the settings that were read from files of secrets.
    pub secrets: Vec<Secret>,
}

impl Chosen {
    /// Reads the value of an entry's setting. Without a type, the type is `default`.
    pub fn of(said: &Value, default: &str) -> Self {
        match said {
            Value::Object(said) => {
                let mut settings = said.clone();
                settings.retain(|name, _| !NOTES.iter().any(|note| name.starts_with(note)));
                let kind = settings.remove("type");
                Chosen::new(kind.as_ref().and_then(Value::as_str).unwrap_or(default), settings)
            }
            said => Chosen::new(said.as_str().unwrap_or(default), Map::new()),
        }
    }

    fn new(kind: &str, settings: Map<String, Value>) -> Self {
        Chosen { kind: kind.to_owned(), settings, credentials: BTreeMap::new(), secrets: vec![] }
    }

    /// Removes and returns a setting that every type has, so that [`Chosen::settings`] does not read it.
    ///
    /// # Errors
    ///
    /// The value is of the wrong type. The message names the setting.
    pub fn take<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<Option<T>, String> {
        let Some(value) = self.settings.remove(name) else { return Ok(None) };
        serde_json::from_value(value).map(Some).map_err(|error| format!("`{name}`: {error}"))
    }

    /// Reads the settings of the adapter.
    ///
    /// # Errors
    ///
    /// A setting is unknown, missing or of the wrong type. The message names the type and the setting.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, String> {
        let settings = Value::Object(self.settings.clone());
        serde_path_to_error::deserialize(settings).map_err(|error| {
            let (path, why) = (error.path().to_string(), error.inner().to_string());
            match path.as_str() {
                "." => format!("{}: {why}", self.kind),
                path => format!("{}: `{path}`: {why}", self.kind),
            }
        })
    }

    /// Returns the message for a type that this build does not contain.
    pub fn not_built(&self) -> String {
        let kind = &self.kind;
        format!(
            "this build has no `{kind}`; run IMPORTER_FEATURES={kind} ./run.sh go, rebuild with cargo build --release \
             --features {kind}, or use the Docker image"
        )
    }
}

/// Settings of an adapter without any.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

/// A duration in the settings of an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub TimeDelta);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Value::deserialize(deserializer)?;
        let span = text.as_str().and_then(time::span).map(Span);
        span.ok_or_else(|| {
            serde::de::Error::custom(format!(
                "invalid duration {text}; use a number and a unit, such as \"60s\" or \"5m\""
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Settings {
        days: u16,
        pause: Span,
    }

    impl Default for Settings {
        fn default() -> Self {
            Settings { days: 1, pause: Span(TimeDelta::seconds(1)) }
        }
    }

    #[test]
    fn a_bare_type_has_default_settings_and_notes_are_ignored() {
        for (said, kind, days) in [
            (json!(null), "usual", 1),
            (json!("other"), "other", 1),
            (json!({"type": "other", "days": 3, "x-why": "so", "_": 1}), "other", 3),
        ] {
            let chosen = Chosen::of(&said, "usual");
            assert_eq!((chosen.kind.as_str(), chosen.settings::<Settings>().unwrap().days), (kind, days));
        }
    }

    #[test]
    fn an_account_has_a_plain_name_that_is_a_suffix_of_variables() {
        for (name, valid) in [
            ("acme", true),
            ("a", true),
            ("acme_2", true),
            (&"a".repeat(32)[..], true),
            (&"a".repeat(33), false),
            ("", false),
            ("2acme", false),
            ("_acme", false),
            ("Acme", false),
            ("acme-eu", false),
            ("acmé", false),
            ("file", false),
            ("my_file", false),
            ("file_a", true),
        ] {
            assert_eq!(is_account(name), valid, "{name}");
        }
    }

    #[test]
    fn an_error_names_the_type_and_the_setting() {
        let told = |said: Value| Chosen::of(&said, "usual").settings::<Settings>().unwrap_err();
        assert_eq!(
            told(json!({"type": "a", "days": "x"})),
            "a: `days`: invalid type: string \"x\", expected u16"
        );
        assert_eq!(
            told(json!({"type": "a", "day": 1})),
            "a: `day`: unknown field `day`, expected `days` or `pause`"
        );
        assert_eq!(
            told(json!({"type": "a", "pause": "soon"})),
            "a: `pause`: invalid duration \"soon\"; use a number and a unit, such as \"60s\" or \"5m\""
        );
        let chosen = Chosen::of(&json!("acme"), "usual");
        assert!(chosen.not_built().contains("--features acme"));
    }
}
