//! What every adapter owes the engine, shown on the real ones: how failures are classed, what they say, that nothing
//! secret is in it, and that a dropped call leaves nothing behind.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use expect_test::{Expect, expect};
use futures::future::BoxFuture;
use http::{HeaderName, HeaderValue, header};
use importer::{
    base::{
        clock::Clock,
        fault::Fault,
        record::Payload,
        secret::Secret,
        window::{Span, Sweep, Window},
    },
    net::{Account, Caller, Door, Gate, Http, Request, Response, Transport, TransportError},
    sandbox::{MAILCHIMP_KEY, OMETRIA_KEY, Sandbox},
    sink::{Sink, ometria::Ometria},
    source::{Source, mailchimp::Mailchimp},
};
use serde_json::value::to_raw_value;
use tokio::time::timeout;

use crate::support::{NOON, TokioClock, at};

const SECRET: &str = "s3cr3t-us1";

/// Answers every request with the same status and body.
struct Always(u16, &'static str);

impl Transport for Always {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        let sent =
            request.headers().values().any(|value| value.to_str().is_ok_and(|text| text.contains("s3cr3t")));
        assert!(sent, "the key goes out in its header");
        assert!(!request.uri().to_string().contains("s3cr3t"), "and nowhere else");
        Box::pin(async move {
            if self.0 == 0 {
                return Err(TransportError::Broken(self.1.into()));
            }
            let mut response = Response::new(Bytes::from_static(self.1.as_bytes()));
            *response.status_mut() = self.0.try_into().unwrap();
            response
                .headers_mut()
                .insert(header::DATE, HeaderValue::from_static("Sat, 21 Nov 2026 12:00:00 GMT"));
            Ok(response)
        })
    }
}

fn http(service: &'static str, key: &str, transport: Arc<dyn Transport>, connections: usize) -> Http {
    let mailchimp = service == "mailchimp";
    let (path, key_name) = if mailchimp { ("3.0", "MAILCHIMP_APIKEY") } else { ("v2", "OMETRIA_APIKEY") };
    let name = if mailchimp { header::AUTHORIZATION } else { HeaderName::from_static("x-ometria-auth") };
    let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("importer:{key}"));
    let credentials = match (mailchimp, key == SECRET) {
        (true, false) => format!("Basic {basic}"),
        _ => key.to_owned(),
    };
    let account = Account {
        service,
        key_name,
        url_name: if mailchimp { "MAILCHIMP_URL" } else { "OMETRIA_URL" },
        base: format!("http://sandbox/{path}").parse().unwrap(),
        key: Secret::new(key),
        header: name,
        credentials: HeaderValue::from_str(&credentials).unwrap(),
    };
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::at(NOON));
    let caller = Caller { list_id: "a".into(), urgent: false };
    Door::new(account, Gate::new(connections, 0.0), transport, clock).open(caller)
}

const SPAN: Span = Span { offset: 200, count: 100 };

fn window() -> Window {
    Window { sweep: Sweep::Listed, since: None, until: Some(at(NOON)) }
}

fn payloads(count: usize) -> Vec<Payload> {
    let record =
        serde_json::json!({"@type": "contact", "@collection": "c", "id": "i", "email": "ada@example.com"});
    (0..count).map(|_| Payload(to_raw_value(&record).unwrap())).collect()
}

/// What an answer becomes: `retry` was tried six times, `list` once.
async fn told(service: &'static str, status: u16, body: &'static str) -> String {
    let http = http(service, SECRET, Arc::new(Always(status, body)), 1);
    let start = tokio::time::Instant::now();
    let fault = match service {
        "mailchimp" => Mailchimp::new(http, "a", &[]).read(&window(), SPAN).await.map(|_| ()).unwrap_err(),
        _ => Ometria::new(http, "a").deliver(&payloads(2)).await.unwrap_err(),
    };
    let class = match fault {
        Fault::TooLarge(_) => "too large",
        Fault::List(_) if start.elapsed() > Duration::from_secs(10) => "retry",
        Fault::List(_) => "list",
        _ => panic!("{fault:?}"),
    };
    let text = fault.to_string();
    assert!(!text.contains("s3cr3t") && !text.contains("ada@"), "{text}");
    let shown = without_seconds(&text);
    format!("{class}: {shown}")
}

/// The seconds of the retries are by chance.
fn without_seconds(text: &str) -> String {
    match text.split_once("tried 6 times in ") {
        Some((before, after)) => format!("{before}tried 6 times in … {}", after.split_once(' ').unwrap().1),
        None => text.to_owned(),
    }
}

async fn check(service: &'static str, answers: &[(u16, &'static str)], expected: Expect) {
    let mut lines = String::new();
    for (status, body) in answers {
        lines += &format!("{}\n", told(service, *status, body).await);
    }
    expected.assert_eq(&lines);
}

#[tokio::test(start_paused = true)]
async fn mailchimp_failures_are_classed_and_told_without_secrets() {
    check(
        "mailchimp",
        &[
            (401, r#"{"title": "API Key Invalid", "detail": "Your key s3cr3t-us1 of ada@example.com is invalid."}"#),
            (403, r#"{"title": "User Disabled", "detail": "This account has been disabled."}"#),
            (403, "<html>blocked</html>"),
            (404, r#"{"title": "Resource Not Found", "detail": "The requested resource could not be found."}"#),
            (400, r#"{"title": "Invalid Resource", "detail": "Status is required."}"#),
            (408, ""),
            (429, r#"{"title": "Too Many Requests", "detail": "You have exceeded the limit of 10 simultaneous connections."}"#),
            (500, "oops"),
            (504, ""),
            (301, ""),
            (200, "<html>maintenance</html>"),
            (200, r#"{"members": [{"email_address": "ada@example.com"}], "total_items": 1}"#),
            (0, "connection reset by peer"),
        ],
        expect![[r#"
            list: could not read the members of list `a` from row 200 on: mailchimp answered 401 unauthorized: api key invalid: your key *** of <address> is invalid (check the key in `MAILCHIMP_APIKEY`)
            list: could not read the members of list `a` from row 200 on: mailchimp answered 403 forbidden: user disabled: this account has been disabled (check the rights of the key in `MAILCHIMP_APIKEY`)
            retry: could not read the members of list `a` from row 200 on: mailchimp answered 403 forbidden (tried 6 times in … s)
            list: could not read the members of list `a` from row 200 on: mailchimp answered 404 not found: resource not found: the requested resource could not be found (check `list_id`: is it a list of this account?)
            list: could not read the members of list `a` from row 200 on: mailchimp answered 400 bad request: invalid resource: status is required
            retry: could not read the members of list `a` from row 200 on: mailchimp answered 408 request timeout (tried 6 times in … s)
            retry: could not read the members of list `a` from row 200 on: mailchimp answered 429 too many requests: too many requests: you have exceeded the limit of 10 simultaneous connections (tried 6 times in … s)
            retry: could not read the members of list `a` from row 200 on: mailchimp answered 500 internal server error (tried 6 times in … s)
            too large: could not read the members of list `a` from row 200 on: mailchimp answered 504 gateway timeout
            list: could not read the members of list `a` from row 200 on: mailchimp answered 301 moved permanently (redirects are not followed with a key; check `MAILCHIMP_URL`)
            retry: could not read the members of list `a` from row 200 on: mailchimp's answer can't be read: unexpected JSON at line 1 column 1 (tried 6 times in … s)
            retry: could not read the members of list `a` from row 200 on: mailchimp's answer can't be read: unexpected JSON at line 1 column 36 (tried 6 times in … s)
            retry: could not read the members of list `a` from row 200 on: no whole answer from mailchimp at http://sandbox: connection reset by peer (tried 6 times in … s; if this lasts, check the network and `MAILCHIMP_URL`)
        "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn ometria_failures_are_classed_and_told_without_secrets() {
    check(
        "ometria",
        &[
            (401, "{}"),
            (403, r#"{"error": "API key is not authorised to access this resource"}"#),
            (400, r#"{"error": "Payload invalid: ada@example.com is bad."}"#),
            (413, ""),
            (429, "{}"),
            (503, ""),
            (200, "<html>maintenance</html>"),
            (202, r#"{"status": "OK", "request_id": "r-1", "accepted": 1, "rejected": 1}"#),
            (200, r#"{"status": "OK", "accepted": 0}"#),
            (0, "no answer in time"),
        ],
        expect![[r#"
            list: could not push 2 contacts of list `a` to ometria: ometria answered 401 unauthorized (check the key in `OMETRIA_APIKEY`)
            list: could not push 2 contacts of list `a` to ometria: ometria answered 403 forbidden: api key is not authorised to access this resource (check the rights of the key in `OMETRIA_APIKEY`)
            too large: could not push 2 contacts of list `a` to ometria: ometria answered 400 bad request: payload invalid: <address> is bad
            too large: could not push 2 contacts of list `a` to ometria: ometria answered 413 payload too large
            retry: could not push 2 contacts of list `a` to ometria: ometria answered 429 too many requests (tried 6 times in … s)
            retry: could not push 2 contacts of list `a` to ometria: ometria answered 503 service unavailable (tried 6 times in … s)
            retry: could not push 2 contacts of list `a` to ometria: ometria's answer can't be read: unexpected JSON at line 1 column 1 (tried 6 times in … s)
            too large: could not push 2 contacts of list `a` to ometria: ometria rejected 1 of 2 contacts
            too large: could not push 2 contacts of list `a` to ometria: ometria rejected 2 of 2 contacts
            retry: could not push 2 contacts of list `a` to ometria: no whole answer from ometria at http://sandbox: no answer in time (tried 6 times in … s; if this lasts, check the network and `OMETRIA_URL`)
        "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn any_success_of_ometria_will_do() {
    for (status, body) in [
        (200, r#"{"status": "OK", "accepted": 2, "rejected": 0}"#),
        (202, r#"{"status": "OK"}"#),
        (201, "{}"),
    ] {
        let http = http("ometria", SECRET, Arc::new(Always(status, body)), 1);
        Ometria::new(http, "a").deliver(&payloads(2)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_of_mailchimp_is_read_with_the_bounds_of_its_window() {
    let clock = Arc::new(TokioClock::at(NOON));
    let sandbox = Arc::new(Sandbox::new(clock, Duration::ZERO));
    sandbox.mailchimp().add_list("a", 50, 1, at(NOON));
    let source = Mailchimp::new(http("mailchimp", MAILCHIMP_KEY, sandbox.clone(), 1), "a", &["status"]);
    let times: Vec<_> =
        sandbox.mailchimp().members("a").filter(|m| m.status != "archived").map(|m| m.last_changed).collect();
    let window = Window { sweep: Sweep::Listed, since: Some(times[9]), until: Some(times[19]) };
    let page = source.read(&window, Span { offset: 0, count: 1000 }).await.unwrap();
    let within = times.iter().filter(|&&time| time > times[9] && time <= times[19]).count();
    assert_eq!((page.records.len(), page.total), (within, within as u64));
    assert_eq!(page.at, at(NOON));
    assert!(page.records.iter().all(|record| record.key.len() == 32));
    assert!(!page.records[0].body.get().contains("email_address"));
}

#[tokio::test(start_paused = true)]
async fn a_list_id_may_hold_anything_without_leaving_its_place_in_the_address() {
    let sandbox = Arc::new(Sandbox::new(Arc::new(TokioClock::at(NOON)), Duration::ZERO));
    let source = Mailchimp::new(http("mailchimp", MAILCHIMP_KEY, sandbox.clone(), 1), "../a?b#c/d e", &[]);
    assert!(source.read(&window(), SPAN).await.is_err());
    let read = sandbox.seen().reads.pop_back().unwrap();
    assert!(read.starts_with("http://sandbox/3.0/lists/..%2Fa%3Fb%23c%2Fd%20e/members?"), "{read}");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_leaks_no_permit() {
    let sandbox = Arc::new(Sandbox::new(Arc::new(TokioClock::at(NOON)), Duration::from_secs(5)));
    sandbox.mailchimp().add_list("a", 5, 1, at(NOON));
    let source = Mailchimp::new(http("mailchimp", MAILCHIMP_KEY, sandbox.clone(), 1), "a", &[]);
    let sink = Ometria::new(http("ometria", OMETRIA_KEY, sandbox.clone(), 1), "a");
    let payloads = payloads(1);
    for wait in [0, 1, 4] {
        let wait = Duration::from_secs(wait);
        assert!(timeout(wait, source.read(&window(), SPAN)).await.is_err());
        assert!(timeout(wait, sink.deliver(&payloads)).await.is_err());
    }
    timeout(Duration::from_secs(6), source.read(&window(), SPAN)).await.unwrap().unwrap();
    timeout(Duration::from_secs(6), sink.deliver(&payloads)).await.unwrap().unwrap();
    assert_eq!(sandbox.seen().peak, 1);
}
