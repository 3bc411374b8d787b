//! The statements of a table, and the only place that quotes a name. A statement gets a batch as one parameter: a JSON
//! array of objects whose fields are `c0`, `c1` …, by the index of the column. Pure.

use std::borrow::Cow;

use super::{
    kind::{Affinity, Dialect, Kind},
    schema::{Column, Target},
    settings::{Table, TableName},
};

/// Quotes a name of a table or a column.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl TableName {
    /// Returns the name for a statement.
    pub fn quoted(&self) -> String {
        let schema = self.schema.as_ref().map(|schema| format!("{}.", quoted(schema)));
        schema.unwrap_or_default() + &quoted(&self.table)
    }
}

/// Returns the statement that creates the table of an entry.
pub fn create(table: &Table, dialect: Dialect) -> String {
    let declared = table.columns.iter().flatten();
    let columns = declared.filter_map(|(name, of)| Some((name, of.as_deref()?)));
    let (key, others): (Vec<_>, Vec<_>) = columns.partition(|(name, _)| table.key.contains(name));
    let is_row_id = |of: &str| {
        dialect == Dialect::Sqlite
            && table.key.len() == 1
            && matches!(Kind::of(of, dialect), Kind::Integer(..))
    };
    let key = key.into_iter().map(|(name, of)| {
        // Only this name makes the key the row's number, which needs no index of its own.
        let of = if is_row_id(of) { "INTEGER" } else { of };
        format!("{} {of} NOT NULL", quoted(name))
    });
    let others = others.into_iter().map(|(name, of)| format!("{} {of}", quoted(name)));
    let times = table.own().map(|name| format!("{} timestamptz", quoted(name)));
    let names: Vec<String> = table.key.iter().map(|name| quoted(name)).collect();
    let primary = format!("PRIMARY KEY ({})", names.join(", "));
    let lines: Vec<String> = key.chain(others).chain(times).chain([primary]).collect();
    format!("CREATE TABLE IF NOT EXISTS {} (\n  {}\n)", table.name.quoted(), lines.join(",\n  "))
}

impl Target {
    /// Returns the query for the rows of a batch that the table has already, as numbers from 1, if the batch fills these
    /// columns. Unlike an upsert that changes nothing, it locks no row.
    pub fn compare(&self, columns: &[usize]) -> String {
        let is = |column: &Column, other: &str| match (self.dialect, column.kind) {
            (Dialect::Sqlite, _) => format!("t.{} IS {other} COLLATE BINARY", quoted(&column.name)),
            (_, kind) => {
                let of = comparable(kind);
                format!("t.{}{of} IS NOT DISTINCT FROM {other}{of}", quoted(&column.name))
            }
        };
        let others = columns.iter().filter(|index| **index >= self.keys);
        let others = others.map(|index| is(&self.columns[*index], &format!("x.c{index}")));
        let mark = self.mark.iter().map(|mark| is(mark, self.unmarked(mark)));
        let equal: Vec<String> = self.on_key().into_iter().chain(others).chain(mark).collect();
        let input = self.input(columns);
        format!("SELECT x.n FROM ({input}) AS x JOIN {} AS t ON {}", self.name.quoted(), equal.join(" AND "))
    }

    /// Returns the statement that inserts the rows of a batch, or updates those that differ.
    pub fn upsert(&self, columns: &[usize]) -> String {
        let filled = columns.iter().map(|index| (&self.columns[*index].name, format!("x.c{index}")));
        let touch = self.touch.iter().map(|column| (&column.name, self.now(column)));
        let created = self.created.iter().map(|column| (&column.name, self.now(column)));
        let mark = self.mark.iter().map(|column| (&column.name, self.unmarked(column).to_owned()));
        let (names, values): (Vec<String>, Vec<String>) =
            filled.chain(touch).chain(created).chain(mark).map(|(name, value)| (quoted(name), value)).unzip();
        let input = self.input(columns);
        let conflict: Vec<String> =
            self.columns[..self.keys].iter().map(|column| quoted(&column.name)).collect();
        format!(
            "INSERT INTO {} AS t ({}) SELECT {} FROM ({input}) AS x WHERE true ON CONFLICT ({}) {}",
            self.name.quoted(),
            names.join(", "),
            values.join(", "),
            conflict.join(", "),
            self.update(columns)
        )
    }

    /// Returns what happens to a row that exists.
    fn update(&self, columns: &[usize]) -> String {
        let others = columns.iter().filter(|index| **index >= self.keys).map(|index| &self.columns[*index]);
        let compared: Vec<&Column> = others.chain(&self.mark).collect();
        if compared.is_empty() {
            return "DO NOTHING".to_owned();
        }
        let set = |column: &Column| format!("{0} = excluded.{0}", quoted(&column.name));
        let sets: Vec<String> = compared.iter().copied().chain(&self.touch).map(set).collect();
        let differs = |column: &&Column| {
            let name = quoted(&column.name);
            match self.dialect {
                Dialect::Sqlite => format!("t.{name} IS NOT excluded.{name} COLLATE BINARY"),
                Dialect::Postgres => {
                    let of = comparable(column.kind);
                    format!("t.{name}{of} IS DISTINCT FROM excluded.{name}{of}")
                }
            }
        };
        let differs: Vec<String> = compared.iter().map(differs).collect();
        format!("DO UPDATE SET {} WHERE {}", sets.join(", "), differs.join(" OR "))
    }

    /// Returns the query for the keys of a batch of deletions that have a row to delete or to mark, as numbers from 1.
    pub fn present(&self) -> String {
        let keys: Vec<usize> = (0..self.keys).collect();
        let input = self.input(&keys);
        let differs = self.marking().map(|(_, differs)| differs);
        let on: Vec<String> = self.on_text_key().into_iter().chain(differs).collect();
        format!("SELECT x.n FROM ({input}) AS x JOIN {} AS t ON {}", self.name.quoted(), on.join(" AND "))
    }

    /// Returns the statement that deletes the rows with the keys of a batch, or marks them.
    pub fn delete(&self) -> String {
        let keys: Vec<usize> = (0..self.keys).collect();
        let (table, input) = (self.name.quoted(), self.input(&keys));
        let set = self.marking();
        let on_key = match self.dialect {
            Dialect::Postgres => self.on_key().join(" AND "),
            Dialect::Sqlite => {
                let list = |names: Vec<String>| names.join(", ");
                let names = list(self.columns[..self.keys].iter().map(Column::key_text).collect());
                let cells = list(keys.iter().map(|index| format!("x.c{index}")).collect());
                let names = if self.keys == 1 { names } else { format!("({names})") };
                format!("{names} IN (SELECT {cells} FROM ({input}) AS x)")
            }
        };
        match (self.dialect, set) {
            (Dialect::Postgres, None) => {
                format!("DELETE FROM {table} AS t USING ({input}) AS x WHERE {on_key}")
            }
            (Dialect::Postgres, Some((set, differs))) => {
                format!("UPDATE {table} AS t SET {set} FROM ({input}) AS x WHERE {on_key} AND {differs}")
            }
            (Dialect::Sqlite, None) => format!("DELETE FROM {table} AS t WHERE {on_key}"),
            (Dialect::Sqlite, Some((set, differs))) => {
                format!("UPDATE {table} AS t SET {set} WHERE {on_key} AND {differs}")
            }
        }
    }

    /// Returns what an update sets in a row that is marked as deleted, and the condition that it is not marked yet.
    fn marking(&self) -> Option<(String, String)> {
        let mark = self.mark.as_ref()?;
        let name = quoted(&mark.name);
        let (value, differs) = match (mark.kind, self.dialect) {
            (Kind::Boolean, Dialect::Sqlite) => ("1".to_owned(), format!("t.{name} IS NOT 1")),
            (Kind::Boolean, Dialect::Postgres) => {
                ("true".to_owned(), format!("t.{name} IS DISTINCT FROM true"))
            }
            _ => (self.now(mark), format!("t.{name} IS NULL")),
        };
        let touch =
            self.touch.iter().map(|column| format!("{} = {}", quoted(&column.name), self.now(column)));
        let sets: Vec<String> = [format!("{name} = {value}")].into_iter().chain(touch).collect();
        Some((sets.join(", "), differs))
    }

    /// Returns the comparisons of a key that is the text of a deletion.
    fn on_text_key(&self) -> Vec<String> {
        match self.dialect {
            Dialect::Postgres => self.on_key(),
            Dialect::Sqlite => {
                let keys = self.columns[..self.keys].iter().enumerate();
                keys.map(|(index, column)| format!("{} = x.c{index}", column.key_text())).collect()
            }
        }
    }

    fn on_key(&self) -> Vec<String> {
        let keys = self.columns[..self.keys].iter().enumerate();
        keys.map(|(index, column)| format!("t.{} = x.c{index}", quoted(&column.name))).collect()
    }

    /// Returns the query that makes rows of the parameter: their cells in the types of the columns, and a number `n`.
    fn input(&self, columns: &[usize]) -> String {
        let list = |part: &dyn Fn(usize) -> String| {
            columns.iter().map(|index| part(*index)).collect::<Vec<_>>().join(", ")
        };
        match self.dialect {
            Dialect::Sqlite => {
                let cells = list(&|index| match self.columns[index].value_kind() {
                    Kind::Json => format!("nullif(r.value -> '$.c{index}', 'null') AS c{index}"),
                    _ => format!("json_extract(r.value, '$.c{index}') AS c{index}"),
                });
                format!("SELECT {cells}, r.key + 1 AS n FROM json_each(?1) AS r")
            }
            Dialect::Postgres => {
                let cells = list(&|index| format!("{} AS c{index}", self.columns[index].converted(index)));
                let types = list(&|index| format!("c{index} {}", self.columns[index].read_as()));
                let names = list(&|index| format!("c{index}"));
                format!(
                    "SELECT {cells}, r.n FROM ROWS FROM (jsonb_to_recordset($1::jsonb) AS ({types})) WITH ORDINALITY AS r({names}, n)"
                )
            }
        }
    }

    /// Returns the current time for a column.
    fn now(&self, column: &Column) -> String {
        let text = match (self.dialect, column.kind) {
            (Dialect::Postgres, Kind::Timestamp(false) | Kind::Date) => "(now() AT TIME ZONE 'UTC')",
            (Dialect::Postgres, _) => "now()",
            (Dialect::Sqlite, Kind::Integer(..)) => "unixepoch()",
            (Dialect::Sqlite, Kind::Date) => "date('now')",
            (Dialect::Sqlite, _) => "strftime('%Y-%m-%dT%H:%M:%SZ', 'now')",
        };
        text.to_owned()
    }

    /// Returns the value of the column that marks deleted rows in a row that is not deleted.
    fn unmarked(&self, mark: &Column) -> &'static str {
        match (mark.kind, self.dialect) {
            (Kind::Boolean, Dialect::Sqlite) => "0",
            (Kind::Boolean, Dialect::Postgres) => "false",
            _ => "NULL",
        }
    }
}

/// Returns the conversion with which PostgreSQL compares values of a type that has no equality of its own, or one that
/// ignores differences.
fn comparable(kind: Kind) -> &'static str {
    match kind {
        Kind::Json => "::jsonb",
        Kind::Text(_) => " COLLATE \"C\"",
        Kind::Other => "::text COLLATE \"C\"",
        _ => "",
    }
}

impl Column {
    /// Returns the kind of the values in payloads.
    pub fn value_kind(&self) -> Kind {
        self.cast.as_ref().map_or(self.kind, |(_, kind)| *kind)
    }

    /// Returns the column as SQLite compares it with the text of a key. A column without a type converts no value, so its
    /// numbers are compared as texts.
    fn key_text(&self) -> String {
        let name = format!("t.{}", quoted(&self.name));
        match Affinity::of(&self.of) {
            Affinity::Blob => format!("CAST({name} AS TEXT)"),
            _ => name,
        }
    }

    /// Returns the type as which PostgreSQL reads the JSON value of a cell.
    fn read_as(&self) -> &str {
        match (self.value_kind(), &self.cast) {
            // A text without a time zone counts as UTC, which is the zone of the connection.
            (Kind::Timestamp(_), _) => "timestamptz",
            (Kind::Json, _) => "jsonb",
            (kind, Some((of, _))) if std::mem::discriminant(&kind) != std::mem::discriminant(&self.kind) => {
                of
            }
            _ => &self.of,
        }
    }

    /// Returns a cell in the type of the column.
    fn converted(&self, index: usize) -> String {
        let cell = match (self.value_kind(), self.kind) {
            (Kind::Timestamp(_), Kind::Timestamp(false) | Kind::Date) => {
                format!("(r.c{index} AT TIME ZONE 'UTC')")
            }
            _ => format!("r.c{index}"),
        };
        format!("{cell}::{}", without_length(&self.of))
    }
}

/// Returns a type of PostgreSQL without its length: a conversion that a statement names cuts what is longer, while the
/// database refuses it when a row is stored.
fn without_length(of: &str) -> Cow<'_, str> {
    let unlimited = [
        ("character varying(", "character varying"),
        ("character(", "bpchar"),
        ("bit varying(", "bit varying"),
        ("bit(", "bit varying"),
    ];
    let found = unlimited.iter().find_map(|(begin, name)| {
        let (_, after) = of.strip_prefix(begin)?.split_once(')')?;
        Some(format!("{name}{after}").into())
    });
    found.unwrap_or(of.into())
}

#[cfg(test)]
#[path = "statements_tests.rs"]
mod tests;
