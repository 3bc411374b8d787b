//! Members of one Mailchimp list (Marketing API 3.0).
//! <https://mailchimp.com/developer/marketing/api/list-members/list-members-info/>

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::Source;
use crate::{
    base::{
        fault::Fault,
        record::Record,
        time,
        window::{Page, Span, Sweep, Window},
    },
    net::{Http, Response, http::server_time},
};

/// The most rows in one answer; more are asked for in vain.
pub const MAX_COUNT: usize = 1000;

/// The statuses of a member; `archived` ones are in no listing that does not ask for them.
const STATUSES: [&str; 6] = ["subscribed", "unsubscribed", "cleaned", "pending", "transactional", ARCHIVED];
const ARCHIVED: &str = "archived";

/// The members of a list.
pub struct Mailchimp {
    http: Http,
    list_id: String,
    /// Of a member: what is not asked for does not travel.
    fields: Vec<String>,
}

impl Mailchimp {
    /// `fields` are the member fields that the mapping reads.
    pub fn new(http: Http, list_id: &str, fields: &[&str]) -> Self {
        let mut wanted = vec!["id", "last_changed", "status"];
        wanted.extend(fields);
        let mut known = HashSet::new();
        wanted.retain(|field| known.insert(*field));
        let fields = wanted.into_iter().map(str::to_owned).collect();
        Mailchimp { http, list_id: list_id.to_owned(), fields }
    }

    async fn get<T>(
        &self,
        doing: &str,
        query: &[(&str, String)],
        read: impl Fn(&Response) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let request = self.http.get(&["lists", &self.list_id, "members"], query);
        let divisible = query.iter().any(|(name, value)| *name == "count" && value != "1");
        let answer = match divisible {
            true => self.http.call_divisible(doing, request, read).await,
            false => self.http.call(doing, request, read).await,
        };
        answer.map_err(|fault| match fault.problem().status {
            Some(404) => fault.hint("check `list_id`: is it a list of this account?"),
            _ => fault,
        })
    }

    fn listed_fields(&self) -> String {
        let members = self.fields.iter().map(|field| format!("members.{field}"));
        members.chain(["total_items".to_owned()]).collect::<Vec<_>>().join(",")
    }

    /// Whether the list itself is there.
    async fn is_there(&self, doing: &str) -> Result<(), Fault> {
        let query = [("count", "1".to_owned()), ("fields", "members.id,total_items".to_owned())];
        self.get(doing, &query, page).await.map(|_| ())
    }

    /// `since_last_changed` excludes its second, `before_last_changed` includes it.
    fn query(&self, window: &Window, span: Span) -> Vec<(&'static str, String)> {
        let mut query = vec![
            ("sort_field", "last_changed".into()),
            ("sort_dir", "ASC".into()),
            ("offset", span.offset.to_string()),
            ("count", span.count.min(MAX_COUNT).to_string()),
            ("fields", self.listed_fields()),
        ];
        query.extend(window.until.map(|until| ("before_last_changed", time::wire(until))));
        query.extend(window.since.map(|since| ("since_last_changed", time::wire(since))));
        if window.sweep == Sweep::Archived {
            query.push(("status", ARCHIVED.into()));
        }
        query
    }
}

impl Source for Mailchimp {
    fn now(&self) -> DateTime<Utc> {
        self.http.now()
    }

    fn read<'a>(&'a self, window: &'a Window, span: Span) -> BoxFuture<'a, Result<Page, Fault>> {
        Box::pin(async move {
            let list = self.list_id.escape_debug();
            let members = if window.sweep == Sweep::Archived { "archived members" } else { "members" };
            let doing = format!("could not read the {members} of list `{list}` from row {} on", span.offset);
            self.get(&doing, &self.query(window, span), page).await
        })
    }

    /// <https://mailchimp.com/developer/marketing/api/list-members/get-member-info/>
    fn find<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, Fault>> {
        Box::pin(async move {
            let doing = format!("could not read a member of list `{}`", self.list_id.escape_debug());
            let request = self
                .http
                .get(&["lists", &self.list_id, "members", key], &[("fields", self.fields.join(","))]);
            let found = |response: &Response| {
                let body: Box<RawValue> = serde_json::from_slice(response.body()).map_err(broken)?;
                record(body).map_err(broken)
            };
            match self.http.call(&doing, request, found).await {
                Ok(record) => Ok(Some(record)),
                // A list that is gone is answered the same.
                Err(Fault::List(problem)) if problem.status == Some(404) => {
                    self.is_there(&doing).await.map(|()| None)
                }
                Err(fault) => Err(fault),
            }
        })
    }

    /// Of an address, the MD5 in lower case; anything else is a key already.
    fn key(&self, name: &str) -> String {
        match name.trim() {
            address if address.contains('@') => format!("{:x}", md5::compute(address.to_lowercase())),
            key => key.to_owned(),
        }
    }

    fn census(&self, until: DateTime<Utc>) -> BoxFuture<'_, Result<Vec<(String, u64)>, Fault>> {
        Box::pin(async move {
            let doing = format!("could not count the members of list `{}`", self.list_id.escape_debug());
            let mut counted = Vec::new();
            for status in STATUSES {
                let query = [
                    ("before_last_changed", time::wire(until)),
                    ("count", "1".into()),
                    ("fields", "members.id,members.last_changed,members.status,total_items".into()),
                    ("status", status.into()),
                ];
                counted.push((status.to_owned(), self.get(&doing, &query, page).await?.total));
            }
            Ok(counted)
        })
    }
}

/// Keeps every member as the text that it is; a page is millions of bytes, and the mapping reads a few fields.
fn page(response: &Response) -> Result<Page, Fault> {
    #[derive(Deserialize)]
    struct Members {
        members: Vec<Box<RawValue>>,
        total_items: u64,
    }
    let members: Members = serde_json::from_slice(response.body()).map_err(broken)?;
    let records = members.members.into_iter().map(record).collect::<Result<_, _>>().map_err(broken)?;
    let at = server_time(response).ok_or_else(|| Fault::list("mailchimp answered without a `Date`"))?;
    Ok(Page { records, total: members.total_items, at })
}

fn record(body: Box<RawValue>) -> Result<Record, serde_json::Error> {
    #[derive(Deserialize)]
    struct Member {
        id: String,
        /// Of an unknown shape it is as good as missing: the mapping judges.
        #[serde(default)]
        last_changed: Option<Value>,
        #[serde(default)]
        status: Option<Value>,
    }
    let Member { id: key, last_changed, status } = serde_json::from_str(body.get())?;
    let changed = last_changed.as_ref().and_then(Value::as_str).and_then(time::parse);
    let status = status.as_ref().and_then(Value::as_str).unwrap_or("none").to_owned();
    Ok(Record { key, changed, status, body })
}

/// The error's own text may quote a value, so only its place is told.
fn broken(error: serde_json::Error) -> Fault {
    Fault::retry("mailchimp's answer can't be read").because(format!(
        "unexpected JSON at line {} column {}",
        error.line(),
        error.column()
    ))
}
