//! Serves the API on an address. Everything that a caller could make grow or last is bounded.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use hyper::{server::conn::http1, service::Service, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{access::Ends, patient::Patient};

/// Number of connections at a time. Further ones wait in the queue of the system.
const CONNECTIONS: usize = 64;
/// Number of bytes of a connection that are read before they are understood. It bounds the head of a request.
const HEAD: usize = 32 << 10;
/// Maximum time in which the head of a request has to arrive, also after the answer to the one before.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// Time until the next attempt to accept a connection, when the system has no room for another one.
const AGAIN: Duration = Duration::from_millis(100);
/// Maximum time for answers after a stop.
const LAST: Duration = Duration::from_secs(1);

/// Serves until `stop` is cancelled; then the requests that have come are answered, but not for long.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let accept = async {
        loop {
            // The semaphore is never closed.
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            let Ok((stream, ends)) = accepted(&listener).await else {
                sleep(AGAIN).await;
                continue;
            };
            let (router, stop) = (router.clone(), stop.clone());
            connections.spawn(async move {
                converse(stream, ends, router, stop).await;
                drop(place);
            });
            while connections.try_join_next().is_some() {}
        }
    };
    stop.run_until_cancelled(accept).await;
    drop(listener);
    let _ = timeout(LAST, connections.join_all()).await;
}

async fn accepted(listener: &TcpListener) -> io::Result<(TcpStream, Ends)> {
    let (stream, peer) = listener.accept().await?;
    let local = stream.local_addr()?;
    Ok((stream, Ends { peer: peer.ip(), local: local.ip() }))
}

/// Responds to the requests of one connection.
async fn converse(stream: TcpStream, ends: Ends, router: Router, stop: CancellationToken) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ends);
        router.call(request)
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(HEAD);
    let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(Patient::new(stream)), service));
    // A caller that goes away, or that sends no HTTP, is no error of ours.
    if stop.run_until_cancelled(connection.as_mut()).await.is_none() {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}
