//! Where the records are in a response: at a path, or where a jq expression (feature `jq`) finds them. Pure.

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

#[cfg(feature = "jq")]
use crate::base::jq::{Expression, Failure, Most};
use crate::base::{fault::Fault, json::Json, path::Path, unreadable::kind};

/// Upper bound of the records of a response. An expression that finds more is taken for one that never ends.
const MOST: usize = 500_000;
/// Upper bound of the length of the records that an expression finds.
#[cfg(feature = "jq")]
const MAX_BYTES: usize = 256 << 20;

/// The setting `records`.
pub enum Rows {
    At(Path),
    /// Each result is a record.
    #[cfg(feature = "jq")]
    Of(Expression),
}

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let code = value.as_object().filter(|object| object.len() == 1).and_then(|object| object.get("jq"));
        match (&value, code.and_then(Value::as_str)) {
            (Value::String(path), _) => Ok(Rows::At(Path::new(path.clone()))),
            (_, Some(code)) => Rows::of(code).map_err(D::Error::custom),
            _ => Err(D::Error::custom("use a path such as \"data\", or {\"jq\": \".data[]\"}")),
        }
    }
}

impl Rows {
    #[cfg(feature = "jq")]
    fn of(code: &str) -> Result<Self, String> {
        Expression::compile(code).map(Rows::Of)
    }

    #[cfg(not(feature = "jq"))]
    fn of(_: &str) -> Result<Self, String> {
        Err(crate::base::adapter::not_built("jq"))
    }

    /// Returns the records of a response.
    ///
    /// # Errors
    ///
    /// [`Fault::Retryable`]: there is no array at the path, or the expression failed.
    pub fn find(&self, answer: &Json, service: &str) -> Result<Vec<Json>, Fault> {
        match self {
            Rows::At(path) => at(answer, path, service).and_then(|records| match records.len() <= MOST {
                true => Ok(records),
                false => Err(Fault::retry(format!("{service}'s response has more than 500,000 records"))
                    .hint("request fewer records at a time (`items_per_request`)")),
            }),
            #[cfg(feature = "jq")]
            Rows::Of(expression) => expression
                .results(answer.get(), Most { results: MOST, bytes: MAX_BYTES })
                .map_err(|failure| {
                    let why = match failure {
                        Failure::Unreadable | Failure::Failed => "can't be read with the expression",
                        Failure::TooMany => {
                            "gives more than 500,000 records, or more than 256 MB, with the expression"
                        }
                        Failure::Unwritable => "gives a record that is not JSON with the expression",
                    };
                    Fault::retry(format!("{service}'s response {why}"))
                        .hint("if this persists, check `records`")
                }),
        }
    }
}

/// Returns the array at a path.
fn at(answer: &Json, path: &Path, service: &str) -> Result<Vec<Json>, Fault> {
    let found = path.find(answer.value());
    if let Some(array) = found.filter(|value| value.is_array()) {
        return Ok(answer.part(array).into_items());
    }
    let whole = kind(answer.get());
    let what = match (path.shown(), found) {
        ("", _) => format!("{service}'s response is {whole}, not an array of records"),
        (path, None) if answer.value().is_object() => format!("{service}'s response has nothing at `{path}`"),
        (path, None) => format!("{service}'s response is {whole}, so it has nothing at `{path}`"),
        (path, Some(value)) => {
            format!("{service}'s response has {} at `{path}`, not an array of records", kind(value.raw()))
        }
    };
    Err(Fault::retry(what).hint("if this persists, check `records`"))
}

#[cfg(all(test, feature = "jq"))]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_expression_finds_records_anywhere_and_a_failure_is_named() {
        let rows = |code: &str| serde_json::from_value::<Rows>(json!({"jq": code}));
        let answer = Json::read(
            r#"{"groups": [{"items": [{"id": 1}, {"id": 12345678901234567890}]}, {"items": [{"id": 3}]}]}"#
                .to_owned(),
        );
        let answer = answer.unwrap();
        let found = rows(".groups[].items[]").unwrap().find(&answer, "h").unwrap();
        let texts: Vec<&str> = found.iter().map(Json::get).collect();
        assert_eq!(texts, [r#"{"id":1}"#, r#"{"id":12345678901234567890}"#, r#"{"id":3}"#]);
        let fault = rows(".items[]").unwrap().find(&answer, "h").unwrap_err();
        let expected = "h's response can't be read with the expression (if this persists, check `records`)";
        assert_eq!(fault.to_string(), expected);
        let fault = rows("repeat(1)").unwrap().find(&answer, "h").unwrap_err();
        assert!(fault.to_string().contains("more than 500,000 records"), "{fault}");
        let why = rows("{id").err().unwrap().to_string();
        assert_eq!(why, "jq: line 1 column 4 of the expression: expected closing brace");
    }
}
