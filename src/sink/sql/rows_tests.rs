//! Tests of the rows of payloads.

use serde_json::json;

use super::{
    super::{kind::Dialect, schema::Found, settings::Plan},
    *,
};
use crate::base::adapter::Chosen;

/// Returns a table with these settings and columns.
pub fn target(settings: serde_json::Value, found: &[(&str, &str)], dialect: Dialect) -> Target {
    let plan = Plan::read(&Chosen::of(&settings, "sql")).unwrap();
    let found: Vec<Found> = found
        .iter()
        .map(|(name, of)| Found { name: (*name).into(), of: (*of).into(), generated: false })
        .collect();
    Target::resolve(&plan.tables[0], &found, dialect).unwrap()
}

fn people() -> Target {
    let columns = [("id", "bigint"), ("name", "varchar(5)"), ("born", "timestamptz")];
    target(json!({"table": "people", "key": "id"}), &columns, Dialect::Postgres)
}

fn pairs() -> Target {
    let columns = [("user", "bigint"), ("group", "text")];
    let settings = json!({"tables": [{"table": "pairs", "key": ["user", "group"], "rows": "a.pairs"}], "on_delete": "ignore"});
    target(settings, &columns, Dialect::Postgres)
}

/// Returns the rows of a payload as a parameter, or the rejection.
fn read(target: &Target, payload: &str) -> Result<String, String> {
    let json = Json::read(payload.to_owned()).unwrap();
    let names: Vec<&str> = target.columns.iter().map(|column| column.name.as_str()).collect();
    match of(target, &names, json.value()) {
        Ok(rows) => Ok(parameter(rows.iter())),
        Err(rejection) => Err(rejection.detail.unwrap()),
    }
}

#[test]
fn a_payload_is_a_row_of_the_columns_that_it_names() {
    for (payload, row) in [
        (r#"{"id": 1, "name": "Ada", "other": [1]}"#, r#"[{"c0":1,"c1":"Ada"}]"#),
        (r#"{"name": null, "id": 1}"#, r#"[{"c0":1,"c1":null}]"#),
        (r#"{"id": 1, "id": 2}"#, r#"[{"c0":2}]"#),
        (r#"{"\u0069d": 1}"#, r#"[{"c0":1}]"#),
    ] {
        assert_eq!(read(&people(), payload).as_deref(), Ok(row), "{payload}");
    }
    for (payload, rows) in [
        (
            r#"{"a": {"pairs": [{"user": 1, "group": "x"}, {"user": 1, "group": "y"}]}}"#,
            r#"[{"c0":1,"c1":"x"},{"c0":1,"c1":"y"}]"#,
        ),
        (r#"{"a": {"pairs": {"user": 1, "group": "x"}}}"#, r#"[{"c0":1,"c1":"x"}]"#),
        (r#"{"a": {"pairs": null}}"#, "[]"),
        (r#"{"a": {"pairs": []}}"#, "[]"),
        (r#"{"a": 7}"#, "[]"),
        ("{}", "[]"),
    ] {
        assert_eq!(read(&pairs(), payload).as_deref(), Ok(rows), "{payload}");
    }
}

#[test]
fn a_value_that_does_not_fit_is_named_by_its_column_and_never_repeated() {
    for (payload, why) in [
        (r#"{"name": "Ada"}"#, "column `id` of `people`: null_key"),
        (r#"{"id": null}"#, "column `id` of `people`: null_key"),
        (r#"{"id": 1.5}"#, "column `id` of `people`: wrong_kind"),
        (r#"{"id": 1, "name": "Secret"}"#, "column `name` of `people`: text_too_long"),
        (r#"{"id": 1, "name": "A\u0000"}"#, "column `name` of `people`: nul_in_text"),
        (r#"{"id": 1, "born": "2026-11-28T10:00:00"}"#, "column `born` of `people`: no_time_zone"),
        ("[1]", "row of `people`: not_an_object"),
        ("7", "row of `people`: not_an_object"),
    ] {
        assert_eq!(read(&people(), payload).unwrap_err(), why, "{payload}");
    }
    let why = read(&pairs(), r#"{"a": {"pairs": [{"user": 1}]}}"#).unwrap_err();
    assert_eq!(why, "column `group` of `pairs`: null_key");
}

#[test]
fn the_key_of_a_deleted_record_is_the_text_of_its_column_or_an_array() {
    let key = |target: &Target, text: &str| match super::key(target, text) {
        Ok(cells) => parameter([cells].iter()),
        Err(rejection) => rejection.reason.to_owned(),
    };
    for (text, expected) in
        [("17", r#"[{"c0":"17"}]"#), ("x", "wrong_key"), ("99999999999999999999", "wrong_key")]
    {
        assert_eq!(key(&people(), text), expected, "{text}");
    }
    let texts = target(json!({"table": "a", "key": "id"}), &[("id", "text")], Dialect::Sqlite);
    for (text, expected) in [(r#"["7","x"]"#, "wrong_key"), ("[7", r#"[{"c0":"[7"}]"#)] {
        assert_eq!(key(&texts, text), expected, "{text}");
    }
    for (text, expected) in [
        (r#"[1, "x"]"#, r#"[{"c0":1,"c1":"x"}]"#),
        (r#"["1","x"]"#, r#"[{"c0":"1","c1":"x"}]"#),
        ("[1]", "wrong_key"),
        (r#"[1, null]"#, "wrong_key"),
        ("1", "wrong_key"),
        ("x", "wrong_key"),
    ] {
        assert_eq!(key(&pairs(), text), expected, "{text}");
    }
}

#[test]
fn a_key_that_sqlite_would_take_for_that_of_another_row_is_wrong() {
    for (of, text, expected) in [
        ("string", "7", r#"[{"c0":"7"}]"#),
        ("string", "x7", r#"[{"c0":"x7"}]"#),
        ("string", "1.5", r#"[{"c0":"1.5"}]"#),
        ("string", "007", "wrong_key"),
        ("string", "7.0", "wrong_key"),
        ("numeric", "7.0", r#"[{"c0":"7.0"}]"#),
        ("numeric", "12345678901234567891", "wrong_key"),
        ("text", "007", r#"[{"c0":"007"}]"#),
    ] {
        let target = target(json!({"table": "a", "key": "id"}), &[("id", of)], Dialect::Sqlite);
        let found = super::key(&target, text);
        let found = found.map_or_else(|why| why.reason.to_owned(), |cells| parameter([cells].iter()));
        assert_eq!(found, expected, "{of} {text}");
    }
}

#[test]
fn rows_with_one_key_are_joined_and_rows_with_the_same_columns_share_a_statement() {
    let target = people();
    let names: Vec<&str> = target.columns.iter().map(|column| column.name.as_str()).collect();
    let payloads: Vec<Json> = [
        r#"{"id": 1, "name": "a"}"#,
        r#"{"id": 2}"#,
        r#"{"id": 1, "born": null}"#,
        r#"{"id": 3, "name": "c"}"#,
        r#"{"id": 1, "name": "b"}"#,
        r#"{"id": 4}"#,
    ]
    .map(|text| Json::read(text.to_owned()).unwrap())
    .to_vec();
    let rows = payloads.iter().enumerate().flat_map(|(at, json)| {
        let cells = of(&target, &names, json.value()).unwrap();
        cells.into_iter().map(move |cells| Row { cells, payloads: vec![at] })
    });
    let told: Vec<_> = groups(fold(&target, rows))
        .into_iter()
        .map(|(columns, rows)| {
            let from: Vec<_> = rows.iter().map(|row| row.payloads.clone()).collect();
            (columns, from, parameter(rows.iter().map(|row| &row.cells)))
        })
        .collect();
    assert_eq!(
        told,
        [
            (vec![0, 1, 2], vec![vec![0, 2, 4]], r#"[{"c0":1,"c1":"b","c2":null}]"#.to_owned()),
            (vec![0], vec![vec![1], vec![5]], r#"[{"c0":2},{"c0":4}]"#.to_owned()),
            (vec![0, 1], vec![vec![3]], r#"[{"c0":3,"c1":"c"}]"#.to_owned()),
        ]
    );
}
