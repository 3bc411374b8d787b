//! Expressions in jq: compiles them, and runs them over JSON texts. An expression has no access to the environment, the
//! clock or the log. Pure.
//!
//! Manual of the language: <https://gedenkt.at/jaq/manual/>.

use jaq_core::{
    Compiler, Ctx, Vars, data,
    load::{self, Arena, File, Loader},
    native::{Fun, bome, run, v},
};
use jaq_json::{Val, read};

use super::json::Json;

type Data = data::JustLut<Val>;

/// A compiled expression.
pub struct Expression(jaq_core::compile::Filter<jaq_core::Native<Data>>);

/// Why an expression has no results for an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The input is not JSON.
    Unreadable,
    /// The expression failed.
    Failed,
    /// It has more results than allowed, and may never end.
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

    /// Returns the results for an input, `most` at most.
    ///
    /// # Errors
    ///
    /// [`Failure`].
    pub fn results(&self, input: &str, most: usize) -> Result<Vec<Json>, Failure> {
        let input = read::parse_single(input.as_bytes()).map_err(|_| Failure::Unreadable)?;
        let context = Ctx::<Data>::new(&self.0.lut, Vars::new([]));
        let mut found = Vec::new();
        for result in self.0.id.run((context, input)) {
            let result = result.map_err(|_| Failure::Failed)?;
            if found.len() == most {
                return Err(Failure::TooMany);
            }
            found.push(Json::read(result.to_string()).ok_or(Failure::Unwritable)?);
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
