//! Serves the sandbox on loopback, for the real binary.

use std::{
    convert::Infallible,
    future::{poll_fn, ready},
    io,
    sync::Arc,
};

use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{BoxStream, once},
};
use http::header;
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinSet, yield_now},
};

use super::{Outcome, Sandbox};
use crate::net::{Response, TransportError};

/// Serves until the future is dropped.
///
/// # Errors
///
/// The listener failed.
pub async fn serve(listener: TcpListener, sandbox: Arc<Sandbox>) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        connections.spawn(converse(stream, Arc::clone(&sandbox)));
        while connections.try_join_next().is_some() {}
    }
}

/// Responds to the requests of one connection.
async fn converse(stream: TcpStream, sandbox: Arc<Sandbox>) {
    let service = service_fn(move |request| Box::pin(respond(Arc::clone(&sandbox), request)));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A client that disconnects is no error. An error of our own service is a trouble, which resets the
    // connection; but not while half a response is being sent, because the reset would overtake it.
    if let Err(error) = poll_fn(|context| connection.poll_without_shutdown(context)).await
        && error.is_user()
        && !error.is_body_write_aborted()
    {
        // Closing without lingering resets the connection.
        let _ = connection.into_parts().io.into_inner().set_zero_linger();
    }
}

/// A body whose length only the header declares, so that less may be sent.
type Body = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

async fn respond(
    sandbox: Arc<Sandbox>,
    request: http::Request<Incoming>,
) -> Result<http::Response<Body>, TransportError> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    match sandbox.answer(http::Request::from_parts(head, body)).await {
        Outcome::Whole(response) => Ok(announced(response, 1)),
        Outcome::Half(response) => Ok(announced(response, 2)),
        Outcome::Nothing(error) => Err(error),
    }
}

/// Makes a response that declares its whole length and contains the first of `parts` equal parts.
fn announced(response: Response, parts: usize) -> http::Response<Body> {
    let length = response.body().len();
    let mut response = response.map(|body| {
        let part = Frame::data(body.slice(..length / parts));
        // The body pauses before its end: hyper flushes what it has while it waits, and drops it when the
        // body is too short.
        let end = once(yield_now()).filter_map(|()| ready(None));
        StreamBody::new(once(ready(Ok(part))).chain(end).boxed())
    });
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    response
}
