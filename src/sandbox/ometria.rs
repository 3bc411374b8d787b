//! Emulator of the Data API v2, as far as an importer needs it: `POST /v2/push` and `GET /v2/push/_errors`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::{DateTime, Utc};
use http::{HeaderValue, Method, header};
use serde_json::{Map, Value, json};

use super::answer;
use crate::{
    base::time,
    net::{Request, Response},
};

/// Upper bound of the records in a push.
const MAX_RECORDS: usize = 100;
/// Upper bound of a record, in bytes.
const MAX_RECORD_BYTES: usize = 60_000;
/// Upper bound (exclusive) of all properties together, in bytes of JSON.
const MAX_PROPERTIES: usize = 1000;
/// Requests per second.
const RATE: f64 = 8.0;
/// Number of deferred errors that are listed.
const MAX_ERRORS: usize = 100;

/// An account: its contacts, merged by collection and id.
pub struct Ometria {
    key: &'static str,
    contacts: BTreeMap<(String, String), Map<String, Value>>,
    /// Deferred errors, which the validation after the response found; newest last.
    errors: VecDeque<Value>,
    /// Requests per second; 0 is no limit.
    rate: f64,
    /// Requests that may come at once, at most as many as in a second.
    allowance: f64,
    /// Time of the last request.
    asked: Option<DateTime<Utc>>,
    pushes: u64,
    /// Records that wait to be processed. `None` is an unlimited queue.
    queue: Option<Queue>,
    /// Ids of contacts that a push counts as rejected, without naming them.
    refused: BTreeSet<String>,
    /// Ids of contacts that are accepted and later found invalid.
    disbelieved: BTreeSet<String>,
}

impl Ometria {
    /// Makes an account without contacts, with this key.
    pub fn new(key: &'static str) -> Self {
        Ometria {
            key,
            contacts: BTreeMap::new(),
            errors: VecDeque::new(),
            rate: RATE,
            allowance: RATE,
            asked: None,
            pushes: 0,
            queue: None,
            refused: BTreeSet::new(),
            disbelieved: BTreeSet::new(),
        }
    }

    pub fn contacts(&self) -> &BTreeMap<(String, String), Map<String, Value>> {
        &self.contacts
    }

    /// Limits the requests to `rate` per second; 0 is no limit.
    pub fn set_rate(&mut self, rate: f64) {
        self.rate = rate;
    }

    /// Limits the queue to `limit` records, of which `drain` per second are processed.
    pub fn set_queue(&mut self, limit: f64, drain: f64) {
        self.queue = Some(Queue { limit, drain, waiting: 0.0, asked: None });
    }

    /// Starts or ends the rejection of contacts with this id.
    pub fn refuse(&mut self, id: &str, refuse: bool) {
        match refuse {
            true => self.refused.insert(id.to_owned()),
            false => self.refused.remove(id),
        };
    }

    /// Accepts contacts with this id from now on, and reports them later as invalid, without naming them.
    pub fn disbelieve(&mut self, id: &str) {
        self.disbelieved.insert(id.to_owned());
    }

    /// Clears the deferred errors.
    pub fn forget_errors(&mut self) {
        self.errors.clear();
    }

    /// Returns the deferred errors.
    pub fn errors(&self) -> &VecDeque<Value> {
        &self.errors
    }

    /// Returns whether a request has the key of this account.
    pub(super) fn is_authorized(&self, request: &Request) -> bool {
        request.headers().get("x-ometria-auth").is_some_and(|value| value == self.key)
    }

    /// Responds to a request.
    pub fn respond(&mut self, request: &Request, now: DateTime<Utc>) -> Response {
        if !self.is_authorized(request) {
            return refused(403, "API key is not authorised to access this resource");
        }
        if !self.admit(now) {
            return refused(429, "Too many requests");
        }
        match (request.method(), request.uri().path()) {
            (&Method::POST, "/v2/push") => match self.queue.as_mut().map(|queue| queue.take(request, now)) {
                None => self.push(request),
                Some(None) => refused(429, "Too many requests"),
                Some(Some(room)) => {
                    let mut response = self.push(request);
                    response.headers_mut().insert("x-queuesize-remaining", HeaderValue::from(room));
                    response
                }
            },
            (&Method::GET, "/v2/push/_errors") => answer(200, &json!(self.errors)),
            _ => refused(404, "Not found"),
        }
    }

    /// Whether the rate limit admits a request.
    fn admit(&mut self, now: DateTime<Utc>) -> bool {
        let since = self.asked.replace(now).map_or(0.0, |asked| (now - asked).as_seconds_f64().max(0.0));
        self.allowance = (self.allowance + since * self.rate).min(self.rate.max(1.0));
        let admitted = self.rate == 0.0 || self.allowance >= 1.0;
        if admitted {
            self.allowance -= 1.0;
        }
        admitted
    }

    /// Handles a push. Refuses the whole batch for errors that show at once; other errors are deferred and
    /// name no record.
    fn push(&mut self, request: &Request) -> Response {
        if request.headers().get(header::CONTENT_TYPE).is_none_or(|value| value != "application/json") {
            return refused(400, "Payload invalid: Content-Type must be application/json.");
        }
        let Ok(batch) = serde_json::from_slice::<Vec<Map<String, Value>>>(request.body()) else {
            return refused(400, "Payload invalid: Expected an array of records.");
        };
        if batch.is_empty() || batch.len() > MAX_RECORDS {
            return refused(400, "Payload invalid: Between 1 and 100 records are expected.");
        }
        if batch.iter().any(|record| record.get("@type") != Some(&json!("contact"))) {
            return refused(400, "Payload invalid: All records must be of one known type.");
        }
        if batch.iter().any(|record| json!(record).to_string().len() > MAX_RECORD_BYTES) {
            return refused(400, "Payload invalid: Record is too large.");
        }
        let (batch, refused): (Vec<_>, Vec<_>) = batch.into_iter().partition(|record| {
            record.get("id").and_then(Value::as_str).is_none_or(|id| !self.refused.contains(id))
        });
        let (accepted, rejected) = (batch.len(), refused.len());
        for record in batch {
            self.merge(record);
        }
        self.pushes += 1;
        answer(
            200,
            &json!({"status": "OK", "request_id": format!("sandbox-{}", self.pushes),
                "accepted": accepted, "rejected": rejected}),
        )
    }

    fn merge(&mut self, record: Map<String, Value>) {
        let disbelieved = |value: &Value| value.as_str().is_some_and(|id| self.disbelieved.contains(id));
        let wrong = |(field, value): &(&String, &Value)| {
            !valid(field, value) || (*field == "lastname" && record.get("id").is_some_and(disbelieved))
        };
        if let Some((field, _)) = record.iter().find(wrong) {
            let path = format!("root > {field}");
            self.errors.push_back(json!({"error_message": "not a valid value", "error_path": path}));
            if self.errors.len() > MAX_ERRORS {
                self.errors.pop_front();
            }
            return;
        }
        let text = |field: &str| record.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = (text("@collection"), text("id"));
        self.contacts.entry(key).or_default().extend(record);
    }
}

/// Records that were accepted and are not processed yet:
/// <https://docs.ometria.com/docs/ometria-data-api-introduction>.
struct Queue {
    limit: f64,
    drain: f64,
    waiting: f64,
    asked: Option<DateTime<Utc>>,
}

impl Queue {
    /// Adds the records of a push. Returns the remaining space, or `None` if the records do not fit.
    fn take(&mut self, request: &Request, now: DateTime<Utc>) -> Option<u64> {
        let since = self.asked.replace(now).map_or(0.0, |asked| (now - asked).as_seconds_f64().max(0.0));
        self.waiting = (self.waiting - since * self.drain).max(0.0);
        let records = serde_json::from_slice::<Vec<Value>>(request.body()).map_or(0, |batch| batch.len());
        let waiting = self.waiting + records as f64;
        (waiting <= self.limit).then(|| {
            self.waiting = waiting;
            (self.limit - waiting) as u64
        })
    }
}

/// Whether a field of a contact is known and has the right type.
fn valid(field: &str, value: &Value) -> bool {
    let text = value.as_str().filter(|text| !text.is_empty());
    match field {
        "@type" | "@collection" | "id" | "email" | "firstname" | "lastname" | "customer_id" | "timezone" => {
            text.is_some()
        }
        "gender" => matches!(text, Some("m" | "f")),
        "date_of_birth" => text.is_some_and(|text| text.len() == 10 && time::parse(text).is_some()),
        "phone_number" => text.is_some_and(|text| {
            text.strip_prefix('+').is_some_and(|digits| digits.len() > 6 && digits.parse::<u64>().is_ok())
        }),
        "properties" => value.is_object() && value.to_string().len() < MAX_PROPERTIES,
        "@merge" => value.is_boolean(),
        "country_id" => {
            text.is_some_and(|code| code.len() == 2 && code.chars().all(|c| c.is_ascii_uppercase()))
        }
        "marketing_optin" => {
            matches!(text, Some("EXPLICITLY_OPTEDIN" | "EXPLICITLY_OPTEDOUT" | "NOT_SPECIFIED"))
        }
        "timestamp_acquired" | "timestamp_subscribed" | "timestamp_unsubscribed" => {
            text.is_some_and(|text| text.ends_with('Z') && time::parse(text).is_some())
        }
        _ => false,
    }
}

fn refused(status: u16, error: &str) -> Response {
    answer(status, &json!({"error": error}))
}
