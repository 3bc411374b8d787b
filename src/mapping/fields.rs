//! The mapping `fields`: the payload has the fields that the entry declares. Each is a constant, or copied
//! from the record, optionally under another name or as another type.
//!
//! ```json
//! {"type": "fields", "fields": {"id": "id", "start": {"from": "start_time", "as": "time"}, "kind": {"value": "shift"}}}
//! ```

mod cast;

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use serde::Deserialize;
use serde_json::{Map, Value};

use self::cast::Cast;
use super::Mapping;
use crate::base::{
    adapter::Chosen,
    json::{self, Json},
    record::{LeftOut, Mapped, Outgoing, Reason, Record, UNREADABLE},
    spec::{Makes, Setting, Spec, ValueKind},
};

pub const SPEC: Spec = Spec {
    settings: &[Setting::new(
        "fields",
        ValueKind::Map(&ValueKind::Either(&[ValueKind::Text, ValueKind::Object(FIELD)])),
        "The fields of the payload: each is the path of a value in the record, or an object with `from` and `as`, or with `value`.",
    )
    .required()],
    makes: Makes::Any,
    ..Spec::new("fields", "Fields that the entry names, copied from the record or constant.")
};
const FIELD: &[Setting] = &[
    Setting::new("from", ValueKind::Text, "Path of the value in the record, such as position.name."),
    Setting::new(
        "as",
        ValueKind::Word(&["text", "number", "flag", "time", "date"]),
        "Type to which the value is converted; the value as it is if absent.",
    ),
    Setting::new("value", ValueKind::Any, "A constant, instead of a path."),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Declarations by the name of the field in the payload.
    fields: Map<String, Value>,
}

/// Declaration of a field of the payload.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "the path of a field, or an object")]
struct Declared {
    from: Option<String>,
    #[serde(rename = "as")]
    cast: Option<Cast>,
    value: Option<Value>,
}

/// Where the value of a field comes from.
enum Origin {
    /// The keys that lead to the value, the index of the first one, and the value's type if one is declared.
    Path(Vec<String>, usize, Option<Cast>),
    /// JSON text.
    Constant(String),
}

/// Records of a run before it reports a field that none of them has. A few records may lack a field by
/// chance.
const ENOUGH: usize = 10;

/// Mapping with the fields of one entry.
pub struct Fields {
    fields: Vec<Field>,
    /// The top-level fields of a record that the paths begin with, each with its index.
    first: HashMap<String, usize>,
    /// Records of the run so far.
    records: AtomicUsize,
    /// Bytes of the last payload, for which the next one reserves space.
    last_size: AtomicUsize,
}

/// A field of the payload.
struct Field {
    name: String,
    /// The name as JSON text, with a colon.
    label: String,
    origin: Origin,
    /// Whether any record of the run had the field.
    found: AtomicBool,
}

impl Fields {
    /// Returns the mapping of an entry.
    ///
    /// # Errors
    ///
    /// No field is declared, or a declaration is invalid. The message names the field.
    pub fn open(chosen: &Chosen) -> Result<Self, String> {
        let Settings { fields } = chosen.settings(SPEC.settings)?;
        if fields.is_empty() {
            return Err("fields: `fields` is empty; declare at least one field".into());
        }
        let mut first = HashMap::new();
        let fields = fields.into_iter().map(|(name, said)| {
            let origin = origin(said, &mut first).map_err(|why| format!("fields: `fields.{name}`: {why}"))?;
            let label = format!("{}:", Value::from(name.as_str()));
            Ok(Field { name, label, origin, found: AtomicBool::new(false) })
        });
        let fields = fields.collect::<Result<_, String>>()?;
        Ok(Fields { fields, first, records: AtomicUsize::new(0), last_size: AtomicUsize::new(0) })
    }

    /// Returns the top-level fields that the paths begin with, by index. Each path looking for its own would take
    /// most of the time of the mapping.
    fn tops<'a>(&self, body: json::Value<'a>) -> Vec<Option<json::Value<'a>>> {
        let mut tops = vec![None; self.first.len()];
        if body.is_array() {
            self.first.iter().for_each(|(name, index)| tops[*index] = step(body, name));
        }
        for (name, value) in body.fields() {
            if let Some(index) = self.first.get(&*name.text()) {
                tops[*index] = Some(value);
            }
        }
        tops
    }
}

fn origin(said: Value, first: &mut HashMap<String, usize>) -> Result<Origin, String> {
    let declared = match said {
        Value::String(from) => Declared { from: Some(from), cast: None, value: None },
        said => serde_json::from_value(said).map_err(|error| error.to_string())?,
    };
    match declared {
        Declared { from: Some(from), cast, value: None } if !from.split('.').any(str::is_empty) => {
            let path: Vec<String> = from.split('.').map(str::to_owned).collect();
            let next = first.len();
            let index = *first.entry(path[0].clone()).or_insert(next);
            Ok(Origin::Path(path, index, cast))
        }
        Declared { from: None, cast: None, value: Some(value) } => Ok(Origin::Constant(value.to_string())),
        _ => {
            Err("use either `from`, the path of a field such as \"position.name\", optionally with `as`; or `value`"
                .into())
        }
    }
}

impl Mapping for Fields {
    fn fields(&self) -> Option<Vec<String>> {
        let mut fields: Vec<_> = self.first.iter().collect();
        fields.sort_by_key(|(_, index)| **index);
        Some(fields.into_iter().map(|(name, _)| name.clone()).collect())
    }

    fn unknown(&self) -> Vec<String> {
        if self.records.load(Ordering::Relaxed) < ENOUGH {
            return vec![];
        }
        let missing = self.fields.iter().filter(|field| !field.found.load(Ordering::Relaxed));
        let name = |field: &Field| match &field.origin {
            Origin::Path(path, ..) => Some(format!("the field `{}`", path.join("."))),
            Origin::Constant(_) => None,
        };
        missing.filter_map(name).collect()
    }

    fn map(&self, record: &Record) -> Mapped {
        let tops = self.tops(record.body.value());
        let (mut payload, mut left_out) =
            (String::with_capacity(self.last_size.load(Ordering::Relaxed)), vec![]);
        self.records.fetch_add(1, Ordering::Relaxed);
        payload.push('{');
        for Field { name, label, origin, found } in &self.fields {
            let before = payload.len();
            payload.push_str(if before > 1 { "," } else { "" });
            payload.push_str(label);
            let written = write(origin, &tops, &mut payload);
            if written != Ok(false) && !found.load(Ordering::Relaxed) {
                found.store(true, Ordering::Relaxed);
            }
            match written {
                Ok(true) => continue,
                Ok(false) => {}
                Err(UNREADABLE) => return Mapped::Reject(UNREADABLE),
                Err(reason) => left_out.push(LeftOut { field: name.clone().into(), reason }),
            }
            payload.truncate(before);
        }
        payload.push('}');
        self.last_size.store(payload.len(), Ordering::Relaxed);
        match Json::read(payload) {
            Ok(body) => Mapped::Send(Outgoing { left_out, ..Outgoing::plain(vec![body]) }),
            Err(_) => Mapped::Reject("unwritable"),
        }
    }
}

/// Writes the value of a field. Returns `false` if the record lacks the field.
///
/// # Errors
///
/// The reason why the value can't be converted, or [`UNREADABLE`].
fn write(origin: &Origin, tops: &[Option<json::Value>], payload: &mut String) -> Result<bool, Reason> {
    let (rest, top, cast) = match origin {
        Origin::Constant(value) => {
            payload.push_str(value);
            return Ok(true);
        }
        Origin::Path(path, index, cast) => (&path[1..], tops[*index], cast),
    };
    let found = top.and_then(|top| rest.iter().try_fold(top, |value, name| step(value, name)));
    let Some(value) = found else { return Ok(false) };
    match (value.plain_text(), cast) {
        // Nearly all values are texts, which stay as they are.
        (Some(_), None | Some(Cast::Text)) => payload.push_str(value.raw()),
        _ if value.is_null() => payload.push_str(value.raw()),
        _ => {
            let value: Value = value.parse().ok_or(UNREADABLE)?;
            let value = cast.map_or(Ok(value.clone()), |cast| cast.apply(&value))?;
            payload.push_str(&value.to_string());
        }
    }
    Ok(true)
}

/// Returns a field of an object, or an item of an array by its index.
fn step<'a>(value: json::Value<'a>, name: &str) -> Option<json::Value<'a>> {
    match value.is_array() {
        true => value.items().nth(name.parse().ok()?),
        false => value.field(name),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{json, value::RawValue};

    use super::*;

    fn record(body: &Value) -> Record {
        let body = RawValue::from_string(body.to_string()).unwrap();
        Record {
            key: "1".into(),
            changed: None,
            status: "none".into(),
            deleted: false,
            unreadable: None,
            body: body.into(),
        }
    }

    /// Returns the payload, and the fields that are left out with their reasons.
    fn mapped(fields: &Value, body: &Value) -> (Value, Vec<String>) {
        let chosen = Chosen::of(&json!({"type": "fields", "fields": fields}), "");
        match Fields::open(&chosen).unwrap().map(&record(body)) {
            Mapped::Send(Outgoing { bodies, left_out, .. }) => {
                let body = &bodies[0];
                let left_out = left_out.into_iter().map(|left| format!("{} {}", left.field, left.reason));
                (serde_json::from_str(body.get()).unwrap(), left_out.collect())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fields_are_copied_renamed_or_constant_and_absent_ones_are_not_sent() {
        let fields = json!({"id": "id", "who": "user.name", "first": "breaks.0.id", "kind": {"value": "shift"},
            "gone": "nothing.here", "notes": "notes"});
        let body = json!({"id": 7, "user": {"name": "Ada"}, "breaks": [{"id": 1}, {"id": 2}], "notes": null, "more": 1});
        assert_eq!(
            mapped(&fields, &body),
            (json!({"id": 7, "who": "Ada", "first": 1, "kind": "shift", "notes": null}), vec![])
        );
    }

    #[test]
    fn values_are_converted_or_left_out_with_a_reason() {
        for (value, cast, expected) in [
            (json!(7), "text", Ok(json!("7"))),
            (json!({}), "text", Err("a not_a_text")),
            (json!(" 7.5 "), "number", Ok(json!(7.5))),
            (json!("seven"), "number", Err("a not_a_number")),
            (json!(1), "flag", Ok(json!(true))),
            (json!("FALSE"), "flag", Ok(json!(false))),
            (json!(2), "flag", Err("a not_a_flag")),
            (json!("Mon, 08 May 2023 08:30:00 -0600"), "time", Ok(json!("2023-05-08T14:30:00Z"))),
            (json!("2023-05-08T08:30:00-06:00"), "time", Ok(json!("2023-05-08T14:30:00Z"))),
            (json!(0), "time", Ok(json!("1970-01-01T00:00:00Z"))),
            (json!("soon"), "time", Err("a not_a_time")),
            (json!("Mon, 08 May 2023 23:30:00 -0600"), "date", Ok(json!("2023-05-08"))),
            (json!([]), "date", Err("a not_a_date")),
            (json!(null), "date", Ok(json!(null))),
        ] {
            let (payload, left_out) = mapped(&json!({"a": {"from": "v", "as": cast}}), &json!({"v": value}));
            match expected {
                Ok(expected) => assert_eq!((&payload["a"], left_out.len()), (&expected, 0), "{value} {cast}"),
                Err(expected) => assert_eq!((payload, left_out), (json!({}), vec![expected.to_owned()])),
            }
        }
    }

    #[test]
    fn an_invalid_declaration_is_reported_with_its_field() {
        let told = |fields: Value| {
            Fields::open(&Chosen::of(&json!({"type": "fields", "fields": fields}), "")).err().unwrap()
        };
        assert_eq!(told(json!({})), "fields: `fields` is empty; declare at least one field");
        for wrong in [
            json!({"from": "a", "value": 1}),
            json!({}),
            json!({"from": "a..b"}),
            json!({"value": 1, "as": "text"}),
        ] {
            assert!(told(json!({"a": wrong})).starts_with("fields: `fields.a`: use either `from`"));
        }
        assert!(told(json!({"a": {"from": "a", "as": "int"}})).contains("unknown variant `int`"));
    }

    #[test]
    fn a_path_that_no_record_has_is_reported_after_ten_records() {
        let chosen = Chosen::of(
            &json!({"type": "fields", "fields": {"a": "x", "b": "tpyo.y", "c": {"value": 1}}}),
            "",
        );
        let fields = Fields::open(&chosen).unwrap();
        for _ in 0..ENOUGH {
            assert_eq!(fields.unknown(), Vec::<String>::new());
            fields.map(&record(&json!({"x": null})));
        }
        assert_eq!(fields.unknown(), ["the field `tpyo.y`"]);
    }

    #[test]
    fn only_the_fields_in_use_are_requested() {
        let chosen = Chosen::of(&json!({"type": "fields", "fields": {"a": "x.y", "b": {"value": 1}}}), "");
        assert_eq!(Fields::open(&chosen).unwrap().fields(), Some(vec!["x".to_owned()]));
    }
}
