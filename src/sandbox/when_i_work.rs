//! Emulator of When I Work, as far as an importer needs it: `POST /login`, `GET /2/shifts` and
//! `GET /2/shifts/{id}`. Times are RFC 2822, like those of the service. There are no pages; a request sets a
//! period of time and a limit.

use std::collections::{BTreeMap, VecDeque};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, FixedOffset, TimeDelta, Utc};
use fastrand::Rng;
use http::{HeaderValue, Method};
use serde_json::{Value, json};

use super::answer;
use crate::{
    base::time,
    net::{Request, Response},
};

/// The developer key that the sandbox accepts.
pub const KEY: &str = "sandbox-when-i-work-key";
/// The user that the sandbox accepts.
pub const EMAIL: &str = "manager@example.com";
/// The password that the sandbox accepts.
pub const PASSWORD: &str = "sandbox-when-i-work-password";

/// Lifetime of a token.
const LIFE: TimeDelta = TimeDelta::days(7);
/// Requests per minute that a user is allowed.
const PER_MINUTE: usize = 100;
/// Upper bound of the rows in a response. That of the service is not documented.
const MAX_ROWS: usize = 1000;

const NOTES: [&str; 4] =
    ["", "Bring the keys.", "Ask ada@example.com for the rota.", "Lovelace covers lunch."];

/// A shift.
#[derive(Debug, Clone, PartialEq)]
pub struct Shift {
    pub id: u64,
    /// The person who works the shift; 0 is an open shift.
    pub user_id: u64,
    pub location_id: u64,
    pub start: DateTime<Utc>,
    pub hours: i64,
    pub notes: String,
    pub published: bool,
    pub updated: DateTime<Utc>,
}

/// An account.
#[derive(Default)]
pub struct WhenIWork {
    shifts: BTreeMap<u64, Shift>,
    /// Start of each deleted shift, by id.
    deleted: BTreeMap<u64, DateTime<Utc>>,
    /// Valid tokens, and when each was issued.
    tokens: Vec<(String, DateTime<Utc>)>,
    /// Times of the latest requests for shifts.
    requests: VecDeque<DateTime<Utc>>,
    logins: usize,
}

impl WhenIWork {
    /// Adds invented shifts, from the day before `now` to the third day after it, reproducible by seed.
    pub fn invent(&mut self, count: u64, seed: u64, now: DateTime<Utc>) {
        let mut random = Rng::with_seed(seed);
        let midnight = now - TimeDelta::seconds(now.timestamp().rem_euclid(86_400));
        for _ in 0..count {
            let quarters = random.i64(-96..4 * 96);
            self.add(Shift {
                id: 0,
                user_id: if random.u8(..8) == 0 { 0 } else { random.u64(5_000..5_040) },
                location_id: random.u64(40..43),
                start: midnight + TimeDelta::minutes(15 * quarters),
                hours: random.i64(2..9),
                notes: NOTES[random.usize(..NOTES.len())].into(),
                published: random.u8(..10) > 0,
                updated: now - TimeDelta::minutes(random.i64(60..10_000)),
            });
        }
    }

    /// Adds a shift. Returns its new id.
    pub fn add(&mut self, shift: Shift) -> u64 {
        let last = self.shifts.keys().chain(self.deleted.keys()).max();
        let id = last.map_or(70_001, |last| last + 1);
        self.shifts.insert(id, Shift { id, ..shift });
        id
    }

    pub fn shifts(&self) -> impl Iterator<Item = &Shift> {
        self.shifts.values()
    }

    pub fn edit(&mut self, id: u64, now: DateTime<Utc>, change: impl FnOnce(&mut Shift)) {
        if let Some(shift) = self.shifts.get_mut(&id) {
            change(shift);
            shift.updated = now;
        }
    }

    pub fn delete(&mut self, id: u64) {
        if let Some(shift) = self.shifts.remove(&id) {
            self.deleted.insert(id, shift.start);
        }
    }

    /// Revokes all tokens, like a change of the password.
    pub fn revoke(&mut self) {
        self.tokens.clear();
    }

    /// Issues a token without a login.
    pub fn issue(&mut self, now: DateTime<Utc>) -> String {
        let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let (head, claims) = (encode(json!({"alg": "none"})), encode(json!({"iat": now.timestamp()})));
        let token = format!("{head}.{claims}.sandbox{}", self.tokens.len());
        self.tokens.push((token.clone(), now));
        token
    }

    /// Returns the number of logins.
    pub fn logins(&self) -> usize {
        self.logins
    }

    /// Responds to a request.
    pub(super) fn respond(&mut self, request: &Request, now: DateTime<Utc>) -> Response {
        let path: Vec<&str> = request.uri().path().trim_matches('/').split('/').collect();
        match (request.method(), &path[..]) {
            (&Method::POST, ["login"]) => self.login(request, now),
            (&Method::GET, ["2", "shifts", rest @ ..]) if rest.len() < 2 => {
                self.read(request, rest.first(), now)
            }
            _ => refused(404, "Not Found"),
        }
    }

    fn login(&mut self, request: &Request, now: DateTime<Utc>) -> Response {
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let key = header(request, "w-key") == KEY;
        if !key || body["email"] != EMAIL || body["password"] != PASSWORD {
            return refused(401, "Login failed: the key, the email or the password is wrong.");
        }
        self.logins += 1;
        answer(200, &json!({"person": {"email": EMAIL}, "token": self.issue(now)}))
    }

    fn read(&mut self, request: &Request, id: Option<&&str>, now: DateTime<Utc>) -> Response {
        let token = header(request, "w-token");
        let known = self.tokens.iter().find(|(known, _)| *known == token);
        if known.is_none_or(|(_, issued)| now - *issued >= LIFE) {
            return refused(401, "User login required.");
        }
        while self.requests.front().is_some_and(|at| now - *at >= TimeDelta::minutes(1)) {
            self.requests.pop_front();
        }
        if self.requests.len() >= PER_MINUTE {
            let wait = (self.requests[0] + TimeDelta::minutes(1) - now).num_seconds() + 1;
            return refused(429, &format!("Too many requests, try again in {wait} seconds."));
        }
        self.requests.push_back(now);
        let mut response = match id {
            Some(id) => match id.parse().ok().and_then(|id: u64| self.shifts.get(&id)) {
                Some(shift) => answer(200, &json!({"shift": shown(shift)})),
                None => refused(404, "Shift not found."),
            },
            None => match Query::parse(request.uri().query().unwrap_or_default()) {
                Ok(query) => answer(200, &self.select(&query)),
                Err(why) => refused(400, &why),
            },
        };
        if let Ok(left) = HeaderValue::try_from((PER_MINUTE - self.requests.len()).to_string()) {
            response.headers_mut().insert("w-limit-remaining", left);
        }
        response
    }

    fn select(&self, query: &Query) -> Value {
        let within = |start: DateTime<Utc>| start >= query.start && start < query.end;
        let wanted = |shift: &&Shift| {
            within(shift.start)
                && (query.unpublished || shift.published)
                && (query.open || shift.user_id != 0)
                && (query.all || query.locations.contains(&shift.location_id))
        };
        let mut found: Vec<&Shift> = self.shifts.values().filter(wanted).collect();
        found.sort_by_key(|shift| (shift.start, shift.id));
        let shifts: Vec<Value> = found.into_iter().take(query.limit).map(shown).collect();
        let mut response = json!({"start": rfc2822(query.start), "end": rfc2822(query.end), "shifts": shifts,
            "repeating_shifts": []});
        if query.deleted {
            let deleted = self.deleted.iter().filter(|(_, start)| within(**start));
            response["deleted_ids"] = deleted.map(|(id, _)| *id).collect::<Vec<_>>().into();
        }
        response
    }
}

/// The parameters of a request for shifts.
struct Query {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    limit: usize,
    deleted: bool,
    unpublished: bool,
    open: bool,
    all: bool,
    locations: Vec<u64>,
}

impl Query {
    /// Reads the parameters. Stricter than the service: `start` and `end` are required, because without them
    /// the service would return the next three days, which is never intended.
    fn parse(text: &str) -> Result<Self, String> {
        let mut bounds = [None, None];
        let (mut limit, mut deleted, mut unpublished, mut open, mut all) =
            (MAX_ROWS, false, false, false, false);
        let mut locations = vec![];
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            let no_number = |_| format!("{value} is not a number.");
            match &*name {
                "start" => bounds[0] = time::parse(&value),
                "end" => bounds[1] = time::parse(&value),
                "limit" => limit = value.parse::<usize>().map_err(no_number)?.min(MAX_ROWS),
                "deleted" => deleted = value == "true",
                "unpublished" => unpublished = value == "true",
                "include_allopen" => open = value == "true",
                "all_locations" => all = value == "true",
                "location_id" => {
                    locations =
                        value.split(',').map(str::parse).collect::<Result<_, _>>().map_err(no_number)?;
                }
                _ => return Err(format!("The parameter {name} is unknown.")),
            }
        }
        let [Some(start), Some(end)] = bounds else { return Err("start and end are required.".into()) };
        Ok(Query { start, end, limit, deleted, unpublished, open, all, locations })
    }
}

fn shown(shift: &Shift) -> Value {
    json!({
        "id": shift.id, "account_id": 1, "user_id": shift.user_id, "location_id": shift.location_id, "position_id": 9,
        "site_id": 0, "start_time": rfc2822(shift.start), "end_time": rfc2822(shift.start + TimeDelta::hours(shift.hours)),
        "break_time": 0.5, "color": "cccccc", "notes": shift.notes, "linked_users": null,
        // The service sends booleans both as numbers and as booleans.
        "published": u8::from(shift.published), "is_open": shift.user_id == 0,
        "created_at": rfc2822(shift.updated), "updated_at": rfc2822(shift.updated), "creator_id": 5000,
    })
}

/// Formats a time like the service: in the time zone of the account.
fn rfc2822(time: DateTime<Utc>) -> String {
    FixedOffset::west_opt(6 * 3600)
        .map_or_else(|| time.to_rfc2822(), |zone| time.with_timezone(&zone).to_rfc2822())
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn refused(status: u16, error: &str) -> Response {
    answer(status, &json!({"error": error, "code": status}))
}
