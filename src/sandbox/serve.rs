//! The sandbox on loopback, for the real binary.

use std::{convert::Infallible, io, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinSet};

use super::Sandbox;

/// Serves until dropped.
pub async fn serve(listener: TcpListener, sandbox: Arc<Sandbox>) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        let sandbox = Arc::clone(&sandbox);
        connections.spawn(async move {
            let service = service_fn(move |request| respond(Arc::clone(&sandbox), request));
            // A client that goes away ends its connection; that is no news.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn respond(
    sandbox: Arc<Sandbox>,
    request: http::Request<Incoming>,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let response = sandbox.handle(http::Request::from_parts(head, body)).await.unwrap_or_else(|error| {
        let mut response = http::Response::new(Bytes::from(error.to_string()));
        *response.status_mut() = http::StatusCode::BAD_GATEWAY;
        response
    });
    Ok(response.map(Full::new))
}
