//! Sends requests and receives responses. The only user of the HTTP client; tests replace it by the sandbox.

use std::time::Duration;

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use http::uri::Scheme;
use tokio::{sync::OnceCell, task::spawn_blocking};

pub type Request = http::Request<Bytes>;
pub type Response = http::Response<Bytes>;

/// No response arrived, or only part of one.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The connection was made, and the response is late.
    #[error("no response in time")]
    TimedOut,
    /// No connection could be made: the host has no address, refuses connections, does not respond, or has no
    /// valid certificate. The service has not received the request.
    #[error("{0}")]
    Unreachable(String),
    /// The response is larger than [`LARGEST`].
    #[error("the response is larger than {} MB", LARGEST >> 20)]
    TooLarge,
    /// The connection broke, or the response is invalid.
    #[error("{0}")]
    Broken(String),
}

/// A way to send requests. [`Http`](super::Http) calls it once per attempt, and does the rest.
pub trait Transport: Send + Sync {
    /// Sends one request and reads the whole response, whatever its status.
    ///
    /// # Errors
    ///
    /// [`TransportError`]: the response is missing or incomplete. The service may have processed the request,
    /// except for [`TransportError::Unreachable`].
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>>;
}

/// Time limit of a request. The slowest services end a request themselves after 120 s.
pub const LONGEST: Duration = Duration::from_secs(125);
/// Upper bound of a response, in bytes. 1,000 records of 3 kB each are about 3 MB.
const LARGEST: usize = 64 << 20;

/// Time limits of a request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For the connection, including TLS.
    pub connect: Duration,
    /// For the silence before and between the bytes of the response.
    pub stall: Duration,
    /// For the whole request, from the connection to the end of the response.
    pub longest: Duration,
}

/// Time limits of the program. Tests use shorter ones.
pub const LIMITS: Limits =
    Limits { connect: Duration::from_secs(10), stall: Duration::from_secs(60), longest: LONGEST };

/// HTTP client; verifies TLS against the system's root certificates. Follows no redirect, because a key must
/// not be sent to another host.
pub struct Web {
    limits: Limits,
    /// For addresses without TLS; has no root certificates. Reading those of the system is the slowest part of a
    /// start.
    plain: reqwest::Client,
    /// For all other addresses; made for the first of them.
    secure: OnceCell<reqwest::Client>,
    /// Whether the environment names a proxy for addresses without TLS. The proxy itself may have TLS.
    has_proxy: bool,
}

impl Web {
    /// Makes a client with [`LIMITS`].
    ///
    /// # Errors
    ///
    /// The HTTP client could not be set up.
    pub fn new() -> anyhow::Result<Self> {
        Web::within(LIMITS)
    }

    /// Like [`Web::new`], with other time limits.
    pub fn within(limits: Limits) -> anyhow::Result<Self> {
        let plain = builder(limits).tls_certs_only([]).build().context("could not set up the HTTP client")?;
        let proxies = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
        let has_proxy =
            proxies.iter().any(|name| std::env::var_os(name).is_some_and(|proxy| !proxy.is_empty()));
        Ok(Web { limits, plain, secure: OnceCell::new(), has_proxy })
    }

    /// Returns the client for an address.
    async fn client(&self, address: &http::Uri) -> Result<&reqwest::Client, TransportError> {
        if address.scheme() == Some(&Scheme::HTTP) && !self.has_proxy {
            return Ok(&self.plain);
        }
        let limits = self.limits;
        let secure = async || {
            let built = spawn_blocking(move || builder(limits).build()).await;
            let why = match built {
                Ok(Ok(client)) => return Ok(client),
                Ok(Err(error)) => text(&error),
                Err(error) => error.to_string(),
            };
            Err(TransportError::Unreachable(format!(
                "could not set up TLS with the root certificates of the system: {why}"
            )))
        };
        self.secure.get_or_try_init(secure).await
    }
}

fn builder(limits: Limits) -> reqwest::ClientBuilder {
    #[expect(clippy::disallowed_methods, reason = "the one place that makes an HTTP client")]
    reqwest::Client::builder()
        .user_agent(concat!("importer/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(limits.connect)
        .read_timeout(limits.stall)
        .timeout(limits.longest)
}

impl Transport for Web {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(async move {
            let client = self.client(request.uri()).await?;
            let request = request.try_into().map_err(plain)?;
            let answer = client.execute(request).await.map_err(plain)?;
            let mut response = http::Response::builder().status(answer.status());
            if let Some(headers) = response.headers_mut() {
                headers.clone_from(answer.headers());
            }
            let body = body(answer).await?;
            response.body(body).map_err(|error| TransportError::Broken(error.to_string()))
        })
    }
}

/// Reads the whole body. Returns an error if it exceeds [`LARGEST`].
async fn body(mut answer: reqwest::Response) -> Result<Bytes, TransportError> {
    let announced = answer.content_length().and_then(|length| usize::try_from(length).ok());
    let mut body = BytesMut::with_capacity(announced.unwrap_or_default().min(LARGEST / 16));
    while let Some(chunk) = answer.chunk().await.map_err(plain)? {
        if body.len() + chunk.len() > LARGEST {
            return Err(TransportError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Formats the error and its causes in one line. Omits the address, which the caller's message contains.
fn plain(error: reqwest::Error) -> TransportError {
    let (unreachable, error) = (error.is_connect(), error.without_url());
    // A host that can't be reached is no sign that the request was too large.
    if error.is_timeout() && !unreachable {
        return TransportError::TimedOut;
    }
    let text = text(&error);
    if unreachable { TransportError::Unreachable(text) } else { TransportError::Broken(text) }
}

/// Returns an error and its causes in one line.
fn text(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
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
    /// Longer than any test may take: a test that runs into the wrong limit times out.
    const NEVER: Duration = Duration::from_secs(3600);
    const PATIENT: Limits = Limits { connect: NEVER, stall: NEVER, longest: NEVER };
    const HALF: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf:";

    /// Starts a server for one connection, which `speak` handles. Returns its address and its task.
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

    /// Reads a request and sends these bytes.
    async fn answer(stream: &mut TcpStream, bytes: &[u8]) {
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream.write_all(bytes).await.unwrap();
    }

    async fn get(address: &str, limits: Limits) -> Result<Response, TransportError> {
        let request = http::Request::get(address).header("Authorization", "Basic s3cr3t");
        Web::within(limits).unwrap().send(request.body(Bytes::new()).unwrap()).await
    }

    #[tokio::test]
    async fn a_missing_or_incomplete_response_times_out_after_a_silence() {
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
    async fn a_response_that_trickles_times_out_in_the_end() {
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
    async fn half_a_response_is_an_error() {
        let (address, _server) = server(async |mut stream| answer(&mut stream, HALF).await).await;
        let answer = get(&format!("http://{address}/"), PATIENT).await;
        assert!(matches!(answer, Err(TransportError::Broken(_))), "{answer:?}");
    }

    #[tokio::test]
    async fn a_failed_connection_is_no_timeout_and_no_sign_of_a_large_request() {
        let (address, _server) = server(async |_stream| pending::<()>().await).await;
        let answer = get(&format!("https://{address}/"), Limits { connect: SHORT, ..PATIENT }).await;
        assert!(matches!(answer, Err(TransportError::Unreachable(_))), "{answer:?}");
    }

    #[tokio::test]
    async fn a_refused_connection_and_an_unknown_name_are_unreachable() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refused = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        // RFC 6761, section 6.4: `.invalid` is never a name.
        for address in [refused.as_str(), "http://importer.invalid/"] {
            let answer = get(address, LIMITS).await;
            assert!(matches!(answer, Err(TransportError::Unreachable(_))), "{address}: {answer:?}");
        }
    }

    #[tokio::test]
    async fn a_response_that_does_not_end_is_cut_off() {
        let (address, _server) = server(async |mut stream| {
            answer(&mut stream, b"HTTP/1.1 200 OK\r\n\r\n").await;
            let megabyte = vec![b' '; 1 << 20];
            while stream.write_all(&megabyte).await.is_ok() {}
        })
        .await;
        let error = get(&format!("http://{address}/"), LIMITS).await.unwrap_err();
        assert_eq!(error.to_string(), "the response is larger than 64 MB");
    }

    #[tokio::test]
    async fn a_redirect_is_returned_and_its_target_gets_no_request() {
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

    /// The handshake fails on the server's side, so no byte of the request has arrived: the request follows
    /// the handshake.
    #[tokio::test]
    async fn an_untrusted_certificate_ends_the_connection_before_the_key_is_sent() {
        let certified = rcgen::generate_simple_self_signed(["127.0.0.1".into()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (address, mut server) =
            server(async move |stream| acceptor.accept(stream).await.map(|_| ())).await;
        let answer = get(&format!("https://{address}/"), PATIENT).await;
        let Err(TransportError::Unreachable(told)) = &answer else { panic!("{answer:?}") };
        assert!(told.contains("invalid peer certificate"), "{told}");
        let heard = server.join_next().await.unwrap().unwrap().unwrap_err();
        assert!(heard.to_string().contains("alert"), "{heard}");
    }
}
