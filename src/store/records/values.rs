//! The table of single values of a database, and what all of its tables share.

use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};
use serde::{Serialize, de::DeserializeOwned};

type Failed = redb::Error;

/// Single values by their names, as JSON.
pub(in crate::store) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

pub(super) fn damaged(what: &str) -> Failed {
    Failed::Corrupted(what.to_owned())
}

/// Returns a value of the table of single values.
pub(super) fn json<T: DeserializeOwned>(
    transaction: &ReadTransaction,
    name: &str,
) -> Result<Option<T>, Failed> {
    let Some(table) = opened(transaction.open_table(META))? else { return Ok(None) };
    json_of(&table, name)
}

/// Returns a value of the table of single values, within any transaction.
pub(super) fn json_of<T: DeserializeOwned>(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<Option<T>, Failed> {
    let Some(value) = table.get(name)? else { return Ok(None) };
    serde_json::from_slice(value.value()).map(Some).map_err(|_| damaged("a summary can't be understood"))
}

/// Returns a table, unless nothing was written to it yet.
pub(super) fn opened<T>(table: Result<T, TableError>) -> Result<Option<T>, Failed> {
    match table {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Writes a value to the table of single values; nothing without a value.
pub(super) fn put(
    transaction: &WriteTransaction,
    name: &str,
    value: Option<&impl Serialize>,
) -> Result<(), Failed> {
    let Some(value) = value else { return Ok(()) };
    // These are plain structs.
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    transaction.open_table(META)?.insert(name, bytes.as_slice())?;
    Ok(())
}
