//! Applies edits to the text of the state file. Only the bytes of importer's three fields change. The rest
//! is copied and never printed from parsed values, so comments, key order, unknown fields, spelling and
//! layout stay as they are. Pure.

mod insertion;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use jsonc_parser::{
    ast::{Array, Object, Value},
    common::Ranged,
};
use serde::{Deserialize, Serialize};

use self::insertion::{Splice, insert};
use super::{
    fields::OWNED,
    finding::{BOM, Finding, Place},
    identity::{self, BaseVersion, EntryId},
    schema,
    vocabulary::Vocabulary,
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

/// Why an edit was not applied: a person has changed the entry meanwhile, and that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overruled {
    /// The entry was removed, or can't be distinguished from another entry of its list.
    NoSuchEntry,
    /// The user changed its `latest_timestamp`, or its `start_offset` during a full load.
    ByHand,
    /// The user changed its source or its sink: the result is that of another delivery.
    Redirected,
}

/// The result of one edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The entry has the values of the run stamp.
    Stamped,
    Overruled(Overruled),
    /// The entry can't be written without changing more than importer's fields. The other edits are applied.
    Failed(Finding),
}

/// The result of [`stamp`].
#[derive(Debug)]
pub struct Stamped {
    /// The new text of the file; the old one if no edit changes it.
    pub text: String,
    /// The outcome of each edit, in the order of the edits.
    pub outcomes: Vec<Outcome>,
}

/// Applies edits, one after the other, and returns the new text. An edit whose entry already has the values
/// changes nothing.
///
/// # Errors
///
/// The text is not a state file.
pub fn stamp(text: &str, edits: &[Edit], vocabulary: &Vocabulary) -> Result<Stamped, Finding> {
    let mut stamped = Stamped { text: text.to_owned(), outcomes: vec![Outcome::Stamped; edits.len()] };
    let mut left: Vec<usize> = (0..edits.len()).collect();
    while !left.is_empty() {
        left = stamped.round(edits, &left, vocabulary)?;
    }
    Ok(stamped)
}

impl Stamped {
    /// Applies the edits with these indices, at most one to each entry. Returns the indices that are left: an
    /// edit of an entry that another edit has changed needs the text with that change.
    fn round(
        &mut self,
        edits: &[Edit],
        indices: &[usize],
        vocabulary: &Vocabulary,
    ) -> Result<Vec<usize>, Finding> {
        let array = schema::parse(&self.text)?;
        let lists = Lists::of(&array);
        let (mut changes, mut left) = (Vec::<Change>::new(), Vec::new());
        let mut changed = HashSet::new();
        for &index in indices {
            let edit = &edits[index];
            let Some((element, object)) = lists.locate(edit) else {
                self.outcomes[index] = Outcome::Overruled(Overruled::NoSuchEntry);
                continue;
            };
            if changed.contains(&element) {
                left.push(index);
            } else if !has_route_of(object, edit, vocabulary) {
                self.outcomes[index] = Outcome::Overruled(Overruled::Redirected);
            } else if edit.stamp.is_in(object) {
                self.outcomes[index] = Outcome::Stamped;
            } else if identity::was(object) != Some(edit.was) {
                self.outcomes[index] = Outcome::Overruled(Overruled::ByHand);
            } else {
                changed.insert(element);
                changes.push(Change { index, element, object, stamp: &edit.stamp });
            }
        }
        match written(&self.text, &array, &changes) {
            Ok(None) => {}
            Ok(Some(text)) => self.text = text,
            Err(finding) => match changes[..] {
                [Change { index, .. }] => self.outcomes[index] = Outcome::Failed(finding),
                // One of them is to blame. The others must not wait for it.
                _ => {
                    let alone: Vec<usize> = changes.iter().map(|change| change.index).collect();
                    for index in alone {
                        self.round(edits, &[index], vocabulary)?;
                    }
                }
            },
        }
        Ok(left)
    }
}

/// Returns whether an entry still reads and delivers as it did when the run of the edit began.
fn has_route_of(object: &Object, edit: &Edit, vocabulary: &Vocabulary) -> bool {
    let now = identity::identify(object);
    now.is_some_and(|now| now == edit.entry || now.route(vocabulary) == edit.entry.route(vocabulary))
}

/// The run stamp of one entry that is written in this round.
struct Change<'a, 'b> {
    /// The index of its edit.
    index: usize,
    /// The index of the entry in the array.
    element: usize,
    object: &'b Object<'a>,
    stamp: &'b RunStamp,
}

/// Returns the text with these changes, or `None` without any.
///
/// # Errors
///
/// The new text failed [`verify`] and must not be written.
fn written(text: &str, array: &Array, changes: &[Change]) -> Result<Option<String>, Finding> {
    if changes.is_empty() {
        return Ok(None);
    }
    let body = text.strip_prefix(BOM).unwrap_or(text);
    let newline = if body.contains("\r\n") { "\r\n" } else { "\n" };
    let mut splices: Vec<Splice> =
        changes.iter().flat_map(|change| splices(body, newline, change.object, change.stamp)).collect();
    splices.sort_by_key(|splice| splice.at.start);
    let (mut result, mut copied) = (text[..text.len() - body.len()].to_owned(), 0);
    for splice in splices {
        result.push_str(&body[copied..splice.at.start]);
        result.push_str(&splice.text);
        copied = splice.at.end;
    }
    result.push_str(&body[copied..]);
    verify(array, changes, &result)?;
    Ok(Some(result))
}

/// Returns the replacements that write a run stamp into an entry.
fn splices(body: &str, newline: &str, object: &Object, stamp: &RunStamp) -> Vec<Splice> {
    let mut splices = Vec::new();
    let mut missing = Vec::new();
    for (name, value) in OWNED.into_iter().zip(stamp.values()) {
        match object.get(name) {
            Some(prop) => splices.push(Splice { at: prop.value.range(), text: value }),
            None => missing.push((name, value)),
        }
    }
    if let Some(last) = object.properties.last().filter(|_| !missing.is_empty()) {
        splices.extend(insert(body, newline, object, last, &missing));
    }
    splices
}

/// The entries of a file, by list.
struct Lists<'a, 'b>(HashMap<&'b str, Vec<(usize, &'b Object<'a>)>>);

impl<'a, 'b> Lists<'a, 'b> {
    fn of(array: &'b Array<'a>) -> Self {
        let mut lists: HashMap<_, Vec<_>> = HashMap::new();
        for (element, value) in array.elements.iter().enumerate() {
            if let Some(object) = value.as_object()
                && let Some(list_id) = identity::list_id(object)
            {
                lists.entry(list_id).or_default().push((element, object));
            }
        }
        Lists(lists)
    }

    /// Finds the entry of an edit, with its index in the array: by its `list_id` if that was unique at the
    /// start of the run and still is, otherwise by every field that importer does not write.
    fn locate(&self, edit: &Edit) -> Option<(usize, &'b Object<'a>)> {
        let of_list = self.0.get(edit.entry.list_id.as_str())?;
        if edit.alone && of_list.len() == 1 {
            return of_list.first().copied();
        }
        // If entries differ only in importer's fields, only the first one runs.
        of_list.iter().copied().find(|(_, object)| identity::identify(object).as_ref() == Some(&edit.entry))
    }
}

/// Parses the new text and compares it, by value, with the expected one. A text that differs in any other
/// value is never written.
fn verify(array: &Array, changes: &[Change], result: &str) -> Result<(), Finding> {
    let mut expected: serde_json::Value = Value::Array(array.clone()).into();
    for change in changes {
        for (name, value) in OWNED.into_iter().zip(change.stamp.values()) {
            if let Some(entry) = expected.get_mut(change.element) {
                entry[name] = serde_json::from_str(&value).unwrap_or_default();
            }
        }
    }
    let actual: serde_json::Value = Value::Array(schema::parse(result)?).into();
    if actual == expected {
        return Ok(());
    }
    let what = "can't update this entry without changing more than importer's own fields; this is a bug, please report it";
    let body = result.strip_prefix(BOM).unwrap_or(result);
    let at = changes.first().map_or(0, |change| change.object.start());
    Err(Finding::new(body, Place::of(body, at), what))
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

    /// Applies one edit. Returns the new text, or why it does not apply.
    fn one(text: &str, edit: &Edit) -> Result<String, Outcome> {
        let Stamped { text, mut outcomes } = stamp(text, std::slice::from_ref(edit), &SAMPLE).unwrap();
        match outcomes.remove(0) {
            Outcome::Stamped => Ok(text),
            other => Err(other),
        }
    }

    fn stamped(text: &str, edit: &Edit) -> String {
        one(text, edit).unwrap()
    }

    const BY_HAND: Result<String, Outcome> = Err(Outcome::Overruled(Overruled::ByHand));
    const NO_SUCH_ENTRY: Result<String, Outcome> = Err(Outcome::Overruled(Overruled::NoSuchEntry));

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
            assert_eq!(one(&text, &edit("a", was)) == BY_HAND, kept, "{said} was {was}");
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
        assert_eq!(one(text, &edit("a", "")), BY_HAND);
        let synced = r#"[{"list_id": "a", "start_offset": 5, "latest_timestamp": "2019-10-21T08:00:00"}]"#;
        assert!(one(synced, &edit("a", "2019-10-21T08:00:00")).is_ok());
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
        assert_eq!(one(changed, &edit("a", "")), NO_SUCH_ENTRY);
    }

    #[test]
    fn the_other_entry_of_a_list_is_not_stamped_when_the_one_that_ran_was_deleted() {
        let ran = Edit { alone: false, ..edit("a", "") };
        let left = r#"[{"list_id": "a", "x-n": 2}]"#;
        assert_eq!(one(left, &ran), NO_SUCH_ENTRY);
    }

    #[test]
    fn an_entry_that_was_deleted_is_not_stamped_elsewhere() {
        assert_eq!(one(r#"[{"list_id": "b"}]"#, &edit("a", "")), NO_SUCH_ENTRY);
    }

    #[test]
    fn the_result_of_a_run_is_not_written_into_an_entry_with_another_source_or_sink() {
        let redirected = Outcome::Overruled(Overruled::Redirected);
        for (fields, stamped) in [
            (r#""x-note": 1, "collection": "c", "mapping": "copy", "worker_count": 2"#, true),
            (r#""source": {"type": "rows"}, "sink": "file""#, true),
            (r#""sink": {"type": "file", "batch": 5}"#, true),
            (r#""sink": "pipe""#, false),
            (r#""sink": {"type": "file", "account": "acme"}"#, false),
            (r#""source": "shifts""#, false),
            (r#""source": {"type": "rows", "account": "acme"}"#, false),
        ] {
            let text = format!(r#"[{{"list_id": "a", {fields}}}]"#);
            let Stamped { text: after, outcomes } = stamp(&text, &[edit("a", "")], &SAMPLE).unwrap();
            let expected = if stamped { Outcome::Stamped } else { redirected.clone() };
            assert_eq!((after != text, outcomes), (stamped, vec![expected]), "{fields}");
        }
    }

    #[test]
    fn several_edits_are_applied_at_once_and_each_has_its_own_outcome() {
        let text = r#"[{"list_id": "a"}, {"list_id": "b", "latest_timestamp": null}, {"list_id": "c"}]"#;
        let edits = [edit("c", ""), edit("b", ""), edit("gone", ""), edit("a", "")];
        let result = stamp(text, &edits, &SAMPLE).unwrap();
        assert_eq!(
            result.text,
            format!(
                r#"[{{"list_id": "a", {NEW}}}, {{"list_id": "b", "latest_timestamp": null}}, {{"list_id": "c", {NEW}}}]"#
            )
        );
        use Overruled::{ByHand, NoSuchEntry};
        let overruled = Outcome::Overruled;
        let expected = [Outcome::Stamped, overruled(ByHand), overruled(NoSuchEntry), Outcome::Stamped];
        assert_eq!(result.outcomes, expected);
    }

    #[test]
    fn a_second_edit_of_an_entry_sees_the_first_one() {
        let first = edit("a", "");
        let mut second = edit("a", "2019-10-21T10:00:00");
        second.stamp.latest_timestamp = time::parse("2019-10-21T11:00:00").unwrap();
        let outcomes = |edits: &[Edit]| {
            let Stamped { text, outcomes } = stamp(r#"[{"list_id": "a"}]"#, edits, &SAMPLE).unwrap();
            (text.contains("T11:00:00"), outcomes)
        };
        let by_hand = Outcome::Overruled(Overruled::ByHand);
        assert_eq!(outcomes(&[first.clone(), second.clone()]), (true, vec![Outcome::Stamped; 2]));
        assert_eq!(outcomes(&[second.clone(), first.clone()]), (false, vec![by_hand, Outcome::Stamped]));
        assert_eq!(outcomes(&[first.clone(), first]), (false, vec![Outcome::Stamped; 2]));
    }

    #[test]
    fn an_entry_that_cannot_be_written_safely_does_not_keep_the_others_waiting() {
        // Tools differ on which of two equal keys counts, so neither may be written.
        let doubled = r#"{"list_id": "b", "latest_timestamp": null, "latest_timestamp": null}"#;
        let text = format!(r#"[{{"list_id": "a"}}, {doubled}, {{"list_id": "c"}}]"#);
        let result = stamp(&text, &[edit("a", ""), edit("b", "null"), edit("c", "")], &SAMPLE).unwrap();
        assert_eq!(
            result.text,
            format!(r#"[{{"list_id": "a", {NEW}}}, {doubled}, {{"list_id": "c", {NEW}}}]"#)
        );
        let [Outcome::Stamped, Outcome::Failed(finding), Outcome::Stamped] = &result.outcomes[..] else {
            panic!("{:?}", result.outcomes)
        };
        assert!(finding.text.contains("more than importer's own fields"), "{}", finding.text);
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
        fn edits_at_once_leave_the_text_that_they_leave_one_after_the_other(
            text in documents(),
            edits in prop::collection::vec((0usize..5, any::<bool>(), 0i64..3), 0..6),
        ) {
            let edits: Vec<Edit> = edits
                .into_iter()
                .map(|(which, null, later)| {
                    let mut edit = edit(&format!("l{which}"), if null { "null" } else { "" });
                    edit.stamp.latest_timestamp += chrono::TimeDelta::seconds(later);
                    edit
                })
                .collect();
            let (mut apart, mut outcomes) = (text.clone(), vec![]);
            for edit in &edits {
                let mut one = stamp(&apart, std::slice::from_ref(edit), &SAMPLE).unwrap();
                outcomes.append(&mut one.outcomes);
                apart = one.text;
            }
            let together = stamp(&text, &edits, &SAMPLE).unwrap();
            prop_assert_eq!((together.text, together.outcomes), (apart, outcomes));
        }

        #[test]
        fn outside_the_three_fields_of_the_entry_every_byte_stays(text in documents(), which in 0usize..4) {
            let list_id = format!("l{which}");
            let was = if text.contains("latest_timestamp") { "null" } else { "" };
            let Some(result) = [was, ""].into_iter().find_map(|was| one(&text, &edit(&list_id, was)).ok()) else {
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
