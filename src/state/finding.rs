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
    /// Returns the place of a byte offset in a text.
    pub fn of(text: &str, offset: usize) -> Self {
        let before = &text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
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

impl Finding {
    /// Makes a finding. `text` is the whole file without a byte-order mark.
    pub fn new(text: &str, place: Place, what: impl Into<String>) -> Self {
        let line = text.lines().nth(place.line - 1).unwrap_or("").trim_end_matches('\r');
        let from = place.column.saturating_sub(NEAR + 1);
        let shown: String = line.chars().skip(from).take(2 * NEAR).collect();
        // Tabs are repeated, so that the caret is below the place.
        let pad: String =
            shown.chars().take(place.column - 1 - from).map(|c| if c == '\t' { c } else { ' ' }).collect();
        let gutter = place.line.to_string();
        let blank = " ".repeat(gutter.len());
        let excerpt = format!(" {gutter} | {shown}\n {blank} | {pad}^");
        Finding { place, text: what.into(), excerpt }
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
    use super::*;

    #[test]
    fn the_line_is_shown_with_a_caret_at_the_place() {
        let text = "[\n\t{\"é\": }\r\n]";
        let finding = Finding::new(text, Place::of(text, text.find('}').unwrap()), "expected a value");
        assert_eq!(finding.excerpt, " 2 | \t{\"é\": }\n   | \t      ^");
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
