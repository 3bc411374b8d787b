//! Declarations of the adapters, as data: their types, and which of their settings change what is delivered.

use serde_json::{Value, json};

/// Declaration of one adapter.
pub struct Spec {
    /// Name of the type, by which an entry chooses the adapter.
    pub kind: &'static str,
    /// Settings with a default, and settings that change only how the adapter works.
    pub settings: &'static [Setting],
}

/// A setting of an adapter.
pub struct Setting {
    pub name: &'static str,
    /// Default value as JSON text; `None` if the setting has no default.
    pub default: Option<&'static str>,
    /// Whether the setting changes only how the adapter works, not what it delivers.
    pub pace: bool,
}

/// The adapters of one kind.
pub struct Catalog {
    /// Default type; `None` if the default depends on the rest of the entry.
    pub default: Option<&'static str>,
    /// Sentence about the default for the JSON Schema; empty if `default` alone explains it.
    pub about: &'static str,
    /// Settings that every type has.
    pub common: &'static [Setting],
    /// Declarations of the types that have settings with a default, or settings that do not change what is
    /// delivered.
    pub specs: &'static [&'static Spec],
}

impl Catalog {
    /// Returns whether this setting with this value has no effect on what an adapter of type `kind` delivers.
    pub fn is_idle(&self, kind: &Value, name: &str, value: &Value) -> bool {
        let spec = self.specs.iter().find(|spec| kind == spec.kind);
        let own = spec.map_or(&[][..], |spec| spec.settings);
        let setting = self.common.iter().chain(own).find(|setting| setting.name == name);
        setting.is_some_and(|setting| setting.pace || setting.has_default(value))
    }

    /// Returns the default type as the JSON value of a state file.
    pub fn default(&self) -> Option<Value> {
        self.default.map(|kind| json!(kind))
    }
}

impl Setting {
    fn has_default(&self, value: &Value) -> bool {
        self.default.is_some_and(|default| serde_json::from_str(default).ok().as_ref() == Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAYS: Setting = Setting { name: "days", default: Some("1"), pace: false };
    const RETRY: Setting = Setting { name: "retry", default: Some("true"), pace: true };
    const SHIFTS: Spec = Spec { kind: "shifts", settings: &[DAYS] };
    const CATALOG: Catalog = Catalog { default: None, about: "", common: &[RETRY], specs: &[&SHIFTS] };

    #[test]
    fn a_setting_is_idle_if_it_has_its_default_or_concerns_the_pace() {
        for (kind, name, value, idle) in [
            ("shifts", "days", json!(1), true),
            ("shifts", "days", json!(2), false),
            ("other", "days", json!(1), false),
            ("shifts", "retry", json!(false), true),
            ("other", "retry", json!(false), true),
            ("shifts", "hours", json!(1), false),
        ] {
            assert_eq!(CATALOG.is_idle(&json!(kind), name, &value), idle, "{kind} {name} {value}");
        }
    }
}
