//! Records that can't be read. Describes their faults without quoting a value, and repairs responses so that
//! one bad record does not hide the others.

use std::{collections::BTreeMap, fmt};

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::json::{Json, Refusal};

/// Descriptions of the repaired faults, in the order of the marks.
const FAULTS: [&str; 3] = [
    "it contains bytes that are not UTF-8",
    "it contains a control character, which JSON does not allow",
    "it contains an escape that JSON does not know",
];
const BYTES: usize = 0;
const CHARACTER: usize = 1;
const ESCAPE: usize = 2;

/// A text that is valid UTF-8 and whose strings are valid JSON. Marks replace the invalid parts.
pub struct Repaired {
    text: String,
    /// Characters that the original text did not contain.
    marks: [char; 3],
}

impl Repaired {
    /// Describes the fault that was replaced in this part of the text, if there was one.
    pub fn fault(&self, part: &str) -> Option<&'static str> {
        let found = self.marks.iter().zip(FAULTS).find(|(mark, _)| part.contains(**mark));
        found.map(|(_, fault)| fault)
    }
}

/// Why a response can't be read: the place where it is no JSON, or the bound that it exceeds. Quotes no value.
#[derive(Debug)]
pub struct Unread(String);

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<serde_json::Error> for Unread {
    /// The error's own text may quote a value.
    fn from(error: serde_json::Error) -> Self {
        Unread(format!("unexpected JSON at line {} column {}", error.line(), error.column()))
    }
}

/// Checks that a text is within the bounds of JSON, valid or not.
fn check(text: &str) -> Result<(), Unread> {
    match Json::check(text) {
        Err(excess) if excess != Refusal::Invalid => Err(Unread(excess.to_string())),
        _ => Ok(()),
    }
}

/// Reads a response. If that fails because of bytes, characters or escapes that JSON forbids, replaces them
/// with marks, which [`Repaired::fault`] finds.
///
/// # Errors
///
/// The repaired response can't be read either, and the error describes the original one; or the response exceeds a bound.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<(T, Option<Repaired>), Unread> {
    std::str::from_utf8(body).map_or(Ok(()), check)?;
    match serde_json::from_slice(body) {
        Ok(read) => Ok((read, None)),
        Err(error) => {
            let Some(repaired) = repair(body) else { return Err(error.into()) };
            check(&repaired.text)?;
            let read = serde_json::from_str(&repaired.text).map_err(|_| error)?;
            Ok((read, Some(repaired)))
        }
    }
}

/// Scans a response without converting its values, and repairs it as [`read()`] does.
///
/// # Errors
///
/// As those of [`read()`].
pub fn json(body: &[u8]) -> Result<(Json, Option<Repaired>), Unread> {
    let text = std::str::from_utf8(body).map_err(|_| Refusal::Invalid);
    match text.and_then(|text| Json::read(text.to_owned())) {
        Ok(json) => Ok((json, None)),
        Err(_) => {
            let (raw, repaired) = read::<Box<RawValue>>(body)?;
            Ok((raw.into(), repaired))
        }
    }
}

/// Replaces what JSON forbids within strings, and bytes that are not UTF-8 wherever they are.
fn repair(body: &[u8]) -> Option<Repaired> {
    let lossy = String::from_utf8_lossy(body);
    // Noncharacters, which texts are not expected to contain.
    let mut free = ('\u{fdd0}'..='\u{fdef}').filter(|mark| !lossy.contains(*mark));
    let marks = [free.next()?, free.next()?, free.next()?];
    let mut scan = Scan { text: String::with_capacity(body.len()), marks, quoted: false, escaped: false };
    for chunk in body.utf8_chunks() {
        scan.valid(chunk.valid());
        if !chunk.invalid().is_empty() {
            scan.end_escape();
            scan.text.push(marks[BYTES]);
        }
    }
    Some(Repaired { text: scan.text, marks })
}

/// State of the repair.
struct Scan {
    text: String,
    marks: [char; 3],
    /// Whether the scan is within a string.
    quoted: bool,
    /// Whether the last character was a backslash, which is not written yet.
    escaped: bool,
}

impl Scan {
    /// Copies a chunk of valid UTF-8, and replaces control characters and unknown escapes within strings.
    fn valid(&mut self, chunk: &str) {
        for (at, c) in chunk.char_indices() {
            if self.escaped {
                let known = match c {
                    'u' => chunk[at + 1..].chars().take(4).filter(char::is_ascii_hexdigit).count() == 4,
                    _ => "\"\\/bfnrt".contains(c),
                };
                if known {
                    self.escaped = false;
                    self.text.extend(['\\', c]);
                    continue;
                }
                self.end_escape();
            }
            match c {
                '\\' if self.quoted => self.escaped = true,
                c if self.quoted && c < ' ' => self.text.push(self.marks[CHARACTER]),
                c => {
                    self.quoted ^= c == '"';
                    self.text.push(c);
                }
            }
        }
    }

    /// Replaces a backslash that escapes nothing.
    fn end_escape(&mut self) {
        if std::mem::take(&mut self.escaped) {
            self.text.push(self.marks[ESCAPE]);
        }
    }
}

/// Describes the wrong form of a field without quoting its value, such as "`id` is null".
pub fn shape(body: &str, field: &str) -> String {
    match serde_json::from_str::<BTreeMap<String, &RawValue>>(body) {
        Ok(fields) => {
            let kind = fields.get(field).map_or("missing", |value| kind(value.get()));
            format!("`{field}` is {kind}")
        }
        Err(_) if body.starts_with('{') => "it can't be read".to_owned(),
        Err(_) => format!("the record is {}, not an object", kind(body)),
    }
}

/// Names the kind of a JSON text, such as "an array".
pub fn kind(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        Some(b'"') if text.trim_matches('"').trim().is_empty() => "blank",
        Some(b'"') => "a string",
        Some(b'[') => "an array",
        Some(b'{') => "an object",
        Some(b'-') => "a negative number",
        _ => "a number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the fault of each string in a response.
    fn strings(body: &[u8]) -> Option<Vec<Option<&'static str>>> {
        let (read, repaired) = read::<Vec<Box<RawValue>>>(body).ok()?;
        let fault = |text: &RawValue| repaired.as_ref().and_then(|repaired| repaired.fault(text.get()));
        Some(read.iter().map(|text| fault(text)).collect())
    }

    #[test]
    fn only_the_strings_that_json_forbids_are_marked() {
        let [bytes, character, escape] = FAULTS.map(Some);
        for (body, expected) in [
            (&br#"["a", "b"]"#[..], vec![None, None]),
            (b"[\"a\", \"b\xff\"]", vec![None, bytes]),
            (b"[\"a\xc3\", \"b\"]", vec![bytes, None]),
            (b"[\"\xf0\x9f\x98\", \"\xef\xbf\xbd\"]", vec![bytes, None]),
            (b"[\"a\nb\",\n\t\"b\"]", vec![character, None]),
            (b"[\"a\\x41\", \"b\\u00e9\\\\\", \"\\\"\"]", vec![escape, None, None]),
            (b"[\"\\u00g0\", \"b\"]", vec![escape, None]),
            (b"[\"\\\xff\", \"b\"]", vec![bytes, None]),
            (b"[\"\\u\", \"b\"]", vec![escape, None]),
            ("[\"\u{fdd0}\", \"\u{fdd1}\n\"]".as_bytes(), vec![None, character]),
        ] {
            assert_eq!(strings(body), Some(expected), "{}", String::from_utf8_lossy(body));
        }
        for body in [&b"[\"a\xff\""[..], b"\xff[\"a\"]", b"[\"a\" \xff]", b"[\"a\\", b"", b"[\"a\n"] {
            assert_eq!(strings(body), None, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn a_shape_names_the_kind_of_a_field_and_never_its_value() {
        for (body, expected) in [
            (r#"{"id": null}"#, "`id` is null"),
            ("{}", "`id` is missing"),
            (r#"{"id": 7}"#, "`id` is a number"),
            (r#"{"id": -7}"#, "`id` is a negative number"),
            (r#"{"id": " "}"#, "`id` is blank"),
            (r#"{"id": "x"}"#, "`id` is a string"),
            (r#"{"id": {}}"#, "`id` is an object"),
            (r#"{"id": []}"#, "`id` is an array"),
            (r#"{"id": true}"#, "`id` is a boolean"),
            ("null", "the record is null, not an object"),
            ("[1]", "the record is an array, not an object"),
        ] {
            assert_eq!(shape(body, "id"), expected);
        }
    }
}
