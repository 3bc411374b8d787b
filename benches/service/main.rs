//! Serves Mailchimp's members and a REST API and takes Ometria's pushes for the bench, with as little work per request as
//! possible, so that a measurement shows the client: the records are formatted before the first measured run, and a page
//! is one slice of that text.
//!
//! `service MEMBERS CHANGED` prints its address. `/bench/reset?read_ms=50&push_ms=30&rate=8&check=1` begins a
//! measurement, `/bench/report` returns its counts, and `/bench/trace` the requests of a measurement with `check`.
//! `/bench/items?records=200000&edition=1` makes the records of the REST API.
#![expect(clippy::disallowed_methods, reason = "a bench measures the time of the machine")]

mod item;
mod items;
mod listing;
mod member;
mod pages;
mod pushes;
mod replies;
mod tally;

use std::{
    env,
    error::Error,
    io::{Write, stdout},
    sync::Arc,
    time::Duration,
};

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, runtime::Builder, task::JoinSet, time::sleep};

use self::{items::Items, pages::Pages, replies::Parts, tally::Tally};

/// What the service knows.
struct Service {
    pages: Pages,
    items: Items,
    tally: Tally,
}

fn main() -> Result<(), Box<dyn Error>> {
    let numbers: Vec<u64> = env::args().skip(1).map_while(|text| text.parse().ok()).collect();
    let [members, changed] = numbers[..] else { return Err("usage: service MEMBERS CHANGED".into()) };
    // One thread: the program that is measured has the other core.
    Builder::new_current_thread().enable_all().build()?.block_on(serve(members, changed))
}

async fn serve(members: u64, changed: u64) -> Result<(), Box<dyn Error>> {
    let pages = Pages::invent(members, changed);
    let service = Arc::new(Service { pages, items: Items::default(), tally: Tally::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(stdout(), "{}", listener.local_addr()?)?;
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = Arc::clone(&service);
        let respond = service_fn(move |request| respond(Arc::clone(&service), request));
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), respond));
        while connections.try_join_next().is_some() {}
    }
}

async fn respond(service: Arc<Service>, request: Request<Incoming>) -> Result<Response<Parts>, hyper::Error> {
    let (head, body) = request.into_parts();
    let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
    let Service { pages, items, tally } = &*service;
    Ok(match (&head.method, path) {
        (&Method::GET, "/bench/reset") => {
            tally.reset(query);
            replies::text(200, "{}".into())
        }
        (&Method::GET, "/bench/items") => {
            items.make(query);
            replies::text(200, "{}".into())
        }
        (&Method::GET, "/bench/report") => replies::text(200, tally.report()),
        (&Method::GET, "/bench/trace") => replies::text(200, tally.trace()),
        (&Method::POST, "/v2/push") => {
            tally.arrived();
            let body = body.collect().await?.to_bytes();
            pause(tally.push_delay()).await;
            pushes::respond(tally, &body)
        }
        (&Method::GET, "/v2/push/_errors") => replies::text(200, "[]".into()),
        (&Method::GET, _) if path.ends_with("/members") => {
            tally.arrived();
            tally.read(path, query);
            pause(tally.read_delay()).await;
            pages.respond(query)
        }
        (&Method::GET, "/rest/items") => {
            tally.arrived();
            tally.read(path, query);
            pause(tally.read_delay()).await;
            items.respond(query)
        }
        _ => replies::text(404, r#"{"title":"Resource Not Found","status":404}"#.into()),
    })
}

async fn pause(delay: Duration) {
    if !delay.is_zero() {
        sleep(delay).await;
    }
}
