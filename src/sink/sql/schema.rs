//! The tables as the database has them, compared with what an entry wants in them. Pure.

use super::{
    kind::{Dialect, Kind},
    settings::{Table, TableName},
};
use crate::base::fault::Fault;

/// A column, as the database lists it.
#[derive(Debug, Clone)]
pub struct Found {
    pub name: String,
    /// Name of its type.
    pub of: String,
    /// Whether the database computes its values.
    pub generated: bool,
}

/// A table that an entry writes to.
#[derive(Debug)]
pub struct Target {
    pub dialect: Dialect,
    pub name: TableName,
    /// The columns that payloads may fill; those of the key come first.
    pub columns: Vec<Column>,
    /// Number of the columns of the key.
    pub keys: usize,
    pub touch: Vec<Column>,
    pub created: Vec<Column>,
    pub mark: Option<Column>,
    /// Path of the rows in a payload; empty if the payload is the row.
    pub rows: Vec<String>,
    /// Whether a record whose rows differ only in this table counts as written.
    pub counts: bool,
}

/// A column of a table.
#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    /// Name of its type in the database.
    pub of: String,
    pub kind: Kind,
    /// The type that the entry declares for its values.
    pub cast: Option<(String, Kind)>,
}

impl Target {
    /// Compares the table with what the entry wants.
    ///
    /// # Errors
    ///
    /// The table or a column is missing, or the type of a column does not fit. The message names both, and the next step.
    pub fn resolve(table: &Table, found: &[Found], dialect: Dialect) -> Result<Self, Fault> {
        let missing = || {
            Fault::list(format!("the database has no table `{}`", table.name.text()))
                .hint("create it, correct `table`, or set `create` to true")
        };
        if found.is_empty() {
            return Err(missing());
        }
        let find = |name: &String, setting: &str| {
            let column = found.iter().find(|column| column.name == *name && !column.generated);
            column.map(|column| Column::of(column, dialect)).ok_or_else(|| {
                Fault::list(format!(
                    "the table `{}` has no column `{name}` that can be written",
                    table.name.text()
                ))
                .hint(format!("add it to the table, or correct `{setting}`"))
            })
        };
        let own: Vec<&String> = table.own().collect();
        let others: Vec<&String> = match &table.columns {
            Some(columns) => columns.iter().map(|(name, _)| name).collect(),
            None => found.iter().filter(|column| !column.generated).map(|column| &column.name).collect(),
        };
        let others = others.into_iter().filter(|name| !table.key.contains(name) && !own.contains(name));
        let keys = table.key.iter().map(|name| find(name, "key"));
        let others = others.map(|name| find(name, "columns"));
        let mut columns = keys.chain(others).collect::<Result<Vec<_>, _>>()?;
        for column in &mut columns {
            column.cast = table.declared(&column.name).map(|of| (of.to_owned(), Kind::of(of, dialect)));
            column.check_cast(table)?;
        }
        let timed = |names: &[String], setting: &str| {
            let column =
                |name| find(name, setting).and_then(|column| column.holding_time(table, setting, dialect));
            names.iter().map(column).collect::<Result<Vec<_>, _>>()
        };
        let mark = match &table.mark {
            None => None,
            Some(name) => match find(name, "on_delete")? {
                column if column.kind == Kind::Boolean => Some(column),
                column => Some(column.holding_time(table, "on_delete", dialect)?),
            },
        };
        let rows = table.rows.as_deref().filter(|path| !path.is_empty());
        Ok(Target {
            dialect,
            name: table.name.clone(),
            columns,
            keys: table.key.len(),
            touch: timed(&table.touch, "touch")?,
            created: timed(&table.created, "created")?,
            mark,
            rows: rows.map_or(vec![], |path| path.split('.').map(str::to_owned).collect()),
            counts: table.counts,
        })
    }

    /// Describes what was found, for `check --online`.
    pub fn describe(&self) -> String {
        let columns = self.columns.iter().chain(&self.touch).chain(&self.created).chain(&self.mark);
        let columns: Vec<String> = columns.map(|column| format!("{} {}", column.name, column.of)).collect();
        format!("table {}: {}", self.name.text(), columns.join(", "))
    }

    /// Returns a warning for each column whose type in the table differs from the one that the entry declares. The table
    /// takes the values all the same, or some of them.
    pub fn differences(&self) -> Vec<String> {
        let differing = self.columns.iter().filter_map(|column| {
            let (of, kind) = column.cast.as_ref()?;
            let equal = match kind {
                Kind::Other => of.eq_ignore_ascii_case(&column.of),
                kind => *kind == column.kind,
            };
            (!equal).then(|| {
                format!(
                    "the column `{}` of `{}` is of type {} in the table, and of type {of} in `columns`; correct one of them",
                    column.name,
                    self.name.text(),
                    column.of
                )
            })
        });
        differing.collect()
    }
}

impl Column {
    fn of(found: &Found, dialect: Dialect) -> Self {
        let Found { name, of, .. } = found;
        Column { name: name.clone(), of: of.clone(), kind: Kind::of(of, dialect), cast: None }
    }

    /// Checks that the column can store the type that the entry declares.
    fn check_cast(&self, table: &Table) -> Result<(), Fault> {
        match &self.cast {
            Some((of, kind)) if !self.kind.holds(*kind) => Err(Fault::list(format!(
                "the column `{}` of `{}` is of type {}, which can't store {of}",
                self.name,
                table.name.text(),
                self.of
            ))
            .hint("correct `columns`, or the type of the column")),
            _ => Ok(()),
        }
    }

    /// Returns the column if it can store the current time.
    fn holding_time(self, table: &Table, setting: &str, dialect: Dialect) -> Result<Self, Fault> {
        let any = dialect == Dialect::Sqlite && matches!(self.kind, Kind::Text(_) | Kind::Integer(..));
        match self.kind {
            Kind::Timestamp(_) | Kind::Date | Kind::Other => Ok(self),
            _ if any => Ok(self),
            _ => Err(Fault::list(format!(
                "the column `{}` of `{}` is of type {}, which can't store the current time",
                self.name,
                table.name.text(),
                self.of
            ))
            .hint(format!("correct `{setting}`, or the type of the column"))),
        }
    }
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
