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

impl Lookup for Rest {
    fn find<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, Fault>> {
        Box::pin(async move {
            let Some(item) = &self.api.item else { return Ok(None) };
            match self.item(item, key).await {
                Ok(record) => Ok(Some(record)),
                Err(Fault::List(problem)) if matches!(problem.status, Some(404 | 410)) => Ok(None),
                Err(fault) => Err(fault),
            }
        })
    }

    fn key(&self, name: &str) -> String {
        name.trim().to_owned()
    }
}

impl Rest {
    async fn item(&self, item: &Template, key: &str) -> Result<Record, Fault> {
        let doing = "could not read a record";
        let values = self.context.values(&self.http).await?;
        let context = context::object(values);
        let mut with_key = values.clone();
        with_key.extend(Json::read(Value::from(key).to_string()).map(|key| (KEY.to_owned(), key)));
        let url = address(item, &with_key).map_err(|fault| fault.during(doing))?;
        let request = request(Method::GET, &url, &self.api.requests.headers, Bytes::new());
        let read = |response: &Response| {
            let service = self.http.service();
            let (answer, repaired) = answer::object(response, service)?;
            let record = self.api.fields.record(answer, 1, repaired.as_ref(), &context);
            let other = record.key.as_str() != key;
            match &record.unreadable {
                // A response without this key is not the record.
                Some(why) if is_nameless(record.key.as_str()) => {
                    Err(Fault::retry(format!("{service}'s response is not the record")).because(why))
                }
                _ if other => Err(Fault::retry(format!("{service}'s response is another record"))
                    .hint("if this persists, check `item` and `key`")),
                _ => Ok(record),
            }
        };
        self.http.call(doing, request, read).await
    }
}
