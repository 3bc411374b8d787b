//! Reads the text of the state file: its entries, and every problem with its place. Pure.

use std::collections::HashMap;

use jsonc_parser::ast::Value;

pub use super::syntax::parse;
use super::{
    fields::{ENABLED, LIST_ID},
    finding::{BOM, Finding, Lines},
    identity, locate,
    model::{Element, Entry, Mention, Snapshot},
    reader::Reader,
    vocabulary::Vocabulary,
};
use crate::base::declared::is_name;

/// Reads a whole file. A bad entry is a problem of that entry only; the others can run.
///
/// # Errors
///
/// The text is no array of entries; see [`parse`].
pub fn read(text: &str, vocabulary: &'static Vocabulary) -> Result<Snapshot, Finding> {
    let array = parse(text)?;
    let body = text.strip_prefix(BOM).unwrap_or(text);
    let lines = Lines::of(body);
    let mut snapshot = Snapshot {
        text: text.into(),
        credentials: locate::credentials(body, &array, vocabulary),
        ..Snapshot::default()
    };
    // Equal entries have the same folder.
    let mut by_folder: HashMap<String, Vec<usize>> = HashMap::new();
    for element in &array.elements {
        let mut reader = Reader::new(&lines, vocabulary);
        let entry = reader.entry(element);
        let is_valid = reader.problems.is_empty();
        let mention = mention(element, entry.as_ref(), is_valid, vocabulary);
        let list_id = mention.as_ref().map(|mention| mention.id.list_id.clone());
        snapshot.elements.push(Element { place: reader.place(element), list_id });
        snapshot.mentions.add(mention);
        snapshot.warnings.append(&mut reader.warnings);
        let of_folder =
            entry.as_ref().and_then(|new| by_folder.get(&new.folder)).map_or(&[][..], Vec::as_slice);
        let is_same = |index: &&usize| {
            #[cfg(test)]
            super::finding::steps::add(1);
            entry.as_ref().is_some_and(|new| snapshot.entries[**index].id == new.id)
        };
        if let Some(first) = of_folder.iter().find(is_same) {
            let first = snapshot.entries[*first].place.line;
            reader.problem(element, format!("duplicate of the entry at line {first}; remove one"));
        }
        if reader.problems.is_empty() {
            if let Some(entry) = entry {
                by_folder.entry(entry.folder.clone()).or_default().push(snapshot.entries.len());
                snapshot.entries.push(entry);
            }
        } else {
            reader.problems.sort_by_key(|problem| problem.place);
            snapshot.problems.append(&mut reader.problems);
        }
    }
    if !snapshot.credentials.is_empty() {
        let hidden = locate::hidden(body, &snapshot.credentials);
        let lines = Lines::of(&hidden);
        for finding in snapshot.problems.iter_mut().chain(&mut snapshot.warnings) {
            *finding = lines.finding(finding.place, finding.text.as_str());
        }
    }
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for list_id in array.elements.iter().filter_map(Value::as_object).filter_map(identity::list_id) {
        *counts.entry(list_id).or_default() += 1;
    }
    for entry in &mut snapshot.entries {
        entry.alone = counts.get(entry.id.list_id.as_str()) == Some(&1);
    }
    Ok(snapshot)
}

/// Returns the identity, pause and route of an element; `None` if its `list_id` can't be read. `entry` is the
/// parsed element, and `is_valid` states whether it has no problem.
fn mention(
    element: &Value,
    entry: Option<&Entry>,
    is_valid: bool,
    vocabulary: &Vocabulary,
) -> Option<Mention> {
    let object = element.as_object()?;
    let once = |name: &str| object.properties.iter().filter(|prop| prop.name.as_str() == name).count() == 1;
    if !once(LIST_ID.name) {
        return None;
    }
    let (id, folder) = match entry {
        Some(entry) => (entry.id.clone(), entry.folder.clone()),
        None => {
            let id = identity::identify(object).filter(|id| is_name(&id.list_id))?;
            let folder = id.folder(vocabulary);
            (id, folder)
        }
    };
    let enabled = object.get(ENABLED.name).and_then(|prop| prop.value.as_boolean_lit());
    Some(Mention {
        id,
        folder,
        disabled: once(ENABLED.name) && enabled.is_some_and(|enabled| !enabled.value),
        route: entry.filter(|_| is_valid).map(|entry| entry.route.clone()),
    })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::{
        base::time,
        state::{
            finding::{Place, steps},
            vocabulary::SAMPLE,
        },
    };

    fn findings(text: &str) -> String {
        match read(text, &SAMPLE) {
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

    /// A place or a comparison that starts over for each entry would take sixteen times the steps.
    #[test]
    fn four_times_the_entries_take_four_times_the_steps() {
        let text = |count: usize, of_list: usize, entry: &str, gap: &str| {
            let entry = |number: usize| {
                let list = format!("\"list_id\": \"l{}\"", number / of_list);
                format!("{{{list}, {}}}", entry.replace("NUMBER", &number.to_string()))
            };
            format!("[{}]", (0..count).map(entry).collect::<Vec<_>>().join(gap))
        };
        for (of_list, entry) in [
            (1, "\"worker_count\": 2"),
            (1, "\"worker_cout\": 2"),
            (1, "\"worker_count\": 0"),
            (2, "\"collection\": \"c\""),
            (usize::MAX, "\"collection\": \"cNUMBER\""),
        ] {
            for gap in [",\n", ", "] {
                let steps =
                    |count| steps::of(|| _ = read(&text(count, of_list, entry, gap), &SAMPLE).unwrap());
                let (few, many) = (steps(100), steps(400));
                assert!(few > 100 && many < 5 * few, "{entry} {gap:?}: {few} and {many} steps");
            }
        }
    }

    #[test]
    fn absent_fields_have_their_defaults() {
        let snapshot = read(r#"[{"list_id": "a"}]"#, &SAMPLE).unwrap();
        let entry = &snapshot.entries[0];
        assert_eq!((entry.start_offset, entry.items_per_request, entry.worker_count), (0, 100, 8));
        assert_eq!(entry.latest_timestamp, None);
        assert_eq!(findings(r#"[{"list_id": "a"}]"#), "");
    }

    #[test]
    fn fields_are_read_with_comments_trailing_commas_and_a_byte_order_mark() {
        let text = "\u{feff}[ // lists\n {\"list_id\": \"a\", \"start_offset\": 5, \"items_per_request\": 7, /* ! */\n\
                    \"worker_count\": 2, \"latest_timestamp\": \"2019-10-21 09:50:54\", \"note\": {}, },\n]\n";
        let snapshot = read(text, &SAMPLE).unwrap();
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
                line 4 column 15: `list_id` must be the id of a list without spaces, such as "1a2d7ebf82"; found 5
                line 5 column 36: `worker_count` must be a whole number from 1 to 10; found "many"
                line 5 column 60: `start_offset` must be a whole number of at least 0; found -1
                line 5 column 84: `latest_timestamp` must be a time such as "2019-10-21T09:50:54" (UTC unless it names a zone), or null for a full load; found "soon"
                line 6 column 41: `items_per_request` must be a whole number from 1 to 1000; found 0
                line 6 column 60: `worker_count` must be a whole number from 1 to 10; found 1.5
                line 7 column 39: duplicate key `worker_count`; remove one
                line 8 column 3: expected an entry `{ … }`, found a string
                line 10 column 3: duplicate of the entry at line 2; remove one
                line 9 column 23: unknown field `note` is ignored; for a note of your own, use a name such as `x-note`"#]],
        );
        let lists: Vec<String> =
            read(text, &SAMPLE).unwrap().entries.into_iter().map(|entry| entry.id.list_id).collect();
        assert_eq!(lists, ["good", "good"]);
    }

    #[test]
    fn too_much_is_cut_to_the_maximum_with_a_warning() {
        let text = r#"[{"list_id": "a", "items_per_request": 5000, "worker_count": 11}]"#;
        let snapshot = read(text, &SAMPLE).unwrap();
        assert_eq!((snapshot.entries[0].items_per_request, snapshot.entries[0].worker_count), (1000, 10));
        check(
            text,
            expect![[r#"
                line 1 column 40: `items_per_request` is 5000; using the maximum of 1000
                line 1 column 62: `worker_count` is 11; using the maximum of 10"#]],
        );
    }
}
