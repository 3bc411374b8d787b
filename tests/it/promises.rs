//! Checks the table of promises in ARCHITECTURE.md: every test that it names exists, is compiled, and runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Source files, by their paths from the root of the repository.
type Sources = BTreeMap<String, String>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn sources() -> Sources {
    fn visit(folder: &Path, found: &mut Sources) {
        for path in fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
            if path.is_dir() {
                visit(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut found = Sources::new();
    ["src", "tests"].iter().for_each(|folder| visit(&root().join(folder), &mut found));
    found
}

/// A test function.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Test {
    file: String,
    name: String,
    /// Its attributes besides the one that makes it a test, such as `#[ignore]`.
    attributes: Vec<String>,
}

/// Returns the tests of a file.
fn tests(file: &str, text: &str) -> Vec<Test> {
    let (mut found, mut attributes) = (vec![], vec![]);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")) {
        if line.starts_with("#[") {
            attributes.push(line.to_owned());
            continue;
        }
        let is_test = |attribute: &String| {
            attribute == "#[test]" || attribute == "#[tokio::test]" || attribute.starts_with("#[tokio::test(")
        };
        let function = line.split_once("fn ").and_then(|(_, rest)| rest.split(['(', '<']).next());
        if let Some(name) = function.filter(|_| attributes.iter().any(is_test)) {
            attributes.retain(|attribute| !is_test(attribute));
            let attributes = std::mem::take(&mut attributes);
            found.push(Test { file: file.to_owned(), name: name.to_owned(), attributes });
        }
        attributes.clear();
    }
    found
}

/// Returns the files that the compiler reads with these features: from the roots of the crates along the modules that
/// they declare.
fn compiled(sources: &Sources, features: &[String]) -> BTreeSet<String> {
    let mut open: Vec<String> = ["src/lib.rs", "src/main.rs", "tests/it/main.rs"].map(str::to_owned).into();
    let mut found = BTreeSet::new();
    while let Some(file) = open.pop() {
        let Some(text) = sources.get(&file).filter(|_| found.insert(file.clone())) else { continue };
        open.extend(modules(&file, text, features).into_iter().flatten());
    }
    found
}

/// The condition of the feature that is on by default, and which CI tests.
const DEFAULT: &str = "#[cfg(feature = \"api\")]";

/// Returns whether an attribute is the condition that one of these features is built.
fn is_built(attribute: &str, features: &[String]) -> bool {
    features.iter().any(|feature| attribute == format!("#[cfg(feature = \"{feature}\")]"))
}

/// Returns the possible files of each module that a file declares in its own.
fn modules(file: &str, text: &str, features: &[String]) -> Vec<Vec<String>> {
    let (folder, name) = file.rsplit_once('/').unwrap();
    let inner = match name {
        "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
        name => format!("{folder}/{}", name.trim_end_matches(".rs")),
    };
    let (mut found, mut attributes) = (vec![], vec![]);
    for line in text.lines() {
        if line.starts_with("#[") {
            attributes.push(line);
            continue;
        }
        let module =
            line.split_once("mod ").filter(|(before, _)| before.is_empty() || before.starts_with("pub"));
        if let Some(name) = module.and_then(|(_, rest)| rest.strip_suffix(';')) {
            let path = attributes.iter().find_map(|attribute| attribute.strip_prefix("#[path = \""));
            let known = |attribute: &&str| {
                attribute.starts_with("#[path")
                    || ["#[cfg(test)]", DEFAULT].contains(attribute)
                    || is_built(attribute, features)
            };
            found.push(match path.and_then(|path| path.strip_suffix("\"]")) {
                Some(path) => vec![format!("{folder}/{path}")],
                // With another condition it may be left out.
                None if !attributes.iter().all(known) => vec![],
                None => vec![format!("{inner}/{name}.rs"), format!("{inner}/{name}/mod.rs")],
            });
        }
        attributes.clear();
    }
    found
}

/// A row of the table.
#[derive(Debug, PartialEq, Eq)]
struct Promise {
    promise: String,
    /// Names in backticks of the last column.
    names: Vec<String>,
    /// The features that its tests need: (feature `sql`).
    features: Vec<String>,
}

/// Returns the rows of the table.
fn promises(document: &str) -> Vec<Promise> {
    let section = document.split_once("\n## Promises, and how each is kept\n").unwrap().1;
    let rows = section.lines().skip_while(|line| !line.starts_with("| --- ")).skip(1);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim().trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{row}");
        let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let (tests, features) = cells[2].split_once(" (feature ").unwrap_or((cells[2], ""));
        Promise { promise: cells[0].to_owned(), names: quoted(tests), features: quoted(features) }
    })
    .collect()
}

/// Returns the tests of all files that the compiler reads with these features.
fn all_tests(sources: &Sources, features: &[String]) -> Vec<Test> {
    compiled(sources, features).iter().flat_map(|file| tests(file, &sources[file])).collect()
}

/// Returns what is wrong with a name of the table.
fn problem(name: &str, sources: &Sources, all: &[Test], features: &[String]) -> Option<String> {
    let found: Vec<&Test> = if name.ends_with(".rs") {
        let path = if name.starts_with("tests/") { name.to_owned() } else { format!("src/{name}") };
        if !sources.contains_key(&path) {
            return Some(format!("there is no {path}"));
        }
        all.iter().filter(|test| test.file == path).collect()
    } else if let Some((module, function)) = name.split_once("::") {
        let text = sources.get(&format!("tests/it/{module}.rs")).map_or("", String::as_str);
        return (!text.contains(&format!("fn {function}("))).then(|| format!("there is no {name}"));
    } else {
        match name.strip_suffix('…') {
            Some(prefix) => all.iter().filter(|test| test.name.starts_with(prefix)).collect(),
            None => all.iter().filter(|test| test.name == name).collect(),
        }
    };
    if found.is_empty() {
        return Some(format!("no test that is compiled belongs to {name}"));
    }
    let skipped = |test: &&&Test| {
        let conditional = |attribute: &String| {
            let is_condition = ["#[ignore", "#[cfg"].iter().any(|word| attribute.starts_with(word));
            is_condition && !is_built(attribute, features)
        };
        test.attributes.iter().any(conditional)
    };
    found.iter().find(skipped).map(|test| format!("{} of {} may not run", test.name, test.file))
}

#[test]
fn every_test_that_the_table_of_promises_names_exists_and_runs() {
    let sources = sources();
    let promises = promises(&fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap());
    assert!(promises.len() > 40, "only {} promises were found", promises.len());
    let without = all_tests(&sources, &[]);
    let mut problems = vec![];
    for Promise { promise, names, features } in &promises {
        if names.is_empty() {
            problems.push(format!("{promise}: no test is named"));
        }
        let all = if features.is_empty() { without.clone() } else { all_tests(&sources, features) };
        let wrong = names.iter().filter_map(|name| problem(name, &sources, &all, features));
        problems.extend(wrong.map(|problem| format!("{promise}: {problem}")));
    }
    assert!(problems.is_empty(), "ARCHITECTURE.md, promises:\n{}", problems.join("\n"));
}

/// Beginnings of the files that are compiled with the features `jq` and `sql` only.
const OPTIONAL: [&str; 6] = [
    "src/app/commands/demo/warehouses.rs",
    "src/base/jq.rs",
    "src/mapping/jq",
    "src/sink/sql.rs",
    "src/sink/sql/",
    "tests/it/sql",
];

#[test]
fn every_source_file_is_compiled() {
    let sources = sources();
    let compiled = compiled(&sources, &[]);
    let is_optional = |file: &str| OPTIONAL.iter().any(|beginning| file.starts_with(beginning));
    let left: Vec<&String> =
        sources.keys().filter(|file| !compiled.contains(*file) && !is_optional(file)).collect();
    assert!(compiled.len() > 100 && left.is_empty(), "no module declares {left:?}");
}

#[test]
fn a_test_that_is_renamed_ignored_or_left_out_is_noticed() {
    let text = "#[test]\nfn one_holds() {}\n\n#[test]\n#[ignore]\nfn two_holds() {}\n// #[test]\nfn three_holds() {}\n";
    let main = "mod a;\n#[cfg(feature = \"x\")]\nmod b;\n#[cfg(test)]\n#[path = \"other.rs\"]\nmod c;\n";
    let of = |texts: &[(&str, &str)]| -> Sources {
        texts.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect()
    };
    let sources = of(&[
        ("tests/it/main.rs", main),
        ("tests/it/a.rs", text),
        ("tests/it/b.rs", "#[test]\nfn four_holds() {}\n"),
        (
            "tests/it/other.rs",
            "#[tokio::test(start_paused = true)]\nasync fn five_holds() {}\nfn helps() {}\n",
        ),
    ]);
    let all = all_tests(&sources, &[]);
    let problem = |name: &str| problem(name, &sources, &all, &[]);
    for name in ["one_holds", "one_ho…", "five…", "tests/it/other.rs", "other::helps"] {
        assert_eq!(problem(name), None, "{name}");
    }
    for name in [
        "one_ho",
        "two…",
        "three_holds",
        "four_holds",
        "helps",
        "tests/it/a.rs",
        "tests/it/b.rs",
        "a.rs",
        "other::no",
    ] {
        assert!(problem(name).is_some(), "{name}");
    }
    let with = |feature: &str| {
        let features = [feature.to_owned()];
        super::promises::problem("four_holds", &sources, &all_tests(&sources, &features), &features)
    };
    assert!(with("x").is_none() && with("y").is_some());
    let table = "\n## Promises, and how each is kept\n\n| promise | kept by | shown by |\n| --- | --- | --- |\n\
                 | a | `b` | `c…`, `d.rs`; or so |\n| f | `g` | `h` (feature `x`) |\n\nNot promised: | no | `e` |\n";
    let row = |promise: &str, names: &[&str], features: &[&str]| Promise {
        promise: promise.to_owned(),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        features: features.iter().map(|name| (*name).to_owned()).collect(),
    };
    assert_eq!(promises(table), [row("a", &["c…", "d.rs"], &[]), row("f", &["h"], &["x"])]);
}
