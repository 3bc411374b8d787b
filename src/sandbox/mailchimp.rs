//! Emulator of the Marketing API 3.0, as far as an importer needs it: `GET /3.0/ping`,
//! `GET /3.0/lists/{list_id}/members` and `…/members/{id}`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::{AtomicUsize, Ordering},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use http::{Method, header};
use serde_json::json;

use super::{
    answer,
    edits::{Edit, People},
    faults::{Faults, View},
    list::List,
    people::Member,
    query::Query,
    quirks::Quirks,
};
use crate::net::{Request, Response};

/// Simultaneous requests that an account is allowed.
pub const MAX_CONNECTIONS: usize = 10;

/// The lists of an account.
pub struct Mailchimp {
    key: &'static str,
    lists: HashMap<String, List>,
    faults: Option<Faults>,
    edits: BTreeMap<Edit, usize>,
    quirks: Quirks,
}

impl Mailchimp {
    /// Makes an account without lists, with this key.
    pub fn new(key: &'static str) -> Self {
        Mailchimp {
            key,
            lists: HashMap::new(),
            faults: None,
            edits: BTreeMap::new(),
            quirks: Quirks::default(),
        }
    }

    /// Adds a list of invented members, reproducible by seed.
    pub fn add_list(&mut self, list_id: &str, size: u64, seed: u64, now: DateTime<Utc>) {
        let mut list = List::invent(size, seed, now);
        list.inhabit(people(self.faults.as_ref(), list_id, now));
        self.lists.insert(list_id.into(), list);
    }

    /// Deletes a whole list.
    pub fn remove_list(&mut self, list_id: &str) {
        self.lists.remove(list_id);
    }

    /// Returns all current members of a list, including archived ones, oldest change first.
    pub fn members(&self, list_id: &str) -> impl DoubleEndedIterator<Item = &Member> {
        self.lists.get(list_id).into_iter().flat_map(List::members)
    }

    /// Changes the member with this number, which moves it to the end of the list. The change is visible at
    /// once, or later while random failures are on.
    pub fn edit(&mut self, list_id: &str, number: u64, now: DateTime<Utc>, change: impl FnOnce(&mut Member)) {
        if let Some(list) = self.lists.get_mut(list_id) {
            list.edit(number, now, change);
        }
    }

    /// Adds a new member. Returns its number, or `None` if there is no such list.
    pub fn insert(&mut self, list_id: &str, now: DateTime<Utc>) -> Option<u64> {
        self.lists.get_mut(list_id).map(|list| list.insert(now))
    }

    /// Deletes a member permanently: no listing reports the deletion.
    pub fn delete(&mut self, list_id: &str, number: u64, now: DateTime<Utc>) {
        if let Some(list) = self.lists.get_mut(list_id) {
            list.delete(number, now);
        }
    }

    /// Moves a member from the default listing to that of archived members.
    pub fn archive(&mut self, list_id: &str, number: u64, now: DateTime<Utc>) {
        self.edit(list_id, number, now, |member| member.status = "archived");
    }

    /// Moves a member back to the default listing, as subscribed.
    pub fn unarchive(&mut self, list_id: &str, number: u64, now: DateTime<Utc>) {
        self.edit(list_id, number, now, |member| member.subscribe(now));
    }

    /// Makes listings differ from the documentation from now on.
    pub fn set_quirks(&mut self, quirks: Quirks) {
        self.quirks = quirks;
    }

    pub fn quirks(&self) -> &Quirks {
        &self.quirks
    }

    /// Returns the number of random changes so far, by kind.
    pub fn edits(&self) -> &BTreeMap<Edit, usize> {
        &self.edits
    }

    /// Starts random changes and late visibility, or ends them with `None`.
    pub(super) fn inhabit(&mut self, faults: Option<Faults>, now: DateTime<Utc>) {
        self.live(now);
        self.faults = faults;
        let lists = self.lists.iter_mut();
        lists.for_each(|(list_id, list)| list.inhabit(people(self.faults.as_ref(), list_id, now)));
    }

    /// Applies the random changes that are due.
    pub(super) fn live(&mut self, now: DateTime<Utc>) {
        for edit in self.lists.values_mut().flat_map(|list| list.live(now)) {
            *self.edits.entry(edit).or_default() += 1;
        }
    }

    /// Returns whether a request has the key of this account.
    pub(super) fn is_authorized(&self, request: &Request) -> bool {
        let value = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let basic =
            value.and_then(|value| value.strip_prefix("Basic ")).and_then(|text| STANDARD.decode(text).ok());
        let text = basic.and_then(|bytes| String::from_utf8(bytes).ok());
        text.and_then(|text| text.split_once(':').map(|(_, key)| key == self.key)).unwrap_or(false)
    }

    /// Responds to a request.
    pub(super) fn respond(&self, request: &Request, view: View) -> Response {
        if !self.is_authorized(request) {
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
                    Ok(query) => answer(
                        200,
                        &query.select(list_id, list.picture(view.time, view.shuffle), &self.quirks),
                    ),
                    Err(detail) => problem(400, "Invalid Resource", &detail),
                },
                None => not_found(),
            },
            (&Method::GET, ["3.0", "lists", list_id, "members", id]) => {
                let query = Query::parse(request.uri().query().unwrap_or(""));
                let picture = self.lists.get(*list_id).map(|list| list.picture(view.time, None));
                let found =
                    query.ok().zip(picture).and_then(|(query, picture)| query.find(list_id, id, &picture));
                found.map_or_else(not_found, |member| answer(200, &member))
            }
            _ => not_found(),
        }
    }
}

fn not_found() -> Response {
    problem(404, "Resource Not Found", "The requested resource could not be found.")
}

pub fn too_many_connections() -> Response {
    problem(
        429,
        "Too Many Requests",
        &format!("You have exceeded the limit of {MAX_CONNECTIONS} simultaneous connections."),
    )
}

fn people(faults: Option<&Faults>, list_id: &str, now: DateTime<Utc>) -> Option<People> {
    faults.map(|faults| People::new(faults, list_id, now))
}

fn problem(status: u16, title: &str, detail: &str) -> Response {
    answer(
        status,
        &json!({"type": "https://mailchimp.com/developer/marketing/docs/errors/", "title": title,
            "status": status, "detail": detail, "instance": "995c5cb0-3280-4a6e-808b-3b096d0bb219"}),
    )
}

/// One of the open connections.
pub(super) struct Connection<'a> {
    all: &'a AtomicUsize,
    /// Number of open connections, with this one.
    pub open: usize,
}

impl<'a> Connection<'a> {
    pub fn open(all: &'a AtomicUsize) -> Self {
        let open = all.fetch_add(1, Ordering::Relaxed) + 1;
        Connection { all, open }
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}
