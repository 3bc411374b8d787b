//! Tests of the texts of statements.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    super::{rows::tests::target, settings::Plan},
    *,
};
use crate::base::adapter::Chosen;

#[path = "../../../benches/sql_loop/statements.rs"]
mod bench;

const COLUMNS: [(&str, &str); 7] = [
    ("id", "bigint"),
    ("na\"me", "character varying(255)"),
    ("born", "timestamp(0) without time zone"),
    ("tags", "json"),
    ("place", "point"),
    ("updated_at", "timestamp(0) without time zone"),
    ("gone", "boolean"),
];

fn check(dialect: Dialect, settings: Value, expected: Expect) {
    let target = target(settings, &COLUMNS, dialect);
    let all: Vec<usize> = (0..target.columns.len()).collect();
    let told = [target.compare(&all), target.upsert(&all), target.delete()].join("\n");
    expected.assert_eq(&format!("{told}\n"));
}

#[test]
fn postgresql_gets_typed_rows_and_compares_each_type_by_what_it_stores() {
    let settings =
        json!({"table": "public.people", "key": "id", "touch": "updated_at", "on_delete": {"mark": "gone"}});
    check(
        Dialect::Postgres,
        settings,
        expect![[r#"
        SELECT x.n FROM (SELECT r.c0::bigint AS c0, r.c1::character varying AS c1, (r.c2 AT TIME ZONE 'UTC')::timestamp(0) without time zone AS c2, r.c3::json AS c3, r.c4::point AS c4, r.n FROM ROWS FROM (jsonb_to_recordset($1::jsonb) AS (c0 bigint, c1 character varying(255), c2 timestamptz, c3 jsonb, c4 point)) WITH ORDINALITY AS r(c0, c1, c2, c3, c4, n)) AS x JOIN "public"."people" AS t ON t."id" = x.c0 AND t."na""me" COLLATE "C" IS NOT DISTINCT FROM x.c1 COLLATE "C" AND t."born" IS NOT DISTINCT FROM x.c2 AND t."tags"::jsonb IS NOT DISTINCT FROM x.c3::jsonb AND t."place"::text COLLATE "C" IS NOT DISTINCT FROM x.c4::text COLLATE "C" AND t."gone" IS NOT DISTINCT FROM false
        INSERT INTO "public"."people" AS t ("id", "na""me", "born", "tags", "place", "updated_at", "gone") SELECT x.c0, x.c1, x.c2, x.c3, x.c4, (now() AT TIME ZONE 'UTC'), false FROM (SELECT r.c0::bigint AS c0, r.c1::character varying AS c1, (r.c2 AT TIME ZONE 'UTC')::timestamp(0) without time zone AS c2, r.c3::json AS c3, r.c4::point AS c4, r.n FROM ROWS FROM (jsonb_to_recordset($1::jsonb) AS (c0 bigint, c1 character varying(255), c2 timestamptz, c3 jsonb, c4 point)) WITH ORDINALITY AS r(c0, c1, c2, c3, c4, n)) AS x WHERE true ON CONFLICT ("id") DO UPDATE SET "na""me" = excluded."na""me", "born" = excluded."born", "tags" = excluded."tags", "place" = excluded."place", "gone" = excluded."gone", "updated_at" = excluded."updated_at" WHERE t."na""me" COLLATE "C" IS DISTINCT FROM excluded."na""me" COLLATE "C" OR t."born" IS DISTINCT FROM excluded."born" OR t."tags"::jsonb IS DISTINCT FROM excluded."tags"::jsonb OR t."place"::text COLLATE "C" IS DISTINCT FROM excluded."place"::text COLLATE "C" OR t."gone" IS DISTINCT FROM excluded."gone"
        UPDATE "public"."people" AS t SET "gone" = true, "updated_at" = (now() AT TIME ZONE 'UTC') FROM (SELECT r.c0::bigint AS c0, r.n FROM ROWS FROM (jsonb_to_recordset($1::jsonb) AS (c0 bigint)) WITH ORDINALITY AS r(c0, n)) AS x WHERE t."id" = x.c0 AND t."gone" IS DISTINCT FROM true
    "#]],
    );
}

#[test]
fn sqlite_gets_the_same_statements_in_its_own_words() {
    let settings = json!({"table": "people", "key": ["id", "na\"me"], "columns": {"id": null, "na\"me": null, "tags": null}, "created": "updated_at"});
    check(
        Dialect::Sqlite,
        settings,
        expect![[r#"
        SELECT x.n FROM (SELECT json_extract(r.value, '$.c0') AS c0, json_extract(r.value, '$.c1') AS c1, nullif(r.value -> '$.c2', 'null') AS c2, r.key + 1 AS n FROM json_each(?1) AS r) AS x JOIN "people" AS t ON t."id" = x.c0 AND t."na""me" = x.c1 AND t."tags" IS x.c2 COLLATE BINARY
        INSERT INTO "people" AS t ("id", "na""me", "tags", "updated_at") SELECT x.c0, x.c1, x.c2, strftime('%Y-%m-%dT%H:%M:%SZ', 'now') FROM (SELECT json_extract(r.value, '$.c0') AS c0, json_extract(r.value, '$.c1') AS c1, nullif(r.value -> '$.c2', 'null') AS c2, r.key + 1 AS n FROM json_each(?1) AS r) AS x WHERE true ON CONFLICT ("id", "na""me") DO UPDATE SET "tags" = excluded."tags" WHERE t."tags" IS NOT excluded."tags" COLLATE BINARY
        DELETE FROM "people" AS t WHERE (t."id", t."na""me") IN (SELECT x.c0, x.c1 FROM (SELECT json_extract(r.value, '$.c0') AS c0, json_extract(r.value, '$.c1') AS c1, r.key + 1 AS n FROM json_each(?1) AS r) AS x)
    "#]],
    );
}

#[test]
fn a_table_of_keys_alone_is_only_inserted_into() {
    let settings = json!({"table": "people", "key": "id", "columns": {"id": null}});
    check(
        Dialect::Postgres,
        settings,
        expect![[r#"
        SELECT x.n FROM (SELECT r.c0::bigint AS c0, r.n FROM ROWS FROM (jsonb_to_recordset($1::jsonb) AS (c0 bigint)) WITH ORDINALITY AS r(c0, n)) AS x JOIN "people" AS t ON t."id" = x.c0
        INSERT INTO "people" AS t ("id") SELECT x.c0 FROM (SELECT r.c0::bigint AS c0, r.n FROM ROWS FROM (jsonb_to_recordset($1::jsonb) AS (c0 bigint)) WITH ORDINALITY AS r(c0, n)) AS x WHERE true ON CONFLICT ("id") DO NOTHING
        DELETE FROM "people" AS t USING (SELECT r.c0::bigint AS c0, r.n FROM ROWS FROM (jsonb_to_recordset($1::jsonb) AS (c0 bigint)) WITH ORDINALITY AS r(c0, n)) AS x WHERE t."id" = x.c0
    "#]],
    );
}

#[test]
fn a_table_is_created_with_the_declared_types() {
    let settings = json!({
        "table": "a.people", "key": "id", "create": true, "touch": "updated_at",
        "columns": {"name": "varchar(255)", "id": "bigint"},
    });
    let plan = Plan::read(&Chosen::of(&settings, "sql")).unwrap();
    let told =
        [Dialect::Postgres, Dialect::Sqlite].map(|dialect| create(&plan.tables[0], dialect)).join("\n");
    expect![[r#"
        CREATE TABLE IF NOT EXISTS "a"."people" (
          "id" bigint NOT NULL,
          "name" varchar(255),
          "updated_at" timestamptz,
          PRIMARY KEY ("id")
        )
        CREATE TABLE IF NOT EXISTS "a"."people" (
          "id" INTEGER NOT NULL,
          "name" varchar(255),
          "updated_at" timestamptz,
          PRIMARY KEY ("id")
        )
    "#]]
    .assert_eq(&format!("{told}\n"));
}

proptest! {
    /// Whatever a name is, the quotation ends where it should.
    #[test]
    fn a_quoted_name_is_one_name(name in r#"[a-z"'\\;. ()-]{1,20}"#) {
        let quoted = quoted(&name);
        let inner = &quoted[1..quoted.len() - 1];
        prop_assert!(quoted.starts_with('"') && quoted.ends_with('"'));
        prop_assert_eq!(inner.replace("\"\"", ""), name.replace('"', ""));
        prop_assert_eq!(inner.replace("\"\"", "\""), name);
    }
}

#[test]
fn the_bare_loop_of_the_bench_sends_the_statements_of_the_sink() {
    let declared: serde_json::Map<_, _> =
        bench::COLUMNS.iter().map(|(name, of)| ((*name).to_owned(), json!(of))).collect();
    let settings = json!({"table": "items", "key": "id", "columns": declared, "create": true});
    for (dialect, sent) in [(Dialect::Sqlite, bench::SQLITE), (Dialect::Postgres, bench::POSTGRES)] {
        let stored = |of| match (dialect, of) {
            (Dialect::Postgres, "varchar(40)") => "character varying(40)",
            (Dialect::Postgres, "timestamptz") => "timestamp with time zone",
            _ => of,
        };
        let target = target(settings.clone(), &bench::COLUMNS.map(|(name, of)| (name, stored(of))), dialect);
        let names: Vec<&str> = target.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, bench::COLUMNS.map(|(name, _)| name));
        let all: Vec<usize> = (0..names.len()).collect();
        let plan = Plan::read(&Chosen::of(&settings, "sql")).unwrap();
        assert_eq!(create(&plan.tables[0], dialect), sent.create);
        assert_eq!(
            (target.compare(&all).as_str(), target.upsert(&all).as_str()),
            (sent.compare, sent.upsert)
        );
    }
}
