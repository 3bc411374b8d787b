//! A pass as one transaction: others see all of it or nothing.

use std::{sync::Arc, time::Duration};

use importer::{
    base::fault::Fault,
    net::{AccountClients, Environment},
    sink::{Opened, Settles},
};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{Database, PEOPLE, ROWS, databases, deliver, prepared, rejected};
use crate::{
    contract::Always,
    support::{NOON, TokioClock},
};

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

/// Opens the sink of a list, with an account that it shares with others.
fn of_list(database: &Database, list_id: &str, accounts: &AccountClients) -> Opened {
    database.open_with(settings(), list_id, accounts)
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_wait_for_a_transaction_do_not_keep_it_from_its_end() {
    for database in databases(PEOPLE).await {
        let kind = database.kind();
        let clock = Arc::new(TokioClock::at(NOON));
        let accounts = AccountClients::new(Environment::new(|_| None), Arc::new(Always(200, "")), clock);
        let first = of_list(&database, "first", &accounts);
        deliver(&first, &[("1", json!({"id": 1, "n": 100}))]).await;
        let runs = (0..10).map(|n| {
            let run = of_list(&database, &format!("list {n}"), &accounts);
            async move {
                deliver(&run, &[("1", json!({"id": 1, "n": n}))]).await;
                deliver(&run, &[("1", json!({"id": 1, "n": n}))]).await;
                run.sink.close().await.unwrap();
            }
        });
        let runs = tokio::spawn(futures::future::join_all(runs.collect::<Vec<_>>()));
        sleep(Duration::from_millis(500)).await;
        let rest = async {
            deliver(&first, &[("2", json!({"id": 2}))]).await;
            first.sink.close().await.unwrap();
        };
        timeout(Duration::from_secs(3), rest).await.unwrap_or_else(|_| panic!("{kind}: the first run waits"));
        timeout(Duration::from_secs(60), runs).await.unwrap().unwrap();
        let rows = database.texts(ROWS).await;
        assert!(rows.len() == 2 && rows[0] != "1 - 100" && rows[1] == "2 - -", "{kind}: {rows:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deferred_key_rejects_its_record_or_fails_the_run_and_names_the_table() {
    let tables = "CREATE TABLE parents (id bigint PRIMARY KEY);
        CREATE TABLE children (id bigint PRIMARY KEY, parent bigint REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)";
    let all = "SELECT 'p' || id FROM parents UNION ALL SELECT 'c' || id FROM children ORDER BY 1";
    for database in databases(tables).await {
        let sink = database.open(json!({"atomic": true, "tables": [
            {"table": "parents", "key": "id", "rows": "parents"}, {"table": "children", "key": "id"},
        ]}));
        let child = |id: u64, parent: u64| (id.to_string(), json!({"id": id, "parent": parent}));
        let with_parent = ("1".to_owned(), json!({"id": 1, "parent": 1, "parents": [{"id": 1}]}));
        let batch = [with_parent, child(2, 7)];
        let batch: Vec<(&str, Value)> =
            batch.iter().map(|(key, body)| (key.as_str(), body.clone())).collect();
        let delivery = deliver(&sink, &batch).await;
        let closed = sink.sink.close().await;
        if database.url.is_some() {
            let why = "row of `children`: no_such_parent, constraint `children_parent_fkey`, code 23503";
            assert_eq!(rejected(&delivery), [(1, "no_such_parent", why)]);
            closed.unwrap();
            assert_eq!(database.texts(all).await, ["c1", "p1"]);
            continue;
        }
        let fault = closed.unwrap_err();
        let why = "could not commit the records of list `a`: a foreign key is violated: a row of `children` lacks its parent (nothing of this transaction is stored";
        assert!(matches!(fault, Fault::List(_)) && fault.to_string().starts_with(why), "{fault}");
        assert!(database.texts(all).await.is_empty());
        // The next run stores everything: the parent comes in a later batch.
        let sink = database.open(json!({"atomic": true, "tables": [
            {"table": "parents", "key": "id", "rows": "parents"}, {"table": "children", "key": "id"},
        ]}));
        deliver(&sink, &batch).await;
        deliver(&sink, &[("3", json!({"id": 3, "parents": {"id": 7}}))]).await;
        sink.sink.close().await.unwrap();
        assert_eq!(database.texts(all).await, ["c1", "c2", "c3", "p1", "p7"]);
    }
}

/// The transaction of a process that was killed during its commit ends when the next run has begun.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_commit_does_not_undo_what_the_next_run_found_equal() {
    for database in databases(PEOPLE).await {
        let kind = database.kind();
        database.run("INSERT INTO people (id, name) VALUES (1, 'old')").await;
        let killed = database.open(settings());
        deliver(&killed, &[("1", json!({"id": 1, "name": "new"}))]).await;
        let next = database.open(json!({"table": "people", "key": "id"}));
        let batch = prepared(&next, &[("1", json!({"id": 1, "name": "old"}))]);
        let commits = async {
            sleep(Duration::from_millis(500)).await;
            killed.sink.close().await.unwrap();
        };
        let (delivery, ()) = tokio::join!(next.sink.deliver(&batch), commits);
        assert!(delivery.unwrap().unchanged.is_empty(), "{kind}");
        assert_eq!(database.texts(ROWS).await, ["1 old -"], "{kind}");
    }
}
