//! Finds the digits of a phone number in a text. Pure.

/// Zero in each other script whose digits are read.
const ZEROS: [char; 15] = ['٠', '۰', '߀', '०', '০', '੦', '૦', '୦', '௦', '౦', '೦', '൦', '๐', '໐', '０'];
const PLUS: [char; 2] = ['+', '＋'];
const SPACES: [char; 3] = [' ', '\u{a0}', '\t'];
const SPACES_AND_COMMAS: [char; 4] = [' ', '\u{a0}', '\t', ','];
const SEPARATORS: [char; 5] = [' ', '\u{a0}', '\t', ',', '-'];
/// Words before an extension, each with the most digits that it may have. The longest form of a word is first.
const LABELS: [(&str, usize); 26] = [
    ("extensio\u{301}n", 20),
    ("xtensio\u{301}n", 20),
    ("extensio\u{301}", 20),
    ("xtensio\u{301}", 20),
    ("extension", 20),
    ("extensión", 20),
    ("xtension", 20),
    ("xtensión", 20),
    ("extensio", 20),
    ("extensió", 20),
    ("xtensio", 20),
    ("xtensió", 20),
    ("extn", 20),
    ("xtn", 20),
    ("ext", 20),
    ("xt", 20),
    ("ｅｘｔｎ", 20),
    ("ｘｔｎ", 20),
    ("ｅｘｔ", 20),
    ("ｘｔ", 20),
    ("доб", 20),
    ("anexo", 20),
    ("ｉｎｔ", 9),
    ("int", 9),
    ("x", 9),
    ("ｘ", 9),
];

/// The number in a text.
pub struct Found {
    /// Whether a plus is before the digits.
    pub has_plus: bool,
    /// The digits, as values from 0 to 9.
    pub digits: Vec<u8>,
    pub has_extension: bool,
}

/// Returns the number in a text, or `None` if there is none.
pub fn find(text: &str) -> Option<Found> {
    match is_plain(text) {
        true => plain(text),
        false => find_any(text),
    }
}

/// Returns whether a text has only digits and punctuation that begins neither an extension nor a second number, as most
/// texts do.
fn is_plain(text: &str) -> bool {
    let like = |byte| matches!(byte, b'0'..=b'9' | b' ' | b'+' | b'-' | b'.' | b'(' | b')');
    text.bytes().all(like)
}

/// Returns the same as [`find_any`], faster; for plain texts only.
fn plain(text: &str) -> Option<Found> {
    let text = text.trim_start_matches(|c: char| c != '+' && !c.is_ascii_digit());
    let written = text.trim_start_matches('+');
    let mut digits = Vec::with_capacity(written.len());
    digits.extend(written.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0'));
    // At the end, a plus is punctuation.
    let viable = digits.len() >= 3 && !written.trim_end_matches(|c: char| !c.is_ascii_digit()).contains('+');
    viable.then_some(Found { has_plus: written.len() < text.len(), digits, has_extension: false })
}

fn find_any(text: &str) -> Option<Found> {
    let whole;
    let text = if text.contains(';') {
        whole = without_parameters(text);
        &whole
    } else {
        possible(text)
    };
    let number = before_extension(text).filter(|number| is_viable(number) || is_short(number));
    let (number, has_extension) = match number {
        Some(number) if is_viable(text) || is_viable(number) => (number, true),
        _ if is_viable(text) => (text, false),
        _ => return None,
    };
    let written = number.trim_start_matches(PLUS);
    Some(Found { has_plus: written.len() < number.len(), digits: digits(written), has_extension })
}

/// Returns the number of a URI such as `tel:7946-0018;phone-context=+44-20`, with its context before it, or the
/// number in another text. An address within ISDN is left out.
fn without_parameters(text: &str) -> String {
    let number = match text.split_once(";phone-context=") {
        Some((number, context)) => {
            let number = number.split_once("tel:").map_or(number, |(_, number)| number);
            // A context without a plus is a domain, which does not say the country.
            let code = context.split(';').next().filter(|context| context.starts_with('+'));
            [code.unwrap_or_default(), number].concat()
        }
        None => possible(text).to_owned(),
    };
    number.split_once(";isub=").map_or(number.as_str(), |(number, _)| number).to_owned()
}

/// Returns the value of a digit in any of the scripts.
pub fn digit(c: char) -> Option<u8> {
    if c.is_ascii() {
        return c.to_digit(10).and_then(|value| u8::try_from(value).ok());
    }
    let value = |zero: &char| u32::from(c).checked_sub(u32::from(*zero)).filter(|value| *value < 10);
    ZEROS.iter().find_map(value).and_then(|value| u8::try_from(value).ok())
}

/// Returns the part of a text that can be a number: from the first digit or plus, without what ends the text or
/// begins a second number.
fn possible(text: &str) -> &str {
    let start = text.find(|c| PLUS.contains(&c) || digit(c).is_some()).unwrap_or(text.len());
    let text = text[start..].trim_end_matches(|c: char| !c.is_alphanumeric() && c != '#');
    let second = text
        .match_indices(['/', '\\'])
        .find(|(at, _)| text[at + 1..].trim_start_matches(' ').starts_with('x'));
    second.map_or(text, |(at, _)| &text[..at])
}

/// Whether a text can be a number: pluses, three digits with only punctuation between them, then also letters.
fn is_viable(text: &str) -> bool {
    let mut digits = 0;
    let written = text.trim_start_matches(PLUS);
    let fits = written.chars().all(|c| {
        digits += usize::from(digit(c).is_some());
        digit(c).is_some() || is_punctuation(c) || (digits >= 3 && c.is_ascii_alphabetic())
    });
    fits && digits >= 3
}

/// Whether a text is a short number: two digits alone.
fn is_short(text: &str) -> bool {
    text.chars().count() == 2 && text.chars().all(|c| digit(c).is_some())
}

fn is_punctuation(c: char) -> bool {
    matches!(c, '-' | 'x' | 'X' | '*' | ' ' | '(' | ')' | '.' | '[' | ']' | '/' | '~')
        || matches!(c, '\u{a0}' | '\u{ad}' | '\u{200b}' | '\u{2010}'..='\u{2015}' | '\u{2053}' | '\u{2060}')
        || matches!(c, '\u{2212}' | '\u{223c}' | '\u{3000}' | '\u{30fc}' | '\u{ff08}' | '\u{ff09}')
        || matches!(c, '\u{ff0d}'..='\u{ff0f}' | '\u{ff3b}' | '\u{ff3d}' | '\u{ff5e}')
}

/// Returns the text before an extension, such as `x12`, `ext. 12`, `,,12` or ` 12#` at the end.
fn before_extension(text: &str) -> Option<&str> {
    let (body, hash) = text.strip_suffix('#').map_or((text, false), |body| (body, true));
    let before = body.trim_end_matches(|c| digit(c).is_some());
    let count = body[before.len()..].chars().count();
    if !(1..=20).contains(&count) {
        return None;
    }
    let labeled = before.trim_end_matches(SEPARATORS);
    let separators = &before[labeled.len()..];
    let labeled = labeled.strip_suffix([':', '.', '．']).unwrap_or(labeled);
    let words = LABELS.iter().filter(|(_, most)| count <= *most && labeled.ends_with(char::is_alphabetic));
    let word = words.filter_map(|(word, _)| without_word(labeled, word)).next();
    let sign = labeled.strip_suffix(['#', '＃', '~', '～']).filter(|_| count <= 9);
    let dialed = labeled.strip_suffix(';').filter(|_| count <= 15);
    let comma = if count <= 9 { "," } else { ",," };
    let comma = separators.find(comma).map(|at| &before[..before.len() - separators.len() + at]);
    let comma = comma.or_else(|| labeled.ends_with(',').then(|| labeled.trim_end_matches(',')));
    let starts = [
        without_word(before, ";ext=").filter(|_| !hash),
        word.or(sign).map(|number| number.trim_end_matches(SPACES_AND_COMMAS)),
        dialed.or(comma.filter(|_| count <= 15)).map(|number| number.trim_end_matches(SPACES)),
        (hash && count <= 6 && before.ends_with(['-', ' '])).then(|| before.trim_end_matches(['-', ' '])),
    ];
    starts.into_iter().flatten().min_by_key(|number| number.len())
}

/// Returns a text without a word at its end, in capital or small letters.
fn without_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let mut rest = text.chars();
    for letter in word.chars().rev() {
        rest.next_back().filter(|c| *c == letter || c.to_lowercase().eq([letter]))?;
    }
    Some(rest.as_str())
}

/// Returns the digits of a number. Letters stand for digits, as on a telephone, if there are at least three.
fn digits(number: &str) -> Vec<u8> {
    let spells = number.chars().filter(char::is_ascii_alphabetic).count() >= 3;
    let mut digits = Vec::with_capacity(number.len());
    digits.extend(number.chars().filter_map(|c| digit(c).or_else(|| on_keypad(c).filter(|_| spells))));
    digits
}

fn on_keypad(letter: char) -> Option<u8> {
    Some(match letter.to_ascii_uppercase() {
        'A'..='C' => 2,
        'D'..='F' => 3,
        'G'..='I' => 4,
        'J'..='L' => 5,
        'M'..='O' => 6,
        'P'..='S' => 7,
        'T'..='V' => 8,
        'W'..='Z' => 9,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_short_way_finds_what_the_long_one_does(text in "[0-9 +.()-]{0,20}|[+ (]{0,3}[0-9 ().-]{0,20}") {
            let parts = |found: Option<Found>| {
                found.map(|Found { has_plus, digits, has_extension }| (has_plus, digits, has_extension))
            };
            prop_assert!(is_plain(&text));
            prop_assert_eq!(parts(plain(&text)), parts(find_any(&text)), "{}", text);
        }
    }
}
