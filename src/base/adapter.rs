//! The choice of a source, mapping or sink in an entry: a type name, or an object with `type` and settings.

use std::{collections::BTreeMap, sync::Arc};

use chrono::TimeDelta;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{
    secret::Secret,
    spec::{Setting, is_note},
    time,
};

/// The type that an entry chose, and its settings.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// Name of the type.
    pub kind: String,
    /// The settings, without the user's notes.
    pub settings: Map<String, Value>,
    /// Paths of all members of the settings, in the order of the file; empty if the order is unknown.
    pub order: Arc<[Vec<String>]>,
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
                settings.retain(|name, _| !is_note(name));
                let kind = settings.remove("type");
                Chosen::new(kind.as_ref().and_then(Value::as_str).unwrap_or(default), settings)
            }
            said => Chosen::new(said.as_str().unwrap_or(default), Map::new()),
        }
    }

    fn new(kind: &str, settings: Map<String, Value>) -> Self {
        let order = Arc::default();
        Chosen { kind: kind.to_owned(), settings, order, credentials: BTreeMap::new(), secrets: vec![] }
    }

    /// Returns the position in the file of the member at this path, among all members; `None` if it is unknown.
    pub fn position(&self, path: &[&str]) -> Option<usize> {
        self.order.iter().position(|known| known == path)
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

    /// Reads the settings of the adapter. An absent setting has the default of its declaration.
    ///
    /// # Errors
    ///
    /// A setting is unknown, missing or of the wrong type. The message names the type and the setting.
    pub fn settings<T: DeserializeOwned>(&self, known: &[Setting]) -> Result<T, String> {
        let mut settings = self.settings.clone();
        for (name, default) in
            known.iter().filter_map(|setting| Some((setting.name, setting.default_value()?)))
        {
            settings.entry(name).or_insert(default);
        }
        let settings = Value::Object(settings);
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
        not_built(&self.kind)
    }
}

/// Returns the message for a feature that this build does not contain.
pub fn not_built(kind: &str) -> String {
    format!(
        "this build has no `{kind}`; run IMPORTER_FEATURES={kind} ./run.sh go, rebuild with cargo build --release \
             --features {kind}, or build the Docker image with --build-arg FEATURES={kind}"
    )
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
    use crate::base::spec::ValueKind;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        days: u16,
        pause: Option<Span>,
    }

    const SETTINGS: [Setting; 1] =
        [Setting::new("days", ValueKind::Whole { least: 0, most: None }, "").default("1")];

    #[test]
    fn a_bare_type_has_default_settings_and_notes_are_ignored() {
        for (said, kind, days) in [
            (json!(null), "usual", 1),
            (json!("other"), "other", 1),
            (json!({"type": "other", "days": 3, "x-why": "so", "_": 1}), "other", 3),
        ] {
            let chosen = Chosen::of(&said, "usual");
            let Settings { days: found, pause } = chosen.settings(&SETTINGS).unwrap();
            assert_eq!((chosen.kind.as_str(), found, pause), (kind, days, None));
        }
    }

    #[test]
    fn an_error_names_the_type_and_the_setting() {
        let told = |said: Value| Chosen::of(&said, "usual").settings::<Settings>(&SETTINGS).unwrap_err();
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
