//! Rules for the source code and the documents that a test can check.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
};

use importer::{
    app::wiring::{VOCABULARY, examine},
    base::events::Events,
    mapping, sink, source,
    state::fields::{self, FieldKind},
};

use crate::{
    documents::{blocks, documents},
    support::read,
};

/// Floors of the crate that each floor may import.
const FLOORS: [(&str, &[&str]); 13] = [
    ("base", &[]),
    ("net", &["base"]),
    ("state", &["base"]),
    ("source", &["base", "net"]),
    ("mapping", &["base"]),
    ("sink", &["base", "net"]),
    ("sandbox", &["base", "net"]),
    ("listener", &["base"]),
    ("store", &["base"]),
    ("engine", &["base", "store", "source", "mapping", "sink"]),
    ("controller", &["base", "state", "store", "engine"]),
    ("api", &["base", "state", "store", "controller"]),
    (
        "app",
        &[
            "base",
            "net",
            "state",
            "source",
            "mapping",
            "sink",
            "sandbox",
            "listener",
            "store",
            "engine",
            "controller",
            "api",
            "cli",
        ],
    ),
];

/// Returns every source file as its path below `src` and its text.
pub fn sources() -> Vec<(String, String)> {
    fn visit(folder: &Path, found: &mut Vec<(String, String)>) {
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                visit(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.to_str().unwrap().rsplit_once("/src/").unwrap().1.to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 30, "the sources were not found");
    found
}

/// Returns the floors of the crate that a text names in its paths.
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        // `$crate::` and similar paths are not imports; in a group each member begins with a floor.
        let group = rest
            .strip_prefix('{')
            .and_then(|rest| rest.find("\n};").or(rest.find("};")).map(|end| &rest[..end]));
        match group {
            Some(group) => {
                let mut depth = 0;
                let mut name = String::new();
                for c in group.chars().chain([',']) {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 0 => found.push(std::mem::take(&mut name)),
                        _ if depth == 0 => name.push(c),
                        _ => {}
                    }
                }
            }
            None => found.push(rest.to_owned()),
        }
    }
    let word = |text: &String| {
        text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
    };
    found.iter().map(word).filter(|name| !name.is_empty()).collect()
}

#[test]
fn imports_point_down() {
    let mut seen = 0;
    for (name, text) in sources() {
        let Some((floor, _)) = name.split_once('/') else { continue };
        let (_, allowed) = FLOORS.iter().find(|(known, _)| *known == floor).expect("a floor without a rule");
        for import in imports(&text) {
            seen += 1;
            let known = FLOORS.iter().any(|(known, _)| *known == import) || import == "cli";
            assert!(known, "src/{name} imports {import}, which is no floor");
            assert!(
                import == floor || allowed.contains(&import.as_str()),
                "src/{name} must not import {import}"
            );
        }
    }
    assert!(seen > 50, "only {seen} imports were found");
}

#[test]
fn an_import_that_points_up_would_be_found() {
    assert_eq!(imports("use crate::engine::run;"), ["engine"]);
    assert_eq!(
        imports("use crate::{\n    base::{a, b},\n    controller,\n};\nlet x = crate::app::run();"),
        ["base", "controller", "app"]
    );
}

/// The module path of a source file: `engine/pass.rs` is `[engine, pass]`.
fn module_of(name: &str) -> Vec<String> {
    let path = name.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(str::to_owned).collect()
}

/// A use tree as single paths: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(tree: &str) -> Vec<String> {
    let Some(open) = tree.find('{') else { return vec![tree.trim().to_owned()] };
    let inner = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for c in inner.chars() {
        match c {
            ',' if depth == 0 => parts.push(String::new()),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                parts.last_mut().unwrap().push(c);
            }
        }
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| paths(part)).map(|path| format!("{}{path}", tree[..open].trim())).collect()
}

/// The trees of all use statements.
fn use_trees(text: &str) -> Vec<String> {
    let mut lines = text.lines();
    let mut trees = Vec::new();
    while let Some(line) = lines.next() {
        let Some((before, tree)) = line.split_once("use ") else { continue };
        let before = before.trim();
        if !["", "pub", "pub(super)", "pub(crate)"].contains(&before) {
            continue;
        }
        let mut tree = tree.to_owned();
        while !tree.contains(';') {
            let Some(line) = lines.next() else { break };
            tree.push_str(line.trim());
        }
        trees.push(tree.split(';').next().unwrap().to_owned());
    }
    trees
}

/// Paths from the root of the crate outside use statements.
fn inline_paths(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let inline = |line: &str| {
        let end = |rest: &str| {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(rest.len())
        };
        line.match_indices("crate::")
            .map(|(at, _)| line[at..at + end(&line[at..])].to_owned())
            .collect::<Vec<_>>()
    };
    code.flat_map(inline).collect()
}

/// The files that a file imports, by module path. Its own ancestors do not count: a parent declares its parts, and parts use
/// the words of their parent.
fn imported(module: &[String], text: &str, modules: &HashSet<Vec<String>>) -> HashSet<Vec<String>> {
    let mut found = HashSet::new();
    for path in use_trees(text).iter().flat_map(|tree| paths(tree)).chain(inline_paths(text)) {
        let mut words: Vec<&str> = path.split("::").map(str::trim).collect();
        let mut at: Vec<String> = match words[0] {
            "crate" => vec![],
            "super" | "self" => module.to_vec(),
            _ => continue,
        };
        while words.first() == Some(&"super") {
            at.pop();
            words.remove(0);
        }
        let words = words.into_iter().filter(|word| !["crate", "self"].contains(word));
        let mut best = None;
        for word in words {
            at.push(word.to_owned());
            if modules.contains(&at) {
                best = Some(at.clone());
            }
        }
        found.extend(best.filter(|other| !module.starts_with(other)));
    }
    found
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let sources: Vec<_> = sources().into_iter().filter(|(name, _)| !name.ends_with("_tests.rs")).collect();
    let modules: HashSet<Vec<String>> = sources.iter().map(|(name, _)| module_of(name)).collect();
    let mut imports: HashMap<Vec<String>, HashSet<Vec<String>>> = HashMap::new();
    for (name, text) in &sources {
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        imports.insert(module_of(name), imported(&module_of(name), text, &modules));
    }
    assert!(imports.values().map(HashSet::len).sum::<usize>() > 300, "imports were not found");
    // Files without imports are taken away until only circles are left.
    loop {
        let free: Vec<_> =
            imports.iter().filter(|(_, of)| of.is_empty()).map(|(file, _)| file.clone()).collect();
        if free.is_empty() {
            break;
        }
        free.iter().for_each(|file| _ = imports.remove(file));
        imports.values_mut().for_each(|of| of.retain(|file| !free.contains(file)));
    }
    let mut left: Vec<String> = imports
        .iter()
        .map(|(file, of)| {
            format!(
                "{} -> {}",
                file.join("/"),
                of.iter().map(|of| of.join("/")).collect::<Vec<_>>().join(", ")
            )
        })
        .collect();
    left.sort();
    assert!(left.is_empty(), "files in a circle, or above one:\n{}", left.join("\n"));
}

#[test]
fn a_circle_would_be_found() {
    let module = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
    let modules = HashSet::from([module("a"), module("a/b"), module("a/c"), module("d")]);
    let text = "use std::fmt;\nuse super::{self, c::{X, Y}};\nuse crate::{\n    a::b::Z,\n    d,\n};\n";
    let found = imported(&module("a/b"), text, &modules);
    assert_eq!(found, HashSet::from([module("a/c"), module("d")]));
}

/// Modules that may emit events. All others return their results.
const REPORTING: [&str; 17] = [
    "app/",
    "controller/",
    "engine/deliver.rs",
    "engine/in_flight.rs",
    "engine/pass/",
    "engine/run.rs",
    "engine/run/",
    "engine/windows.rs",
    "net/accounts.rs",
    "net/call.rs",
    "source/when_i_work.rs",
    "state/disk.rs",
    "state/file.rs",
    "state/recover.rs",
    "store/checkpoint/",
    "store/former.rs",
    "store/records/",
];
/// Pure modules within those.
const SILENT: [&str; 2] = ["controller/schedule/", "engine/pass/guard.rs"];
/// Modules that may call the `log` crate. All others emit events.
const LOGGING: [&str; 2] = ["listener/log", "app/logger.rs"];

fn code(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap()
}

fn logs(text: &str) -> bool {
    code(text).lines().any(|line| line.contains("use log::") || line.contains(" log::"))
}

fn reports(text: &str) -> bool {
    [".emit(", ".emit_run("].iter().any(|call| code(text).contains(call))
}

#[test]
fn only_some_modules_report_and_the_log_is_written_in_one_place() {
    let sources = sources();
    let sources: Vec<_> = sources.iter().filter(|(name, _)| !name.ends_with("_tests.rs")).collect();
    let found = |does: fn(&str) -> bool| -> Vec<&str> {
        sources.iter().filter(|(_, text)| does(text)).map(|(name, _)| name.as_str()).collect()
    };
    let (logging, reporting) = (found(logs), found(reports));
    for (names, rooms) in [(&logging, &LOGGING[..]), (&reporting, &REPORTING[..])] {
        for name in names.iter().filter(|name| !name.starts_with("base/events.rs")) {
            let allowed = rooms.iter().any(|room| name.starts_with(room));
            assert!(
                allowed && !SILENT.iter().any(|room| name.starts_with(room)),
                "src/{name} logs or reports"
            );
        }
        for room in rooms {
            assert!(
                names.iter().any(|name| name.starts_with(room)),
                "{room} no longer logs or reports; take it off the list"
            );
        }
    }
    assert!(logs("use log::info;\n") && !logs("let logs = 1;\n") && reports("self.events.emit(x)"));
}

#[test]
fn a_file_stays_small_enough_to_read_and_says_what_it_is() {
    for (name, text) in sources() {
        let lines = text.split("#[cfg(test)]").next().unwrap().lines().count();
        let tests = name.ends_with("_tests.rs");
        assert!(lines <= 400 || tests, "src/{name} has {lines} lines before its tests");
        assert!(text.starts_with("//! "), "src/{name} has no head comment");
    }
}

#[test]
fn the_operations_guide_lists_every_exit_code() {
    let guide = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap();
    for code in ["0", "1", "2", "3", "70", "75", "77", "130"] {
        assert!(guide.contains(&format!("| {code} |")), "docs/operations.md does not list exit code {code}");
    }
}

#[test]
fn every_state_file_in_the_documents_can_be_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let examples = documents().into_iter().flat_map(|(_, text)| blocks(&text, "jsonc"));
    let examples: Vec<String> = examples.collect();
    assert!(examples.len() >= 11);
    // The tests of an optional feature run its examples.
    let features = [("jq", cfg!(feature = "jq")), ("sql", cfg!(feature = "sql"))];
    let is_built = |text: &String| {
        features.iter().all(|(kind, built)| *built || !text.contains(&format!("\"type\": \"{kind}\"")))
    };
    let shipped = fs::read_to_string(root.join("state/state.example.json")).unwrap();
    for text in examples.into_iter().filter(is_built).chain([shipped]) {
        let mut snapshot = read(&text);
        examine(&mut snapshot, Path::new("."), &Events::default()).unwrap();
        assert!(snapshot.problems.is_empty() && snapshot.warnings.is_empty(), "{:?}", snapshot.problems);
        assert!(!snapshot.entries.is_empty());
    }
}

#[test]
fn the_reference_lists_every_field_with_its_default_and_its_range() {
    let reference =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/state-file.md")).unwrap();
    for name in VOCABULARY.fields() {
        let row = reference.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/state-file.md has no row for {name}"));
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let without = if name == "list_id" { "required" } else { "" };
        let default = VOCABULARY.default(name).map_or(without.to_owned(), |default| default.to_string());
        assert_eq!(cells[3], default, "{row}");
        let field = fields::ALL.iter().find(|field| field.name == name);
        if let Some(FieldKind::Whole { least, most }) = field.map(|field| field.kind) {
            let range = most.map_or(format!("{least} and up"), |most| format!("{least} to {most}"));
            assert_eq!(cells[4], range, "{row}");
        }
        let owner = if fields::OWNED.contains(&name) { ["importer", "both"] } else { ["you", "you"] };
        assert!(owner.contains(&cells[5]), "{row}");
    }
}

/// Floors that work for any service.
const NEUTRAL: [&str; 7] = ["base/", "state/", "store/", "engine/", "controller/", "api/", "net/"];
/// Names of third parties and of the other adapters, in lower case.
const PARTIES: [&str; 6] = ["mailchimp", "ometria", "when_i_work", "wheniwork", "when i work", "ndjson"];

/// Returns a third party that a source file names outside its tests.
fn party(name: &str, text: &str) -> Option<&'static str> {
    let text = text.split("\n#[cfg(test)]\nmod tests").next().unwrap().to_lowercase();
    // As a file extension it names a format.
    let text = text.replace(".ndjson", "");
    PARTIES.into_iter().find(|party| !name.ends_with("_tests.rs") && text.contains(party))
}

/// The engine works for any service, so it names none, not even in a comment.
#[test]
fn the_engine_names_no_third_party() {
    let mut looked = 0;
    for (name, text) in sources() {
        if NEUTRAL.iter().any(|floor| name.starts_with(floor)) {
            looked += 1;
            assert_eq!(party(&name, &text), None, "in src/{name}");
        }
    }
    assert!(looked > 70, "only {looked} files were found");
}

#[test]
fn a_third_party_would_be_found_wherever_a_file_of_the_engine_names_it() {
    let tests = "fn a() {}\n\n#[cfg(test)]\nmod tests {\n    // Ometria\n}\n";
    for (name, text, found) in [
        ("state/a.rs", "/// What Mailchimp says.", Some("mailchimp")),
        ("state/a.rs", "const A: &str = \"when_i_work\";", Some("when_i_work")),
        ("state/a.rs", "const A: [&str; 1] = [\"ndjson\"];", Some("ndjson")),
        ("state/a.rs", "const A: &str = \"checkpoint.ndjson\";", None),
        ("state/a.rs", tests, None),
        ("state/a.rs", "#[cfg(test)]\nfn a() {}\n// Ometria", Some("ometria")),
        ("state/a_tests.rs", "// Ometria", None),
    ] {
        assert_eq!(party(name, text), found, "{text}");
    }
}

#[test]
fn the_documents_list_every_type() {
    let text = |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let (readme, reference) = (text("README.md"), text("docs/adapters.md"));
    let catalogs = [source::CATALOG, mapping::CATALOG, sink::CATALOG];
    for kind in catalogs.iter().flat_map(|catalog| catalog.kinds()) {
        assert!(readme.contains(&format!("`{kind}`")), "README.md does not name {kind}");
        assert!(reference.contains(&format!("| `{kind}` |")), "docs/adapters.md has no row for {kind}");
    }
}

#[test]
fn the_documents_list_every_reason_of_the_mapping() {
    let pages = ["docs/mapping.md", "docs/adapters.md"];
    let pages =
        pages.map(|page| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap());
    let mut found = 0;
    for (name, text) in sources() {
        if !name.starts_with("mapping/") || name.ends_with("_tests.rs") {
            continue;
        }
        let text = text.split("#[cfg(test)]").next().unwrap();
        let before = [
            "Err(\"",
            "ok_or(\"",
            "map_err(|_| \"",
            "Skip(\"",
            "Reject(\"",
            "(property, \"",
            "reason: \"",
            "Some(\"un",
            "Some(\"not",
        ];
        for before in before {
            for (at, _) in text.match_indices(before) {
                let quote = at + before.find('"').unwrap() + 1;
                let reason = text[quote..].split('"').next().unwrap();
                // A sentence is not a reason of a record.
                if reason.contains(' ') {
                    continue;
                }
                let told = pages.iter().any(|page| page.contains(&format!("`{reason}`")));
                assert!(told, "no document tells {reason} of src/{name}");
                found += 1;
            }
        }
    }
    assert!(found > 25, "only {found} reasons were found");
}
