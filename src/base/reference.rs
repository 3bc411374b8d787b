//! References in the settings of an adapter: `{"env": "NAME"}`, `{"env": "NAME", "default": …}` or `{"file": "NAME"}`
//! in the place of a value. Finds them by the declared kinds of the settings, and replaces them. Pure: a caller looks
//! the texts up.

use serde_json::{Map, Value};

use super::spec::{Secrecy, Setting, ValueKind, nearest};

/// A reference, as the state file spells it.
#[derive(Debug, Clone, PartialEq)]
pub enum Reference {
    /// A variable of the environment.
    Env { name: String, default: Option<Value> },
    /// A file below the folder of secrets.
    File(String),
}

/// Keys of a reference.
const ENV: &str = "env";
const DEFAULT: &str = "default";
const FILE: &str = "file";

impl Reference {
    /// Reads a reference; `None` if the value is none.
    pub fn read(value: &Value) -> Option<Self> {
        let object = value.as_object()?;
        let text = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
        match (object.len(), text(ENV), object.get(DEFAULT), text(FILE)) {
            (1, Some(name), None, None) => Some(Reference::Env { name, default: None }),
            (2, Some(name), Some(default), None) => {
                Some(Reference::Env { name, default: Some(default.clone()) })
            }
            (1, None, None, Some(name)) => Some(Reference::File(name)),
            _ => None,
        }
    }
}

/// A setting in which a reference stands.
#[derive(Debug, Clone)]
pub struct Place {
    /// Names and positions that lead to the value, separated by dots.
    pub path: String,
    /// Secrecy of the setting, or of the one that contains it.
    pub secrecy: Secrecy,
    /// Whether the setting, or the one that contains it, changes only how the adapter works.
    pub pace: bool,
    /// Whether the value is a text of any form, which could repeat a secret.
    pub text: bool,
}

/// Why settings can't be used.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure<E> {
    /// A setting is unknown, or a credential or a reference is malformed. The text names the setting.
    Invalid(String),
    /// The text of a reference can't be looked up.
    Lookup(E),
}

/// Looks up what a reference stands for, and takes the value.
pub trait Lookup {
    type Error;

    /// Returns the text of a reference; `None` if it is absent and the default counts.
    ///
    /// # Errors
    ///
    /// The reference is not permitted in this place, or there is no text.
    fn text(&mut self, place: &Place, reference: &Reference) -> Result<Option<String>, Self::Error>;

    /// Makes the error of a text that is not as `expected`.
    fn mismatch(&self, place: &Place, reference: &Reference, expected: &str) -> Self::Error;

    /// Returns the variable of the entry's account, for a hint.
    fn variable(&self, name: &str) -> String;

    /// Takes the value of a credential, which is removed from the settings.
    fn credential(&mut self, place: &Place, text: String);

    /// Notes the value that a reference was replaced with.
    fn replaced(&mut self, place: &Place, reference: &Reference, value: &Value);
}

/// Replaces all references in the settings of an adapter, and removes credentials.
///
/// # Errors
///
/// A setting is unknown at any depth, a credential is no reference, or a reference is malformed or can't be looked
/// up.
pub fn resolve<L: Lookup>(
    settings: &mut Map<String, Value>,
    known: &[&'static Setting],
    lookup: &mut L,
) -> Result<(), Failure<L::Error>> {
    let outer = Place { path: String::new(), secrecy: Secrecy::Open, pace: false, text: false };
    Resolver(lookup).members(settings, known, &outer)
}

struct Resolver<'a, L>(&'a mut L);

impl<L: Lookup> Resolver<'_, L> {
    fn members(
        &mut self,
        object: &mut Map<String, Value>,
        known: &[&'static Setting],
        outer: &Place,
    ) -> Result<(), Failure<L::Error>> {
        let names: Vec<String> = object.keys().cloned().collect();
        for name in names {
            let path = joined(&outer.path, &name);
            let Some(setting) = known.iter().find(|setting| setting.name == name) else {
                return Err(Failure::Invalid(unknown(&path, &outer.path, &name, known)));
            };
            let secrecy = if setting.secrecy == Secrecy::Open { outer.secrecy } else { setting.secrecy };
            let place = Place { path, secrecy, pace: outer.pace || setting.pace, text: false };
            match (secrecy, object.get_mut(&name)) {
                (_, Some(Value::String(text))) if setting.is_literal(text) => {}
                (Secrecy::Credential(variable), Some(value)) => {
                    self.credential(value, place, variable)?;
                    object.remove(&name);
                }
                (_, Some(value)) => self.value(&setting.kind, value, place)?,
                (_, None) => {}
            }
        }
        Ok(())
    }

    fn credential(
        &mut self,
        value: &Value,
        place: Place,
        variable: &'static str,
    ) -> Result<(), Failure<L::Error>> {
        let hint = self.0.variable(variable);
        let refused = || {
            let path = &place.path;
            Failure::Invalid(format!(
                "`{path}` must not be in the state file; write \"{path}\": {{\"env\": \"{hint}\"}} and set that variable"
            ))
        };
        // A default would be a credential in the state file.
        let reference = Reference::read(value)
            .filter(|reference| !matches!(reference, Reference::Env { default: Some(_), .. }));
        let reference = reference.ok_or_else(refused)?;
        if let Some(text) = self.0.text(&place, &reference).map_err(Failure::Lookup)? {
            self.0.credential(&place, text);
        }
        Ok(())
    }

    /// Replaces a value if it is a reference, and otherwise the references in it.
    fn value(
        &mut self,
        kind: &'static ValueKind,
        value: &mut Value,
        place: Place,
    ) -> Result<(), Failure<L::Error>> {
        if let Some(reference) = reference(kind, value, &place)? {
            return self.replace(kind, value, place, &reference);
        }
        match (part(kind, value), value) {
            (Some(ValueKind::Object(known)), Value::Object(object)) => {
                let known: Vec<&'static Setting> = known.iter().collect();
                self.members(object, &known, &place)
            }
            (Some(ValueKind::Map(kind)), Value::Object(object)) => {
                let mut members = object.iter_mut();
                members.try_for_each(|(name, value)| self.value(kind, value, inner(&place, name)))
            }
            (Some(ValueKind::List(kind)), Value::Array(values)) => {
                let mut values = values.iter_mut().enumerate();
                values
                    .try_for_each(|(index, value)| self.value(kind, value, inner(&place, &index.to_string())))
            }
            _ => Ok(()),
        }
    }

    fn replace(
        &mut self,
        kind: &'static ValueKind,
        value: &mut Value,
        place: Place,
        reference: &Reference,
    ) -> Result<(), Failure<L::Error>> {
        let place = Place { text: kind.takes_any_text(), ..place };
        let text = self.0.text(&place, reference).map_err(Failure::Lookup)?;
        *value = match (text, reference) {
            (Some(text), _) => kind
                .parse(&text)
                .ok_or_else(|| Failure::Lookup(self.0.mismatch(&place, reference, &kind.expected())))?,
            (None, Reference::Env { default: Some(default), .. }) => default.clone(),
            (None, _) => Value::Null,
        };
        self.0.replaced(&place, reference, value);
        Ok(())
    }
}

/// Returns the value as a reference; `None` if it is none. In objects whose names the user chooses, `env` and
/// `file` are ordinary names.
fn reference<E>(kind: &ValueKind, value: &Value, place: &Place) -> Result<Option<Reference>, Failure<E>> {
    let Some(object) = value.as_object().filter(|_| !matches!(kind, ValueKind::Map(_))) else {
        return Ok(None);
    };
    let reference = Reference::read(value);
    let meant = !matches!(kind, ValueKind::Any) && (object.contains_key(ENV) || object.contains_key(FILE));
    if reference.is_none() && meant {
        return Err(Failure::Invalid(format!(
            "`{}` must be a value, or a reference {{\"env\": \"NAME\"}}, {{\"env\": \"NAME\", \"default\": …}} or {{\"file\": \"NAME\"}}",
            place.path
        )));
    }
    Ok(reference)
}

/// Returns the kind of the object or list that the value is; `None` for any other value.
fn part(kind: &'static ValueKind, value: &Value) -> Option<&'static ValueKind> {
    let fits = |kind: &&'static ValueKind| match kind {
        ValueKind::Object(_) | ValueKind::Map(_) => value.is_object(),
        ValueKind::List(_) => value.is_array(),
        _ => false,
    };
    match kind {
        ValueKind::Either(kinds) => kinds.iter().find(fits),
        kind => Some(kind).filter(fits),
    }
}

fn inner(place: &Place, name: &str) -> Place {
    Place { path: joined(&place.path, name), ..place.clone() }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Returns the message for an unknown setting, with the nearest known name, or all of them.
fn unknown(path: &str, outer: &str, name: &str, known: &[&'static Setting]) -> String {
    let names = known.iter().map(|setting| setting.name);
    if let Some(near) = nearest(name, names.clone()) {
        return format!("unknown setting `{path}`; did you mean `{}`?", joined(outer, near));
    }
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match names[..] {
        [] => format!("unknown setting `{path}`; this type has no settings"),
        _ => format!("unknown setting `{path}`, expected one of {}", names.join(", ")),
    }
}

#[cfg(test)]
#[path = "reference_tests.rs"]
mod tests;
