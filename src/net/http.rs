//! Client of an account over HTTP: makes requests, sends them as calls, and reads the answers, so that no adapter
//! has to retry or wait.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderValue, header};
use url::Url;

use super::{
    Account, Caller, Request, Response, Transport, TransportError,
    answer::{ProblemDocument, dated, server_time},
    auth::Auth,
    call::{Calls, Effect, Judged},
    classify::{Rules, Verdict},
};
use crate::base::{clock::Clock, fault::Fault, secret::Secret};

/// Client of one account, shared by all lists.
pub struct AccountClient {
    account: Account,
    calls: Calls,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    /// How far the service's clock is ahead of ours, in milliseconds, by its last successful response.
    ahead: AtomicI64,
}

/// Client of one account, for one run of one list.
#[derive(Clone)]
pub struct Http {
    client: Arc<AccountClient>,
    caller: Caller,
    /// Rules in place of those of the account.
    rules: Option<Arc<Rules>>,
    /// Texts that no message may contain, in addition to those of the account.
    secrets: Arc<[Secret]>,
}

/// Treatment of a request's failures.
#[derive(Debug, Clone, Copy, Default)]
struct Options {
    /// A timeout is a [`Fault::TooLarge`]: the caller requests less.
    divisible: bool,
    /// A rejection of the key suspends no other request.
    aside: bool,
    /// No message quotes a field of an accepted response.
    unquoted: bool,
}

impl AccountClient {
    /// Makes the client of an account.
    pub fn new(
        account: Account,
        calls: Calls,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(AccountClient { account, calls, transport, clock, ahead: AtomicI64::new(0) })
    }

    /// Returns the client for the requests of one caller.
    pub fn open(self: &Arc<Self>, caller: Caller) -> Http {
        Http { client: Arc::clone(self), caller, rules: None, secrets: Arc::default() }
    }

    /// Takes the service's time from a response.
    fn note_time(&self, response: &Response) {
        if let Some(time) = server_time(response) {
            self.ahead.store((time - self.clock.now()).num_milliseconds(), Ordering::Relaxed);
        }
    }
}

impl Http {
    /// Replaces the rules of the account for the requests of this client.
    pub fn with_rules(self, rules: Rules) -> Self {
        Http { rules: Some(Arc::new(rules)), ..self }
    }

    /// Keeps these texts out of the messages about the answers to this client, in addition to those of the account.
    pub fn with_secrets(self, secrets: Vec<Secret>) -> Self {
        Http { secrets: secrets.into(), ..self }
    }

    /// Returns the service's time by its last successful response, never ahead of its clock; our own time
    /// before the first response.
    pub fn now(&self) -> DateTime<Utc> {
        self.client.clock.now() + TimeDelta::milliseconds(self.client.ahead.load(Ordering::Relaxed))
    }

    /// Returns our own time, by which tokens expire.
    pub fn local_now(&self) -> DateTime<Utc> {
        self.client.clock.now()
    }

    /// Returns the address and the keys, which identify the account. Contains secrets.
    pub fn account(&self) -> String {
        self.client.account.identity()
    }

    /// Returns the address of the account, without keys and without a final slash.
    pub fn address(&self) -> String {
        self.client.account.base.as_str().trim_end_matches('/').to_owned()
    }

    /// Returns the name of the account in messages.
    pub fn service(&self) -> &str {
        &self.client.account.service
    }

    /// Returns the time of a source's response, by the source's clock.
    ///
    /// # Errors
    ///
    /// The response has no readable `Date` header; see [`dated`].
    pub fn dated(&self, response: &Response) -> Result<DateTime<Utc>, Fault> {
        dated(response, &self.client.account.service, &self.client.account.url_name)
    }

    /// Redacts a text of an accepted answer for a message or a dead letter: one short line without the keys of
    /// the account, the secrets of this client, and personal data.
    pub fn redacted(&self, text: &str) -> String {
        self.client.account.redacted(text, &self.secrets)
    }

    /// Builds `GET base/segment/segment?name=value`. Segments and values may contain any character.
    pub fn get(&self, path: &[&str], query: &[(&str, String)]) -> Request {
        let mut url = self.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        request(http::Method::GET, &url, Bytes::new())
    }

    /// Builds `POST base/segment` with a JSON body.
    pub fn post(&self, path: &[&str], body: Bytes) -> Request {
        let mut request = request(http::Method::POST, &self.url(path), body);
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

    /// Sends a request with the credentials of the account, and reads the response with `read`. Repeats the
    /// request after temporary failures, as [`Calls::run`] does.
    ///
    /// # Errors
    ///
    /// [`Fault::List`] after a permanent failure or the last attempt, [`Fault::TooLarge`] if the content is
    /// refused, or another fault of `read`. The message begins with `doing`, such as
    /// ``could not read list `a` ``.
    pub async fn call<T>(
        &self,
        doing: &str,
        request: Request,
        read: impl Fn(&Response) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.send(doing, request, Options::default(), read).await
    }

    /// Like [`Self::call`], for a request that can be divided: a timeout is a [`Fault::TooLarge`] at once.
    pub async fn call_divisible<T>(
        &self,
        doing: &str,
        request: Request,
        read: impl Fn(&Response) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.send(doing, request, Options { divisible: true, ..Options::default() }, read).await
    }

    /// Like [`Self::call`], for a request that a valid key may not permit: a rejection suspends nothing else.
    pub async fn call_aside<T>(
        &self,
        doing: &str,
        request: Request,
        read: impl Fn(&Response) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.send(doing, request, Options { aside: true, ..Options::default() }, read).await
    }

    /// Like [`Self::call`], for a login: any field of an accepted response may be the token, so no message quotes one.
    pub async fn call_unquoted<T>(
        &self,
        doing: &str,
        request: Request,
        read: impl Fn(&Response) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.send(doing, request, Options { unquoted: true, ..Options::default() }, read).await
    }

    /// Sends a request. If the service rejects a token that was fetched, sends it once more with another one.
    async fn send<T>(
        &self,
        doing: &str,
        request: Request,
        options: Options,
        read: impl Fn(&Response) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let rejected = AtomicBool::new(false);
        let judge = |options: Options| {
            let (read, rejected) = (&read, &rejected);
            move |answer| self.judge(answer, options, rejected, read)
        };
        let Auth::Token(session) = &self.client.account.auth else {
            return self.attempts(doing, request, None, judge(options)).await;
        };
        let token = session.token(self.local_now(), &self.caller).await?;
        // The token may have been revoked. The key is rejected only if a new token is, too.
        let first = judge(Options { aside: true, ..options });
        let result = self.attempts(doing, request.clone(), Some(&token), first).await;
        if result.is_ok() || !rejected.load(Ordering::Relaxed) {
            return result;
        }
        session.refused(&token);
        let token = session.token(self.local_now(), &self.caller).await?;
        self.attempts(doing, request, Some(&token), judge(options)).await
    }

    async fn attempts<T>(
        &self,
        doing: &str,
        mut request: Request,
        token: Option<&Secret>,
        judge: impl Fn(Result<Response, TransportError>) -> Judged<T>,
    ) -> Result<T, Fault> {
        let AccountClient { account, calls, transport, .. } = &*self.client;
        account.sign(&mut request, token)?;
        calls.run(&self.caller, doing, || transport.send(request.clone()), judge).await
    }

    /// Judges the outcome of an attempt, and reads an accepted response. Sets `rejected` if the key was
    /// rejected.
    fn judge<T>(
        &self,
        answer: Result<Response, TransportError>,
        options: Options,
        rejected: &AtomicBool,
        read: impl Fn(&Response) -> Result<T, Fault>,
    ) -> Judged<T> {
        let AccountClient { account, clock, .. } = &*self.client;
        let response = match answer {
            Ok(response) => response,
            Err(error) => {
                let (slow, effect) = match &error {
                    TransportError::TimedOut => (true, Effect::Neutral),
                    TransportError::Unreachable(_) => (false, Effect::Unreachable),
                    TransportError::TooLarge | TransportError::Broken(_) => (false, Effect::Neutral),
                };
                let fault = options.divide(slow, account.unanswered(&error));
                return Judged { result: Err(fault), effect, headroom: None };
            }
        };
        let headroom = account.headroom(&response);
        let rules = self.rules.as_deref().unwrap_or(&account.rules);
        let is_problem = || ProblemDocument::read(response.body()).is_some();
        let verdict = rules.verdict(response.status().as_u16(), is_problem);
        if verdict == Verdict::Accepted {
            let result = read(&response).map_err(|fault| match options.unquoted {
                true => fault,
                false => account.explained(fault, &response, &self.secrets),
            });
            if result.is_ok() {
                self.client.note_time(&response);
            }
            return Judged { result, effect: Effect::Accepted, headroom };
        }
        rejected.store(verdict == Verdict::KeyRejected, Ordering::Relaxed);
        let fault = account.refusal(verdict, &response, clock.now(), &self.secrets);
        let fault = options.divide(verdict == Verdict::TooSlow, fault);
        Judged { result: Err(fault), effect: options.effect(verdict), headroom }
    }
}

impl Options {
    /// Turns the fault of a request that took too long into [`Fault::TooLarge`] if the request can be divided.
    fn divide(self, slow: bool, fault: Fault) -> Fault {
        match fault {
            Fault::Retryable { problem, .. } if slow && self.divisible => Fault::TooLarge(problem),
            fault => fault,
        }
    }

    /// Returns what a verdict means for the other requests of the account.
    fn effect(self, verdict: Verdict) -> Effect {
        match verdict {
            Verdict::Accepted => Effect::Accepted,
            Verdict::Overloaded => Effect::Overloaded,
            Verdict::Throttled => Effect::Throttled,
            Verdict::KeyRejected | Verdict::Forbidden if !self.aside => Effect::KeyRejected,
            _ => Effect::Neutral,
        }
    }
}

fn request(method: http::Method, url: &Url, body: Bytes) -> Request {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    // A `Url` with the scheme http(s) is a valid `Uri`; if it were not, the request would fail.
    *request.uri_mut() = url.as_str().parse().unwrap_or_default();
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    request
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
