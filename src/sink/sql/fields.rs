//! Compares the fields of payloads with the settings, without the database: fields that no column takes, and columns that
//! no payload fills. Pure.

use super::settings::Table;
use crate::base::json::{Json, Value};

/// Returns the fields of a payload that no table takes. A table without `columns` takes those that it has, so nothing is
/// known of its fields.
pub fn ignored(tables: &[Table], payload: Value) -> Vec<String> {
    let mut ignored = unknown(tables.iter().filter(|table| table.path().is_empty()), payload, |name| {
        tables.iter().any(|table| table.path().first() == Some(&name))
    });
    for table in tables.iter().filter(|table| !table.path().is_empty()) {
        for row in table.rows_of(payload) {
            for name in unknown([table].into_iter(), row, |_| false) {
                let name = format!("{}.{name}", table.path().join("."));
                if !ignored.contains(&name) {
                    ignored.push(name);
                }
            }
        }
    }
    ignored
}

/// Returns the fields of a row that are columns of none of these tables.
fn unknown<'a>(
    tables: impl Iterator<Item = &'a Table> + Clone,
    row: Value,
    is_used: impl Fn(&str) -> bool,
) -> Vec<String> {
    let is_column = |name: &str| {
        let mut tables = tables.clone();
        tables.any(|table| {
            table.columns.as_ref().is_none_or(|columns| columns.iter().any(|(column, _)| column == name))
        })
    };
    let names = row.fields().map(|(name, _)| name.text().into_owned());
    names.filter(|name| !is_used(name) && !is_column(name)).collect()
}

/// Returns the columns and the paths of rows that the settings name and none of these payloads has.
pub fn unfilled(tables: &[Table], payloads: &[Json]) -> Vec<String> {
    let mut unfilled = vec![];
    for table in tables.iter().filter(|_| !payloads.is_empty()) {
        let (name, path) = (table.name.text(), table.path().join("."));
        if payloads.iter().all(|payload| table.place_of(payload.value()).is_none()) {
            unfilled.push(format!("`{path}`, the path in `rows` of the table `{name}`"));
            continue;
        }
        let rows: Vec<Value> = payloads.iter().flat_map(|payload| table.rows_of(payload.value())).collect();
        let (setting, columns): (_, Vec<&String>) = match &table.columns {
            Some(columns) => ("columns", columns.iter().map(|(name, _)| name).collect()),
            None => ("key", table.key.iter().collect()),
        };
        let absent = |column: &&String| rows.iter().all(|row| row.field(column).is_none());
        for column in columns.into_iter().filter(absent).filter(|_| !rows.is_empty()) {
            unfilled.push(format!("`{column}`, which `{setting}` of the table `{name}` names"));
        }
    }
    unfilled
}

impl Table {
    /// Returns the names that lead to the rows of a payload; none if the payload is the row.
    fn path(&self) -> Vec<&str> {
        self.rows.as_deref().filter(|path| !path.is_empty()).map_or(vec![], |path| path.split('.').collect())
    }

    /// Returns what is at the path of the rows.
    fn place_of<'a>(&self, payload: Value<'a>) -> Option<Value<'a>> {
        self.path().into_iter().try_fold(payload, |place, name| place.field(name))
    }

    fn rows_of<'a>(&self, payload: Value<'a>) -> Vec<Value<'a>> {
        match self.place_of(payload) {
            Some(place) if place.is_array() => place.items().collect(),
            Some(place) if place.is_object() => vec![place],
            _ => vec![],
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::settings::Plan, *};
    use crate::base::adapter::Chosen;

    #[test]
    fn fields_without_a_column_and_columns_without_a_field_are_named() {
        let plan = |settings| Plan::read(&Chosen::of(&settings, "sql")).unwrap().tables;
        let one = |columns| plan(json!({"url": "sqlite:a", "table": "t", "key": "id", "columns": columns}));
        let several = plan(json!({"url": "sqlite:a", "tables": [
            {"table": "t", "key": "id"},
            {"table": "u", "key": "n", "rows": "a.tags", "columns": {"n": null, "of": null}},
            {"table": "v", "key": "n", "rows": "gone", "columns": {"n": null}},
        ]}));
        let body = r#"{"id": 1, "a": {"tags": [{"n": 1, "x": 2}, {"n": 2, "x": 3}]}, "b": 2}"#;
        let read = |body: &str| Json::read(body.to_owned()).unwrap();
        for (tables, expected, absent) in [
            (&one(json!({"id": null, "b": null})), &["a"][..], &[][..]),
            (
                &one(json!({"id": null, "bb": null})),
                &["a", "b"],
                &["`bb`, which `columns` of the table `t` names"],
            ),
            (&one(json!(null)), &[], &[]),
            (
                &several,
                &["a.tags.x"],
                &[
                    "`of`, which `columns` of the table `u` names",
                    "`gone`, the path in `rows` of the table `v`",
                ],
            ),
        ] {
            assert_eq!(ignored(tables, read(body).value()), expected);
            assert_eq!(unfilled(tables, &[read(body), read("{\"id\": 2}")]), absent);
        }
        let keyless = plan(json!({"url": "sqlite:a", "table": "t", "key": "idd"}));
        assert_eq!(unfilled(&keyless, &[read(body)]), ["`idd`, which `key` of the table `t` names"]);
        assert_eq!(unfilled(&keyless, &[]), [""; 0]);
    }
}
