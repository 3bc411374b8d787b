//! Inserts new fields into the text of an entry, in its layout. Pure.

use jsonc_parser::{
    ast::{Object, ObjectProp},
    common::{Range, Ranged},
};

/// A range of bytes of the text, and what replaces it.
pub struct Splice {
    pub at: Range,
    pub text: String,
}

/// Inserts new fields after the last one, in its layout: each on its own line if the last field has its own
/// line, otherwise on the same line. A comment after the last field stays directly after it.
pub fn insert(
    text: &str,
    newline: &str,
    object: &Object,
    last: &ObjectProp,
    fields: &[(&str, String)],
) -> Vec<Splice> {
    let brace = object.end() - 1;
    let comma = comma(text, last.end(), brace);
    let (end, line_comment) = comments(text, comma.unwrap_or(last.end()), brace);
    let line_start = text[..last.start()].rfind('\n').map_or(0, |newline| newline + 1);
    let indent: String = text[line_start..last.start()].chars().take_while(|c| c.is_whitespace()).collect();
    let own_line = line_start > object.start() && line_start + indent.len() == last.start();
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
