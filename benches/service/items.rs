//! A REST API with pages by cursor, as docs/rest.md describes one. The cursor is the position of the next record.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::Response;

use super::{
    item::item,
    listing::Listing,
    replies::{Parts, json, text},
};

const MAX_LIMIT: usize = 1000;

#[derive(Default)]
pub struct Items(Mutex<Option<Arc<Listing>>>);

impl Items {
    /// Formats this number of records, in this edition.
    pub fn make(&self, query: &str) {
        let number = |name: &str| {
            let found = url::form_urlencoded::parse(query.as_bytes()).find(|(known, _)| known == name);
            found.and_then(|(_, value)| value.parse().ok()).unwrap_or_default()
        };
        let (records, edition) = (number("records"), number("edition"));
        let made = Listing::of((1..=records).map(|id| item(id, edition)));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(made));
    }

    pub fn respond(&self, query: &str) -> Response<Parts> {
        let (mut limit, mut first, mut changes) = (10, 0, false);
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match (&*name, value.parse()) {
                ("limit", Ok(number)) => limit = number,
                ("cursor", Ok(number)) => first = number,
                // No record has changed since a run began.
                ("updated_since", _) => changes = true,
                _ => return text(400, r#"{"error":"unknown parameter"}"#.into()),
            }
        }
        let made = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().filter(|_| !changes);
        let total = made.as_ref().map_or(0, |made| made.len());
        let first: usize = total.min(first);
        let last = total.min(first + MAX_LIMIT.min(limit));
        let rows = made.map_or(Bytes::new(), |made| made.rows(first..last));
        let next = if last < total { format!("\"{last}\"") } else { "null".to_owned() };
        let end = format!("],\"meta\":{{\"next\":{next}}}}}");
        json(200, [Some(Bytes::from_static(b"{\"data\":[")), Some(rows), Some(end.into())])
    }
}
