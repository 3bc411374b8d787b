//! Removes personal data from a third party's text, so that it may be logged.

/// Opening and closing quotation marks.
const QUOTES: [(char, char); 5] = [('"', '"'), ('`', '`'), ('\'', '\''), ('“', '”'), ('‘', '’')];

/// Returns the text as one line of at most 200 characters, in lower case. Removes email addresses, numbers of
/// five or more digits, and texts in quotes or after an equals sign, because each may be personal data.
pub fn line(text: &str) -> String {
    let text = without_quoted(text);
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut shown: Vec<String> = vec![];
    let mut index = 0;
    while index < words.len() {
        // A number may be written in groups of digits.
        let group = words[index..].iter().take_while(|word| is_numeric(word)).count().max(1);
        let found: usize = words[index..index + group].iter().map(|word| digits(word)).sum();
        match words[index].split_once('=') {
            _ if words[index].contains('@') => shown.push("<address>".into()),
            _ if found > 4 => shown.push("<number>".into()),
            Some((name, _)) => shown.push(format!("{name}=…")),
            None => shown.extend(words[index..index + group].iter().map(|word| (*word).to_owned())),
        }
        index += group;
    }
    let line: String = shown.join(" ").chars().filter(|c| !c.is_control()).take(200).collect();
    line.trim_end_matches('.').to_lowercase()
}

fn digits(word: &str) -> usize {
    word.chars().filter(char::is_ascii_digit).count()
}

fn is_numeric(word: &str) -> bool {
    digits(word) > 0 && word.chars().all(|c| c.is_ascii_digit() || "+-()./,".contains(c))
}

/// Replaces quoted texts. An apostrophe within a word opens no quotation; an open one extends to the end.
fn without_quoted(text: &str) -> String {
    let mut shown = String::new();
    let mut until: Option<char> = None;
    let mut before = ' ';
    for c in text.chars() {
        match until {
            Some(close) if c == close && before != '\\' => {
                until = None;
                shown.push(c);
            }
            Some(_) => {}
            None => {
                let opens = QUOTES.iter().find(|(open, _)| *open == c && !before.is_alphanumeric());
                shown.push(c);
                if let Some((_, close)) = opens {
                    shown.push('…');
                    until = Some(*close);
                }
            }
        }
        before = c;
    }
    shown
}

/// Returns a text without control characters, which could move the cursor of a terminal. Lines and tabs stay.
pub fn printable(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n' && c != '\t', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn possible_personal_data_is_removed() {
        for (text, expected) in [
            ("Resource Not Found: gone.", "resource not found: gone"),
            ("ada@example.com looks fake", "<address> looks fake"),
            ("value \"Lovelace, Ada\" of \"lastname\" is bad", "value \"…\" of \"…\" is bad"),
            ("value \"say \\\"Lovelace\\\" now\" is bad", "value \"…\" is bad"),
            ("'Lovelace' is not of type 'number'", "'…' is not of type '…'"),
            ("the value `Lovelace` or “Ada” is bad", "the value `…` or “…” is bad"),
            ("you've asked, and it can't be done", "you've asked, and it can't be done"),
            ("lastname=Lovelace is bad", "lastname=… is bad"),
            ("invalid phone: +44 20 7946 0018 of 10", "invalid phone: <number> of 10"),
            ("call +442079460018\nnow", "call <number> now"),
            ("more than 100 records", "more than 100 records"),
            ("an open \"quote of Ada", "an open \"…"),
        ] {
            assert_eq!(line(text), expected);
        }
        assert_eq!(line(&"x".repeat(300)).len(), 200);
    }
}
