//! The declarations of the adapters, compared with what the adapters do, with the JSON Schema, and with the help.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
    sync::Arc,
};

use importer::{
    app::{
        variables,
        wiring::{Adapters, Keys, VOCABULARY},
    },
    base::{
        events::Events,
        spec::{ACCOUNT, Catalog, Secrecy, Setting, Spec, ValueKind},
    },
    mapping,
    net::Environment,
    sink, source,
    state::{json_schema::json_schema, syntax},
};
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::{
    contract::Always,
    documents::{blocks, documents},
    support::{NOON, TokioClock, read},
};

const PARTS: [(&str, Catalog); 3] =
    [("source", source::CATALOG), ("mapping", mapping::CATALOG), ("sink", sink::CATALOG)];

/// Returns every choice of an adapter in an entry, that of a receiver of notices included.
fn choices() -> impl Iterator<Item = (&'static str, Catalog, &'static Spec)> {
    adapters().chain(sink::NOTIFY.specs.iter().map(|spec| ("notify", sink::NOTIFY, *spec)))
}

/// Returns every adapter of this build.
fn adapters() -> impl Iterator<Item = (&'static str, Catalog, &'static Spec)> {
    let all = PARTS.into_iter().flat_map(|(part, catalog)| {
        catalog.specs.iter().map(move |spec| (part, Catalog { ..catalog }, *spec)).collect::<Vec<_>>()
    });
    let built = |kind| (kind != "jq" || cfg!(feature = "jq")) && (kind != "sql" || cfg!(feature = "sql"));
    all.filter(move |(_, _, spec)| built(spec.kind))
}

/// Returns an entry in which this adapter has these settings, with others that fit it.
fn entry(part: &str, spec: &Spec, settings: &Value) -> Value {
    let list_id = if spec.kind == "when_i_work" { "shifts" } else { "a" };
    let mut entry = json!({"list_id": list_id, "mapping": "as_is", "sink": "stdout"});
    if part == "sink" && spec.takes.is_some() {
        entry.as_object_mut().unwrap().remove("mapping");
    }
    let mut object = json!({"type": spec.kind});
    for setting in spec.settings.iter().filter(|setting| setting.required) {
        object[setting.name] = match setting.name {
            "url" => json!("https://receiver.example.org/hooks"),
            "fields" => json!({"a": "b"}),
            "key" => json!("id"),
            name => panic!("a sample for {name}"),
        };
    }
    let needs = match spec.kind {
        "jq" => json!({"expression": "."}),
        "sql" => json!({"host": "db", "user": "ada", "table": "t", "key": "id", "columns": {"id": "bigint"}}),
        _ => json!({}),
    };
    object.as_object_mut().unwrap().extend(needs.as_object().unwrap().clone());
    object.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    entry[part] = object;
    entry
}

/// Returns why an entry can't run, as `check` says it; `None` if it can.
fn problem(entry: &Value) -> Option<String> {
    let (web, clock) = (Arc::new(Always(200, "")), Arc::new(TokioClock::at(NOON)));
    let adapters =
        Adapters::new(&Environment::new(|_| None), Keys::None, web, clock, Path::new("."), Events::default());
    let snapshot = read(&json!([entry]).to_string());
    if let Some(problem) = snapshot.problems.first() {
        return Some(problem.text.clone());
    }
    adapters.open(&snapshot.entries[0], false).err().map(|closed| closed.unfit.text)
}

fn validator() -> Validator {
    jsonschema::validator_for(&json_schema(VOCABULARY)).unwrap()
}

/// Values of other types, and those at and beyond the bounds.
fn samples(kind: &ValueKind) -> Vec<Value> {
    let mut samples = vec![json!(true), json!(7), json!(1.5), json!("zzz"), json!([[]]), json!({"zzz": 1})];
    match kind {
        ValueKind::Whole { least, most } => {
            samples.extend([json!(least), json!(*least as i64 - 1)]);
            samples.extend(most.iter().flat_map(|most| [json!(most), json!(most + 1)]));
        }
        ValueKind::Number { least, most } => {
            samples.extend([least, most].map(|bound| json!(bound)));
            samples.extend([json!(least / 2.0), json!(most * 2.0)]);
        }
        ValueKind::Word(words) => samples.extend(words.iter().map(|word| json!(word))),
        ValueKind::Pattern(_) => {
            samples.extend(["5s", "0s", "acme", "my_file", "Acme"].map(|text| json!(text)))
        }
        ValueKind::List(kind) => {
            samples.extend(self::samples(kind).into_iter().map(|sample| json!([sample])))
        }
        ValueKind::Map(kind) => {
            samples.extend(self::samples(kind).into_iter().map(|sample| json!({"a": sample})))
        }
        ValueKind::Object(settings) => {
            for setting in *settings {
                for sample in self::samples(&setting.kind) {
                    let required = settings.iter().filter(|setting| setting.required);
                    let mut object: BTreeMap<&str, Value> =
                        required.map(|setting| (setting.name, json!("r"))).collect();
                    object.insert(setting.name, sample);
                    samples.push(json!(object));
                }
            }
            samples.push(json!({}));
        }
        ValueKind::Either(kinds) => samples.extend(kinds.iter().flat_map(self::samples)),
        ValueKind::Flag | ValueKind::Text | ValueKind::Null | ValueKind::Any => {}
    }
    samples
}

/// Whether a kind has values that only the adapter can judge, such as an address or a time zone.
fn is_text(kind: &ValueKind) -> bool {
    match kind {
        ValueKind::List(kind) | ValueKind::Map(kind) => is_text(kind),
        ValueKind::Object(settings) => settings.iter().any(|setting| is_text(&setting.kind)),
        ValueKind::Either(kinds) => kinds.iter().any(is_text),
        kind => kind.takes_any_text(),
    }
}

/// The bounds, the words and the defaults of a declaration are those that the adapter has.
#[test]
fn an_editor_refuses_what_an_adapter_refuses_and_accepts_what_it_accepts() {
    let validator = validator();
    let (mut compared, mut accepted) = (0, 0);
    for (part, catalog, spec) in choices() {
        for setting in catalog.settings(Some(spec)) {
            for sample in samples(&setting.kind) {
                let entry = entry(part, spec, &json!({setting.name: sample}));
                let (valid, problem) = (validator.is_valid(&json!([entry])), problem(&entry));
                let what = format!("{part} {}, {}: {sample}: {problem:?}", spec.kind, setting.name);
                assert!(valid || problem.is_some(), "only the editor refuses {what}");
                // The limit of a batch is that of the sink.
                if !is_text(&setting.kind) && setting.name != "batch_size" && setting.name != "deletions" {
                    assert!(!valid || problem.is_none(), "only the adapter refuses {what}");
                }
                compared += 1;
                accepted += usize::from(valid && problem.is_none());
            }
        }
    }
    assert!(compared > 400 && accepted > 80, "{accepted} of {compared} were accepted");
}

#[test]
fn every_default_is_a_value_of_its_setting() {
    let validator = validator();
    let mut found = 0;
    for (part, catalog, spec) in choices() {
        for setting in catalog.settings(Some(spec)) {
            let Some(default) = setting.default else { continue };
            let default: Value = serde_json::from_str(default).unwrap();
            let entry = entry(part, spec, &json!({setting.name: default}));
            assert!(validator.is_valid(&json!([entry])), "{}: {}", spec.kind, setting.name);
            assert_eq!(problem(&entry), None, "{}: {}", spec.kind, setting.name);
            found += 1;
        }
    }
    assert!(found > 10, "only {found} defaults were found");
}

#[test]
fn an_editor_refuses_a_typo_a_literal_credential_and_a_reference_to_what_must_not_be_read() {
    let validator = validator();
    let http = |more: &str| {
        format!(
            r#"[{{"list_id": "a", "mapping": "as_is", "sink": {{"type": "http", "url": "https://h/", "auth": "bearer", {more}}}}}]"#
        )
    };
    let sql = |url: &str| {
        let sink = format!(r#"{{"type": "sql", "url": {url}, "table": "t", "key": "id"}}"#);
        format!(r#"[{{"list_id": "a", "mapping": "as_is", "sink": {sink}}}]"#)
    };
    let files = [
        (sql(r#""sqlite:out/a.db""#), true),
        (sql(r#"{"env": "SQL_URL"}"#), true),
        (sql(r#""postgres://ada:s3cr3t@db/a""#), false),
        (sql(r#"{"env": "HTTP_SINK_TOKEN"}"#), false),
    ];
    let requests = [
        (http(r#""token": {"env": "HTTP_SINK_TOKEN"}"#), true),
        (http(r#""account": "acme", "token": {"env": "HTTP_SINK_TOKEN_ACME"}"#), true),
        (http(r#""token": {"env": "IMPORTER_VAR_T"}"#), true),
        (http(r#""token": {"file": "acme/token"}"#), true),
        (http(r#""rate": {"env": "IMPORTER_VAR_RATE", "default": 5}"#), true),
        (http(r#""rate": {"file": "rate"}"#), true),
        (http(r#""headers": {"env": "prod", "X": {"env": "OMETRIA_URL_ACME"}}"#), true),
        (http(r#""accept": [200, {"env": "IMPORTER_VAR_A"}]"#), true),
        (http(r#""account": "acme", "x-note": 5, "_": {}"#), true),
        (http(r#""token": "s3cr3t""#), false),
        (http(r#""token": {"env": "HTTP_SINK_TOKEN", "default": "s3cr3t"}"#), false),
        (http(r#""token": {"env": "MAILCHIMP_APIKEY"}"#), false),
        (http(r#""count": {"env": "HTTP_SINK_TOKEN"}"#), false),
        (http(r#""count": {"file": "a"}"#), false),
        (http(r#""count": {"env": "HOME"}"#), false),
        (http(r#""count": {"env": "IMPORTER_VAR_A_FILE"}"#), false),
        (http(r#""token": {"file": "../a"}"#), false),
        (http(r#""token": {"file": "/a"}"#), false),
        (http(r#""batchsize": 5"#), false),
        (http(r#""results": {"path": "a", "status": "b", "stat": "c"}"#), false),
        (http(r#""account": {"env": "IMPORTER_VAR_A"}"#), false),
        (http(r#""account": "my_file""#), false),
        (r#"[{"list_id": "a", "sink": "http"}]"#.to_owned(), false),
        (r#"[{"list_id": "a", "sink": "kafka"}]"#.to_owned(), false),
        (r#"[{"list_id": "a", "sink": {"type": "kafka"}}]"#.to_owned(), false),
        (r#"[{"list_id": "a", "sink": {"path": "out/a"}}]"#.to_owned(), false),
        (r#"[{"list_id": "a", "sink": {"type": "stdout", "account": "acme"}}]"#.to_owned(), false),
        (http(r#""x-note": 1"#).replace("sink", "notify").replace("\"mapping\": \"as_is\", ", ""), true),
        (http(r#""linger": "5s""#).replace("sink", "notify").replace("\"mapping\": \"as_is\", ", ""), false),
        (r#"[{"list_id": "a", "notify": "ometria"}]"#.to_owned(), false),
        (r#"[{"list_id": "a", "notify": {"type": "ometria"}}]"#.to_owned(), false),
    ];
    for (text, valid) in requests.into_iter().chain(files.into_iter().filter(|_| cfg!(feature = "sql"))) {
        assert_eq!(validator.is_valid(&serde_json::from_str(&text).unwrap()), valid, "{text}");
        let entry = &serde_json::from_str::<Value>(&text).unwrap()[0];
        // What is absent from the environment is no problem of the file.
        let problem =
            problem(entry).filter(|why| !why.contains("is not set") && !why.contains("can't be read"));
        assert_eq!(problem.is_none(), valid, "{text}: {problem:?}");
    }
}

#[test]
fn an_editor_accepts_every_example_of_the_documents() {
    let (validator, mut found) = (validator(), 0);
    for (name, text) in documents() {
        for example in blocks(&text, "jsonc") {
            let value: Value = jsonc_parser::ast::Value::Array(syntax::parse(&example).unwrap()).into();
            let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{name}: {errors:?}\n{example}");
            found += 1;
        }
    }
    assert!(found >= 11, "only {found} examples were found");
}

/// A suffix must not make the name of another variable.
#[test]
fn no_variable_can_be_taken_for_another_or_for_that_of_an_account() {
    let variables: Vec<_> = adapters().flat_map(|(_, _, spec)| spec.variables).collect();
    for variable in &variables {
        let others = variables.iter().filter(|other| other.name != variable.name);
        assert!(others.into_iter().all(|other| !other.is(variable.name)), "{}", variable.name);
        assert!(
            !variable.name.ends_with("_FILE") && !variable.name.starts_with("IMPORTER_"),
            "{}",
            variable.name
        );
    }
    let names: BTreeSet<&str> = variables.iter().map(|variable| variable.name).collect();
    assert_eq!(names.len(), variables.len());
}

#[test]
fn a_credential_setting_names_a_credential_of_its_adapter() {
    let mut found = 0;
    for (_, _, spec) in adapters() {
        for setting in spec.settings {
            let Secrecy::Credential(name) = setting.secrecy else { continue };
            let variable = spec.variables.iter().find(|variable| variable.name == name);
            assert!(variable.unwrap().credential && setting.default.is_none(), "{}", setting.name);
            found += 1;
        }
    }
    assert!(found >= 3);
}

/// Returns the part of a page from a heading to the next one of the same level.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let level = heading.split(' ').next().unwrap();
    let rest = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no section {heading}")).1;
    let ends = rest.match_indices('\n').map(|(at, _)| at + 1).filter(|at| {
        let line = &rest[*at..];
        line.starts_with("# ") || line.starts_with("## ") || line.starts_with(&format!("{level} "))
    });
    &rest[..ends.into_iter().next().unwrap_or(rest.len())]
}

/// Returns the names in the first column of the tables under this heading of a column.
fn rows<'a>(text: &'a str, column: &str) -> BTreeSet<&'a str> {
    let head = format!("| {column} |");
    let tables = text.split(&head).skip(1);
    let lines = tables.flat_map(|table| table.lines().skip(2).take_while(|line| line.starts_with('|')));
    lines.flat_map(|line| line.split('|').nth(1).unwrap().split('`').skip(1).step_by(2)).collect()
}

#[test]
fn the_reference_has_a_row_for_every_setting_and_variable_and_no_other() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/adapters.md")).unwrap();
    for (part, catalog) in PARTS {
        let title = format!("## {}{}s", part[..1].to_uppercase(), &part[1..]);
        let chapter = section(&page, &title);
        for spec in catalog.specs {
            let none = spec.settings.is_empty() && spec.variables.is_empty();
            let text = if none { "" } else { section(chapter, &format!("### {}", spec.kind)) };
            let variables: BTreeSet<&str> = spec.variables.iter().map(|variable| variable.name).collect();
            assert_eq!(rows(text, "variable"), variables, "{}", spec.kind);
            // The mappings describe their settings in the table of their types.
            if part != "mapping" {
                let settings: BTreeSet<&str> = spec.settings.iter().map(|setting| setting.name).collect();
                assert_eq!(rows(text, "setting"), settings, "{}", spec.kind);
            } else {
                let row =
                    chapter.lines().find(|line| line.starts_with(&format!("| `{}` |", spec.kind))).unwrap();
                assert!(
                    spec.settings.iter().all(|setting| row.contains(&format!("`{}`", setting.name))),
                    "{row}"
                );
            }
        }
        let common: BTreeSet<&str> = catalog.common.iter().map(|setting| setting.name).collect();
        let intro = chapter.split("\n### ").next().unwrap();
        assert_eq!(rows(intro, "setting"), common, "{part}");
    }
    let defaults = |settings: &'static [Setting]| {
        settings.iter().filter_map(|setting| Some((setting.name, setting.default?)))
    };
    let defaults =
        adapters().flat_map(|(_, _, spec)| defaults(spec.settings).map(move |setting| (spec, setting)));
    for (spec, (name, default)) in defaults {
        let default = default.trim_matches('"');
        let text = section(&page, &format!("### {}", spec.kind));
        let row = text.lines().find(|line| line.starts_with(&format!("| `{name}` |"))).unwrap();
        assert!(row.contains(default) || default == "{}", "{name} is {default}: {row}");
    }
}

#[test]
fn the_help_and_the_operations_guide_name_every_variable_with_its_default() {
    let guide = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_importer")).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for variable in adapters().flat_map(|(_, _, spec)| spec.variables).chain(&variables::GENERAL) {
        let line = help.lines().find(|line| line.trim_start().starts_with(&format!("{} ", variable.name)));
        let line = line.unwrap_or_else(|| panic!("the help does not name {}", variable.name));
        assert!(
            variable.default.is_none_or(|default| line.ends_with(&format!("[default: {default}]"))),
            "{line}"
        );
        assert!(
            guide.contains(&format!("`{}`", variable.name)),
            "docs/operations.md does not name {}",
            variable.name
        );
    }
}

#[test]
fn the_types_of_settings_are_those_that_the_account_has() {
    for (_, catalog, spec) in adapters() {
        let has = catalog.settings(Some(spec)).any(|setting| setting.name == ACCOUNT);
        assert!(has || spec.variables.is_empty(), "{}", spec.kind);
    }
}

fn settings(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_importer"))
        .args(["settings", "--state"])
        .arg(folder)
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), text)
}

const STATE: &str = r#"[
  {"list_id": "a", "source": {"type": "mailchimp", "account": "acme"}, "enabled": false},
  {"list_id": "b", "mapping": "as_is", "sink": {"type": "http", "url": {"env": "IMPORTER_VAR_URL"}, "auth": "bearer",
    "token": {"env": "HTTP_SINK_TOKEN_EU"}, "headers": {"X": {"env": "HOME"}}}},
  {"list_id": "c", "notify": {"type": "http", "url": {"env": "IMPORTER_VAR_TELL"}, "auth": "bearer", "account": "tell"}}
]"#;

#[test]
fn the_settings_are_listed_with_their_origin_and_without_a_credential() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("state.json"), STATE).unwrap();
    fs::write(folder.path().join("key"), "s3cr3t").unwrap();
    let key = folder.path().join("key").display().to_string();
    let variables = [
        ("MAILCHIMP_APIKEY", "s3cr3t"),
        ("MAILCHIMP_APIKEY_ACME_FILE", &key[..]),
        ("OMETRIA_RATE", "4"),
        ("IMPORTER_VAR_URL", "https://s3cr3t"),
        ("HTTP_SINK_TOKEN_EU", "s3cr3t"),
        ("HOME", "/s3cr3t"),
    ];
    let (code, told) = settings(folder.path(), &[], &variables);
    assert_eq!(code, 0, "{told}");
    let line = |name: &str| {
        let line = told.lines().find(|line| line.trim_start().starts_with(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name}\n{told}"))
            .split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    };
    for (name, shown) in [
        ("MAILCHIMP_APIKEY", "set (environment)"),
        ("MAILCHIMP_APIKEY_ACME", &format!("set (file {key})")[..]),
        ("MAILCHIMP_CONNECTIONS_ACME", "8 (default)"),
        ("OMETRIA_APIKEY", "not set"),
        ("OMETRIA_RATE", "4 (environment)"),
        ("OMETRIA_URL", "https://api.ometria.com/v2 (default)"),
        ("IMPORTER_VAR_URL", "set (environment)"),
        ("IMPORTER_VAR_TELL", "not set"),
        ("HTTP_SINK_HOSTS_TELL", "not set"),
        ("IMPORTER_SECRETS", "/run/secrets (default)"),
        ("RUST_LOG", "info (default)"),
    ] {
        assert_eq!(line(name), shown, "{name}");
    }
    assert!(!told.contains("s3cr3t") && !told.contains("HOME"), "{told}");
    let (code, told) = settings(folder.path(), &["--json"], &variables);
    let list: Value = serde_json::from_str(&told).unwrap();
    let key = list.as_array().unwrap().iter().find(|row| row["name"] == "MAILCHIMP_APIKEY").unwrap();
    let expected = json!({"name": "MAILCHIMP_APIKEY", "adapter": "mailchimp", "from": "environment", "detail": null, "value": null, "warning": null});
    assert_eq!((code, key), (0, &expected));
    let (code, told) = settings(folder.path(), &[], &[("OMETRIA_APIKEY_FILE", "/absent")]);
    assert!(
        code == 2 && told.contains("invalid: `OMETRIA_APIKEY_FILE` names `/absent`, which can't be read"),
        "{told}"
    );
}

#[test]
fn a_container_gets_the_names_that_adapters_and_the_state_file_ask_for() {
    let folder = tempfile::tempdir().unwrap();
    let names = || {
        let (code, told) = settings(folder.path(), &["--names"], &[]);
        assert_eq!(code, 0);
        told.lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let plain = names();
    for name in ["MAILCHIMP_APIKEY", "MAILCHIMP_APIKEY_FILE", "OMETRIA_RATE", "IMPORTER_SECRETS", "RUST_LOG"]
    {
        assert!(plain.contains(name), "{name}");
    }
    assert!(plain.iter().all(|name| !name.contains("ACME") && name != "RUST_LOG_FILE"));
    fs::write(folder.path().join("state.json"), STATE).unwrap();
    let more: Vec<String> = names().difference(&plain).cloned().collect();
    let account = |name: &str| [format!("{name}_ACME"), format!("{name}_ACME_FILE")];
    let mut expected = ["MAILCHIMP_APIKEY", "MAILCHIMP_CONNECTIONS", "MAILCHIMP_URL"].map(account).concat();
    let tell = ["HOSTS_TELL", "TOKEN_TELL", "USER_TELL", "PASSWORD_TELL", "TOKEN_EU"];
    let referred = tell.map(|name| format!("HTTP_SINK_{name}")).into_iter();
    let referred = referred.chain(["IMPORTER_VAR_URL", "IMPORTER_VAR_TELL"].map(str::to_owned));
    expected.extend(referred.flat_map(|name| [format!("{name}_FILE"), name]));
    expected.sort();
    assert_eq!(more, expected);
    // The program itself reports a broken file.
    fs::write(folder.path().join("state.json"), "[{").unwrap();
    assert_eq!(names(), plain);
}

#[test]
fn a_problem_has_the_place_of_its_setting_and_no_credential_in_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"[
  {"list_id": "a", "mapping": "as_is", "sink": {"type": "http", "url": "https://h/", "batchsize": 5}},
  {"list_id": "b", "mapping": "as_is", "sink": {"type": "http", "url": "https://h/", "auth": "bearer", "token": "s3cr3t-literal"}},
  {"list_id": "c", "mapping": "as_is", "every": "soon", "sink": {"type": "http", "url": "https://h/", "token": "s3cr3t-other"}},
  {"list_id": "d", "source": {"type": "mailchmp"}, "sink": "stdout"},
  {"list_id": "e", "sink": {"type": "ometria", "deletions": "drop"}}
]"#;
    fs::write(folder.path().join("state.json"), text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_importer"))
        .args(["check", "--state"])
        .arg(folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    for problem in [
        "state.json:2:86: `sink`: http: unknown setting `batchsize`; did you mean `batch_size`?",
        "state.json:3:104: `sink`: http: `token` must not be in the state file; write \"token\": {\"env\": \"HTTP_SINK_TOKEN\"} and set that variable",
        "state.json:4:49: `every` must be a duration",
        "state.json:5:31: `source`: unknown type \"mailchmp\", expected one of mailchimp, when_i_work, rest; did you mean \"mailchimp\"?",
        "state.json:6:48: `sink`: `deletions`: unknown value \"drop\"",
    ] {
        assert!(told.contains(problem), "{problem}\n{told}");
    }
    assert!(!told.contains("s3cr3t"), "{told}");
}
