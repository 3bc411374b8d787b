//! Sends batches of JSON to any address, such as a webhook or an endpoint for bulk imports. A deleted record is
//! `{"key": …, "deleted": true}`. The smallest sink that leaves the machine; copy it for a service.
//!
//! The receiver gets a record at least once. It has to store each record once, by a key in the payload.

mod answer;
mod settings;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, Uri};
use serde_json::json;

use self::{
    answer::{Expected, counted},
    settings::{Body, Requests, SETTINGS},
};
use super::{Checked, Deletions, Delivery, Prepared, Rejection, Sink, SinkContext, SinkSpec, array};
use crate::{
    base::{
        adapter::Chosen,
        fault::Fault,
        record::Payload,
        secret::Secret,
        spec::{Spec, Variable},
    },
    net::{
        AccountClients, Http, Request, Response, Unopened,
        classify::{Body::Any, Rule, Rules, Verdict},
        endpoint::{
            account::{Adapter, Opening},
            secrets,
        },
    },
};

/// Upper bound of the records per request. An endpoint that allows fewer needs a `batch_size`.
const MAX_RECORDS: usize = 1000;
/// Upper bound of a request's body, in bytes: below the 6 MB of AWS Lambda, one of the lower limits of receivers:
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.
const MAX_BYTES: usize = 5_000_000;
/// Upper bound of the batches in flight per list.
const IN_FLIGHT: usize = 4;
/// Upper bound of the simultaneous requests of the account.
const CONNECTIONS: usize = 2 * IN_FLIGHT;

pub const SPEC: Spec = Spec {
    settings: SETTINGS,
    variables: &[HOSTS, TOKEN, USER, PASSWORD],
    ..Spec::new("http", "Batches of JSON, sent to any address.")
};

const HOSTS: Variable = Variable::new("HTTP_SINK_HOSTS", "hosts to which the sink http may send credentials");
const TOKEN: Variable =
    Variable::new("HTTP_SINK_TOKEN", "token of the sink http, if its `auth` is bearer or {\"header\": …}")
        .credential();
const USER: Variable =
    Variable::new("HTTP_SINK_USER", "user of the sink http, if its `auth` is basic").credential();
const PASSWORD: Variable = Variable::new("HTTP_SINK_PASSWORD", "password of that user").credential();
const ADAPTER: Adapter = Adapter {
    kind: SPEC.kind,
    peer: "receiver",
    connections: CONNECTIONS,
    hosts: HOSTS,
    token: TOKEN,
    user: USER,
    password: PASSWORD,
};

/// Rules of a request that only checks whether the address can be reached. A receiver does not have to support
/// the method of this request. The rules of every account decide on redirects and on 429.
const CHECK: [Rule; 5] = [
    Rule::status(401, Verdict::KeyRejected),
    Rule::status(403, Verdict::Forbidden),
    // Proxy authentication required: <https://www.rfc-editor.org/rfc/rfc9110#section-15.5.8>.
    Rule::status(407, Verdict::Refused),
    Rule::new(400..=428, Any, Verdict::Accepted),
    Rule::new(430..=499, Any, Verdict::Accepted),
];

/// An address that receives batches.
pub struct HttpSink {
    http: Http,
    uri: Uri,
    method: Method,
    headers: HeaderMap,
    body: Body,
    expected: Expected,
    /// Name of the receiver in messages. The rest of the address may be a secret.
    host: String,
    list_id: String,
    /// What a batch contains, for messages.
    contents: &'static str,
    destination: Secret,
    address: String,
}

impl HttpSink {
    pub fn open(chosen: &Chosen, context: SinkContext, accounts: &AccountClients) -> Result<Self, Unopened> {
        let Requests { endpoint, uri, method, body, expected } = Requests::read(chosen)?;
        let opening = Opening { adapter: &ADAPTER, part: context.part, endpoint: &endpoint, chosen };
        let client = opening.client(accounts)?;
        let secrets = [secrets::of(&endpoint), chosen.secrets.clone()].concat();
        let http = client.open(context.caller).with_rules(expected.rules.clone()).with_secrets(secrets);
        // A header may select a tenant or a collection of the receiver.
        let headers: Vec<_> =
            endpoint.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let destination = format!("{} {:?} {headers:?}", endpoint.url, http.account());
        // The query may be a key, which people renew.
        let address = format!("{}{}", endpoint.url.origin().ascii_serialization(), endpoint.url.path());
        Ok(HttpSink {
            http,
            uri,
            method,
            host: endpoint.host(),
            headers: endpoint.headers,
            body,
            expected,
            list_id: context.list_id.to_owned(),
            contents: if context.part == "notify" { "notice" } else { "record" },
            destination: Secret::new(destination),
            address,
        })
    }

    fn request(&self, method: Method, body: Bytes) -> Request {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().clone_from(&self.headers);
        request
    }
}

impl Sink for HttpSink {
    fn spec(&self) -> SinkSpec {
        let most = match self.body {
            Body::Array => MAX_RECORDS,
            Body::Object => 1,
        };
        let mut spec = SinkSpec::new(self.destination.clone(), self.address.clone(), most, IN_FLIGHT);
        // The brackets of the array, and a comma between two records.
        spec.limits.bytes = Some(MAX_BYTES - (most + 1));
        spec.deletions = Deletions::Sent;
        spec.retries = self.expected.results.is_some();
        spec
    }

    fn prepare(&self, payload: &Payload) -> Result<Prepared, Rejection> {
        Ok(match &payload.body {
            Some(body) => Prepared::new(&payload.key, body.clone()),
            None => Prepared::new(&payload.key, json!({"key": &*payload.key, "deleted": true}).to_string()),
        })
    }

    fn deliver<'a>(&'a self, batch: &'a [Prepared]) -> BoxFuture<'a, Result<Delivery, Fault>> {
        Box::pin(async move {
            let (sent, host) = (batch.len(), self.host.as_str());
            let request = self.request(self.method.clone(), encoded(self.body, batch));
            let doing = format!(
                "could not send {} of list `{}` to {host}",
                counted(sent, self.contents),
                self.list_id.escape_debug()
            );
            let redact = |text: &str| self.http.redacted(text);
            let read = |response: &Response| self.expected.read(response, sent, host, redact);
            self.http.call(&doing, request, read).await
        })
    }

    /// Sends a `HEAD` request with the credentials.
    fn check(&self) -> BoxFuture<'_, Result<Checked, Fault>> {
        Box::pin(async move {
            let request = self.request(Method::HEAD, Bytes::new());
            let doing = format!("could not reach {}", self.host);
            let http = self.http.clone().with_rules(Rules::new(&CHECK));
            http.call_aside(&doing, request, |_| Ok(Checked::default())).await
        })
    }
}

/// Formats the body of a request.
fn encoded(body: Body, batch: &[Prepared]) -> Bytes {
    match body {
        Body::Array => array(batch).into(),
        // A batch has one record then.
        Body::Object => batch.first().map_or_else(Bytes::new, |one| Bytes::copy_from_slice(&one.bytes)),
    }
}
