//! Tests of the types of columns, as tables.

use super::{Dialect::*, *};
use crate::base::json::Json;

const BIG: Kind = Kind::Integer(i64::MIN, i64::MAX);

#[test]
fn a_type_is_read_from_its_name_as_people_and_databases_write_it() {
    for (name, dialect, expected) in [
        ("character varying(255)", Postgres, Kind::Text(Some(255))),
        ("VARCHAR (3)", Sqlite, Kind::Text(Some(3))),
        ("character varying", Postgres, Kind::Text(None)),
        ("char", Postgres, Kind::Text(Some(1))),
        ("char", Sqlite, Kind::Text(None)),
        ("TEXT", Sqlite, Kind::Text(None)),
        ("smallint", Postgres, Kind::Integer(-32768, 32767)),
        ("integer", Postgres, Kind::Integer(-2147483648, 2147483647)),
        ("INTEGER", Sqlite, BIG),
        ("tinyint", Sqlite, BIG),
        ("bigserial", Postgres, BIG),
        ("numeric(10,2)", Postgres, Kind::Decimal(Some((8, 2)))),
        ("decimal(4, 0)", Sqlite, Kind::Decimal(Some((4, 0)))),
        ("numeric", Postgres, Kind::Decimal(None)),
        ("real", Postgres, Kind::Float(f32::MAX as f64)),
        ("REAL", Sqlite, Kind::Float(f64::MAX)),
        ("double precision", Postgres, Kind::Float(f64::MAX)),
        ("timestamp(0) without time zone", Postgres, Kind::Timestamp(false)),
        ("timestamp without time zone", Postgres, Kind::Timestamp(false)),
        ("timestamp(3) with time zone", Postgres, Kind::Timestamp(true)),
        ("timestamp with time zone", Postgres, Kind::Timestamp(true)),
        ("timestamptz", Sqlite, Kind::Timestamp(true)),
        ("DATETIME", Sqlite, Kind::Timestamp(false)),
        ("date", Postgres, Kind::Date),
        ("uuid", Postgres, Kind::Uuid),
        ("jsonb", Postgres, Kind::Json),
        ("integer[]", Postgres, Kind::Other),
        ("character varying(5)[]", Postgres, Kind::Other),
        ("citext", Postgres, Kind::Other),
        ("time without time zone", Postgres, Kind::Other),
        ("", Sqlite, Kind::Other),
    ] {
        assert_eq!(Kind::of(name, dialect), expected, "{name}");
    }
}

#[test]
fn a_column_takes_values_of_its_kind_and_names_the_reason_for_others() {
    let small = Kind::Integer(-10, 10);
    for (kind, value, expected) in [
        (Kind::Text(Some(3)), r#""abc""#, Ok(r#""abc""#)),
        (Kind::Text(Some(3)), r#""äöü""#, Ok(r#""äöü""#)),
        (Kind::Text(Some(3)), r#""abcd""#, Err(TOO_LONG)),
        (Kind::Text(None), r#""a\u0000""#, Err(NUL)),
        (Kind::Other, r#""a\u0000""#, Err(NUL)),
        (Kind::Text(None), r#""a\ud800""#, Err(NOT_UNICODE)),
        (Kind::Text(None), "7", Err(WRONG_KIND)),
        (Kind::Text(None), "null", Ok("null")),
        (small, "-10", Ok("-10")),
        (small, "11", Err(OUT_OF_RANGE)),
        (BIG, "9223372036854775807", Ok("9223372036854775807")),
        (BIG, "9223372036854775808", Err(OUT_OF_RANGE)),
        (BIG, "99999999999999999999999999", Err(OUT_OF_RANGE)),
        (BIG, "1.0", Err(WRONG_KIND)),
        (BIG, "1e3", Err(WRONG_KIND)),
        (BIG, r#""7""#, Err(WRONG_KIND)),
        (BIG, "true", Err(WRONG_KIND)),
        (Kind::Decimal(Some((2, 2))), "99.990", Ok("99.990")),
        (Kind::Decimal(Some((2, 2))), "1.005", Err(OUT_OF_RANGE)),
        (Kind::Decimal(Some((2, 2))), "100", Err(OUT_OF_RANGE)),
        (Kind::Decimal(None), "12345678901234567890.5", Ok("12345678901234567890.5")),
        (Kind::Float(f32::MAX as f64), "1e39", Err(OUT_OF_RANGE)),
        (Kind::Float(f64::MAX), "1e39", Ok("1e39")),
        (Kind::Float(f64::MAX), "1e999", Err(OUT_OF_RANGE)),
        (Kind::Float(f64::MAX), "[1]", Err(WRONG_KIND)),
        (Kind::Boolean, "false", Ok("false")),
        (Kind::Boolean, "0", Err(WRONG_KIND)),
        (Kind::Timestamp(true), r#""2026-11-28T10:00:00Z""#, Ok(r#""2026-11-28T10:00:00Z""#)),
        (Kind::Timestamp(true), r#""2026-11-28T10:00:00""#, Err(NO_TIME_ZONE)),
        (Kind::Timestamp(false), r#""2026-11-28T10:00:00""#, Ok(r#""2026-11-28T10:00:00""#)),
        (Kind::Timestamp(false), r#""soon""#, Err(WRONG_KIND)),
        (Kind::Timestamp(false), "1764324000", Err(WRONG_KIND)),
        (Kind::Date, r#""2026-11-28""#, Ok(r#""2026-11-28""#)),
        (Kind::Date, r#""2026-11-31""#, Err(WRONG_KIND)),
        (
            Kind::Uuid,
            r#""2b1f4bde-0d1c-4e0e-9f0a-9b5a0c1d2e3f""#,
            Ok(r#""2b1f4bde-0d1c-4e0e-9f0a-9b5a0c1d2e3f""#),
        ),
        (Kind::Uuid, r#""2b1f4bde0d1c-4e0e-9f0a-9b5a0c1d2e3f""#, Err(WRONG_KIND)),
        (Kind::Json, r#"{"a": [1]}"#, Ok(r#"{"a": [1]}"#)),
        (Kind::Other, "[1, 2]", Ok("[1, 2]")),
    ] {
        let json = Json::read(value.to_owned()).unwrap();
        assert_eq!(
            kind.take(json.value(), false).as_deref(),
            expected.as_ref().map(|text| *text),
            "{kind:?} {value}"
        );
    }
}

#[test]
fn a_declared_type_converts_values_that_lose_nothing() {
    for (kind, value, expected) in [
        (Kind::Text(None), "7.10", Ok(r#""7.10""#)),
        (Kind::Text(Some(2)), "true", Err(TOO_LONG)),
        (Kind::Text(None), r#"{"a":"b"}"#, Ok(r#""{\"a\":\"b\"}""#)),
        (BIG, r#""17""#, Ok(r#""17""#)),
        (BIG, r#""17.5""#, Err(WRONG_KIND)),
        (BIG, r#""99999999999999999999""#, Err(OUT_OF_RANGE)),
        (Kind::Float(f64::MAX), r#""1.5""#, Ok(r#""1.5""#)),
        (Kind::Float(f64::MAX), r#""inf""#, Err(WRONG_KIND)),
        (Kind::Boolean, r#""true""#, Ok("true")),
        (Kind::Boolean, r#""yes""#, Err(WRONG_KIND)),
    ] {
        let json = Json::read(value.to_owned()).unwrap();
        assert_eq!(
            kind.take(json.value(), true).as_deref(),
            expected.as_ref().map(|text| *text),
            "{kind:?} {value}"
        );
    }
}

#[test]
fn a_column_can_store_a_declared_type_of_its_own_family_or_as_a_text() {
    for (column, declared, holds) in [
        (BIG, Kind::Decimal(None), true),
        (Kind::Text(None), Kind::Boolean, true),
        (Kind::Other, Kind::Uuid, true),
        (Kind::Uuid, Kind::Other, true),
        (Kind::Timestamp(false), Kind::Timestamp(true), true),
        (Kind::Date, Kind::Boolean, false),
        (BIG, Kind::Text(None), false),
        (Kind::Json, Kind::Text(None), false),
    ] {
        assert_eq!(column.holds(declared), holds, "{column:?} {declared:?}");
    }
}

#[test]
fn sqlite_converts_the_texts_of_columns_whose_type_it_does_not_know() {
    for (of, affinity) in [
        ("", Affinity::Blob),
        ("VARCHAR(5)", Affinity::Text),
        ("bigint", Affinity::Integer),
        ("point", Affinity::Integer),
        ("double precision", Affinity::Real),
        ("string", Affinity::Numeric),
        ("uuid", Affinity::Numeric),
        ("blob", Affinity::Blob),
    ] {
        assert_eq!(Affinity::of(of), affinity, "{of}");
    }
}
