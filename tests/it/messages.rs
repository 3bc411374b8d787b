//! Compares the messages that docs/troubleshooting.md quotes with those of the program.

use std::fs;

use crate::{
    documents::{prose, root},
    house::sources,
};

/// Returns a text of the sources as a person reads it: literals that go on in the next line are joined, and
/// escaped quotes are quotes.
fn readable(source: &str) -> String {
    let mut text = String::new();
    for line in source.lines() {
        match line.strip_suffix('\\') {
            Some(begin) => text += begin.trim_start(),
            None => {
                text += line.trim();
                text.push('\n');
            }
        }
    }
    text.replace("\\\"", "\"")
}

/// Returns the messages that the document of troubleshooting quotes: the code spans of its headings and of the
/// first columns of its tables, without what stands for a value.
fn quoted(text: &str) -> Vec<String> {
    let cell = |line: &str| {
        let row = line.strip_prefix('|').and_then(|row| row.split(" | ").next()).map(str::to_owned);
        row.or_else(|| line.starts_with('#').then(|| line.to_owned()))
    };
    let spans = prose(text).into_iter().filter_map(|(_, line)| cell(line)).flat_map(|cell| {
        // A span that contains a backtick is between two.
        let (mut spans, mut rest) = (vec![], cell.as_str());
        while let Some(at) = rest.find('`') {
            let fence = if rest[at..].starts_with("``") { "``" } else { "`" };
            let inner = &rest[at + fence.len()..];
            let Some(end) = inner.find(fence) else { break };
            spans.push(inner[..end].trim().to_owned());
            rest = &inner[end + fence.len()..];
        }
        spans
    });
    spans
        .flat_map(|span| span.split('…').map(|part| part.trim().to_owned()).collect::<Vec<_>>())
        .filter(|part| !part.is_empty())
        .collect()
}

#[test]
fn every_message_that_the_troubleshooting_quotes_is_one_of_the_program() {
    let page = fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let program: String = sources()
        .iter()
        .filter(|(name, _)| !name.ends_with("_tests.rs"))
        .map(|(_, text)| readable(text.split("#[cfg(test)]\nmod tests").next().unwrap()))
        .chain([fs::read_to_string(root().join("run.sh")).unwrap()])
        .collect();
    let quoted = quoted(&page);
    let missing: Vec<&String> = quoted.iter().filter(|part| !program.contains(part.as_str())).collect();
    assert!(missing.is_empty(), "not in src/: {missing:#?}");
    assert!(quoted.len() > 60, "only {} messages were found", quoted.len());
}

#[test]
fn a_message_is_found_as_a_person_reads_it() {
    let source = "warn!(\n    \"list {list:?}: a long \\\n     message, \\\"quoted\\\"\"\n);\n";
    assert!(readable(source).contains("a long message, \"quoted\""), "{}", readable(source));
    let page = "## `one` and ``two `x` of``\n\n| message | |\n| --- | --- |\n| `a … b` | `no` |\n\n`no`\n";
    assert_eq!(quoted(page), ["one", "two `x` of", "a", "b"]);
}
