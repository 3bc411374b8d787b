//! The source `rest` where a response is not simply an array of records: records that an expression finds, and an API
//! that is read by POST.

use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use http::{Method, header};
use importer::{
    net::{Request, Response, Transport, TransportError},
    sandbox::Sandbox,
};
use serde_json::{Value, json};

use crate::support::World;

const FILE: &str = "items.ndjson";

/// Bodies of the requests with POST, in their order.
type Bodies = Arc<Mutex<Vec<Value>>>;
/// The response to the body of a request.
type Answer = fn(&Value) -> Value;

/// Answers requests with POST by their bodies, and leaves the others to the sandbox.
struct Posts {
    sandbox: Arc<Sandbox>,
    bodies: Bodies,
    answer: Answer,
}

impl Transport for Posts {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(async move {
            if request.method() != Method::POST {
                return self.sandbox.send(request).await;
            }
            assert_eq!(request.headers()[header::CONTENT_TYPE], "application/json");
            let body: Value = serde_json::from_slice(request.body()).unwrap();
            let answer = (self.answer)(&body).to_string();
            self.bodies.lock().unwrap().push(body);
            let mut response = Response::new(answer.into());
            let date = self.sandbox.send(request).await?.headers()[header::DATE].clone();
            response.headers_mut().insert(header::DATE, date);
            Ok(response)
        })
    }
}

fn state(source: Value) -> String {
    let mut all = json!({"type": "rest", "auth": "bearer", "key": "id"});
    all.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
    json!([{
        "list_id": "items", "source": all, "sink": {"type": "ndjson", "path": format!("out/{FILE}")},
        "items_per_request": 2, "every": "1m",
    }])
    .to_string()
}

#[tokio::test(start_paused = true)]
async fn an_api_that_is_read_by_post_gets_the_values_and_the_cursor_in_its_body() {
    let answer: Answer = |body| match body["after"].as_str() {
        None => json!({"rows": [{"id": 1}, {"id": 2}], "after": "b"}),
        Some("b") => json!({"rows": [{"id": 3}], "after": null}),
        Some(other) => panic!("{other}"),
    };
    let bodies = Bodies::default();
    let source = json!({
        "url": "https://rest.example.org/rest/search", "method": "POST", "records": "rows",
        "changed": "at", "since": {"parameter": "changed_since"},
        "context": [{"url": "https://rest.example.org/rest/iam/users/me", "values": {"me": "id"}}],
        "body": {"of": "{me}", "where": [{"list": "{list_id}!"}, true]},
        "paging": {"type": "cursor", "parameter": "after", "limit": "size", "next": "after"},
    });
    let world = World::new().with_state(&state(source));
    let seen = Arc::clone(&bodies);
    let world = world.through(|sandbox| Posts { sandbox, bodies: seen, answer });
    world.once().await.unwrap();
    let fixed = json!({"of": 17, "where": [{"list": "items!"}, true], "size": 2});
    let with = |more: Value| {
        let mut body = fixed.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    assert_eq!(bodies.lock().unwrap()[..2], [with(json!({})), with(json!({"after": "b"}))]);
}

#[cfg(feature = "jq")]
#[tokio::test(start_paused = true)]
async fn records_that_an_expression_finds_have_their_keys_times_and_deletions() {
    let source = json!({
        "url": "https://rest.example.org/rest/items/cursor",
        "records": {"jq": ".groups[]? | .name as $group | .rows[] | {group: $group} + ."},
        "key": ["group", "nr"], "changed": "seen.at", "deleted": "gone", "since": {"parameter": "updated_since"},
        "paging": {"type": "cursor", "parameter": "cursor", "next": "next"},
    });
    let world = World::new().with_state(&state(source));
    let row = |nr: u64, at: &str| json!({"nr": nr, "seen": {"at": at}});
    for body in [
        json!({"groups": [
            {"name": "a", "rows": [row(1, "2026-11-20T12:00:00Z"), row(2, "soon")]},
            {"name": "b", "rows": []},
        ], "next": "x"}),
        // Each page may have another number of groups, also none.
        json!({"groups": [], "next": "y"}),
        json!({"groups": [{"name": "b", "rows": [row(1, "2026-11-20T13:00:00Z")]}], "next": null}),
    ] {
        world.sandbox.rest().respond_instead("/rest/items", 200, body.to_string());
    }
    world.once().await.unwrap();
    let first = [
        json!({"group": "a", "nr": 1, "seen": {"at": "2026-11-20T12:00:00Z"}}),
        json!({"group": "b", "nr": 1, "seen": {"at": "2026-11-20T13:00:00Z"}}),
    ];
    assert_eq!(world.out(FILE), first, "{:?}", world.log());
    assert_eq!(world.logged("1 rejected (1 unreadable)"), 1, "{:?}", world.log());
    tokio::time::sleep(crate::support::minutes(10)).await;
    let gone = json!({"groups": [{"name": "a", "rows": [{"nr": 1, "gone": true}]}], "next": null});
    world.sandbox.rest().respond_instead("/rest/items", 200, gone.to_string());
    assert_eq!(world.once().await.unwrap(), importer::controller::Verdict::Done, "{:?}", world.log());
    assert_eq!(world.out(FILE).last().unwrap(), &json!({"key": "[\"a\",\"1\"]", "deleted": true}));
    assert!(
        world.requests().keys().any(|request| request.contains("updated_since=")),
        "{:?}",
        world.requests()
    );
}
