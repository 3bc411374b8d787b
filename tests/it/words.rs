//! Keeps phrases over which readers stumble out of doc comments, messages and documents.

use std::{fs, path::Path};

use crate::house::sources;

/// Phrases that read like a translation, or that use a pronoun where a noun is needed, with what to write instead.
const BANNED: [(&str, &str); 28] = [
    ("becomes of", "name the outcome: the fate of a record, the result of a run"),
    ("became of", "name the outcome: the fate of a record, the result of a run"),
    ("has become of", "name the outcome: the fate of a record, the result of a run"),
    ("is told", "logged, reported, returned or declared"),
    ("are told", "logged, reported, returned or declared"),
    ("was told", "logged, reported, returned or declared"),
    ("were told", "logged, reported, returned or declared"),
    ("be told", "logged, reported, returned or declared"),
    ("tells of", "reports"),
    ("told of", "reported"),
    ("whoever", "records that …; people only where consent is the subject"),
    ("stands twice", "duplicate"),
    ("nothing is asked", "pausing all requests to …"),
    ("waits for nothing", "stalled"),
    ("asks nobody", "makes no request"),
    ("asked nobody", "made no request"),
    ("so many", "name the quantity: 1,000 records"),
    ("so long", "name the quantity: for 60 s"),
    ("so often", "name the quantity: every 60 s"),
    ("the usual", "the default"),
    ("is usual", "is the default"),
    ("older picture", "stale snapshot"),
    ("is no length of time", "invalid duration"),
    ("somebody is missing", "members are missing"),
    ("says nothing new", "does not trigger …"),
    ("what it is said of", "what the entry sets"),
    ("of the both", "of both"),
    ("informations", "information"),
];

/// Pieces of lines in which such a phrase is right, each with the reason.
const ALLOWED: [(&str, &str); 1] = [("so often that", "names the consequence")];

/// A line that people read, and its place.
struct Read {
    place: String,
    text: String,
}

/// Returns the doc comments, comments and string literals of the sources outside tests.
fn of_sources() -> Vec<Read> {
    let mut read = Vec::new();
    for (name, text) in sources() {
        if name.ends_with("_tests.rs") {
            continue;
        }
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        for (number, line) in text.lines().enumerate() {
            let place = format!("src/{name}:{}", number + 1);
            if let Some((_, comment)) = line.split_once("//") {
                read.push(Read { place: place.clone(), text: comment.to_owned() });
            }
            let literals = line.split('"').skip(1).step_by(2).map(str::to_owned);
            read.extend(literals.map(|text| Read { place: place.clone(), text }));
            // A literal that goes on from the line before.
            if line.trim_start().chars().next().is_some_and(char::is_lowercase)
                && line.trim_end().ends_with('\\')
            {
                read.push(Read { place, text: line.trim().to_owned() });
            }
        }
    }
    read
}

/// Returns the lines of the documents without their code blocks.
fn of_documents() -> Vec<Read> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|file| file.unwrap().path());
    let top = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root.join(name));
    let files: Vec<_> = top.into_iter().filter(|path| path.exists()).chain(docs).collect();
    let mut read = Vec::new();
    for path in files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let text = fs::read_to_string(path).unwrap();
        let mut code = false;
        for (number, line) in text.lines().enumerate() {
            code ^= line.trim_start().starts_with("```");
            if !code {
                let place = format!("{}:{}", path.file_name().unwrap().display(), number + 1);
                read.push(Read { place, text: line.to_owned() });
            }
        }
    }
    assert!(files.len() >= 6, "the documents were not found");
    read
}

/// Returns the banned phrases in a text, each with its replacement.
fn banned(text: &str) -> Vec<(&'static str, &'static str)> {
    let lower = text.to_lowercase();
    if ALLOWED.iter().any(|(right, _)| lower.contains(right)) {
        return vec![];
    }
    let whole = |phrase: &str| {
        lower.match_indices(phrase).any(|(at, _)| {
            let before = lower[..at].chars().next_back();
            let after = lower[at + phrase.len()..].chars().next();
            !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
        })
    };
    BANNED.iter().filter(|(phrase, _)| whole(phrase)).copied().collect()
}

#[test]
fn no_comment_message_or_document_has_a_banned_phrase() {
    let lines: Vec<Read> = of_sources().into_iter().chain(of_documents()).collect();
    assert!(lines.len() > 3000, "only {} lines were found", lines.len());
    let mut found = Vec::new();
    for Read { place, text } in &lines {
        for (phrase, instead) in banned(text) {
            found.push(format!("{place}: \"{phrase}\" ({instead}): {}", text.trim()));
        }
    }
    assert!(found.is_empty(), "{} banned phrases:\n{}", found.len(), found.join("\n"));
}

#[test]
fn a_banned_phrase_would_be_found() {
    assert_eq!(banned("/// What becomes of a record.").len(), 1);
    assert_eq!(banned("it is told again"), [("is told", "logged, reported, returned or declared")]);
    assert!(banned("it is toldest").is_empty() && banned("asks so often that it fails").is_empty());
}
