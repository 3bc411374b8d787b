//! The sink `http` by itself: its settings, its requests, and its judgment of every kind of answer.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::BoxFuture;
use http::StatusCode;
use importer::{
    app::wiring::Keys,
    base::{adapter::Chosen, fault::Fault, record::Payload},
    net::{Caller, Request, Response, Transport, TransportError, Unopened},
    sink::{self, Delivery, SinkContext, SinkSpec},
};
use serde_json::{Value, json, value::to_raw_value};
use tokio::time::Instant;

use crate::{
    contract::{Always, HOOK, doors, prepared, sink},
    references::open,
    support::entries,
};

/// Returns the settings of the sink with these in addition.
fn with(more: Value) -> Value {
    let mut settings = json!({"type": "http", "url": HOOK, "auth": "bearer"});
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

// ---- Settings ----

/// Returns the error of these settings, with these variables in addition to the keys.
fn refusal(settings: &Value, variables: &'static [(&str, &str)]) -> String {
    let context = SinkContext {
        part: "sink",
        list_id: "a",
        folder: Path::new("."),
        items_per_request: 100,
        caller: Caller::new("a", false),
    };
    let doors = doors(Arc::new(Always(200, "")), variables);
    match sink::open(Chosen::of(settings, ""), context, &doors) {
        Ok(_) => panic!("{settings} is accepted"),
        Err(Unopened::Settings(why)) => why,
        Err(Unopened::Account(refused)) => refused.to_string(),
    }
}

#[test]
fn an_invalid_setting_is_named_with_what_is_valid_and_without_the_address() {
    let results = |more: Value| {
        let mut results = json!({"path": "results", "status": "status"});
        results.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"results": results})
    };
    for (more, why) in [
        (
            json!({"url": "ftp://s3cr3t/path"}),
            "http: `url` must be an http(s) address, such as \"https://host/path\"",
        ),
        (json!({"url": "/s3cr3t"}), "http: `url` must be an http(s) address, such as \"https://host/path\""),
        (
            json!({"url": "https://ada:s3cr3t@host/"}),
            "http: `url` must not contain a user or a password; use `auth`",
        ),
        (
            json!({"method": "GET"}),
            "http: `method`: unknown variant `GET`, expected one of `POST`, `PUT`, `PATCH`",
        ),
        (json!({"body": "lines"}), "http: `body`: unknown variant `lines`, expected `array` or `object`"),
        (
            json!({"headers": {"Authorization": "Bearer s3cr3t"}}),
            "http: `headers`: `authorization` carries credentials, which must not be in the state file; remove it and use `auth`",
        ),
        (
            json!({"headers": {"cookie": "s3cr3t"}}),
            "http: `headers`: `cookie` carries credentials, which must not be in the state file; remove it and use `auth`",
        ),
        (
            json!({"headers": {"Proxy-Authorization": "s3cr3t"}}),
            "http: `headers`: `proxy-authorization` carries credentials, which must not be in the state file; remove it and use `auth`",
        ),
        (
            json!({"auth": {"header": "X-Api-Key"}, "headers": {"x-api-key": "s3cr3t"}}),
            "http: `headers`: `x-api-key` carries credentials, which must not be in the state file; remove it and use `auth`",
        ),
        (json!({"headers": {"Host": "s3cr3t"}}), "http: `headers`: importer sets `host`; remove it"),
        (json!({"headers": {"X A": "s3cr3t"}}), "http: `headers`: invalid name \"X A\""),
        (
            json!({"headers": {"X-A": "s3cr3t\n"}}),
            "http: `headers`: the value of `x-a` contains an invalid character",
        ),
        (
            json!({"headers": {"X-A": "s3cr3t", "x-a": ""}}),
            "http: `headers`: duplicate header `x-a`; remove one",
        ),
        (
            json!({"auth": "token"}),
            "http: `auth`: unknown variant `token`, expected one of `none`, `basic`, `bearer`, `header`",
        ),
        (json!({"auth": {"header": "X A"}}), "http: `auth`: invalid header name \"X A\""),
        (
            json!({"auth": {"header": "Host"}}),
            "http: `auth`: importer sets the header `host`; choose another",
        ),
        (
            json!({"accept": [700]}),
            "http: `accept[0]`: invalid status 700; use a number from 200 to 599, or a range such as \"500-599\"",
        ),
        (
            json!({"retry": ["599-500"]}),
            "http: `retry[0]`: invalid status \"599-500\"; use a number from 200 to 599, or a range such as \"500-599\"",
        ),
        (
            json!({"accept": [409], "reject": ["400-499"]}),
            "http: status 409 is in `accept` and in `reject`; remove it from one of them",
        ),
        (
            json!({"reject": [503], "retry": ["500-599"]}),
            "http: status 503 is in `reject` and in `retry`; remove it from one of them",
        ),
        (
            results(json!({"accepted": ["Done"], "retry": ["done"]})),
            "http: `results`: \"done\" is in `accepted` and in `retry`; remove it from one of them",
        ),
        (
            results(json!({"accepted": [200]})),
            "http: `results.accepted[0]`: invalid outcome 200; use a text, true, false or null",
        ),
        (json!({"results": {"path": "results"}}), "http: `results`: missing field `status`"),
        (json!({"rate": 0}), "http: `rate` must be from 0.001 to 1000 requests per second; found 0"),
        (json!({"batch_size": 1001}), "`batch_size` of http must be from 1 to 1000; found 1001"),
        (json!({"batch_size": 2, "body": "object"}), "`batch_size` of http must be from 1 to 1; found 2"),
    ] {
        assert_eq!(refusal(&with(more), &[]), why);
    }
    let missing = refusal(&json!("http"), &[]);
    assert_eq!(missing, "http: missing field `url`");
}

#[test]
fn a_missing_credential_is_named() {
    for (auth, variables, why) in [
        (json!("bearer"), &[("HTTP_SINK_TOKEN", "")][..], "`HTTP_SINK_TOKEN` is not set"),
        (json!({"header": "X-Key"}), &[("HTTP_SINK_TOKEN", "")], "`HTTP_SINK_TOKEN` is not set"),
        (json!("basic"), &[("HTTP_SINK_PASSWORD", "p")], "`HTTP_SINK_USER` is not set"),
        (json!("basic"), &[("HTTP_SINK_USER", "u")], "`HTTP_SINK_PASSWORD` is not set"),
        (
            json!("basic"),
            &[("HTTP_SINK_USER", "u:v"), ("HTTP_SINK_PASSWORD", "p")],
            "`HTTP_SINK_USER` must not contain a colon",
        ),
    ] {
        let found = refusal(&with(json!({"auth": auth})), variables);
        assert!(found.starts_with(why), "{found}");
    }
}

/// People who may edit the state file must not be able to send the credentials elsewhere.
#[test]
fn credentials_go_only_to_a_host_that_the_environment_names() {
    let other = "`HTTP_SINK_HOSTS` does not contain receiver.example.org, to which an entry sends the credentials; add it, or correct `url`";
    for auth in [json!("bearer"), json!({"header": "X-Key"}), json!("basic")] {
        let settings = with(json!({"auth": auth}));
        assert!(refusal(&settings, &[("HTTP_SINK_HOSTS", "")]).starts_with("`HTTP_SINK_HOSTS` is not set"));
        for hosts in [
            &[("HTTP_SINK_HOSTS", "example.org")][..],
            &[("HTTP_SINK_HOSTS", "receiver.example.org:8080, x.receiver.example.org")],
        ] {
            assert_eq!(refusal(&settings, hosts), other);
        }
    }
    let port = with(json!({"url": "https://receiver.example.org:8443/hooks"}));
    assert!(refusal(&port, &[]).contains("does not contain receiver.example.org:8443,"));
    let several: &[(&str, &str)] = &[("HTTP_SINK_HOSTS", "a.example.org, Receiver.Example.org")];
    assert_eq!(spec(json!({}), several).address, spec(json!({}), &[]).address);
    let nowhere: &[(&str, &str)] = &[("HTTP_SINK_HOSTS", "")];
    assert_eq!(spec(json!({"auth": "none"}), nowhere).address, spec(json!({}), &[]).address);
}

#[test]
fn credentials_go_unencrypted_only_to_this_machine_or_an_address_that_permits_it() {
    for (hosts, url, permitted) in [
        (&[("HTTP_SINK_HOSTS", "api.example.com, 10.0.0.7:8080")][..], "https://api.example.com/a", true),
        (&[("HTTP_SINK_HOSTS", "api.example.com")], "https://api.example.com:443/a?b=c", true),
        (&[("HTTP_SINK_HOSTS", "api.example.com")], "http://api.example.com/a", false),
        (&[("HTTP_SINK_HOSTS", "10.0.0.7:8080")], "http://10.0.0.7:8080/a", false),
        (&[("HTTP_SINK_HOSTS", "a.example.com, http://10.0.0.7:8080")], "http://10.0.0.7:8080/a", true),
        (&[("HTTP_SINK_HOSTS", "http://10.0.0.7:8080/")], "http://10.0.0.7:8080/a", true),
        (&[("HTTP_SINK_HOSTS", "http://10.0.0.7:8080")], "http://10.0.0.7:8081/a", false),
        (&[("HTTP_SINK_HOSTS", "http://10.0.0.7:8080")], "https://10.0.0.7:8080/a", false),
        (&[("HTTP_SINK_HOSTS", "https://api.example.com")], "https://api.example.com/a", true),
        (&[("HTTP_SINK_HOSTS", "https://api.example.com")], "http://api.example.com/a", false),
        // A path would be a limit that is not kept.
        (&[("HTTP_SINK_HOSTS", "https://api.example.com/a")], "https://api.example.com/a", false),
        (&[("HTTP_SINK_HOSTS", "ada@api.example.com")], "https://api.example.com/a", false),
        (&[("HTTP_SINK_HOSTS", "127.0.0.1:9001")], "http://127.0.0.1:9001/a", true),
        (&[("HTTP_SINK_HOSTS", "localhost")], "http://localhost/a", true),
        (&[("HTTP_SINK_HOSTS", "[::1]:9001")], "http://[::1]:9001/a", true),
        (&[("HTTP_SINK_HOSTS", "127.0.0.1:9001")], "http://127.0.0.1:9002/a", false),
        (&[("HTTP_SINK_HOSTS", "localhost.example.com")], "http://localhost.example.com/a", false),
    ] {
        let settings = with(json!({"url": url}));
        let context = SinkContext {
            part: "sink",
            list_id: "a",
            folder: Path::new("."),
            items_per_request: 100,
            caller: Caller::new("a", false),
        };
        let opened = sink::open(Chosen::of(&settings, ""), context, &doors(Arc::new(Always(200, "")), hosts));
        assert_eq!(opened.is_ok(), permitted, "{hosts:?} {url}");
    }
    let why = refusal(
        &with(json!({"url": "http://api.example.com/s3cr3t"})),
        &[("HTTP_SINK_HOSTS", "api.example.com")],
    );
    assert_eq!(
        why,
        "`HTTP_SINK_HOSTS` does not contain http://api.example.com, to which an entry sends the credentials unencrypted; use https in `url`, or add this address"
    );
}

// ---- Requests ----

/// Keeps the requests, with the time since its start, and accepts them.
struct Kept {
    requests: Mutex<Vec<(Request, Duration)>>,
    start: Instant,
}

impl Kept {
    fn start() -> Arc<Self> {
        Arc::new(Kept { requests: Mutex::default(), start: Instant::now() })
    }
}

impl Transport for Kept {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        self.requests.lock().unwrap().push((request, self.start.elapsed()));
        Box::pin(async { Ok(Response::default()) })
    }
}

fn payload(key: &str, body: Option<Value>) -> Payload {
    Payload { key: key.into(), body: body.map(|body| to_raw_value(&body).unwrap().into()) }
}

#[tokio::test(start_paused = true)]
async fn a_request_has_the_method_address_headers_and_credentials_of_its_entry() {
    const BASIC: &[(&str, &str)] = &[("HTTP_SINK_USER", "ada"), ("HTTP_SINK_PASSWORD", "pässword")];
    let basic = "Basic YWRhOnDDpHNzd29yZA==";
    for (more, method, header, value) in [
        (json!({}), "POST", "authorization", Some("Bearer s3cr3t-us1")),
        (json!({"auth": "basic", "method": "PUT"}), "PUT", "authorization", Some(basic)),
        (json!({"auth": {"header": "X-Api-Key"}}), "POST", "x-api-key", Some("s3cr3t-us1")),
        (json!({"auth": "none", "method": "PATCH"}), "PATCH", "authorization", None),
        (json!({"headers": {"X-Tenant": "acme"}}), "POST", "x-tenant", Some("acme")),
        (
            json!({"headers": {"Content-Type": "application/x"}}),
            "POST",
            "content-type",
            Some("application/x"),
        ),
        (json!({}), "POST", "content-type", Some("application/json")),
    ] {
        let kept = Kept::start();
        let sink = sink(with(more), Path::new("."), &doors(kept.clone(), BASIC)).sink;
        let batch = [payload("1", Some(json!({"id": 1}))), payload("2", None)];
        let batch = batch.map(|payload| sink.prepare(&payload).unwrap());
        sink.deliver(&batch).await.unwrap();
        let (request, _) = kept.requests.lock().unwrap().pop().unwrap();
        assert_eq!((request.method().as_str(), request.uri().to_string().as_str()), (method, HOOK));
        assert_eq!(request.headers().get(header).map(|value| value.to_str().unwrap()), value, "{header}");
        assert_eq!(request.body(), r#"[{"id":1},{"deleted":true,"key":"2"}]"#);
    }
}

#[tokio::test(start_paused = true)]
async fn a_default_that_is_spelled_out_changes_no_request() {
    async fn sent(more: Value) -> String {
        let mut settings = json!({"type": "http", "url": HOOK});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let kept = Kept::start();
        let sink = sink(settings, Path::new("."), &doors(kept.clone(), &[])).sink;
        sink.deliver(&prepared(sink.as_ref(), 1)).await.unwrap();
        let (request, _) = kept.requests.lock().unwrap().pop().unwrap();
        format!("{request:?}")
    }
    let without = sent(json!({})).await;
    let defaults =
        sink::http::SPEC.settings.iter().filter_map(|setting| Some((setting.name, setting.default?)));
    let mut found = 0;
    for (name, default) in defaults {
        let value: Value = serde_json::from_str(default).unwrap();
        assert_eq!(sent(json!({name: value})).await, without, "{name}");
        found += 1;
    }
    assert_eq!(found, 4, "method, headers, auth, body");
}

#[tokio::test(start_paused = true)]
async fn a_body_may_be_a_single_record() {
    let kept = Kept::start();
    let sink::Opened { sink, spec } =
        sink(with(json!({"body": "object"})), Path::new("."), &doors(kept.clone(), &[]));
    assert_eq!(spec.limits.records, 1);
    sink.deliver(&[sink.prepare(&payload("1", Some(json!({"id": 1})))).unwrap()]).await.unwrap();
    assert_eq!(kept.requests.lock().unwrap()[0].0.body(), r#"{"id":1}"#);
}

#[tokio::test]
async fn a_batch_has_at_most_1000_records_and_its_request_at_most_5_mb() {
    for (more, records) in
        [(json!({}), 1000), (json!({"batch_size": 20}), 20), (json!({"body": "object"}), 1)]
    {
        let limits = spec(more.clone(), &[]).limits;
        assert_eq!((limits.records, limits.in_flight, limits.linger), (records, 4, None), "{more}");
        // The brackets of an array, and a comma between two records.
        let framing = if records == 1 { 2 } else { 1001 };
        assert_eq!(limits.bytes, Some(5_000_000 - framing), "{more}");
    }
}

fn spec(more: Value, variables: &'static [(&str, &str)]) -> SinkSpec {
    sink(with(more), Path::new("."), &doors(Arc::new(Always(200, "")), variables)).spec
}

#[tokio::test]
async fn another_address_header_or_key_is_another_destination_and_how_answers_are_judged_is_not() {
    let place = |more| spec(more, &[]).destination.reveal().to_owned();
    let renewed = HOOK.replace("s3cr3t=query", "s3cr3t=renewed");
    let mut places = vec![
        place(json!({})),
        place(json!({"url": "https://receiver.example.org/hooks/other"})),
        place(json!({"url": renewed})),
        place(json!({"headers": {"X-Tenant": "acme"}})),
        place(json!({"auth": "none"})),
        spec(json!({}), &[("HTTP_SINK_TOKEN", "another")]).destination.reveal().to_owned(),
        spec(json!({"auth": "basic"}), &[("HTTP_SINK_USER", "u"), ("HTTP_SINK_PASSWORD", "p")])
            .destination
            .reveal()
            .to_owned(),
        spec(json!({"auth": "basic"}), &[("HTTP_SINK_USER", "v"), ("HTTP_SINK_PASSWORD", "p")])
            .destination
            .reveal()
            .to_owned(),
    ];
    assert_eq!(places[0], place(json!({"retry": [404], "rate": 5, "count": "n", "method": "PUT"})));
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), 8);
    let address = |more, variables| spec(more, variables).address;
    let current = address(json!({}), &[]);
    assert_eq!(
        address(json!({}), &[("HTTP_SINK_TOKEN", "another")]),
        current,
        "a hold outlives a renewed key"
    );
    assert_eq!(address(json!({"url": renewed}), &[]), current, "and a renewed key in the query");
    for other in
        ["https://receiver.example.org/hooks/other", "https://receiver.example.org:8443/hooks/s3cr3t-path"]
    {
        let hosts = &[("HTTP_SINK_HOSTS", "receiver.example.org, receiver.example.org:8443")];
        assert_ne!(address(json!({"url": other}), hosts), current, "{other}");
    }
}

/// A run whose entry gets another destination in the meantime ends; see `state::delivered::route`.
#[tokio::test]
async fn each_setting_that_changes_the_destination_changes_the_route_of_the_entry() {
    let variables = [
        ("HTTP_SINK_HOSTS", "receiver.example.org"),
        ("HTTP_SINK_TOKEN", "s3cr3t"),
        ("IMPORTER_VAR_TOKEN", "another-s3cr3t"),
        ("HTTP_SINK_HOSTS_ACME", "receiver.example.org"),
        ("HTTP_SINK_TOKEN_ACME", "s3cr3t"),
    ];
    let first = json!({"url": "https://receiver.example.org/hook", "auth": "bearer"});
    let mut seen = vec![];
    for (name, value, moved) in [
        ("url", json!("https://receiver.example.org/other"), true),
        ("method", json!("PUT"), false),
        ("headers", json!({"X-Tenant": "acme"}), true),
        ("auth", json!("none"), true),
        ("token", json!({"env": "IMPORTER_VAR_TOKEN"}), true),
        ("body", json!("object"), false),
        ("accept", json!([204]), false),
        ("reject", json!([404]), false),
        ("retry", json!([404]), false),
        ("results", json!({"path": "r", "status": "s"}), false),
        ("count", json!("n"), false),
        ("rate", json!(5), false),
        ("account", json!("acme"), true),
    ] {
        let mut second = first.clone();
        second[name] = value;
        let [(route, destination), (other_route, other)] = [&first, &second].map(|settings| {
            let mut sink = settings.clone();
            sink["type"] = "http".into();
            let text = json!({"list_id": "a", "mapping": "as_is", "sink": sink}).to_string();
            let pipeline =
                open(&text, &variables, Keys::Both).unwrap_or_else(|why| panic!("{}", why.unfit.text));
            let route = entries(&format!("[{text}]")).remove(0).route;
            (route, (pipeline.delivery, pipeline.destination))
        });
        assert_eq!((destination != other, route != other_route), (moved, moved), "{name}");
        seen.push(name);
    }
    // The user and the password of `basic` are credentials, like `token`.
    seen.extend(["user", "password"]);
    let http = sink::CATALOG.spec("http").unwrap();
    let declared: Vec<&str> = http.settings.iter().map(|setting| setting.name).chain(["account"]).collect();
    seen.sort_unstable_by_key(|name| declared.iter().position(|declared| declared == name));
    assert_eq!(seen, declared, "a new setting needs a line in the table");
}

#[tokio::test(start_paused = true)]
async fn all_entries_of_an_address_share_its_rate() {
    let kept = Kept::start();
    let doors = doors(kept.clone(), &[]);
    let open = |path: &str| {
        let url = format!("https://receiver.example.org/{path}");
        sink(with(json!({"url": url, "rate": 0.5})), Path::new("."), &doors).sink
    };
    let (one, other) = (open("one"), open("other"));
    let batch = prepared(one.as_ref(), 1);
    for _ in 0..3 {
        let (one, other) = tokio::join!(one.deliver(&batch), other.deliver(&batch));
        one.and(other).unwrap();
    }
    let last = kept.requests.lock().unwrap().last().unwrap().1;
    assert!(last >= Duration::from_secs(10), "six requests, two seconds apart: {last:?}");
}

// ---- Answers ----

/// Describes the outcome of a batch of two records that is answered in this way.
async fn outcome(more: Value, status: u16, body: &'static str) -> String {
    let start = Instant::now();
    let sink = sink(with(more), Path::new("."), &doors(Arc::new(Always(status, body)), &[])).sink;
    match sink.deliver(&prepared(sink.as_ref(), 2)).await {
        Ok(Delivery { rejected, retry, .. }) if rejected.is_empty() && retry.is_empty() => "accepted".into(),
        Ok(Delivery { rejected, retry, .. }) => {
            let rejected = rejected.into_iter().map(|(at, rejection)| {
                assert_eq!(rejection.reason, "refused");
                format!("{at}: {}", rejection.detail.unwrap())
            });
            let retry = retry.into_iter().map(|at| format!("{at}: retry"));
            rejected.chain(retry).collect::<Vec<_>>().join("; ")
        }
        Err(Fault::TooLarge(_)) => "split".into(),
        Err(Fault::List(problem)) => {
            let text = problem.to_string();
            assert!(!text.contains("s3cr3t") && !text.contains("ada@"), "{text}");
            let Some((_, why)) = text.split_once("to receiver.example.org: ") else { panic!("{text}") };
            match start.elapsed() > Duration::from_secs(10) {
                true => format!("retried: {}", why.split(" (tried 6 times").next().unwrap()),
                false => format!("final: {why}"),
            }
        }
        Err(fault) => panic!("{fault:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_accepted_answer_that_reports_an_error_or_does_not_confirm_the_batch_is_no_success() {
    let results = || json!({"results": {"path": "data.items", "status": "status", "reason": "error"}});
    let words = || json!({"results": {"path": "", "status": "s.0", "accepted": ["Stored", null], "retry": ["busy", false]}});
    let count = || json!({"count": "n"});
    let both = || json!({"count": "n", "results": {"path": "items", "status": "s"}});
    for (more, body, expected) in [
        // Without `results` and `count`.
        (json!({}), "", "accepted"),
        (json!({}), "ok", "accepted"),
        (json!({}), "null", "accepted"),
        (json!({}), r#"{"ok": true, "error": null, "errors": []}"#, "accepted"),
        (json!({}), "[]", "accepted"),
        (
            json!({}),
            "<html>maintenance</html>",
            "retried: receiver.example.org's response is a page, not an answer",
        ),
        (
            json!({}),
            r#"{"ok": tr"#,
            "retried: receiver.example.org's response can't be read: unexpected JSON at line 1 column 9",
        ),
        (json!({}), "Error", "retried: receiver.example.org accepted the request and reports an error"),
        (
            json!({}),
            "Error: quota of ada@example.com with s3cr3t-us1 exceeded",
            "retried: receiver.example.org accepted the request and reports an error: error: quota of <address> with *** exceeded",
        ),
        (
            json!({}),
            "\"failed, try again\"",
            "retried: receiver.example.org accepted the request and reports an error: failed, try again",
        ),
        (json!({}), "Stored without error", "accepted"),
        (json!({}), "Errorless", "accepted"),
        (
            json!({}),
            r#"[{"success": true}, {"success": false}]"#,
            "retried: receiver.example.org accepted the request and reports an error: `success` is false",
        ),
        (
            json!({}),
            r#"[{"id": 1}, {"error": {"message": "No s3cr3t-us1"}}]"#,
            "retried: receiver.example.org accepted the request and reports an error: no ***",
        ),
        (
            json!({}),
            r#"[{"status": 500}]"#,
            "retried: receiver.example.org accepted the request and reports an error",
        ),
        (json!({}), r#"[{"success": true}, {"status": "ok"}, 7]"#, "accepted"),
        // The entry says what the items mean.
        (
            json!({"results": {"path": "", "status": "status", "accepted": ["failed"]}}),
            r#"[{"status": "failed"}, {"status": "failed"}]"#,
            "accepted",
        ),
        (
            json!({}),
            r#"{"error": "quota of ada@example.com with s3cr3t-us1"}"#,
            "retried: receiver.example.org accepted the request and reports an error: quota of <address> with ***",
        ),
        (
            json!({}),
            r#"{"success": false}"#,
            "retried: receiver.example.org accepted the request and reports an error: `success` is false",
        ),
        (
            json!({}),
            r#"{"status": "failed"}"#,
            "retried: receiver.example.org accepted the request and reports an error: `status` is failed",
        ),
        (
            json!({}),
            r#"{"status": 500, "message": "Down"}"#,
            "retried: receiver.example.org accepted the request and reports an error: down",
        ),
        // `count`.
        (count(), r#"{"n": 2}"#, "accepted"),
        (
            count(),
            r#"{"n": 1}"#,
            "retried: receiver.example.org's response does not confirm 2 records at `n`",
        ),
        (
            count(),
            r#"{"n": "2"}"#,
            "retried: receiver.example.org's response does not confirm 2 records at `n`",
        ),
        (count(), "", "retried: receiver.example.org's response does not confirm 2 records at `n`"),
        // A receiver may count what it got, or what it stored.
        (both(), r#"{"n": 2, "items": [{"s": "ok"}, {"s": 429}]}"#, "1: retry"),
        (both(), r#"{"n": 1, "items": [{"s": "ok"}, {"s": 429}]}"#, "1: retry"),
        (
            both(),
            r#"{"n": 0, "items": [{"s": "bad"}, {"s": 429}]}"#,
            "0: receiver.example.org rejected the record: bad; 1: retry",
        ),
        (
            both(),
            r#"{"n": 1, "items": [{"s": "bad"}, {"s": 429}]}"#,
            "retried: receiver.example.org's response does not confirm 2 records at `n`",
        ),
        (
            both(),
            r#"{"n": 1, "items": [{"s": "ok"}, {"s": "ok"}]}"#,
            "retried: receiver.example.org's response does not confirm 2 records at `n`",
        ),
        // `results`.
        (results(), r#"{"data": {"items": [{"status": 201}, {"status": "OK"}]}}"#, "accepted"),
        (results(), r#"{"data": {"items": [{"status": true}, {"status": " Updated"}]}}"#, "accepted"),
        (results(), r#"{"data": {"items": [{"status": 503}, {"status": 429}]}}"#, "0: retry; 1: retry"),
        (
            results(),
            r#"{"data": {"items": [{"status": 422, "error": "no s3cr3t-us1 of ada@example.com"}, {"status": "bad"}]}}"#,
            "0: receiver.example.org rejected the record: 422 unprocessable entity: no *** of <address>; 1: receiver.example.org rejected the record: bad",
        ),
        (
            results(),
            r#"{"data": {"items": [{"status": 404}, {"status": 700}]}}"#,
            "0: receiver.example.org rejected the record: 404 not found; 1: receiver.example.org rejected the record: 700",
        ),
        (
            results(),
            r#"{"data": {"items": [{"status": false}, {"status": "ok"}]}}"#,
            "0: receiver.example.org rejected the record",
        ),
        // A typo in `status` must not reject records that were stored.
        (
            results(),
            r#"{"data": {"items": [{"status": "ok"}, {"state": "ok"}]}}"#,
            "retried: receiver.example.org's response has an item without an outcome at `status`",
        ),
        (
            results(),
            r#"{"data": {"items": [{"status": 422}, {"status": null}]}}"#,
            "retried: receiver.example.org's response has an item without an outcome at `status`",
        ),
        (
            results(),
            r#"{"data": {"items": [{"status": {"code": 200}}, {"status": "ok"}]}}"#,
            "retried: receiver.example.org's response has an item without an outcome at `status`",
        ),
        (
            json!({"results": {"path": "", "status": "s", "retry": [null]}}),
            r#"[{"s": "ok"}, {}]"#,
            "1: retry",
        ),
        // An error that an item explains is no contradiction; one that none explains is.
        (
            results(),
            r#"{"errors": true, "data": {"items": [{"status": "ok"}, {"status": 429}]}}"#,
            "1: retry",
        ),
        (
            results(),
            r#"{"errors": true, "data": {"items": [{"status": "ok"}, {"status": "ok"}]}}"#,
            "retried: receiver.example.org accepted the request and reports an error",
        ),
        (results(), "", "retried: receiver.example.org's response has no array at `data.items`"),
        (
            results(),
            r#"{"data": {"items": {}}}"#,
            "retried: receiver.example.org's response has no array at `data.items`",
        ),
        (
            results(),
            r#"{"data": {"items": [{"status": "ok"}]}}"#,
            "retried: receiver.example.org's response has 1 items at `data.items` for 2 records",
        ),
        (
            results(),
            r#"{"data": {"items": [{"status": 422}, {"status": 422}, {"status": 422}]}}"#,
            "retried: receiver.example.org's response has 3 items at `data.items` for 2 records",
        ),
        (words(), r#"[{"s": ["STORED"]}, {}]"#, "accepted"),
        (
            words(),
            r#"[{"s": [false]}, {"s": ["ok"]}]"#,
            "1: receiver.example.org rejected the record: ok; 0: retry",
        ),
    ] {
        assert_eq!(outcome(more.clone(), 200, body).await, expected, "{more} {body}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_lists_of_an_entry_decide_what_a_status_means() {
    for (more, status, expected) in [
        (json!({"accept": [409]}), 409, "accepted"),
        (json!({"accept": ["200-202", 302]}), 302, "accepted"),
        (json!({"accept": [200]}), 202, "final: receiver.example.org returned 202 accepted"),
        // The body may say that some records were not stored.
        (
            json!({}),
            207,
            "final: receiver.example.org returned 207 multi-status, which may report records that were not stored (set `results`, or list 207 in `accept`)",
        ),
        (json!({"accept": [207]}), 207, "accepted"),
        (json!({"accept": ["200-299"]}), 207, "accepted"),
        (json!({"accept": [200]}), 207, "final: receiver.example.org returned 207 multi-status"),
        (
            json!({"results": {"path": "", "status": "s"}}),
            207,
            "retried: receiver.example.org's response has no array at ``",
        ),
        (json!({"reject": [404]}), 404, "split"),
        (json!({"reject": [404]}), 400, "final: receiver.example.org returned 400 bad request"),
        (json!({"retry": [404]}), 404, "retried: receiver.example.org returned 404 not found"),
        (json!({"retry": [404]}), 500, "retried: receiver.example.org returned 500 internal server error"),
        (json!({"retry": [400]}), 400, "retried: receiver.example.org returned 400 bad request"),
        (json!({"retry": [429]}), 429, "retried: receiver.example.org returned 429 too many requests"),
        (json!({"reject": [500]}), 500, "split"),
        (
            json!({}),
            401,
            "final: receiver.example.org returned 401 unauthorized (check the key in `HTTP_SINK_TOKEN`)",
        ),
        (
            json!({}),
            301,
            "final: receiver.example.org returned 301 moved permanently (redirects are not followed, to protect the key; check `sink.url`)",
        ),
        (json!({}), 404, "final: receiver.example.org returned 404 not found (check `sink.url`)"),
        (
            json!({}),
            0,
            "retried: no complete response from receiver.example.org at https://receiver.example.org: ",
        ),
    ] {
        assert_eq!(outcome(more.clone(), status, "").await, expected, "{more} {status}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_message_contains_what_may_be_a_secret_of_the_address_a_header_or_the_login() {
    const LOGIN: &[(&str, &str)] = &[("HTTP_SINK_USER", "h00k-user"), ("HTTP_SINK_PASSWORD", "p4ssw0rd-x")];
    const URL: &str =
        "https://receiver.example.org/hooks/T0K%2D3N%C3%A9%2B1/short?code=L0NG&sig=a%2Fb+c&K3Y-ALONE&n=1";
    let entry = || json!({"url": URL, "headers": {"X-Tenant": "t3n4nt%21", "X-Two": "22"}});
    let basic = || json!({"url": URL, "auth": "basic"});
    let results = || json!({"url": URL, "results": {"path": "", "status": "s", "reason": "why"}});
    let twice = r#"[{"s": "ok"}, {"s": "no T0K-3Né+1", "why": "see /hooks/T0K%2D3N%C3%A9%2B1/short"}]"#;
    for (more, status, body, expected) in [
        (entry(), 404, r#"{"message": "Cannot POST /hooks/T0K%2D3N%C3%A9%2B1/short"}"#, "cannot post ***"),
        (entry(), 404, r#"{"message": "Cannot POST /hooks/T0K-3Né+1/short"}"#, "cannot post ***"),
        (
            entry(),
            404,
            r#"{"message": "No T0K%2D3N%C3%A9%2B1 or T0K-3Né+1 or short"}"#,
            "no *** or *** or short",
        ),
        (
            entry(),
            404,
            r#"{"message": "No L0NG, a%2Fb+c, a/b c, a/b+c, K3Y-ALONE, 1"}"#,
            "no ***, ***, ***, ***, ***, 1",
        ),
        (entry(), 404, r#"{"message": "At ?code=L0NG&sig=a%2Fb+c&K3Y-ALONE&n=1"}"#, "at ?***"),
        (entry(), 404, r#"{"message": "No t3n4nt%21 or t3n4nt! or 22"}"#, "no *** or *** or 22"),
        (entry(), 415, r#"{"message": "No application/json"}"#, "no application/json"),
        (basic(), 403, r#"{"message": "No Basic aDAway11c2VyOnA0c3N3MHJkLXg="}"#, "no basic ***"),
        (basic(), 403, r#"{"message": "No h00k-user:p4ssw0rd-x"}"#, "no ***:***"),
        // An accepted answer that reports an error.
        (entry(), 200, r#"{"error": "No L0NG"}"#, "no ***"),
        (entry(), 200, r#"[{"error": "No L0NG"}]"#, "no ***"),
        (entry(), 200, "Error: no L0NG", "error: no ***"),
        // A dead letter.
        (results(), 200, twice, "rejected the record: no ***: see ***"),
    ] {
        let doors = doors(Arc::new(Always(status, body)), LOGIN);
        let sink = sink(with(more), Path::new("."), &doors).sink;
        let text = match sink.deliver(&prepared(sink.as_ref(), 2)).await {
            Ok(mut delivery) => delivery.rejected.remove(0).1.detail.unwrap(),
            Err(fault) => fault.problem().cause.clone().unwrap().into(),
        };
        let text = text.split(" (tried 6 times").next().unwrap();
        assert!(text.ends_with(&format!(" {expected}")) || text == expected, "{body}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_accepts_any_answer_but_a_redirect_a_refusal_a_throttle_and_an_error_of_the_server() {
    for status in StatusCode::OK.as_u16()..=599 {
        let sink = sink(with(json!({})), Path::new("."), &doors(Arc::new(Always(status, "")), &[])).sink;
        let refused = matches!(status, 300..=399 | 401 | 403 | 407 | 429 | 500..);
        assert_eq!(sink.check().await.is_err(), refused, "{status}");
    }
    let kept = Kept::start();
    sink(with(json!({})), Path::new("."), &doors(kept.clone(), &[])).sink.check().await.unwrap();
    let (request, _) = kept.requests.lock().unwrap().pop().unwrap();
    assert_eq!((request.method().as_str(), request.uri().to_string().as_str()), ("HEAD", HOOK));
    assert_eq!(request.headers()["authorization"], "Bearer s3cr3t-us1");
}
