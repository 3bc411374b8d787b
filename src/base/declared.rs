//! Fields of an entry that belong to an adapter. The adapter declares them. The reader of the state file
//! knows only the declaration, and stores the values as the file spells them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, value::RawValue};

use super::consent::Policy;

/// Declaration of an adapter's fields.
pub struct Declared {
    pub fields: &'static [EntryField],
    /// Brings the declared fields among an entry's settings into one spelling and removes defaults. The
    /// result determines the name of the entry's folder, so a change of this function loses the checkpoints
    /// of all entries.
    pub normalize: fn(list_id: &str, &mut Map<String, Value>),
    /// Returns what the values contribute to the names of the entry.
    pub names: fn(Policy, &Values) -> Names,
}

/// A field of an entry.
pub struct EntryField {
    pub name: &'static str,
    /// Description for the JSON Schema.
    pub about: &'static str,
    /// Returns the JSON Schema of the value.
    pub schema: fn() -> Value,
    pub check: Check,
}

/// How a value is checked.
pub enum Check {
    /// Checks the value as a whole. An error says what the value has to be: it completes "`name` must be …".
    Whole(fn(&Value) -> Result<(), String>),
    /// Checks each member of an object by its name and value.
    Members(fn(&str, &Value) -> Result<(), Wrong>),
}

/// What is wrong with a member of an object.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The name. The text is the whole message.
    Name(String),
    /// The value.
    Value {
        /// Key of the wrong part if the value is an object; `None` if the value is wrong as a whole.
        within: Option<&'static str>,
        /// What the part has to be: completes "`name` must be …".
        expected: String,
    },
}

/// Values of the declared fields of an entry. Each has passed its check.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values(pub BTreeMap<&'static str, Raw>);

/// A value as the state file spells it.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    Whole(Value),
    /// Members of an object, in the order of the file.
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

/// Contribution of the values to the names under which runs and their baselines are stored.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Keys whose order changes what is delivered, in the order of the file.
    pub order: Vec<String>,
    /// Settings that, besides the [`Policy`], decide which consent claims are sent.
    pub consent: Value,
    /// The settings in the form that older versions wrote.
    pub former: Box<RawValue>,
}

/// Pattern of a name without spaces, such as an id. Control characters are listed, since not every validator knows
/// their class.
pub const NAME: &str = "^[^\\s\\x00-\\x1f\\x7f-\\x9f]+$";

/// Returns whether a text is a name as in [`NAME`].
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}
