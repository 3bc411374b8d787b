//! Values are stored as they are, or their record is rejected.

use serde_json::{Value, json};

use super::{Database, databases, deliver, rejected};

/// Delivers records, and returns the reasons of those that are rejected, with their positions.
async fn reasons(database: &Database, settings: Value, records: &[Value]) -> Vec<(usize, String)> {
    let sink = database.open(settings);
    let batch: Vec<(&str, Value)> = records.iter().map(|record| ("1", record.clone())).collect();
    let delivery = deliver(&sink, &batch).await;
    rejected(&delivery).into_iter().map(|(at, reason, _)| (at, reason.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_converted_value_that_is_too_long_is_not_cut() {
    for database in databases("CREATE TABLE a (id bigint PRIMARY KEY, short varchar(3), fixed char(3))").await
    {
        let columns = json!({"id": null, "short": "bigint", "fixed": "numeric"});
        let settings = json!({"table": "a", "key": "id", "columns": columns});
        let records = [
            json!({"id": 1, "short": 12345}),
            json!({"id": 2, "fixed": 12.5}),
            json!({"id": 3, "short": 123, "fixed": 1.5}),
        ];
        let found = reasons(&database, settings, &records).await;
        assert_eq!(found, [(0, "text_too_long".into()), (1, "text_too_long".into())], "{}", database.kind());
        assert_eq!(database.texts("SELECT short || fixed FROM a").await, ["1231.5"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_formats_a_time_too_long_refuses_it() {
    for database in databases("CREATE TABLE a (id bigint PRIMARY KEY, at varchar(20))").await {
        if database.url.is_none() {
            continue;
        }
        let settings = json!({"table": "a", "key": "id", "columns": {"id": null, "at": "timestamptz"}});
        let found = reasons(&database, settings, &[json!({"id": 1, "at": "2026-11-28T10:00:00Z"})]).await;
        assert_eq!(found, [(0, "text_too_long".into())]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_stores_no_text_as_a_number_and_rounds_none() {
    let database = Database::sqlite(
        "CREATE TABLE a (id numeric PRIMARY KEY, zip string, token uuid, any, price numeric)",
    )
    .await;
    let records = [
        json!({"id": 1, "zip": "007"}),
        json!({"id": 2, "zip": "a7", "any": "007"}),
        json!({"id": 3, "token": "00000000000000000000000000000007"}),
        json!({"id": 4, "price": 0.1}),
        serde_json::from_str(r#"{"id": 5, "price": 1e300}"#).unwrap(),
    ];
    let found = reasons(&database, json!({"table": "a", "key": "id"}), &records).await;
    assert_eq!(found, [(0, "wrong_kind".into()), (2, "wrong_kind".into())]);
    let rows = "SELECT id || ' ' || coalesce(zip, '') || coalesce(any, '') || coalesce(price, '') FROM a ORDER BY id";
    assert_eq!(database.texts(rows).await, ["2 a7007", "4 0.1", "5 1.0e+300"]);
    for key in ["12345678901234567890", "0.12345678901234567890", "1e400"] {
        let sink = database.open(json!({"table": "a", "key": "id"}));
        let json = importer::base::json::Json::read(format!("{{\"id\":{key}}}")).unwrap();
        let payload = importer::base::record::Payload { key: "1".into(), body: Some(json) };
        let delivery = sink.sink.deliver(&[sink.sink.prepare(&payload).unwrap()]).await.unwrap();
        assert_eq!(rejected(&delivery)[0].1, "out_of_range", "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_with_more_decimals_than_its_column_is_rejected() {
    for database in databases("CREATE TABLE a (id bigint PRIMARY KEY, price numeric(10,2))").await {
        let records = [json!({"id": 1, "price": 1.005}), json!({"id": 2, "price": 1.5})];
        let found = reasons(&database, json!({"table": "a", "key": "id"}), &records).await;
        assert_eq!(found, [(0, "out_of_range".into())], "{}", database.kind());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_case_is_written_whatever_the_column_compares() {
    for database in databases("SELECT 1").await {
        let table = match database.url {
            None => {
                "CREATE TABLE a (id bigint PRIMARY KEY, name text COLLATE NOCASE, note varchar(9) COLLATE RTRIM)"
            }
            Some(_) => {
                "CREATE COLLATION same (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
                CREATE TABLE a (id bigint PRIMARY KEY, name text COLLATE same, note varchar(9))"
            }
        };
        database.run(table).await;
        let sink = database.open(json!({"table": "a", "key": "id"}));
        deliver(&sink, &[("1", json!({"id": 1, "name": "ada", "note": "x"}))]).await;
        let changed = [("1", json!({"id": 1, "name": "Ada", "note": "x "}))];
        assert!(deliver(&sink, &changed).await.unchanged.is_empty(), "{}", database.kind());
        assert_eq!(database.texts("SELECT name || note FROM a").await, ["Adax "]);
        assert_eq!(deliver(&sink, &changed).await.unchanged, [0], "{}", database.kind());
    }
}
