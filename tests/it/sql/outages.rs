//! Databases that can't be reached, are restarted, or are in use by others.

use std::time::Duration;

use importer::{
    base::{adapter::Chosen, fault::Fault, secret::Secret},
    net::Caller,
    sink::Delivery,
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection, raw_sql};
use tokio::{time::sleep, time::timeout};

use super::{Database, PEOPLE, ROWS, databases, deliver, open, prepared, server::Server};

fn settings() -> Value {
    json!({"table": "people", "key": "id"})
}

/// Returns a database on a server of the test's own, which it may restart; `None` without PostgreSQL.
async fn restartable() -> Option<(std::sync::Arc<Server>, Database)> {
    let server = std::sync::Arc::new(Server::start()?);
    let url = Some(server.url("postgres"));
    let database = Database { folder: tempfile::tempdir().unwrap(), url, _server: Some(server.clone()) };
    database.run(PEOPLE).await;
    Some((server, database))
}

fn impatient() -> Caller {
    Caller { no_retry: true, ..Caller::new("a", false) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_gets_the_batch_again_and_no_record_is_lost() {
    let Some((server, database)) = restartable().await else { return };
    let (sink, waits) = (database.open(settings()), database.open(settings()));
    deliver(&sink, &[("1", json!({"id": 1}))]).await;
    server.kill();
    let restart = async {
        sleep(Duration::from_millis(1500)).await;
        server.launch();
    };
    // One has lost its connection, and the other has never had one.
    let (batch, other) = ([("2", json!({"id": 2}))], [("3", json!({"id": 3}))]);
    let deliveries = async { tokio::join!(deliver(&sink, &batch), deliver(&waits, &other), restart) };
    timeout(Duration::from_secs(60), deliveries).await.unwrap();
    assert_eq!(database.texts(ROWS).await, ["1 - -", "2 - -", "3 - -"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_is_named_and_a_transaction_that_is_lost_ends_the_run() {
    let Some((server, database)) = restartable().await else { return };
    let mut atomic = settings();
    atomic["atomic"] = true.into();
    let run = database.open_for(atomic, impatient());
    deliver(&run, &[("1", json!({"id": 1}))]).await;
    server.kill();
    let sink = database.open_for(settings(), impatient());
    let fault =
        sink.sink.deliver(&prepared(&sink, &[("2", json!({"id": 2}))])).await.unwrap_err().to_string();
    let begin = "could not write 1 record of list `a`: could not connect to postgresql at 127.0.0.1:";
    assert!(
        fault.starts_with(begin) && fault.contains("if this persists, check the network and `sink.url`"),
        "{fault}"
    );
    server.launch();
    // The first call finds the connection broken, and none of the later ones begins another transaction.
    for _ in 0..2 {
        let fault = run.sink.deliver(&prepared(&run, &[("2", json!({"id": 2}))])).await.unwrap_err();
        assert!(matches!(fault, Fault::List(_)), "{fault}");
    }
    let fault = run.sink.deliver(&prepared(&run, &[("2", json!({"id": 2}))])).await.unwrap_err().to_string();
    assert!(
        fault.contains("the connection broke in the middle of the transaction, which was undone"),
        "{fault}"
    );
    let fault = run.sink.close().await.unwrap_err().to_string();
    assert!(
        fault.contains("nothing of this transaction is stored; the next run delivers its records again"),
        "{fault}"
    );
    assert!(database.texts(ROWS).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_password_is_reported_without_it_and_not_tried_again() {
    let Some((server, database)) = restartable().await else { return };
    database.run("CREATE ROLE locked LOGIN PASSWORD 'right'").await;
    let url = server.url("postgres").replace("postgres@", "locked:s3cr3t@");
    let mut chosen = Chosen::of(&settings(), "sql");
    chosen.credentials.insert("url".into(), Secret::new(url));
    let sink = open(chosen, database.folder.path(), Caller::new("a", false));
    let batch = prepared(&sink, &[("1", json!({"id": 1}))]);
    let fault =
        timeout(Duration::from_secs(5), sink.sink.deliver(&batch)).await.unwrap().unwrap_err().to_string();
    let why = "reported the error 28P01: password authentication failed for user \"…\" (check the user and the password in `sink.url`)";
    assert!(fault.contains(why) && !fault.contains("s3cr3t"), "{fault}");
}

/// Delivers a batch that meets another transaction in a deadlock: that one has changed row 2, and changes row 1 when the
/// sink has. Before, the sink has written row 3. Returns the rows after both, and what the sink reports; `None` without
/// PostgreSQL.
async fn in_deadlock(atomic: bool, batch: &[(&str, Value)]) -> Option<(Vec<String>, Delivery)> {
    let database = databases(PEOPLE).await.into_iter().find(|database| database.url.is_some())?;
    database.run("INSERT INTO people (id) VALUES (1), (2)").await;
    let mut settings = settings();
    settings["atomic"] = atomic.into();
    let sink = database.open(settings);
    deliver(&sink, &[("3", json!({"id": 3}))]).await;
    let mut other = PgConnection::connect(database.url.as_ref().unwrap()).await.unwrap();
    let mut run =
        async |sql: &str| _ = raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut other).await.unwrap();
    // The sink notices the deadlock first.
    run("SET deadlock_timeout = '20s'; BEGIN; UPDATE people SET n = 2 WHERE id = 2").await;
    let others = async {
        sleep(Duration::from_millis(300)).await;
        run("UPDATE people SET n = 1 WHERE id = 1").await;
        run("COMMIT").await;
    };
    let both = async { tokio::join!(deliver(&sink, batch), others) };
    let (delivery, ()) = timeout(Duration::from_secs(30), both).await.unwrap();
    sink.sink.close().await.unwrap();
    Some((database.texts(ROWS).await, delivery))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_with_another_writer_is_tried_again() {
    let batch = [("1", json!({"id": 1, "name": "a"})), ("2", json!({"id": 2, "name": "b"}))];
    for atomic in [false, true] {
        let Some((rows, _)) = in_deadlock(atomic, &batch).await else { return };
        assert_eq!(rows, ["1 a 1", "2 b 2", "3 - -"], "atomic: {atomic}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_a_transaction_that_is_tried_again_starts_from_its_beginning() {
    // The deletion begins another part of the batch, in which the other transaction is in the way.
    let batch = [
        ("3", json!({"id": 3, "name": "c"})),
        ("3", json!(null)),
        ("1", json!({"id": 1, "name": "a"})),
        ("2", json!({"id": 2, "name": "b"})),
    ];
    let Some((rows, delivery)) = in_deadlock(true, &batch).await else { return };
    assert!(delivery.unchanged.is_empty(), "{delivery:?}");
    assert_eq!(rows, ["1 a 1", "2 b 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_another_program_locks_is_tried_again() {
    let database = databases(PEOPLE).await.into_iter().next().unwrap();
    let mut other = SqliteConnection::connect(&database.file()).await.unwrap();
    let mut run =
        async |sql: &str| _ = raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut other).await.unwrap();
    run("BEGIN IMMEDIATE").await;
    let impatient = database.open_for(settings(), impatient());
    let batch = [("1", json!({"id": 1}))];
    let fault = impatient.sink.deliver(&prepared(&impatient, &batch)).await.unwrap_err().to_string();
    assert!(fault.contains("the SQLite file `data.db` reported the error 5: database is locked"), "{fault}");
    let sink = database.open(settings());
    let unlock = async {
        sleep(Duration::from_millis(5500)).await;
        run("ROLLBACK").await;
    };
    let _ = timeout(Duration::from_secs(30), async { tokio::join!(deliver(&sink, &batch), unlock) })
        .await
        .unwrap();
    assert_eq!(database.texts(ROWS).await, ["1 - -"]);
}
