//! Emulators of the services, faithful to their documentation and observed behavior: a stateful function from
//! request to response. Tests and the demo use it in place of the network; [`serve`] makes it available on
//! loopback. Depends on `net` and `base` only.

pub mod clocks;
pub mod edits;
pub mod faults;
mod list;
pub mod mailchimp;
pub mod ometria;
pub mod people;
mod query;
pub mod quirks;
pub mod receiver;
pub mod rest;
mod seen;
pub mod serve;
mod trouble;
pub mod when_i_work;

pub use self::{faults::Faults, seen::Seen, trouble::Trouble};

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;
use tokio::time::sleep;

use self::{
    clocks::{OurClock, Skew},
    faults::{Luck, View},
    mailchimp::{Connection, Mailchimp},
    ometria::Ometria,
    receiver::Receiver,
    rest::Rest,
    trouble::Outcome,
    when_i_work::WhenIWork,
};
use crate::{
    base::clock::Clock,
    net::{Request, Response, Transport, TransportError},
};

/// The Mailchimp key of the sandbox's first account.
pub const MAILCHIMP_KEY: &str = "0123456789abcdef0123456789abcdef-us1";
/// The Ometria key of the sandbox's first account.
pub const OMETRIA_KEY: &str = "sandbox-ometria-key";
/// The keys of the second account, which has data and limits of its own.
pub const SECOND_MAILCHIMP_KEY: &str = "fedcba9876543210fedcba9876543210-us2";
pub const SECOND_OMETRIA_KEY: &str = "sandbox-second-key";

/// The first and the second account of a service.
const ACCOUNTS: usize = 2;

/// An emulated service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    Mailchimp,
    Ometria,
    WhenIWork,
    /// Any endpoint that receives batches of JSON.
    Receiver,
    /// REST APIs of several kinds.
    Rest,
}

impl Service {
    /// Returns the name of the service. The random faults of a seed depend on it.
    fn name(self) -> &'static str {
        match self {
            Service::Mailchimp => "Mailchimp",
            Service::Ometria => "Ometria",
            Service::WhenIWork => "When I Work",
            Service::Receiver => "Receiver",
            Service::Rest => "REST",
        }
    }
}

/// The services and a record of their use.
pub struct Sandbox {
    clock: Arc<dyn Clock>,
    skew: Mutex<Skew>,
    latency: Duration,
    /// Simultaneous requests to Mailchimp, by account.
    connections: [AtomicUsize; ACCOUNTS],
    mailchimp: [Mutex<Mailchimp>; ACCOUNTS],
    ometria: [Mutex<Ometria>; ACCOUNTS],
    when_i_work: Mutex<WhenIWork>,
    receiver: Mutex<Receiver>,
    rest: Mutex<Rest>,
    troubles: Mutex<VecDeque<(Service, Trouble)>>,
    luck: Mutex<Option<Luck>>,
    seen: Mutex<Seen>,
}

impl Sandbox {
    /// Makes services without data. Each response takes `latency`.
    pub fn new(clock: Arc<dyn Clock>, latency: Duration) -> Self {
        Sandbox {
            clock,
            skew: Mutex::default(),
            latency,
            connections: Default::default(),
            mailchimp: [MAILCHIMP_KEY, SECOND_MAILCHIMP_KEY].map(|key| Mutex::new(Mailchimp::new(key))),
            ometria: [OMETRIA_KEY, SECOND_OMETRIA_KEY].map(|key| Mutex::new(Ometria::new(key))),
            when_i_work: Mutex::default(),
            receiver: Mutex::default(),
            rest: Mutex::default(),
            troubles: Mutex::default(),
            luck: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    pub fn mailchimp(&self) -> MutexGuard<'_, Mailchimp> {
        lock(&self.mailchimp[0])
    }

    pub fn ometria(&self) -> MutexGuard<'_, Ometria> {
        lock(&self.ometria[0])
    }

    /// Returns the account of [`SECOND_MAILCHIMP_KEY`].
    pub fn second_mailchimp(&self) -> MutexGuard<'_, Mailchimp> {
        lock(&self.mailchimp[1])
    }

    /// Returns the account of [`SECOND_OMETRIA_KEY`].
    pub fn second_ometria(&self) -> MutexGuard<'_, Ometria> {
        lock(&self.ometria[1])
    }

    pub fn when_i_work(&self) -> MutexGuard<'_, WhenIWork> {
        lock(&self.when_i_work)
    }

    pub fn receiver(&self) -> MutexGuard<'_, Receiver> {
        lock(&self.receiver)
    }

    pub fn rest(&self) -> MutexGuard<'_, Rest> {
        lock(&self.rest)
    }

    pub fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }

    /// Queues a trouble for the next request to `service` that no earlier trouble affects.
    pub fn trouble(&self, service: Service, trouble: Trouble) {
        lock(&self.troubles).push_back((service, trouble));
    }

    /// Makes requests fail at random and sets clocks wrong from now on, as `faults` say.
    pub fn misbehave(&self, faults: Faults) {
        *lock(&self.skew) = Skew::new(&faults, self.clock.now());
        self.mailchimp.iter().for_each(|account| lock(account).inhabit(Some(faults.clone()), self.now()));
        self.rest().inhabit(Some(&faults), self.now());
        *lock(&self.luck) = Some(Luck::new(faults));
    }

    /// Ends the random failures and corrects the clocks. Earlier changes still become visible at their time,
    /// and the services' clock stays as it is, because it stamps the members.
    pub fn behave(&self) {
        lock(&self.skew).correct();
        self.mailchimp.iter().for_each(|account| lock(account).inhabit(None, self.now()));
        self.rest().inhabit(None, self.now());
        *lock(&self.luck) = None;
    }

    /// Brings the lists up to date: applies the random changes that are due since the last request.
    pub fn live(&self) {
        self.mailchimp.iter().for_each(|account| lock(account).live(self.now()));
        self.rest().live(self.now());
    }

    /// Returns the time by the services' clock.
    fn now(&self) -> DateTime<Utc> {
        self.clock.now() + lock(&self.skew).ahead
    }

    /// Returns `clock` as the program sees it: correct, unless the faults make it jump.
    pub fn our_clock(self: &Arc<Self>, clock: Arc<dyn Clock>) -> Arc<dyn Clock> {
        Arc::new(OurClock { sandbox: Arc::clone(self), clock })
    }

    /// Returns how far the program's clock is ahead.
    fn our_skew(&self) -> TimeDelta {
        lock(&self.skew).ours(self.clock.now())
    }

    /// Responds to one request as the service would.
    pub async fn handle(&self, request: Request) -> Result<Response, TransportError> {
        match self.answer(request).await {
            Outcome::Whole(response) => Ok(response),
            Outcome::Half(_) => Err(TransportError::Broken("the response ended in the middle".into())),
            Outcome::Nothing(error) => Err(error),
        }
    }

    /// Like [`Sandbox::handle`], for a caller that can break off a response itself.
    async fn answer(&self, request: Request) -> Outcome {
        let service = match request.uri().path() {
            path if path.starts_with("/v2") => Service::Ometria,
            path if path.starts_with("/hooks/") => Service::Receiver,
            path if path.starts_with("/rest/") => Service::Rest,
            path if path == "/login" || path.starts_with("/2/") => Service::WhenIWork,
            _ => Service::Mailchimp,
        };
        let account = self.account(service, &request);
        let connection =
            (service == Service::Mailchimp).then(|| Connection::open(&self.connections[account]));
        let open = connection.as_ref().map_or(0, |connection| connection.open);
        if !self.latency.is_zero() {
            sleep(self.latency).await;
        }
        let now = self.now();
        self.live();
        let (trouble, view) = self.luck(service, now);
        let mut response = match (trouble.as_ref().and_then(Trouble::instead), service) {
            (Some(response), _) => response,
            (_, Service::Mailchimp) if open > mailchimp::MAX_CONNECTIONS => mailchimp::too_many_connections(),
            (_, Service::Mailchimp) => lock(&self.mailchimp[account]).respond(&request, view),
            (_, Service::Ometria) => lock(&self.ometria[account]).respond(&request, now),
            (_, Service::WhenIWork) => self.when_i_work().respond(&request, now),
            (_, Service::Receiver) => self.receiver().respond(&request),
            (_, Service::Rest) => self.rest().respond(&request, now),
        };
        lock(&self.seen).note(service, &request, open, &response, trouble.as_ref());
        let date = now + lock(&self.skew).date(self.clock.now());
        let date = date.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        if let Ok(date) = HeaderValue::try_from(date) {
            response.headers_mut().insert(header::DATE, date);
        }
        let Some(trouble) = trouble else { return Outcome::Whole(response) };
        let delay = trouble.delay(self.latency);
        if !delay.is_zero() {
            sleep(delay).await;
        }
        trouble.spoil(response)
    }

    /// Returns the account whose key a request has; the first one, which refuses the request, if it has no known key.
    fn account(&self, service: Service, request: &Request) -> usize {
        let is_of = |account: &usize| match service {
            Service::Mailchimp => lock(&self.mailchimp[*account]).is_authorized(request),
            Service::Ometria => lock(&self.ometria[*account]).is_authorized(request),
            Service::WhenIWork | Service::Receiver | Service::Rest => true,
        };
        (0..ACCOUNTS).find(is_of).unwrap_or(0)
    }

    /// Decides what happens to the next request. A queued trouble precedes a random one.
    fn luck(&self, service: Service, now: DateTime<Utc>) -> (Option<Trouble>, View) {
        let unspoilt = || (None, View { time: now, shuffle: None });
        let (by_chance, view) =
            lock(&self.luck).as_mut().map_or_else(unspoilt, |luck| luck.next(service, now));
        let mut troubles = lock(&self.troubles);
        let waiting = troubles.iter().position(|(of, _)| *of == service);
        let waiting = waiting.and_then(|index| troubles.remove(index)).map(|(_, trouble)| trouble);
        (waiting.or(by_chance), view)
    }
}

impl Transport for Sandbox {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(self.handle(request))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a response with a JSON body.
fn answer(status: u16, body: &Value) -> Response {
    let mut response = Response::new(body.to_string().into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = if status < 400 { "application/json" } else { "application/problem+json" };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
