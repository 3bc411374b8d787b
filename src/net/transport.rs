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

/// The slowest services cut a request after 120 s themselves.
pub const LONGEST: Duration = Duration::from_secs(125);
/// A thousand records of 3 kB each are some 3 MB.
const LARGEST: usize = 64 << 20;

/// How long is waited for what may never come.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For a connection, its TLS included.
    pub connect: Duration,
    /// The longest silence while an answer is being made or read.
    pub stall: Duration,
    /// For all of it, from the connection to the end of the answer.
    pub longest: Duration,
}

/// Those of the program; tests have no minutes to wait.
pub const LIMITS: Limits =
    Limits { connect: Duration::from_secs(10), stall: Duration::from_secs(60), longest: LONGEST };

/// Real HTTP, TLS verified by the system's roots. Follows no redirect: a key must not travel to another host.
pub struct Web(reqwest::Client);

impl Web {
    pub fn new() -> anyhow::Result<Self> {
        Web::within(LIMITS)
    }

    pub fn within(limits: Limits) -> anyhow::Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "the one place that makes an HTTP client")]
        let client = reqwest::Client::builder()
            .user_agent(concat!("importer/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(limits.connect)
            .read_timeout(limits.stall)
            .timeout(limits.longest)
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
    use std::{future::pending, io::ErrorKind, sync::Arc};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        task::JoinSet,
        time::sleep,
    };
    use tokio_rustls::{
        TlsAcceptor,
        rustls::{ServerConfig, pki_types::PrivateKeyDer},
    };

    use super::*;

    const SHORT: Duration = Duration::from_millis(300);
    /// Longer than any test may take: where it is the wrong limit that holds, the test is ended.
    const NEVER: Duration = Duration::from_secs(3600);
    const PATIENT: Limits = Limits { connect: NEVER, stall: NEVER, longest: NEVER };
    const HALF: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf:";

    /// A server of one connection, on which it speaks as it is told. Its address, and its task.
    async fn server<F>(speak: impl FnOnce(TcpStream) -> F + Send + 'static) -> (String, JoinSet<F::Output>)
    where
        F: Future<Output: Send + 'static> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut server = JoinSet::new();
        server.spawn(async move { speak(listener.accept().await.unwrap().0).await });
        (address, server)
    }

    /// Takes a request and says this.
    async fn answer(stream: &mut TcpStream, bytes: &[u8]) {
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream.write_all(bytes).await.unwrap();
    }

    async fn get(address: &str, limits: Limits) -> Result<Response, TransportError> {
        let request = http::Request::get(address).header("Authorization", "Basic s3cr3t");
        Web::within(limits).unwrap().send(request.body(Bytes::new()).unwrap()).await
    }

    #[tokio::test]
    async fn an_answer_that_stays_out_or_stops_in_the_middle_is_given_up_after_a_silence() {
        for said in [b"", HALF] {
            let (address, _server) = server(async move |mut stream| {
                answer(&mut stream, said).await;
                pending::<()>().await;
            })
            .await;
            let answer = get(&format!("http://{address}/"), Limits { stall: SHORT, ..PATIENT }).await;
            assert!(matches!(answer, Err(TransportError::TimedOut)), "{answer:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_trickles_is_given_up_in_the_end() {
        let (address, _server) = server(async |mut stream| {
            answer(&mut stream, b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(b" ").await.is_ok() {
                sleep(SHORT / 10).await;
            }
        })
        .await;
        let answer = get(&format!("http://{address}/"), Limits { longest: SHORT, ..PATIENT }).await;
        assert!(matches!(answer, Err(TransportError::TimedOut)), "{answer:?}");
    }

    #[tokio::test]
    async fn half_an_answer_is_no_answer() {
        let (address, _server) = server(async |mut stream| answer(&mut stream, HALF).await).await;
        let answer = get(&format!("http://{address}/"), PATIENT).await;
        assert!(matches!(answer, Err(TransportError::Broken(_))), "{answer:?}");
    }

    #[tokio::test]
    async fn a_connection_that_does_not_come_about_is_broken_and_says_nothing_of_the_size_of_a_request() {
        let (address, _server) = server(async |_stream| pending::<()>().await).await;
        let answer = get(&format!("https://{address}/"), Limits { connect: SHORT, ..PATIENT }).await;
        assert!(matches!(answer, Err(TransportError::Broken(_))), "{answer:?}");
    }

    #[tokio::test]
    async fn an_answer_that_does_not_end_is_given_up() {
        let (address, _server) = server(async |mut stream| {
            answer(&mut stream, b"HTTP/1.1 200 OK\r\n\r\n").await;
            let megabyte = vec![b' '; 1 << 20];
            while stream.write_all(&megabyte).await.is_ok() {}
        })
        .await;
        let error = get(&format!("http://{address}/"), LIMITS).await.unwrap_err();
        assert_eq!(error.to_string(), "the answer is larger than 64 MB");
    }

    #[tokio::test]
    async fn a_redirect_is_answered_and_the_host_that_it_names_is_left_alone() {
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        other.set_nonblocking(true).unwrap();
        let location = other.local_addr().unwrap();
        let head = format!("HTTP/1.1 302 Found\r\nLocation: http://{location}/\r\nContent-Length: 0\r\n\r\n");
        let (address, _server) =
            server(async move |mut stream| answer(&mut stream, head.as_bytes()).await).await;
        let redirect = get(&format!("http://{address}/"), Limits { stall: SHORT, ..LIMITS }).await;
        assert_eq!(other.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "a connection was made");
        assert_eq!(redirect.unwrap().status(), 302);
    }

    /// That it is TLS which ends here shows that no byte of a request has come: those come after it.
    #[tokio::test]
    async fn a_certificate_that_nobody_vouches_for_ends_the_connection_before_the_key_is_sent() {
        let certified = rcgen::generate_simple_self_signed(["127.0.0.1".into()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (address, mut server) =
            server(async move |stream| acceptor.accept(stream).await.map(|_| ())).await;
        let answer = get(&format!("https://{address}/"), PATIENT).await;
        let Err(TransportError::Broken(told)) = &answer else { panic!("{answer:?}") };
        assert!(told.contains("invalid peer certificate"), "{told}");
        let heard = server.join_next().await.unwrap().unwrap().unwrap_err();
        assert!(heard.to_string().contains("alert"), "{heard}");
    }
}
