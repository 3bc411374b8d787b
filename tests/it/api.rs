//! The HTTP API: its router in worlds with a paused clock, and the real binary over loopback.

mod program;

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use importer::{
    api::{
        Api,
        access::{Access, Ends},
        files::Files,
        metrics::{self, Metrics},
        route::{Method, Route},
        router::router,
        routes::ROUTES,
        token::Token,
    },
    app::wiring::{Adapters, Keys, VOCABULARY},
    base::{events::Events, secret::Secret},
    controller::Verdict,
    net::Environment,
    state::{folders::Folders, home},
};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tower::ServiceExt;

use crate::{
    privacy,
    support::{World, minutes},
};

pub const TOKEN: &str = "a-token-for-the-tests";
const BEARER: (&str, &str) = ("authorization", "Bearer a-token-for-the-tests");

/// An answer.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

/// The API of a world whose program runs.
struct Client {
    router: Router,
    /// What the API says of its answers.
    described: Value,
    /// Counts the runs.
    _metrics: JoinSet<()>,
}

impl Client {
    async fn of(world: &World) -> Self {
        let folders = Folders::of(&home::of(world.folder.path()).unwrap());
        let (clock, folder) = (Arc::clone(&world.clock), world.folder.path());
        let environment = Environment::new(|_| None);
        let adapters =
            Adapters::new(&environment, Keys::None, world.sandbox.clone(), clock, folder, Events::default());
        let access = Access { token: Token::new(Secret::new(TOKEN)).unwrap(), hosts: vec![] };
        let files = Files::new(folders, VOCABULARY, adapters.opener());
        let metrics = Arc::new(Metrics::default());
        let api = Api::new(world.handle(), files, access, Arc::clone(&metrics));
        let inbox = world.events().subscribe(metrics::QUEUE, metrics::is_counted);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { metrics.listen(inbox).await });
        let mut client = Client { router: router(Arc::new(api)), described: Value::Null, _metrics: tasks };
        client.described = client.get("/openapi.json").await;
        client
    }

    /// Returns whether the description has this answer; answers of other paths are not described.
    fn describes(&self, method: &str, target: &str, status: u16) -> bool {
        let path = target.split('?').next().unwrap();
        let is_it = |route: &&Route| {
            let (before, after) = route.path.split_once("{id}").unwrap_or((route.path, ""));
            let id = path.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
            let fits =
                id.is_some_and(|id| if route.path == before { id.is_empty() } else { !id.contains('/') });
            fits && route.method.name() == method
        };
        let Some(route) = ROUTES.iter().find(is_it) else { return true };
        let answers = &self.described["paths"][route.path][method.to_lowercase()]["responses"];
        self.described.is_null() || answers.get(status.to_string()).is_some()
    }

    /// Sends a request from this machine. The answer must not contain personal data.
    async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(target);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "127.0.0.1:5000");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        let here = Ipv4Addr::LOCALHOST.into();
        request.extensions_mut().insert(Ends { peer: here, local: here });
        let response: Response<Body> = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        privacy::search(std::str::from_utf8(&bytes).unwrap(), target);
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        let status = head.status.as_u16();
        assert!(self.describes(method, target, status), "{method} {target}: {status} is not described");
        Answer { status, headers: head.headers, body }
    }

    async fn get(&self, target: &str) -> Value {
        let answer = self.send("GET", target, &[]).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.body);
        assert_eq!(answer.headers["content-type"], "application/json");
        answer.body
    }

    async fn post(&self, target: &str) -> Answer {
        self.send("POST", target, &[BEARER]).await
    }
}

/// Runs the loop while `story` calls the API, then stops it.
async fn told<T>(world: &World, story: impl AsyncFnOnce(Client) -> T) -> T {
    let calls = async {
        sleep(Duration::from_millis(100)).await;
        let told = story(Client::of(world).await).await;
        world.stop();
        told
    };
    let (verdict, told) = tokio::join!(world.go(), calls);
    assert_eq!(verdict.unwrap(), Verdict::Done);
    told
}

#[tokio::test(start_paused = true)]
async fn every_error_is_a_problem_that_says_what_to_do() {
    let world = World::new().list("err1", 10).with_state(r#"[{"list_id": "err1"}]"#);
    told(&world, async |client| {
        sleep(minutes(1)).await;
        for (method, target, headers, status, kind, detail) in [
            ("GET", "/nothing", &[][..], 404, "unknown-path", "docs/api.md lists the paths of the API"),
            ("GET", "/api/v1/status/", &[], 404, "unknown-path", "docs/api.md"),
            ("GET", "/api/v1/sync", &[], 405, "wrong-method", "this path has no GET"),
            ("POST", "/api/v1/status", &[BEARER], 405, "wrong-method", "this path has no POST"),
            (
                "GET",
                "/api/v1/runs?limit=x",
                &[],
                400,
                "bad-query",
                "`limit` must be a whole number from 1 to 1000",
            ),
            (
                "GET",
                "/api/v1/runs?cursor=x",
                &[],
                400,
                "bad-query",
                "`cursor` must be the `next` of an earlier page",
            ),
            (
                "GET",
                "/api/v1/runs?page=2",
                &[],
                400,
                "bad-query",
                "expected one of `list`, `limit`, `cursor`",
            ),
            ("GET", "/api/v1/status?list=a", &[], 400, "bad-query", "this path has none"),
            ("GET", "/api/v1/runs?list=none1", &[], 404, "unknown-list", "no entry of the list \"none1\""),
            ("GET", "/api/v1/rejected?list=none1", &[], 404, "unknown-list", "GET /api/v1/lists names all"),
            ("GET", "/api/v1/runs/none1", &[], 404, "unknown-run", "no run on record has the id \"none1\""),
            ("POST", "/api/v1/sync?wait=maybe", &[BEARER], 400, "bad-query", "`wait` must be true or false"),
            ("POST", "/api/v1/sync?list=none1", &[BEARER], 404, "unknown-list", "\"none1\""),
            ("POST", "/api/v1/sync?list=none1&wait=false", &[BEARER], 404, "unknown-list", "\"none1\""),
            ("POST", "/api/v1/lists/none1/stop", &[BEARER], 404, "unknown-list", "\"none1\""),
            ("POST", "/api/v1/sync", &[BEARER, ("content-length", "65537")], 413, "too-large", "65536 bytes"),
            ("POST", "/api/v1/sync", &[], 401, "no-token", "Authorization: Bearer TOKEN"),
            ("POST", "/nothing", &[], 401, "no-token", "Authorization: Bearer TOKEN"),
            ("GET", "/health/live", &[("authorization", "Bearer x")], 401, "wrong-token", "not the one"),
            ("GET", "/health/live", &[("host", "evil.example")], 403, "foreign", "`IMPORTER_HOSTS`"),
            ("GET", "/nothing", &[("origin", "https://evil.example")], 403, "foreign", "`Origin`"),
        ] {
            let answer = client.send(method, target, headers).await;
            let what = format!("{method} {target} {headers:?}: {} {}", answer.status, answer.body);
            assert_eq!(
                (answer.status, answer.body["status"].as_u64()),
                (status, Some(status.into())),
                "{what}"
            );
            assert_eq!(answer.headers["content-type"], "application/problem+json", "{what}");
            assert_eq!(answer.body["type"], format!("urn:importer:{kind}"), "{what}");
            assert!(answer.body["detail"].as_str().unwrap().contains(detail), "{what}");
            assert!(!answer.body["title"].as_str().unwrap().is_empty(), "{what}");
            assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401, "{what}");
            assert_eq!(answer.headers.contains_key("allow"), status == 405, "{what}");
        }
    })
    .await;
    assert_eq!(world.logged("firing"), 1, "no refused request has started a run");
}

#[tokio::test(start_paused = true)]
async fn every_change_needs_the_token() {
    let world = World::new().with_state("[]");
    told(&world, async |client| {
        for route in &ROUTES {
            let path = route.path.replace("{id}", "a");
            let answer = client.send(route.method.name(), &path, &[]).await;
            assert_eq!(answer.status == 401, route.method != Method::Get, "{:?} {path}", route.method);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_sync_is_answered_when_its_result_is_in_the_state_file_and_becomes_a_run() {
    let world = World::new().list("sync2", 50).with_state(r#"[{"list_id": "sync2"}]"#);
    told(&world, async |client| {
        sleep(minutes(1)).await;
        let before = world.field("latest_timestamp");
        sleep(minutes(1)).await;
        let answer = client.post("/api/v1/sync?list=sync2").await;
        assert_eq!((answer.status, &answer.body["succeeded"]), (200, &json!(true)), "{}", answer.body);
        let result = &answer.body["entries"][0]["answer"]["result"];
        assert_eq!((&result["kind"], &result["outcome"]["is"]), (&json!("incremental"), &json!("finished")));
        assert_ne!(world.field("latest_timestamp"), before);
        // No answer waits for the history.
        sleep(Duration::from_secs(1)).await;
        let runs = client.get("/api/v1/runs?list=sync2").await;
        let [sync, load] = &runs["runs"].as_array().unwrap()[..] else { panic!("{runs}") };
        assert_eq!((&sync["kind"], &sync["cause"]), (&json!("incremental"), &json!("command")));
        assert_eq!((&sync["end"], &load["kind"]), (&result["end"], &json!("full")));
        assert_eq!(runs["next"], Value::Null);
        let id = sync["id"].as_str().unwrap();
        assert_eq!(&client.get(&format!("/api/v1/runs/{id}")).await, sync);
        let status = client.get("/api/v1/status").await;
        let entry = &status["entries"][0];
        assert_eq!(entry["state"]["is"], "up_to_date");
        assert_eq!(entry["stored"]["last_run"]["start"], sync["start"]);
        assert_eq!(
            client.get("/api/v1/lists").await,
            json!({"lists": [{"list_id": "sync2", "entries": [entry]}]})
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn calls_during_a_run_share_the_next_one_and_each_is_answered() {
    let world = World::new().set("OMETRIA_RATE", "3").list("next2", 5000);
    let world = world.with_state(r#"[{"list_id": "next2"}]"#);
    told(&world, async |client| {
        sleep(Duration::from_secs(4)).await;
        let queued = client.post("/api/v1/sync?wait=false").await;
        assert_eq!((queued.status, &queued.body["entries"][0]["answer"]["is"]), (202, &json!("queued")));
        let calls = [(); 50].map(|()| client.post("/api/v1/sync?list=next2"));
        let answers = futures::future::join_all(calls).await;
        assert!(answers.iter().all(|answer| answer.body == answers[0].body && answer.status == 200));
        assert_eq!(answers[0].body["succeeded"], true);
        sleep(minutes(10)).await;
        assert_eq!(client.get("/api/v1/runs").await["runs"].as_array().unwrap().len(), 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_waits_gets_an_answer_when_the_run_fails_is_stopped_or_is_refused() {
    let text = r#"[{"list_id": "halt3"}, {"list_id": "off3", "enabled": false}, {"list_id": "gone3"}]"#;
    let world = World::new().set("OMETRIA_RATE", "3").list("halt3", 5000).with_state(text);
    let last = told(&world, async |client| {
        let failed = client.post("/api/v1/sync?list=gone3").await;
        assert_eq!((failed.status, &failed.body["succeeded"]), (200, &json!(false)));
        assert_eq!(failed.body["entries"][0]["answer"]["result"]["outcome"]["is"], "failed");
        let paused = client.post("/api/v1/sync?list=off3").await;
        let answer = json!({"is": "refused", "reason": {"is": "paused"}});
        assert_eq!((paused.status, &paused.body["entries"][0]["answer"]), (200, &answer));
        sleep(Duration::from_secs(4)).await;
        let stop = async {
            sleep(Duration::from_secs(1)).await;
            client.post("/api/v1/lists/halt3/stop").await
        };
        let (synced, stopped) = tokio::join!(client.post("/api/v1/sync?list=halt3"), stop);
        assert_eq!((stopped.status, &stopped.body["runs"][0]["outcome"]["is"]), (200, &json!("stopped")));
        assert_eq!(
            synced.body["entries"][0]["answer"]["reason"],
            json!({"is": "stopped"}),
            "{}",
            synced.body
        );
        let again = client.post("/api/v1/lists/halt3/stop").await;
        assert_eq!((again.status, again.body), (200, json!({"runs": []})));
        client
    })
    .await;
    let after = last.post("/api/v1/sync").await;
    assert_eq!((after.status, &after.body["type"]), (503, &json!("urn:importer:stopping")));
    assert_eq!(last.send("GET", "/health/live", &[]).await.status, 503);
}

#[tokio::test(start_paused = true)]
async fn runs_and_rejected_records_are_there_after_a_restart_page_by_page_and_without_personal_data() {
    let world = World::new().list("rest2", 400).list("rest3", 20);
    let world = world.with_state(r#"[{"list_id": "rest2"}, {"list_id": "rest3"}]"#);
    let refused: Vec<String> = {
        let mailchimp = world.sandbox.mailchimp();
        let cleaned = mailchimp.members("rest2").filter(|member| member.status == "cleaned");
        cleaned.map(|member| member.contact_id("rest2")).collect()
    };
    refused.iter().for_each(|id| world.sandbox.ometria().refuse(id, true));
    world.go_for(minutes(150)).await.unwrap();
    told(&world, async |client| {
        let rejected = client.get("/api/v1/rejected").await;
        let [list] = &rejected["lists"].as_array().unwrap()[..] else { panic!("{rejected}") };
        assert_eq!((&list["list_id"], &list["records"]), (&json!("rest2"), &json!(refused.len())));
        let reasons = list["reasons"].as_object().unwrap();
        assert_eq!(reasons.values().map(|count| count.as_u64().unwrap()).sum::<u64>(), refused.len() as u64);
        let whole = client.get("/api/v1/runs").await;
        let whole = whole["runs"].as_array().unwrap();
        assert_eq!(whole.len(), 4, "two loads and two syncs");
        assert!(whole.windows(2).all(|pair| pair[0]["end"].as_str() >= pair[1]["end"].as_str()));
        let (mut paged, mut target) = (vec![], "/api/v1/runs?limit=1".to_owned());
        loop {
            let page = client.get(&target).await;
            paged.extend(page["runs"].as_array().unwrap().clone());
            assert!(paged.len() <= whole.len(), "{paged:?}");
            let Some(next) = page["next"].as_str() else { break };
            target = format!("/api/v1/runs?limit=1&cursor={next}");
        }
        assert_eq!(&paged, whole);
        let of_list = client.get("/api/v1/runs?list=rest3").await;
        assert_eq!(of_list["runs"].as_array().unwrap().len(), 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_state_file_that_can_not_be_read_makes_the_program_unready_and_not_dead() {
    let world = World::new().list("bad4", 10).with_state("[{");
    told(&world, async |client| {
        sleep(minutes(1)).await;
        assert_eq!(client.get("/health/live").await, json!({"live": true}));
        let ready = client.send("GET", "/health/ready", &[]).await;
        assert_eq!((ready.status, &ready.body["type"]), (503, &json!("urn:importer:not-ready")));
        assert!(client.get("/api/v1/status").await["not_stored"].as_str().unwrap().contains("state.json"));
        assert_eq!(client.send("GET", "/api/v1/runs", &[]).await.status, 500);
        world.save(r#"[{"list_id": "bad4"}]"#);
        sleep(minutes(2)).await;
        assert_eq!(client.get("/health/ready").await, json!({"ready": true}));
        assert_eq!(client.get("/api/v1/runs").await["runs"].as_array().unwrap().len(), 1);
        // The last version that could be read still counts.
        world.save("[{");
        sleep(minutes(2)).await;
        assert_eq!(client.get("/health/ready").await, json!({"ready": true}));
        let answer = timeout(minutes(1), client.get("/api/v1/runs")).await.unwrap();
        assert_eq!(answer["runs"].as_array().unwrap().len(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_figures_count_records_by_fate_and_runs_by_result() {
    let world = World::new().list("fig1", 50).with_state(r#"[{"list_id": "fig1"}, {"list_id": "gone1"}]"#);
    told(&world, async |client| {
        client.post("/api/v1/sync?list=fig1").await;
        client.post("/api/v1/sync?list=fig1").await;
        sleep(Duration::from_secs(20)).await;
        let answer = client.send("GET", "/metrics", &[]).await;
        assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        let text = answer.body.as_str().unwrap();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("no {name} in:\n{text}")).parse::<f64>().unwrap()
        };
        let runs = client.get("/api/v1/runs?list=fig1").await;
        let runs = runs["runs"].as_array().unwrap();
        let sent: u64 = runs.iter().map(|run| run["counts"]["sent"].as_u64().unwrap()).sum();
        assert!(sent > 0);
        assert_eq!(value(r#"importer_records_total{list="fig1",fate="sent"}"#), sent as f64);
        assert_eq!(value(r#"importer_records_total{list="fig1",fate="rejected"}"#), 0.0);
        assert_eq!(value(r#"importer_runs_total{list="fig1",result="finished"}"#), runs.len() as f64);
        assert_eq!(value(r#"importer_run_duration_seconds_count{list="fig1"}"#), runs.len() as f64);
        assert_eq!(value(r#"importer_runs_total{list="gone1",result="failed"}"#), 1.0);
        assert_eq!(value("importer_state_file_valid"), 1.0);
        assert_eq!(value("importer_events_lost_total"), 0.0);
        let status = client.get("/api/v1/status").await;
        let entry = status["entries"][0]["entry"].as_str().unwrap();
        let age = value(&format!(r#"importer_last_success_age_seconds{{list="fig1",entry="{entry}"}}"#));
        assert!((19.0..60.0).contains(&age), "{age}");
        assert_eq!(value(&format!(r#"importer_entry_running{{list="fig1",entry="{entry}"}}"#)), 0.0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_description_has_every_path_with_its_parameters_and_answers() {
    let world = World::new().with_state("[]");
    told(&world, async |client| {
        let paths = &client.described["paths"];
        for route in &ROUTES {
            let operation = &paths[route.path][route.method.name().to_lowercase()];
            let parameters = operation["parameters"].as_array().unwrap().iter();
            let names: Vec<&str> = parameters.map(|parameter| parameter["name"].as_str().unwrap()).collect();
            let id = route.path.contains("{id}").then_some("id");
            let declared: Vec<&str> =
                id.into_iter().chain(route.parameters.iter().map(|parameter| parameter.name)).collect();
            assert_eq!(names, declared, "{}", route.path);
            let open = operation["security"].as_array().unwrap().contains(&json!({}));
            assert_eq!(open, route.method == Method::Get, "{}", route.path);
            assert!(["401", "403"].iter().all(|status| !operation["responses"][status].is_null()));
        }
        let page = std::fs::read_to_string(crate::documents::root().join("docs/api.md")).unwrap();
        for route in &ROUTES {
            let call = format!("`{} {}", route.method.name(), route.path);
            assert!(page.contains(&call), "docs/api.md does not have {call}");
        }
    })
    .await;
}
