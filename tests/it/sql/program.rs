//! The program with this sink: its counts, its check, its preview, and the examples of docs/sql.md.

use std::{fs, time::Duration};

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection};
use tokio::time::sleep;

#[cfg(feature = "jq")]
use super::databases;
use super::{PEOPLE, server::Server};
use crate::{
    documents::{blocks, documents},
    loopback::{Loopback, finish, importer, output},
    support::{World, minutes},
};

const STATE: &str = r#"[{
  "list_id": "sql1",
  "mapping": {"type": "fields", "fields": {"id": "id", "email": "email_address", "changed": "last_changed"}},
  "sink": {
    "type": "sql", "url": "sqlite:out/data.db", "table": "people", "key": "id", "create": true,
    "columns": {"id": "text", "email": "varchar(255)", "changed": "timestamptz"}
  }
}]"#;

async fn count(loopback: &Loopback) -> i64 {
    let url = format!("sqlite://{}", loopback.folder.path().join("out/data.db").display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("SELECT count(*) FROM people").fetch_one(&mut connection).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_load_counts_the_rows_that_are_there_already_as_unchanged() {
    for atomic in [false, true] {
        let state = STATE.replace("\"create\": true", &format!("\"create\": true, \"atomic\": {atomic}"));
        let loopback = Loopback::start(Duration::ZERO, &state).await.list("sql1", 250);
        let (code, told, log) = finish(loopback.command(&["go", "--once"])).await;
        let sent = count(&loopback).await;
        assert!(code == 0 && sent > 200, "{told}{log}");
        assert!(log.contains(&format!(": {sent} sent")) && !log.contains(" unchanged"), "{log}");
        fs::write(loopback.folder.path().join("state.json"), &state).unwrap();
        let (code, _, log) = finish(loopback.command(&["go", "--once"])).await;
        assert!(code == 0 && log.contains(": 0 sent") && log.contains(&format!("{sent} unchanged")), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_shows_the_tables_and_a_preview_the_statements() {
    let loopback = Loopback::start(Duration::ZERO, STATE).await.list("sql1", 5);
    let (code, told, _) = finish(loopback.command(&["check", "--online"])).await;
    let shown = "list \"sql1\": sink sql: ok\n  the SQLite file `out/data.db` does not exist; the first delivery creates it\n";
    assert!(code == 0 && told.contains(shown), "{told}");
    assert!(!loopback.folder.path().join("out").exists(), "a check creates no file");
    let (code, told, _) = output(loopback.command(&["preview", "sql1"])).await;
    assert!(
        code == 0 && told.starts_with("CREATE TABLE IF NOT EXISTS \"people\" (\n  \"id\" text NOT NULL,"),
        "{told}"
    );
    finish(loopback.command(&["go", "--once"])).await;
    let (code, told, _) = finish(loopback.command(&["check", "--online", "--json"])).await;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let found = &told["online"][1]["found"];
    assert_eq!(
        (code, found),
        (0, &serde_json::json!(["table people: id text, email varchar(255), changed timestamptz"]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_of_other_programs_do_not_count() {
    let Some(server) = Server::start() else { return };
    let run = async |database: &str, statements: &str| {
        let mut admin = PgConnection::connect(&server.url(database)).await.unwrap();
        _ = sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut admin).await.unwrap();
    };
    run("postgres", "CREATE ROLE ada LOGIN; CREATE ROLE locked LOGIN PASSWORD 'right'").await;
    run("postgres", "CREATE DATABASE ada").await;
    run("ada", &format!("{PEOPLE}; ALTER TABLE people OWNER TO ada")).await;
    let state = r#"[{"list_id": "sql1", "mapping": {"type": "fields", "fields": {"id": "id"}},
        "sink": {"type": "sql", "url": {"env": "SQL_URL"}, "table": "people", "key": "id", "columns": {"id": null}}}]"#;
    let loopback = Loopback::start(Duration::ZERO, state).await.list("sql1", 5);
    let check = async |user: &str, variable: (&str, &str)| {
        let mut command = loopback.command(&["check", "--online"]);
        let url = server.url("").replace("postgres@", &format!("{user}@"));
        command.env("SQL_URL", url.trim_end_matches('/')).env(variable.0, variable.1);
        finish(command).await
    };
    // The database is that named like the user.
    for variable in [("PGDATABASE", "none"), ("PGUSER", "none"), ("PGPORT", "1"), ("PGSSLROOTCERT", "/none")]
    {
        let (code, told, log) = check("ada", variable).await;
        assert!(code == 0 && told.contains("table people: id bigint"), "{variable:?}: {told}{log}");
    }
    for variable in [("PGOPTIONS", "-c search_path=x"), ("PGSSLCERT", "/none"), ("PGSSLKEY", "/none")] {
        let (code, told, log) = check("ada", variable).await;
        let why = format!("`{}` would change the connection of the sink sql; unset it", variable.0);
        assert!(code != 0 && format!("{told}{log}").contains(&why), "{told}{log}");
    }
    let (code, told, log) = check("locked", ("PGPASSWORD", "right")).await;
    assert!(code != 0 && format!("{told}{log}").contains("28P01"), "{told}{log}");
    let why = "(no password was sent, since the address in `sink.url` has none; add it, or check the user)";
    assert!(format!("{told}{log}").contains(why), "{told}{log}");
    // The same by the parts of the address.
    let port = url::Url::parse(&server.url("")).unwrap().port().unwrap();
    let sink = format!(
        r#"{{"type": "sql", "host": "127.0.0.1", "port": {port}, "user": "locked", "database": "ada", "table": "people", "key": "id"}}"#
    );
    let state = format!(r#"[{{"list_id": "sql1", "mapping": "as_is", "sink": {sink}}}]"#);
    fs::write(loopback.folder.path().join("state.json"), state).unwrap();
    for (password, why) in [
        (
            "",
            "no password was sent, since `SQL_PASSWORD` is not set; set it in .env or the environment, or check `user`",
        ),
        ("wrong", "check the user and the password in `SQL_PASSWORD`"),
    ] {
        let mut command = loopback.command(&["check", "--online"]);
        command.env("SQL_HOSTS", format!("127.0.0.1:{port}")).env("SQL_PASSWORD", password);
        let (code, told, _) = finish(command).await;
        assert!(code == 1 && told.contains(&format!("({why})")), "{told}");
    }
}

/// A window begins a minute before the end of the one before, so the deletion is read twice.
#[tokio::test(start_paused = true)]
async fn a_deletion_that_finds_no_row_counts_as_unchanged() {
    let state = json!([{
        "list_id": "items", "every": "1s",
        "source": {
            "type": "rest", "url": "https://rest.example.org/rest/items/cursor", "auth": "bearer", "records": "data",
            "key": "id", "changed": "updated_at", "deleted": "deleted", "since": {"parameter": "updated_since"},
            "paging": {"type": "cursor", "parameter": "cursor", "limit": "limit", "next": "meta.next"},
        },
        "mapping": {"type": "fields", "fields": {"id": "id", "name": "name"}},
        "sink": {
            "type": "sql", "url": "sqlite:out/data.db", "table": "people", "key": "id", "create": true,
            "columns": {"id": "bigint", "name": "text"},
        },
    }]);
    let world = World::new().with_state(&state.to_string());
    world.sandbox.rest().invent(20, 1, world.clock.now());
    world.once().await.unwrap();
    sleep(minutes(10)).await;
    let now = world.clock.now();
    world.sandbox.rest().edit(3, now, |one| one.deleted = true);
    sleep(Duration::from_secs(5)).await;
    world.once().await.unwrap();
    assert_eq!(world.logged(": 1 sent (1 deleted)"), 1, "{:?}", world.log());
    sleep(Duration::from_secs(20)).await;
    world.once().await.unwrap();
    let last = world.lines("1 unchanged");
    assert!(
        last.len() == 1 && last[0].contains(": 0 sent") && !last[0].contains("deleted"),
        "{:?}",
        world.log()
    );
}

/// Returns the blocks of docs/sql.md in this language.
fn examples(language: &str) -> Vec<String> {
    let (_, page) = documents().into_iter().find(|(name, _)| name == "docs/sql.md").unwrap();
    blocks(&page, language)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_example_of_the_guide_fills_a_file() {
    let loopback = Loopback::start(Duration::ZERO, &examples("jsonc")[0]).await.list("1a2d7ebf82", 50);
    let (code, _, log) = finish(loopback.command(&["go", "--once"])).await;
    assert_eq!(code, 0, "{log}");
    let url = format!("sqlite://{}", loopback.folder.path().join("out/members.db").display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let count = sqlx::query("SELECT count(*) FROM members WHERE email LIKE '%@%' AND updated_at > '2026'");
    let count: i64 = count.fetch_one(&mut connection).await.unwrap().get(0);
    assert!(count > 30 && log.contains(&format!(": {count} sent")), "{count}\n{log}");
}

#[cfg(feature = "jq")]
#[tokio::test(flavor = "multi_thread")]
async fn the_second_example_of_the_guide_fills_several_tables_of_a_server() {
    let tables = examples("sql").remove(0);
    let Some(database) = databases(&tables).await.into_iter().find(|database| database.url.is_some()) else {
        return;
    };
    let loopback = Loopback::start(Duration::ZERO, &examples("jsonc")[1]).await.list("1a2d7ebf82", 50);
    let mut command = loopback.command(&["go", "--once"]);
    command.env("SQL_URL", database.url.as_ref().unwrap());
    let (code, _, log) = finish(command).await;
    assert_eq!(code, 0, "{log}");
    let counts =
        "SELECT cast(count(*) as text) FROM members UNION ALL SELECT cast(count(*) as text) FROM members_tags
        UNION ALL SELECT cast(count(*) as text) FROM members_tags WHERE tag_id NOT IN (SELECT id FROM tags)";
    let counts: Vec<u64> = database.texts(counts).await.iter().map(|count| count.parse().unwrap()).collect();
    assert!(counts[0] > 30 && counts[1] > 10 && counts[2] == 0, "{counts:?}\n{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_of_warehouses_fills_and_changes_a_table() {
    let (code, story, log) = output(importer(&["demo", "warehouses"])).await;
    assert_eq!(code, 0, "{log}");
    let (_, first) = story.split_once("The table in warehouses.db:").unwrap();
    let (first, then) = first.split_once("The table afterwards:").unwrap();
    assert!(
        first.contains(" South ") && !first.contains(" North Gate ") && first.contains("\n       2   "),
        "{story}"
    );
    assert!(then.contains(" North Gate ") && !then.contains("\n       2   "), "{story}");
    assert!(log.contains(" 2 records in the window, 2 seen: 2 sent (1 deleted), "), "{log}");
}
