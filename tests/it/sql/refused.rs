//! Records that a table can't store: each is rejected with its reason, and the others of its batch are written.

use importer::base::fault::Fault;
use serde_json::{Value, json};

use super::{Database, databases, deliver, prepared, rejected};

const THINGS: &str = "CREATE TABLE parents (id bigint PRIMARY KEY);
    CREATE TABLE things (
        id bigint PRIMARY KEY, name varchar(5), small smallint, price numeric(4,2), ratio double precision, seen timestamp with time zone,
        at timestamp, day date, token uuid, flag boolean, mail text UNIQUE, parent bigint REFERENCES parents (id),
        state text DEFAULT 'new' NOT NULL, size integer CHECK (size > 0))";

/// Delivers a batch in which each record stands between two good ones, and returns the reasons and details.
async fn refused(database: &Database, settings: Value, records: &[Value]) -> Vec<(String, String)> {
    let sink = database.open(settings);
    let keys: Vec<String> = (0..=records.len()).map(|number| (1000 + number).to_string()).collect();
    let mut batch = vec![];
    for (number, key) in keys.iter().enumerate() {
        batch.push((key.as_str(), json!({"id": 1000 + number})));
        batch.extend(records.get(number).map(|record| (key.as_str(), record.clone())));
    }
    let delivery = deliver(&sink, &batch).await;
    let good = "SELECT cast(count(*) as text) FROM things WHERE id BETWEEN 1000 AND 1999";
    assert_eq!(database.texts(good).await, [keys.len().to_string()], "{}", database.kind());
    let bad = "SELECT cast(count(*) as text) FROM things WHERE id < 1000";
    assert_eq!(database.texts(bad).await, ["0"], "{}", database.kind());
    let positions: Vec<usize> = delivery.rejected.iter().map(|(at, _)| *at).collect();
    let expected: Vec<usize> = (0..records.len()).map(|number| 2 * number + 1).collect();
    assert_eq!(positions, expected, "{}: {:?}", database.kind(), rejected(&delivery));
    rejected(&delivery)
        .into_iter()
        .map(|(_, reason, detail)| (reason.to_owned(), detail.to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_a_column_can_not_store_rejects_its_record_alone() {
    let table = json!({"table": "things", "key": "id"});
    let cases = [
        (json!({"id": 1, "name": "a\u{0}"}), "nul_in_text", "name"),
        (json!({"id": 1, "name": "secret"}), "text_too_long", "name"),
        (json!({"id": 1, "name": 7}), "wrong_kind", "name"),
        (json!({"id": 1, "price": 123.4}), "out_of_range", "price"),
        (json!({"id": 1, "price": "1.5"}), "wrong_kind", "price"),
        (json!({"id": 1, "seen": "2026-11-28T10:00:00"}), "no_time_zone", "seen"),
        (json!({"id": 1, "seen": "soon"}), "wrong_kind", "seen"),
        (json!({"id": 1, "at": 1764324000}), "wrong_kind", "at"),
        (json!({"id": 1, "day": "2026-02-30"}), "wrong_kind", "day"),
        (json!({"id": 1, "token": "x"}), "wrong_kind", "token"),
        (json!({"id": 1, "flag": "yes"}), "wrong_kind", "flag"),
        (json!({"id": null}), "null_key", "id"),
        (json!({"name": "Ada"}), "null_key", "id"),
        (json!({"id": 9223372036854775808u64}), "out_of_range", "id"),
    ];
    for database in databases(THINGS).await {
        let records: Vec<Value> = cases.iter().map(|(record, ..)| record.clone()).collect();
        let found = refused(&database, table.clone(), &records).await;
        for ((record, reason, column), found) in cases.iter().zip(&found) {
            let detail = format!("column `{column}` of `things`: {reason}");
            assert_eq!(*found, ((*reason).to_owned(), detail), "{} {record}", database.kind());
        }
        if database.url.is_some() {
            database.run("DELETE FROM things").await;
            let found = refused(&database, table.clone(), &[json!({"id": 1, "small": 40000})]).await;
            assert_eq!(found[0].0, "out_of_range");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_constraint_rejects_the_record_that_breaks_it_and_is_named_without_the_value() {
    for database in databases(THINGS).await {
        database.run("INSERT INTO parents VALUES (7); INSERT INTO things (id, mail) VALUES (1000, 'ada@example.org')").await;
        let cases = [
            (json!({"id": 1, "mail": "ada@example.org"}), "not_unique"),
            (json!({"id": 2, "parent": 8}), "no_such_parent"),
            (json!({"id": 3, "state": null}), "null_not_allowed"),
            (json!({"id": 4, "size": 0}), "check_failed"),
        ];
        let records: Vec<Value> = cases.iter().map(|(record, _)| record.clone()).collect();

        let found = refused(&database, json!({"table": "things", "key": "id"}), &records).await;
        for ((record, reason), (found, detail)) in cases.iter().zip(&found) {
            assert_eq!(found, reason, "{} {record}", database.kind());
            assert!(
                detail.starts_with(&format!("row of `things`: {reason}")) && !detail.contains("ada"),
                "{detail}"
            );
        }
        let named =
            if database.url.is_some() { "constraint `things_mail_key`" } else { "column `things.mail`" };
        assert!(found[0].1.contains(named), "{}", found[0].1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_type_converts_a_value_and_a_time_is_stored_in_utc() {
    let tables = "CREATE TABLE a (id bigint PRIMARY KEY, zip text, n integer, at timestamp)";
    for database in databases(tables).await {
        let columns = json!({"id": "bigint", "zip": "text", "n": "integer", "at": "timestamptz"});
        let sink = database.open(json!({"table": "a", "key": "id", "columns": columns}));
        let batch = [(
            "1",
            json!({"id": "1", "zip": 1234567890123456789u64, "n": "17", "at": "2026-11-28T01:00:00+02:00"}),
        )];
        deliver(&sink, &batch).await;
        assert_eq!(deliver(&sink, &batch).await.unchanged, [0], "{}", database.kind());
        let found =
            database.texts("SELECT id || ' ' || zip || ' ' || n || ' ' || cast(at as text) FROM a").await;
        let time = if database.url.is_some() { "2026-11-27 23:00:00" } else { "2026-11-28T01:00:00+02:00" };
        assert_eq!(found, [format!("1 1234567890123456789 17 {time}")], "{}", database.kind());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_are_not_as_the_entry_says_end_the_run_and_nothing_is_written() {
    for database in databases(THINGS).await {
        for (settings, why) in [
            (
                json!({"table": "thing", "key": "id"}),
                "the database has no table `thing` (create it, correct `table`, or set `create` to true)",
            ),
            (
                json!({"table": "things", "key": "id", "columns": {"id": null, "nam": null}}),
                "the table `things` has no column `nam` that can be written (add it to the table, or correct `columns`)",
            ),
            (
                json!({"table": "things", "key": "id", "touch": "flag"}),
                "the column `flag` of `things` is of type boolean, which can't store the current time",
            ),
        ] {
            let sink = database.open(settings);
            let fault = sink.sink.deliver(&prepared(&sink, &[("1", json!({"id": 1}))])).await.unwrap_err();
            let text = fault.to_string();
            assert!(matches!(fault, Fault::List(_)) && text.contains(why), "{}: {text}", database.kind());
            assert!(text.starts_with("could not write 1 record of list `a`: "), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_sends_no_notices_of_triggers() {
    for database in databases("CREATE TABLE a (id bigint PRIMARY KEY, level text)").await {
        if database.url.is_none() {
            continue;
        }
        let trigger = "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            NEW.level = current_setting('client_min_messages'); RETURN NEW; END $$;
            CREATE TRIGGER note BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION note()";
        database.run(trigger).await;
        let sink = database.open(json!({"table": "a", "key": "id", "columns": {"id": null}}));
        deliver(&sink, &[("1", json!({"id": 1}))]).await;
        assert_eq!(database.texts("SELECT level FROM a").await, ["error"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_of_a_trigger_refuses_the_record_and_its_text_is_not_repeated() {
    for (code, refuses) in [("ZZ001", true), ("XX000", false)] {
        for database in databases("CREATE TABLE a (id bigint PRIMARY KEY, mail text)").await {
            if database.url.is_none() {
                continue;
            }
            let trigger = format!(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    IF NEW.mail IS NOT NULL THEN RAISE EXCEPTION 'about %', NEW.mail USING ERRCODE = '{code}'; END IF;
                    RETURN NEW; END $$;
                CREATE TRIGGER refuse BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION refuse()"
            );
            database.run(&trigger).await;
            let sink = database.open(json!({"table": "a", "key": "id"}));
            let batch = [("1", json!({"id": 1, "mail": "ada lovelace"})), ("2", json!({"id": 2}))];
            let outcome = sink.sink.deliver(&prepared(&sink, &batch)).await;
            match outcome {
                Ok(delivery) => {
                    let detail = format!("row of `a`: refused, code {code}");
                    assert_eq!(rejected(&delivery), [(0, "refused", detail.as_str())]);
                    assert!(refuses);
                }
                Err(fault) => {
                    let fault = fault.to_string();
                    assert!(!refuses && fault.contains(code) && !fault.contains("ada"), "{fault}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_checked_at_the_commit_refuses_its_record_alone() {
    for create in [false, true] {
        for database in databases("CREATE TABLE parents (id bigint PRIMARY KEY)").await {
            let kind = database.kind();
            let child = "CREATE TABLE a (id bigint PRIMARY KEY, parent bigint REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)";
            database.run(child).await;
            let mut settings = json!({"tables": [{"table": "a", "key": "id"}]});
            if create {
                // The other table is created in the same transaction.
                settings["create"] = true.into();
                settings["tables"][0]["columns"] = json!({"id": "bigint", "parent": "bigint"});
                let other = json!({"table": "b", "key": "id", "rows": "b", "columns": {"id": "bigint"}});
                settings["tables"].as_array_mut().unwrap().push(other);
            }
            let sink = database.open(settings);
            let batch = [
                ("1", json!({"id": 1})),
                ("2", json!({"id": 2, "parent": 9})),
                ("3", json!({"id": 3, "b": {"id": 3}})),
            ];
            let delivery = deliver(&sink, &batch).await;
            let found = rejected(&delivery);
            assert_eq!((found.len(), found[0].0, found[0].1), (1, 1, "no_such_parent"), "{kind}: {found:?}");
            assert!(found[0].2.starts_with("row of `a`: no_such_parent"), "{kind}: {found:?}");
            assert_eq!(
                database.texts("SELECT cast(id as text) FROM a ORDER BY id").await,
                ["1", "3"],
                "{kind}"
            );
            if create {
                assert_eq!(database.texts("SELECT cast(id as text) FROM b").await, ["3"], "{kind}");
            }
        }
    }
}
