//! The syntax of the state file: JSON with comments and trailing commas. Pure.

use jsonc_parser::{
    CollectOptions, ParseOptions,
    ast::{Array, Value},
    common::Ranged,
    errors::{ParseError, ParseErrorKind},
    parse_to_ast,
};

use super::finding::{BOM, Finding, Place};

/// Allows comments and trailing commas, and no other extension of JSON: other tools must be able to read the
/// file.
const OPTIONS: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// Parses the text and returns its array. Ranges in the array start after a byte-order mark.
///
/// # Errors
///
/// The text is not valid JSON of this kind, or not an array.
pub fn parse(text: &str) -> Result<Array<'_>, Finding> {
    let text = text.strip_prefix(BOM).unwrap_or(text);
    let root =
        parse_to_ast(text, &CollectOptions::default(), &OPTIONS).map_err(|error| broken(text, &error))?;
    match root.value {
        Some(Value::Array(array)) => Ok(array),
        Some(other) => {
            let what = format!("expected an array of entries `[ … ]`, found {}", kind(&other));
            Err(Finding::new(text, Place::of(text, other.start()), what))
        }
        None => {
            let what = "expected an array of entries `[ … ]`, found nothing";
            Err(Finding::new(text, Place::of(text, text.len()), what))
        }
    }
}

/// Makes a finding from an error of the parser. The parser names what it found, the finding names what was
/// expected.
fn broken(text: &str, error: &ParseError) -> Finding {
    use ParseErrorKind::*;
    let what = match error.kind() {
        ExpectedComma => "expected a comma between two values".to_owned(),
        ExpectedColonAfterObjectKey => "expected a colon after the key".into(),
        ExpectedStringObjectProperty | UnexpectedTokenInObject => {
            "expected a key in double quotes, or `}`".into()
        }
        ExpectedObjectValue
        | UnexpectedCloseBrace
        | UnexpectedCloseBracket
        | UnexpectedColon
        | UnexpectedComma
        | UnexpectedToken
        | UnexpectedWord => "expected a value".into(),
        SingleQuotedStringsNotAllowed => "expected double quotes".into(),
        MultipleRootJsonValues => "expected the end of the file after the array".into(),
        UnterminatedArray => "expected a `]` that closes this array".into(),
        UnterminatedObject => "expected a `}` that closes this object".into(),
        UnterminatedCommentBlock => "expected a `*/` that closes this comment".into(),
        other => {
            let text = other.to_string();
            let mut chars = text.chars();
            chars.next().map(|first| first.to_lowercase().to_string() + chars.as_str()).unwrap_or_default()
        }
    };
    Finding::new(text, Place::of(text, error.range().start), what)
}

/// Returns the type of a value, in words.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::StringLit(_) => "a string",
        Value::NumberLit(_) => "a number",
        Value::BooleanLit(_) => "a boolean",
        Value::Object(_) => "an object",
        Value::Array(_) => "an array",
        Value::NullKeyword(_) => "null",
    }
}
