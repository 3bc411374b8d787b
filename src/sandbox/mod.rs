//! Emulators of both services, faithful to what is documented and observed of them: a function from request to
//! response with a memory. In a test or the demo it stands in for the network; [`serve`] puts it on loopback.
//! Sees the network's words and the base, nothing else.

pub mod mailchimp;
pub mod ometria;
pub mod people;
pub mod serve;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tokio::time::sleep;

use self::{mailchimp::Mailchimp, ometria::Ometria};
use crate::{
    base::clock::Clock,
    net::{Request, Response, Transport, TransportError},
};

/// The keys that the sandbox accepts.
pub const MAILCHIMP_KEY: &str = "0123456789abcdef0123456789abcdef-us1";
pub const OMETRIA_KEY: &str = "sandbox-ometria-key";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Mailchimp,
    Ometria,
}

/// One answer gone wrong.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// Refused with this status, a JSON body, and `Retry-After` if given.
    Status(u16, Option<&'static str>),
    /// Not carried out: this status and this body, of type HTML.
    Html(u16, &'static str),
    /// The request is carried out, the answer stops in the middle.
    Truncated,
    /// The request is carried out, the connection is reset before the answer.
    Reset,
}

/// What the outside saw.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// Path and query of the latest requests to Mailchimp.
    pub reads: VecDeque<String>,
    /// Records in each of the latest pushes to Ometria.
    pub pushes: VecDeque<usize>,
    /// The most simultaneous requests to Mailchimp.
    pub peak: usize,
    /// Requests answered with 429.
    pub throttled: usize,
}

/// How many requests [`Seen`] remembers.
const REMEMBERED: usize = 10_000;

/// Both services and what was seen of their use.
pub struct Sandbox {
    clock: Arc<dyn Clock>,
    latency: Duration,
    connections: AtomicUsize,
    mailchimp: Mutex<Mailchimp>,
    ometria: Mutex<Ometria>,
    troubles: Mutex<VecDeque<(Service, Trouble)>>,
    seen: Mutex<Seen>,
}

impl Sandbox {
    /// `latency`: how long each answer takes.
    pub fn new(clock: Arc<dyn Clock>, latency: Duration) -> Self {
        Sandbox {
            clock,
            latency,
            connections: AtomicUsize::new(0),
            mailchimp: Mutex::new(Mailchimp::default()),
            ometria: Mutex::new(Ometria::default()),
            troubles: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    pub fn mailchimp(&self) -> MutexGuard<'_, Mailchimp> {
        lock(&self.mailchimp)
    }

    pub fn ometria(&self) -> MutexGuard<'_, Ometria> {
        lock(&self.ometria)
    }

    pub fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }

    /// The next request to `service` that no earlier trouble meets will meet this one.
    pub fn trouble(&self, service: Service, trouble: Trouble) {
        lock(&self.troubles).push_back((service, trouble));
    }

    /// Answers one request as the service would.
    pub async fn handle(&self, request: Request) -> Result<Response, TransportError> {
        let service =
            if request.uri().path().starts_with("/v2") { Service::Ometria } else { Service::Mailchimp };
        let connection = (service == Service::Mailchimp).then(|| Connection::open(&self.connections));
        let open = connection.as_ref().map_or(0, |connection| connection.open);
        if !self.latency.is_zero() {
            sleep(self.latency).await;
        }
        let now = self.clock.now();
        let trouble = self.next_trouble(service);
        let mut response = match (&trouble, service) {
            (Some(Trouble::Status(status, retry_after)), _) => refusal(*status, *retry_after),
            (Some(Trouble::Html(status, body)), _) => html(*status, body),
            (_, Service::Mailchimp) if open > mailchimp::MAX_CONNECTIONS => mailchimp::too_many_connections(),
            (_, Service::Mailchimp) => self.mailchimp().respond(&request),
            (_, Service::Ometria) => self.ometria().respond(&request, now),
        };
        self.note(service, &request, open, &response);
        match trouble {
            Some(Trouble::Reset) => return Err(TransportError::Broken("connection reset by peer".into())),
            Some(Trouble::Truncated) => {
                let half = response.body().len() / 2;
                response.body_mut().truncate(half);
            }
            _ => {}
        }
        let date = now.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        if let Ok(date) = HeaderValue::try_from(date) {
            response.headers_mut().insert(header::DATE, date);
        }
        Ok(response)
    }

    fn next_trouble(&self, service: Service) -> Option<Trouble> {
        let mut troubles = lock(&self.troubles);
        let index = troubles.iter().position(|(of, _)| *of == service)?;
        troubles.remove(index).map(|(_, trouble)| trouble)
    }

    fn note(&self, service: Service, request: &Request, open: usize, response: &Response) {
        let mut seen = lock(&self.seen);
        seen.peak = seen.peak.max(open);
        seen.throttled += usize::from(response.status() == StatusCode::TOO_MANY_REQUESTS);
        match service {
            Service::Mailchimp => seen.reads.push_back(request.uri().to_string()),
            Service::Ometria => {
                let records =
                    serde_json::from_slice::<Vec<Value>>(request.body()).map_or(0, |batch| batch.len());
                seen.pushes.push_back(records);
            }
        }
        if seen.reads.len() > REMEMBERED {
            seen.reads.pop_front();
        }
        if seen.pushes.len() > REMEMBERED {
            seen.pushes.pop_front();
        }
    }
}

impl Transport for Sandbox {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(self.handle(request))
    }
}

/// One of the connections that are open now.
struct Connection<'a> {
    all: &'a AtomicUsize,
    open: usize,
}

impl<'a> Connection<'a> {
    fn open(all: &'a AtomicUsize) -> Self {
        let open = all.fetch_add(1, Ordering::Relaxed) + 1;
        Connection { all, open }
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(status: u16, body: &Value) -> Response {
    let mut response = Response::new(body.to_string().into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = if status < 400 { "application/json" } else { "application/problem+json" };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn refusal(status: u16, retry_after: Option<&'static str>) -> Response {
    let title = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let mut response = answer(status, &json!({"title": title, "status": status}));
    if let Some(after) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(after));
    }
    response
}

fn html(status: u16, body: &'static str) -> Response {
    let mut response = answer(status, &Value::Null);
    *response.body_mut() = Bytes::from_static(body.as_bytes());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}
