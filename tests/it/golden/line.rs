//! A log line without its words: level, kind, list and numbers.

use super::kinds::{CAUSES, KINDS};

/// A kind of log line.
pub struct Kind {
    pub name: &'static str,
    /// Text that identifies a line of this kind.
    pub piece: &'static str,
    /// Whether the numbers in the line count.
    pub numbers: bool,
    /// Whether the line passes on a problem.
    pub caused: bool,
}

/// Returns `<level> <kind>, list <list>, <numbers>` of a line such as `INFO list "a" finished in 7.4 seconds: 12 records …`.
///
/// # Panics
///
/// If the line is of no known kind.
pub fn reduced(line: &str) -> String {
    // The lines of a file that a problem is about stand below it.
    let first = line.lines().next().unwrap_or_default();
    let (level, text) = first.split_once(' ').unwrap_or((first, ""));
    let whole = || panic!("no kind in tests/it/golden/kinds.rs matches this log line; add one:\n{line}");
    let Some(kind) = KINDS.iter().find(|kind| line.contains(kind.piece)) else { whole() };
    let mut reduced = format!("{level} {}", kind.name);
    if kind.caused {
        let Some((cause, _)) = CAUSES.iter().find(|(_, piece)| line.contains(piece)) else {
            panic!("no cause in tests/it/golden/kinds.rs matches this log line; add one:\n{line}");
        };
        reduced += &format!(": {cause}");
    }
    if let Some(list) = text.split_once("list \"").and_then(|(_, rest)| rest.split('"').next()) {
        reduced += &format!(", list {list}");
    }
    let numbers = if kind.numbers { numbers(text) } else { vec![] };
    if !numbers.is_empty() {
        let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
        reduced += &format!(", {}", numbers.join(" "));
    }
    reduced
}

/// Returns the whole numbers of a text, sorted: not those in quotes, and no parts of times, of paths or of names. `3,100` is one
/// number, and `7.4` is none.
pub fn numbers(text: &str) -> Vec<u64> {
    let outside: String = text.split(['"', '`']).step_by(2).collect::<Vec<_>>().join(" ");
    let words = outside.split(|c: char| c.is_whitespace() || "()[]{}".contains(c));
    let mut numbers: Vec<u64> = words.filter_map(number).collect();
    numbers.sort_unstable();
    numbers
}

/// Returns the number of a word such as `12`, `3,100;` or `offset=5`.
fn number(word: &str) -> Option<u64> {
    let word = word.trim_matches(|c: char| ".,;:?!…".contains(c));
    word.replace(',', "").parse().ok()
}

#[test]
fn a_line_is_reduced_to_what_no_wording_changes() {
    for (line, expected) in [
        (
            "INFO list \"a7\" finished in 7.4 seconds: 3,100 records in the window, 12 seen: 3 sent (1 opted out).",
            "INFO finished, list a7, 1 3 12 3100",
        ),
        ("INFO list \"a\" updated, latest timestamp \"2026-11-21 12:00:00\".", "INFO written, list a"),
        (
            "WARN could not read list `a`: 503 service unavailable; attempt 2 of 6 in 3.0 s.",
            "WARN tried again: 503",
        ),
        ("ERROR /tmp/7/state.json:1:38: 2 x; this entry does not run.\n1 | 3", "ERROR entry does not run, 2"),
    ] {
        assert_eq!(reduced(line), expected);
    }
    assert_eq!(numbers("at 2026-11-21 12:00:05 of /a/5, 9; x5, Rows { held: 4, seen: 2 }."), [2, 4, 9]);
}

#[test]
#[should_panic(expected = "add one")]
fn a_line_of_no_known_kind_would_be_found() {
    reduced("INFO nobody has written this line yet");
}
