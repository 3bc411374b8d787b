//! The rows of a list as text, formatted once for each choice of fields.

use std::{
    num::NonZero,
    ops::Range,
    thread::{available_parallelism, scope},
};

use bytes::Bytes;
use serde_json::{Map, Value};

use super::member::Member;

/// All rows, separated by commas.
pub struct Listing {
    text: Bytes,
    /// Where each row begins, and at the end where the next one would.
    starts: Vec<usize>,
}

impl Listing {
    /// Formats the members. `fields` and `exclude` are paths, as in a request for one member; no `fields` are all.
    pub fn new(list_id: &str, members: &[Member], fields: &[&str], exclude: &[&str]) -> Self {
        let threads = available_parallelism().map_or(1, NonZero::get);
        let format = |members: &[Member]| {
            let (mut text, mut lengths) = (Vec::new(), Vec::new());
            for member in members {
                let before = text.len();
                let row = cut("", member.json(list_id), fields, exclude);
                // Writing to a vector can't fail.
                let _ = serde_json::to_writer(&mut text, &row);
                text.push(b',');
                lengths.push(text.len() - before);
            }
            (text, lengths)
        };
        let parts: Vec<(Vec<u8>, Vec<usize>)> = scope(|scope| {
            let part = members.len().div_ceil(threads).max(1);
            let running: Vec<_> =
                members.chunks(part).map(|members| scope.spawn(move || format(members))).collect();
            running.into_iter().filter_map(|running| running.join().ok()).collect()
        });
        let mut text = Vec::with_capacity(parts.iter().map(|(text, _)| text.len()).sum());
        let mut starts = vec![0];
        for (part, lengths) in parts {
            starts.extend(lengths.iter().scan(text.len(), |end, length| {
                *end += length;
                Some(*end)
            }));
            text.extend_from_slice(&part);
        }
        Listing { text: text.into(), starts }
    }

    /// Formats these rows.
    pub fn of(rows: impl Iterator<Item = Value>) -> Self {
        let (mut text, mut starts) = (String::new(), vec![0]);
        for row in rows {
            text.push_str(&row.to_string());
            text.push(',');
            starts.push(text.len());
        }
        Listing { text: text.into(), starts }
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Returns some rows, separated by commas.
    pub fn rows(&self, rows: Range<usize>) -> Bytes {
        if rows.is_empty() {
            Bytes::new()
        } else {
            self.text.slice(self.starts[rows.start]..self.starts[rows.end] - 1)
        }
    }
}

/// Keeps only the requested fields. `prefix` is the path to this object.
fn cut(prefix: &str, value: Value, fields: &[&str], exclude: &[&str]) -> Value {
    let Value::Object(object) = value else { return value };
    let mut kept = Map::new();
    for (key, value) in object {
        let path = format!("{prefix}{key}");
        let below = format!("{path}.");
        if exclude.contains(&path.as_str()) {
            continue;
        }
        if fields.is_empty() || fields.contains(&path.as_str()) {
            kept.insert(key, value);
        } else if fields.iter().any(|field| field.starts_with(&below)) {
            kept.insert(key, cut(&below, value, fields, &[]));
        }
    }
    Value::Object(kept)
}
