//! Tests of tables that fit an entry, and of those that do not.

use serde_json::{Value, json};

use super::{super::settings::Plan, *};
use crate::base::adapter::Chosen;

fn resolve(settings: &Value, found: &[(&str, &str)]) -> Result<Target, String> {
    let plan = Plan::read(&Chosen::of(settings, "sql")).unwrap();
    let found: Vec<Found> = found
        .iter()
        .map(|(name, of)| Found { name: (*name).into(), of: (*of).into(), generated: *name == "computed" })
        .collect();
    Target::resolve(&plan.tables[0], &found, Dialect::Postgres).map_err(|fault| fault.to_string())
}

const PEOPLE: [(&str, &str); 5] = [
    ("name", "text"),
    ("id", "bigint"),
    ("computed", "text"),
    ("updated_at", "timestamp with time zone"),
    ("gone", "boolean"),
];

#[test]
fn the_key_comes_first_and_columns_that_importer_sets_are_not_filled_from_payloads() {
    let settings =
        json!({"table": "people", "key": "id", "touch": "updated_at", "on_delete": {"mark": "gone"}});
    let target = resolve(&settings, &PEOPLE).unwrap();
    let names: Vec<&str> = target.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!((names, target.keys), (vec!["id", "name"], 1));
    assert_eq!(
        target.describe(),
        "table people: id bigint, name text, updated_at timestamp with time zone, gone boolean"
    );
}

#[test]
fn what_is_missing_or_does_not_fit_is_named_with_the_next_step() {
    for (settings, found, why) in [
        (
            json!({"table": "a.people", "key": "id"}),
            &[][..],
            "the database has no table `a.people` (create it, correct `table`, or set `create` to true)",
        ),
        (
            json!({"table": "people", "key": "nr"}),
            &PEOPLE,
            "the table `people` has no column `nr` that can be written (add it to the table, or correct `key`)",
        ),
        (
            json!({"table": "people", "key": "id", "columns": {"id": null, "computed": null}}),
            &PEOPLE,
            "the table `people` has no column `computed` that can be written (add it to the table, or correct `columns`)",
        ),
        (
            json!({"table": "people", "key": "id", "columns": {"id": "bigint", "updated_at": "boolean"}}),
            &PEOPLE,
            "the column `updated_at` of `people` is of type timestamp with time zone, which can't store boolean (correct `columns`, or the type of the column)",
        ),
        (
            json!({"table": "people", "key": "id", "touch": "name"}),
            &PEOPLE,
            "the column `name` of `people` is of type text, which can't store the current time (correct `touch`, or the type of the column)",
        ),
        (
            json!({"table": "people", "key": "id", "on_delete": {"mark": "id2"}}),
            &PEOPLE,
            "the table `people` has no column `id2` that can be written (add it to the table, or correct `on_delete`)",
        ),
    ] {
        assert_eq!(resolve(&settings, found).unwrap_err(), why, "{settings}");
    }
}
