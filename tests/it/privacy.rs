//! No output contains personal data or a key. Every world and every run of the program is searched for them
//! at its end.

use std::{fs, path::Path};

use crate::support::OUT;
use base64::{Engine, engine::general_purpose::STANDARD};
use importer::{
    sandbox::{MAILCHIMP_KEY, OMETRIA_KEY, SECOND_MAILCHIMP_KEY, SECOND_OMETRIA_KEY, receiver, when_i_work},
    state::layout::DEAD_LETTER,
};

/// Data of the invented people: the ends of their addresses, names, a part of their numbers, an IP address.
const PRIVATE: [&str; 8] =
    ["@example.com", "Lovelace", "Dijkstra", "Liskov", "McCarthy", "7946 0", "+4420794", "203.0.113.7"];

/// The end of every token that the sandbox issues.
const TOKEN: &str = ".sandbox";

/// Fails if the text contains such data; `what` names the text in the failure.
pub fn search(text: &str, what: &str) {
    let basic = STANDARD.encode(format!("importer:{MAILCHIMP_KEY}"));
    let keys = [
        MAILCHIMP_KEY,
        OMETRIA_KEY,
        SECOND_MAILCHIMP_KEY,
        SECOND_OMETRIA_KEY,
        when_i_work::KEY,
        when_i_work::PASSWORD,
        receiver::TOKEN,
    ];
    for key in keys.into_iter().chain([basic.as_str(), TOKEN]) {
        assert!(!text.contains(key), "a key is in {what}");
    }
    for private in PRIVATE {
        let found = text.lines().position(|line| line.contains(private));
        let hint = private.trim_start_matches('@');
        assert!(found.is_none(), "{hint:?} is in {what}, line {found:?}");
    }
}

/// Searches all files of a state folder except dead letters, which contain the rejected payloads, and the
/// files of sinks.
pub fn search_folder(folder: &Path) {
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != DEAD_LETTER && name != OUT) {
            search_folder(&path);
        } else if path.is_file() {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            search(&text, &path.display().to_string());
        }
    }
}

#[test]
#[should_panic(expected = "\"example.com\" is in a text, line Some(1)")]
fn an_address_would_be_found() {
    search("nobody\nada@example.com is here", "a text");
}

#[test]
#[should_panic(expected = "a key is in a text")]
fn a_key_in_a_header_would_be_found() {
    search(&format!("Basic {}", STANDARD.encode(format!("importer:{MAILCHIMP_KEY}"))), "a text");
}
