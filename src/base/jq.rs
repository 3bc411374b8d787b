//! Expressions in jq: compiles them, and runs them over JSON texts. An expression has no access to the environment, the
//! clock or the log. Pure.
//!
//! Manual of the language: <https://gedenkt.at/jaq/manual/>.

use jaq_core::{
    Compiler, Ctx, Vars, data,
    load::{self, Arena, File, Loader},
    native::{Fun, bome, run, v},
};
use jaq_json::{Val, bytes_valrs, read};

use super::json::{Json, MAX_LEVELS};

type Data = data::JustLut<Val>;

/// A compiled expression.
pub struct Expression(jaq_core::compile::Filter<jaq_core::Native<Data>>);

/// Upper bounds of the results for an input.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    pub results: usize,
    /// Length of all results together: each may repeat a part of the input.
    pub bytes: usize,
}

/// Why an expression has no results for an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The input is not JSON.
    Unreadable,
    /// The expression failed.
    Failed,
    /// It has more results than allowed, or longer ones, and may never end.
    TooMany,
    /// A result is no JSON, such as an infinite number.
    Unwritable,
}

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    ///
    /// The expression is invalid. The message has the position of the first error.
    pub fn compile(code: &str) -> Result<Self, String> {
        compile(code).map(Expression)
    }

    /// Returns the results for an input, within bounds.
    ///
    /// # Errors
    ///
    /// [`Failure`].
    pub fn results(&self, input: &str, most: Most) -> Result<Vec<Json>, Failure> {
        let input = read::parse_single(input.as_bytes()).map_err(|_| Failure::Unreadable)?;
        let context = Ctx::<Data>::new(&self.0.lut, Vars::new([]));
        let (mut found, mut bytes) = (Vec::new(), 0);
        for result in self.0.id.run((context, input)) {
            let result = result.map_err(|_| Failure::Failed)?.to_string();
            bytes += result.len();
            if found.len() == most.results || bytes > most.bytes {
                return Err(Failure::TooMany);
            }
            found.push(Json::read(result).map_err(|_| Failure::Unwritable)?);
        }
        Ok(found)
    }
}

/// Functions that would let a result depend on more than the input, print the input, or end the program. An
/// expression that calls one of them fails.
const BARRED: [&str; 5] = ["env", "now", "halt", "debug_empty", "stderr_empty"];

fn functions() -> impl Iterator<Item = Fun<Data>> {
    let all = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let barred = BARRED.map(|name| {
        let arguments = if name == "halt" { v(1) } else { v(0) };
        run::<Data>((name, arguments, |_| bome(Err(jaq_core::Error::str("not available here")))))
    });
    let replaced = |name: &str| BARRED.contains(&name) || name == FROM_JSON;
    all.filter(move |(name, ..)| !replaced(name)).chain(barred).chain([from_json()])
}

const FROM_JSON: &str = "fromjson";

/// Returns the function of this name, which fails for a text that nests too deeply: the library's parser is recursive, and
/// the text comes from a record.
fn from_json() -> Fun<Data> {
    run::<Data>((FROM_JSON, v(0), |(_, value)| {
        let text = value.try_as_utf8_bytes_owned().and_then(|text| match is_shallow(&text) {
            true => Ok(text),
            false => Err(unparsed("it nests too deeply")),
        });
        match text {
            Ok(text) => {
                let value = |read: Result<Val, _>| read.map_err(unparsed);
                let values = bytes_valrs(text, |text| Box::new(read::parse_many(text).map(value)));
                Box::new(values.map(|value| value.map_err(Into::into)))
            }
            Err(error) => bome(Err(error)),
        }
    }))
}

fn unparsed(why: impl std::fmt::Display) -> jaq_core::Error<Val> {
    jaq_core::Error::str(format_args!("cannot parse as JSON: {why}"))
}

/// Returns whether a text, JSON or not, nests no deeper than other JSON may.
fn is_shallow(text: &[u8]) -> bool {
    let opened = || text.iter().filter(|byte| matches!(byte, b'[' | b'{')).take(MAX_LEVELS + 1).count();
    opened() <= MAX_LEVELS || std::str::from_utf8(text).is_ok_and(|text| Json::check(text).is_ok())
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
    use super::*;

    fn results(code: &str, input: &str) -> Result<Vec<String>, Failure> {
        let found = Expression::compile(code).unwrap().results(input, Most { results: 1000, bytes: 5000 })?;
        Ok(found.iter().map(|json| json.get().to_owned()).collect())
    }

    #[test]
    fn a_text_of_a_record_is_parsed_as_json_unless_it_nests_too_deeply() {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let brackets = format!("[\"{}\"]", "[{".repeat(2000));
        for (input, expected) in [
            (text("[1, {\"a\": 2}]"), Ok(vec![r#"[1,{"a":2}]"#.to_owned()])),
            (text("1 2"), Ok(vec!["1".to_owned(), "2".to_owned()])),
            (text(&brackets), Ok(vec![brackets])),
            (text("[1"), Err(Failure::Failed)),
            ("7".to_owned(), Err(Failure::Failed)),
            (text(&"[".repeat(100_000)), Err(Failure::Failed)),
            (text(&format!("# \"\n{}", "{a:".repeat(100_000))), Err(Failure::Failed)),
        ] {
            assert_eq!(results("fromjson", &input), expected, "{:.40}", input);
        }
    }

    #[test]
    fn results_are_bounded_in_number_in_length_and_in_depth() {
        assert_eq!(results("range(1000)", "null").unwrap().len(), 1000);
        assert_eq!(results("range(1001)", "null"), Err(Failure::TooMany));
        assert_eq!(results("repeat(1)", "null"), Err(Failure::TooMany));
        let long = format!("\"{}\"", "x".repeat(1000));
        assert_eq!(results("range(4) as $n | .", &long).unwrap().len(), 4);
        assert_eq!(results("range(5) as $n | .", &long), Err(Failure::TooMany));
        let nested = "reduce range($n) as $n (null; [.])";
        assert_eq!(results(&nested.replace("$n)", "127)"), "null").unwrap().len(), 1);
        assert_eq!(results(&nested.replace("$n)", "128)"), "null"), Err(Failure::Unwritable));
    }
}
