//! A request after its query was checked against the declaration of its route. Pure.

use std::{collections::BTreeMap, ops::RangeInclusive};

use url::form_urlencoded;

use super::problem::{BAD_QUERY, Problem};

/// A parameter in the query of a route.
#[derive(Debug)]
pub struct Parameter {
    pub name: &'static str,
    /// What it means, for the description of the API.
    pub about: &'static str,
    pub kind: Kind,
}

/// The values of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// A whole number in a range, and the default.
    Number(RangeInclusive<u64>, u64),
    /// `true` or `false`, and the default.
    Flag(bool),
}

/// The values of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Call {
    /// The part of the path that stands for an id.
    pub id: String,
    values: BTreeMap<&'static str, Value>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Text(String),
    Number(u64),
    Flag(bool),
}

impl Call {
    /// Reads a query.
    ///
    /// # Errors
    ///
    /// A parameter is unknown, is there twice, or has a value that it can't have.
    pub fn read(id: String, query: &str, declared: &[Parameter]) -> Result<Self, Problem> {
        let mut given = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let Some(parameter) = declared.iter().find(|parameter| parameter.name == name) else {
                return Err(Problem::new(BAD_QUERY, unknown(&name, declared)));
            };
            if given.insert(parameter.name, value.into_owned()).is_some() {
                return Err(Problem::new(BAD_QUERY, format!("`{name}` is there twice; remove one")));
            }
        }
        let mut call = Call { id, values: BTreeMap::new() };
        for parameter in declared {
            if let Some(value) = parameter.value(given.remove(parameter.name))? {
                call.values.insert(parameter.name, value);
            }
        }
        Ok(call)
    }

    /// Returns a text, if the request has it.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.values.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Returns a number that the route declares.
    pub fn number(&self, name: &str) -> usize {
        match self.values.get(name) {
            Some(Value::Number(number)) => usize::try_from(*number).unwrap_or(usize::MAX),
            _ => 0,
        }
    }

    /// Returns a flag that the route declares.
    pub fn flag(&self, name: &str) -> bool {
        self.values.get(name) == Some(&Value::Flag(true))
    }
}

impl Parameter {
    /// Reads the value that a request has given, or returns the default; `None` for a text that is not given.
    fn value(&self, given: Option<String>) -> Result<Option<Value>, Problem> {
        let must = match (&self.kind, &given) {
            (Kind::Text, None) => return Ok(None),
            (Kind::Number(_, default), None) => return Ok(Some(Value::Number(*default))),
            (Kind::Flag(default), None) => return Ok(Some(Value::Flag(*default))),
            (Kind::Text, Some(text)) if !text.is_empty() => return Ok(Some(Value::Text(text.clone()))),
            (Kind::Text, Some(_)) => "a text that is not empty".to_owned(),
            (Kind::Number(range, _), Some(text)) => match text.parse() {
                Ok(number) if range.contains(&number) => return Ok(Some(Value::Number(number))),
                _ => format!("a whole number from {} to {}", range.start(), range.end()),
            },
            (Kind::Flag(_), Some(text)) => match text.parse() {
                Ok(flag) => return Ok(Some(Value::Flag(flag))),
                Err(_) => "true or false".to_owned(),
            },
        };
        let (name, given) = (self.name, given.unwrap_or_default());
        Err(Problem::new(BAD_QUERY, format!("`{name}` must be {must}, not {given:?}")))
    }
}

fn unknown(name: &str, declared: &[Parameter]) -> String {
    let known: Vec<String> = declared.iter().map(|parameter| format!("`{}`", parameter.name)).collect();
    match known.is_empty() {
        true => format!("unknown parameter {name:?}; this path has none"),
        false => format!("unknown parameter {name:?}, expected one of {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECLARED: [Parameter; 3] = [
        Parameter { name: "list", about: "", kind: Kind::Text },
        Parameter { name: "limit", about: "", kind: Kind::Number(1..=100, 20) },
        Parameter { name: "wait", about: "", kind: Kind::Flag(true) },
    ];

    fn read(query: &str) -> Result<Call, Problem> {
        Call::read(String::new(), query, &DECLARED)
    }

    #[test]
    fn values_are_read_and_have_their_defaults() {
        let call = read("").unwrap();
        assert_eq!((call.text("list"), call.number("limit"), call.flag("wait")), (None, 20, true));
        let call = read("limit=100&wait=false&list=a%20b%26").unwrap();
        assert_eq!((call.text("list"), call.number("limit"), call.flag("wait")), (Some("a b&"), 100, false));
    }

    #[test]
    fn a_bad_query_is_named_with_what_is_expected() {
        for (query, detail) in [
            ("limit=0", "`limit` must be a whole number from 1 to 100, not \"0\""),
            ("limit=101", "`limit` must be a whole number from 1 to 100, not \"101\""),
            ("limit=-1", "`limit` must be a whole number from 1 to 100, not \"-1\""),
            ("limit=", "`limit` must be a whole number from 1 to 100, not \"\""),
            ("limit=1e1", "`limit` must be a whole number from 1 to 100, not \"1e1\""),
            ("wait=no", "`wait` must be true or false, not \"no\""),
            ("wait", "`wait` must be true or false, not \"\""),
            ("list=", "`list` must be a text that is not empty, not \"\""),
            ("limit=5&limit=6", "`limit` is there twice; remove one"),
            ("lists=a", "unknown parameter \"lists\", expected one of `list`, `limit`, `wait`"),
        ] {
            assert_eq!(read(query).unwrap_err(), Problem::new(BAD_QUERY, detail), "{query}");
        }
        let none = Call::read(String::new(), "a=b", &[]).unwrap_err();
        assert_eq!(none.detail, "unknown parameter \"a\"; this path has none");
    }
}
