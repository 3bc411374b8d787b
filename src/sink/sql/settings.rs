//! Settings of an entry: reads and checks them. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU16,
};

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

use super::{
    SETTINGS,
    kind::{Affinity, Dialect, Kind},
};
use crate::base::adapter::Chosen;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    url: Option<String>,
    host: Option<String>,
    port: Option<NonZeroU16>,
    database: Option<String>,
    user: Option<String>,
    table: Option<TableName>,
    key: Option<Names>,
    columns: Option<BTreeMap<String, Option<Type>>>,
    touch: Option<Names>,
    created: Option<Names>,
    tables: Option<Vec<Named>>,
    on_delete: OnDelete,
    atomic: bool,
    create: bool,
}

/// A table in `tables`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    table: TableName,
    key: Names,
    columns: Option<BTreeMap<String, Option<Type>>>,
    touch: Option<Names>,
    created: Option<Names>,
    rows: Option<String>,
    count: Option<bool>,
}

/// The database, as the settings name it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Place {
    /// Path of a SQLite file.
    pub url: Option<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub database: Option<String>,
    pub user: Option<String>,
}

/// What an entry wants in its tables.
pub struct Plan {
    pub place: Place,
    /// The tables, parents before children.
    pub tables: Vec<Table>,
    pub on_delete: OnDelete,
    pub atomic: bool,
    pub create: bool,
}

/// What an entry wants in one table.
#[derive(Debug, Clone)]
pub struct Table {
    pub name: TableName,
    pub key: Vec<String>,
    /// The columns with their declared types, in the order of the file; `None`: those that the table and the payload have.
    pub columns: Option<Vec<(String, Option<String>)>>,
    pub touch: Vec<String>,
    pub created: Vec<String>,
    /// Path of the rows in a payload; `None`: the payload is the row.
    pub rows: Option<String>,
    /// Whether a record whose rows differ only in this table counts as written.
    pub counts: bool,
    /// Column that marks a deleted row.
    pub mark: Option<String>,
}

/// What a deletion does.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDelete {
    Delete,
    Ignore,
    /// Sets a column.
    Mark(String),
}

/// Name of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    pub schema: Option<String>,
    pub table: String,
}

impl TableName {
    /// Returns the name as the settings spell it, for messages.
    pub fn text(&self) -> String {
        self.schema.as_ref().map_or(self.table.clone(), |schema| format!("{schema}.{}", self.table))
    }
}

impl<'de> Deserialize<'de> for TableName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (schema, table) = match text.split_once('.') {
            None => (None, text.as_str()),
            Some((schema, table)) => (Some(schema), table),
        };
        let valid = |name: &str| !name.is_empty() && !name.contains(['.', '\0']);
        match valid(table) && schema.is_none_or(valid) {
            true => Ok(TableName { schema: schema.map(str::to_owned), table: table.to_owned() }),
            false => Err(D::Error::custom(format!(
                "invalid table name {text:?}; use a name such as \"people\" or \"public.people\""
            ))),
        }
    }
}

/// Names of columns.
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let name = |value: &Value| value.as_str().filter(|name| is_name(name)).map(str::to_owned);
        let names = match &value {
            Value::Array(names) => names.iter().map(name).collect(),
            value => name(value).map(|name| vec![name]),
        };
        let unique = |names: &Vec<String>| names.iter().collect::<BTreeSet<_>>().len() == names.len();
        names.filter(unique).map(Names).ok_or_else(|| {
            D::Error::custom(format!(
                "invalid columns {value}; use a name such as \"id\", or an array of different names"
            ))
        })
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('\0')
}

/// Name of a type. It becomes a part of statements, so it has no character that could end it.
struct Type(String);

impl<'de> Deserialize<'de> for Type {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match is_type(&text) {
            true => Ok(Type(text)),
            false => Err(D::Error::custom(format!(
                "invalid type {text:?}; use the name of a type, such as \"bigint\" or \"varchar(255)\""
            ))),
        }
    }
}

/// Returns whether a text is words, possibly with one or two numbers in parentheses, and possibly `[]` at the end.
fn is_type(text: &str) -> bool {
    let text = text.strip_suffix("[]").unwrap_or(text);
    let words = |text: &str| {
        text.split(' ').all(|word| {
            word.starts_with(|c: char| c.is_ascii_alphabetic())
                && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        })
    };
    let Some((before, rest)) = text.split_once('(') else { return words(text) };
    let Some((numbers, after)) = rest.split_once(')') else { return false };
    let number = |number: &str| {
        let number = number.strip_prefix(' ').unwrap_or(number);
        !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
    };
    let numbers: Vec<&str> = numbers.split(',').collect();
    words(before.strip_suffix(' ').unwrap_or(before))
        && numbers.len() <= 2
        && numbers.into_iter().all(number)
        && (after.is_empty() || after.strip_prefix(' ').is_some_and(words))
}

impl Plan {
    /// Reads the settings.
    ///
    /// # Errors
    ///
    /// A setting is unknown, missing or invalid. The message names it.
    pub fn read(chosen: &Chosen) -> Result<Self, String> {
        let settings: Settings = chosen.settings(SETTINGS)?;
        let mut plan = Self::checked(settings).map_err(|why| format!("{}: {why}", chosen.kind))?;
        let alone = chosen.settings.contains_key("table");
        for (index, table) in plan.tables.iter_mut().enumerate() {
            let index = index.to_string();
            let place: &[&str] = if alone { &["columns"] } else { &["tables", &index, "columns"] };
            table.arrange(|column| chosen.position(&[place, &[column]].concat()));
        }
        Ok(plan)
    }

    fn checked(settings: Settings) -> Result<Self, String> {
        let Settings { url, host, port, database, user, on_delete, atomic, create, .. } = settings;
        let Settings { table, key, columns, touch, created, tables, .. } = settings;
        let place = Place { url, host, port: port.map(NonZeroU16::get), database, user };
        let named = match (table, tables) {
            (Some(table), None) => {
                let key = key.ok_or("set `key`, the column or the columns that identify a row")?;
                vec![Named { table, key, columns, touch, created, rows: None, count: None }]
            }
            (None, Some(tables)) if !tables.is_empty() => {
                let alone = [
                    ("key", key.is_some()),
                    ("columns", columns.is_some()),
                    ("touch", touch.is_some()),
                    ("created", created.is_some()),
                ];
                if let Some((name, _)) = alone.into_iter().find(|(_, set)| *set) {
                    return Err(format!("`{name}` belongs in each object of `tables`; move it there"));
                }
                tables
            }
            _ => return Err("set either `table` with its `key`, or `tables`".to_owned()),
        };
        let mut tables: Vec<Table> = named.into_iter().map(Table::new).collect();
        if let OnDelete::Mark(column) = &on_delete {
            if !is_name(column) {
                return Err("`on_delete`: `mark` must be the name of a column".to_owned());
            }
            let own = tables.iter_mut().filter(|table| table.rows.is_none());
            own.for_each(|table| table.mark = Some(column.clone()));
        }
        if tables.iter().all(|table| table.rows.is_some()) && on_delete != OnDelete::Ignore {
            let hint = "set `on_delete` to \"ignore\"";
            return Err(format!("no table can apply deletions, since each has `rows`; {hint}"));
        }
        tables.iter().try_for_each(|table| table.check(create))?;
        let mut names = BTreeSet::new();
        if let Some(twice) = tables.iter().find(|table| !names.insert(table.name.text())) {
            return Err(format!("`tables` names `{}` twice; remove one", twice.name.text()));
        }
        Ok(Plan { place, tables, on_delete, atomic, create })
    }
}

impl Table {
    fn new(Named { table, key, columns, touch, created, rows, count }: Named) -> Self {
        let names = |names: Option<Names>| names.map_or(vec![], |Names(names)| names);
        let typed = |columns: BTreeMap<String, Option<Type>>| {
            columns.into_iter().map(|(name, of)| (name, of.map(|Type(of)| of))).collect()
        };
        Table {
            name: table,
            key: key.0,
            columns: columns.map(typed),
            touch: names(touch),
            created: names(created),
            rows,
            counts: count.unwrap_or(true),
            mark: None,
        }
    }

    /// Puts the columns into the order of their positions in the file. An object in the settings has no order of its own.
    fn arrange(&mut self, position: impl Fn(&str) -> Option<usize>) {
        if let Some(columns) = &mut self.columns {
            columns.sort_by_key(|(name, _)| position(name).unwrap_or(usize::MAX));
        }
    }

    /// Returns the type that the entry declares for a column.
    pub fn declared(&self, column: &str) -> Option<&str> {
        let (_, of) = self.columns.as_ref()?.iter().find(|(name, _)| name == column)?;
        of.as_deref()
    }

    /// Returns the columns that importer sets by itself.
    pub fn own(&self) -> impl Iterator<Item = &String> {
        self.touch.iter().chain(&self.created).chain(&self.mark)
    }

    /// Checks that SQLite stores values of the declared types as they are, for a table that it creates.
    ///
    /// # Errors
    ///
    /// SQLite does not know a type, and would take texts for numbers.
    pub fn check_sqlite(&self) -> Result<(), String> {
        let declared = self.columns.iter().flatten().filter_map(|(name, of)| Some((name, of.as_ref()?)));
        let unknown = |of: &str| {
            matches!(Kind::of(of, Dialect::Sqlite), Kind::Other | Kind::Uuid) && Affinity::of(of).converts()
        };
        match declared.into_iter().find(|(_, of)| unknown(of)) {
            Some((column, of)) => Err(format!(
                "`create`: SQLite does not know the type {of} of the column `{column}` of `{}`, and would store some \
                 texts as numbers; use text",
                self.name.text()
            )),
            None => Ok(()),
        }
    }

    fn check(&self, create: bool) -> Result<(), String> {
        let table = self.name.text();
        if self.key.is_empty() {
            return Err(format!("`key` of `{table}` has no column; name at least one"));
        }
        let mut own = BTreeSet::new();
        if let Some(column) = self.own().find(|column| self.key.contains(column) || !own.insert(*column)) {
            let settings = "`key`, `touch`, `created` and `mark`";
            return Err(format!("{settings} of `{table}` name the column `{column}` twice; remove one"));
        }
        let Some(columns) = &self.columns else {
            return match create {
                true => Err(format!("`create` needs `columns` of `{table}`, each with a type")),
                false => Ok(()),
            };
        };
        let contains = |column: &str| columns.iter().any(|(name, _)| name == column);
        if let Some((column, _)) = columns.iter().find(|(column, _)| !is_name(column)) {
            return Err(format!("`columns` of `{table}`: invalid name {column:?}; use the name of a column"));
        }
        if let Some(column) = self.key.iter().find(|column| !contains(column)) {
            return Err(format!("`columns` of `{table}` lacks the column `{column}` of `key`; add it"));
        }
        if let Some(column) = self.own().find(|column| contains(column)) {
            return Err(format!(
                "`columns` of `{table}` contains `{column}`, which importer sets by itself; remove it there, or from `touch`, `created` or `mark`"
            ));
        }
        match columns.iter().find(|(_, of)| create && of.is_none()) {
            Some((column, _)) => {
                Err(format!("`create` needs a type of the column `{column}` in `columns` of `{table}`"))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
