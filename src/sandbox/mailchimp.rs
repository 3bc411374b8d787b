//! The Marketing API 3.0, as far as an importer sees it: `GET /3.0/ping` and `GET /3.0/lists/{list_id}/members`.

use std::collections::{BTreeMap, HashMap};

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use fastrand::Rng;
use http::{Method, header};
use serde_json::{Map, Value, json};

use super::{MAILCHIMP_KEY, answer, people::Member};
use crate::{
    base::time,
    net::{Request, Response},
};

/// Simultaneous requests that an account may make.
pub const MAX_CONNECTIONS: usize = 10;
const MAX_COUNT: usize = 1000;
const DEFAULT_COUNT: usize = 10;

/// An account's lists.
#[derive(Default)]
pub struct Mailchimp {
    lists: HashMap<String, List>,
}

/// Sorted as the API sorts: by the last change, ties by number.
type List = BTreeMap<(DateTime<Utc>, u64), Member>;

impl Mailchimp {
    /// Adds a list of invented members, the same for the same seed.
    pub fn add_list(&mut self, list_id: &str, size: u64, seed: u64, now: DateTime<Utc>) {
        let mut random = Rng::with_seed(seed);
        let members = (0..size).map(|number| Member::invent(&mut random, number, now));
        self.lists.insert(list_id.into(), members.map(|member| (place(&member), member)).collect());
    }

    /// All members of a list, the archived ones too, oldest change first.
    pub fn members(&self, list_id: &str) -> impl Iterator<Item = &Member> {
        self.lists.get(list_id).into_iter().flat_map(BTreeMap::values)
    }

    /// Changes the member of this number, which moves it to the end of the list.
    pub fn edit(&mut self, list_id: &str, number: u64, now: DateTime<Utc>, change: impl FnOnce(&mut Member)) {
        let Some(list) = self.lists.get_mut(list_id) else { return };
        let Some(place) = list.keys().find(|key| key.1 == number).copied() else { return };
        if let Some(mut member) = list.remove(&place) {
            change(&mut member);
            member.last_changed = now;
            list.insert(self::place(&member), member);
        }
    }

    /// Answers a request.
    pub fn respond(&self, request: &Request) -> Response {
        if !authorized(request) {
            return problem(
                401,
                "API Key Invalid",
                "Your API key may be invalid, or you've attempted to access the wrong datacenter.",
            );
        }
        let path: Vec<&str> = request.uri().path().trim_matches('/').split('/').collect();
        match (request.method(), &path[..]) {
            (&Method::GET, ["3.0", "ping"]) => answer(200, &json!({"health_status": "Everything's Chimpy!"})),
            (&Method::GET, ["3.0", "lists", list_id, "members"]) => match self.lists.get(*list_id) {
                Some(list) => match Query::parse(request.uri().query().unwrap_or("")) {
                    Ok(query) => answer(200, &query.select(list_id, list)),
                    Err(detail) => problem(400, "Invalid Resource", &detail),
                },
                None => problem(404, "Resource Not Found", "The requested resource could not be found."),
            },
            _ => problem(404, "Resource Not Found", "The requested resource could not be found."),
        }
    }
}

pub fn too_many_connections() -> Response {
    problem(
        429,
        "Too Many Requests",
        &format!("You have exceeded the limit of {MAX_CONNECTIONS} simultaneous connections."),
    )
}

fn place(member: &Member) -> (DateTime<Utc>, u64) {
    (member.last_changed, member.number)
}

fn authorized(request: &Request) -> bool {
    let value = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let basic =
        value.and_then(|value| value.strip_prefix("Basic ")).and_then(|text| STANDARD.decode(text).ok());
    let text = basic.and_then(|bytes| String::from_utf8(bytes).ok());
    text.and_then(|text| text.split_once(':').map(|(_, key)| key == MAILCHIMP_KEY)).unwrap_or(false)
}

fn problem(status: u16, title: &str, detail: &str) -> Response {
    answer(
        status,
        &json!({"type": "https://mailchimp.com/developer/marketing/docs/errors/", "title": title,
            "status": status, "detail": detail, "instance": "995c5cb0-3280-4a6e-808b-3b096d0bb219"}),
    )
}

/// The parameters of a members request.
#[derive(Default)]
struct Query {
    count: usize,
    offset: usize,
    fields: Vec<String>,
    exclude_fields: Vec<String>,
    status: Option<String>,
    since_last_changed: Option<DateTime<Utc>>,
    before_last_changed: Option<DateTime<Utc>>,
    descending: bool,
}

impl Query {
    /// Stricter than the service in one thing: what it would ignore is refused, so that a typing error shows.
    fn parse(text: &str) -> Result<Self, String> {
        let mut query = Query { count: DEFAULT_COUNT, ..Query::default() };
        let at = |value: &str| time::parse(value).map(Some).ok_or(format!("{value} is no time."));
        let number = |value: &str| value.parse::<usize>().map_err(|_| format!("{value} is no number."));
        let paths = |value: &str| value.split(',').map(str::to_owned).collect();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            match &*name {
                "count" => query.count = number(&value)?.min(MAX_COUNT),
                "offset" => query.offset = number(&value)?,
                "fields" => query.fields = paths(&value),
                "exclude_fields" => query.exclude_fields = paths(&value),
                "status" => query.status = Some(value.into_owned()),
                "since_last_changed" => query.since_last_changed = at(&value)?,
                "before_last_changed" => query.before_last_changed = at(&value)?,
                "sort_field" if value == "last_changed" => {}
                "sort_dir" => query.descending = value == "DESC",
                _ => return Err(format!("The parameter {name} is not known here.")),
            }
        }
        if !query.fields.is_empty() && !query.exclude_fields.is_empty() {
            return Err("fields and exclude_fields can't be used together.".into());
        }
        Ok(query)
    }

    /// `since` excludes its second, `before` includes it; without a status the archived members are hidden.
    fn select(&self, list_id: &str, list: &List) -> Value {
        let wanted = |member: &&Member| {
            let status = match &self.status {
                Some(status) => member.status == status,
                None => member.status != "archived",
            };
            status
                && self.since_last_changed.is_none_or(|since| member.last_changed > since)
                && self.before_last_changed.is_none_or(|before| member.last_changed <= before)
        };
        let mut members: Vec<&Member> = list.values().filter(wanted).collect();
        if self.descending {
            members.reverse();
        }
        let total = members.len();
        let page = members.into_iter().skip(self.offset).take(self.count);
        let members: Vec<Value> = page.map(|member| self.cut("members.", member.json(list_id))).collect();
        self.cut(
            "",
            json!({"members": members, "list_id": list_id, "total_items": total,
                "_links": [{"rel": "self", "href": "https://us1.api.mailchimp.com/3.0/lists", "method": "GET"}]}),
        )
    }

    /// Leaves the fields that were asked for; `prefix` is the path down to this object.
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
