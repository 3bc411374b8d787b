//! Settings of an address: reads and checks them.

use std::{collections::BTreeMap, ops::RangeInclusive};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
    header::{
        ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, PROXY_AUTHORIZATION,
        TRANSFER_ENCODING,
    },
};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;
use url::Url;

use super::answer::{Expected, Path, Results, Word};
use crate::{
    base::{
        adapter::Chosen,
        spec::{Setting, ValueKind},
    },
    net::classify::{Rule, Rules, Verdict},
};

/// Statuses that end a request (RFC 9110, section 15): all but the informational ones.
const FINAL: RangeInclusive<u16> = 200..=599;
/// Statuses that refuse the content of a batch, unless the entry has its own: bad request, conflict, content
/// too large, unprocessable content (RFC 9110, section 15.5), unavailable for legal reasons (RFC 7725).
const REJECT: [u16; 5] = [400, 409, 413, 422, 451];
/// Bounds of `rate`, in requests per second.
const RATES: RangeInclusive<f64> = 0.001..=1000.0;
/// Headers that carry credentials.
const CREDENTIALS: [HeaderName; 3] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];
/// Headers that frame a request. The client sets them.
const FRAMING: [HeaderName; 4] = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION];
/// Outcomes in an item of `results` that mean success, unless the entry has its own.
const ACCEPTED: [&str; 4] = ["ok", "created", "updated", "success"];

/// Declaration of the settings.
pub const SETTINGS: &[Setting] = &[
    Setting::new(
        "url",
        ValueKind::Text,
        "Address to which the requests go: http(s), without user and password.",
    )
    .required()
    .identifies()
    .private(),
    Setting::new("method", ValueKind::Word(&["POST", "PUT", "PATCH"]), "Method of the requests.")
        .default("\"POST\""),
    Setting::new(
        "headers",
        ValueKind::Map(&ValueKind::Text),
        "Headers of every request, without credentials.",
    )
    .default("{}")
    .identifies()
    .private(),
    Setting::new(
        "auth",
        ValueKind::Either(&[
            ValueKind::Word(&["none", "basic", "bearer"]),
            ValueKind::Object(&[AUTH_HEADER]),
        ]),
        "Which credentials are sent: none, basic, bearer, or {\"header\": \"X-Api-Key\"}.",
    )
    .default("\"none\"")
    .identifies(),
    TOKEN_SETTING,
    USER_SETTING,
    PASSWORD_SETTING,
    Setting::new(
        "body",
        ValueKind::Word(&["array", "object"]),
        "Whether the body is an array of the batch, or a single record.",
    )
    .default("\"array\""),
    // How answers are judged, and when requests are sent.
    Setting::new("accept", STATUSES, "Statuses that accept the batch; 200 to 299 if absent.").pace(),
    Setting::new(
        "reject",
        STATUSES,
        "Statuses that refuse the content; 400, 409, 413, 422 and 451 if absent.",
    )
    .pace(),
    Setting::new("retry", STATUSES, "Further statuses after which a request is sent again.").pace(),
    Setting::new(
        "results",
        ValueKind::Object(RESULTS),
        "Where an answer reports the outcome of each record.",
    )
    .pace(),
    Setting::new(
        "count",
        ValueKind::Text,
        "Path of the number of records in an answer; it has to be the number sent.",
    )
    .pace(),
    Setting::new(
        "rate",
        ValueKind::Number { least: *RATES.start(), most: *RATES.end() },
        "Maximum requests per second, over all entries with the same host, `auth` and `rate`.",
    )
    .pace(),
];
pub const TOKEN_SETTING: Setting =
    Setting::new("token", ValueKind::Text, "Reference to the token of bearer and header.")
        .credential("HTTP_SINK_TOKEN");
pub const USER_SETTING: Setting =
    Setting::new("user", ValueKind::Text, "Reference to the user of basic.").credential("HTTP_SINK_USER");
pub const PASSWORD_SETTING: Setting =
    Setting::new("password", ValueKind::Text, "Reference to the password of basic.")
        .credential("HTTP_SINK_PASSWORD");
const AUTH_HEADER: Setting = Setting::new("header", ValueKind::Text, "Header of the token.").required();
const STATUSES: ValueKind = ValueKind::List(&ValueKind::Either(&[
    ValueKind::Whole { least: *FINAL.start() as u64, most: Some(*FINAL.end() as u64) },
    ValueKind::Pattern("^[2-5][0-9]{2}-[2-5][0-9]{2}$"),
]));
const OUTCOMES: ValueKind =
    ValueKind::List(&ValueKind::Either(&[ValueKind::Flag, ValueKind::Null, ValueKind::Text]));
const RESULTS: &[Setting] = &[
    Setting::new("path", ValueKind::Text, "Path of the array of outcomes; empty if the answer is the array.")
        .required(),
    Setting::new("status", ValueKind::Text, "Path of the outcome in an item.").required(),
    Setting::new(
        "accepted",
        OUTCOMES,
        "Outcomes that mean success; true, ok, created, updated and success if absent.",
    ),
    Setting::new("retry", OUTCOMES, "Outcomes after which only this record is sent again."),
    Setting::new("reason", ValueKind::Text, "Path of a text in an item, which dead letters contain."),
];

/// Settings of an entry.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Address to which the requests go.
    url: String,
    method: Verb,
    headers: BTreeMap<String, String>,
    auth: AuthKind,
    body: Body,
    accept: Option<Vec<Statuses>>,
    reject: Option<Vec<Statuses>>,
    #[serde(default)]
    retry: Vec<Statuses>,
    results: Option<ResultSettings>,
    /// Path of the number of records in an answer.
    count: Option<Path>,
    /// Requests per second; `None` sets no limit.
    rate: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Verb {
    Post,
    Put,
    Patch,
}

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

/// The body of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Body {
    /// A JSON array of the batch.
    Array,
    /// A single record.
    Object,
}

/// The setting `results`: places in an answer that report the outcome of each record.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResultSettings {
    path: Path,
    status: Path,
    accepted: Option<Vec<Word>>,
    #[serde(default)]
    retry: Vec<Word>,
    reason: Option<Path>,
}

/// An HTTP status, or a range of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Statuses(RangeInclusive<u16>);

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let range = match &value {
            Value::Number(number) => number.as_u64().map(|status| (status, status)),
            Value::String(text) => {
                let bounds = text.split_once('-');
                bounds.and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)))
            }
            _ => None,
        };
        let range = range.and_then(|(first, last): (u64, u64)| {
            let (first, last) = (u16::try_from(first).ok()?, u16::try_from(last).ok()?);
            let valid = FINAL.contains(&first) && FINAL.contains(&last) && first <= last;
            valid.then_some(Statuses(first..=last))
        });
        range.ok_or_else(|| {
            D::Error::custom(format!(
                "invalid status {value}; use a number from 200 to 599, or a range such as \"500-599\""
            ))
        })
    }
}

/// The requests of an entry, and the meaning of their answers.
pub struct Endpoint {
    pub url: Url,
    pub uri: Uri,
    pub method: Method,
    pub headers: HeaderMap,
    pub auth: AuthKind,
    /// Header of the token, if `auth` is [`AuthKind::Header`].
    pub token_header: Option<HeaderName>,
    pub body: Body,
    /// Requests per second; 0 is no limit.
    pub rate: f64,
    pub rules: Rules,
    pub expected: Expected,
}

impl Endpoint {
    /// Reads the settings.
    ///
    /// # Errors
    ///
    /// A setting is unknown, missing or invalid. The message names it, and contains neither the address nor the
    /// value of a header, since both may contain secrets.
    pub fn read(chosen: &Chosen) -> Result<Self, String> {
        let settings: Settings = chosen.settings(SETTINGS)?;
        Self::checked(settings).map_err(|why| format!("{}: {why}", chosen.kind))
    }

    fn checked(settings: Settings) -> Result<Self, String> {
        let (url, uri) = address(&settings.url)?;
        let token_header = token_header(&settings.auth)?;
        let headers = headers(settings.headers, token_header.as_ref())?;
        let rate = settings.rate.unwrap_or(0.0);
        if settings.rate.is_some_and(|rate| !RATES.contains(&rate)) {
            let (least, most) = (RATES.start(), RATES.end());
            return Err(format!("`rate` must be from {least} to {most} requests per second; found {rate}"));
        }
        let multi_status =
            settings.accept.as_deref().is_some_and(|list| contains(list, StatusCode::MULTI_STATUS.as_u16()));
        let rules = rules(settings.accept, settings.reject, &settings.retry)?;
        let results = settings.results.map(results).transpose()?;
        let method = match settings.method {
            Verb::Post => Method::POST,
            Verb::Put => Method::PUT,
            Verb::Patch => Method::PATCH,
        };
        let expected = Expected { results, count: settings.count, multi_status, rules: rules.clone() };
        let (auth, body) = (settings.auth, settings.body);
        Ok(Endpoint { url, uri, method, headers, auth, token_header, body, rate, rules, expected })
    }
}

/// Reads the address. Drops a fragment, which no request contains.
fn address(text: &str) -> Result<(Url, Uri), String> {
    let invalid = || "`url` must be an http(s) address, such as \"https://host/path\"".to_owned();
    let mut url = Url::parse(text).map_err(|_| invalid())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("`url` must not contain a user or a password; use `auth`".to_owned());
    }
    url.set_fragment(None);
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(invalid());
    }
    let uri = url.as_str().parse().map_err(|_| invalid())?;
    Ok((url, uri))
}

fn token_header(auth: &AuthKind) -> Result<Option<HeaderName>, String> {
    let AuthKind::Header(name) = auth else { return Ok(None) };
    let name = HeaderName::try_from(name).map_err(|_| format!("`auth`: invalid header name {name:?}"))?;
    match FRAMING.contains(&name) {
        false => Ok(Some(name)),
        true => Err(format!("`auth`: importer sets the header `{name}`; choose another")),
    }
}

/// Reads the headers of every request. Marks them as sensitive, so that no log shows them.
fn headers(listed: BTreeMap<String, String>, token: Option<&HeaderName>) -> Result<HeaderMap, String> {
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

/// Makes the rules of the statuses that the entry lists. The lists of the entry precede the defaults, and the
/// defaults precede the rules of every account. If the entry has `accept`, no other status of success counts.
///
/// # Errors
///
/// A status is in two lists.
fn rules(
    accept: Option<Vec<Statuses>>,
    reject: Option<Vec<Statuses>>,
    retry: &[Statuses],
) -> Result<Rules, String> {
    let (accepts, rejects) = (accept.as_deref().unwrap_or(&[]), reject.as_deref().unwrap_or(&[]));
    let mut rules = Vec::new();
    for status in FINAL {
        let lists = [("accept", accepts), ("reject", rejects), ("retry", retry)];
        let named: Vec<&str> =
            lists.iter().filter(|(_, list)| contains(list, status)).map(|(name, _)| *name).collect();
        let verdict = match named[..] {
            ["accept"] => Verdict::Accepted,
            ["reject"] => Verdict::ContentRefused,
            ["retry"] => again(status),
            [one, other, ..] => {
                return Err(format!(
                    "status {status} is in `{one}` and in `{other}`; remove it from one of them"
                ));
            }
            _ if accept.is_some() && (200..=299).contains(&status) => Verdict::Refused,
            _ if reject.is_none() && REJECT.contains(&status) => Verdict::ContentRefused,
            _ => continue,
        };
        rules.push(Rule::status(status, verdict));
    }
    Ok(Rules::new(rules))
}

fn contains(list: &[Statuses], status: u16) -> bool {
    list.iter().any(|Statuses(range)| range.contains(&status))
}

/// Returns the verdict on a status in `retry`. A verdict of every account that leads to a retry stays, so that a
/// status for throttling still pauses the account.
fn again(status: u16) -> Verdict {
    match Rules::default().verdict(status, || true) {
        verdict @ (Verdict::Throttled | Verdict::Overloaded | Verdict::TooSlow) => verdict,
        _ => Verdict::Temporary,
    }
}

/// Reads the setting `results`.
///
/// # Errors
///
/// An outcome is in two lists.
fn results(settings: ResultSettings) -> Result<Results, String> {
    let ResultSettings { path, status, accepted, retry, reason } = settings;
    let accepted =
        accepted.unwrap_or_else(|| ACCEPTED.into_iter().map(Word::text).chain([Word::flag(true)]).collect());
    if let Some(word) = accepted.iter().find(|word| retry.contains(word)) {
        return Err(format!("`results`: {word} is in `accepted` and in `retry`; remove it from one of them"));
    }
    Ok(Results { path, status, accepted, retry, reason })
}
