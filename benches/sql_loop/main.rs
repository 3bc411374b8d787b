//! The least that a program could do to write the records of the bench's REST API into a table: a loop that sends the
//! statements of the sink `sql`, with batches that are in memory already. It reads nothing over HTTP and knows neither
//! retries nor checkpoints, and a refused row would end it.
//!
//! `sql_loop write URL RECORDS EDITION batch|run` commits each batch, or all at the end, and prints the seconds of the loop
//! and of its CPU time. `sql_loop verify URL RECORDS EDITION` fails unless the table has these records.
#![expect(clippy::disallowed_methods, reason = "a bench measures the time of the machine")]

#[path = "../service/item.rs"]
mod item;
mod statements;

use std::{env, error::Error, fs, time::Instant};

use serde_json::{Map, Value};
use sqlx::{
    ConnectOptions, Connection, PgConnection, Row, SqliteConnection, query, raw_sql,
    sqlite::SqliteConnectOptions,
};
use tokio::runtime::Builder;

use self::statements::{COLUMNS, POSTGRES, SQLITE};

type Failure = Box<dyn Error + Send + Sync>;

/// Records per batch: the largest batch of the sink.
const BATCH: u64 = 1000;
/// Units of the times in `/proc`, per second.
const TICKS: f64 = 100.0;

const USAGE: &str =
    "usage: sql_loop write URL RECORDS EDITION batch|run, or sql_loop verify URL RECORDS EDITION";

/// Sends the statements for all batches. A macro, since the connections of the databases have no type in common.
macro_rules! send {
    ($connection:expr, $statements:expr, $begin:expr, $batches:expr, $each:expr) => {{
        let (connection, each) = (&mut $connection, $each);
        for (number, (rows, batch)) in $batches.iter().enumerate() {
            if each || number == 0 {
                raw_sql($begin).execute(&mut *connection).await?;
            }
            let equal = query($statements.compare).bind(batch).fetch_all(&mut *connection).await?;
            if equal.len() < *rows {
                query($statements.upsert).bind(batch).execute(&mut *connection).await?;
            }
            if each {
                raw_sql("COMMIT").execute(&mut *connection).await?;
            }
        }
        if !each {
            raw_sql("COMMIT").execute(&mut *connection).await?;
        }
    }};
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    match words[..] {
        ["write", url, records, edition, commit @ ("batch" | "run")] => {
            let batches = batches(records.parse()?, edition.parse()?);
            let (begun, before) = (Instant::now(), cpu()?);
            runtime.block_on(write(url, &batches, commit == "batch"))?;
            println!("{} {}", begun.elapsed().as_secs_f64(), cpu()? - before);
            Ok(())
        }
        ["verify", url, records, edition] => {
            runtime.block_on(verify(url, records.parse()?, edition.parse()?))
        }
        _ => Err(USAGE.into()),
    }
}

/// Returns the parameters of the statements, each with its number of rows.
fn batches(records: u64, edition: u64) -> Vec<(usize, String)> {
    let row = |id| {
        let mut item = item::item(id, edition);
        let cell = |(at, (name, _)): (usize, &(&str, &str))| (format!("c{at}"), item[*name].take());
        Value::Object(COLUMNS.iter().enumerate().map(cell).collect::<Map<_, _>>())
    };
    let ids = (1..=records).step_by(BATCH as usize);
    let batch = |first| (first..=records.min(first + BATCH - 1)).map(row).collect::<Vec<_>>();
    ids.map(batch).map(|rows| (rows.len(), Value::Array(rows).to_string())).collect()
}

/// Returns the user and the system time of this process in seconds, see proc(5).
fn cpu() -> Result<f64, Failure> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc/self/stat has no name")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>());
    Ok(ticks.sum::<Result<u64, _>>()? as f64 / TICKS)
}

/// Connects and writes the batches.
async fn write(url: &str, batches: &[(usize, String)], each: bool) -> Result<(), Failure> {
    match url.strip_prefix("sqlite:") {
        Some(path) => {
            let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
            let mut connection = options.disable_statement_logging().connect().await?;
            raw_sql(SQLITE.create).execute(&mut connection).await?;
            send!(connection, SQLITE, "BEGIN IMMEDIATE", batches, each);
            connection.close().await?;
        }
        None => {
            let mut connection = PgConnection::connect(url).await?;
            raw_sql(POSTGRES.create).execute(&mut connection).await?;
            send!(connection, POSTGRES, "BEGIN", batches, each);
            connection.close().await?;
        }
    }
    Ok(())
}

/// Fails unless the table has exactly these records.
async fn verify(url: &str, records: u64, edition: u64) -> Result<(), Failure> {
    let counts = "SELECT count(*) FROM items";
    let mut equal = 0;
    let count: i64 = match url.strip_prefix("sqlite:") {
        Some(path) => {
            let mut connection =
                SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await?;
            for (_, batch) in batches(records, edition) {
                equal += query(SQLITE.compare).bind(batch).fetch_all(&mut connection).await?.len();
            }
            query(counts).fetch_one(&mut connection).await?.try_get(0)?
        }
        None => {
            let mut connection = PgConnection::connect(url).await?;
            for (_, batch) in batches(records, edition) {
                equal += query(POSTGRES.compare).bind(batch).fetch_all(&mut connection).await?.len();
            }
            query(counts).fetch_one(&mut connection).await?.try_get(0)?
        }
    };
    match (count, equal) == (records as i64, records as usize) {
        true => Ok(()),
        false => Err(format!("the table has {count} rows, and {equal} of {records} records").into()),
    }
}
