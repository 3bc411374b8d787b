//! The login: the request that returns a token, and its answer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use http::{
    HeaderMap, HeaderValue, Method,
    header::{ACCEPT, CONTENT_TYPE},
};
use url::Url;

use super::super::{answer, requests::request};
use crate::{
    base::{fault::Fault, path::Path, secret::Secret, unreadable::kind},
    net::{
        AccountClient, Caller, Response,
        auth::{FetchToken, Token},
    },
};

/// A token is renewed when a tenth of its life is left, or this, if that is shorter.
const MARGIN: TimeDelta = TimeDelta::minutes(1);
/// Life of a token whose answer has no time; it is renewed when it is rejected.
const ENDLESS: TimeDelta = TimeDelta::days(3650);
/// Longest life of a token, in seconds. A longer one is taken for this.
const LONGEST: f64 = 3650.0 * 86_400.0;

/// Codes of errors, which contain no token (RFC 6749, section 5.2).
const CODES: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// The request that returns a token.
#[derive(Clone)]
pub struct Login {
    pub client: Arc<AccountClient>,
    pub url: Url,
    pub body: Bytes,
    pub content_type: HeaderValue,
    /// Path of the token.
    pub token: Path,
    /// Path of its life, in seconds.
    pub expires_in: Path,
    /// Wait between two attempts; `None` for waits that grow.
    pub retry_every: Option<Duration>,
    /// Next step if the service rejects the credentials.
    pub hint: String,
    /// Next step if the service rejects the login, possibly because of its form.
    pub advice: String,
}

impl FetchToken for Login {
    fn fetch<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, Result<Token, Fault>> {
        Box::pin(async move {
            let http = self.client.open(Caller { retry_every: self.retry_every, ..caller.clone() });
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, self.content_type.clone());
            headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
            let request = request(Method::POST, &self.url, &headers, self.body.clone());
            let read = |response: &Response| self.read(response, http.service(), http.local_now());
            let doing = format!("could not log in to {}", http.service());
            let fetched = http.call_unquoted(&doing, request, read).await;
            fetched.map_err(|fault| match fault.problem().status {
                // RFC 6749, section 5.2: a wrong password is a bad request. A service may say the same of a wrong form.
                Some(400 | 401 | 403 | 405 | 406 | 411 | 415 | 422) => fault.hint(&self.advice),
                _ => fault,
            })
        })
    }
}

impl Login {
    /// Reads the answer to a login. A message has no value of it, since any value may be the token.
    fn read(&self, response: &Response, service: &str, now: DateTime<Utc>) -> Result<Token, Fault> {
        let (answer, _) = answer::json(response, service)?;
        if let Some(fault) = answer::reported(&answer, service) {
            let fault = fault.hint(&self.advice);
            let code = answer.value().field("error").and_then(|error| error.text());
            let code = CODES.iter().find(|known| code.as_deref() == Some(*known));
            return Err(match code {
                Some(code) => fault.because(code),
                None => fault,
            });
        }
        let (token, life) = (self.token.find(answer.value()), self.expires_in.find(answer.value()));
        let text = token.and_then(|token| token.filled()).ok_or_else(|| {
            let (path, what) = (self.token.shown(), token.map_or("nothing", |token| kind(token.raw())));
            Fault::retry(format!("{service}'s response to the login has {what} at `{path}`, not a token"))
                .hint(format!("check the path in `auth.token.token`; {}", self.advice))
        })?;
        let secret = Secret::new(text.trim());
        let Some(life) = life.filter(|life| !life.is_null()) else {
            return Ok(Token { secret, renew: now + ENDLESS });
        };
        let seconds = life.parse::<f64>().filter(|seconds| *seconds > 0.0).ok_or_else(|| {
            let (path, what) = (self.expires_in.shown(), kind(life.raw()));
            let what = if life.parse() == Some(0.0) { "0" } else { what };
            Fault::retry(format!("{service}'s response to the login has {what} at `{path}`, not a number of seconds"))
                .hint("if this persists, check `auth.token.expires_in`, or report this to the operator of the source")
        })?;
        Ok(Token { secret, renew: renewal(seconds, now) })
    }
}

/// Returns the time at which a token is renewed. It is valid for `seconds` from `now` on.
fn renewal(seconds: f64, now: DateTime<Utc>) -> DateTime<Utc> {
    let life = TimeDelta::milliseconds((seconds.min(LONGEST) * 1000.0) as i64);
    now + life - MARGIN.min(life / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_before_it_ends() {
        let now = DateTime::UNIX_EPOCH;
        for (seconds, renewed) in [(3600.0, 3540), (600.0, 540), (100.0, 90), (5.0, 4), (1e300, 315_359_940)]
        {
            assert_eq!((renewal(seconds, now) - now).num_seconds(), renewed, "{seconds}");
        }
    }
}
