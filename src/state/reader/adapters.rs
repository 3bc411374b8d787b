//! Reads the raw settings of source, mapping, sink and notify, the durations, and `unchanged`. The types of adapters
//! are not known here.

use chrono::TimeDelta;
use jsonc_parser::ast::{Object, Value};

use super::Reader;
use crate::{
    base::{declared::is_name, time},
    state::{
        fields::{Field, FieldKind, STORES, UNCHANGED},
        model::{EXPIRE, RawSetting, Remember},
    },
};

const A_SPAN: &str = "a duration of at least one second, such as \"30s\", \"5m\", \"2h\" or \"7d\"";

const A_SHORT_SPAN: &str = "a duration from one second to one day, such as \"60s\" or \"2h\"";

impl Reader<'_> {
    /// Reads a raw setting: a text, or an object with a `type`. Does not check whether the type exists.
    pub fn said(&mut self, object: &Object, field: &Field) -> RawSetting {
        let Some(prop) = object.get(field.name) else {
            let (value, order) = Default::default();
            return RawSetting { value, order, place: self.place(object) };
        };
        let named = |value: &Value| value.as_string_lit().is_some_and(|text| is_name(&text.value));
        let fits = match &prop.value {
            Value::Object(inner) => {
                self.refuse_repeats_within(&prop.value);
                inner.get("type").is_some_and(|prop| named(&prop.value))
            }
            value => named(value),
        };
        if !fits {
            self.unexpected(prop, "a type, or an object with a `type`");
        }
        let mut order = vec![];
        members(&prop.value, &[], &mut order);
        RawSetting { value: prop.value.clone().into(), order: order.into(), place: self.place(&prop.value) }
    }

    /// Reports duplicate keys at any depth.
    pub(super) fn refuse_repeats_within(&mut self, value: &Value) {
        match value {
            Value::Object(object) => {
                self.refuse_repeated_keys(object);
                object.properties.iter().for_each(|prop| self.refuse_repeats_within(&prop.value));
            }
            Value::Array(array) => array.elements.iter().for_each(|value| self.refuse_repeats_within(value)),
            _ => {}
        }
    }

    /// Reads a duration within the field's bounds. Returns the default if the field is absent, or with a
    /// problem if it is invalid.
    pub fn span(&mut self, object: &Object, field: &Field) -> TimeDelta {
        let default = field.default.and_then(|text| time::span(text.trim_matches('"'))).unwrap_or_default();
        let Some(prop) = object.get(field.name) else { return default };
        let short = field.kind == FieldKind::SpanOfADay;
        let span = prop.value.as_string_lit().and_then(|text| time::span(&text.value));
        span.filter(|span| !short || *span <= TimeDelta::days(1)).unwrap_or_else(|| {
            self.unexpected(prop, if short { A_SHORT_SPAN } else { A_SPAN });
            default
        })
    }

    /// Reads `unchanged`. Returns `None` if it is absent or, with a problem, if its duration is invalid.
    pub fn remember(&mut self, object: &Object) -> Option<Remember> {
        let prop = object.get(UNCHANGED.name)?;
        let (store, expire) = match &prop.value {
            Value::Object(inner) => {
                self.refuse_repeated_keys(inner);
                let stranger =
                    inner.properties.iter().find(|prop| !["store", "expire"].contains(&prop.name.as_str()));
                if let Some(stranger) = stranger {
                    self.problem(
                        stranger,
                        "unknown setting of `unchanged`; expected `store` or `expire`".into(),
                    );
                }
                (inner.get("store").map(|prop| &prop.value), inner.get("expire"))
            }
            value => (Some(value), None),
        };
        let store = store.map(|value| value.as_string_lit().map(|text| text.value.to_string()));
        let known =
            store.as_ref().is_none_or(|store| STORES.iter().any(|known| store.as_deref() == Some(known)));
        if !known {
            self.unlike(
                "unchanged",
                &prop.value,
                &format!("one of {}, or an object with one as `store`", STORES.join(", ")),
            );
        }
        let span = expire.map_or(time::span(EXPIRE), |prop| {
            prop.value.as_string_lit().and_then(|text| time::span(&text.value))
        });
        if let (None, Some(prop)) = (span, expire) {
            self.unlike("unchanged.expire", &prop.value, A_SPAN);
        }
        match store.flatten().as_deref() {
            Some("off") => Some(Remember::Off),
            _ => span.map(Remember::For),
        }
    }
}

/// Adds the paths of all members of the objects in a value, in their order.
fn members(value: &Value, path: &[String], order: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(object) => object.properties.iter().for_each(|prop| {
            let path = [path, &[prop.name.as_str().to_owned()]].concat();
            order.push(path.clone());
            members(&prop.value, &path, order);
        }),
        Value::Array(array) => array.elements.iter().enumerate().for_each(|(index, value)| {
            members(value, &[path, &[index.to_string()]].concat(), order);
        }),
        _ => {}
    }
}
