//! The whole program with its real HTTP client over real sockets, in real time: connections that stall or
//! break.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use http::Uri;
use importer::{
    controller::Verdict,
    net::{
        Request, Response, Transport, TransportError,
        transport::{LIMITS, Limits, Web},
    },
    sandbox::{Service, Trouble, serve::serve},
};
use tokio::{net::TcpListener, task::JoinSet};

use crate::support::World;

/// Redirects requests for the services to loopback.
struct Wire {
    web: Web,
    host: SocketAddr,
}

impl Transport for Wire {
    fn send(&self, mut request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        let path = request.uri().path_and_query().unwrap().clone();
        let address = Uri::builder().scheme("http").authority(self.host.to_string()).path_and_query(path);
        *request.uri_mut() = address.build().unwrap();
        self.web.send(request)
    }
}

#[tokio::test]
async fn stalled_or_truncated_responses_are_requested_again_and_the_list_is_complete() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // Far above the time of a response here; a later response would only cause one more request.
    let web = Web::within(Limits { stall: Duration::from_secs(2), ..LIMITS }).unwrap();
    let wire = Wire { web, host: listener.local_addr().unwrap() };
    let world = World::new().list("wire1", 250).with_state(r#"[{"list_id": "wire1"}]"#).through(|_| wire);
    let mut server = JoinSet::new();
    server.spawn(serve(listener, Arc::clone(&world.sandbox)));
    for service in [Service::Mailchimp, Service::Ometria] {
        world.sandbox.trouble(service, Trouble::CutOff);
        world.sandbox.trouble(service, Trouble::Stall { carried_out: true });
    }
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(world.sandbox.seen().troubles.len(), 4);
    for told in ["mailchimp", "ometria"].map(|service| format!("no complete response from {service} at ")) {
        for why in ["no response in time", "end of file before message length reached"] {
            assert!(world.lines(&told).iter().any(|line| line.contains(why)), "{told}: {why}");
        }
    }
    world.assert_delivered("wire1");
}
