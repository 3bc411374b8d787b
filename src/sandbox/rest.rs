//! Emulator of REST APIs of several kinds over the same warehouses: pages by offset, by number, by cursor with
//! changes, and by `Link` header; and a list below a user, whose id another request returns. Accepts a token from
//! its login (OAuth 2, RFC 6749, or JSON), a key in a header, and basic credentials.

mod login;
mod pages;

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use self::login::Logins;
use super::{Faults, answer, edits::People};
use crate::net::{Request, Response};

/// The user that the sandbox accepts.
pub const USER: &str = "warehouse-user";
/// The password that the sandbox accepts.
pub const PASSWORD: &str = "sandbox-rest-password";
/// The key that the sandbox accepts, in the header `X-Api-Key`, or as a token that never expires.
pub const KEY: &str = "sandbox-rest-key";
/// Id of the user, which `GET /rest/iam/users/me` returns.
pub const ME: u64 = 17;

const NAMES: [&str; 6] = ["North", "South", "Harbor", "Airport", "Old Town", "Ring Road"];
const CITIES: [&str; 5] = ["Berlin", "Porto", "Łódź", "London", "Malmö"];

/// A warehouse.
#[derive(Debug, Clone, PartialEq)]
pub struct Warehouse {
    pub id: u64,
    pub name: String,
    pub city: String,
    pub phone: Option<String>,
    pub active: bool,
    /// Time of the last change, in whole seconds.
    pub updated: DateTime<Utc>,
    pub deleted: bool,
}

/// An account and its warehouses.
#[derive(Default)]
pub struct Rest {
    warehouses: BTreeMap<u64, Warehouse>,
    logins: Logins,
    /// Upper bound of the records in a response, whatever is requested.
    cap: Option<usize>,
    /// The people who change the warehouses.
    people: Option<People>,
    /// Responses that replace those to the next requests below a path.
    instead: VecDeque<(&'static str, u16, String)>,
}

impl Rest {
    /// Adds invented warehouses, changed in the week before `now`, reproducible by seed.
    pub fn invent(&mut self, count: u64, seed: u64, now: DateTime<Utc>) {
        let mut random = Rng::with_seed(seed);
        for _ in 0..count {
            let phone = random.bool().then(|| format!("+49 30 {}", random.u32(1_000_000..9_999_999)));
            let seconds = now.timestamp() - random.i64(600..604_800);
            self.add(Warehouse {
                id: 0,
                name: NAMES[random.usize(..NAMES.len())].into(),
                city: CITIES[random.usize(..CITIES.len())].into(),
                phone,
                active: random.u8(..8) > 0,
                updated: DateTime::from_timestamp(seconds, 0).unwrap_or(now),
                deleted: false,
            });
        }
    }

    /// Adds an invented warehouse, changed at `now`.
    fn invent_one(&mut self, random: &mut Rng, now: DateTime<Utc>) {
        self.invent(1, random.u64(..), now);
        let last = self.warehouses.keys().last().copied().unwrap_or_default();
        self.edit(last, now, |_| {});
    }

    /// Adds a warehouse. Returns its new id.
    pub fn add(&mut self, warehouse: Warehouse) -> u64 {
        let id = self.warehouses.keys().last().map_or(1, |last| last + 1);
        self.warehouses.insert(id, Warehouse { id, ..warehouse });
        id
    }

    /// Returns all warehouses, also deleted ones.
    pub fn warehouses(&self) -> impl Iterator<Item = &Warehouse> {
        self.warehouses.values()
    }

    /// Changes a warehouse in this second.
    pub fn edit(&mut self, id: u64, now: DateTime<Utc>, change: impl FnOnce(&mut Warehouse)) {
        if let Some(warehouse) = self.warehouses.get_mut(&id) {
            change(warehouse);
            warehouse.updated = DateTime::from_timestamp(now.timestamp(), 0).unwrap_or(now);
        }
    }

    /// Removes a warehouse without a trace. To leave a deletion mark, set `deleted` by [`Rest::edit`].
    pub fn remove(&mut self, id: u64) {
        self.warehouses.remove(&id);
    }

    /// Lets people change warehouses at random from now on, as `faults` say; nobody if there are none.
    pub(super) fn inhabit(&mut self, faults: Option<&Faults>, now: DateTime<Utc>) {
        self.people = faults.map(|faults| People::new(faults, "warehouses", now));
    }

    /// Applies the random changes that are due.
    pub(super) fn live(&mut self, now: DateTime<Utc>) {
        let due = self.people.as_mut().map_or(vec![], |people| people.due(now));
        for (at, mut random) in due {
            let ids: Vec<u64> = self.warehouses().filter(|one| !one.deleted).map(|one| one.id).collect();
            match (random.u8(..6), random.choice(&ids)) {
                (0, _) | (_, None) => self.invent_one(&mut random, at),
                (1, Some(id)) => self.edit(*id, at, |one| one.deleted = true),
                (2, Some(id)) => self.edit(*id, at, |one| one.active = !one.active),
                (_, Some(id)) => self.edit(*id, at, |one| {
                    one.name = NAMES[random.usize(..NAMES.len())].into();
                    one.city = CITIES[random.usize(..CITIES.len())].into();
                }),
            }
        }
    }

    /// Revokes all tokens.
    pub fn revoke(&mut self) {
        self.logins.revoke();
    }

    /// Sets the lifetime of tokens that are issued from now on.
    pub fn set_life(&mut self, life: TimeDelta) {
        self.logins.life = life;
    }

    /// Returns the number of tokens that were issued.
    pub fn logins(&self) -> usize {
        self.logins.issued()
    }

    /// Sets the upper bound of the records in a response.
    pub fn set_cap(&mut self, cap: Option<usize>) {
        self.cap = cap;
    }

    /// Gives this response to the next request whose path begins with `path`.
    pub fn respond_instead(&mut self, path: &'static str, status: u16, body: impl Into<String>) {
        self.instead.push_back((path, status, body.into()));
    }

    /// Responds to a request.
    pub(super) fn respond(&mut self, request: &Request, now: DateTime<Utc>) -> Response {
        let path = request.uri().path();
        if let Some(index) = self.instead.iter().position(|(begin, ..)| path.starts_with(begin))
            && let Some((_, status, body)) = self.instead.remove(index)
        {
            let mut response = Response::new(body.into());
            *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            return response;
        }
        let path: Vec<&str> = path.trim_matches('/').split('/').skip(1).collect();
        if (request.method(), &path[..]) == (&Method::POST, &["auth"]) {
            return self.logins.issue(request, now);
        }
        if !self.logins.permit(request, now) {
            return answer(401, &json!({"errors": [{"code": "unauthorized", "message": "Unauthorized"}]}));
        }
        match (request.method(), &path[..]) {
            (&Method::GET, ["iam", "users", "me"]) => answer(200, &me()),
            (&Method::GET, ["iam", "users", id, "warehouses"]) if *id == ME.to_string() => {
                answer(200, &self.of_me())
            }
            (&Method::GET, ["items", part]) => match part.parse() {
                Ok(id) => self.one(id),
                Err(_) => pages::respond(self, part, request),
            },
            _ => answer(404, &json!({"error": "Not found"})),
        }
    }

    fn one(&self, id: u64) -> Response {
        match self.warehouses.get(&id) {
            Some(warehouse) => answer(200, &warehouse.json()),
            None => answer(404, &json!({"error": "Not found"})),
        }
    }

    /// Returns the user with all warehouses: one response, without pages, times and deletions.
    fn of_me(&self) -> Value {
        let mut user = me();
        let listed = self.warehouses.values().filter(|warehouse| !warehouse.deleted);
        user["warehouses"] = listed.map(Warehouse::bare).collect();
        user
    }
}

impl Warehouse {
    /// Returns the warehouse as the list below a user has it.
    fn bare(&self) -> Value {
        json!({
            "id": self.id, "name": self.name, "line1": format!("{} Dock Street", self.id), "line2": null, "site": null,
            "city": self.city, "state": null, "zip_code": format!("{:05}", self.id), "country": "DE", "fax": null,
            "phone": self.phone, "active": self.active, "priority": self.id % 3, "tenant_id": 4,
        })
    }

    /// Returns the warehouse as the pages have it.
    fn json(&self) -> Value {
        let mut warehouse = self.bare();
        warehouse["updated_at"] = time(self.updated).into();
        warehouse["deleted"] = self.deleted.into();
        warehouse
    }
}

fn me() -> Value {
    json!({
        "id": ME, "username": USER, "email": "keeper@example.com", "employee_id": "E-17", "first_name": "Ada",
        "last_name": "Keeper", "active": true, "tenant_id": 4,
    })
}

fn time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
#[path = "rest_tests.rs"]
mod tests;
