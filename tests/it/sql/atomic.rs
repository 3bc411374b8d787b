//! A pass as one transaction: others see all of it or nothing.

use importer::sink::Settles;
use serde_json::{Value, json};

use super::{PEOPLE, ROWS, databases, deliver, rejected};

fn settings() -> Value {
    json!({"table": "people", "key": "id", "atomic": true})
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_a_row_before_the_close_and_all_rows_after_it() {
    for database in databases(PEOPLE).await {
        let kind = database.kind();
        let sink = database.open(settings());
        assert_eq!(sink.spec.settles, Settles::AtClose, "{kind}");
        deliver(&sink, &[("1", json!({"id": 1})), ("2", json!({"id": 2}))]).await;
        let refused =
            deliver(&sink, &[("3", json!({"id": 3, "name": "too long"})), ("4", json!({"id": 4}))]).await;
        assert_eq!(rejected(&refused)[0].1, "text_too_long", "{kind}");
        assert_eq!(deliver(&sink, &[("1", json!({"id": 1}))]).await.unchanged, [0], "{kind}");
        assert!(database.texts(ROWS).await.is_empty(), "{kind}");
        sink.sink.close().await.unwrap();
        assert_eq!(database.texts(ROWS).await, ["1 - -", "2 - -", "4 - -"], "{kind}");
        // The next pass is a transaction of its own.
        deliver(&sink, &[("5", json!({"id": 5}))]).await;
        assert_eq!(database.texts(ROWS).await.len(), 3, "{kind}");
        sink.sink.close().await.unwrap();
        sink.sink.close().await.unwrap();
        assert_eq!(database.texts(ROWS).await.len(), 4, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_dropped_leaves_nothing() {
    for database in databases(PEOPLE).await {
        let sink = database.open(settings());
        deliver(&sink, &[("1", json!({"id": 1}))]).await;
        drop(sink);
        // The locks of the transaction are gone, too.
        let sink = database.open(settings());
        deliver(&sink, &[("1", json!({"id": 1, "name": "b"}))]).await;
        sink.sink.close().await.unwrap();
        assert_eq!(database.texts(ROWS).await, ["1 b -"], "{}", database.kind());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_created_in_the_transaction_of_the_run() {
    for database in databases("SELECT 1").await {
        let columns = json!({"id": "bigint"});
        let sink = database
            .open(json!({"table": "a", "key": "id", "atomic": true, "create": true, "columns": columns}));
        deliver(&sink, &[("1", json!({"id": 1}))]).await;
        drop(sink);
        let checked = database.open(json!({"table": "a", "key": "id"})).sink.check().await;
        assert!(
            checked.unwrap_err().to_string().contains("the database has no table `a`"),
            "{}",
            database.kind()
        );
    }
}
