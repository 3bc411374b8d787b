//! Declarations of the adapters, as data: types, settings and variables. One constant per adapter feeds the reader
//! of the state file, the JSON Schema, the help, the references and the documents.

use serde_json::{Value, json};

use super::account::{ACCOUNT_PATTERN, is_account, of_account};

/// Declaration of one adapter.
pub struct Spec {
    /// Name of the type, by which an entry chooses the adapter.
    pub kind: &'static str,
    /// One line about the adapter.
    pub about: &'static str,
    /// The settings of this type.
    pub settings: &'static [Setting],
    /// Variables of the environment, which belong to an account. An adapter without any has no account.
    pub variables: &'static [Variable],
    /// Records or payloads that the adapter needs; `None` if it takes any.
    pub takes: Option<&'static str>,
    /// What the adapter makes; sinks make nothing.
    pub makes: Makes,
    /// Fields of an entry that only this adapter reads.
    pub fields: &'static [&'static str],
}

/// What a source or a mapping makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Makes {
    /// Things of this kind, such as `members`.
    Only(&'static str),
    /// What it gets, unchanged.
    Same,
    /// What its settings say.
    Any,
    Nothing,
}

impl Spec {
    /// Declares an adapter without settings, variables and needs.
    pub const fn new(kind: &'static str, about: &'static str) -> Self {
        let (settings, variables, fields): (&[Setting], &[Variable], &[&str]) = (&[], &[], &[]);
        Spec { kind, about, settings, variables, takes: None, makes: Makes::Nothing, fields }
    }
}

/// A setting of an adapter.
pub struct Setting {
    pub name: &'static str,
    /// One line about the setting, for the JSON Schema.
    pub about: &'static str,
    pub kind: ValueKind,
    /// Default value as JSON text; `None` if the setting has no default.
    pub default: Option<&'static str>,
    pub required: bool,
    /// Whether the setting changes only how the adapter works, not what it delivers.
    pub pace: bool,
    /// Whether another value can select another list or another destination. True for credentials.
    pub identifies: bool,
    pub secrecy: Secrecy,
    /// Beginning of the values of a credential setting that are no credential, so that the state file may contain
    /// them; `None`: the setting is always a reference.
    pub literal: Option<&'static str>,
}

/// Who may see the value of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrecy {
    /// Anybody: messages may contain the value.
    Open,
    /// A value that may contain a secret, such as an address. The adapter keeps it out of messages, and sends what
    /// was read from a file only to hosts that the environment names.
    Private,
    /// A credential, which the state file only refers to. Contains the name of the variable that is read if an entry
    /// does not set it.
    Credential(&'static str),
}

impl Setting {
    /// Declares an optional setting without default.
    pub const fn new(name: &'static str, kind: ValueKind, about: &'static str) -> Self {
        let (default, required, pace, identifies) = (None, false, false, false);
        let (secrecy, literal) = (Secrecy::Open, None);
        Setting { name, about, kind, default, required, pace, identifies, secrecy, literal }
    }

    pub const fn default(self, json: &'static str) -> Self {
        Setting { default: Some(json), ..self }
    }

    pub const fn required(self) -> Self {
        Setting { required: true, ..self }
    }

    pub const fn pace(self) -> Self {
        Setting { pace: true, ..self }
    }

    pub const fn identifies(self) -> Self {
        Setting { identifies: true, ..self }
    }

    pub const fn private(self) -> Self {
        Setting { secrecy: Secrecy::Private, ..self }
    }

    pub const fn credential(self, variable: &'static str) -> Self {
        Setting { secrecy: Secrecy::Credential(variable), identifies: true, ..self }
    }

    /// Lets the state file contain values of a credential setting that begin like this.
    pub const fn or_literal(self, beginning: &'static str) -> Self {
        Setting { literal: Some(beginning), ..self }
    }

    /// Returns whether a text is no credential, although the setting is one.
    pub fn is_literal(&self, text: &str) -> bool {
        self.literal.is_some_and(|beginning| text.starts_with(beginning))
    }

    /// Returns the default as a JSON value; `None` if there is none.
    pub fn default_value(&self) -> Option<Value> {
        self.default.and_then(|default| serde_json::from_str(default).ok())
    }
}

/// The values that a setting may have.
pub enum ValueKind {
    /// True or false.
    Flag,
    /// A whole number within bounds.
    Whole {
        least: u64,
        most: Option<u64>,
    },
    /// A number within bounds.
    Number {
        least: f64,
        most: f64,
    },
    /// Any text.
    Text,
    /// A text that matches a pattern of JSON Schema.
    Pattern(&'static str),
    /// One of these words.
    Word(&'static [&'static str]),
    Null,
    List(&'static ValueKind),
    /// An object with these members.
    Object(&'static [Setting]),
    /// An object whose names the user chooses.
    Map(&'static ValueKind),
    /// One of several: the first that fits counts.
    Either(&'static [ValueKind]),
    /// Any JSON value.
    Any,
}

impl ValueKind {
    /// Returns whether every text is a valid value, so that a wrong text, such as a secret, is not rejected.
    pub fn takes_any_text(&self) -> bool {
        match self {
            ValueKind::Text | ValueKind::Pattern(_) | ValueKind::Any => true,
            ValueKind::Either(kinds) => kinds.iter().any(ValueKind::takes_any_text),
            _ => false,
        }
    }

    /// Reads a text from outside the state file as a value; `None` if it is none. A list and an object are written
    /// as JSON.
    pub fn parse(&self, text: &str) -> Option<Value> {
        let json = || serde_json::from_str::<Value>(text.trim()).ok();
        match self {
            ValueKind::Text | ValueKind::Pattern(_) | ValueKind::Any => Some(text.into()),
            ValueKind::Word(words) => words.contains(&text).then(|| text.into()),
            ValueKind::Flag => json().filter(Value::is_boolean),
            ValueKind::Whole { least, most } => {
                let fits = |number: u64| number >= *least && most.is_none_or(|most| number <= most);
                json().filter(|value| value.as_u64().is_some_and(fits))
            }
            ValueKind::Number { least, most } => {
                json().filter(|value| value.as_f64().is_some_and(|number| (*least..=*most).contains(&number)))
            }
            ValueKind::Null => json().filter(Value::is_null),
            ValueKind::List(_) => json().filter(Value::is_array),
            ValueKind::Object(_) | ValueKind::Map(_) => json().filter(Value::is_object),
            ValueKind::Either(kinds) => kinds.iter().find_map(|kind| kind.parse(text)),
        }
    }

    /// Describes the values: completes "must be …".
    pub fn expected(&self) -> String {
        match self {
            ValueKind::Text | ValueKind::Pattern(_) | ValueKind::Any => "a text".to_owned(),
            ValueKind::Word(words) => format!("one of {}", words.join(", ")),
            ValueKind::Flag => "true or false".to_owned(),
            ValueKind::Whole { least, most: None } => format!("a whole number of at least {least}"),
            ValueKind::Whole { least, most: Some(most) } => format!("a whole number from {least} to {most}"),
            ValueKind::Number { least, most } => format!("a number from {least} to {most}"),
            ValueKind::Null => "null".to_owned(),
            ValueKind::List(_) => "a JSON array".to_owned(),
            ValueKind::Object(_) | ValueKind::Map(_) => "a JSON object".to_owned(),
            ValueKind::Either(kinds) => {
                kinds.iter().map(ValueKind::expected).collect::<Vec<_>>().join(", or ")
            }
        }
    }
}

/// A variable of the environment.
pub struct Variable {
    pub name: &'static str,
    /// One line about the variable, for the help.
    pub about: &'static str,
    /// Value that counts if the variable is not set, or a description of it.
    pub default: Option<&'static str>,
    /// Whether the value is secret: no output contains it, and only credential settings of this adapter read it.
    pub credential: bool,
}

impl Variable {
    /// Declares a variable without default.
    pub const fn new(name: &'static str, about: &'static str) -> Self {
        Variable { name, about, default: None, credential: false }
    }

    pub const fn default(self, value: &'static str) -> Self {
        Variable { default: Some(value), ..self }
    }

    pub const fn credential(self) -> Self {
        Variable { credential: true, ..self }
    }

    /// Returns the name of the variable of an account.
    pub fn of(&self, account: Option<&str>) -> String {
        of_account(self.name, account)
    }

    /// Returns whether `name` is this variable, or that of an account.
    pub fn is(&self, name: &str) -> bool {
        let rest = name.strip_prefix(self.name);
        let account = |rest: &str| {
            let suffix = rest.strip_prefix('_');
            suffix.is_some_and(|suffix| suffix == suffix.to_uppercase() && is_account(&suffix.to_lowercase()))
        };
        rest.is_some_and(|rest| rest.is_empty() || account(rest))
    }
}

/// Name of the setting that chooses an account.
pub const ACCOUNT: &str = "account";

/// The setting that chooses an account, of every source and every sink.
pub const ACCOUNT_SETTING: Setting = Setting::new(
    ACCOUNT,
    ValueKind::Pattern(ACCOUNT_PATTERN),
    "Name of the account: its variables end in the name, in upper case, such as ACME_KEY_EU for eu.",
)
.identifies();

/// The adapters of one kind.
pub struct Catalog {
    /// Default type; `None` if the default depends on the rest of the entry.
    pub default: Option<&'static str>,
    /// Sentence about the default for the JSON Schema; empty if `default` alone explains it.
    pub about: &'static str,
    /// Settings that every type has.
    pub common: &'static [Setting],
    /// Declarations of all types.
    pub specs: &'static [&'static Spec],
}

impl Catalog {
    /// Returns the declaration of a type; `None` if there is no such type.
    pub fn spec(&self, kind: &str) -> Option<&'static Spec> {
        self.specs.iter().find(|spec| spec.kind == kind).copied()
    }

    /// Returns the names of all types.
    pub fn kinds(&self) -> Vec<&'static str> {
        self.specs.iter().map(|spec| spec.kind).collect()
    }

    /// Returns the settings of a type, then those that every type has.
    pub fn settings(&self, spec: Option<&'static Spec>) -> impl Iterator<Item = &'static Setting> {
        spec.map_or(&[][..], |spec| spec.settings).iter().chain(self.common)
    }

    /// Returns whether this setting with this value has no effect on what an adapter of type `kind` delivers.
    pub fn is_idle(&self, kind: &Value, name: &str, value: &Value) -> bool {
        let spec = kind.as_str().and_then(|kind| self.spec(kind));
        let setting = self.settings(spec).find(|setting| setting.name == name);
        setting.is_some_and(|setting| setting.pace || setting.default_value().as_ref() == Some(value))
    }

    /// Returns the default type as the JSON value of a state file.
    pub fn default(&self) -> Option<Value> {
        self.default.map(|kind| json!(kind))
    }

    /// Returns the message for a type that does not exist.
    pub fn unknown(&self, kind: &str) -> String {
        let known = self.kinds();
        let near = nearest(kind, known.iter().copied()).map(|near| format!("; did you mean \"{near}\"?"));
        format!("unknown type {kind:?}, expected one of {}{}", known.join(", "), near.unwrap_or_default())
    }
}

/// Returns the known name that a typo is nearest to; `None` if none is near.
pub fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let distance = |known: &&str| strsim::damerau_levenshtein(known, &name.to_lowercase());
    known.min_by_key(distance).filter(|known| distance(known) <= 1 + known.len() / 4)
}

/// Prefixes of keys that are the user's own notes.
pub const NOTES: [&str; 2] = ["x-", "_"];

/// Returns whether the name of a setting is a note of the user.
pub fn is_note(name: &str) -> bool {
    NOTES.iter().any(|note| name.starts_with(note))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAYS: Setting = Setting::new("days", ValueKind::Whole { least: 0, most: None }, "").default("1");
    const RETRY: Setting = Setting::new("retry", ValueKind::Flag, "").default("true").pace();
    const SHIFTS: Spec = Spec { settings: &[DAYS], ..Spec::new("shifts", "") };
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

    #[test]
    fn an_unknown_type_is_named_with_the_known_ones_and_the_nearest() {
        for (kind, message) in [
            ("acme", "unknown type \"acme\", expected one of shifts"),
            ("shfits", "unknown type \"shfits\", expected one of shifts; did you mean \"shifts\"?"),
        ] {
            assert_eq!(CATALOG.unknown(kind), message);
        }
    }

    #[test]
    fn a_variable_belongs_to_an_account_by_its_suffix() {
        let key = Variable::new("ACME_KEY", "");
        assert_eq!((key.of(None), key.of(Some("eu_2"))), ("ACME_KEY".to_owned(), "ACME_KEY_EU_2".to_owned()));
        for (name, is) in [
            ("ACME_KEY", true),
            ("ACME_KEY_EU_2", true),
            ("ACME_KEY_", false),
            ("ACME_KEYS", false),
            ("ACME_KEY_eu", false),
            ("ACME_KEY_2", false),
            ("ACME_KEY_FILE", false),
            ("ACME_KEY_EU_FILE", false),
            ("ACME", false),
        ] {
            assert_eq!(key.is(name), is, "{name}");
        }
    }
}
