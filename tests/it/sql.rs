//! The sink `sql`, on SQLite and on a real PostgreSQL: what a batch does to the rows, record by record.

mod atomic;
mod exact;
mod outages;
mod program;
mod refused;
pub mod server;

use std::{path::Path, sync::Arc};

use importer::{
    base::{adapter::Chosen, record::Payload, secret::Secret},
    net::{AccountClients, Caller, Environment},
    sink::{self, Checked, Delivery, Opened, Prepared, SinkContext},
};
use serde_json::{Value, json, value::to_raw_value};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection, query, raw_sql};

use self::server::{Server, database};
use crate::{
    contract::Always,
    support::{NOON, TokioClock},
};

/// A database for one test.
pub struct Database {
    folder: tempfile::TempDir,
    /// Address of PostgreSQL; `None`: a SQLite file.
    url: Option<String>,
    _server: Option<Arc<Server>>,
}

/// Returns a database of each kind, with the tables that these statements create.
async fn databases(statements: &str) -> Vec<Database> {
    let mut all = vec![Database { folder: tempfile::tempdir().unwrap(), url: None, _server: None }];
    if let Some((server, url)) = database().await {
        all.push(Database { folder: tempfile::tempdir().unwrap(), url: Some(url), _server: Some(server) });
    }
    for database in &all {
        database.run(statements).await;
    }
    all
}

impl Database {
    /// Returns a SQLite file with the tables that these statements create.
    async fn sqlite(statements: &str) -> Self {
        let database = Database { folder: tempfile::tempdir().unwrap(), url: None, _server: None };
        database.run(statements).await;
        database
    }

    fn kind(&self) -> &'static str {
        if self.url.is_some() { "postgresql" } else { "sqlite" }
    }

    fn file(&self) -> String {
        format!("sqlite://{}?mode=rwc", self.folder.path().join("data.db").display())
    }

    /// Runs statements.
    async fn run(&self, statements: &str) {
        let sql = raw_sql(AssertSqlSafe(statements.to_owned()));
        match &self.url {
            Some(url) => _ = sql.execute(&mut PgConnection::connect(url).await.unwrap()).await.unwrap(),
            None => {
                _ = sql.execute(&mut SqliteConnection::connect(&self.file()).await.unwrap()).await.unwrap()
            }
        }
    }

    /// Returns the texts in the first column of a query.
    async fn texts(&self, sql: &str) -> Vec<String> {
        let sql = AssertSqlSafe(sql.to_owned());
        match &self.url {
            Some(url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                let rows = query(sql).fetch_all(&mut connection).await.unwrap();
                rows.iter().map(|row| row.get::<String, _>(0)).collect()
            }
            None => {
                let mut connection = SqliteConnection::connect(&self.file()).await.unwrap();
                let rows = query(sql).fetch_all(&mut connection).await.unwrap();
                rows.iter().map(|row| row.get::<String, _>(0)).collect()
            }
        }
    }

    /// Opens a sink with these settings.
    fn open(&self, settings: Value) -> Opened {
        self.open_for(settings, Caller::new("a", false))
    }

    fn open_for(&self, settings: Value, caller: Caller) -> Opened {
        open(self.chosen(&settings), self.folder.path(), caller)
    }

    /// Opens the sink of a list with these accounts.
    fn open_with(&self, settings: Value, list_id: &str, accounts: &AccountClients) -> Opened {
        let (folder, caller) = (self.folder.path(), Caller::new(list_id, false));
        let context = SinkContext { part: "sink", list_id, folder, items_per_request: 1000, caller };
        sink::open(self.chosen(&settings), context, accounts).unwrap()
    }

    /// Returns the choice of the sink with these settings.
    fn chosen(&self, settings: &Value) -> Chosen {
        let mut chosen = Chosen::of(settings, "sql");
        match &self.url {
            Some(url) => _ = chosen.credentials.insert("url".into(), Secret::new(url.clone())),
            None => _ = chosen.settings.insert("url".into(), json!("sqlite:data.db")),
        }
        chosen
    }
}

fn open(chosen: Chosen, folder: &Path, caller: Caller) -> Opened {
    let clock = Arc::new(TokioClock::at(NOON));
    let accounts = AccountClients::new(Environment::new(|_| None), Arc::new(Always(200, "")), clock);
    let context = SinkContext { part: "sink", list_id: "a", folder, items_per_request: 1000, caller };
    sink::open(chosen, context, &accounts).unwrap()
}

/// Returns payloads as the sink encodes them; null is a deletion of the record with this key.
fn prepared(opened: &Opened, payloads: &[(&str, Value)]) -> Vec<Prepared> {
    let payload = |(key, body): &(&str, Value)| Payload {
        key: (*key).into(),
        body: (!body.is_null()).then(|| to_raw_value(body).unwrap().into()),
    };
    payloads.iter().map(|one| opened.sink.prepare(&payload(one)).unwrap()).collect()
}

async fn deliver(opened: &Opened, payloads: &[(&str, Value)]) -> Delivery {
    opened.sink.deliver(&prepared(opened, payloads)).await.unwrap()
}

/// Returns the positions and reasons of rejected records, each with its detail.
fn rejected(delivery: &Delivery) -> Vec<(usize, &str, &str)> {
    let told = delivery.rejected.iter();
    told.map(|(at, rejection)| (*at, rejection.reason, rejection.detail.as_deref().unwrap())).collect()
}

const PEOPLE: &str = "CREATE TABLE people (
    id bigint PRIMARY KEY, name varchar(5), born date, seen timestamp with time zone, n integer,
    updated_at timestamp, inserted_at timestamp, gone boolean)";
const ROWS: &str = "SELECT id || ' ' || coalesce(name, '-') || ' ' || coalesce(cast(n as text), '-') FROM people ORDER BY id";

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_inserted_updated_or_left_alone() {
    for database in databases(PEOPLE).await {
        let kind = database.kind();
        let settings =
            json!({"table": "people", "key": "id", "touch": "updated_at", "created": ["inserted_at"]});
        let sink = database.open(settings);
        let first = [
            ("1", json!({"id": 1, "name": "Ada", "n": 7, "other": {"a": 1}})),
            ("2", json!({"id": 2, "seen": "2026-11-28T10:00:00+02:00", "born": "2000-02-29"})),
            ("3", json!({"id": 3, "name": null})),
        ];
        assert_eq!(deliver(&sink, &first).await, Delivery::default(), "{kind}");
        assert_eq!(database.texts(ROWS).await, ["1 Ada 7", "2 - -", "3 - -"], "{kind}");
        let stamped = "SELECT cast(count(*) as text) FROM people WHERE updated_at > '2026-01-01' AND inserted_at > '2026-01-01'";
        assert_eq!(database.texts(stamped).await, ["3"], "{kind}");
        database.run("UPDATE people SET updated_at = '2000-01-01', inserted_at = '2000-01-01'").await;
        // A field that is absent leaves its column alone, and null writes NULL.
        let second = [
            ("1", json!({"id": 1, "n": 7})),
            ("2", json!({"id": 2, "name": "Bob", "seen": "2026-11-28T08:00:00Z"})),
            ("3", json!({"id": 3, "name": null})),
            ("4", json!({"id": 4})),
        ];
        let delivery = deliver(&sink, &second).await;
        // SQLite stores a time as its text.
        assert_eq!(delivery.unchanged, [0, 2], "{kind}");
        assert_eq!(database.texts(ROWS).await, ["1 Ada 7", "2 Bob -", "3 - -", "4 - -"], "{kind}");
        let touched = "SELECT cast(id as text) FROM people WHERE updated_at > '2026-01-01' ORDER BY id";
        assert_eq!(database.texts(touched).await, ["2", "4"], "{kind}");
        let created = "SELECT cast(id as text) FROM people WHERE inserted_at > '2026-01-01' ORDER BY id";
        assert_eq!(database.texts(created).await, ["4"], "{kind}");
        let third = [("1", json!({"id": 1, "name": null}))];
        assert_eq!(deliver(&sink, &third).await, Delivery::default(), "{kind}");
        assert_eq!(deliver(&sink, &third).await.unchanged, [0], "{kind}");
        assert_eq!(database.texts(ROWS).await[0], "1 - 7", "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_comes_twice_in_a_batch_is_one_row_in_its_last_version() {
    for database in databases(PEOPLE).await {
        let kind = database.kind();
        let sink = database.open(json!({"table": "people", "key": "id"}));
        let batch = [
            ("1", json!({"id": 1, "name": "a", "n": 1})),
            ("2", json!({"id": 2})),
            ("1", json!({"id": 1, "name": "b"})),
            ("2", json!(null)),
            ("3", json!({"id": 3})),
            ("2", json!({"id": 2, "name": "c"})),
        ];
        assert_eq!(deliver(&sink, &batch).await, Delivery::default(), "{kind}");
        assert_eq!(database.texts(ROWS).await, ["1 b 1", "2 c -", "3 - -"], "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_deletes_marks_or_does_nothing() {
    let pairs = "CREATE TABLE pairs (a bigint, b text, gone boolean, gone_at timestamp, updated_at timestamp, PRIMARY KEY (a, b))";
    let left = "SELECT a || b || coalesce(cast(gone as text), '-') || case when gone_at is null then '' else ' marked' end FROM pairs ORDER BY a, b";
    for (on_delete, after, again) in [
        (json!("delete"), &["2x-"][..], &["1x-", "2x-"][..]),
        (json!({"mark": "gone"}), &["1xtrue", "2xfalse"], &["1xfalse", "2xfalse"]),
        (json!({"mark": "gone_at"}), &["1x- marked", "2x-"], &["1x-", "2x-"]),
    ] {
        for database in databases(pairs).await {
            let what = format!("{} {on_delete}", database.kind());
            let sink = database.open(
                json!({"table": "pairs", "key": ["a", "b"], "on_delete": on_delete, "touch": "updated_at"}),
            );
            let rows = [(r#"[1,"x"]"#, json!({"a": 1, "b": "x"})), (r#"[2,"x"]"#, json!({"a": 2, "b": "x"}))];
            deliver(&sink, &rows).await;
            let gone = [(r#"["1", "x"]"#, json!(null)), ("[7,\"x\"]", json!(null)), ("7", json!(null))];
            let delivery = deliver(&sink, &gone).await;
            let why = "the key of the record does not have the form of the key of `pairs`: wrong_key";
            assert_eq!(rejected(&delivery), [(2, "wrong_key", why)], "{what}");
            // The second one has no row.
            assert_eq!(delivery.unchanged, [1], "{what}");
            let again_gone = [(r#"["1", "x"]"#, json!(null))];
            assert_eq!(deliver(&sink, &again_gone).await.unchanged, [0], "{what}");
            let texts = |texts: Vec<String>| -> Vec<String> {
                // SQLite has no type for it.
                texts.into_iter().map(|text| text.replace("x1", "xtrue").replace("x0", "xfalse")).collect()
            };
            assert_eq!(texts(database.texts(left).await), after, "{what}");
            deliver(&sink, &rows).await;
            assert_eq!(texts(database.texts(left).await), again, "{what}");
            assert_eq!(deliver(&sink, &rows).await.unchanged, [0, 1], "{what}");
        }
    }
    for database in databases(pairs).await {
        let sink = database.open(json!({"table": "pairs", "key": ["a", "b"], "on_delete": "ignore"}));
        assert_eq!(sink.spec.deletions, sink::Deletions::Ignored);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_a_type_is_deleted_by_its_text() {
    let database = Database::sqlite("CREATE TABLE a (id PRIMARY KEY)").await;
    let sink = database.open(json!({"table": "a", "key": "id"}));
    deliver(&sink, &[("7", json!({"id": 7})), ("x", json!({"id": "x"}))]).await;
    let gone = [("7", json!(null)), ("x", json!(null)), ("8", json!(null))];
    assert_eq!(deliver(&sink, &gone).await.unchanged, [2]);
    assert!(database.texts("SELECT cast(id as text) FROM a").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_has_rows_in_several_tables_and_a_link_table_need_not_count() {
    let tables = "CREATE TABLE users (id bigint PRIMARY KEY, name text);
        CREATE TABLE groups (id bigint PRIMARY KEY, name text);
        CREATE TABLE links (\"user\" bigint REFERENCES users (id), \"group\" bigint REFERENCES groups (id), PRIMARY KEY (\"user\", \"group\"))";
    for database in databases(tables).await {
        let kind = database.kind();
        let sink = database.open(json!({"tables": [
            {"table": "users", "key": "id"},
            {"table": "groups", "key": "id", "rows": "groups"},
            {"table": "links", "key": ["user", "group"], "rows": "links", "count": false},
        ]}));
        let record = |links: &[u64]| {
            json!({
                "id": 1, "name": "Ada", "groups": [{"id": 7, "name": "a"}, {"id": 8, "name": "b"}, {"id": 7}],
                "links": links.iter().map(|group| json!({"user": 1, "group": group})).collect::<Vec<_>>(),
            })
        };
        let wrong = json!({"id": 2, "links": {"user": 2, "group": 99}});
        let delivery = deliver(&sink, &[("2", wrong), ("1", record(&[7]))]).await;
        let told = rejected(&delivery);
        assert_eq!((told.len(), told[0].0, told[0].1), (1, 0, "no_such_parent"), "{kind}: {told:?}");
        let all = "SELECT 'u' || id FROM users UNION ALL SELECT 'g' || id || name FROM groups UNION ALL SELECT 'l' || \"group\" FROM links ORDER BY 1";
        assert_eq!(database.texts(all).await, ["g7a", "g8b", "l7", "u1"], "{kind}");
        // Another link is written, and does not count.
        assert_eq!(deliver(&sink, &[("1", record(&[7, 8]))]).await.unchanged, [0], "{kind}");
        assert_eq!(database.texts(all).await, ["g7a", "g8b", "l7", "l8", "u1"], "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_lists_the_tables_and_finds_what_is_missing() {
    for database in databases(PEOPLE).await {
        let kind = database.kind();
        let check = |settings: Value| {
            let sink = database.open(settings).sink;
            async move { sink.check().await.map_err(|fault| fault.to_string()) }
        };
        let good = json!({"table": "people", "key": "id", "columns": {"id": null, "n": "integer"}, "touch": "updated_at"});
        let Checked { found, warnings } = check(good).await.unwrap();
        let time = if database.url.is_some() { "timestamp without time zone" } else { "timestamp" };
        assert_eq!(found, [format!("table people: id bigint, n integer, updated_at {time}")], "{kind}");
        assert!(warnings.is_empty(), "{kind}: {warnings:?}");
        let other =
            json!({"table": "people", "key": "id", "columns": {"id": "bigint", "name": "varchar(7)"}});
        let warnings = check(other).await.unwrap().warnings;
        let end = " in the table, and of type varchar(7) in `columns`; correct one of them";
        assert!(
            warnings.len() == 1
                && warnings[0].starts_with("the column `name` of `people` is of type ")
                && warnings[0].ends_with(end),
            "{kind}: {warnings:?}"
        );
        let service = if database.url.is_some() { "postgresql at " } else { "the SQLite file `data.db`" };
        for (settings, why) in [
            (
                json!({"table": "persons", "key": "id"}),
                "the database has no table `persons` (create it, correct `table`, or set `create` to true)",
            ),
            (
                json!({"table": "people", "key": "nr"}),
                "the table `people` has no column `nr` that can be written (add it to the table, or correct `key`)",
            ),
            (
                json!({"table": "people", "key": "name"}),
                "add a unique index on the columns of `key`|check the table, its unique indices, and the settings of the sink",
            ),
            (
                json!({"table": "people", "key": "id", "columns": {"id": null, "n": "boolean"}}),
                "the column `n` of `people` is of type integer, which can't store boolean",
            ),
        ] {
            let found = check(settings).await.unwrap_err();
            let begin = format!("could not read the tables of {service}");
            assert!(
                found.starts_with(&begin) && why.split('|').any(|why| found.contains(why)),
                "{kind}: {found}"
            );
        }
        let create = json!({"table": "other", "key": "id", "create": true, "columns": {"id": "bigint"}});
        assert_eq!(
            check(create).await.unwrap().found,
            ["table other: missing; the first delivery creates it"],
            "{kind}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_tables_are_created_if_the_entry_says_so() {
    for database in databases("SELECT 1").await {
        let kind = database.kind();
        let sink = database.open(json!({
            "table": "people", "key": "id", "create": true, "touch": "updated_at", "on_delete": {"mark": "gone_at"},
            "columns": {"id": "bigint", "na\"me": "varchar(10)", "tags": "json", "price": "numeric(6,2)"},
        }));
        let batch = [("1", json!({"id": 1, "na\"me": "Ada", "tags": {"a": [1]}, "price": 12.34}))];
        assert_eq!(deliver(&sink, &batch).await, Delivery::default(), "{kind}");
        assert_eq!(deliver(&sink, &batch).await.unchanged, [0], "{kind}");
        deliver(&sink, &[("1", json!(null))]).await;
        let rows = "SELECT id || \"na\"\"me\" || cast(price as text) FROM people WHERE gone_at IS NOT NULL";
        assert_eq!(database.texts(rows).await, ["1Ada12.34"], "{kind}");
        let statement = sink.sink.statements().concat();
        assert!(statement.starts_with("CREATE TABLE IF NOT EXISTS \"people\" ("), "{statement}");
    }
}
