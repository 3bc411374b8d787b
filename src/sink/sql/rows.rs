//! Rows: made of payloads, checked against the columns of their table, and grouped for the statements. Pure.

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
};

use super::{
    decimal,
    kind::{Affinity, Dialect, Kind, OUT_OF_RANGE, WRONG_KIND},
    schema::Target,
};
use crate::{
    base::{
        json::{Json, Value},
        record::Reason,
    },
    sink::Rejection,
};

pub const NOT_AN_OBJECT: Reason = "not_an_object";
const NULL_KEY: Reason = "null_key";
/// The key of a record can't be that of a row.
const WRONG_KEY: Reason = "wrong_key";

/// The cells of a row as JSON text, by the index of the column; `None`: the payload says nothing about the column.
pub type Cells<'a> = Vec<Option<Cow<'a, str>>>;

/// A row, and the positions in the batch of the payloads that it is made of.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    pub cells: Cells<'a>,
    pub payloads: Vec<usize>,
}

/// Returns the rows that a payload has for a table.
///
/// # Errors
///
/// A value does not fit. The rejection names table and column, never the value.
pub fn of<'a>(target: &Target, names: &[&str], payload: Value<'a>) -> Result<Vec<Cells<'a>>, Rejection> {
    let mut place = payload;
    for part in &target.rows {
        match place.field(part) {
            Some(field) => place = field,
            None => return Ok(vec![]),
        }
    }
    if place.is_array() {
        return place.items().map(|row| cells(target, names, row)).collect();
    }
    match place.is_null() && !target.rows.is_empty() {
        true => Ok(vec![]),
        false => cells(target, names, place).map(|cells| vec![cells]),
    }
}

/// Reads the cells of a row. Fields that are no columns are left out; of fields with one name, the last one counts.
fn cells<'a>(target: &Target, names: &[&str], row: Value<'a>) -> Result<Cells<'a>, Rejection> {
    if !row.is_object() {
        return Err(rejected(target, None, NOT_AN_OBJECT));
    }
    let (mut cells, mut next): (Cells, usize) = (vec![None; names.len()], 0);
    for (name, value) in row.fields() {
        if let Some(at) = name.position(names, next) {
            check_sqlite(target, at, value)?;
            cells[at] = Some(cell(target, at, value, false)?);
            next = at + 1;
        }
    }
    let missing = (0..target.keys).find(|at| cells[*at].as_ref().is_none_or(|cell| cell == "null"));
    match missing {
        Some(at) => Err(rejected(target, Some(at), NULL_KEY)),
        None => Ok(cells),
    }
}

/// Returns the JSON text of a value, if the column takes it. With `cast`, a text may stand for another kind of value.
fn cell<'a>(target: &Target, at: usize, value: Value<'a>, cast: bool) -> Result<Cow<'a, str>, Rejection> {
    let column = &target.columns[at];
    let declared = column.value_kind();
    let cast = cast || column.cast.is_some();
    let wrong = |reason| rejected(target, Some(at), reason);
    let cell = declared.take(value, cast).map_err(wrong)?;
    // The text of a time or of JSON is that of the database, which checks its length.
    let as_text =
        matches!(column.kind, Kind::Text(_)) && !matches!(declared, Kind::Timestamp(_) | Kind::Json);
    if declared.is_like(column.kind) || as_text {
        column.kind.take(value, cast).map_err(wrong)?;
    }
    Ok(cell)
}

/// Checks that SQLite stores a value as it is.
///
/// # Errors
///
/// SQLite would take a text for a number, or round a number.
fn check_sqlite(target: &Target, at: usize, value: Value<'_>) -> Result<(), Rejection> {
    let column = &target.columns[at];
    if target.dialect != Dialect::Sqlite {
        return Ok(());
    }
    let text = value.text();
    let is_other = matches!(column.kind, Kind::Other | Kind::Uuid);
    if is_other && Affinity::of(&column.of).converts() && text.as_deref().is_some_and(decimal::is_number) {
        return Err(rejected(target, Some(at), WRONG_KIND));
    }
    let kind = column.value_kind();
    let number = match (kind, &text) {
        (Kind::Decimal(_), Some(text)) => text.trim(),
        (Kind::Decimal(_) | Kind::Other, None) => value.raw(),
        _ => return Ok(()),
    };
    match decimal::is_number(number) && !decimal::is_exact(number) {
        true => Err(rejected(target, Some(at), OUT_OF_RANGE)),
        false => Ok(()),
    }
}

fn rejected(target: &Target, at: Option<usize>, reason: Reason) -> Rejection {
    let table = target.name.text();
    let detail = match at {
        Some(at) => format!("column `{}` of `{table}`: {reason}", target.columns[at].name),
        None => format!("row of `{table}`: {reason}"),
    };
    Rejection { detail: Some(detail), ..Rejection::new(reason) }
}

/// Returns the cells of the key of a deleted record. With one column, the key is its text; with several, it is a JSON
/// array.
///
/// # Errors
///
/// The key can't be that of a row.
pub fn key(target: &Target, key: &str) -> Result<Cells<'static>, Rejection> {
    let wrong = || {
        let table = target.name.text();
        let detail =
            format!("the key of the record does not have the form of the key of `{table}`: {WRONG_KEY}");
        Rejection { detail: Some(detail), ..Rejection::new(WRONG_KEY) }
    };
    let texts = match target.keys {
        // The key of a record of several fields.
        1 if Json::read(key.to_owned()).is_ok_and(|json| json.value().is_array()) => return Err(wrong()),
        1 => serde_json::Value::from(vec![key]).to_string(),
        _ => key.to_owned(),
    };
    let json = Json::read(texts).map_err(|_| wrong())?;
    let values: Vec<Value> = json.value().items().collect();
    if values.len() != target.keys || values.iter().any(|value| value.is_null()) {
        return Err(wrong());
    }
    let cell = |(at, value): (usize, &Value)| {
        if !is_exact_key(target, at, *value) {
            return Err(wrong());
        }
        let cell = cell(target, at, *value, true).map_err(|_| wrong())?;
        Ok(Some(Cow::Owned(cell.into_owned())))
    };
    values.iter().enumerate().map(cell).collect()
}

/// Returns whether a key means one row only. SQLite compares a text that is a number with the numbers of a column, so that
/// 007 would mean the row of 7.
fn is_exact_key(target: &Target, at: usize, value: Value<'_>) -> bool {
    let column = &target.columns[at];
    if target.dialect != Dialect::Sqlite || !Affinity::of(&column.of).converts() {
        return true;
    }
    let text = value.text().unwrap_or(value.raw().into());
    match column.kind {
        Kind::Other | Kind::Uuid => !decimal::is_number(&text) || decimal::is_plain(&text),
        Kind::Decimal(_) => !decimal::is_number(&text) || decimal::is_exact(text.trim()),
        _ => true,
    }
}

/// Returns a text that is equal for rows with the same key.
pub fn identity(target: &Target, cells: &[Option<Cow<str>>]) -> String {
    let plain = |cell: &Option<Cow<str>>| {
        let cell = cell.as_deref().unwrap_or_default();
        let text = cell.starts_with('"').then(|| serde_json::from_str(cell).ok()).flatten();
        text.unwrap_or_else(|| cell.to_owned())
    };
    cells[..target.keys].iter().map(plain).collect::<Vec<_>>().join("\0")
}

/// Joins rows with the same key: of each column, the last cell counts. A statement must not write a row twice.
pub fn fold<'a>(target: &Target, rows: impl Iterator<Item = Row<'a>>) -> Vec<Row<'a>> {
    let mut folded: Vec<Row> = vec![];
    let mut known: HashMap<String, usize> = HashMap::new();
    for row in rows {
        match known.entry(identity(target, &row.cells)) {
            Entry::Vacant(free) => {
                free.insert(folded.len());
                folded.push(row);
            }
            Entry::Occupied(known) => {
                let earlier = &mut folded[*known.get()];
                earlier.payloads.extend(row.payloads);
                let later = row.cells.into_iter().enumerate().filter(|(_, cell)| cell.is_some());
                later.for_each(|(at, cell)| earlier.cells[at] = cell);
            }
        }
    }
    folded
}

/// Groups rows by the columns that they fill, in the order in which the groups begin.
pub fn groups(rows: Vec<Row<'_>>) -> Vec<(Vec<usize>, Vec<Row<'_>>)> {
    let mut groups: Vec<(Vec<usize>, Vec<Row>)> = vec![];
    for row in rows {
        let fills = |columns: &Vec<usize>| columns.iter().copied().eq(filled(&row.cells));
        match groups.iter_mut().find(|(columns, _)| fills(columns)) {
            Some((_, rows)) => rows.push(row),
            None => groups.push((filled(&row.cells).collect(), vec![row])),
        }
    }
    groups
}

fn filled(cells: &[Option<Cow<str>>]) -> impl Iterator<Item = usize> {
    cells.iter().enumerate().filter(|(_, cell)| cell.is_some()).map(|(at, _)| at)
}

/// Formats rows as the parameter of a statement.
pub fn parameter<'a>(rows: impl Iterator<Item = &'a Cells<'a>>) -> String {
    let mut text = String::from("[");
    for cells in rows {
        text.push_str(if text.len() > 1 { ",{" } else { "{" });
        let mut separator = "";
        for (at, cell) in cells.iter().enumerate() {
            let Some(cell) = cell else { continue };
            text.push_str(separator);
            text.push_str(&format!("\"c{at}\":"));
            text.push_str(cell);
            separator = ",";
        }
        text.push('}');
    }
    text.push(']');
    text
}

#[cfg(test)]
#[path = "rows_tests.rs"]
pub mod tests;
