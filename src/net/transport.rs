//! A request out, a response in. The one place that holds an HTTP client; tests put the sandbox here.

use std::time::Duration;

use anyhow::Context;
use bytes::{Bytes, BytesMut};
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
/// A thousand members with all their fields are some 3 MB.
const LARGEST: usize = 64 << 20;
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
            let body = body(answer).await?;
            response.body(body).map_err(|error| TransportError::Broken(error.to_string()))
        })
    }
}

/// The whole body, if it is not larger than any answer that we ask for.
async fn body(mut answer: reqwest::Response) -> Result<Bytes, TransportError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(plain)? {
        if body.len() + chunk.len() > LARGEST {
            return Err(TransportError::Broken(format!("the answer is larger than {} MB", LARGEST >> 20)));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
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

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        task::JoinSet,
    };

    use super::*;

    /// Answers one request with this head, and then with chunks of a megabyte until nobody listens any more.
    async fn endless(head: &'static str) -> (String, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let mut server = JoinSet::new();
        server.spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let megabyte = vec![b' '; 1 << 20];
            let _ = stream.write_all(head.as_bytes()).await;
            while stream.write_all(&megabyte).await.is_ok() {}
        });
        (address, server)
    }

    #[tokio::test]
    async fn an_answer_that_does_not_end_is_given_up() {
        let (address, _server) = endless("HTTP/1.1 200 OK\r\n\r\n").await;
        let request = http::Request::get(address).body(Bytes::new()).unwrap();
        let error = Web::new().unwrap().send(request).await.unwrap_err();
        assert_eq!(error.to_string(), "the answer is larger than 64 MB");
    }

    #[tokio::test]
    async fn a_redirect_is_answered_and_not_followed() {
        let head = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
        let (address, _server) = endless(head).await;
        let request = http::Request::get(address).body(Bytes::new()).unwrap();
        assert_eq!(Web::new().unwrap().send(request).await.unwrap().status(), 302);
    }
}
