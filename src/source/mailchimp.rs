//! Members of one Mailchimp list (Marketing API 3.0).
//! <https://mailchimp.com/developer/marketing/api/list-members/list-members-info/>

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::Source;
use crate::{
    base::{
        fault::Fault,
        record::Record,
        time,
        window::{Page, Span, Window},
    },
    net::{Http, Response, http::server_time},
};

/// The most rows in one answer; more are asked for in vain.
pub const MAX_COUNT: usize = 1000;

/// The plain listing of a list: every member but the archived ones.
pub struct Mailchimp {
    http: Arc<Http>,
    list_id: String,
    /// The `fields` parameter: what is not asked for does not travel.
    fields: String,
}

impl Mailchimp {
    /// `fields` are the member fields that the mapping reads.
    pub fn new(http: Arc<Http>, list_id: &str, fields: &[&str]) -> Self {
        let members = ["id"].iter().chain(fields).map(|field| format!("members.{field}"));
        let fields = members.chain(["total_items".to_owned()]).collect::<Vec<_>>().join(",");
        Mailchimp { http, list_id: list_id.to_owned(), fields }
    }

    /// `since_last_changed` excludes its second, `before_last_changed` includes it.
    fn query(&self, window: &Window, span: Span) -> Vec<(&'static str, String)> {
        let mut query = vec![
            ("before_last_changed", time::wire(window.until)),
            ("sort_field", "last_changed".into()),
            ("sort_dir", "ASC".into()),
            ("offset", span.offset.to_string()),
            ("count", span.count.min(MAX_COUNT).to_string()),
            ("fields", self.fields.clone()),
        ];
        query.extend(window.since.map(|since| ("since_last_changed", time::wire(since))));
        query
    }
}

impl Source for Mailchimp {
    fn time(&self) -> BoxFuture<'_, Result<DateTime<Utc>, Fault>> {
        Box::pin(async {
            let read = |response: &Response| {
                // A page of a proxy has a date as well.
                serde_json::from_slice::<IgnoredAny>(response.body()).map_err(broken)?;
                server_time(response).ok_or_else(|| Fault::list("mailchimp answered without a `Date`"))
            };
            self.http.call("could not ask mailchimp for the time", self.http.get(&["ping"], &[]), read).await
        })
    }

    fn read<'a>(&'a self, window: &'a Window, span: Span) -> BoxFuture<'a, Result<Page, Fault>> {
        Box::pin(async move {
            let list = self.list_id.escape_debug();
            let doing = format!("could not read the members of list `{list}` from row {} on", span.offset);
            let path = ["lists", &self.list_id, "members"];
            let request = self.http.get(&path, &self.query(window, span));
            let page = self.http.call(&doing, request, |response| page(response.body())).await;
            page.map_err(|fault| match fault.problem().status {
                Some(404) => fault.hint("check `list_id`: is it a list of this account?"),
                _ => fault,
            })
        })
    }
}

/// Keeps every member as the text that it is; a page is millions of bytes, and the mapping reads a few fields.
fn page(body: &[u8]) -> Result<Page, Fault> {
    #[derive(Deserialize)]
    struct Members {
        members: Vec<Box<RawValue>>,
        total_items: u64,
    }
    #[derive(Deserialize)]
    struct Member {
        id: String,
    }
    let broken = |error: serde_json::Error| {
        // The error's own text may quote a value, so only its place is told.
        Fault::retry("mailchimp's answer can't be read").because(format!(
            "unexpected JSON at line {} column {}",
            error.line(),
            error.column()
        ))
    };
    let members: Members = serde_json::from_slice(body).map_err(broken)?;
    let record = |body: Box<RawValue>| -> Result<Record, serde_json::Error> {
        let Member { id: key } = serde_json::from_str(body.get())?;
        Ok(Record { key, body })
    };
    let records = members.members.into_iter().map(record).collect::<Result<_, _>>().map_err(broken)?;
    Ok(Page { records, total: members.total_items })
}

/// The error's own text may quote a value, so only its place is told.
fn broken(error: serde_json::Error) -> Fault {
    Fault::retry("mailchimp's answer can't be read").because(format!(
        "unexpected JSON at line {} column {}",
        error.line(),
        error.column()
    ))
}
