//! Types of columns, by their names, and which JSON values they take. Pure.

use std::borrow::Cow;

use super::{
    decimal,
    times::{self, Zone},
};
use crate::base::{json::Value, record::Reason};

/// The database management systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A text of at most this number of characters.
    Text(Option<usize>),
    /// A whole number within these bounds.
    Integer(i64, i64),
    /// A decimal number with at most these numbers of digits before and after the point.
    Decimal(Option<(i32, i32)>),
    /// A binary number of at most this size.
    Float(f64),
    Boolean,
    /// A date with a time; `true`: of a time zone.
    Timestamp(bool),
    Date,
    Uuid,
    Json,
    /// Any other type: the database decides.
    Other,
}

/// How SQLite converts the values of a column (<https://www.sqlite.org/datatype3.html#determination_of_column_affinity>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Affinity {
    Integer,
    Text,
    /// Values stay as they are.
    Blob,
    Real,
    Numeric,
}

impl Affinity {
    /// Reads the name of a type.
    pub fn of(name: &str) -> Self {
        let name = name.to_lowercase();
        let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
        match () {
            () if has(&["int"]) => Affinity::Integer,
            () if has(&["char", "clob", "text"]) => Affinity::Text,
            () if name.trim().is_empty() || has(&["blob"]) => Affinity::Blob,
            () if has(&["real", "floa", "doub"]) => Affinity::Real,
            () => Affinity::Numeric,
        }
    }

    /// Returns whether a text that is a number becomes one.
    pub fn converts(self) -> bool {
        !matches!(self, Affinity::Text | Affinity::Blob)
    }
}

pub const NUL: Reason = "nul_in_text";
pub const NOT_UNICODE: Reason = "not_unicode";
pub const TOO_LONG: Reason = "text_too_long";
pub const OUT_OF_RANGE: Reason = "out_of_range";
pub const NO_TIME_ZONE: Reason = "no_time_zone";
pub const WRONG_KIND: Reason = "wrong_kind";

/// JSON text of null.
const NULL: Cow<str> = Cow::Borrowed("null");

impl Kind {
    /// Reads the name of a type, as people write it or as the database lists it.
    pub fn of(name: &str, dialect: Dialect) -> Self {
        let name = name.trim().to_lowercase();
        let (before, rest) = name.split_once('(').unwrap_or((&name, ""));
        let (numbers, after) = rest.split_once(')').unwrap_or(("", rest));
        let numbers: Vec<usize> =
            numbers.split(',').filter_map(|number| number.trim().parse().ok()).collect();
        let zone = before.contains("with time zone") || after.contains("with time zone");
        let first = numbers.first().copied();
        let whole = match dialect {
            Dialect::Sqlite => Kind::Integer(i64::MIN, i64::MAX),
            Dialect::Postgres => Kind::Integer(i32::MIN.into(), i32::MAX.into()),
        };
        if name.ends_with("[]") {
            return Kind::Other;
        }
        match before.split(" with").next().unwrap_or_default().trim() {
            "character varying" | "varchar" | "nvarchar" | "bpchar" => Kind::Text(first),
            "character" | "char" if dialect == Dialect::Postgres => Kind::Text(first.or(Some(1))),
            "character" | "char" | "nchar" => Kind::Text(first),
            "text" | "clob" => Kind::Text(None),
            "smallint" | "int2" | "smallserial" if dialect == Dialect::Postgres => {
                Kind::Integer(i16::MIN.into(), i16::MAX.into())
            }
            "integer" | "int" | "int4" | "serial" => whole,
            "bigint" | "int8" | "bigserial" => Kind::Integer(i64::MIN, i64::MAX),
            other if dialect == Dialect::Sqlite && other.ends_with("int") => whole,
            "numeric" | "decimal" => {
                let scale = numbers.get(1).copied().unwrap_or(0) as i32;
                Kind::Decimal(first.map(|digits| (digits as i32 - scale, scale)))
            }
            "real" | "float4" if dialect == Dialect::Postgres => Kind::Float(f32::MAX.into()),
            "real" | "double precision" | "double" | "float" | "float8" => Kind::Float(f64::MAX),
            "boolean" | "bool" => Kind::Boolean,
            "timestamp" | "datetime" => Kind::Timestamp(zone),
            "timestamptz" => Kind::Timestamp(true),
            "date" => Kind::Date,
            "uuid" => Kind::Uuid,
            "json" | "jsonb" => Kind::Json,
            _ => Kind::Other,
        }
    }

    /// Returns whether a column of this kind can store values that are declared to be of `other`.
    pub fn holds(self, other: Kind) -> bool {
        matches!(self, Kind::Text(_) | Kind::Other) || other == Kind::Other || self.is_like(other)
    }

    /// Returns whether two kinds differ in their bounds only.
    pub fn is_like(self, other: Kind) -> bool {
        let family = |kind: Kind| match kind {
            Kind::Text(_) => 0,
            Kind::Integer(..) | Kind::Decimal(_) | Kind::Float(_) => 1,
            Kind::Boolean => 2,
            Kind::Timestamp(_) | Kind::Date => 3,
            Kind::Uuid => 4,
            Kind::Json => 5,
            Kind::Other => 6,
        };
        family(self) == family(other)
    }

    /// Returns the JSON text that is sent for a value. With `cast`, the entry declares the type, so a value of another
    /// kind is converted if that loses nothing.
    ///
    /// # Errors
    ///
    /// The reason why the column can't store the value.
    pub fn take(self, value: Value<'_>, cast: bool) -> Result<Cow<'_, str>, Reason> {
        if value.is_null() {
            return Ok(NULL);
        }
        let raw = value.raw();
        let text = match value.text() {
            Some(text) if text.contains('\0') => return Err(NUL),
            None if value.is_text() => return Err(NOT_UNICODE),
            text => text,
        };
        match (self, text) {
            (Kind::Json, _) => Ok(raw.into()),
            (Kind::Text(most), Some(text)) => fits(most, &text).map(|()| raw.into()),
            (Kind::Text(most), None) if cast => {
                fits(most, raw).map(|()| serde_json::Value::from(raw).to_string().into())
            }
            (Kind::Integer(least, most), text) => {
                let number = text.filter(|_| cast).unwrap_or(raw.into());
                whole(number.trim(), least, most).map(|()| raw.into())
            }
            (Kind::Decimal(_) | Kind::Float(_), text) => {
                let number = text.filter(|_| cast).unwrap_or(raw.into());
                self.number(number.trim()).map(|()| raw.into())
            }
            (Kind::Boolean, None) if matches!(raw, "true" | "false") => Ok(raw.into()),
            (Kind::Boolean, Some(text)) if cast && matches!(&*text, "true" | "false") => {
                Ok(text.into_owned().into())
            }
            (Kind::Timestamp(zoned), Some(text)) => match times::zone(&text) {
                None => Err(WRONG_KIND),
                Some(Zone::Absent) if zoned => Err(NO_TIME_ZONE),
                Some(_) => Ok(raw.into()),
            },
            (Kind::Date, Some(text)) if times::is_date(&text) => Ok(raw.into()),
            (Kind::Uuid, Some(text)) if is_uuid(&text) => Ok(raw.into()),
            (Kind::Other, _) => Ok(raw.into()),
            _ => Err(WRONG_KIND),
        }
    }

    /// Checks a text that has to be a number of this kind.
    fn number(self, text: &str) -> Result<(), Reason> {
        let plain = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        let number: f64 = text.parse().ok().filter(|_| plain).ok_or(WRONG_KIND)?;
        let most = match self {
            Kind::Float(most) => most,
            Kind::Decimal(Some((_, scale))) if decimal::scale(text) > scale.into() => {
                return Err(OUT_OF_RANGE);
            }
            Kind::Decimal(Some((digits, _))) => 10f64.powi(digits),
            _ => return Ok(()),
        };
        let exceeds = if matches!(self, Kind::Float(_)) { number.abs() > most } else { number.abs() >= most };
        if exceeds { Err(OUT_OF_RANGE) } else { Ok(()) }
    }
}

fn fits(most: Option<usize>, text: &str) -> Result<(), Reason> {
    match most {
        Some(most) if text.len() > most && text.chars().count() > most => Err(TOO_LONG),
        _ => Ok(()),
    }
}

/// Checks a text that has to be a whole number.
fn whole(text: &str, least: i64, most: i64) -> Result<(), Reason> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(WRONG_KIND);
    }
    match text.parse::<i64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(()),
        _ => Err(OUT_OF_RANGE),
    }
}

fn is_uuid(text: &str) -> bool {
    let hex: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
    let dashes: Vec<usize> =
        text.bytes().enumerate().filter(|(_, byte)| *byte == b'-').map(|(at, _)| at).collect();
    hex.len() == 32
        && hex.iter().all(u8::is_ascii_hexdigit)
        && (dashes.is_empty() || dashes == [8, 13, 18, 23])
}

#[cfg(test)]
#[path = "kind_tests.rs"]
mod tests;
