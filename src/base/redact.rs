//! Makes another party's text fit for a log.

/// One line, short, without addresses, long numbers, and what stands in quotes: those may be somebody's data.
pub fn line(text: &str) -> String {
    let quoted = text.split('"').enumerate().map(|(index, part)| if index % 2 == 1 { "…" } else { part });
    let text = quoted.collect::<Vec<_>>().join("\"");
    let digits = |word: &str| word.chars().filter(char::is_ascii_digit).count();
    let words = text.split_whitespace().map(|word| match word {
        word if word.contains('@') => "<address>",
        word if digits(word) > 4 => "<number>",
        word => word,
    });
    let line: String =
        words.collect::<Vec<_>>().join(" ").chars().filter(|c| !c.is_control()).take(200).collect();
    line.trim_end_matches('.').to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_somebodys_data_is_taken_out() {
        for (text, expected) in [
            ("Resource Not Found: gone.", "resource not found: gone"),
            ("ada@example.com looks fake", "<address> looks fake"),
            ("value \"Lovelace, Ada\" of \"lastname\" is bad", "value \"…\" of \"…\" is bad"),
            ("call +442079460018\nnow", "call <number> now"),
            ("more than 100 records", "more than 100 records"),
            ("an open \"quote", "an open \"…"),
        ] {
            assert_eq!(line(text), expected);
        }
        assert_eq!(line(&"x".repeat(300)).len(), 200);
    }
}
