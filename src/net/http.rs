//! Client of an account: waits for a permit, sends, classifies and retries, so that no adapter has to.

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
    Caller, RateLimiter, Request, Response, Transport, TransportError,
    answer::{ProblemDocument, retry_after, seconds, server_time},
    auth::Session,
};
use crate::base::{
    backoff,
    clock::Clock,
    fault::{Fault, Problem},
    redact,
    secret::Secret,
};

/// One customer's account at one third party.
pub struct Account {
    /// Name of the third party in messages.
    pub service: &'static str,
    /// Environment variable of the key, for hints.
    pub key_name: &'static str,
    /// Environment variable of the address, for hints.
    pub url_name: &'static str,
    /// Base address; requests append their path to it.
    pub base: Url,
    /// Texts that no message may contain.
    pub secrets: Vec<Secret>,
    /// Headers of every request, such as the key.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Header with the service's remaining headroom, and the value below which the rate is reduced.
    pub room: Option<(HeaderName, f64)>,
}

/// Client of one account, shared by all lists.
pub struct AccountClient {
    account: Account,
    limiter: RateLimiter,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    session: Session,
    /// How far the service's clock is ahead of ours, in milliseconds, by its last successful response.
    ahead: AtomicI64,
    /// The last problem that was logged as a warning, and when.
    told: Mutex<Option<(String, Instant)>>,
}

/// Upper bound of `Retry-After`; a longer one is a mistake of the service or of a clock.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// Time in which a repeated problem is logged at `debug` only.
const OLD: Duration = Duration::from_secs(10);

/// Client of one account, for one run of one list.
#[derive(Clone)]
pub struct Http {
    client: Arc<AccountClient>,
    caller: Caller,
}

/// How the failure of a request is classified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A timeout is temporary.
    Plain,
    /// A timeout is a [`Fault::TooLarge`]: the caller requests less.
    Divisible,
    /// A rejection of the key suspends no other request.
    Aside,
}

impl AccountClient {
    /// Makes the client of an account.
    pub fn new(
        account: Account,
        limiter: RateLimiter,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let (session, ahead, told) = (Session::default(), AtomicI64::new(0), Mutex::default());
        Arc::new(AccountClient { account, limiter, transport, clock, session, ahead, told })
    }

    /// Whether a problem is worth a warning: not logged in the last [`OLD`].
    fn is_news(&self, trouble: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let known = told.as_ref().is_some_and(|(known, when)| known == trouble && when.elapsed() < OLD);
        if !known {
            *told = Some((trouble.to_owned(), Instant::now()));
        }
        !known
    }

    /// Returns the client for the requests of one caller.
    pub fn open(self: &Arc<Self>, caller: Caller) -> Http {
        Http { client: Arc::clone(self), caller }
    }
}

impl Http {
    /// Returns the service's time by its last successful response, never ahead of its clock; our own time
    /// before the first response.
    pub fn now(&self) -> DateTime<Utc> {
        self.client.clock.now() + TimeDelta::milliseconds(self.client.ahead.load(Ordering::Relaxed))
    }

    /// Returns the address and the keys, which identify the account. Contains secrets.
    pub fn account(&self) -> String {
        let keys: Vec<&str> = self.client.account.secrets.iter().map(Secret::reveal).collect();
        format!("{} {}", self.client.account.base, keys.join(" "))
    }

    /// Returns the address of the account, without keys and without a final slash.
    pub fn address(&self) -> String {
        self.client.account.base.as_str().trim_end_matches('/').to_owned()
    }

    /// Returns the cache for the token of the account, which is empty for accounts without a login.
    pub fn session(&self) -> &Session {
        &self.client.session
    }

    /// Builds `GET base/segment/segment?name=value`. Segments and values may contain any character.
    pub fn get(&self, path: &[&str], query: &[(&str, String)]) -> Request {
        let mut url = self.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.request(http::Method::GET, url, Bytes::new())
    }

    /// Builds `POST base/segment` with a JSON body.
    pub fn post(&self, path: &[&str], body: Bytes) -> Request {
        let mut request = self.request(http::Method::POST, self.url(path), body);
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.client.account.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    fn request(&self, method: http::Method, url: Url, body: Bytes) -> Request {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        // A `Url` with the scheme http(s) is a valid `Uri`; if it were not, the request would fail.
        *request.uri_mut() = url.as_str().parse().unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.extend(self.client.account.headers.iter().cloned());
        request
    }

    /// Sends a request and reads the response with `read`. Repeats the request after temporary failures: at
    /// most [`backoff::TRIES`] attempts within [`backoff::PATIENCE`].
    ///
    /// # Errors
    ///
    /// [`Fault::List`] after a permanent failure or the last attempt, or another fault of `read`. The message
    /// begins with `doing`, such as ``could not read list `a` ``.
    pub async fn call<T>(
        &self,
        doing: &str,
        request: Request,
        read: impl Fn(&Response) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.send(doing, request, Kind::Plain, read).await
    }

    /// Like [`Self::call`], for a request that can be divided: a timeout is a [`Fault::TooLarge`] at once.
    pub async fn call_divisible<T>(
        &self,
        doing: &str,
        request: Request,
        read: impl Fn(&Response) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.send(doing, request, Kind::Divisible, read).await
    }

    /// Like [`Self::call`], for a request that a valid key may not permit: a rejection suspends nothing else.
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
                self.client.limiter.park(fault.problem());
            }
            let start = *failed.get_or_insert_with(Instant::now);
            let after = if let Fault::Retryable { after, .. } = &fault { *after } else { None };
            let after = after.map(|after| after.min(LONGEST_WAIT));
            let wait = backoff::delay(attempt, fastrand::f64(), after);
            // The rate limiter pauses all callers, even if this request is not repeated.
            let rests = asks_for_rest(fault.problem());
            let begins = rests && matches!(fault, Fault::Retryable { .. }) && self.client.limiter.cool(wait);
            if self.caller.no_retry
                && let Fault::Retryable { problem, .. } | Fault::TooLarge(problem) = fault
            {
                let told = "`retry` is false; the next run tries again";
                return Err(Fault::List(problem).also(told).during(doing));
            }
            let Fault::Retryable { problem, .. } = &fault else { return Err(fault.during(doing)) };
            if attempt == backoff::TRIES || start.elapsed().saturating_add(wait) > backoff::PATIENCE {
                let tried = format!("tried {attempt} times in {} s", start.elapsed().as_secs());
                return Err(Fault::List(problem.clone()).also(&tried).during(doing));
            }
            let seconds = wait.as_secs_f64();
            let again = format!("attempt {} of {} in {seconds:.1} s", attempt + 1, backoff::TRIES);
            // In an outage every request in flight meets the same problem.
            let news = if rests { begins } else { self.client.is_news(&problem.to_string()) };
            let service = self.client.account.service;
            match (news, rests) {
                (true, true) => {
                    warn!("{doing}: {problem}; pausing all requests to {service}, {again}.")
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

    /// Makes one attempt. Releases the permit before any other wait.
    async fn try_once(&self, request: Request, kind: Kind) -> Result<Response, Fault> {
        let (answer, sent) = {
            let permit = self.client.limiter.enter(&self.caller).await?;
            (self.client.transport.send(request).await, permit.sent)
        };
        let response = answer.map_err(|error| {
            let Account { service, base, url_name, .. } = &self.client.account;
            let host = base.origin().ascii_serialization();
            let fault = Fault::retry(format!("no complete response from {service} at {host}"))
                .because(&error)
                .hint(format!("if this persists, check the network and `{url_name}`"));
            if matches!(error, TransportError::TimedOut) { kind.fault(fault) } else { fault }
        })?;
        if let Some((header, plenty)) = &self.client.account.room
            && let Some(left) = response.headers().get(header).and_then(|value| value.to_str().ok())
            && let Ok(left) = left.parse::<f64>()
        {
            self.client.limiter.room(left / plenty);
        }
        match response.status() {
            status if status.is_success() => {
                self.client.limiter.succeeded();
                Ok(response)
            }
            StatusCode::TOO_MANY_REQUESTS => {
                self.client.limiter.too_soon(sent);
                Err(self.refusal(&response))
            }
            StatusCode::GATEWAY_TIMEOUT => Err(kind.fault(self.refusal(&response))),
            _ => Err(self.refusal(&response)),
        }
    }

    /// Whether the service rejected the key, as it would in every request until a person corrects the key.
    fn refuses_key(&self, fault: &Fault) -> bool {
        matches!(fault, Fault::List(problem) if matches!(problem.status, Some(401 | 403)))
    }

    /// Takes the service's time from a response.
    fn note_time(&self, response: &Response) {
        if let Some(time) = server_time(response) {
            self.client.ahead.store((time - self.client.clock.now()).num_milliseconds(), Ordering::Relaxed);
        }
    }

    /// Classifies a status other than 2xx. One set of rules fits all services: a 403 with a JSON body rejects
    /// the key, a 403 without one comes from a content network that throttles.
    fn refusal(&self, response: &Response) -> Fault {
        let (service, status) = (self.client.account.service, response.status());
        let problem = ProblemDocument::read(response.body());
        let key = self.client.account.key_name;
        let reason = status.canonical_reason().unwrap_or("").to_lowercase();
        let what = format!("{service} returned {} {reason}", status.as_u16());
        let fault = match status {
            StatusCode::UNAUTHORIZED => {
                Fault::list(what.trim_end()).hint(format!("check the key in `{key}`"))
            }
            StatusCode::FORBIDDEN if problem.is_some() => {
                Fault::list(what.trim_end()).hint(format!("check the permissions of the key in `{key}`"))
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
                    *after = retry_after(response, self.client.clock.now())
                        .or_else(|| seconds(&text?).filter(|_| status == StatusCode::TOO_MANY_REQUESTS));
                }
                fault
            }
            status if status.is_redirection() => Fault::list(what.trim_end()).hint(format!(
                "redirects are not followed, to protect the key; check `{}`",
                self.client.account.url_name
            )),
            StatusCode::NOT_FOUND => {
                Fault::list(what.trim_end()).hint(format!("check `{}`", self.client.account.url_name))
            }
            _ => Fault::list(what.trim_end()),
        };
        let fault = fault.status(status.as_u16());
        match problem.as_ref().and_then(ProblemDocument::text).map(|text| self.safe(&text)) {
            Some(text) if text != reason => fault.because(text),
            _ => fault,
        }
    }

    /// Adds the service's own text to the fault of a 2xx response, whose body may report an error.
    fn explained(&self, fault: Fault, response: &Response) -> Fault {
        let Some(problem) = ProblemDocument::read(response.body()) else { return fault };
        match problem.text().map(|text| self.safe(&text)).or_else(|| problem.sign()) {
            Some(text) => fault.because(text),
            None => fault,
        }
    }

    /// Redacts a third party's text for a message: one short line without keys and personal data.
    fn safe(&self, text: &str) -> String {
        let secrets = self.client.account.secrets.iter().cloned().chain(self.client.session.secret());
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

/// Whether a failure begins a cool-down: too many requests, overload, or a content network's 403.
fn asks_for_rest(problem: &Problem) -> bool {
    matches!(problem.status, Some(403 | 429 | 503))
}
