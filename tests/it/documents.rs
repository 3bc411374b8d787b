//! Checks what the documents say about files, links, commands and variables, and the map of the code.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use importer::{
    app::variables::{self, GENERAL},
    base::spec::Variable,
    cli, mapping, sink, source,
};

use crate::house::sources;

/// Longest line of prose, in characters.
const WIDTH: usize = 100;
/// Most lines of README.md.
const README_LINES: usize = 150;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns every document as its path from the root and its text.
pub fn documents() -> Vec<(String, String)> {
    fn visit(folder: &Path, found: &mut Vec<PathBuf>) {
        for path in fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
            if path.is_dir() {
                visit(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    let names = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];
    let mut paths: Vec<PathBuf> = names.iter().map(|name| root().join(name)).collect();
    visit(&root().join("docs"), &mut paths);
    paths.sort();
    let name = |path: &Path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    let found: Vec<_> = paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect();
    assert!(found.len() >= 9, "the documents were not found");
    found
}

/// Returns the code blocks of a document in this language; those without a language for `""`.
pub fn blocks(text: &str, language: &str) -> Vec<String> {
    let (mut found, mut open): (Vec<String>, Option<String>) = (vec![], None);
    let mut wanted = false;
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(named), None) => (wanted, open) = (named == language, Some(String::new())),
            (Some(_), Some(_)) => found.extend(open.take().filter(|_| wanted)),
            (None, Some(block)) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

/// Returns the lines outside code blocks, each with its number.
pub fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut code = false;
    let lines = text.lines().enumerate().filter(|(_, line)| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    });
    lines.map(|(index, line)| (index + 1, line)).collect()
}

#[test]
fn the_readme_is_short() {
    let (_, readme) = documents().into_iter().find(|(name, _)| name == "README.md").unwrap();
    let lines = readme.lines().count();
    assert!(lines <= README_LINES, "README.md has {lines} lines");
}

/// Returns whether a line may be longer than the others: a table, or a link that can't be broken.
fn may_be_long(line: &str) -> bool {
    line.trim_start().starts_with('|') || !line.trim().contains(' ') || line.trim_start().starts_with("[")
}

#[test]
fn the_documents_are_wrapped() {
    for (name, text) in documents() {
        for (number, line) in prose(&text) {
            let length = line.chars().count();
            assert!(
                length <= WIDTH || may_be_long(line),
                "{name}:{number} has {length} characters; wrap it at {WIDTH}"
            );
        }
    }
}

/// Returns the anchor that a heading gets where repositories are shown: lower case, hyphens for spaces, no marks.
fn anchor(heading: &str) -> String {
    let kept = |c: char| c.is_alphanumeric() || " -_".contains(c);
    heading.to_lowercase().chars().filter(|c| kept(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).into_iter().filter_map(|(_, line)| {
        let title = line.trim_start_matches('#');
        (line.starts_with('#') && title.starts_with(' ')).then(|| anchor(title.trim()))
    });
    headings.collect()
}

/// Returns the targets of the links in a text, without those to other sites.
fn links(text: &str) -> Vec<String> {
    let prose: String = prose(text).into_iter().map(|(_, line)| format!("{line}\n")).collect();
    let targets = prose.split("](").skip(1).map(|rest| rest.split(')').next().unwrap().to_owned());
    targets.filter(|target| !target.contains("://")).collect()
}

#[test]
fn every_link_between_documents_leads_to_a_place() {
    let documents = documents();
    let mut found = 0;
    for (name, text) in &documents {
        for link in links(text) {
            let (file, anchor) = link.split_once('#').map_or((link.as_str(), None), |(a, b)| (a, Some(b)));
            let path = match file {
                "" => root().join(name),
                file => root().join(name).parent().unwrap().join(file),
            };
            assert!(path.exists(), "{name}: there is no {link}");
            if let Some(anchor) = anchor {
                let text = fs::read_to_string(&path).unwrap();
                assert!(anchors(&text).contains(anchor), "{name}: {file} has no heading #{anchor}");
            }
            found += 1;
        }
    }
    assert!(found > 80, "only {found} links were found");
}

/// Verbs of `run.sh` that are not commands of the program.
const VERBS: [&str; 7] = ["build", "dist", "test", "soak", "bench", "version", "help"];

/// Returns what is wrong with a command line of a document, if it is one of importer or `run.sh`.
fn wrong_command(line: &str) -> Option<String> {
    let line = line.split(" #").next().unwrap().split(" >").next().unwrap().trim();
    let mut words: Vec<&str> = line.split_whitespace().skip_while(|word| word.contains('=')).collect();
    let program = *words.first()?;
    match program {
        "importer" | "target/release/importer" => {}
        "./run.sh" if words.get(1).is_some_and(|verb| VERBS.contains(verb)) => return None,
        "./run.sh" => {}
        _ => return None,
    }
    words[0] = "importer";
    let refused = cli::command("").try_get_matches_from(words).err();
    // A request for help or for the version is no error.
    refused.filter(clap::Error::use_stderr).map(|error| format!("{line}: {error}"))
}

#[test]
fn every_command_in_the_documents_is_one_of_the_program() {
    let mut found = 0;
    for (name, text) in documents() {
        for block in blocks(&text, "sh") {
            for line in block.lines() {
                found += usize::from(line.contains("importer ") || line.contains("./run.sh "));
                assert_eq!(wrong_command(line), None, "{name}");
            }
        }
        // Commands within a sentence, if they have arguments; a word in capitals stands for a value.
        let prose: String = prose(&text).into_iter().map(|(_, line)| format!("{} ", line.trim())).collect();
        for span in prose.split('`').skip(1).step_by(2).filter(|span| !span.contains('…')) {
            let line = span.replace(" N", " 1").replace("KEY|EMAIL", "KEY");
            let is_command = line.starts_with("importer ") || line.starts_with("./run.sh ");
            let is_name = line.split(' ').skip(1).all(|word| word.bytes().all(|c| c.is_ascii_lowercase()));
            if is_command && !is_name {
                assert_eq!(wrong_command(&line), None, "{name}");
                found += 1;
            }
        }
    }
    assert!(found > 40, "only {found} commands were found");
    let verbs = fs::read_to_string(root().join("run.sh")).unwrap();
    assert!(VERBS.iter().all(|verb| verbs.contains(verb)));
}

#[test]
fn a_command_that_does_not_exist_would_be_found() {
    for line in ["importer go --onec", "./run.sh fly", "importer verify", "importer state undo 3", "importer"]
    {
        assert!(wrong_command(line).is_some(), "{line}");
    }
    for line in [
        "docker build .",
        "",
        "# importer fly",
        "importer go --once > a",
        "IMPORTER_RUNTIME=cargo ./run.sh test",
    ] {
        assert_eq!(wrong_command(line), None, "{line}");
    }
}

/// Returns the words of a text that look like variables of the environment.
fn variables_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let upper = |word: &&str| {
        word.contains('_') && word.bytes().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_')
    };
    words.filter(upper).collect()
}

/// Beginnings of variables; other words in capitals are constants of the code or of another program.
const PREFIXES: [&str; 9] =
    ["MAILCHIMP_", "OMETRIA_", "WHEN_I_WORK_", "HTTP_SINK_", "REST_", "SQL_", "IMPORTER_", "RUST_", "SOAK_"];

#[test]
fn every_variable_in_the_documents_exists() {
    let specs =
        [source::CATALOG, mapping::CATALOG, sink::CATALOG].into_iter().flat_map(|catalog| catalog.specs);
    let declared: Vec<&Variable> = specs.flat_map(|spec| spec.variables).chain(&GENERAL).collect();
    let scripts = ["run.sh", "tests/it/soak.rs", "tests/it/sql/server.rs"]
        .map(|name| fs::read_to_string(root().join(name)).unwrap());
    let known = |name: &str| {
        let value = name.strip_suffix("_FILE").unwrap_or(name);
        declared.iter().any(|variable| variable.name == value || variable.is(value))
            || name.starts_with("IMPORTER_VAR_")
            || scripts.iter().any(|script| variables_in(script).contains(name))
    };
    let mut found = BTreeSet::new();
    for (document, text) in documents() {
        for name in variables_in(&text) {
            if PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
                assert!(known(name), "{document} names {name}, which importer does not read");
                found.insert(name.to_owned());
            }
        }
    }
    assert!(found.len() > 20 && variables::help().contains("IMPORTER_SECRETS"), "{found:?}");
    assert!(!known("MAILCHIMP_APIKY") && !known("IMPORTER_DEBUG"));
}

/// Returns the files that the map of ARCHITECTURE.md names, as paths below `src`; a folder ends in a slash.
fn mapped(architecture: &str) -> BTreeSet<String> {
    let map = architecture.split_once("\n| file | what lives there |\n").unwrap().1;
    let rows = map.lines().skip(1).take_while(|line| line.starts_with('|'));
    let files = rows.flat_map(|row| {
        let cell = row.split('|').nth(1).unwrap();
        let mut names = cell.split('`').skip(1).step_by(2).peekable();
        let first = *names.peek().unwrap();
        let folder = first.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        let own = cell.contains(" and its folder").then(|| first.replace(".rs", "/"));
        let is_whole = |name: &str| name.contains('/') && root().join("src").join(name).exists();
        let path = |name: &str| if is_whole(name) { name.to_owned() } else { format!("{folder}{name}") };
        let rest: Vec<String> = names.skip(1).map(path).collect();
        [first.to_owned()].into_iter().chain(rest).chain(own).collect::<Vec<_>>()
    });
    files.collect()
}

#[test]
fn the_map_names_every_file_and_no_other() {
    let mapped = mapped(&fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap());
    for name in &mapped {
        assert!(root().join("src").join(name).exists(), "ARCHITECTURE.md maps {name}, which does not exist");
    }
    for (name, text) in sources() {
        // A module of tests is named by its file, and a `mod.rs` that only declares its modules is not in the map.
        let declares = name.ends_with("/mod.rs") && !text.contains("fn ") && !text.contains("trait ");
        let in_folder =
            mapped.iter().any(|mapped| mapped.ends_with('/') && name.starts_with(mapped.as_str()));
        let known = mapped.contains(&name) || in_folder || declares || name.ends_with("_tests.rs");
        assert!(known, "src/{name} is not in the map of ARCHITECTURE.md");
    }
}
