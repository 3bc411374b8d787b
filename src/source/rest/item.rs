//! Reads single records, by their own address.

use bytes::Bytes;
use futures::future::BoxFuture;
use http::Method;
use serde_json::Value;

use super::{
    Rest, answer,
    context::{self, KEY},
    requests::{address, request},
    template::Template,
};
use crate::{
    base::{
        fault::Fault,
        json::Json,
        record::{Record, is_nameless},
    },
    net::Response,
    source::Lookup,
};

/// Statuses by which a service reports that a record is gone: not found, and gone (RFC 9110, sections 15.5.5 and
/// 15.5.11).
pub const GONE: [u16; 2] = [404, 410];

impl Lookup for Rest {
    fn find<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, Fault>> {
        Box::pin(async move {
            let Some(item) = &self.api.item else { return Ok(None) };
            self.item(item, key).await
        })
    }

    fn key(&self, name: &str) -> String {
        name.trim().to_owned()
    }
}

impl Rest {
    /// Reads a record; `None` if it is gone.
    async fn item(&self, item: &Template, key: &str) -> Result<Option<Record>, Fault> {
        let doing = "could not read a record";
        let values = self.context.values(&self.single).await?;
        let context = context::object(values);
        let mut with_key = values.clone();
        with_key.extend(Json::read(Value::from(key).to_string()).map(|key| (KEY.to_owned(), key)));
        let url = address(item, &with_key).map_err(|fault| fault.during(doing))?;
        let request = request(Method::GET, &url, &self.api.requests.headers, Bytes::new());
        let http = self.http.clone().with_rules(self.api.item_rules.clone());
        http.call(doing, request, |response| self.found(response, key, &context)).await
    }

    /// Reads the response to the request of a record.
    fn found(&self, response: &Response, key: &str, context: &str) -> Result<Option<Record>, Fault> {
        let service = self.http.service();
        let status = response.status().as_u16();
        if GONE.contains(&status) {
            // A proxy that does not reach the service sends a page. Replay would send a deletion.
            return answer::json(response, service).map(|_| None).map_err(|_| {
                let what = "without JSON, so the record may still exist";
                Fault::retry(format!("{service} returned {status} {what}"))
                    .hint("if this persists, check `item`")
            });
        }
        let (answer, repaired) = answer::json(response, service)?;
        let record = self.api.fields.record(answer.clone(), 1, repaired.as_ref(), context);
        let other = record.key.as_str() != key;
        match &record.unreadable {
            // A response without this key is not the record.
            Some(why) if is_nameless(record.key.as_str()) => Err(answer::reported(&answer, service)
                .unwrap_or_else(|| {
                    Fault::retry(format!("{service}'s response is not the record")).because(why)
                })),
            _ if other => Err(Fault::retry(format!("{service}'s response is another record"))
                .hint("if this persists, check `item` and `key`")),
            _ => Ok(Some(record)),
        }
    }
}
