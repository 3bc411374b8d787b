//! The mapping `jq`: the payload is the result of a jq expression for the record. Without a result (`empty`),
//! the record is skipped; an error or a second result rejects it. An expression has no access to the
//! environment, the clock or the log.
//!
//! Manual of the language: <https://gedenkt.at/jaq/manual/>.

mod reads;

use std::{borrow::Cow, collections::BTreeSet, fs, path::PathBuf};

use serde::Deserialize;

use super::{Mapping, MappingContext};
use crate::base::{
    adapter::Chosen,
    jq::{Expression, Failure, Most},
    record::{Mapped, Outgoing, Record},
};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    expression: Option<String>,
    /// File with the expression. A relative path is relative to the folder of the state file.
    file: Option<PathBuf>,
}

/// Mapping with a compiled expression.
pub struct Jq {
    expression: Expression,
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
        Ok(Jq { expression: Expression::compile(code)?, reads: reads::fields(code) })
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
        match self.expression.results(&self.input(record), MOST) {
            Ok(bodies) if bodies.is_empty() => Mapped::Skip("jq_empty"),
            Ok(bodies) => Mapped::Send(Outgoing::plain(bodies)),
            Err(Failure::Unreadable) => Mapped::Reject("unreadable"),
            Err(Failure::Failed) => Mapped::Reject("jq_failed"),
            Err(Failure::TooMany) => Mapped::Reject("jq_too_many_results"),
            Err(Failure::Unwritable) => Mapped::Reject("unwritable"),
        }
    }
}

/// Upper bounds of the results of a record. An expression with more is taken for one that never ends.
const MOST: Most = Most { results: 1000, bytes: 64 << 20 };

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
