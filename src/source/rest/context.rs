//! Requests before the first page of a run, such as "who am I", and the values that they return.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::sync::OnceCell;

use super::{
    answer,
    requests::{address, request},
    template::{Template, Values},
};
use crate::{
    base::{fault::Fault, json::Json, path::Path},
    net::{Http, Response},
};

/// A request, and the paths of the values in its response.
pub struct ContextRequest {
    pub url: Template,
    pub values: BTreeMap<String, Path>,
    /// Position in `context`, for messages.
    pub index: usize,
}

/// The requests of an entry, and their values once they are known. A source is opened for each run.
pub struct Context {
    requests: Vec<ContextRequest>,
    headers: HeaderMap,
    /// The values that are known without a request.
    constant: Values,
    values: OnceCell<Values>,
}

impl Context {
    /// Makes the context of a list. Sends no request.
    pub fn new(requests: Vec<ContextRequest>, headers: HeaderMap, list_id: &str) -> Self {
        let list_id = Json::read(serde_json::Value::from(list_id).to_string());
        let constant = list_id.into_iter().map(|list_id| (LIST_ID.to_owned(), list_id)).collect();
        Context { requests, headers, constant, values: OnceCell::new() }
    }

    /// Returns the values; the first call sends the requests, one after the other, with `http`, whose rules are those of
    /// a single answer.
    ///
    /// # Errors
    ///
    /// A request failed, or its response has no such value. The next call tries again.
    pub async fn values(&self, http: &Http) -> Result<&Values, Fault> {
        self.values.get_or_try_init(|| self.read(http)).await
    }

    async fn read(&self, http: &Http) -> Result<Values, Fault> {
        let mut values = self.constant.clone();
        for one in &self.requests {
            let doing = format!("could not read `context[{}]`", one.index);
            let url = address(&one.url, &values).map_err(|fault| fault.during(&doing))?;
            let request = request(Method::GET, &url, &self.headers, Bytes::new());
            let found = http.call(&doing, request, |response| one.found(response, http)).await?;
            values.extend(found);
        }
        Ok(values)
    }
}

/// Name of the list in placeholders.
pub const LIST_ID: &str = "list_id";
/// Name of the key of a record in the placeholders of `item`.
pub const KEY: &str = "key";

impl ContextRequest {
    /// Returns the values in a response.
    fn found(&self, response: &Response, http: &Http) -> Result<Values, Fault> {
        let (answer, _) = answer::json(response, http.service())?;
        let value = |(name, path): (&String, &Path)| {
            let found = path.find(answer.value()).filter(|value| !value.is_null());
            let found = found.ok_or_else(|| {
                let (path, service) = (path.shown(), http.service());
                answer::reported(&answer, service).unwrap_or_else(|| {
                    Fault::retry(format!("{service}'s response has no value at `{path}`"))
                        .hint(format!("check `context[{}].values.{name}`", self.index))
                })
            })?;
            Ok((name.clone(), answer.part(found).detached()))
        };
        self.values.iter().map(value).collect()
    }
}

/// Returns the JSON object of the values of the context, for records.
pub fn object(values: &Values) -> String {
    let values = values.iter().filter(|(name, _)| *name != LIST_ID);
    let fields: Vec<String> = values.map(|(name, value)| format!("\"{name}\":{}", value.get())).collect();
    format!("{{{}}}", fields.join(","))
}
