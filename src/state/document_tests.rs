//! Tests layouts in which a new field could end up in the wrong place, and the check that nothing else has
//! changed.

use super::*;
use crate::state::vocabulary::SAMPLE;

const NEW: &str = r#""latest_timestamp": "2019-10-21T10:00:00", "elapsed_seconds": 12.3, "total_updates": 7"#;

/// Returns a stamp for the first entry of this text, with its present content as the base version.
fn edit(text: &str) -> Edit {
    let array = schema::parse(text).unwrap();
    let object = array.elements[0].as_object().unwrap();
    let stamp = RunStamp {
        latest_timestamp: time::parse("2019-10-21T10:00:00").unwrap(),
        elapsed_seconds: 12.34,
        total_updates: 7,
    };
    let entry = identity::identify(object).unwrap();
    Edit { entry, alone: true, was: identity::was(object).unwrap(), stamp }
}

fn stamped(text: &str) -> String {
    let Stamped { text: result, outcomes } = stamp(text, &[edit(text)], &SAMPLE).unwrap();
    assert_eq!(outcomes, [Outcome::Stamped], "{text}");
    result
}

#[test]
fn new_fields_stay_on_the_line_of_a_last_field_that_shares_it() {
    let text = "[\n  {\n    \"x\": 1, \"list_id\": \"a\"\n  }\n]";
    assert_eq!(stamped(text), text.replace("\"a\"", &format!("\"a\", {NEW}")));
    let text = "[{ \"x\": 1,\n    \"y\": 2, \"list_id\": \"a\" }]";
    assert_eq!(stamped(text), text.replace("\"a\"", &format!("\"a\", {NEW}")));
}

/// New fields copy the colon with the spaces around it, but no line break and no comment.
#[test]
fn a_line_break_or_a_comment_beside_the_colon_is_not_repeated() {
    for colon in [":\n", " /* of us */ : ", ": // of us\n", ": /* of us */\n"] {
        let text = format!("[{{\"list_id\"{colon}\"a\"}}]");
        let result = stamped(&text);
        assert!(result.contains(r#""latest_timestamp": "2019-10-21T10:00:00""#), "{result}");
        assert_eq!(result.matches("of us").count(), text.matches("of us").count(), "{result}");
        assert_eq!(result.matches('\n').count(), text.matches('\n').count(), "{result}");
    }
    let text = r#"[{"list_id" :  "a"}]"#;
    assert!(stamped(text).contains(r#""total_updates" :  7"#));
}

#[test]
fn a_comma_in_a_comment_is_no_comma() {
    for comment in ["/*/ , */", "/* , */", "/**/", "/***/", "/*/*/", "/* x */ /* , */", "// ,\n", "// /* ,\n"]
    {
        let text = format!("[{{\"list_id\": \"a\" {comment}}}]");
        let result = stamped(&text);
        assert!(result.contains(comment), "{result}");
        assert!(result.starts_with("[{\"list_id\": \"a\", "), "{result}");
        let text = format!("[{{\"list_id\": \"a\" {comment}, }}]");
        assert!(stamped(&text).contains(comment), "{text}");
    }
}

/// Checks a text as the result of the stamp of one entry.
fn checked(array: &Array, element: usize, stamp: &RunStamp, result: &str) -> Result<(), Finding> {
    let object = array.elements[element].as_object().unwrap();
    verify(array, &[Change { index: 0, element, object, stamp }], result)
}

/// Tests the check itself, on texts that a faulty edit could produce.
#[test]
fn a_text_in_which_anything_else_has_changed_is_not_written() {
    let text = r#"[{"list_id": "b", "x": 1}, {"list_id": "a", "x": [1, 2]}]"#;
    let array = schema::parse(text).unwrap();
    let stamp = edit(r#"[{"list_id": "a"}]"#).stamp;
    let good = text.replace("[1, 2]", &format!("[1, 2], {NEW}"));
    for (from, to, kept) in [
        ("", "", true),
        // A different layout does not change a value.
        (r#""x": 1"#, r#""x" : 1 /* mine */"#, true),
        (r#""x": 1"#, r#""x": 2"#, false),
        (r#""x": 1}"#, r#""x": 1, "y": 2}"#, false),
        ("[1, 2]", "[2, 1]", false),
        (r#""total_updates": 7"#, r#""total_updates": 8"#, false),
        (r#", "total_updates": 7"#, "", false),
        (r#"{"list_id": "b", "x": 1}, "#, "", false),
        ("7}]", "7}, {}]", false),
    ] {
        let result = good.replace(from, to);
        assert!(from.is_empty() || result != good, "{from}");
        assert_eq!(checked(&array, 1, &stamp, &result).is_ok(), kept, "{result}");
    }
    // The stamp of one entry in another entry.
    let other = text.replace(r#""x": 1"#, &format!(r#""x": 1, {NEW}"#));
    assert!(checked(&array, 1, &stamp, &other).is_err());
}

#[test]
fn an_edit_that_went_wrong_is_reported_at_its_entry_also_behind_a_byte_order_mark() {
    for bom in ["", "\u{feff}"] {
        let text = format!("{bom}[\n  {{\"list_id\": \"a\"}}\n]");
        let array = schema::parse(&text).unwrap();
        let finding = checked(&array, 0, &edit(&text).stamp, &text).unwrap_err();
        assert_eq!(
            (finding.place, finding.excerpt.contains("list_id")),
            (Place { line: 2, column: 3 }, true)
        );
        let text = format!("{bom}[{{\"list_id\": \"a\"}}]");
        let array = schema::parse(&text).unwrap();
        let finding = checked(&array, 0, &edit(&text).stamp, &text).unwrap_err();
        assert_eq!(finding.place, Place { line: 1, column: 2 });
    }
}
