//! Applies an edit to the text of the state file. Only the bytes of importer's three fields change. The rest
//! is copied and never printed from parsed values, so comments, key order, unknown fields, spelling and
//! layout stay as they are. Pure.

use chrono::{DateTime, Utc};
use jsonc_parser::{
    ast::{Array, Object, ObjectProp, Value},
    common::{Range, Ranged},
};

use serde::{Deserialize, Serialize};

use super::{
    fields::OWNED,
    finding::{BOM, Finding, Place},
    identity::{self, BaseVersion, EntryId},
    schema,
};
use crate::base::time;

/// A pending edit: the run stamp of one entry, and how to find the entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Edit {
    pub entry: EntryId,
    /// Whether no other entry had the same list when the run started.
    pub alone: bool,
    /// The base version: what the run read from the entry at its start. If the entry differs by now, the user
    /// has changed it, and the user's version wins.
    pub was: BaseVersion,
    pub stamp: RunStamp,
}

/// The run stamp: the three values that a successful run writes into its entry.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RunStamp {
    pub latest_timestamp: DateTime<Utc>,
    pub elapsed_seconds: f64,
    pub total_updates: u64,
}

impl RunStamp {
    /// Returns whether the entry already has these three values.
    fn is_in(&self, object: &Object) -> bool {
        OWNED.into_iter().zip(self.values()).all(|(name, value)| {
            let said = object.get(name).map(|prop| serde_json::Value::from(prop.value.clone()));
            said.is_some() && said == serde_json::from_str(&value).ok()
        })
    }

    /// Returns the values as JSON text, in the order of [`OWNED`].
    fn values(&self) -> [String; 3] {
        [
            format!("\"{}\"", time::state_format(self.latest_timestamp)),
            format!("{:.1}", self.elapsed_seconds),
            self.total_updates.to_string(),
        ]
    }
}

/// Why an edit was not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overruled {
    /// The entry was removed, or can't be distinguished from another entry of its list.
    NoSuchEntry,
    /// The user changed its `latest_timestamp`, or its `start_offset` during a full load.
    ByHand,
}

/// The result of [`stamp`]: the new text of the file, or why the edit does not apply.
#[derive(Debug)]
pub enum Stamped {
    Text(String),
    Overruled(Overruled),
}

/// Applies one edit and returns the new text; the same text if the entry already has these values.
///
/// # Errors
///
/// The text is not a state file, or the result failed [`verify`]. Nothing may be written then.
pub fn stamp(text: &str, edit: &Edit) -> Result<Stamped, Finding> {
    let array = schema::parse(text)?;
    let Some(object) = locate(&array, edit) else {
        return Ok(Stamped::Overruled(Overruled::NoSuchEntry));
    };
    if edit.stamp.is_in(object) {
        return Ok(Stamped::Text(text.to_owned()));
    }
    if identity::was(object) != Some(edit.was) {
        return Ok(Stamped::Overruled(Overruled::ByHand));
    }
    let (bom, body) = if text.starts_with(BOM) { text.split_at(BOM.len()) } else { ("", text) };
    let mut splices = Vec::new();
    let mut missing = Vec::new();
    for (name, value) in OWNED.into_iter().zip(edit.stamp.values()) {
        match object.get(name) {
            Some(prop) => splices.push(Splice { at: prop.value.range(), text: value }),
            None => missing.push((name, value)),
        }
    }
    if let Some(last) = object.properties.last().filter(|_| !missing.is_empty()) {
        splices.extend(insert(body, object, last, &missing));
    }
    splices.sort_by_key(|splice| std::cmp::Reverse(splice.at.start));
    let mut result = body.to_owned();
    for splice in splices {
        result.replace_range(splice.at.start..splice.at.end, &splice.text);
    }
    let result = format!("{bom}{result}");
    verify(&array, object, &edit.stamp, &result)?;
    Ok(Stamped::Text(result))
}

/// A range of bytes of the text, and what replaces it.
struct Splice {
    at: Range,
    text: String,
}

/// Finds the object of an entry: by its `list_id` if that was unique at the start of the run and still is,
/// otherwise by every field that importer does not write.
fn locate<'a, 'b>(array: &'b Array<'a>, edit: &Edit) -> Option<&'b Object<'a>> {
    let id = &edit.entry;
    let entries = || array.elements.iter().filter_map(Value::as_object);
    let of_list = || {
        entries()
            .filter_map(|object| Some((object, identity::identify(object)?)))
            .filter(|(_, it)| it.list_id == id.list_id)
    };
    if edit.alone && of_list().count() == 1 {
        return of_list().next().map(|(object, _)| object);
    }
    // If entries differ only in importer's fields, only the first one runs.
    of_list().find(|(_, it)| it == id).map(|(object, _)| object)
}

/// Inserts new fields after the last one, in its layout: each on its own line if the last field has its own
/// line, otherwise on the same line. A comment after the last field stays directly after it.
fn insert(text: &str, object: &Object, last: &ObjectProp, fields: &[(&str, String)]) -> Vec<Splice> {
    let brace = object.end() - 1;
    let comma = comma(text, last.end(), brace);
    let (end, line_comment) = comments(text, comma.unwrap_or(last.end()), brace);
    let line_start = text[..last.start()].rfind('\n').map_or(0, |newline| newline + 1);
    let indent: String = text[line_start..last.start()].chars().take_while(|c| c.is_whitespace()).collect();
    let own_line = line_start > object.start() && line_start + indent.len() == last.start();
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let colon = &text[last.name.end()..last.value.start()];
    let colon = if colon.trim() == ":" && !colon.contains('\n') { colon } else { ": " };
    let gap = match own_line || line_comment {
        true => format!("{newline}{indent}"),
        // The text has no space after the colon, so it gets none after the comma.
        false if colon == ":" => String::new(),
        false => " ".into(),
    };
    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("{gap}\"{name}\"{colon}{value}")).collect();
    let mut new = fields.join(",");
    let mut splices = Vec::new();
    if comma.is_some() {
        new.push(',');
    } else if end == last.end() {
        new.insert(0, ',');
    } else {
        splices.push(Splice { at: Range::from_byte_index(last.end()), text: ",".into() });
    }
    splices.push(Splice { at: Range::from_byte_index(end), text: new });
    splices
}

/// Returns the offset after the first comma between `from` and the brace, outside comments, if there is one.
fn comma(text: &str, from: usize, brace: usize) -> Option<usize> {
    let mut at = from;
    while at < brace {
        let rest = &text[at..brace];
        if rest.starts_with(',') {
            return Some(at + 1);
        }
        at += comment(rest).unwrap_or_else(|| rest.chars().next().map_or(1, char::len_utf8));
    }
    None
}

/// Returns the offset after the comments that begin on this line, and whether the last one extends to the end
/// of the line.
fn comments(text: &str, from: usize, brace: usize) -> (usize, bool) {
    let (mut end, mut line_comment) = (from, false);
    loop {
        let rest = text[end..brace].trim_start_matches([' ', '\t']);
        let Some(length) = comment(rest) else { return (end, line_comment) };
        line_comment = rest.starts_with("//");
        end = brace - rest.len() + length;
    }
}

/// Returns the length in bytes of the comment at the start of the text, if there is one.
fn comment(text: &str) -> Option<usize> {
    if let Some(rest) = text.strip_prefix("/*") {
        // `/*/` begins a comment but does not end it.
        return rest.find("*/").map(|end| end + 4);
    }
    text.starts_with("//").then(|| text.find(['\n', '\r']).unwrap_or(text.len()))
}

/// Parses the new text and compares it, by value, with the expected one. A text that differs in any other
/// value is never written.
fn verify(array: &Array, object: &Object, stamp: &RunStamp, result: &str) -> Result<(), Finding> {
    let index = array.elements.iter().position(|element| element.start() == object.start());
    let mut expected: serde_json::Value = Value::Array(array.clone()).into();
    for (name, value) in OWNED.into_iter().zip(stamp.values()) {
        if let Some(entry) = index.and_then(|index| expected.get_mut(index)) {
            entry[name] = serde_json::from_str(&value).unwrap_or_default();
        }
    }
    let actual: serde_json::Value = Value::Array(schema::parse(result)?).into();
    if actual == expected {
        return Ok(());
    }
    let what = "can't update this entry without changing more than importer's own fields; this is a bug, please report it";
    let body = result.strip_prefix(BOM).unwrap_or(result);
    Err(Finding::new(body, Place::of(body, object.start()), what))
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod layouts;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::state::vocabulary::SAMPLE;

    fn edit(list_id: &str, was: &str) -> Edit {
        let text = format!(r#"[{{"list_id": "{list_id}"}}]"#);
        let entry = schema::read(&text, &SAMPLE).unwrap().entries.remove(0).id;
        let alone = true;
        let stamp = RunStamp {
            latest_timestamp: time::parse("2019-10-21T10:00:00").unwrap(),
            elapsed_seconds: 12.34,
            total_updates: 7,
        };
        let was = match (was, time::parse(was)) {
            (_, Some(time)) => BaseVersion::At(time),
            ("null", _) => BaseVersion::Null { start_offset: 0 },
            _ => BaseVersion::Absent { start_offset: 0 },
        };
        Edit { entry, alone, was, stamp }
    }

    fn stamped(text: &str, edit: &Edit) -> String {
        match stamp(text, edit).unwrap() {
            Stamped::Text(text) => text,
            Stamped::Overruled(why) => panic!("overruled: {why:?}"),
        }
    }

    const NEW: &str =
        r#""latest_timestamp": "2019-10-21T10:00:00", "elapsed_seconds": 12.3, "total_updates": 7"#;

    #[test]
    fn fields_that_are_missing_are_added_in_the_layout_of_the_entry() {
        let line = |before: &str, after: &str| format!("{before}{NEW}{after}");
        let tight = NEW.replace(", ", ",").replace(": ", ":");
        let own = |indent: &str| NEW.replace(", ", &format!(",{indent}"));
        for (text, expected) in [
            (r#"[{"list_id": "a"}]"#, line(r#"[{"list_id": "a", "#, "}]")),
            (r#"[ { "list_id": "a" } ]"#, line(r#"[ { "list_id": "a", "#, " } ]")),
            (r#"[{"list_id":"a"}]"#, format!(r#"[{{"list_id":"a",{tight}}}]"#)),
            (r#"[{"list_id": "a", /* mine */}]"#, line(r#"[{"list_id": "a", /* mine */ "#, ",}]")),
            (r#"[{"list_id": "a" /* mine */}]"#, line(r#"[{"list_id": "a", /* mine */ "#, "}]")),
            (
                "[\n  {\n    \"list_id\": \"a\"\n  }\n]\n",
                format!("[\n  {{\n    \"list_id\": \"a\",\n    {}\n  }}\n]\n", own("\n    ")),
            ),
            (
                "[\n\t{\n\t\t\"list_id\": \"a\",\n\t},\n]\n",
                format!("[\n\t{{\n\t\t\"list_id\": \"a\",\n\t\t{},\n\t}},\n]\n", own("\n\t\t")),
            ),
            (
                "[{\r\n  \"list_id\": \"a\" // mine, all mine\r\n}]",
                format!("[{{\r\n  \"list_id\": \"a\", // mine, all mine\r\n  {}\r\n}}]", own("\r\n  ")),
            ),
            (
                "[{\n  \"list_id\": \"a\"\n  // the end\n}]",
                format!("[{{\n  \"list_id\": \"a\",\n  {}\n  // the end\n}}]", own("\n  ")),
            ),
        ] {
            assert_eq!(stamped(text, &edit("a", "")), expected, "{text}");
        }
    }

    #[test]
    fn only_the_values_of_the_three_fields_change() {
        let text = "\u{feff}// lists\r\n[{\t\"total_updates\":1.50e1 ,\"x\":12345678901234567890123,\r\n\
                    \"list_id\" : \"\\u0061\", /* when */ \"latest_timestamp\": \"2019-10-21T08:00:00Z\", \"elapsed_seconds\" : null }, ]";
        let expected = text
            .replace("1.50e1", "7")
            .replace("2019-10-21T08:00:00Z", "2019-10-21T10:00:00")
            .replace("null", "12.3");
        assert_eq!(stamped(text, &edit("a", "2019-10-21T10:00:00+02:00")), expected);
    }

    #[test]
    fn a_timestamp_changed_by_hand_wins() {
        for (said, was, kept) in [
            ("null", "null", false),
            ("null", "", true),
            (r#""2019-10-21T08:00:00""#, "2019-10-21T08:00:00Z", false),
            ("null", "2019-10-21T08:00:00", true),
            (r#""2019-10-20T08:00:00""#, "2019-10-21T08:00:00", true),
            (r#""2019-10-21T08:00:00""#, "null", true),
            (r#""tomorrow""#, "", true),
            ("5", "", true),
        ] {
            let text = format!(r#"[{{"list_id": "a", "latest_timestamp": {said}}}]"#);
            let result = stamp(&text, &edit("a", was)).unwrap();
            assert_eq!(matches!(result, Stamped::Overruled(Overruled::ByHand)), kept, "{said} was {was}");
        }
    }

    #[test]
    fn a_stamp_that_is_there_already_is_neither_made_again_nor_overruled() {
        let once = stamped(r#"[{"list_id": "a"}]"#, &edit("a", ""));
        assert_eq!(stamped(&once, &edit("a", "")), once);
    }

    #[test]
    fn a_start_offset_changed_during_a_full_load_wins() {
        let text = r#"[{"list_id": "a", "start_offset": 5}]"#;
        assert!(matches!(stamp(text, &edit("a", "")).unwrap(), Stamped::Overruled(Overruled::ByHand)));
        let synced = r#"[{"list_id": "a", "start_offset": 5, "latest_timestamp": "2019-10-21T08:00:00"}]"#;
        assert!(matches!(stamp(synced, &edit("a", "2019-10-21T08:00:00")).unwrap(), Stamped::Text(_)));
    }

    #[test]
    fn the_right_entry_is_found_after_a_reordering_an_insertion_and_a_change_of_parameters() {
        let text = r#"[{"list_id": "b"}, {"list_id": "a", "worker_count": 3}, {"list_id": "c"}]"#;
        let expected = text.replace(r#""worker_count": 3"#, &format!(r#""worker_count": 3, {NEW}"#));
        assert_eq!(stamped(text, &edit("a", "")), expected);
    }

    #[test]
    fn of_two_entries_of_one_list_only_the_one_that_ran_is_stamped() {
        let text = r#"[{"list_id": "a", "start_offset": 5}, {"list_id": "a"}]"#;
        let expected = format!(r#"[{{"list_id": "a", "start_offset": 5}}, {{"list_id": "a", {NEW}}}]"#);
        assert_eq!(stamped(text, &edit("a", "")), expected);
        let changed = r#"[{"list_id": "a", "start_offset": 5}, {"list_id": "a", "worker_count": 2}]"#;
        let result = stamp(changed, &edit("a", "")).unwrap();
        assert!(matches!(result, Stamped::Overruled(Overruled::NoSuchEntry)));
    }

    #[test]
    fn the_other_entry_of_a_list_is_not_stamped_when_the_one_that_ran_was_deleted() {
        let ran = Edit { alone: false, ..edit("a", "") };
        let left = r#"[{"list_id": "a", "x-n": 2}]"#;
        assert!(matches!(stamp(left, &ran).unwrap(), Stamped::Overruled(Overruled::NoSuchEntry)));
    }

    #[test]
    fn an_entry_that_was_deleted_is_not_stamped_elsewhere() {
        let result = stamp(r#"[{"list_id": "b"}]"#, &edit("a", "")).unwrap();
        assert!(matches!(result, Stamped::Overruled(Overruled::NoSuchEntry)));
    }

    /// Generates documents of one to four entries, in any layout that the grammar allows around importer's
    /// fields.
    fn documents() -> impl Strategy<Value = String> {
        let space = prop::sample::select(vec!["", " ", "\n", "\r\n  ", "\t", " /* c, } */ ", " // l ,]\n  "]);
        let field = prop::sample::select(vec![
            r#""x": 1.50"#,
            r#""é\u00e9": [1, {"list_id": 2}]"#,
            r#""total_updates":3"#,
            r#""elapsed_seconds" : "odd""#,
            r#""latest_timestamp": null"#,
            r#""note": "a } b , c // d""#,
        ]);
        let fields = prop::collection::hash_set(field, 0..5);
        let entry = (fields, prop::collection::vec(space.clone(), 16), any::<bool>(), any::<bool>());
        prop::collection::vec(entry, 1..5).prop_map(|entries| {
            let entries = entries.into_iter().enumerate().map(|(index, (fields, spaces, comma, first))| {
                let mut fields: Vec<String> = fields.into_iter().map(str::to_owned).collect();
                fields.insert(if first { 0 } else { fields.len() }, format!(r#""list_id": "l{index}""#));
                let mut spaces = spaces.into_iter();
                let mut space = || spaces.next().unwrap_or("");
                let fields: Vec<String> =
                    fields.iter().map(|field| format!("{}{field}{}", space(), space())).collect();
                let comma = if comma { "," } else { "" };
                format!("{{{}{comma}{}}}", fields.join(","), space())
            });
            format!("[{}]\n", entries.collect::<Vec<_>>().join(",\n"))
        })
    }

    proptest! {
        #[test]
        fn outside_the_three_fields_of_the_entry_every_byte_stays(text in documents(), which in 0usize..4) {
            let list_id = format!("l{which}");
            let was = if text.contains("latest_timestamp") { "null" } else { "" };
            let result = [was, ""].into_iter().map(|was| stamp(&text, &edit(&list_id, was)).unwrap());
            let result = result.into_iter().find(|result| matches!(result, Stamped::Text(_)));
            let Some(Stamped::Text(result)) = result else {
                let quoted = format!("\"{list_id}\"");
                prop_assert!(!text.contains(&quoted));
                return Ok(());
            };
            let (before, after) = (schema::parse(&text).unwrap(), schema::parse(&result).unwrap());
            for (index, (before, after)) in before.elements.iter().zip(&after.elements).enumerate() {
                let (old, new) = (before.as_object().unwrap(), after.as_object().unwrap());
                if index != which {
                    prop_assert_eq!(old.text(&text), new.text(&result));
                    continue;
                }
                for prop in old.properties.iter().filter(|prop| !OWNED.contains(&prop.name.as_str())) {
                    let same = new.get(prop.name.as_str()).unwrap();
                    prop_assert_eq!(prop.text(&text), same.text(&result));
                }
                for (name, value) in OWNED.into_iter().zip(edit("a", "").stamp.values()) {
                    prop_assert_eq!(new.get(name).unwrap().value.text(&result), value);
                }
                // Without importer's fields, the names that the user wrote remain in their order, and so do
                // the comments.
                let left = |object: &Object, text: &str| {
                    let names: Vec<String> = object.properties.iter().map(|prop| prop.name.as_str().to_owned()).collect();
                    let comments = text.matches(" c, } ").count() + text.matches(" l ,]").count();
                    (names.into_iter().filter(|name| !OWNED.contains(&name.as_str())).collect::<Vec<_>>(), comments)
                };
                prop_assert_eq!(left(old, &text), left(new, &result));
            }
        }
    }
}
