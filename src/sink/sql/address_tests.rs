//! Tests of the addresses: which are valid, and what they stand for.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};

use super::*;
use crate::{net::Caller, sink::sql::settings::Plan};

const URL_NAME: &str = "SQL_URL";

/// Returns the database of an entry. Settings in capital letters are variables; `url` that is no SQLite file and `password`
/// are credentials.
pub fn read(settings: Value) -> Result<Database, String> {
    let mut chosen = Chosen::of(&settings, "sql");
    chosen.settings.insert("table".into(), json!("people"));
    chosen.settings.insert("key".into(), json!("id"));
    let variables: BTreeMap<String, String> = settings
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| name.starts_with("SQL_"))
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
        .collect();
    variables.keys().for_each(|name| _ = chosen.settings.remove(name));
    for name in ["url", "password"] {
        let text = chosen.settings.get(name).and_then(Value::as_str).map(str::to_owned);
        if let Some(text) = text.filter(|text| !text.starts_with(SQLITE)) {
            chosen.settings.remove(name);
            chosen.credentials.insert(name.to_owned(), Secret::new(text));
        }
    }
    let environment = Environment::new(move |name| variables.get(name).cloned());
    let context = SinkContext {
        part: "sink",
        list_id: "a",
        folder: Path::new("/state"),
        items_per_request: 100,
        caller: Caller::new("a", false),
    };
    let place = Plan::read(&chosen)?.place;
    Database::read(&place, &chosen, &context, &environment).map_err(|why| why.to_string())
}

fn mode(database: &Database) -> PgSslMode {
    match &database.location {
        Location::Postgres(options) => options.get_ssl_mode(),
        Location::Sqlite(_) => panic!("it is a file"),
    }
}

#[test]
fn a_database_is_identified_without_user_and_password() {
    for (settings, address, service) in [
        (json!({"url": "sqlite:out/../data.db"}), "sqlite data.db", "the SQLite file `data.db`"),
        (json!({"url": "sqlite:///var/data.db"}), "sqlite /var/data.db", "the SQLite file `/var/data.db`"),
        (json!({"SQL_URL": "sqlite:data.db"}), "sqlite data.db", "the SQLite file `data.db`"),
        (
            json!({"SQL_URL": "ecto://ada:s3cr3t@db.example.org/warehouse?ssl=true&pool_size=10"}),
            "postgresql db.example.org:5432/warehouse",
            "postgresql at db.example.org:5432",
        ),
        (
            json!({"url": "postgresql://ada@[::1]:5433/"}),
            "postgresql [::1]:5433/ada",
            "postgresql at [::1]:5433",
        ),
        (
            json!({"host": "10.0.0.7", "port": 6432, "database": "w", "user": "ada", "password": "s3cr3t", "SQL_HOSTS": "10.0.0.7:6432"}),
            "postgresql 10.0.0.7:6432/w",
            "postgresql at 10.0.0.7:6432",
        ),
    ] {
        let database = read(settings.clone()).unwrap_or_else(|why| panic!("{settings}: {why}"));
        assert_eq!((database.address.as_str(), database.service.as_str()), (address, service));
    }
}

#[test]
fn a_server_of_a_network_is_verified_unless_the_address_says_otherwise() {
    for (url, expected, exposed) in [
        ("postgres://ada@db.example.org/a", PgSslMode::VerifyFull, false),
        ("postgres://ada@db.example.org/a?sslmode=verify-ca", PgSslMode::VerifyCa, false),
        ("postgres://ada@db.example.org/a?sslmode=require", PgSslMode::Require, true),
        ("postgres://ada@db.example.org/a?sslmode=disable", PgSslMode::Disable, true),
        ("postgres://ada@127.0.0.1/a", PgSslMode::Prefer, false),
        ("postgres://ada@localhost/a?sslmode=disable", PgSslMode::Disable, false),
        ("postgres://a@a/a?host=/run/postgresql", PgSslMode::Prefer, false),
    ] {
        let database = read(json!({URL_NAME: url})).unwrap();
        assert_eq!(
            (format!("{:?}", mode(&database)), database.is_exposed()),
            (format!("{expected:?}"), exposed),
            "{url}"
        );
    }
}

#[test]
fn what_can_not_be_an_address_is_named_and_never_repeated() {
    for (settings, why) in [
        (json!({}), "`SQL_URL` is not set"),
        (
            json!({"SQL_URL": "mysql://ada:s3cr3t@db/a"}),
            "`SQL_URL` is not the address of a database with a host and a user; use one such as",
        ),
        (
            json!({"url": "postgres://s3cr3t:x:y@:/"}),
            "`sink.url` is not the address of a database with a host and a user; use one such as",
        ),
        (
            json!({"SQL_URL": "postgres://db/a"}),
            "`SQL_URL` is not the address of a database with a host and a user; use one such as",
        ),
        (
            json!({"SQL_URL": "postgres:///a?user=ada"}),
            "`SQL_URL` is not the address of a database with a host and a user; use one such as",
        ),
        (json!({"host": "db", "SQL_HOSTS": "db"}), "`sink.user` is not set; name the user of the database"),
        (json!({"url": "sqlite:"}), "sql: `url` must name a file, such as \"sqlite:out/data.db\""),
        (json!({"url": "sqlite::memory:"}), "sql: `url` must name a file, such as \"sqlite:out/data.db\""),
        (
            json!({"url": "sqlite:a.db?mode=ro"}),
            "sql: `url` must name a file, such as \"sqlite:out/data.db\"",
        ),
        (json!({"url": "sqlite:.importer/a.db"}), "sql: `url`: .importer/a.db is reserved for importer"),
        (
            json!({"url": "sqlite:a.db", "host": "db"}),
            "sql: `host` and `url` are both set; remove one of them",
        ),
        (json!({"url": "sqlite:a.db", "user": "ada"}), "sql: `user` has no effect without `host`"),
        (
            json!({"password": "s3cr3t", "SQL_URL": "postgres://a/b"}),
            "sql: `password` has no effect without `host`",
        ),
        (json!({"host": "db"}), "`SQL_HOSTS` is not set"),
        (
            json!({"host": "db", "password": "s3cr3t", "SQL_HOSTS": "other, db:6432"}),
            "`SQL_HOSTS` does not contain db:5432, to which an entry connects; add it, or correct `host`",
        ),
    ] {
        let found = read(settings.clone()).err().unwrap_or_else(|| panic!("{settings}"));
        assert!(found.starts_with(why) && !found.contains("s3cr3t"), "{settings}: {found}");
    }
}
