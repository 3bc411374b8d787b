//! One account at one third party: its names, its credentials, and the faults of its answers.

use std::{borrow::Cow, cmp::Reverse};

use chrono::{DateTime, Utc};
use http::HeaderName;
use url::Url;

use super::{
    Request, Response, TransportError,
    answer::{ProblemDocument, retry_after, seconds},
    auth::Auth,
    classify::{Rules, Verdict},
};
use crate::base::{fault::Fault, redact, secret::Secret};

/// One customer's account at one third party.
pub struct Account {
    /// Name of the third party in messages.
    pub service: Cow<'static, str>,
    /// Environment variable of the key, for hints.
    pub key_name: Cow<'static, str>,
    /// Next step after a rejected key. `None` means to check `key_name`.
    pub key_hint: Option<Cow<'static, str>>,
    /// Environment variable of the address, for hints.
    pub url_name: Cow<'static, str>,
    /// Base address; requests append their path to it.
    pub base: Url,
    /// Credentials of the requests.
    pub auth: Auth,
    /// Texts that no message may contain, in addition to those of `auth`.
    pub secrets: Vec<Secret>,
    /// Verdicts on the answers, unless a request has other rules.
    pub rules: Rules,
    /// Header with the service's remaining headroom, and the value below which the rate is reduced.
    pub room: Option<(HeaderName, f64)>,
}

impl Account {
    /// Returns the address and the keys, which identify the account. Contains secrets.
    pub fn identity(&self) -> String {
        let keys: Vec<&str> = self.auth.key().into_iter().chain(&self.secrets).map(Secret::reveal).collect();
        format!("{} {}", self.base, keys.join(" "))
    }

    /// Adds the credentials to a request.
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: a fetched token contains a character that is invalid in a header.
    pub fn sign(&self, request: &mut Request, token: Option<&Secret>) -> Result<(), Fault> {
        self.auth.sign(request, token).map_err(|_| {
            let service = &self.service;
            Fault::list(format!("{service}'s token contains a character that is invalid in a header"))
        })
    }

    /// Returns the share of the rate that a response still allows, from 0 up, or `None` if it reports none.
    pub fn headroom(&self, response: &Response) -> Option<f64> {
        let (header, plenty) = self.room.as_ref()?;
        let left: f64 = response.headers().get(header)?.to_str().ok()?.parse().ok()?;
        Some(left / plenty)
    }

    /// Makes the fault of a missing or incomplete response.
    pub fn unanswered(&self, error: &TransportError) -> Fault {
        let host = self.base.origin().ascii_serialization();
        let hint = match error {
            TransportError::TooLarge => "if this persists, lower `items_per_request`".to_owned(),
            _ => format!("if this persists, check the network and `{}`", self.url_name),
        };
        Fault::retry(format!("no complete response from {} at {host}", self.service))
            .because(error)
            .hint(hint)
    }

    /// Makes the fault of a response that was not accepted. `now` is our time; `secrets` are those of the client.
    pub fn refusal(
        &self,
        verdict: Verdict,
        response: &Response,
        now: DateTime<Utc>,
        secrets: &[Secret],
    ) -> Fault {
        let status = response.status();
        let reason = status.canonical_reason().unwrap_or("").to_lowercase();
        let what = format!("{} returned {} {reason}", self.service, status.as_u16());
        let what = what.trim_end();
        let text = ProblemDocument::read(response.body()).and_then(|problem| problem.text());
        let fault = match verdict {
            Verdict::Temporary | Verdict::TooSlow | Verdict::Overloaded | Verdict::Throttled => {
                let in_text = || seconds(text.as_ref()?).filter(|_| verdict == Verdict::Throttled);
                Fault::retry(what).after(retry_after(response, now).or_else(in_text))
            }
            Verdict::ContentRefused => Fault::too_large(what),
            Verdict::KeyRejected => Fault::list(what).hint(self.key_hint()),
            Verdict::Forbidden => {
                Fault::list(what).hint(format!("check the permissions of the key in `{}`", self.key_name))
            }
            Verdict::Redirected => Fault::list(what)
                .hint(format!("redirects are not followed, to protect the key; check `{}`", self.url_name)),
            Verdict::NotFound => Fault::list(what).hint(format!("check `{}`", self.url_name)),
            Verdict::Refused | Verdict::Accepted => Fault::list(what),
        };
        let fault = fault.status(status.as_u16());
        match text.map(|text| self.redacted(&text, secrets)) {
            Some(text) if text != reason => fault.because(text),
            _ => fault,
        }
    }

    /// Adds the service's own text to the fault of an accepted response if the body reports an error. In any other
    /// body, a field such as `title` belongs to a record. `secrets` are those of the client.
    pub fn explained(&self, fault: Fault, response: &Response, secrets: &[Secret]) -> Fault {
        let problem = ProblemDocument::read(response.body()).filter(ProblemDocument::reports_error);
        let Some(problem) = problem else { return fault };
        match problem.text().map(|text| self.redacted(&text, secrets)).or_else(|| problem.sign()) {
            Some(text) => fault.because(text),
            None => fault,
        }
    }

    fn key_hint(&self) -> String {
        match &self.key_hint {
            Some(hint) => hint.to_string(),
            None => format!("check the key in `{}`", self.key_name),
        }
    }

    /// Redacts a third party's text for a message: one short line without keys, without `more` secrets, and
    /// without personal data.
    pub fn redacted(&self, text: &str, more: &[Secret]) -> String {
        let fetched = self.auth.fetched();
        let secrets = self.auth.key().into_iter().chain(&self.secrets).chain(&fetched).chain(more);
        let mut secrets: Vec<&str> =
            secrets.map(Secret::reveal).filter(|secret| !secret.is_empty()).collect();
        // A secret may contain another one, whose removal would leave the rest of the longer one.
        secrets.sort_by_key(|secret| Reverse(secret.len()));
        let stars = secrets.into_iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"));
        redact::line(&stars)
    }
}
