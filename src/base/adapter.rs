//! How an entry chooses a third party or a mapping: by a type, or by an object with the type and its settings.

use chrono::TimeDelta;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::time;

/// Names that begin like this are the user's own notes.
pub const NOTES: [&str; 2] = ["x-", "_"];

/// What an entry has chosen.
#[derive(Debug, Clone)]
pub struct Chosen {
    pub kind: String,
    settings: Map<String, Value>,
    /// What besides them may be set, whatever the type.
    common: Vec<&'static str>,
}

impl Chosen {
    /// `default`: the type if nothing is said.
    pub fn of(said: &Value, default: &str) -> Self {
        match said {
            Value::Object(said) => {
                let mut settings = said.clone();
                settings.retain(|name, _| !NOTES.iter().any(|note| name.starts_with(note)));
                let kind = settings.remove("type");
                Chosen {
                    kind: kind.as_ref().and_then(Value::as_str).unwrap_or(default).to_owned(),
                    settings,
                    common: vec![],
                }
            }
            said => Chosen {
                kind: said.as_str().unwrap_or(default).to_owned(),
                settings: Map::new(),
                common: vec![],
            },
        }
    }

    /// One setting, if it is there; it is none of the adapter's then.
    pub fn take<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<Option<T>, String> {
        self.common.push(name);
        let Some(value) = self.settings.remove(name) else { return Ok(None) };
        serde_json::from_value(value).map(Some).map_err(|error| format!("`{name}`: {error}"))
    }

    /// All settings, as the adapter knows them.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, String> {
        let settings = Value::Object(self.settings.clone());
        serde_path_to_error::deserialize(settings).map_err(|error| {
            let (path, mut why) = (error.path().to_string(), error.inner().to_string());
            if why.starts_with("unknown field") && !self.common.is_empty() {
                why += &format!("; and, as every type, {}", self.common.join(", "));
            }
            match path.as_str() {
                "." => format!("{}: {why}", self.kind),
                path => format!("{}: `{path}`: {why}", self.kind),
            }
        })
    }

    /// It is none of the types that there are.
    pub fn unknown(&self, known: &[&str]) -> String {
        format!("there is no type {:?}, only {}", self.kind, known.join(", "))
    }

    /// It is one that this program was built without.
    pub fn not_built(&self) -> String {
        let kind = &self.kind;
        format!(
            "{kind} is not in this build, but with the feature `{kind}`: IMPORTER_FEATURES={kind} ./run.sh go, or cargo build \
             --release --features {kind}; the Docker image has it"
        )
    }
}

/// The settings of an adapter that has none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

/// A length of time in the settings of an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub TimeDelta);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Value::deserialize(deserializer)?;
        let span = text.as_str().and_then(time::span).map(Span);
        span.ok_or_else(|| {
            serde::de::Error::custom(format!("{text} is no length of time such as \"60s\" or \"5m\""))
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
    fn a_bare_type_has_its_defaults_and_notes_are_the_users() {
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
    fn what_is_wrong_is_named() {
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
            "a: `pause`: \"soon\" is no length of time such as \"60s\" or \"5m\""
        );
        let chosen = Chosen::of(&json!("acme"), "usual");
        assert_eq!(chosen.unknown(&["a", "b"]), "there is no type \"acme\", only a, b");
        assert!(chosen.not_built().contains("--features acme"));
    }
}
