//! gate, send, classify, retry. No adapter retries and none waits: that is done here, once, for all of them.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderName, HeaderValue, StatusCode, header};
use log::{debug, warn};
use tokio::time::{Instant, sleep};
use url::Url;

use super::{
    Caller, Gate, Request, Response, Transport, TransportError,
    answer::{ProblemDocument, retry_after, seconds, server_time},
    auth::Session,
    backoff,
};
use crate::base::{
    clock::Clock,
    fault::{Fault, Problem},
    redact,
    secret::Secret,
};

/// One customer's account at one third party.
pub struct Account {
    /// The third party's name, as in a message.
    pub service: &'static str,
    /// The environment variables of the key and of the address, for hints.
    pub key_name: &'static str,
    pub url_name: &'static str,
    pub base: Url,
    /// What no message may show.
    pub secrets: Vec<Secret>,
    /// What every request carries, the key above all.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The header that tells how much the service still takes, and the number below which the pace goes down in proportion.
    pub room: Option<(HeaderName, f64)>,
}

/// The door of one account, shared by all lists.
pub struct Door {
    account: Account,
    gate: Gate,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    session: Session,
    /// How far the service's clock is ahead of ours, in milliseconds, by its last good answer.
    ahead: AtomicI64,
    /// The last trouble that was told, and when.
    told: Mutex<Option<(String, Instant)>>,
}

/// What a service asks for beyond this is a mistake of its or of a clock.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// How long the same trouble is no news.
const OLD: Duration = Duration::from_secs(10);

/// The door of one account, for one run of one list.
#[derive(Clone)]
pub struct Http {
    door: Arc<Door>,
    caller: Caller,
}

/// What a failure of a request says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// One that takes the service too long is a [`Fault::TooLarge`]: the caller asks for less.
    Divisible,
    /// A refusal says nothing of the others.
    Aside,
}

impl Door {
    pub fn new(
        account: Account,
        gate: Gate,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let (session, ahead, told) = (Session::default(), AtomicI64::new(0), Mutex::default());
        Arc::new(Door { account, gate, transport, clock, session, ahead, told })
    }

    fn is_news(&self, trouble: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let known = told.as_ref().is_some_and(|(known, when)| known == trouble && when.elapsed() < OLD);
        if !known {
            *told = Some((trouble.to_owned(), Instant::now()));
        }
        !known
    }

    pub fn open(self: &Arc<Self>, caller: Caller) -> Http {
        Http { door: Arc::clone(self), caller }
    }
}

impl Http {
    /// The time by the service's clock as its last good answer told it, never later than it is there; our own before the
    /// first answer.
    pub fn now(&self) -> DateTime<Utc> {
        self.door.clock.now() + TimeDelta::milliseconds(self.door.ahead.load(Ordering::Relaxed))
    }

    /// Which account it is: its address and its keys.
    pub fn account(&self) -> String {
        let keys: Vec<&str> = self.door.account.secrets.iter().map(Secret::reveal).collect();
        format!("{} {}", self.door.account.base, keys.join(" "))
    }

    /// Returns the address of the account, without keys and without a final slash.
    pub fn address(&self) -> String {
        self.door.account.base.as_str().trim_end_matches('/').to_owned()
    }

    /// The token of the account, if it has one that is fetched.
    pub fn session(&self) -> &Session {
        &self.door.session
    }

    /// `GET base/segment/segment?name=value`; segments and values may hold anything.
    pub fn get(&self, path: &[&str], query: &[(&str, String)]) -> Request {
        let mut url = self.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.request(http::Method::GET, url, Bytes::new())
    }

    /// `POST base/segment` with a JSON body.
    pub fn post(&self, path: &[&str], body: Bytes) -> Request {
        let mut request = self.request(http::Method::POST, self.url(path), body);
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.door.account.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    fn request(&self, method: http::Method, url: Url, body: Bytes) -> Request {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        // A `Url` that was read as http(s) is a valid `Uri`; were it not, the request would fail, not panic.
        *request.uri_mut() = url.as_str().parse().unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.extend(self.door.account.headers.iter().cloned());
        request
    }

    /// Sends a request until `read` makes something of a successful answer. Whatever may pass by itself is tried
    /// again; what is left is a [`Fault::List`] that says what was being done: `doing`, such as
    /// ``could not read list `a` ``.
    pub async fn call<T>(
        &self,
        doing: &str,
        request: Request,
        read: impl Fn(&Response) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.send(doing, request, Kind::Plain, read).await
    }

    /// As [`Self::call`], for a request that could ask for less: one that takes the service too long is not sent again
    /// as it is, but a [`Fault::TooLarge`].
    pub async fn call_divisible<T>(
        &self,
        doing: &str,
        request: Request,
        read: impl Fn(&Response) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.send(doing, request, Kind::Divisible, read).await
    }

    /// As [`Self::call`], for what the key may lack the right to without being wrong.
    pub async fn call_aside<T>(
        &self,
        doing: &str,
        request: Request,
        read: impl Fn(&Response) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.send(doing, request, Kind::Aside, read).await
    }

    async fn send<T>(
        &self,
        doing: &str,
        request: Request,
        kind: Kind,
        read: impl Fn(&Response) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let (mut attempt, mut failed) = (1, None);
        loop {
            let tried = self.try_once(request.clone(), kind).await;
            let read = |response: Response| match read(&response) {
                Ok(result) => Ok((result, response)),
                Err(fault) => Err(self.explained(fault, &response)),
            };
            let fault = match tried.and_then(read) {
                Ok((result, response)) => {
                    self.note_time(&response);
                    return Ok(result);
                }
                Err(fault) => fault,
            };
            if kind != Kind::Aside && self.refuses_key(&fault) {
                self.door.gate.park(fault.problem());
            }
            let start = *failed.get_or_insert_with(Instant::now);
            let after = if let Fault::Retryable { after, .. } = &fault { *after } else { None };
            let after = after.map(|after| after.min(LONGEST_WAIT));
            let wait = backoff::delay(attempt, fastrand::f64(), after);
            // The gate waits, for everybody, also if this request is given up.
            let rests = asks_for_rest(fault.problem());
            let begins = rests && matches!(fault, Fault::Retryable { .. }) && self.door.gate.cool(wait);
            if self.caller.once
                && let Fault::Retryable { problem, .. } | Fault::TooLarge(problem) = fault
            {
                let told = "`retry` is false: the next run asks again";
                return Err(Fault::List(problem).also(told).during(doing));
            }
            let Fault::Retryable { problem, .. } = &fault else { return Err(fault.during(doing)) };
            if attempt == backoff::TRIES || start.elapsed().saturating_add(wait) > backoff::PATIENCE {
                let tried = format!("tried {attempt} times in {} s", start.elapsed().as_secs());
                return Err(Fault::List(problem.clone()).also(&tried).during(doing));
            }
            let seconds = wait.as_secs_f64();
            let again = format!("trying again in {seconds:.1} s ({attempt} of {})", backoff::TRIES);
            // In an outage every request under way meets the same.
            let news = if rests { begins } else { self.door.is_news(&problem.to_string()) };
            let service = self.door.account.service;
            match (news, rests) {
                (true, true) => {
                    warn!("{doing}: {problem}; nothing is asked of {service} meanwhile, {again}.")
                }
                (true, false) => warn!("{doing}: {problem}; {again}."),
                (false, _) => debug!("{doing}: {problem}; {again}."),
            }
            if !rests {
                sleep(wait).await;
            }
            attempt += 1;
        }
    }

    /// One try. The permit is given back before anything else is waited for.
    async fn try_once(&self, request: Request, kind: Kind) -> Result<Response, Fault> {
        let (answer, sent) = {
            let permit = self.door.gate.enter(&self.caller).await?;
            (self.door.transport.send(request).await, permit.sent)
        };
        let response = answer.map_err(|error| {
            let Account { service, base, url_name, .. } = &self.door.account;
            let host = base.origin().ascii_serialization();
            let fault = Fault::retry(format!("no whole answer from {service} at {host}"))
                .because(&error)
                .hint(format!("if this lasts, check the network and `{url_name}`"));
            if matches!(error, TransportError::TimedOut) { kind.fault(fault) } else { fault }
        })?;
        if let Some((header, plenty)) = &self.door.account.room
            && let Some(left) = response.headers().get(header).and_then(|value| value.to_str().ok())
            && let Ok(left) = left.parse::<f64>()
        {
            self.door.gate.room(left / plenty);
        }
        match response.status() {
            status if status.is_success() => {
                self.door.gate.succeeded();
                Ok(response)
            }
            StatusCode::TOO_MANY_REQUESTS => {
                self.door.gate.too_soon(sent);
                Err(self.refusal(&response))
            }
            StatusCode::GATEWAY_TIMEOUT => Err(kind.fault(self.refusal(&response))),
            _ => Err(self.refusal(&response)),
        }
    }

    /// Every request would be refused; none is pressed on the service before somebody could have mended it.
    fn refuses_key(&self, fault: &Fault) -> bool {
        matches!(fault, Fault::List(problem) if matches!(problem.status, Some(401 | 403)))
    }

    fn note_time(&self, response: &Response) {
        if let Some(time) = server_time(response) {
            self.door.ahead.store((time - self.door.clock.now()).num_milliseconds(), Ordering::Relaxed);
        }
    }

    /// What a status other than 2xx means. The rules that differ between services are few enough to stand here:
    /// a refusal of the key is JSON, a 403 without JSON comes from a content network that throttles.
    fn refusal(&self, response: &Response) -> Fault {
        let (service, status) = (self.door.account.service, response.status());
        let problem = ProblemDocument::read(response.body());
        let key = self.door.account.key_name;
        let reason = status.canonical_reason().unwrap_or("").to_lowercase();
        let what = format!("{service} answered {} {reason}", status.as_u16());
        let fault = match status {
            StatusCode::UNAUTHORIZED => {
                Fault::list(what.trim_end()).hint(format!("check the key in `{key}`"))
            }
            StatusCode::FORBIDDEN if problem.is_some() => {
                Fault::list(what.trim_end()).hint(format!("check the rights of the key in `{key}`"))
            }
            status
                if status.is_server_error()
                    || matches!(
                        status,
                        StatusCode::FORBIDDEN
                            | StatusCode::REQUEST_TIMEOUT
                            | StatusCode::MISDIRECTED_REQUEST
                            | StatusCode::TOO_EARLY
                            | StatusCode::TOO_MANY_REQUESTS
                    ) =>
            {
                let mut fault = Fault::retry(what.trim_end());
                if let Fault::Retryable { after, .. } = &mut fault {
                    let text = problem.as_ref().and_then(ProblemDocument::text);
                    *after = retry_after(response, self.door.clock.now())
                        .or_else(|| seconds(&text?).filter(|_| status == StatusCode::TOO_MANY_REQUESTS));
                }
                fault
            }
            status if status.is_redirection() => Fault::list(what.trim_end()).hint(format!(
                "redirects are not followed with a key; check `{}`",
                self.door.account.url_name
            )),
            StatusCode::NOT_FOUND => {
                Fault::list(what.trim_end()).hint(format!("check `{}`", self.door.account.url_name))
            }
            _ => Fault::list(what.trim_end()),
        };
        let fault = fault.status(status.as_u16());
        match problem.as_ref().and_then(ProblemDocument::text).map(|text| self.safe(&text)) {
            Some(text) if text != reason => fault.because(text),
            _ => fault,
        }
    }

    /// Adds the service's own words to the fault of an answer with a good status, whose body may still report an error.
    fn explained(&self, fault: Fault, response: &Response) -> Fault {
        let Some(problem) = ProblemDocument::read(response.body()) else { return fault };
        match problem.text().map(|text| self.safe(&text)).or_else(|| problem.sign()) {
            Some(text) => fault.because(text),
            None => fault,
        }
    }

    /// Another party's text, made fit for a log: one line, short, without the key and without addresses.
    fn safe(&self, text: &str) -> String {
        let secrets = self.door.account.secrets.iter().cloned().chain(self.door.session.secret());
        let stars = secrets.fold(text.to_owned(), |text, secret| text.replace(secret.reveal(), "***"));
        redact::line(&stars)
    }
}

impl Kind {
    fn fault(self, fault: Fault) -> Fault {
        match (self, fault) {
            (Kind::Divisible, Fault::Retryable { problem, .. }) => Fault::TooLarge(problem),
            (_, fault) => fault,
        }
    }
}

/// Whether the service asks to be left alone, and not only by this request: too many requests, overload, or a content network
/// that throttles with a 403.
fn asks_for_rest(problem: &Problem) -> bool {
    matches!(problem.status, Some(403 | 429 | 503))
}
