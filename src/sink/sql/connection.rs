//! One connection to a database, and the few things that are done with it.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, PgConnection, Row, SqliteConnection, postgres::PgConnectOptions, query,
    raw_sql, sqlite::SqliteConnectOptions,
};

use super::{address::Location, schema::Found, settings::TableName};

/// Lists the columns of a table of SQLite. `hidden` is 2 or 3 for a computed column
/// (<https://www.sqlite.org/pragma.html#pragma_table_xinfo>).
const SQLITE_COLUMNS: &str = "SELECT name, type, hidden <> 0 FROM pragma_table_xinfo(?1, ?2) ORDER BY cid";
const ORPHANS: &str = "SELECT \"table\" FROM pragma_foreign_key_check";
/// Lists the columns of a table of PostgreSQL.
const POSTGRES_COLUMNS: &str = "SELECT attname::text, format_type(atttypid, atttypmod), attgenerated <> '' \
     FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum";

/// A connection. Dropping it undoes what was not committed.
pub enum Connection {
    Sqlite(Box<SqliteConnection>),
    Postgres(Box<PgConnection>),
}

impl Connection {
    /// Connects. With `create`, makes the SQLite file and its folder if they are missing.
    pub async fn open(location: &Location, create: bool) -> Result<Self, sqlx::Error> {
        match location {
            Location::Sqlite(path) => {
                if create {
                    make(path).map_err(sqlx::Error::Io)?;
                }
                let options = SqliteConnectOptions::new().filename(path).disable_statement_logging();
                Ok(Connection::Sqlite(Box::new(options.connect().await?)))
            }
            Location::Postgres(options) => {
                // PgBouncer refuses a connection with this parameter, unless its settings allow that.
                let options = PgConnectOptions::clone(options).extra_float_digits(None);
                Ok(Connection::Postgres(Box::new(options.connect().await?)))
            }
        }
    }

    /// Runs statements without parameters.
    pub async fn run(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Connection::Sqlite(connection) => sql.execute(&mut **connection).await.map(|_| ()),
            Connection::Postgres(connection) => sql.execute(&mut **connection).await.map(|_| ()),
        }
    }

    /// Runs a statement with a JSON text as its parameter. It is not kept at the server: some poolers in front of
    /// PostgreSQL change the server between two transactions.
    pub async fn execute(&mut self, sql: String, json: String) -> Result<(), sqlx::Error> {
        let sql = AssertSqlSafe(sql);
        match self {
            Connection::Sqlite(connection) => {
                query(sql).bind(json).persistent(false).execute(&mut **connection).await.map(|_| ())
            }
            Connection::Postgres(connection) => {
                query(sql).bind(json).persistent(false).execute(&mut **connection).await.map(|_| ())
            }
        }
    }

    /// Runs a query with a JSON text as its parameter, and returns the numbers in its first column.
    pub async fn numbers(&mut self, sql: String, json: String) -> Result<Vec<i64>, sqlx::Error> {
        let sql = AssertSqlSafe(sql);
        match self {
            Connection::Sqlite(connection) => {
                let rows = query(sql).bind(json).persistent(false).fetch_all(&mut **connection).await?;
                rows.iter().map(|row| row.try_get(0)).collect()
            }
            Connection::Postgres(connection) => {
                let rows = query(sql).bind(json).persistent(false).fetch_all(&mut **connection).await?;
                rows.iter().map(|row| row.try_get(0)).collect()
            }
        }
    }

    /// Lists the tables of the rows whose parent is missing, in SQLite. PostgreSQL checks that at each statement.
    pub async fn orphans(&mut self) -> Result<Vec<String>, sqlx::Error> {
        match self {
            Connection::Sqlite(connection) => {
                let rows = query(ORPHANS).persistent(false).fetch_all(&mut **connection).await?;
                rows.iter().map(|row| row.try_get(0)).collect()
            }
            Connection::Postgres(_) => Ok(vec![]),
        }
    }

    /// Lists the columns of a table; none if there is no such table.
    pub async fn columns(&mut self, table: &TableName) -> Result<Vec<Found>, sqlx::Error> {
        match self {
            Connection::Sqlite(connection) => {
                let schema = table.schema.as_deref().unwrap_or("main").to_owned();
                let listed = query(SQLITE_COLUMNS).bind(table.table.clone()).bind(schema);
                let rows = listed.persistent(false).fetch_all(&mut **connection).await?;
                let found = |row: &sqlx::sqlite::SqliteRow| {
                    // SQLite spells some types in capital letters, whatever the statement had.
                    let of = row.try_get::<String, _>(1)?.to_lowercase();
                    Ok(Found { name: row.try_get(0)?, of, generated: row.try_get(2)? })
                };
                rows.iter().map(found).collect()
            }
            Connection::Postgres(connection) => {
                let listed = query(POSTGRES_COLUMNS).bind(table.quoted());
                let rows = listed.persistent(false).fetch_all(&mut **connection).await?;
                let found = |row: &sqlx::postgres::PgRow| {
                    Ok(Found { name: row.try_get(0)?, of: row.try_get(1)?, generated: row.try_get(2)? })
                };
                rows.iter().map(found).collect()
            }
        }
    }
}

/// Creates an empty file and its folder, unless the file exists. Nobody else may read it.
fn make(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
