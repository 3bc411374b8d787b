//! The mapping `jq`: the payload is the result of a jq expression for the record. Without a result (`empty`),
//! the record is skipped; an error or a second result rejects it. An expression has no access to the
//! environment, the clock or the log.
//!
//! Manual of the language: <https://gedenkt.at/jaq/manual/>.

mod reads;

use std::{borrow::Cow, collections::BTreeSet, fs, path::PathBuf};

use jaq_core::{
    Compiler, Ctx, Vars, data,
    load::{self, Arena, File, Loader},
    native::{Fun, bome, run, v},
};
use jaq_json::{Val, read};
use serde::Deserialize;

use super::{Mapping, MappingContext};
use crate::base::{
    adapter::Chosen,
    json::Json,
    record::{Mapped, Outgoing, Record},
};

type Data = data::JustLut<Val>;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    expression: Option<String>,
    /// File with the expression. A relative path is relative to the folder of the state file.
    file: Option<PathBuf>,
}

/// Mapping with a compiled expression.
pub struct Jq {
    filter: jaq_core::compile::Filter<jaq_core::Native<Data>>,
    /// The top-level fields that the expression reads; `None`: it may read all of them.
    reads: Option<BTreeSet<String>>,
}

impl Jq {
    /// Reads and compiles the expression of an entry.
    ///
    /// # Errors
    ///
    /// The settings do not contain exactly one of `expression` and `file`, the file can't be read, or the
    /// expression is invalid.
    pub fn open(chosen: &Chosen, wanted: &MappingContext) -> Result<Self, String> {
        let code = match chosen.settings(super::JQ.settings)? {
            Settings { expression: Some(expression), file: None } => expression,
            Settings { expression: None, file: Some(file) } => {
                let path = wanted.folder.join(file);
                fs::read_to_string(&path)
                    .map_err(|error| format!("jq: could not read `{}`: {error}", path.display()))?
            }
            _ => return Err("jq: set exactly one of `expression` and `file`, such as {\"type\": \"jq\", \"expression\": \"{id, email}\"}".into()),
        };
        Jq::of(&code)
    }

    /// Compiles an expression.
    fn of(code: &str) -> Result<Self, String> {
        Ok(Jq { filter: compile(code)?, reads: reads::fields(code) })
    }

    /// Returns the text of a record without the fields that the expression does not read: parsing is most of the
    /// work.
    fn input<'a>(&self, record: &'a Record) -> Cow<'a, str> {
        let body = record.body.value();
        let Some(reads) = self.reads.as_ref().filter(|_| body.is_object()) else {
            return Cow::Borrowed(record.body.get());
        };
        let read = body.fields().filter(|(name, _)| reads.contains(&*name.text()));
        let mut input = String::with_capacity(256);
        for (name, value) in read {
            input.push(if input.is_empty() { '{' } else { ',' });
            input += name.raw();
            input.push(':');
            input += value.raw();
        }
        if input.is_empty() { Cow::Borrowed("{}") } else { Cow::Owned(input + "}") }
    }
}

impl Mapping for Jq {
    fn fields(&self) -> Option<Vec<String>> {
        self.reads.as_ref().map(|reads| reads.iter().cloned().collect())
    }

    fn map(&self, record: &Record) -> Mapped {
        let Ok(input) = read::parse_single(self.input(record).as_bytes()) else {
            return Mapped::Reject("unreadable");
        };
        let context = Ctx::<Data>::new(&self.filter.lut, Vars::new([]));
        let results = self.filter.id.run((context, input));
        let mut bodies = Vec::new();
        for result in results {
            let Ok(result) = result else { return Mapped::Reject("jq_failed") };
            if bodies.len() == MOST {
                return Mapped::Reject("jq_too_many_results");
            }
            match Json::read(result.to_string()) {
                Some(body) => bodies.push(body),
                None => return Mapped::Reject("unwritable"),
            }
        }
        if bodies.is_empty() { Mapped::Skip("jq_empty") } else { Mapped::Send(Outgoing::plain(bodies)) }
    }
}

/// Upper bound of the results of a record. An expression with more is taken for one that never ends.
const MOST: usize = 1000;

/// Functions that would let a payload depend on more than the record, print the record, or end the program. A
/// mapping that calls one of them fails.
const BARRED: [&str; 5] = ["env", "now", "halt", "debug_empty", "stderr_empty"];

fn functions() -> impl Iterator<Item = Fun<Data>> {
    let all = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let barred = BARRED.map(|name| {
        let arguments = if name == "halt" { v(1) } else { v(0) };
        run::<Data>((name, arguments, |_| bome(Err(jaq_core::Error::str("not available in a mapping")))))
    });
    all.filter(|(name, ..)| !BARRED.contains(name)).chain(barred)
}

/// Compiles an expression, or returns the first error with its position.
fn compile(code: &str) -> Result<jaq_core::compile::Filter<jaq_core::Native<Data>>, String> {
    let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let arena = Arena::default();
    let modules = Loader::new(definitions).load(&arena, File { code, path: () }).map_err(|errors| {
        errors.first().map_or_else(String::new, |(file, error)| first_error(file.code, error))
    })?;
    Compiler::default().with_funs(functions()).compile(modules).map_err(|errors| {
        let first = errors.first().and_then(|(file, errors)| Some((file, errors.first()?)));
        first.map_or_else(String::new, |(file, (name, kind))| {
            at(file.code, name, &format!("unknown {} `{name}`", kind.as_str()))
        })
    })
}

/// Formats the first of the parser's errors.
fn first_error(code: &str, error: &load::Error<&str>) -> String {
    match error {
        load::Error::Io(_) => "jq: modules can't be loaded; put the definitions into the expression".into(),
        load::Error::Lex(errors) => errors.first().map_or_else(String::new, |(expected, found)| {
            at(code, found, &format!("expected {}", expected.as_str()))
        }),
        load::Error::Parse(errors) => errors.first().map_or_else(String::new, |(expected, found)| {
            at(code, found, &format!("expected {}", expected.as_str()))
        }),
    }
}

/// Formats an error with its position. `found` is a slice of `code`; an empty one means the end of `code`.
fn at(code: &str, found: &str, what: &str) -> String {
    let offset = if found.is_empty() { code.len() } else { load::span(code, found).start.min(code.len()) };
    let before = code.get(..offset).unwrap_or(code);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("jq: line {line} column {column} of the expression: {what}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;
    use crate::base::{consent::Policy, declared::Values};

    fn open(said: &Value, folder: &Path) -> Result<Jq, String> {
        let (policy, declared) = (Policy::default(), &Values::default());
        Jq::open(&Chosen::of(said, "jq"), &MappingContext { list_id: "a", policy, declared, folder })
    }

    fn expression(code: &str) -> Result<Jq, String> {
        open(&json!({"type": "jq", "expression": code}), Path::new("."))
    }

    fn mapped(code: &str, body: &Value) -> String {
        outcome(&expression(code).unwrap(), body)
    }

    pub fn outcome(jq: &Jq, body: &Value) -> String {
        let body = serde_json::value::RawValue::from_string(body.to_string()).unwrap();
        let record = Record {
            key: "1".into(),
            changed: None,
            status: "none".into(),
            deleted: false,
            unreadable: None,
            body: body.into(),
        };
        match jq.map(&record) {
            Mapped::Send(Outgoing { bodies, .. }) => {
                bodies.iter().map(|body| body.get()).collect::<Vec<_>>().join(" ")
            }
            Mapped::Skip(reason) => format!("skip {reason}"),
            Mapped::Reject(reason) => format!("reject {reason}"),
        }
    }

    #[test]
    fn the_result_is_the_payload() {
        let body =
            json!({"id": 7, "name": "Ada", "tags": [{"n": "x"}, {"n": "y"}], "big": 12345678901234567890u64});
        for (code, expected) in [
            ("{id, who: .name, tags: [.tags[].n]}", r#"{"id":7,"who":"Ada","tags":["x","y"]}"#),
            (".name | ascii_downcase", r#""ada""#),
            (
                "if .id == 7 then {id, name} + {seven: true} else empty end",
                r#"{"id":7,"name":"Ada","seven":true}"#,
            ),
            (".big", "12345678901234567890"),
            ("empty", "skip jq_empty"),
            (".tags[]", r#"{"n":"x"} {"n":"y"}"#),
            ("[range(1000)][:3][]", "0 1 2"),
            ("range(1001)", "reject jq_too_many_results"),
            (".id, error(\"no\")", "reject jq_failed"),
            (".name + 1", "reject jq_failed"),
            ("error(\"no\")", "reject jq_failed"),
            ("infinite | -., .", "reject unwritable"),
            ("nan", "reject unwritable"),
        ] {
            assert_eq!(mapped(code, &body), expected, "{code}");
        }
    }

    #[test]
    fn an_expression_can_access_only_the_record() {
        for code in ["env", "$ENV", "now", "halt", "halt_error", "debug", "stderr", "input"] {
            match expression(code) {
                Ok(_) => assert_eq!(mapped(code, &json!({})), "reject jq_failed", "{code}"),
                Err(why) => assert!(why.contains(": unknown "), "{code}: {why}"),
            }
        }
    }

    #[test]
    fn an_error_in_an_expression_is_reported_with_its_position() {
        for (code, expected) in [
            ("{id", "jq: line 1 column 4 of the expression: expected closing brace"),
            (".a |\n  nofilter", "jq: line 2 column 3 of the expression: unknown filter `nofilter`"),
            (".a +", "jq: line 1 column 5 of the expression: expected term"),
            ("$x", "jq: line 1 column 1 of the expression: unknown variable `$x`"),
        ] {
            assert_eq!(expression(code).err().unwrap(), expected, "{code}");
        }
    }

    #[test]
    fn a_relative_file_is_in_the_folder_of_the_state_file() {
        let folder = tempfile::tempdir().unwrap();
        #[expect(clippy::disallowed_methods, reason = "a file of the test's own")]
        fs::write(folder.path().join("shift.jq"), "# one\n{id}").unwrap();
        assert!(open(&json!({"type": "jq", "file": "shift.jq"}), folder.path()).is_ok());
        let why = open(&json!({"type": "jq", "file": "none.jq"}), folder.path()).err().unwrap();
        assert!(why.starts_with("jq: could not read `") && why.contains("none.jq"), "{why}");
        for said in [json!("jq"), json!({"type": "jq", "file": "a", "expression": "."})] {
            assert!(open(&said, folder.path()).err().unwrap().starts_with("jq: set exactly one of"));
        }
    }
}
