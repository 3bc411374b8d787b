//! Findings: problems and warnings, each with its place in the file.

use std::fmt;

use crate::base::fault::Fault;

/// The byte-order mark. Some editors write it, but JSON parsers reject it.
pub const BOM: &str = "\u{feff}";

/// A place in a text. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

impl Place {
    /// Returns the place of a byte offset in a text. For many places in one text, use [`Lines`].
    pub fn of(text: &str, offset: usize) -> Self {
        Lines::of(text).place(offset)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} column {}", self.line, self.column)
    }
}

/// A problem or a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub place: Place,
    /// What is wrong and what was expected.
    pub text: String,
    /// The line, or the part of it near the place, with a caret below the place.
    pub excerpt: String,
}

/// Number of characters of the line that are shown before and after the place.
const NEAR: usize = 60;

/// Number of bytes for which [`Lines`] has one count of characters.
const BLOCK: usize = 256;

/// A text with an index of its lines and characters. A place is found in it without reading the text from its
/// start again, so that reading a file takes time in proportion to its length, even if all of it is one line.
pub struct Lines<'a> {
    text: &'a str,
    /// Byte offset of each line.
    starts: Vec<usize>,
    /// Number of characters that begin before each block.
    chars: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// Indexes a text: a whole file without a byte-order mark.
    pub fn of(text: &'a str) -> Self {
        let starts =
            [0].into_iter().chain(text.match_indices('\n').map(|(newline, _)| newline + 1)).collect();
        let mut before = 0;
        let mut chars = vec![0];
        for block in text.as_bytes().chunks(BLOCK) {
            before += begun(block);
            chars.push(before);
        }
        Lines { text, starts, chars }
    }

    /// Returns the whole text.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Returns the place of a byte offset.
    pub fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        Place { line, column: self.chars_before(offset) - self.chars_before(start) + 1 }
    }

    /// Returns the byte offset of a place; the end of the text if it has no such place.
    pub fn offset_of(&self, place: Place) -> usize {
        let start = self.starts.get(place.line - 1).copied().unwrap_or(self.text.len());
        self.offset(self.chars_before(start) + place.column - 1)
    }

    /// Makes a finding.
    pub fn finding(&self, place: Place, what: impl Into<String>) -> Finding {
        let from = place.column.saturating_sub(NEAR + 1);
        let shown = self.shown(place.line, from);
        Finding::shown(place, what.into(), from, shown)
    }

    /// Returns up to `2 * NEAR` characters of a line, after its first `from` characters.
    fn shown(&self, line: usize, from: usize) -> &'a str {
        let Some(start) = self.starts.get(line - 1) else { return "" };
        let end = self.starts.get(line).map_or(self.text.len(), |next| next - 1);
        let first = self.chars_before(*start) + from;
        let (from, to) = (self.offset(first).min(end), self.offset(first + 2 * NEAR).min(end));
        self.text[from..to].trim_end_matches('\r')
    }

    fn chars_before(&self, offset: usize) -> usize {
        let block = offset / BLOCK;
        #[cfg(test)]
        steps::add(offset - block * BLOCK);
        self.chars[block] + begun(&self.text.as_bytes()[block * BLOCK..offset])
    }

    /// Returns the byte offset of the character that `before` characters precede; the end without one.
    fn offset(&self, before: usize) -> usize {
        let block = self.chars.partition_point(|chars| *chars <= before) - 1;
        let (start, mut left) = (block * BLOCK, before - self.chars[block]);
        let bytes = self.text.as_bytes().iter().enumerate().skip(start);
        for (offset, byte) in bytes {
            #[cfg(test)]
            steps::add(1);
            if is_begin(*byte) {
                if left == 0 {
                    return offset;
                }
                left -= 1;
            }
        }
        self.text.len()
    }
}

/// Returns whether a character begins with this byte of UTF-8.
fn is_begin(byte: u8) -> bool {
    byte & 0b1100_0000 != 0b1000_0000
}

/// Returns the number of characters that begin in a part of a text.
fn begun(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| is_begin(**byte)).count()
}

/// Counts the steps of work that must not grow faster than the file.
#[cfg(test)]
pub mod steps {
    use std::cell::Cell;

    thread_local!(static STEPS: Cell<usize> = const { Cell::new(0) });

    pub fn add(steps: usize) {
        STEPS.with(|all| all.set(all.get() + steps));
    }

    /// Returns the number of steps of `work`.
    pub fn of(work: impl FnOnce()) -> usize {
        let before = STEPS.with(Cell::get);
        work();
        STEPS.with(Cell::get) - before
    }
}

impl Finding {
    /// Makes a finding. `text` is the whole file without a byte-order mark. For many findings in one text, use
    /// [`Lines`].
    pub fn new(text: &str, place: Place, what: impl Into<String>) -> Self {
        Lines::of(text).finding(place, what)
    }

    /// Makes a finding with a part of its line, `shown`, which follows the first `from` characters.
    fn shown(place: Place, text: String, from: usize, shown: &str) -> Self {
        // Tabs are repeated, so that the caret is below the place.
        let pad: String =
            shown.chars().take(place.column - 1 - from).map(|c| if c == '\t' { c } else { ' ' }).collect();
        let gutter = place.line.to_string();
        let blank = " ".repeat(gutter.len());
        let excerpt = format!(" {gutter} | {shown}\n {blank} | {pad}^");
        Finding { place, text, excerpt }
    }

    /// Returns `path:line:column: text`, the format of compilers.
    pub fn at(&self, path: &std::path::Path) -> String {
        format!("{}:{}:{}: {}", path.display(), self.place.line, self.place.column, self.text)
    }

    /// Makes the fault for a file that is unusable as a whole because of this finding.
    pub fn fault(&self, path: &std::path::Path) -> Fault {
        Fault::process(self.at(path)).hint("fix the file").excerpt(&self.excerpt)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_line_is_shown_with_a_caret_at_the_place() {
        let text = "[\n\t{\"é\": }\r\n]";
        let finding = Finding::new(text, Place::of(text, text.find('}').unwrap()), "expected a value");
        assert_eq!(finding.excerpt, " 2 | \t{\"é\": }\n   | \t      ^");
    }

    proptest! {
        /// Compares with a count from the start of the text.
        #[test]
        fn a_place_is_the_number_of_lines_and_of_characters_before_it(
            parts in prop::collection::vec(prop::sample::select(vec!["a", "é", "\u{1f600}", "\n", "\r\n", "\t"]), 0..700),
            from in 0usize..700,
        ) {
            let text = parts.concat();
            let lines = Lines::of(&text);
            let offsets: Vec<usize> = (0..=text.len()).filter(|at| text.is_char_boundary(*at)).collect();
            let offset = offsets[from.min(offsets.len() - 1)];
            let before = &text[..offset];
            let line = before.split('\n').next_back().unwrap();
            let place = Place { line: before.matches('\n').count() + 1, column: line.chars().count() + 1 };
            prop_assert_eq!(lines.place(offset), place);
            let whole = text.split('\n').nth(place.line - 1).unwrap();
            let skipped = place.column.saturating_sub(NEAR + 1);
            let shown: String = whole.chars().skip(skipped).take(2 * NEAR).collect();
            let excerpt = lines.finding(place, "").excerpt;
            let first = format!(" {} | {}\n ", place.line, shown.trim_end_matches('\r'));
            prop_assert!(excerpt.starts_with(&first), "{}", excerpt);
        }
    }

    #[test]
    fn of_a_very_long_line_what_is_near_is_shown() {
        let text = format!("[{}!{}]", "1,".repeat(5000), "2,".repeat(5000));
        let finding = Finding::new(&text, Place::of(&text, text.find('!').unwrap()), "expected a value");
        let (line, caret) = finding.excerpt.split_once('\n').unwrap();
        assert!(line.len() < 130);
        assert_eq!(line.chars().nth(caret.find('^').unwrap()), Some('!'));
    }
}
