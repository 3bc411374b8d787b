//! Writes records into tables of SQLite or PostgreSQL: a row is inserted or updated by its key, and written only if a
//! column differs.

mod address;
mod ambient;
mod batch;
mod connection;
mod decimal;
mod errors;
mod fields;
mod kind;
mod rows;
mod schema;
mod session;
mod settings;
mod sink;
mod statements;
mod times;

pub use self::sink::Sql;
use super::sql_declared::{HOSTS, PASSWORD, SETTINGS, SPEC, SQLITE, URL};
