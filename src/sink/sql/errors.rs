//! What an error of a database means: for a record, for the list, and for the other calls of the database.

use std::time::Duration;

use sqlx::{error::DatabaseError, postgres::PgDatabaseError};

use super::{address::Database, kind, schema::Target};
use crate::{
    base::{fault::Fault, record::Reason, redact},
    net::call::{Effect, Judged},
    sink::Rejection,
};

const NO_PARENT: Reason = "no_such_parent";

/// Why an attempt failed.
pub enum Trouble {
    /// No connection could be made.
    Unconnected(sqlx::Error),
    /// A statement failed, or the connection broke.
    Failed(sqlx::Error),
    /// The tables are not as the entry wants them.
    Unfit(Fault),
    /// No answer came in this time.
    TimedOut(Duration),
    /// The connection broke, and with it the transaction that contains the earlier batches.
    Lost,
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Trouble::Failed(error)
    }
}

/// What an error of the database means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Another transaction is in the way.
    Locked,
    /// The server ends, or is not ready.
    Unreachable,
    /// The server lacks something that others use at the moment.
    Overloaded,
    KeyRejected,
    /// A record can't be stored, for this reason.
    Record(Reason),
    /// The statement is wrong for this database, with the next step.
    List(&'static str),
}

/// Reads the code of an error of PostgreSQL (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
fn postgres(code: &str) -> Meaning {
    match code {
        "55P03" | "57014" => Meaning::Locked,
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => Meaning::Unreachable,
        "22001" => Meaning::Record(kind::TOO_LONG),
        "22003" | "22008" => Meaning::Record(kind::OUT_OF_RANGE),
        "22021" | "22P05" => Meaning::Record(kind::NUL),
        "23502" => Meaning::Record("null_not_allowed"),
        "23503" => Meaning::Record(NO_PARENT),
        "23505" => Meaning::Record("not_unique"),
        "23514" | "44000" => Meaning::Record("check_failed"),
        "42P10" => Meaning::List("add a unique index on the columns of `key`"),
        "42501" => Meaning::List("grant the user of the database the rights to read and write the table"),
        "3D000" => Meaning::List("create the database, or correct its name"),
        _ => match code.get(..2).unwrap_or_default() {
            "08" => Meaning::Unreachable,
            "53" => Meaning::Overloaded,
            "28" => Meaning::KeyRejected,
            "42" => Meaning::List("check the table and the settings of the sink"),
            "25" => Meaning::List("connect to a server that accepts writes"),
            "40" => Meaning::Locked,
            // What the server lacks or does not allow, and states of the connection, such as a missing prepared statement.
            "0A" | "24" | "26" | "2D" | "34" | "3B" | "3F" | "55" | "57" | "58" | "F0" | "HV" | "XX" => {
                Meaning::List("see the log of the database")
            }
            // Values, constraints, limits of a row, and errors that triggers raise, which choose their code.
            _ => Meaning::Record("refused"),
        },
    }
}

/// Reads the code of an error of SQLite (<https://www.sqlite.org/rescode.html>).
fn sqlite(code: i32) -> Meaning {
    match code {
        1299 => return Meaning::Record("null_not_allowed"),
        787 => return Meaning::Record(NO_PARENT),
        2067 | 1555 => return Meaning::Record("not_unique"),
        275 => return Meaning::Record("check_failed"),
        _ => {}
    }
    match code & 0xff {
        5 | 6 => Meaning::Locked,
        18..=20 => Meaning::Record("refused"),
        1 => Meaning::List("check the table, its unique indices, and the settings of the sink"),
        8 | 10 | 13 => {
            Meaning::List("check the permissions of the file and its folder, and the free disk space")
        }
        14 => Meaning::List("check the path and the permissions of its folder, or set `create` to true"),
        26 => Meaning::List("the file is not a SQLite database; correct the path"),
        _ => Meaning::List("check the file with the command `sqlite3`: PRAGMA integrity_check"),
    }
}

fn meaning(error: &dyn DatabaseError) -> Meaning {
    let code = error.code().unwrap_or_default();
    match error.try_downcast_ref::<PgDatabaseError>() {
        Some(_) => postgres(&code),
        None => sqlite(code.parse().unwrap_or_default()),
    }
}

/// Returns whether another transaction was in the way, so that the same statements may succeed later.
pub fn is_locked(trouble: &Trouble) -> bool {
    let Trouble::Failed(error) = trouble else { return false };
    error.as_database_error().is_some_and(|error| meaning(error) == Meaning::Locked)
}

/// Returns the rejection of a record if an error is about its values; `None` for any other error. The detail names the
/// table, and what the database says of the column or the constraint, never a value.
pub fn rejection(error: &sqlx::Error, target: &Target) -> Option<Rejection> {
    let error = error.as_database_error()?;
    let Meaning::Record(reason) = meaning(error) else { return None };
    let table = target.name.text();
    let place = match error.try_downcast_ref::<PgDatabaseError>() {
        Some(error) => {
            let named = |what: &str, name: Option<&str>| name.map(|name| format!(", {what} `{name}`"));
            let place = named("constraint", error.constraint()).or_else(|| named("column", error.column()));
            format!("{}, code {}", place.unwrap_or_default(), error.code())
        }
        None => {
            // `UNIQUE constraint failed: people.email`: names, without a value.
            let named = ["UNIQUE constraint failed: ", "NOT NULL constraint failed: "];
            let columns = named.iter().find_map(|begins| error.message().strip_prefix(begins));
            let columns = columns.map(|columns| format!(", column `{columns}`"));
            format!("{}, code {}", columns.unwrap_or_default(), error.code().unwrap_or_default())
        }
    };
    let detail = format!("row of `{table}`: {reason}{place}");
    Some(Rejection { detail: Some(detail), ..Rejection::new(reason) })
}

/// Returns whether a row without its parent made a commit fail.
pub fn lacks_parent(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| meaning(error) == Meaning::Record(NO_PARENT))
}

/// Returns the rejection of a record because of which a row of this table lacks its parent.
pub fn orphaned(table: &str) -> Rejection {
    Rejection { detail: Some(format!("row of `{table}`: {NO_PARENT}")), ..Rejection::new(NO_PARENT) }
}

/// Judges the outcome of an attempt.
pub fn judge<T>(database: &Database, outcome: Result<T, Trouble>) -> Judged<T> {
    let (fault, effect) = match outcome {
        Ok(value) => return Judged { result: Ok(value), effect: Effect::Accepted, headroom: None },
        Err(trouble) => classify(database, trouble),
    };
    Judged { result: Err(fault), effect, headroom: None }
}

fn classify(database: &Database, trouble: Trouble) -> (Fault, Effect) {
    let Database { service, url_name, .. } = database;
    let (error, connecting) = match trouble {
        Trouble::Unfit(fault) => return (fault, Effect::Neutral),
        Trouble::Lost => {
            let fault =
                Fault::list("the connection broke in the middle of the transaction, which was undone")
                    .hint("nothing of this transaction is stored; the next run delivers its records again");
            return (fault, Effect::Neutral);
        }
        Trouble::TimedOut(after) => {
            let fault = Fault::retry(format!("no answer from {service} in {} s", after.as_secs()))
                .hint("check the locks and the load of the database");
            return (fault, Effect::Neutral);
        }
        Trouble::Unconnected(error) => (error, true),
        Trouble::Failed(error) => (error, false),
    };
    let check = format!("if this persists, check the network and `{url_name}`");
    match &error {
        sqlx::Error::Database(error) => reported(database, error.as_ref()),
        sqlx::Error::Io(error) if connecting => {
            let fault = Fault::retry(format!("could not connect to {service}")).because(error).hint(check);
            // A file that can't be made will not appear by itself.
            match database.location {
                super::address::Location::Sqlite(_) => {
                    (Fault::List(fault.problem().clone()), Effect::Neutral)
                }
                super::address::Location::Postgres(_) => (fault, Effect::Unreachable),
            }
        }
        sqlx::Error::Io(error) => (
            Fault::retry(format!("the connection to {service} broke")).because(error).hint(check),
            Effect::Neutral,
        ),
        sqlx::Error::Tls(_) => {
            let fault = Fault::list(format!("could not verify the certificate of {service}"))
                .hint("set `sslrootcert` or `sslmode` in the address of the database (`url` or `SQL_URL`)");
            (fault, Effect::Neutral)
        }
        sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed | sqlx::Error::BeginFailed => {
            (Fault::retry(format!("the connection to {service} broke")).hint(check), Effect::Neutral)
        }
        _ => (Fault::list(format!("{service} returned something unexpected")).hint(check), Effect::Neutral),
    }
}

/// Makes the fault of an error that the database reports.
fn reported(database: &Database, error: &dyn DatabaseError) -> (Fault, Effect) {
    let service = &database.service;
    let code = error.code().unwrap_or_default();
    let what = format!("{service} reported the error {code}");
    let quoting = |fault: Fault| match is_quotable(error, &code) {
        true => fault.because(redact::line(error.message())),
        false => fault,
    };
    match meaning(error) {
        Meaning::Locked => (quoting(Fault::retry(what)), Effect::Neutral),
        Meaning::Unreachable => (quoting(Fault::retry(what)), Effect::Unreachable),
        Meaning::Overloaded => (quoting(Fault::retry(what)), Effect::Overloaded),
        Meaning::KeyRejected => (quoting(Fault::list(what)).hint(credentials(database)), Effect::KeyRejected),
        Meaning::Record(reason) => (Fault::list(what).because(reason), Effect::Neutral),
        Meaning::List(hint) => (quoting(Fault::list(what)).hint(hint), Effect::Neutral),
    }
}

/// Says what to check if the database rejects the user or the password.
fn credentials(database: &Database) -> String {
    let Database { key_name, url_name, .. } = database;
    match (database.has_password, key_name == url_name) {
        (true, _) => format!("check the user and the password in `{key_name}`"),
        (false, true) => {
            format!(
                "no password was sent, since the address in `{key_name}` has none; add it, or check the user"
            )
        }
        (false, false) => {
            format!(
                "no password was sent, since `{key_name}` is not set; set it in .env or the environment, or check `user`"
            )
        }
    }
}

/// Returns whether the message of an error comes from the database itself. A trigger may raise an error of any other class
/// with a text of its own, which may contain values of records. In SQLite, its errors are those of a constraint.
fn is_quotable(error: &dyn DatabaseError, code: &str) -> bool {
    match error.try_downcast_ref::<PgDatabaseError>() {
        Some(_) => ["08", "28", "3D", "42", "53", "57"].contains(&code.get(..2).unwrap_or_default()),
        None => !matches!(meaning(error), Meaning::Record(_)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_decides_whether_the_record_the_list_or_the_database_is_at_fault() {
        for (code, expected) in [
            ("40P01", Meaning::Locked),
            ("55P03", Meaning::Locked),
            ("57P01", Meaning::Unreachable),
            ("57P03", Meaning::Unreachable),
            ("08006", Meaning::Unreachable),
            ("53300", Meaning::Overloaded),
            ("28P01", Meaning::KeyRejected),
            ("22001", Meaning::Record("text_too_long")),
            ("22P02", Meaning::Record("refused")),
            ("23505", Meaning::Record("not_unique")),
            ("23P01", Meaning::Record("refused")),
            ("21000", Meaning::Record("refused")),
            ("P0001", Meaning::Record("refused")),
            ("42P01", Meaning::List("check the table and the settings of the sink")),
            ("42P10", Meaning::List("add a unique index on the columns of `key`")),
            ("26000", Meaning::List("see the log of the database")),
            ("ZZ001", Meaning::Record("refused")),
            ("25006", Meaning::List("connect to a server that accepts writes")),
            ("XX000", Meaning::List("see the log of the database")),
        ] {
            assert_eq!(postgres(code), expected, "{code}");
        }
        for (code, expected) in [
            (5, Meaning::Locked),
            (517, Meaning::Locked),
            (2067, Meaning::Record("not_unique")),
            (787, Meaning::Record("no_such_parent")),
            (1811, Meaning::Record("refused")),
            (26, Meaning::List("the file is not a SQLite database; correct the path")),
        ] {
            assert_eq!(sqlite(code), expected, "{code}");
        }
    }
}
