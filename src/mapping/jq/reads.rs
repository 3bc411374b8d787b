//! Finds the fields of a record that an expression reads, so that no others are requested and parsed. Pure.
//!
//! An expression is read from its root: a term whose input is the record may use it only by the names of fields.
//! What such a term returns can't contain the record, so a term after a pipe needs no reading. In doubt, an
//! expression may read all fields.

use std::collections::BTreeSet;

use jaq_core::{
    load::{
        self,
        lex::StrPart,
        parse::{BinaryOp, Def, Pattern, Term},
    },
    path::{Opt, Part, Path},
};

/// Functions without arguments that ignore their input.
const CONSTANTS: [&str; 4] = ["empty", "true", "false", "null"];
/// Functions with one argument that use their input only as the input of the argument.
const WRAPPERS: [&str; 3] = ["first", "last", "error"];

/// Returns the top-level fields that an expression reads; `None` if it may read any.
pub fn fields(code: &str) -> Option<BTreeSet<String>> {
    let term = load::parse(code, |parser| parser.term())?;
    let mut found = BTreeSet::new();
    reads(&term, &mut found).then_some(found)
}

/// Adds the fields that a term reads, whose input is the record. Returns false if it may read or return any.
fn reads(term: &Term<&str>, found: &mut BTreeSet<String>) -> bool {
    match term {
        Term::Num(_) | Term::Var(_) | Term::Break(_) | Term::Arr(None) => true,
        // Alone, they return the record; a format without a text formats it.
        Term::Id | Term::Recurse | Term::Str(Some(_), _) => false,
        Term::Str(None, parts) => parts.iter().all(|part| match part {
            StrPart::Term(term) => reads(term, found),
            StrPart::Str(_) | StrPart::Char(_) => true,
        }),
        Term::Arr(Some(term)) | Term::Neg(term) | Term::Label(_, term) => reads(term, found),
        Term::Obj(fields) => fields.iter().all(|(name, value)| member(name, value.as_ref(), found)),
        Term::BinOp(left, operator, right) => match operator {
            BinaryOp::Pipe(None) => reads(left, found),
            BinaryOp::Pipe(Some(pattern)) => is_plain(pattern) && reads(left, found) && reads(right, found),
            BinaryOp::Comma
            | BinaryOp::Alt
            | BinaryOp::Or
            | BinaryOp::And
            | BinaryOp::Math(_)
            | BinaryOp::Cmp(_) => reads(left, found) && reads(right, found),
            // They return the whole record with a change.
            BinaryOp::Assign | BinaryOp::Update | BinaryOp::UpdateMath(_) | BinaryOp::UpdateAlt => false,
        },
        // Only the items and the first value have the record as their input.
        Term::Fold(_, items, pattern, rest) => {
            is_plain(pattern) && reads(items, found) && rest.first().is_some_and(|term| reads(term, found))
        }
        Term::TryCatch(term, _) => reads(term, found),
        // Without `else`, the input is returned.
        Term::IfThenElse(cases, Some(otherwise)) => {
            cases.iter().all(|(condition, term)| reads(condition, found) && reads(term, found))
                && reads(otherwise, found)
        }
        Term::IfThenElse(_, None) => false,
        Term::Def(defined, term) => !defined.iter().any(shadows) && reads(term, found),
        Term::Call(name, arguments) => match &arguments[..] {
            [] => CONSTANTS.contains(name),
            [argument] => WRAPPERS.contains(name) && reads(argument, found),
            _ => false,
        },
        Term::Path(from, path) => along(from, path, found),
    }
}

/// Adds what a member of an object reads: its value, or the field of its name. A computed name may be any.
fn member(name: &Term<&str>, value: Option<&Term<&str>>, found: &mut BTreeSet<String>) -> bool {
    match value {
        Some(value) => reads(name, found) && reads(value, found),
        None => match name {
            Term::Var(_) => true,
            name => add(name, found),
        },
    }
}

/// Adds what a path reads. Its parts have the record as their input, too.
fn along(from: &Term<&str>, Path(parts): &Path<Term<&str>>, found: &mut BTreeSet<String>) -> bool {
    let mut rest = &parts[..];
    let begins = match (from, parts.split_first()) {
        (Term::Id, Some(((Part::Index(name), Opt::Optional | Opt::Essential), after))) => {
            rest = after;
            add(name, found)
        }
        (from, _) => reads(from, found),
    };
    begins
        && rest.iter().all(|(part, _)| match part {
            Part::Index(term) => reads(term, found),
            Part::Range(first, last) => [first, last].into_iter().flatten().all(|bound| reads(bound, found)),
        })
}

/// Adds the field of this name. Returns false if the name is computed.
fn add(name: &Term<&str>, found: &mut BTreeSet<String>) -> bool {
    let name = constant(name);
    let is_constant = name.is_some();
    found.extend(name);
    is_constant
}

/// Returns the text of a string without interpolation.
fn constant(term: &Term<&str>) -> Option<String> {
    let Term::Str(None, parts) = term else { return None };
    let text = parts.iter().map(|part| match part {
        StrPart::Str(text) => Some((*text).to_owned()),
        StrPart::Char(char) => Some(char.to_string()),
        StrPart::Term(_) => None,
    });
    text.collect()
}

/// Returns whether a pattern only names variables: a key of an object in a pattern may be computed.
fn is_plain(pattern: &Pattern<&str>) -> bool {
    match pattern {
        Pattern::Var(_) => true,
        Pattern::Arr(parts) => parts.iter().all(is_plain),
        Pattern::Obj(_) => false,
    }
}

/// Returns whether a definition gives a known function another meaning.
fn shadows(definition: &Def<&str>) -> bool {
    CONSTANTS.iter().chain(&WRAPPERS).any(|name| *name == definition.name)
}

#[cfg(test)]
#[path = "reads_tests.rs"]
mod tests;
