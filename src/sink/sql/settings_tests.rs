//! Tests of the settings of an entry.

use serde_json::json;

use super::*;

fn read(settings: Value) -> Result<Plan, String> {
    Plan::read(&Chosen::of(&settings, "sql"))
}

#[test]
fn one_table_stands_beside_the_other_settings_and_several_in_tables() {
    let one = read(json!({"table": "public.people", "key": "id", "touch": ["updated_at"]})).unwrap();
    let table = &one.tables[0];
    assert_eq!((table.name.text().as_str(), table.name.table.as_str()), ("public.people", "people"));
    assert_eq!((table.key.as_slice(), &table.columns, table.counts), (&["id".to_owned()][..], &None, true));
    assert_eq!((&one.on_delete, one.atomic, one.create), (&OnDelete::Delete, false, false));
    let tables = json!([
        {"table": "users", "key": "id"},
        {"table": "links", "key": ["user", "group"], "rows": "groups", "count": false},
    ]);
    let several = read(json!({"tables": tables, "on_delete": {"mark": "gone"}})).unwrap();
    let told: Vec<_> = several.tables.iter().map(|table| (table.counts, table.mark.as_deref())).collect();
    assert_eq!(told, [(true, Some("gone")), (false, None)]);
}

#[test]
fn settings_that_contradict_each_other_are_named_with_the_next_step() {
    let typed = json!({"id": "bigint", "name": null});
    for (settings, why) in [
        (json!({}), "sql: set either `table` with its `key`, or `tables`"),
        (json!({"tables": []}), "sql: set either `table` with its `key`, or `tables`"),
        (json!({"table": "a"}), "sql: set `key`, the column or the columns that identify a row"),
        (
            json!({"tables": [{"table": "a", "key": "id"}], "touch": "t"}),
            "sql: `touch` belongs in each object of `tables`; move it there",
        ),
        (
            json!({"tables": [{"table": "a", "key": "id"}, {"table": "a", "key": "id"}]}),
            "sql: `tables` names `a` twice; remove one",
        ),
        (
            json!({"tables": [{"table": "a", "key": "id", "rows": "b"}]}),
            "sql: no table can apply deletions, since each has `rows`; set `on_delete` to \"ignore\"",
        ),
        (
            json!({"table": "a.b.c", "key": "id"}),
            "sql: `table`: invalid table name \"a.b.c\"; use a name such as \"people\" or \"public.people\"",
        ),
        (json!({"table": "a", "key": []}), "sql: `key` of `a` has no column; name at least one"),
        (
            json!({"table": "a", "key": ["b", "b"]}),
            "sql: `key`: invalid columns [\"b\",\"b\"]; use a name such as \"id\", or an array of different names",
        ),
        (
            json!({"table": "a", "key": "id", "touch": "id"}),
            "sql: `key`, `touch`, `created` and `mark` of `a` name the column `id` twice; remove one",
        ),
        (
            json!({"table": "a", "key": "id", "touch": "t", "on_delete": {"mark": "t"}}),
            "sql: `key`, `touch`, `created` and `mark` of `a` name the column `t` twice; remove one",
        ),
        (
            json!({"table": "a", "key": "b", "columns": typed}),
            "sql: `columns` of `a` lacks the column `b` of `key`; add it",
        ),
        (
            json!({"table": "a", "key": "id", "columns": typed, "created": "name"}),
            "sql: `columns` of `a` contains `name`, which importer sets by itself; remove it there, or from `touch`, `created` or `mark`",
        ),
        (
            json!({"table": "a", "key": "id", "create": true}),
            "sql: `create` needs `columns` of `a`, each with a type",
        ),
        (
            json!({"table": "a", "key": "id", "create": true, "columns": typed}),
            "sql: `create` needs a type of the column `name` in `columns` of `a`",
        ),
        (
            json!({"table": "a", "key": "id", "columns": {"id": "int); drop table a"}}),
            "sql: `columns.id`: invalid type \"int); drop table a\"; use the name of a type, such as \"bigint\" or \"varchar(255)\"",
        ),
    ] {
        assert_eq!(read(settings.clone()).err().unwrap(), why, "{settings}");
    }
}

#[test]
fn sqlite_creates_no_column_of_a_type_that_it_does_not_know() {
    for (of, why) in [
        ("text", None),
        ("timestamptz", None),
        ("json", None),
        ("varchar(5)", None),
        ("blob", None),
        (
            "string",
            Some(
                "`create`: SQLite does not know the type string of the column `b` of `a`, and would store some texts as numbers; use text",
            ),
        ),
        (
            "uuid",
            Some(
                "`create`: SQLite does not know the type uuid of the column `b` of `a`, and would store some texts as numbers; use text",
            ),
        ),
    ] {
        let plan =
            read(json!({"table": "a", "key": "id", "create": true, "columns": {"id": "bigint", "b": of}}));
        assert_eq!(plan.unwrap().tables[0].check_sqlite().err().as_deref(), why, "{of}");
    }
}

#[test]
fn a_type_is_words_and_numbers() {
    for (text, valid) in [
        ("bigint", true),
        ("double precision", true),
        ("varchar(255)", true),
        ("numeric(10, 2)", true),
        ("numeric (10,2)", true),
        ("timestamp(0) without time zone", true),
        ("integer[]", true),
        ("my_type2", true),
        ("", false),
        ("1a", false),
        ("a  b", false),
        ("text; drop table a", false),
        ("text -- a", false),
        ("\"text\"", false),
        ("varchar()", false),
        ("varchar(a)", false),
        ("varchar(1,2,3)", false),
        ("varchar(1", false),
        ("int[][]", false),
    ] {
        assert_eq!(is_type(text), valid, "{text}");
    }
}
