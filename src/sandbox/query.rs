//! The parameters of a members request, and the rows that they select from a list.

use std::ops::Range;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::{list::Picture, people::Member, quirks::Quirks};
use crate::base::time;

/// Upper bound of `count`.
const MAX_COUNT: usize = 1000;
/// `count` of a request without one.
const DEFAULT_COUNT: usize = 10;

/// The parameters of a members request.
#[derive(Default)]
pub struct Query {
    count: usize,
    offset: usize,
    fields: Vec<String>,
    exclude_fields: Vec<String>,
    status: Option<String>,
    unique_email_id: Option<String>,
    since_last_changed: Option<DateTime<Utc>>,
    before_last_changed: Option<DateTime<Utc>>,
    descending: bool,
}

impl Query {
    /// Reads the parameters. Stricter than the service: rejects unknown names, so that a typing error shows.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut query = Query { count: DEFAULT_COUNT, ..Query::default() };
        let at = |value: &str| time::parse(value).map(Some).ok_or(format!("{value} is not a time."));
        let number = |value: &str| value.parse::<usize>().map_err(|_| format!("{value} is not a number."));
        let paths = |value: &str| value.split(',').map(str::to_owned).collect();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            match &*name {
                "count" => query.count = number(&value)?.min(MAX_COUNT),
                "offset" => query.offset = number(&value)?,
                "fields" => query.fields = paths(&value),
                "exclude_fields" => query.exclude_fields = paths(&value),
                "status" => query.status = Some(value.into_owned()),
                "unique_email_id" => query.unique_email_id = Some(value.into_owned()),
                "since_last_changed" => query.since_last_changed = at(&value)?,
                "before_last_changed" => query.before_last_changed = at(&value)?,
                "sort_field" if value == "last_changed" => {}
                "sort_dir" => query.descending = value == "DESC",
                _ => return Err(format!("The parameter {name} is unknown.")),
            }
        }
        if !query.fields.is_empty() && !query.exclude_fields.is_empty() {
            return Err("fields and exclude_fields can't be used together.".into());
        }
        Ok(query)
    }

    /// Returns the page of a snapshot. `since` excludes its second, `before` includes it. Without a status,
    /// archived members are left out.
    pub fn select(&self, list_id: &str, picture: Picture, quirks: &Quirks) -> Value {
        let of_status = |member: &Member| match &self.status {
            Some(status) => member.status == status,
            None => member.status != "archived",
        };
        let wanted = |member: &Member| {
            of_status(member)
                && self.unique_email_id.as_ref().is_none_or(|id| *id == member.unique_email_id())
        };
        let mut members = picture.members(self.since_last_changed, self.before_last_changed, wanted);
        if self.descending {
            members.reverse();
        }
        let total = members.len();
        let page = quirks.page(self.offset, self.count, total);
        if let Some(mut chance) = picture.shuffle {
            let seconds = whole_seconds(&members, page.clone());
            let tied = |a: &&Member, b: &&Member| a.last_changed == b.last_changed;
            members[seconds].chunk_by_mut(tied).for_each(|ties| chance.shuffle(ties));
        }
        let page = members[page].iter().map(|member| {
            let (number, mut member) = (member.number, member.json(list_id));
            quirks.spoil(number, &mut member);
            self.cut("members.", member)
        });
        let members: Vec<Value> = page.collect();
        let total = quirks.total(total, members.len());
        self.cut(
            "",
            json!({"members": members, "list_id": list_id, "total_items": total,
                "_links": [{"rel": "self", "href": "https://us1.api.mailchimp.com/3.0/lists", "method": "GET"}]}),
        )
    }

    /// Returns the member with this id or contact id, archived or not.
    pub fn find(&self, list_id: &str, id: &str, picture: &Picture) -> Option<Value> {
        let found = picture
            .members(None, None, |member| member.id() == id || member.contact_id(list_id) == id)
            .into_iter()
            .next()?;
        Some(self.cut("", found.json(list_id)))
    }

    /// Keeps only the requested fields. `prefix` is the path to this object.
    fn cut(&self, prefix: &str, value: Value) -> Value {
        let Value::Object(object) = value else { return value };
        let mut kept = Map::new();
        for (key, value) in object {
            let path = format!("{prefix}{key}");
            let below = format!("{path}.");
            if self.exclude_fields.contains(&path) {
                continue;
            }
            if self.fields.is_empty() || self.fields.contains(&path) {
                kept.insert(key, value);
            } else if self.fields.iter().any(|field| field.starts_with(&below)) {
                kept.insert(key, self.cut(&below, value));
            }
        }
        Value::Object(kept)
    }
}

/// Widens a page to all members of the seconds in which it begins and ends.
fn whole_seconds(members: &[&Member], page: Range<usize>) -> Range<usize> {
    let rows = &members[page.clone()];
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return page };
    let before =
        members[..page.start].iter().rev().take_while(|member| member.last_changed == first.last_changed);
    let after = members[page.end..].iter().take_while(|member| member.last_changed == last.last_changed);
    page.start - before.count()..page.end + after.count()
}
