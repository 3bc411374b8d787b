//! Settings of an address: reads and checks them.

use std::collections::BTreeMap;

use http::{Method, StatusCode, Uri};
use serde::Deserialize;

use super::answer::{Expected, Results, Word};
use crate::{
    base::{
        adapter::Chosen,
        path::Path,
        spec::{Setting, ValueKind},
    },
    net::{
        classify::Verdict,
        endpoint::{
            self, AUTH_HEADER, AuthKind, HEADERS_SETTING, RATE_SETTING, account,
            statuses::{Listed, STATUSES, Statuses, again, contains, rules},
        },
    },
};

/// Statuses that refuse the content of a batch, unless the entry has its own: bad request, conflict, content
/// too large, unprocessable content (RFC 9110, section 15.5), unavailable for legal reasons (RFC 7725).
const REJECT: [u16; 5] = [400, 409, 413, 422, 451];
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
    HEADERS_SETTING,
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
    RATE_SETTING,
];
const TOKEN_SETTING: Setting =
    Setting::new(account::TOKEN, ValueKind::Text, "Reference to the token of bearer and header.")
        .credential("HTTP_SINK_TOKEN");
const USER_SETTING: Setting = Setting::new(account::USER, ValueKind::Text, "Reference to the user of basic.")
    .credential("HTTP_SINK_USER");
const PASSWORD_SETTING: Setting =
    Setting::new(account::PASSWORD, ValueKind::Text, "Reference to the password of basic.")
        .credential("HTTP_SINK_PASSWORD");
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

/// The requests of an entry, and the meaning of their answers.
pub struct Requests {
    pub endpoint: endpoint::Endpoint,
    pub uri: Uri,
    pub method: Method,
    pub body: Body,
    pub expected: Expected,
}

impl Requests {
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
        let Settings { url, headers, auth, rate, .. } = settings;
        let endpoint = endpoint::Endpoint::checked(&url, headers, auth, rate)?;
        let uri = endpoint.url.as_str().parse().map_err(|_| "`url` is invalid".to_owned())?;
        let multi_status =
            settings.accept.as_deref().is_some_and(|list| contains(list, StatusCode::MULTI_STATUS.as_u16()));
        let rejects = settings.reject.as_deref();
        let lists = [
            Listed {
                name: "reject",
                statuses: rejects.unwrap_or_default(),
                verdict: |_| Verdict::ContentRefused,
            },
            Listed { name: "retry", statuses: &settings.retry, verdict: again },
        ];
        let refused = |status| rejects.is_none() && REJECT.contains(&status);
        let rules = rules(settings.accept.as_deref(), &lists, |status| {
            refused(status).then_some(Verdict::ContentRefused)
        })?;
        let results = settings.results.map(results).transpose()?;
        let method = match settings.method {
            Verb::Post => Method::POST,
            Verb::Put => Method::PUT,
            Verb::Patch => Method::PATCH,
        };
        let expected = Expected { results, count: settings.count, multi_status, rules };
        Ok(Requests { endpoint, uri, method, body: settings.body, expected })
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
