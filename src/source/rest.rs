//! The records of any REST API with JSON: settings say how it is asked, where the records are in a response, and what
//! follows a page.

mod answer;
mod auth;
mod context;
mod item;
mod pages;
mod records;
mod requests;
mod rows;
mod settings;
mod since;
mod template;
mod unfound;

use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;

use self::{
    context::Context,
    pages::{Kept, Pages, Position, Shown},
    requests::{Filled, Made},
    settings::{Api, SETTINGS},
    unfound::Sought,
};
use super::{CursorPaging, Lookup, Paging, Scope, Source, SourceContext};
use crate::{
    base::{
        adapter::Chosen,
        fault::Fault,
        record::Record,
        spec::{Makes, Spec, Variable},
        window::{Cursor, CursorPage, Window},
    },
    net::{
        AccountClients, Http, Response, Unopened,
        endpoint::{account::Adapter, secrets, statuses::contains},
    },
};

/// Upper bound of the simultaneous requests of an account.
const CONNECTIONS: usize = 4;
/// Number of times that a listing may begin again in a run, because its rows move while they are read.
const BEGINS: u32 = 5;

pub const SPEC: Spec = Spec {
    settings: SETTINGS,
    variables: &[HOSTS, TOKEN, USER, PASSWORD],
    makes: Makes::Any,
    ..Spec::new("rest", "The records of any REST API with JSON.")
};
const HOSTS: Variable = Variable::new("REST_HOSTS", "hosts to which the source rest may send credentials");
const TOKEN: Variable = Variable::new(
    "REST_TOKEN",
    "token of the source rest, if its `auth` is bearer or {\"header\": …}, or instead of a login",
)
.credential();
const USER: Variable = Variable::new(
    "REST_USER",
    "user of the source rest, or id of a client, if its `auth` is basic or {\"token\": …}",
)
.credential();
const PASSWORD: Variable =
    Variable::new("REST_PASSWORD", "password of that user, or secret of the client").credential();
const ADAPTER: Adapter = Adapter {
    kind: SPEC.kind,
    peer: "service",
    connections: CONNECTIONS,
    hosts: HOSTS,
    token: TOKEN,
    user: USER,
    password: PASSWORD,
};

/// The records at an address.
pub struct Rest {
    http: Http,
    /// Client of the requests of `context`.
    single: Http,
    api: Api,
    context: Context,
    /// What the entry names, and whether it was found.
    sought: Sought,
    /// What may be a mistake in the credentials.
    warning: Option<String>,
    /// Number of times that a listing has begun again.
    begun_again: AtomicU32,
}

impl Rest {
    pub fn open(chosen: &Chosen, wanted: SourceContext, accounts: &AccountClients) -> Result<Self, Unopened> {
        let mut api = Api::read(chosen)?;
        let client = auth::client(accounts, &api.endpoint, api.login.as_ref(), chosen)?;
        let secrets = [secrets::of(&api.endpoint), chosen.secrets.clone()].concat();
        let http = client.open(wanted.caller).with_rules(api.rules.clone()).with_secrets(secrets);
        let single = http.clone().with_rules(api.single_rules.clone());
        let context = std::mem::take(&mut api.context);
        let context = Context::new(context, api.requests.headers.clone(), wanted.list_id);
        let warning = api.login.as_ref().and_then(|_| auth::unused_login(accounts.environment(), chosen));
        let sought = Sought::new(&api);
        Ok(Rest { http, single, api, context, sought, warning, begun_again: AtomicU32::default() })
    }

    /// Makes the request for a page. Returns it with the number of records that it asks for.
    fn request(
        &self,
        filled: &Filled,
        window: &Window,
        position: Option<&Position>,
        count: usize,
    ) -> Result<(Made, Option<usize>), Fault> {
        let (mut parameters, asked) = self.api.paging.parameters(position, count)?;
        // The address of a next page has all of its parameters.
        let is_link = matches!(position, Some(Position::Link(_)));
        if let (Some(since), Some(time), false) = (&self.api.since, window.since, is_link) {
            parameters.push((since.parameter.clone(), since.value(time)));
        }
        Ok((filled.page(position, parameters)?, asked))
    }

    /// Reads a response: its records, its total, and the cursor or the address of the next page.
    fn read(
        &self,
        response: &Response,
        made: &Made,
        filled: &Filled,
        context: &str,
    ) -> Result<Answer, Fault> {
        let at = self.http.dated(response)?;
        if contains(&self.api.empty, response.status().as_u16()) {
            return Ok(Answer { records: vec![], total: None, next: None, at });
        }
        let service = self.http.service();
        let (answer, repaired) = answer::listing(response, service)?;
        let of = (&answer, repaired.as_ref());
        let records = answer::records(of, &self.api.records, &self.api.fields, context, service)?;
        self.sought.note(&answer, &records);
        let total = self.api.total.as_ref().map(|path| answer::total(&answer, path, service)).transpose()?;
        let stored = |named: &str| pages::stored(named, &made.url, &filled.own).map(Into::into);
        let next = match &self.api.paging.pages {
            Pages::Cursor { next, .. } => answer::next(&answer, next, service)?,
            Pages::Next(next) => {
                let next = answer::next(&answer, next, service)?;
                next.map(|next| stored(next.as_str().unwrap_or_default())).transpose()?
            }
            Pages::Link => {
                let next = pages::linked(response.headers(), service)?;
                next.map(|named| stored(&named)).transpose()?
            }
            Pages::One | Pages::Offset(_) | Pages::Number { .. } => None,
        };
        Ok(Answer { records, total, next, at })
    }

    /// Counts that the listing begins again.
    fn begin_again(&self) -> Result<(), Fault> {
        match self.begun_again.fetch_add(1, Ordering::Relaxed) {
            0..BEGINS => Ok(()),
            _ => Err(Fault::list(format!(
                "the records move while they are read: the listing began again {BEGINS} times"
            ))
            .hint("sort them by `query` in an order that changes do not affect, such as by id, or raise `items_per_request`")),
        }
    }
}

/// What a response contains.
struct Answer {
    records: Vec<Record>,
    total: Option<u64>,
    /// Cursor, or address without its origin.
    next: Option<serde_json::Value>,
    at: DateTime<Utc>,
}

impl Source for Rest {
    fn now(&self) -> DateTime<Utc> {
        self.http.now()
    }

    fn paging(&self) -> Paging<'_> {
        Paging::Cursor(self)
    }

    fn scope(&self) -> Scope {
        if self.api.since.is_some() { Scope::Changes } else { Scope::Full }
    }

    fn lookup(&self) -> Option<&dyn Lookup> {
        self.api.item.as_ref().map(|_| self as &dyn Lookup)
    }

    fn instead_of_census(&self) -> Option<&'static str> {
        Some(match self.api.total {
            Some(_) => "A run also fails if it reads fewer records than `total` of the source reports",
            None => {
                "If a response contains the number of all records, set `total` of the source to its path: a run that reads \
                 fewer records then fails"
            }
        })
    }

    fn warnings(&self) -> Vec<String> {
        self.warning.iter().cloned().collect()
    }

    fn unfound(&self) -> Vec<String> {
        self.sought.unfound()
    }
}

impl CursorPaging for Rest {
    /// Reads one page. If its rows have moved since the page before was read, returns no record, and goes back.
    fn follow<'a>(
        &'a self,
        window: &'a Window,
        cursor: Option<&'a Cursor>,
        count: usize,
    ) -> BoxFuture<'a, Result<CursorPage, Fault>> {
        Box::pin(async move {
            let position = match cursor {
                Some(cursor) => Some(Position::read(cursor)?),
                None => self.api.paging.first(count),
            };
            let position = position.as_ref();
            let values = self.context.values(&self.single).await?;
            let (filled, context) = (self.api.requests.filled(values)?, context::object(values));
            let (made, asked) = self.request(&filled, window, position, count)?;
            let read = |response: &Response| self.read(response, &made, &filled, &context);
            let doing = doing(position);
            let answer = self.http.call(&doing, made.request.clone(), read).await;
            let asks_for_changes = self.api.since.is_some() && window.since.is_some();
            let Answer { mut records, total, next, at } =
                answer.map_err(|fault| match fault.problem().status {
                    Some(400 | 422) if asks_for_changes => fault
                        .hint("the service may refuse the parameter of `since`; check its name and `format`"),
                    _ => fault,
                })?;
            let keys: Vec<&str> = records.iter().map(|record| record.key.as_str()).collect();
            let shown = Shown { keys: &keys, total, next };
            let following =
                self.api.paging.follow(position, asked, shown).map_err(|fault| fault.during(&doing))?;
            if following.begins_again {
                self.begin_again().map_err(|fault| fault.during(&doing))?;
            }
            match following.records {
                Kept::All => {}
                Kept::Without(index) => _ = records.remove(index),
                Kept::None => records.clear(),
            }
            Ok(CursorPage { records, next: following.next.map(|next| next.cursor()), total, at })
        })
    }
}

/// Describes a page, for messages.
fn doing(position: Option<&Position>) -> String {
    match position {
        Some(position) => format!("could not read {position}"),
        None => "could not read the first page".to_owned(),
    }
}
