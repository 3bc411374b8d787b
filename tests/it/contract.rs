//! The contract between adapters and engine, tested on every adapter: classes and texts of failures, no
//! secret in a text, all records are read, a repeated delivery is harmless, and a dropped call leaks nothing.
//!
//! A new adapter adds a case to the list of its kind; `every_type_has_its_contract` fails without it.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use expect_test::{Expect, expect};
use futures::future::BoxFuture;
use http::{HeaderValue, header};
use importer::{
    base::{
        adapter::Chosen,
        clock::Clock,
        consent::Policy,
        declared::Values,
        fault::Fault,
        record::{Mapped, Outgoing, Payload, Record},
        window::{Cursor, Listing, Next, Span, Window},
    },
    mapping::{self, Mapping},
    net::{AccountClients, Caller, Environment, Request, Response, Transport, TransportError},
    sandbox::Sandbox,
    sink::{self, Deletions, Prepared, Sink},
    source::{self, Paging, Source},
};
use serde_json::{
    Map, Value, json,
    value::{RawValue, to_raw_value},
};
use tokio::time::{Instant, timeout};

use crate::support::{KEYS, NOON, TokioClock, at};

/// Value of every key.
const SECRET: &str = "s3cr3t-us1";

/// Answers every request with the same status and body.
pub struct Always(pub u16, pub &'static str);

impl Transport for Always {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        let told = |value: &HeaderValue| {
            let text = value.to_str().unwrap();
            text.contains("s3cr3t") || text.starts_with("Basic ")
        };
        assert!(request.headers().values().any(told), "the key goes out in its header");
        let address = request.uri().to_string();
        assert!(address == HOOK || !address.contains("s3cr3t"), "and nowhere else");
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

/// Returns account clients whose keys are the secret, except for those that `variables` set.
pub fn doors(transport: Arc<dyn Transport>, variables: &'static [(&str, &str)]) -> AccountClients {
    let environment = Environment::new(move |name| {
        let set =
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned());
        let fast = (name == "OMETRIA_RATE").then(|| "0".to_owned());
        let hosts = name.ends_with("_HOSTS").then(|| "receiver.example.org, rest.example.org".to_owned());
        let secret = ["KEY", "TOKEN"].iter().any(|end| name.ends_with(end)).then(|| SECRET.to_owned());
        set.or(fast).or(hosts).or(secret)
    });
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::at(NOON));
    AccountClients::new(environment, transport, clock)
}

/// Returns the clients of the sandbox's accounts.
pub fn sandbox_doors(sandbox: &Arc<Sandbox>) -> AccountClients {
    let environment = Environment::new(|name| {
        let key = KEYS.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        key.or_else(|| (name == "OMETRIA_RATE").then(|| "0".to_owned()))
    });
    AccountClients::new(environment, sandbox.clone(), Arc::new(TokioClock::at(NOON)))
}

pub fn sandbox(latency: Duration) -> Arc<Sandbox> {
    let sandbox = Arc::new(Sandbox::new(Arc::new(TokioClock::at(NOON)), latency));
    sandbox.ometria().set_rate(0.0);
    sandbox.mailchimp().add_list("a", 250, 1, at(NOON));
    sandbox.when_i_work().invent(250, 1, at(NOON));
    sandbox.rest().invent(250, 1, at(NOON));
    sandbox
}

// ---- Sources ----

/// Counts the records in the sandbox.
type Held = fn(&Sandbox) -> usize;

/// Each type of source, the list that it reads, and the count of its records in the sandbox.
const SOURCES: [(&str, &str, Held); 3] = [
    ("mailchimp", "a", |sandbox| sandbox.mailchimp().members("a").filter(|m| m.status != "archived").count()),
    ("when_i_work", "shifts", |sandbox| {
        let (from, to) = (at("2026-11-21"), at("2026-11-23"));
        let account = sandbox.when_i_work();
        account.shifts().filter(|s| s.published && s.user_id != 0 && s.start >= from && s.start < to).count()
    }),
    ("rest", "cursor", |sandbox| sandbox.rest().warehouses().count()),
];

/// Returns the settings with which an entry chooses a type of source: all that it requires.
pub fn source_settings(kind: &str) -> Value {
    match kind {
        "rest" => json!({
            "type": kind, "url": "https://rest.example.org/rest/items/{list_id}", "auth": "bearer",
            "records": "data", "key": "id", "changed": "updated_at", "since": {"parameter": "updated_since"},
            "paging": {"type": "cursor", "parameter": "cursor", "limit": "limit", "next": "meta.next"},
            "item": "https://rest.example.org/rest/items/{key}",
        }),
        _ => json!(kind),
    }
}

pub fn source(kind: &str, list_id: &str, doors: &AccountClients) -> Arc<dyn Source> {
    let wanted = source::SourceContext { list_id, fields: None, caller: Caller::new(list_id, false) };
    source::open(Chosen::of(&source_settings(kind), ""), wanted, doors).unwrap().source
}

const SPAN: Span = Span { offset: 200, count: 100 };

fn window() -> Window {
    Window { listing: Listing::Listed, since: None, until: Some(at(NOON)) }
}

pub async fn read(source: &dyn Source) -> Result<(), Fault> {
    match source.paging() {
        Paging::Offset(rows) => rows.read(&window(), SPAN).await.map(|_| ()),
        Paging::Cursor(chain) => chain.follow(&window(), None, 100).await.map(|_| ()),
        Paging::Shards(stream) => {
            let shards = stream.shards().await?;
            stream.read(&shards[0].id, None, 100).await.map(|_| ())
        }
    }
}

/// Reads all records, page by page. Between two pages the cursor is stored as text, as in a checkpoint.
pub async fn read_all(source: &dyn Source, count: usize) -> Vec<Record> {
    let mut records = vec![];
    match source.paging() {
        Paging::Offset(rows) => loop {
            let page = rows.read(&window(), Span { offset: records.len() as u64, count }).await.unwrap();
            assert!(page.records.len() <= count && page.at == at(NOON));
            records.extend(page.records);
            if records.len() as u64 >= page.total {
                return records;
            }
        },
        Paging::Cursor(chain) => {
            let (mut cursor, mut passed): (Option<Cursor>, Vec<Cursor>) = (None, vec![]);
            loop {
                let link = chain.follow(&window(), cursor.as_ref(), count).await.unwrap();
                records.extend(link.records);
                let Some(next) = link.next else { return records };
                assert!(!passed.contains(&next), "it advances");
                passed.push(next.clone());
                cursor = serde_json::from_str(&serde_json::to_string(&next).unwrap()).unwrap();
            }
        }
        Paging::Shards(stream) => {
            for shard in stream.shards().await.unwrap() {
                let mut after: Option<Cursor> = None;
                loop {
                    let page = stream.read(&shard.id, after.as_ref(), count).await.unwrap();
                    records.extend(page.records);
                    let Next::More(next) = page.next else { break };
                    assert_ne!(after.as_ref(), Some(&next), "it advances");
                    after = serde_json::from_str(&serde_json::to_string(&next).unwrap()).unwrap();
                }
            }
            records
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_returns_every_record_once_whatever_the_page_size() {
    for (kind, list_id, held) in SOURCES {
        let sandbox = sandbox(Duration::ZERO);
        let doors = sandbox_doors(&sandbox);
        for count in [7, 100, 1000] {
            let records = read_all(source(kind, list_id, &doors).as_ref(), count).await;
            let mut keys: Vec<&str> = records.iter().map(|record| record.key.as_str()).collect();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(
                (records.len(), keys.len()),
                (held(&sandbox), held(&sandbox)),
                "{kind}, {count} a page"
            );
            assert!(
                records.iter().all(|r| !r.key.is_empty() && !r.status.is_empty() && !r.deleted),
                "{kind}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_finds_a_record_by_its_key_and_says_when_there_is_none() {
    for (kind, list_id, _) in SOURCES {
        let sandbox = sandbox(Duration::ZERO);
        let source = source(kind, list_id, &sandbox_doors(&sandbox));
        let record = read_all(source.as_ref(), 100).await.remove(3);
        let found =
            source.lookup().unwrap().find(&source.lookup().unwrap().key(&record.key)).await.unwrap().unwrap();
        assert_eq!(
            (found.key, found.changed, found.status),
            (record.key, record.changed, record.status),
            "{kind}"
        );
        assert!(source.lookup().unwrap().find("1000001").await.unwrap().is_none(), "{kind}");
        assert!(source.now() >= at(NOON), "{kind}");
    }
}

// ---- Sinks ----

/// Each type of sink, and whether it sends data off the machine.
const SINKS: &[(&str, bool)] = &[
    ("ometria", true),
    ("ndjson", false),
    ("stdout", false),
    ("http", true),
    #[cfg(feature = "sql")]
    ("sql", false),
];

/// Address of the receiver. Its path is a secret, as that of a webhook is.
pub const HOOK: &str = "https://receiver.example.org/hooks/s3cr3t-path?s3cr3t=query";

/// Returns the settings with which an entry chooses a type of sink: all that it requires.
pub fn settings(kind: &str) -> Value {
    match kind {
        "http" => json!({"type": kind, "url": HOOK, "auth": "bearer"}),
        "sql" => json!({
            "type": kind, "url": "sqlite:out/data.db", "table": "contacts", "key": "id", "create": true,
            "columns": {"id": "text", "email": "text"},
        }),
        _ => json!(kind),
    }
}

pub fn sink(settings: Value, folder: &Path, doors: &AccountClients) -> sink::Opened {
    let caller = Caller::new("a", false);
    let context = sink::SinkContext { part: "sink", list_id: "a", folder, items_per_request: 1000, caller };
    sink::open(Chosen::of(&settings, ""), context, doors).unwrap()
}

/// Returns contacts as this sink encodes them.
pub fn prepared(sink: &dyn Sink, count: usize) -> Vec<Prepared> {
    let record = json!({"@type": "contact", "@collection": "c", "@merge": true, "id": "i", "email": "ada@example.org"});
    let payload = Payload { key: "i".into(), body: Some(to_raw_value(&record).unwrap().into()) };
    (0..count).map(|_| sink.prepare(&payload).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_sink_accepts_batches_up_to_its_limit_and_the_same_batch_again() {
    for &(kind, _) in SINKS {
        let (sandbox, folder) = (sandbox(Duration::ZERO), tempfile::tempdir().unwrap());
        let sink::Opened { sink, spec } = sink(settings(kind), folder.path(), &sandbox_doors(&sandbox));
        assert!(spec.limits.records >= 1 && spec.limits.in_flight >= 1, "{kind}");
        // For the standard output, one line tests as much as a thousand.
        let batch = prepared(sink.as_ref(), if kind == "stdout" { 1 } else { spec.limits.records });
        for _ in 0..2 {
            let delivery = sink.deliver(&batch).await.unwrap();
            assert!(delivery.rejected.is_empty() && delivery.retry.is_empty(), "{kind}");
        }
        if spec.deletions == Deletions::Sent {
            let deletion = sink.prepare(&Payload { key: "i".into(), body: None }).unwrap();
            sink.deliver(&[deletion]).await.unwrap();
        }
        sink.close().await.unwrap();
        sink.check().await.unwrap();
    }
}

#[tokio::test]
async fn a_sink_whose_file_can_not_be_written_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(Duration::ZERO);
    let settings = json!({"type": "ndjson", "path": "/dev/null/a.ndjson"});
    let sink = sink(settings, folder.path(), &sandbox_doors(&sandbox)).sink;
    let fault = sink.deliver(&prepared(sink.as_ref(), 1)).await.unwrap_err();
    for fault in [fault, sink.check().await.unwrap_err()] {
        let text = fault.to_string();
        assert!(
            matches!(fault, Fault::List(_)) && text.starts_with("could not append to `/dev/null/a.ndjson`: "),
            "{text}"
        );
        assert!(!text.contains("ada@"), "{text}");
    }
}

// ---- Mappings ----

/// Each type of mapping, with settings that read a field.
fn mappings() -> Vec<(&'static str, Value)> {
    let fields = json!({"type": "fields", "fields": {"mail": "email_address", "when": {"from": "last_changed", "as": "time"}}});
    let mut mappings =
        vec![("ometria_contact", json!("ometria_contact")), ("as_is", json!("as_is")), ("fields", fields)];
    if cfg!(feature = "jq") {
        mappings.push((
            "jq",
            json!({"type": "jq", "expression": "{mail: .email_address, n: (.merge_fields | length)}"}),
        ));
    }
    mappings
}

fn open_mapping(said: &Value) -> Arc<dyn Mapping> {
    let (policy, declared) = (Policy::default(), &Values::default());
    let wanted = mapping::MappingContext { list_id: "a", policy, declared, folder: Path::new(".") };
    mapping::open(&Chosen::of(said, ""), &wanted).unwrap()
}

fn record(body: &str) -> Record {
    let body = RawValue::from_string(body.to_owned()).unwrap();
    Record {
        key: "k".into(),
        changed: None,
        status: "subscribed".into(),
        deleted: false,
        unreadable: None,
        body: body.into(),
    }
}

fn told(mapped: Mapped) -> String {
    match mapped {
        Mapped::Send(Outgoing { bodies, .. }) => bodies[0].get().to_owned(),
        Mapped::Skip(reason) | Mapped::Reject(reason) => reason.to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn equal_records_map_to_equal_payloads_and_a_mapping_reads_only_its_fields() {
    let sandbox = sandbox(Duration::ZERO);
    let records = read_all(source("mailchimp", "a", &sandbox_doors(&sandbox)).as_ref(), 100).await;
    for (kind, said) in mappings() {
        let (mapping, again) = (open_mapping(&said), open_mapping(&said));
        let asked = mapping.fields();
        let mut sent = 0;
        for record in &records {
            let whole: Map<String, Value> = serde_json::from_str(record.body.get()).unwrap();
            let top = |field: &String| field.split('.').next().unwrap().to_owned();
            let reduced: Map<String, Value> = match &asked {
                None => whole,
                Some(fields) => whole
                    .into_iter()
                    .filter(|(name, _)| fields.iter().any(|field| top(field) == *name))
                    .collect(),
            };
            let reduced = Record { body: to_raw_value(&reduced).unwrap().into(), ..self::record("{}") };
            let reduced = Record {
                key: record.key.clone(),
                changed: record.changed,
                status: record.status.clone(),
                ..reduced
            };
            let one = told(mapping.map(record));
            sent += usize::from(one.starts_with('{'));
            assert_eq!(one, told(again.map(record)), "{kind}");
            // The source chooses the order of the fields.
            let parsed = |text: String| serde_json::from_str::<Value>(&text).unwrap_or(Value::String(text));
            assert_eq!(parsed(one), parsed(told(mapping.map(&reduced))), "{kind}");
        }
        assert!(sent > 100, "{kind}");
    }
}

#[test]
fn a_mapping_survives_any_record_and_gives_a_one_word_reason() {
    let strange = [
        "null",
        "[]",
        "{}",
        "7",
        "\"text\"",
        r#"{"email_address": [1], "merge_fields": "x", "last_changed": {}}"#,
    ];
    for (kind, said) in mappings() {
        for body in strange {
            match open_mapping(&said).map(&record(body)) {
                Mapped::Send(Outgoing { bodies, .. }) => {
                    _ = serde_json::from_str::<Value>(bodies[0].get()).unwrap()
                }
                Mapped::Skip(reason) | Mapped::Reject(reason) => {
                    let word = reason.chars().all(|c| c.is_ascii_lowercase() || c == '_');
                    assert!(word, "{kind}: {reason}");
                }
            }
        }
    }
}

#[test]
fn every_type_has_its_contract() {
    assert_eq!(SOURCES.map(|(kind, ..)| kind), source::CATALOG.kinds()[..]);
    let sinks: Vec<&str> = SINKS.iter().map(|(kind, _)| *kind).collect();
    let built: Vec<&str> =
        sink::CATALOG.kinds().into_iter().filter(|kind| *kind != "sql" || cfg!(feature = "sql")).collect();
    assert_eq!(sinks, built);
    let known: Vec<&str> = mappings().into_iter().map(|(kind, _)| kind).collect();
    let built: Vec<&str> =
        mapping::CATALOG.kinds().into_iter().filter(|kind| *kind != "jq" || cfg!(feature = "jq")).collect();
    assert_eq!(known, built);
}

// ---- Accounts ----

/// Returns the fault that a response causes: `retry` after six attempts, `list` after one.
pub async fn classed(kind: &str, status: u16, body: &'static str) -> String {
    let doors = doors(Arc::new(Always(status, body)), &[]);
    let start = Instant::now();
    let folder = tempfile::tempdir().unwrap();
    let fault = match SOURCES.iter().find(|(known, ..)| *known == kind) {
        Some((_, list_id, _)) => read(source(kind, list_id, &doors).as_ref()).await.unwrap_err(),
        None => {
            let sink = sink(settings(kind), folder.path(), &doors).sink;
            sink.deliver(&prepared(sink.as_ref(), 2)).await.unwrap_err()
        }
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

/// Removes the seconds of the retries, which are random.
fn without_seconds(text: &str) -> String {
    match text.split_once("tried 6 times in ") {
        Some((before, after)) => format!("{before}tried 6 times in … {}", after.split_once(' ').unwrap().1),
        None => text.to_owned(),
    }
}

async fn check(kind: &str, answers: &[(u16, &'static str)], expected: Expect) {
    let mut lines = String::new();
    for (status, body) in answers {
        lines += &format!("{}\n", classed(kind, *status, body).await);
    }
    expected.assert_eq(&lines);
}

#[tokio::test(start_paused = true)]
async fn mailchimp_failures_are_classified_and_reported_without_secrets() {
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
            (200, r#"{"members": [{"email_address": "ada@example.com"}], "total_items": "1"}"#),
            (0, "connection reset by peer"),
        ],
        expect![[r#"
            list: could not read the members of list `a` from row 200 on: mailchimp returned 401 unauthorized: api key invalid: your key *** of <address> is invalid (check the key in `MAILCHIMP_APIKEY`)
            list: could not read the members of list `a` from row 200 on: mailchimp returned 403 forbidden: user disabled: this account has been disabled (check the permissions of the key in `MAILCHIMP_APIKEY`)
            retry: could not read the members of list `a` from row 200 on: mailchimp returned 403 forbidden (tried 6 times in … s)
            list: could not read the members of list `a` from row 200 on: mailchimp returned 404 not found: resource not found: the requested resource could not be found (check that `list_id` is a list of this account)
            list: could not read the members of list `a` from row 200 on: mailchimp returned 400 bad request: invalid resource: status is required
            retry: could not read the members of list `a` from row 200 on: mailchimp returned 408 request timeout (tried 6 times in … s)
            retry: could not read the members of list `a` from row 200 on: mailchimp returned 429 too many requests: too many requests: you have exceeded the limit of 10 simultaneous connections (tried 6 times in … s)
            retry: could not read the members of list `a` from row 200 on: mailchimp returned 500 internal server error (tried 6 times in … s)
            too large: could not read the members of list `a` from row 200 on: mailchimp returned 504 gateway timeout
            list: could not read the members of list `a` from row 200 on: mailchimp returned 301 moved permanently (redirects are not followed, to protect the key; check `MAILCHIMP_URL`)
            retry: could not read the members of list `a` from row 200 on: mailchimp's response can't be read: unexpected JSON at line 1 column 1 (tried 6 times in … s)
            retry: could not read the members of list `a` from row 200 on: mailchimp's response can't be read: unexpected JSON at line 1 column 70 (tried 6 times in … s)
            retry: could not read the members of list `a` from row 200 on: no complete response from mailchimp at https://us1.api.mailchimp.com: connection reset by peer (tried 6 times in … s; if this persists, check the network and `MAILCHIMP_URL`)
        "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn ometria_failures_are_classified_and_reported_without_secrets() {
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
            (0, "no response in time"),
        ],
        expect![[r#"
            list: could not push 2 contacts of list `a` to ometria: ometria returned 401 unauthorized (check the key in `OMETRIA_APIKEY`)
            list: could not push 2 contacts of list `a` to ometria: ometria returned 403 forbidden: api key is not authorised to access this resource (check the permissions of the key in `OMETRIA_APIKEY`)
            too large: could not push 2 contacts of list `a` to ometria: ometria returned 400 bad request: payload invalid: <address> is bad
            too large: could not push 2 contacts of list `a` to ometria: ometria returned 413 payload too large
            retry: could not push 2 contacts of list `a` to ometria: ometria returned 429 too many requests (tried 6 times in … s)
            retry: could not push 2 contacts of list `a` to ometria: ometria returned 503 service unavailable (tried 6 times in … s)
            retry: could not push 2 contacts of list `a` to ometria: ometria's response can't be read: unexpected JSON at line 1 column 1 (tried 6 times in … s)
            too large: could not push 2 contacts of list `a` to ometria: ometria rejected 1 of 2 contacts
            too large: could not push 2 contacts of list `a` to ometria: ometria rejected 2 of 2 contacts
            retry: could not push 2 contacts of list `a` to ometria: no complete response from ometria at https://api.ometria.com: no response in time (tried 6 times in … s; if this persists, check the network and `OMETRIA_URL`)
        "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn when_i_work_failures_are_classified_and_reported_without_secrets() {
    check(
        "when_i_work",
        &[
            (401, r#"{"error": "User login required with s3cr3t-us1 of ada@example.com.", "code": 1000}"#),
            (403, r#"{"error": "You are not allowed to see this."}"#),
            (404, "{}"),
            (400, r#"{"error": "end is before start."}"#),
            (429, r#"{"error": "Too many requests."}"#),
            (500, "oops"),
            (504, ""),
            (301, ""),
            (200, "<html>maintenance</html>"),
            (200, r#"{"shifts": {"notes": "ada@example.com"}}"#),
            (0, "connection reset by peer"),
        ],
        expect![[r#"
            list: could not read the shifts from 2026-11-20 00:00:00 on: when_i_work returned 401 unauthorized: user login required with *** of <address> (the token in `WHEN_I_WORK_TOKEN` has expired or is wrong; set a new one, or `WHEN_I_WORK_KEY`, `WHEN_I_WORK_EMAIL` and `WHEN_I_WORK_PASSWORD`)
            list: could not read the shifts from 2026-11-20 00:00:00 on: when_i_work returned 403 forbidden: you are not allowed to see this (check the permissions of the key in `WHEN_I_WORK_TOKEN`)
            list: could not read the shifts from 2026-11-20 00:00:00 on: when_i_work returned 404 not found (check `WHEN_I_WORK_URL`)
            list: could not read the shifts from 2026-11-20 00:00:00 on: when_i_work returned 400 bad request: end is before start
            retry: could not read the shifts from 2026-11-20 00:00:00 on: when_i_work returned 429 too many requests (tried 6 times in … s)
            retry: could not read the shifts from 2026-11-20 00:00:00 on: when_i_work returned 500 internal server error (tried 6 times in … s)
            retry: could not read the shifts from 2026-11-20 00:00:00 on: when_i_work returned 504 gateway timeout (tried 6 times in … s)
            list: could not read the shifts from 2026-11-20 00:00:00 on: when_i_work returned 301 moved permanently (redirects are not followed, to protect the key; check `WHEN_I_WORK_URL`)
            retry: could not read the shifts from 2026-11-20 00:00:00 on: when_i_work's response can't be read: unexpected JSON at line 1 column 1 (tried 6 times in … s)
            retry: could not read the shifts from 2026-11-20 00:00:00 on: when_i_work's response can't be read: unexpected JSON at line 1 column 11 (tried 6 times in … s)
            retry: could not read the shifts from 2026-11-20 00:00:00 on: no complete response from when_i_work at https://api.wheniwork.com: connection reset by peer (tried 6 times in … s; if this persists, check the network and `WHEN_I_WORK_URL`)
        "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn any_success_of_ometria_will_do() {
    for (status, body) in [
        (200, r#"{"status": "OK", "accepted": 2, "rejected": 0}"#),
        (202, r#"{"status": "OK"}"#),
        (201, r#"{"success": true, "data": {"rejected": 0}}"#),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let doors = doors(Arc::new(Always(status, body)), &[]);
        let sink = sink(json!("ometria"), folder.path(), &doors).sink;
        sink.deliver(&prepared(sink.as_ref(), 2)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_of_mailchimp_is_read_with_the_bounds_of_its_window() {
    let sandbox = sandbox(Duration::ZERO);
    let fields = Some(vec!["status".to_owned()]);
    let wanted = source::SourceContext { list_id: "a", fields, caller: Caller::new("a", false) };
    let source =
        source::open(Chosen::of(&json!("mailchimp"), ""), wanted, &sandbox_doors(&sandbox)).unwrap().source;
    let Paging::Offset(rows) = source.paging() else { panic!("rows") };
    let times: Vec<_> =
        sandbox.mailchimp().members("a").filter(|m| m.status != "archived").map(|m| m.last_changed).collect();
    let window = Window { listing: Listing::Listed, since: Some(times[9]), until: Some(times[19]) };
    let page = rows.read(&window, Span { offset: 0, count: 1000 }).await.unwrap();
    let within = times.iter().filter(|&&time| time > times[9] && time <= times[19]).count();
    assert_eq!((page.records.len(), page.total), (within, within as u64));
    assert!(page.records.iter().all(|record| record.key.len() == 32));
    assert!(!page.records[0].body.get().contains("merge_fields"));
}

#[tokio::test(start_paused = true)]
async fn a_list_id_may_hold_anything_without_leaving_its_place_in_the_address() {
    let sandbox = sandbox(Duration::ZERO);
    let source = source("mailchimp", "../a?b#c/d e", &sandbox_doors(&sandbox));
    assert!(read(source.as_ref()).await.is_err());
    let read = sandbox.seen().reads.pop_back().unwrap();
    assert!(read.contains("/3.0/lists/..%2Fa%3Fb%23c%2Fd%20e/members?"), "{read}");
}

#[tokio::test(start_paused = true)]
async fn a_deferred_error_contains_no_key() {
    let errors =
        r#"[{"error_message": "no rights for s3cr3t-us1 of ada@example.com", "error_path": "root"}]"#;
    let (folder, doors) = (tempfile::tempdir().unwrap(), doors(Arc::new(Always(200, errors)), &[]));
    let sink = sink(json!("ometria"), folder.path(), &doors).sink;
    let found = sink.deferred_errors().unwrap().latest().await.unwrap();
    assert_eq!(found.kinds.into_keys().collect::<Vec<_>>(), ["root: no rights for *** of <address>"]);
}

/// More calls are dropped than there are permits.
#[tokio::test(start_paused = true)]
async fn a_dropped_call_leaks_no_permit() {
    const CALLS: u64 = 20;
    let (sandbox, folder) = (sandbox(Duration::from_secs(5)), tempfile::tempdir().unwrap());
    let doors = sandbox_doors(&sandbox);
    for (kind, list_id, _) in SOURCES {
        let source = source(kind, list_id, &doors);
        for call in 0..CALLS {
            assert!(
                timeout(Duration::from_millis(call * 249), read(source.as_ref())).await.is_err(),
                "{kind}"
            );
        }
        timeout(Duration::from_secs(60), read(source.as_ref())).await.expect(kind).unwrap();
    }
    for &(kind, _) in SINKS.iter().filter(|(_, leaves)| *leaves) {
        let sink = sink(settings(kind), folder.path(), &doors).sink;
        let batch = prepared(sink.as_ref(), 1);
        for call in 0..CALLS {
            assert!(
                timeout(Duration::from_millis(call * 249), sink.deliver(&batch)).await.is_err(),
                "{kind}"
            );
        }
        timeout(Duration::from_secs(60), sink.deliver(&batch)).await.expect(kind).unwrap();
    }
}
