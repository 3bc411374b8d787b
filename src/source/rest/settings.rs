//! Settings of the source `rest`: reads and checks them.

mod declared;
mod paging;

use std::collections::BTreeMap;

use http::{HeaderMap, Method, header::CONTENT_TYPE};
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

pub use self::declared::SETTINGS;

use self::paging::{PagingSetting, paging};

use super::{
    auth::{AuthSetting, Described},
    context::{ContextRequest, KEY, LIST_ID},
    item::GONE,
    pages::Paging,
    records::Fields,
    requests::{Body, Place, Requests},
    rows::Rows,
    since::Since,
    template::{Template, is_name},
};
use crate::{
    base::{adapter::Chosen, path::Path},
    net::{
        classify::{Rules, Verdict},
        endpoint::{
            self, AuthKind, Endpoint,
            statuses::{Listed, Statuses, again, rules},
        },
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    url: String,
    method: Verb,
    headers: BTreeMap<String, String>,
    query: BTreeMap<String, Value>,
    body: Option<Map<String, Value>>,
    auth: AuthSetting,
    #[serde(default)]
    context: Vec<ContextSetting>,
    context_field: Option<String>,
    records: Rows,
    item: Option<String>,
    key: Key,
    changed: Option<Path>,
    deleted: Option<Path>,
    status: Option<Path>,
    since: Option<Since>,
    paging: Option<PagingSetting>,
    total: Option<Path>,
    accept: Option<Vec<Statuses>>,
    empty: Vec<Statuses>,
    #[serde(default)]
    retry_on: Vec<Statuses>,
    rate: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Verb {
    Get,
    Post,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContextSetting {
    url: String,
    values: BTreeMap<String, Path>,
}

/// The paths of the key.
struct Key(Vec<Path>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let paths = match &value {
            Value::String(path) => Some(vec![path.clone()]),
            Value::Array(paths) => paths.iter().map(|path| path.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        let paths = paths
            .filter(|paths: &Vec<String>| !paths.is_empty() && paths.iter().all(|path| !path.is_empty()));
        let paths =
            paths.ok_or_else(|| serde::de::Error::custom("use a path such as \"id\", or a list of paths"))?;
        Ok(Key(paths.into_iter().map(Path::new).collect()))
    }
}

/// Settings of an entry for an API, checked.
pub struct Api {
    pub endpoint: Endpoint,
    /// The request that returns a token; `None` for other credentials.
    pub login: Option<Described>,
    pub requests: Requests,
    pub context: Vec<ContextRequest>,
    /// Where the records are in a response.
    pub records: Rows,
    /// Address of a single record.
    pub item: Option<Template>,
    pub fields: Fields,
    pub since: Option<Since>,
    pub paging: Paging,
    pub total: Option<Path>,
    /// Statuses that mean that there are no records.
    pub empty: Vec<Statuses>,
    /// Rules of listings, of `context`, and of `item`.
    pub rules: Rules,
    pub single_rules: Rules,
    pub item_rules: Rules,
}

impl Api {
    /// Reads the settings of an entry.
    ///
    /// # Errors
    ///
    /// A setting is unknown, missing or invalid. The message names it, and contains neither an address nor a value that
    /// may be secret.
    pub fn read(chosen: &Chosen) -> Result<Self, String> {
        let settings: Settings = chosen.settings(SETTINGS)?;
        Self::checked(settings).map_err(|why| format!("{}: {why}", chosen.kind))
    }

    fn checked(settings: Settings) -> Result<Self, String> {
        let mut known = vec![LIST_ID.to_owned()];
        let url = Template::read(&settings.url, &known_later(&known, &settings.context))
            .map_err(|why| format!("`url`: {why}"))?;
        let plain = origin_of("url", &url)?;
        let endpoint =
            Endpoint::checked(plain.as_str(), settings.headers, settings.auth.kind(), settings.rate)?;
        let context = context(settings.context, &mut known, &endpoint.url)?;
        let is_post = settings.method == Verb::Post;
        let place = settings.paging.as_ref().and_then(|paging| paging.r#in);
        if !is_post && (settings.body.is_some() || place == Some(Place::Body)) {
            return Err("`body` and `paging.in` \"body\" need `method` \"POST\"".to_owned());
        }
        let requests = Requests {
            url,
            method: if is_post { Method::POST } else { Method::GET },
            headers: headers(&endpoint.headers, settings.method),
            query: settings
                .query
                .into_iter()
                .map(|(name, value)| parameter(name, &value, &known))
                .collect::<Result<_, _>>()?,
            body: settings.body.map(|body| Body::read(&Value::Object(body), &known)).transpose()?,
            parameters: place.unwrap_or(if is_post { Place::Body } else { Place::Query }),
        };
        let item = settings.item.map(|item| item_address(&item, &known, &endpoint.url)).transpose()?;
        if item.is_some() && settings.key.0.len() > 1 {
            return Err("`item` works only with one path in `key`; use one path, or remove `item`".to_owned());
        }
        if settings.since.is_some() && settings.changed.is_none() {
            return Err(
                "`since` needs `changed`, the path of the time by which the service filters".to_owned()
            );
        }
        let accept = settings.accept.as_deref();
        let lists = [
            Listed { name: "empty", statuses: &settings.empty, verdict: |_| Verdict::Accepted },
            Listed { name: "retry_on", statuses: &settings.retry_on, verdict: again },
        ];
        Ok(Api {
            rules: rules(accept, &lists, |_| None)?,
            single_rules: rules(accept, &lists[1..], |_| None)?,
            item_rules: rules(accept, &lists[1..], |status| {
                GONE.contains(&status).then_some(Verdict::Accepted)
            })?,
            fields: Fields {
                key: settings.key.0,
                changed: settings.changed,
                needs_time: settings.since.is_some(),
                deleted: settings.deleted,
                status: settings.status,
                context_field: context_field(settings.context_field, &context)?,
            },
            paging: Paging { reads_all: settings.since.is_none(), ..paging(settings.paging)? },
            endpoint,
            login: settings.auth.login()?,
            requests,
            context,
            records: settings.records,
            item,
            since: settings.since,
            total: settings.total,
            empty: settings.empty,
        })
    }
}

/// Returns all names that placeholders may have.
fn known_later(known: &[String], context: &[ContextSetting]) -> Vec<String> {
    let names = context.iter().flat_map(|request| request.values.keys().cloned());
    known.iter().cloned().chain(names).collect()
}

/// Returns an address with some text in the place of each placeholder, for its origin.
///
/// # Errors
///
/// It is invalid, or a placeholder could change its origin.
fn origin_of(name: &str, template: &Template) -> Result<Url, String> {
    let [one, other] = ["x", "y"].map(|text| endpoint::address(name, &template.with(text)));
    let (one, other) = (one?, other?);
    match one.origin() == other.origin() {
        true => Ok(one),
        false => Err(format!("`{name}` must not have a placeholder in its host; write the host out")),
    }
}

/// Reads the address of a single record.
fn item_address(item: &str, known: &[String], origin: &Url) -> Result<Template, String> {
    let known = [known, &[KEY.to_owned()]].concat();
    let template = Template::read(item, &known).map_err(|why| format!("`item`: {why}"))?;
    if !template.has(KEY) {
        return Err(format!("`item` needs the placeholder {{{KEY}}}"));
    }
    match origin_of("item", &template)?.origin() == origin.origin() {
        true => Ok(template),
        false => Err("`item` must be on the host of `url`, which alone gets the credentials".to_owned()),
    }
}

/// Reads the context requests. Each may use the values of those before, whose names are added to `known`.
fn context(
    settings: Vec<ContextSetting>,
    known: &mut Vec<String>,
    origin: &Url,
) -> Result<Vec<ContextRequest>, String> {
    let mut requests = vec![];
    for (index, ContextSetting { url, values }) in settings.into_iter().enumerate() {
        let setting = format!("context[{index}].url");
        let url = Template::read(&url, known).map_err(|why| format!("`{setting}`: {why}"))?;
        if origin_of(&setting, &url)?.origin() != origin.origin() {
            return Err(format!(
                "`{setting}` must be on the host of `url`, which alone gets the credentials"
            ));
        }
        for name in values.keys() {
            if !is_name(name) {
                return Err(format!(
                    "`context[{index}].values`: invalid name {name:?}; use letters, digits and `_`, and begin with a letter"
                ));
            }
            if known.contains(name) || name == KEY {
                return Err(format!("`context[{index}].values`: duplicate name `{name}`; choose another"));
            }
        }
        known.extend(values.keys().cloned());
        requests.push(ContextRequest { url, values, index });
    }
    Ok(requests)
}

fn context_field(field: Option<String>, context: &[ContextRequest]) -> Result<Option<String>, String> {
    match field {
        Some(field) if field.is_empty() || context.is_empty() => {
            Err("`context_field` needs a name and `context`".to_owned())
        }
        field => Ok(field),
    }
}

/// Returns the headers of the requests: those of the entry, and the type of a body only where there is one.
fn headers(headers: &HeaderMap, method: Verb) -> HeaderMap {
    let mut headers = headers.clone();
    // The values that the entry sets are sensitive; the default is not.
    let by_entry = headers.get(CONTENT_TYPE).is_some_and(http::HeaderValue::is_sensitive);
    if method == Verb::Get && !by_entry {
        headers.remove(CONTENT_TYPE);
    }
    headers
}

fn parameter(name: String, value: &Value, known: &[String]) -> Result<(String, Template), String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        _ => return Err(format!("`query.{name}` must be a text, a number, true or false")),
    };
    let template = Template::read(&text, known).map_err(|why| format!("`query.{name}`: {why}"))?;
    Ok((name, template))
}

impl AuthSetting {
    /// Returns the login, if there is one.
    fn login(&self) -> Result<Option<Described>, String> {
        if let AuthSetting::Token(token) = self { token.described().map(Some) } else { Ok(None) }
    }

    /// Returns the credentials that need no login.
    fn kind(&self) -> AuthKind {
        match self {
            AuthSetting::None | AuthSetting::Token(_) => AuthKind::None,
            AuthSetting::Basic => AuthKind::Basic,
            AuthSetting::Bearer => AuthKind::Bearer,
            AuthSetting::Header(name) => AuthKind::Header(name.clone()),
        }
    }
}
