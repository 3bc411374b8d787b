//! The story `warehouses`: a REST API with a login, whose records become rows of an SQLite file.

use anyhow::Context;
use chrono::TimeDelta;
use sqlx::{ConnectOptions, Connection, Row, sqlite::SqliteConnectOptions};

use super::{Stage, indented, say};
use crate::{app::listeners::Listeners, base::clock::Clock, state::layout};

const WAREHOUSES: u64 = 6;
const STATE: &str = r#"[
  {
    "list_id": "warehouses",
    "source": {
      "type": "rest",
      "url": "https://wms.example.com/rest/items/cursor",
      "auth": { "token": { "url": "https://wms.example.com/rest/auth", "grant": "password" } },
      "records": "data",
      "key": "id",
      "changed": "updated_at",
      "deleted": "deleted",
      "since": { "parameter": "updated_since" },
      "paging": { "type": "cursor", "parameter": "cursor", "next": "meta.next", "limit": "limit" },
    },
    "sink": {
      "type": "sql",
      "url": "sqlite:warehouses.db",
      "table": "warehouses",
      "key": "id",
      "columns": { "id": "bigint", "name": "varchar(255)", "city": "varchar(255)", "phone": "varchar(255)" },
      "touch": "synced_at",
      "create": true,
    },
    "every": "5s",
  },
]
"#;
const FILE: &str = "warehouses.db";

/// Runs the story. Returns whether no import failed.
pub async fn tell(listeners: &Listeners) -> anyhow::Result<bool> {
    let stage = Stage::new(STATE, listeners)?;
    stage.sandbox.rest().invent(WAREHOUSES, 1, stage.clock.now());
    say(
        "importer reads the warehouses of an emulated REST API, which gives a token for a user and a password, and writes \
         them\ninto a table of an SQLite file. The demo needs no account, and nothing leaves this machine.\n\n\
         1. The state file says how the API is asked, and which columns the table has. The user, the password and the \
         host that\n   may get them are in the variables REST_USER, REST_PASSWORD and REST_HOSTS:\n",
    );
    say(&indented(STATE));
    let loaded = stage.import().await?;
    say(&format!("\n   The table in {FILE}:\n\n{}", indented(&table(&stage).await?)));
    let changes = change(&stage);
    say(&format!(
        "2. Ten seconds later (the demo sets its clock forward), {changes}\n   \
         The next run asks only for the changes, and writes only rows that differ:\n"
    ));
    let synced = stage.import().await?;
    say(&format!("\n   The table afterwards:\n\n{}", indented(&table(&stage).await?)));
    say("3. The state file afterwards; importer has written its three fields:\n");
    say(&indented(&stage.text(layout::NAME).await?));
    say(
        "docs/rest.md leads from a curl call to such an entry, and docs/sql.md describes the tables, also those of \
         PostgreSQL.",
    );
    Ok(loaded && synced)
}

/// Sets the clock ten seconds forward, changes a warehouse and deletes another one. Returns a description of the changes.
fn change(stage: &Stage) -> String {
    stage.pass(TimeDelta::seconds(10));
    let now = stage.clock.now();
    let mut rest = stage.sandbox.rest();
    let ids: Vec<u64> = rest.warehouses().map(|warehouse| warehouse.id).take(2).collect();
    let [changed, gone] = ids[..] else { return "nothing has changed.".into() };
    rest.edit(changed, now, |warehouse| warehouse.name = "North Gate".into());
    rest.edit(gone, now, |warehouse| warehouse.deleted = true);
    format!("warehouse {changed} has another name, and warehouse {gone} was deleted.")
}

/// Returns the rows of the table, as text.
async fn table(stage: &Stage) -> anyhow::Result<String> {
    let read = async {
        let options = SqliteConnectOptions::new().filename(stage.path(FILE)).read_only(true);
        let mut connection = options.connect().await?;
        let query =
            "SELECT CAST(id AS text), name, city, coalesce(phone, ''), synced_at FROM warehouses ORDER BY id";
        let rows = sqlx::query(query).fetch_all(&mut connection).await?;
        connection.close().await?;
        let line = |row: &sqlx::sqlite::SqliteRow| -> Result<String, sqlx::Error> {
            let cell = |column: usize| row.try_get::<String, _>(column);
            Ok(format!("{:<4}{:<12}{:<8}{:<16}{}", cell(0)?, cell(1)?, cell(2)?, cell(3)?, cell(4)?))
        };
        rows.iter().map(line).collect::<Result<Vec<_>, _>>()
    };
    let rows = read.await.with_context(|| format!("could not read the demo's {FILE}"))?;
    let head = format!("{:<4}{:<12}{:<8}{:<16}synced_at", "id", "name", "city", "phone");
    Ok([vec![head], rows].concat().join("\n"))
}
