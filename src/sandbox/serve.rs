//! The sandbox on loopback, for the real binary.

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

/// Serves until dropped.
pub async fn serve(listener: TcpListener, sandbox: Arc<Sandbox>) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        connections.spawn(converse(stream, Arc::clone(&sandbox)));
        while connections.try_join_next().is_some() {}
    }
}

/// Answers the requests of one connection.
async fn converse(stream: TcpStream, sandbox: Arc<Sandbox>) {
    let service = service_fn(move |request| Box::pin(respond(Arc::clone(&sandbox), request)));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A client that goes away ends its connection; that is no news. What is an error of ours is a trouble: a reset,
    // unless half an answer is on its way, which a reset would overtake.
    if let Err(error) = poll_fn(|context| connection.poll_without_shutdown(context)).await
        && error.is_user()
        && !error.is_body_write_aborted()
    {
        // Closed without lingering, a connection is reset.
        let _ = connection.into_parts().io.into_inner().set_zero_linger();
    }
}

/// Its length is told by the header alone, so that there may be less of it.
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

/// A response that announces its whole length and holds one of so many parts of it.
fn announced(response: Response, parts: usize) -> http::Response<Body> {
    let length = response.body().len();
    let mut response = response.map(|body| {
        let part = Frame::data(body.slice(..length / parts));
        // Before its end a body pauses: hyper sends what it has when it must wait, and drops it when it is cheated.
        let end = once(yield_now()).filter_map(|()| ready(None));
        StreamBody::new(once(ready(Ok(part))).chain(end).boxed())
    });
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    response
}
