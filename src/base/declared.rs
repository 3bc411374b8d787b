//! Fields of an entry that belong to an adapter. The adapter declares them; whoever reads the state file knows only the
//! declaration, and keeps the values as they stand there.

use std::collections::BTreeMap;

use serde_json::{Map, Value, value::RawValue};

use super::consent::Policy;

/// What an adapter declares of its fields.
pub struct Declared {
    pub fields: &'static [EntryField],
    /// Brings the fields among the settings of an entry of the list into one spelling and takes out defaults. The folder of the
    /// entry is named by the result, so that a change of this function loses the checkpoints of all entries.
    pub normalize: fn(list_id: &str, &mut Map<String, Value>),
    pub names: fn(Policy, &Values) -> Names,
}

/// A field of an entry.
pub struct EntryField {
    pub name: &'static str,
    pub about: &'static str,
    pub schema: fn() -> Value,
    pub check: Check,
}

/// How a value is checked.
pub enum Check {
    /// As a whole. An error says what the value must be.
    Whole(fn(&Value) -> Result<(), String>),
    /// As an object whose members are checked one by one, by name and value.
    Members(fn(&str, &Value) -> Result<(), Wrong>),
}

/// What is wrong with a member of an object.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Its name, for the reason given.
    Name(String),
    /// Its value.
    Value {
        /// The key of the part that is wrong, if the value is an object and not wrong as a whole.
        within: Option<&'static str>,
        /// What the part must be.
        expected: String,
    },
}

/// The values that an entry gives to declared fields, each of which has passed its check.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values(pub BTreeMap<&'static str, Raw>);

/// A value as it stands in the state file.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    Whole(Value),
    /// In the order of the file.
    Members(Vec<(String, Value)>),
}

impl Values {
    /// Returns the text of a field; `None` if the entry does not set the field.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.0.get(name)? {
            Raw::Whole(value) => value.as_str().map(str::to_owned),
            Raw::Members(_) => None,
        }
    }

    /// Returns the members of a field; none if the entry does not set the field.
    pub fn members(&self, name: &str) -> &[(String, Value)] {
        match self.0.get(name) {
            Some(Raw::Members(members)) => members,
            _ => &[],
        }
    }
}

/// What the values contribute to the names under which runs and their baselines are kept.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Keys whose order changes what is delivered, in the order of the file.
    pub order: Vec<String>,
    /// What decides besides the [`Policy`] whose consent is passed on.
    pub consent: Value,
    /// The settings in the form that older versions wrote.
    pub former: Box<RawValue>,
}

/// The pattern of a name without spaces, such as an id.
pub const NAME: &str = "^[^\\s\\p{Cc}]+$";

/// Returns whether a text is a name as in [`NAME`].
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}
