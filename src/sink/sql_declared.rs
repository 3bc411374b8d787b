//! Declaration of the sink `sql`, which every build has: only one with the feature `sql` can open it.

use crate::base::spec::{Setting, Spec, ValueKind, Variable};

pub const SPEC: Spec = Spec {
    settings: SETTINGS,
    variables: &[URL, HOSTS, PASSWORD],
    ..Spec::new("sql", "Rows of tables in SQLite or PostgreSQL.")
};

/// Beginning of the address of a SQLite file, which is no credential.
pub(super) const SQLITE: &str = "sqlite:";
/// Address of the database, with its password.
pub(super) const URL: Variable =
    Variable::new("SQL_URL", "address of the database of the sink sql, with user and password").credential();
/// Hosts that may get the password. The state file names the host, and people who may edit it must not gain the
/// password by that.
pub(super) const HOSTS: Variable =
    Variable::new("SQL_HOSTS", "hosts to which the sink sql may connect, if its settings name the host");
pub(super) const PASSWORD: Variable =
    Variable::new("SQL_PASSWORD", "password of the sink sql, if its settings name the host").credential();

/// A name in the database.
const NAME: ValueKind = ValueKind::Text;
/// One name, or several.
const NAMES: ValueKind = ValueKind::Either(&[NAME, ValueKind::List(&NAME)]);
/// A table, possibly with its schema.
const TABLE_NAME: ValueKind = ValueKind::Pattern(r"^[^.]+(\.[^.]+)?$");
/// A type of the database: words, a length or a precision, and `[]`.
const COLUMN_TYPE: ValueKind = ValueKind::Pattern(TYPE);
const TYPE: &str = r"^[A-Za-z][A-Za-z0-9_]*( [A-Za-z][A-Za-z0-9_]*)*( ?\([0-9]+(, ?[0-9]+)?\)( [A-Za-z][A-Za-z0-9_]*)*)?(\[\])?$";

const TABLE: Setting =
    Setting::new("table", TABLE_NAME, "Table of the rows, such as people or public.people.").identifies();
const KEY: Setting = Setting::new("key", NAMES, "Column, or columns, that identify a row.");
const COLUMNS: Setting = Setting::new(
    "columns",
    ValueKind::Map(&ValueKind::Either(&[COLUMN_TYPE, ValueKind::Null])),
    "Columns that are written, each with a type or null; if absent, the columns that both the table and the payload have.",
);
const TOUCH: Setting = Setting::new(
    "touch",
    NAMES,
    "Columns that get the current time when a row is inserted, and when another column changes.",
);
const CREATED: Setting =
    Setting::new("created", NAMES, "Columns that get the current time when a row is inserted.");

/// Declaration of the settings.
pub const SETTINGS: &[Setting] = &[
    Setting::new(
        "url",
        ValueKind::Text,
        "Path of a SQLite file, such as sqlite:out/data.db, or a reference to the address of a database.",
    )
    .credential(URL.name)
    .or_literal(SQLITE),
    Setting::new("host", ValueKind::Text, "Host of PostgreSQL, if there is no `url`.").identifies(),
    Setting::new(
        "port",
        ValueKind::Whole { least: 1, most: Some(65535) },
        "Port of PostgreSQL; 5432 if absent.",
    )
    .identifies(),
    Setting::new(
        "database",
        ValueKind::Text,
        "Database on the host; if absent, the one with the name of the user.",
    )
    .identifies(),
    Setting::new("user", ValueKind::Text, "User of the database.").identifies(),
    Setting::new("password", ValueKind::Text, "Reference to the password of the user.")
        .credential(PASSWORD.name),
    TABLE,
    KEY,
    COLUMNS,
    TOUCH,
    CREATED,
    Setting::new(
        "tables",
        ValueKind::List(&ValueKind::Object(TABLES)),
        "Several tables in place of `table`, parents before children.",
    )
    .identifies(),
    Setting::new(
        "on_delete",
        ValueKind::Either(&[ValueKind::Word(&["delete", "ignore"]), ValueKind::Object(&[MARK])]),
        "What a deletion does: delete, ignore, or {\"mark\": \"deleted_at\"}.",
    )
    .default("\"delete\""),
    Setting::new(
        "atomic",
        ValueKind::Flag,
        "Whether a pass over the source is one transaction, so that nobody sees half of it.",
    )
    .default("false"),
    Setting::new("create", ValueKind::Flag, "Whether missing tables are created.").default("false"),
];
const MARK: Setting =
    Setting::new("mark", NAME, "Column that marks a deleted row: a boolean, or a time.").required();
const TABLES: &[Setting] = &[
    Setting { required: true, ..TABLE },
    Setting { required: true, ..KEY },
    COLUMNS,
    TOUCH,
    CREATED,
    Setting::new(
        "rows",
        ValueKind::Text,
        "Path of the rows in a payload: an object or an array of objects; the payload itself if absent.",
    ),
    Setting::new(
        "count",
        ValueKind::Flag,
        "Whether a record whose rows differ only in this table counts as sent.",
    )
    .default("true"),
];
