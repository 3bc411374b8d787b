//! Responds to requests for members: the window by binary search, the page by its offset.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use chrono::Utc;
use http::Response;
use importer::base::time;

use super::{
    listing::Listing,
    member::Member,
    replies::{Parts, json, text},
};

/// The list of the bench. Requests for any other list get its members, too.
const LIST: &str = "bench";
const MAX_COUNT: usize = 1000;

pub struct Pages {
    members: Vec<Member>,
    /// Times of the last changes, in the order of the members.
    changed: Vec<i64>,
    /// Listings by the parameters that select their fields.
    listings: Mutex<HashMap<String, Arc<Listing>>>,
}

#[derive(Default)]
struct Query {
    count: usize,
    offset: usize,
    fields: String,
    exclude: String,
    since: Option<i64>,
    until: Option<i64>,
    archived: bool,
}

impl Pages {
    pub fn invent(members: u64, changed: u64) -> Self {
        let members = Member::invent(members, changed, Utc::now());
        Pages { changed: members.iter().map(Member::changed).collect(), members, listings: Mutex::default() }
    }

    pub fn respond(&self, query: &str) -> Response<Parts> {
        let Some(query) = Query::read(query) else {
            return text(400, r#"{"title":"Invalid Resource","status":400}"#.into());
        };
        let end = |until: i64| self.changed.partition_point(|changed| *changed <= until);
        let (from, to) = (query.since.map_or(0, end), query.until.map_or(self.changed.len(), end));
        let to = if query.archived { from } else { to.max(from) };
        let first = from.saturating_add(query.offset).min(to);
        let page = first..first.saturating_add(query.count.min(MAX_COUNT)).min(to);
        let rows = self.listing(&query).rows(page);
        let end = format!("],\"total_items\":{}}}", to - from);
        json(200, [Some(Bytes::from_static(b"{\"members\":[")), Some(rows), Some(end.into())])
    }

    fn listing(&self, query: &Query) -> Arc<Listing> {
        let key = format!("{}&{}", query.fields, query.exclude);
        let mut listings = self.listings.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || {
            let [fields, exclude] = [&query.fields, &query.exclude].map(|paths| of_members(paths));
            Arc::new(Listing::new(LIST, &self.members, &fields, &exclude))
        };
        Arc::clone(listings.entry(key).or_insert_with(made))
    }
}

/// Returns the paths that lead into a member.
fn of_members(paths: &str) -> Vec<&str> {
    paths.split(',').filter_map(|path| path.strip_prefix("members.")).collect()
}

impl Query {
    /// Reads the parameters; `None` if one is unknown or has an invalid value.
    fn read(text: &str) -> Option<Query> {
        let mut query = Query { count: 10, ..Query::default() };
        let at = |value: &str| time::parse(value).map(|time| time.timestamp());
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            match &*name {
                "count" => query.count = value.parse().ok()?,
                "offset" => query.offset = value.parse().ok()?,
                "fields" => query.fields = value.into_owned(),
                "exclude_fields" => query.exclude = value.into_owned(),
                "since_last_changed" => query.since = Some(at(&value)?),
                "before_last_changed" => query.until = Some(at(&value)?),
                "status" if value == "archived" => query.archived = true,
                "sort_field" if value == "last_changed" => {}
                "sort_dir" if value == "ASC" => {}
                _ => return None,
            }
        }
        Some(query)
    }
}
