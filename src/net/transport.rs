//! A request out, a response in. The one place that holds an HTTP client; tests put the sandbox here.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use futures::future::BoxFuture;

pub type Request = http::Request<Bytes>;
pub type Response = http::Response<Bytes>;

/// No answer was had, or only part of one.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    #[error("no answer in time")]
    TimedOut,
    #[error("{0}")]
    Broken(String),
}

/// Sends one request and reads the whole answer, whatever its status.
pub trait Transport: Send + Sync {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>>;
}

/// Mailchimp cuts a request after 120 s itself: <https://mailchimp.com/developer/marketing/guides/run-async-requests-batch-endpoint/>.
pub const LONGEST: Duration = Duration::from_secs(125);
const CONNECT: Duration = Duration::from_secs(10);
/// The longest silence while an answer is being made or read.
const STALL: Duration = Duration::from_secs(60);

/// Real HTTP, TLS verified by the system's roots. Follows no redirect: a key must not travel to another host.
pub struct Web(reqwest::Client);

impl Web {
    pub fn new() -> anyhow::Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "the one place that makes an HTTP client")]
        let client = reqwest::Client::builder()
            .user_agent(concat!("importer/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .read_timeout(STALL)
            .timeout(LONGEST)
            .build()
            .context("could not set up TLS")?;
        Ok(Web(client))
    }
}

impl Transport for Web {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(async move {
            let request = request.try_into().map_err(plain)?;
            let answer = self.0.execute(request).await.map_err(plain)?;
            let mut response = http::Response::builder().status(answer.status());
            if let Some(headers) = response.headers_mut() {
                headers.clone_from(answer.headers());
            }
            let body = answer.bytes().await.map_err(plain)?;
            response.body(body).map_err(|error| TransportError::Broken(error.to_string()))
        })
    }
}

/// The error and its causes in one line, without the address: that belongs to the caller's text.
fn plain(error: reqwest::Error) -> TransportError {
    let error = error.without_url();
    // A host that can't be reached says nothing of the size of a request.
    if error.is_timeout() && !error.is_connect() {
        return TransportError::TimedOut;
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    TransportError::Broken(text)
}
