//! The settings and the counts of a measurement.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::json;

#[derive(Default)]
pub struct Tally(Mutex<Measurement>);

#[derive(Default)]
struct Measurement {
    read_delay: Duration,
    push_delay: Duration,
    /// Pushes per second; 0 is no limit.
    rate: f64,
    /// Pushes that may come at once, at most as many as in a second.
    allowance: f64,
    last_push: Option<Instant>,
    /// Ids of the contacts and the requests, in a measurement with `check`.
    checked: Option<(HashSet<String>, Vec<String>)>,
    first: Option<SystemTime>,
    reads: usize,
    pushes: usize,
    refused: usize,
    records: usize,
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, Measurement> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a measurement.
    pub fn reset(&self, query: &str) {
        let mut measurement = Measurement::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let number: f64 = value.parse().unwrap_or_default();
            match &*name {
                "read_ms" => measurement.read_delay = Duration::from_secs_f64(number / 1000.0),
                "push_ms" => measurement.push_delay = Duration::from_secs_f64(number / 1000.0),
                "rate" => (measurement.rate, measurement.allowance) = (number, number),
                "check" if number > 0.0 => measurement.checked = Some(Default::default()),
                _ => {}
            }
        }
        *self.lock() = measurement;
    }

    pub fn read_delay(&self) -> Duration {
        self.lock().read_delay
    }

    pub fn push_delay(&self) -> Duration {
        self.lock().push_delay
    }

    /// Notes the time of the first request.
    pub fn arrived(&self) {
        self.lock().first.get_or_insert_with(SystemTime::now);
    }

    pub fn read(&self, path: &str, query: &str) {
        let mut measurement = self.lock();
        measurement.reads += 1;
        if let Some((_, requests)) = &mut measurement.checked {
            requests.push(format!("GET {path}?{query}"));
        }
    }

    /// Whether the rate limit admits a push; the sandbox counts the same way.
    pub fn admits(&self) -> bool {
        let mut measurement = self.lock();
        if measurement.rate == 0.0 {
            return true;
        }
        let now = Instant::now();
        let since = measurement.last_push.replace(now).map_or(0.0, |last| (now - last).as_secs_f64());
        measurement.allowance =
            (measurement.allowance + since * measurement.rate).min(measurement.rate.max(1.0));
        let admitted = measurement.allowance >= 1.0;
        match admitted {
            true => measurement.allowance -= 1.0,
            false => measurement.refused += 1,
        }
        admitted
    }

    pub fn checks(&self) -> bool {
        self.lock().checked.is_some()
    }

    /// Notes the contacts of a push and its size.
    pub fn ids(&self, ids: HashSet<String>, bytes: usize, records: usize) {
        if let Some((known, requests)) = &mut self.lock().checked {
            known.extend(ids);
            requests.push(format!("POST {bytes} {records}"));
        }
    }

    /// Counts a push and returns its number.
    pub fn pushed(&self, records: usize) -> usize {
        let mut measurement = self.lock();
        measurement.records += records;
        measurement.pushes += 1;
        measurement.pushes
    }

    pub fn report(&self) -> String {
        let measurement = self.lock();
        let first = measurement.first.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        json!({
            "first_us": first.map(|time| time.as_micros() as u64),
            "reads": measurement.reads,
            "pushes": measurement.pushes,
            "refused": measurement.refused,
            "records": measurement.records,
            "distinct": measurement.checked.as_ref().map(|(ids, _)| ids.len()),
        })
        .to_string()
    }

    pub fn trace(&self) -> String {
        self.lock().checked.as_ref().map(|(_, requests)| requests.join("\n")).unwrap_or_default()
    }
}
