//! What the text of the state file says: its entries, and every problem with its place. Pure.

use std::fmt;

use chrono::{DateTime, Utc};
use jsonc_parser::{
    CollectOptions, ParseOptions,
    ast::{Array, Object, ObjectProp, Value},
    common::Ranged,
    errors::{ParseError, ParseErrorKind},
    parse_to_ast,
};
use serde_json::Map;

use crate::base::time;

/// The fields that we write; all others are the user's.
pub const OWNED: [&str; 3] = ["latest_timestamp", "elapsed_seconds", "total_updates"];

/// The most rows that Mailchimp puts into one answer.
const MAX_ITEMS_PER_REQUEST: u64 = 1000;
/// Mailchimp's limit of simultaneous connections.
const MAX_WORKER_COUNT: u64 = 10;

/// The file as it was at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub text: String,
    /// The entries that can run, in file order.
    pub entries: Vec<Entry>,
    /// What keeps the other entries from running.
    pub problems: Vec<Finding>,
    /// What was read differently from how it was written.
    pub warnings: Vec<Finding>,
}

/// One list to import.
#[derive(Debug, Clone)]
pub struct Entry {
    pub id: EntryId,
    pub place: Place,
    pub start_offset: u64,
    pub items_per_request: usize,
    pub worker_count: usize,
    pub latest_timestamp: Option<DateTime<Utc>>,
}

/// What an entry is known by while people reorder, insert and delete entries: its list, and where that stands in
/// the file more than once, also every field that is not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryId {
    pub list_id: String,
    pub others: Map<String, serde_json::Value>,
}

/// Something to say about a place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub place: Place,
    pub text: String,
}

/// Both count from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} column {}", self.line, self.column)
    }
}

/// JSON with comments and trailing commas, and nothing looser: other tools must be able to read the file.
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

/// A byte-order mark, which some editors write and no parser wants.
pub const BOM: &str = "\u{feff}";

/// The file's array. Ranges in it count from behind a byte-order mark.
pub fn parse(text: &str) -> Result<Array<'_>, Finding> {
    let text = text.strip_prefix(BOM).unwrap_or(text);
    let root = parse_to_ast(text, &CollectOptions::default(), &OPTIONS).map_err(|error| broken(&error))?;
    match root.value {
        Some(Value::Array(array)) => Ok(array),
        Some(other) => Err(Finding {
            place: place(text, other.start()),
            text: format!("expected an array of entries `[ … ]`, found {}", kind(&other)),
        }),
        None => Err(Finding {
            place: place(text, text.len()),
            text: "expected an array of entries `[ … ]`, found nothing".into(),
        }),
    }
}

/// Reads a whole file. Only a text that is no array fails as a whole; a bad entry is that entry's problem.
pub fn read(text: &str) -> Result<Snapshot, Finding> {
    let array = parse(text)?;
    let body = text.strip_prefix(BOM).unwrap_or(text);
    let mut snapshot = Snapshot { text: text.into(), entries: vec![], problems: vec![], warnings: vec![] };
    for element in &array.elements {
        let mut reader = Reader { text: body, problems: vec![], warnings: vec![] };
        let entry = reader.entry(element);
        snapshot.warnings.append(&mut reader.warnings);
        if let Some(first) = entry.as_ref().and_then(|new| snapshot.entries.iter().find(|e| e.id == new.id)) {
            let first = first.place.line;
            reader
                .problem(element, format!("this entry repeats the one at line {first}; remove one of them"));
        }
        if reader.problems.is_empty() {
            snapshot.entries.extend(entry);
        } else {
            reader.problems.sort_by_key(|problem| problem.place);
            snapshot.problems.append(&mut reader.problems);
        }
    }
    Ok(snapshot)
}

/// The identity of an entry, if it has a `list_id`.
pub fn identify(object: &Object) -> Option<EntryId> {
    let list_id = object.get("list_id")?.value.as_string_lit()?.value.to_string();
    let theirs = object.properties.iter().filter(|prop| !OWNED.contains(&prop.name.as_str()));
    let others = theirs.map(|prop| (prop.name.as_str().to_owned(), prop.value.clone().into())).collect();
    Some(EntryId { list_id, others })
}

struct Reader<'a> {
    text: &'a str,
    problems: Vec<Finding>,
    warnings: Vec<Finding>,
}

impl Reader<'_> {
    fn problem(&mut self, at: &impl Ranged, text: String) {
        self.problems.push(Finding { place: place(self.text, at.start()), text });
    }

    fn entry(&mut self, element: &Value) -> Option<Entry> {
        let Value::Object(object) = element else {
            self.problem(element, format!("expected an entry `{{ … }}`, found {}", kind(element)));
            return None;
        };
        self.refuse_repeated_keys(object);
        let Some(id) = identify(object).filter(|id| !id.list_id.trim().is_empty()) else {
            match object.get("list_id") {
                Some(prop) => self.unexpected(prop, "the id of a list, such as \"1a2d7ebf82\""),
                None => self.problem(object, "this entry has no `list_id`".into()),
            }
            return None;
        };
        Some(Entry {
            id,
            place: place(self.text, object.start()),
            start_offset: self.whole(object, "start_offset", 0).unwrap_or(0),
            items_per_request: self.capped(object, "items_per_request", 100, MAX_ITEMS_PER_REQUEST),
            worker_count: self.capped(object, "worker_count", 8, MAX_WORKER_COUNT),
            latest_timestamp: self.timestamp(object),
        })
    }

    /// Of two equal keys some tools read the first and some the last, so neither is taken.
    fn refuse_repeated_keys(&mut self, object: &Object) {
        for (index, prop) in object.properties.iter().enumerate() {
            let name = prop.name.as_str();
            if object.properties[..index].iter().any(|earlier| earlier.name.as_str() == name) {
                self.problem(prop, format!("`{name}` stands twice in this entry; remove one of them"));
            }
        }
    }

    /// A whole number of at least `least`; nothing when absent or, with a problem, when it is something else.
    fn whole(&mut self, object: &Object, name: &str, least: u64) -> Option<u64> {
        let prop = object.get(name)?;
        let number = prop.value.as_number_lit().and_then(|number| number.value.parse().ok());
        let number = number.filter(|&number| number >= least);
        if number.is_none() {
            self.unexpected(prop, &format!("a whole number of at least {least}"));
        }
        number
    }

    fn capped(&mut self, object: &Object, name: &str, default: u64, most: u64) -> usize {
        let number = self.whole(object, name, 1).unwrap_or(default);
        if number > most
            && let Some(prop) = object.get(name)
        {
            let text = format!("`{name}` is {number}, the maximum of {most} is used");
            self.warnings.push(Finding { place: place(self.text, prop.value.start()), text });
        }
        number.min(most) as usize
    }

    fn timestamp(&mut self, object: &Object) -> Option<DateTime<Utc>> {
        let prop = object.get("latest_timestamp")?;
        if prop.value.as_null_keyword().is_some() {
            return None;
        }
        let timestamp = prop.value.as_string_lit().and_then(|text| time::parse(&text.value));
        if timestamp.is_none() {
            self.unexpected(
                prop,
                "a time such as \"2019-10-21T09:50:54\" (UTC unless it names a zone), or null for a full load",
            );
        }
        timestamp
    }

    fn unexpected(&mut self, prop: &ObjectProp, expected: &str) {
        let found: String = prop.value.text(self.text).chars().take(40).collect();
        let name = prop.name.as_str();
        self.problem(&prop.value, format!("`{name}` must be {expected}; found {found}"));
    }
}

/// Where an offset of a text is.
pub fn place(text: &str, offset: usize) -> Place {
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Place { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::StringLit(_) => "a string",
        Value::NumberLit(_) => "a number",
        Value::BooleanLit(_) => "a boolean",
        Value::Object(_) => "an object",
        Value::Array(_) => "an array",
        Value::NullKeyword(_) => "null",
    }
}

/// The parser says what it found; people need to know what should have stood there.
fn broken(error: &ParseError) -> Finding {
    use ParseErrorKind::*;
    let text = match error.kind() {
        ExpectedComma => "expected a comma between two values".into(),
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
    Finding { place: Place { line: error.line_display(), column: error.column_display() }, text }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn findings(text: &str) -> String {
        match read(text) {
            Ok(snapshot) => snapshot
                .problems
                .iter()
                .chain(&snapshot.warnings)
                .map(|finding| format!("{}: {}", finding.place, finding.text))
                .collect::<Vec<_>>()
                .join("\n"),
            Err(finding) => format!("unusable, {}: {}", finding.place, finding.text),
        }
    }

    fn check(text: &str, expected: Expect) {
        expected.assert_eq(&findings(text));
    }

    #[test]
    fn absent_fields_have_their_defaults() {
        let snapshot = read(r#"[{"list_id": "a"}]"#).unwrap();
        let entry = &snapshot.entries[0];
        assert_eq!((entry.start_offset, entry.items_per_request, entry.worker_count), (0, 100, 8));
        assert_eq!(entry.latest_timestamp, None);
        assert_eq!(findings(r#"[{"list_id": "a"}]"#), "");
    }

    #[test]
    fn fields_are_read_with_comments_trailing_commas_and_a_byte_order_mark() {
        let text = "\u{feff}[ // lists\n {\"list_id\": \"a\", \"start_offset\": 5, \"items_per_request\": 7, /* ! */\n\
                    \"worker_count\": 2, \"latest_timestamp\": \"2019-10-21 09:50:54\", \"note\": {}, },\n]\n";
        let snapshot = read(text).unwrap();
        let entry = &snapshot.entries[0];
        assert_eq!((entry.start_offset, entry.items_per_request, entry.worker_count), (5, 7, 2));
        assert_eq!(entry.latest_timestamp, time::parse("2019-10-21T09:50:54Z"));
        assert_eq!(entry.place, Place { line: 2, column: 2 });
    }

    #[test]
    fn a_text_that_is_no_array_says_where_and_what_was_expected() {
        check("", expect!["unusable, line 1 column 1: expected an array of entries `[ … ]`, found nothing"]);
        check(
            " {}",
            expect!["unusable, line 1 column 2: expected an array of entries `[ … ]`, found an object"],
        );
        check("[\n  {\"list_id\": }\n]", expect!["unusable, line 2 column 15: expected a value"]);
        check(
            "[\n  {\"list_id\": \"a\"}\n  {\"list_id\": \"b\"}\n]",
            expect!["unusable, line 2 column 19: expected a comma between two values"],
        );
        check(
            "[{\"list_id\": \"a\"",
            expect!["unusable, line 1 column 2: expected a `}` that closes this object"],
        );
        check(
            "[{list_id: \"a\"}]",
            expect!["unusable, line 1 column 3: expected a key in double quotes, or `}`"],
        );
        check("[{'list_id': \"a\"}]", expect!["unusable, line 1 column 3: expected double quotes"]);
        check("[{\"list_id\": a}]", expect!["unusable, line 1 column 14: expected a value"]);
        check("[] []", expect!["unusable, line 1 column 4: expected the end of the file after the array"]);
    }

    #[test]
    fn a_bad_entry_is_its_own_problem_and_the_others_run() {
        let text = r#"[
  {"list_id": "good"},
  {"start_offset": 1},
  {"list_id": 5},
  {"list_id": "a", "worker_count": "many", "start_offset": -1, "latest_timestamp": "soon"},
  {"list_id": "b", "items_per_request": 0, "worker_count": 1.5},
  {"list_id": "c", "worker_count": 1, "worker_count": 2},
  "d",
  {"list_id": "good", "note": "with other parameters"},
  {"list_id": "good", "total_updates": 7}
]"#;
        check(
            text,
            expect![[r#"
                line 3 column 3: this entry has no `list_id`
                line 4 column 15: `list_id` must be the id of a list, such as "1a2d7ebf82"; found 5
                line 5 column 36: `worker_count` must be a whole number of at least 1; found "many"
                line 5 column 60: `start_offset` must be a whole number of at least 0; found -1
                line 5 column 84: `latest_timestamp` must be a time such as "2019-10-21T09:50:54" (UTC unless it names a zone), or null for a full load; found "soon"
                line 6 column 41: `items_per_request` must be a whole number of at least 1; found 0
                line 6 column 60: `worker_count` must be a whole number of at least 1; found 1.5
                line 7 column 39: `worker_count` stands twice in this entry; remove one of them
                line 8 column 3: expected an entry `{ … }`, found a string
                line 10 column 3: this entry repeats the one at line 2; remove one of them"#]],
        );
        let lists: Vec<String> =
            read(text).unwrap().entries.into_iter().map(|entry| entry.id.list_id).collect();
        assert_eq!(lists, ["good", "good"]);
    }

    #[test]
    fn too_much_is_cut_to_the_maximum_with_a_warning() {
        let text = r#"[{"list_id": "a", "items_per_request": 5000, "worker_count": 11}]"#;
        let snapshot = read(text).unwrap();
        assert_eq!((snapshot.entries[0].items_per_request, snapshot.entries[0].worker_count), (1000, 10));
        check(
            text,
            expect![[r#"
                line 1 column 40: `items_per_request` is 5000, the maximum of 1000 is used
                line 1 column 62: `worker_count` is 11, the maximum of 10 is used"#]],
        );
    }
}
