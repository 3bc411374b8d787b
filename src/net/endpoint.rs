//! An address that an entry chooses: what it sets for the requests, and the account with the credentials.

pub mod account;
pub mod secrets;
pub mod statuses;

use std::{collections::BTreeMap, ops::RangeInclusive};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, PROXY_AUTHORIZATION,
        TRANSFER_ENCODING,
    },
};
use serde::Deserialize;
use url::Url;

use crate::base::spec::{Setting, ValueKind};

/// Bounds of `rate`, in requests per second.
const RATES: RangeInclusive<f64> = 0.001..=1000.0;
/// Headers that carry credentials.
const CREDENTIALS: [HeaderName; 3] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];
/// Headers that frame a request. The client sets them.
const FRAMING: [HeaderName; 4] = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION];

pub const HEADERS_SETTING: Setting = Setting::new(
    "headers",
    ValueKind::Map(&ValueKind::Text),
    "Headers of every request, without credentials.",
)
.default("{}")
.identifies()
.private();
pub const RATE_SETTING: Setting = Setting::new(
    "rate",
    ValueKind::Number { least: *RATES.start(), most: *RATES.end() },
    "Maximum requests per second, over all entries with the same host, `auth` and `rate`.",
)
.pace();
/// The member of `auth` that names the header of a token.
pub const AUTH_HEADER: Setting = Setting::new("header", ValueKind::Text, "Header of the token.").required();

/// The credentials of the requests.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthKind {
    None,
    Basic,
    Bearer,
    /// A token in a header of this name.
    Header(String),
}

/// What every request of an entry has.
pub struct Endpoint {
    pub url: Url,
    pub headers: HeaderMap,
    pub auth: AuthKind,
    /// Header of the token, if `auth` is [`AuthKind::Header`].
    pub token_header: Option<HeaderName>,
    /// Requests per second; 0 is no limit.
    pub rate: f64,
}

impl Endpoint {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// A setting is invalid. The message names it, and contains neither the address nor the value of a header,
    /// since both may contain secrets.
    pub fn checked(
        url: &str,
        headers: BTreeMap<String, String>,
        auth: AuthKind,
        rate: Option<f64>,
    ) -> Result<Self, String> {
        let url = address("url", url)?;
        let token_header = token_header(&auth)?;
        let headers = read_headers(headers, token_header.as_ref())?;
        if let Some(rate) = rate.filter(|rate| !RATES.contains(rate)) {
            let (least, most) = (RATES.start(), RATES.end());
            return Err(format!("`rate` must be from {least} to {most} requests per second; found {rate}"));
        }
        Ok(Endpoint { url, headers, auth, token_header, rate: rate.unwrap_or_default() })
    }

    /// Returns the host of the address, with its port if that is not the default.
    pub fn host(&self) -> String {
        host(&self.url)
    }
}

/// Returns the host of an address, with its port if that is not the default.
pub fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"))
}

/// Reads the address in the setting `name`. Drops a fragment, which no request contains.
///
/// # Errors
///
/// The text is no http(s) address, or contains a user or a password.
pub fn address(name: &str, text: &str) -> Result<Url, String> {
    let invalid = || format!("`{name}` must be an http(s) address, such as \"https://host/path\"");
    let mut url = Url::parse(text).map_err(|_| invalid())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("`{name}` must not contain a user or a password; use `auth`"));
    }
    url.set_fragment(None);
    let usable = matches!(url.scheme(), "http" | "https") && url.has_host();
    // The client sends requests to an `Uri`, which allows fewer characters.
    let valid = usable && url.as_str().parse::<http::Uri>().is_ok();
    if valid { Ok(url) } else { Err(invalid()) }
}

fn token_header(auth: &AuthKind) -> Result<Option<HeaderName>, String> {
    let AuthKind::Header(name) = auth else { return Ok(None) };
    header_of_token(name).map(Some)
}

/// Reads the name of the header of a token.
///
/// # Errors
///
/// The name is invalid, or the header belongs to the client.
pub fn header_of_token(name: &str) -> Result<HeaderName, String> {
    let name = HeaderName::try_from(name).map_err(|_| format!("`auth`: invalid header name {name:?}"))?;
    match FRAMING.contains(&name) {
        false => Ok(name),
        true => Err(format!("`auth`: importer sets the header `{name}`; choose another")),
    }
}

/// Reads the headers of every request. Marks them as sensitive, so that no log shows them.
fn read_headers(listed: BTreeMap<String, String>, token: Option<&HeaderName>) -> Result<HeaderMap, String> {
    let json = HeaderValue::from_static("application/json");
    let mut headers = HeaderMap::new();
    for (name, value) in listed {
        let name = HeaderName::try_from(&name).map_err(|_| format!("`headers`: invalid name {name:?}"))?;
        if CREDENTIALS.contains(&name) || token == Some(&name) {
            return Err(format!(
                "`headers`: `{name}` carries credentials, which must not be in the state file; remove it and use `auth`"
            ));
        }
        if FRAMING.contains(&name) {
            return Err(format!("`headers`: importer sets `{name}`; remove it"));
        }
        let invalid = || format!("`headers`: the value of `{name}` contains an invalid character");
        let mut value = HeaderValue::from_str(&value).map_err(|_| invalid())?;
        value.set_sensitive(true);
        if headers.insert(&name, value).is_some() {
            return Err(format!("`headers`: duplicate header `{name}`; remove one"));
        }
    }
    for name in [CONTENT_TYPE, ACCEPT] {
        headers.entry(name).or_insert_with(|| json.clone());
    }
    Ok(headers)
}
