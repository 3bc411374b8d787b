//! Tokens of the REST API: the OAuth 2 grants `password` and `client_credentials` (RFC 6749, sections 4.3 and 4.4), as
//! a form or as JSON.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, TimeDelta, Utc};
use http::header;
use serde_json::{Value, json};

use super::{KEY, PASSWORD, USER, answer};
use crate::net::{Request, Response};

/// The tokens that were issued.
pub struct Logins {
    /// Valid tokens, and the time at which each expires.
    valid: Vec<(String, DateTime<Utc>)>,
    issued: usize,
    /// Lifetime of a new token.
    pub life: TimeDelta,
}

impl Default for Logins {
    fn default() -> Self {
        Logins { valid: vec![], issued: 0, life: TimeDelta::hours(1) }
    }
}

impl Logins {
    pub fn issued(&self) -> usize {
        self.issued
    }

    pub fn revoke(&mut self) {
        self.valid.clear();
    }

    /// Answers a request for a token.
    pub fn issue(&mut self, request: &Request, now: DateTime<Utc>) -> Response {
        let fields = fields(request);
        let field = |name: &str| fields.get(name).map_or("", String::as_str);
        let (user, password) = match field("grant_type") {
            "password" => (field("username"), field("password")),
            "client_credentials" => (field("client_id"), field("client_secret")),
            _ => return refused("unsupported_grant_type"),
        };
        if (user, password) != (USER, PASSWORD) {
            return refused("invalid_grant");
        }
        self.issued += 1;
        let token = format!("sandbox-token-{}", self.issued);
        self.valid.push((token.clone(), now + self.life));
        answer(
            200,
            &json!({"access_token": token, "expires_in": self.life.num_seconds(), "scope": "default",
                "token_type": "bearer"}),
        )
    }

    /// Returns whether a request has credentials that are valid now.
    pub fn permit(&self, request: &Request, now: DateTime<Utc>) -> bool {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let said = header(header::AUTHORIZATION.as_str()).unwrap_or_default();
        let bearer = said.strip_prefix("Bearer ").unwrap_or_default();
        let valid = |(token, end): &(String, DateTime<Utc>)| token == bearer && now < *end;
        bearer == KEY
            || self.valid.iter().any(valid)
            || header("x-api-key") == Some(KEY)
            || said == format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")))
    }
}

/// Reads the fields of a body: a JSON object of texts, or a form.
fn fields(request: &Request) -> BTreeMap<String, String> {
    let of_json = |fields: BTreeMap<String, Value>| {
        let text = |(name, value): (String, Value)| Some((name, value.as_str()?.to_owned()));
        fields.into_iter().filter_map(text).collect()
    };
    let form = || url::form_urlencoded::parse(request.body()).into_owned().collect();
    serde_json::from_slice(request.body()).map_or_else(|_| form(), of_json)
}

fn refused(error: &str) -> Response {
    answer(400, &json!({"error": error, "error_description": "The login was refused."}))
}
