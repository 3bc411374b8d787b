//! The source `rest`: pages of every kind, changes, deletions, logins, context, and bad answers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::TimeDelta;
use importer::{
    base::adapter::Chosen,
    controller::Verdict,
    net::{Caller, Unopened},
    sandbox::rest,
    source,
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    contract::{Always, doors},
    documents::{self, blocks},
    places::dead_letter,
    support::{World, entries, minutes},
};

const HOST: &str = "https://rest.example.org/rest";
const FILE: &str = "items.ndjson";

/// Returns the settings of a source with these in addition.
fn settings(path: &str, more: Value) -> Value {
    let url = format!("{HOST}{path}");
    let mut settings = json!({"type": "rest", "url": url, "auth": "bearer", "key": "id"});
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

/// Returns a state file with an entry that reads `source`.
fn state(source: Value, more: Value) -> String {
    let mut entry = json!({
        "list_id": "items", "source": source, "sink": {"type": "ndjson", "path": format!("out/{FILE}")},
        "every": "1m", "items_per_request": 10,
    });
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!([entry]).to_string()
}

fn world(source: Value) -> World {
    let world = World::new().with_state(&state(source, json!({})));
    world.sandbox.rest().invent(95, 1, world.clock.now());
    world
}

fn offset() -> Value {
    let paging = json!({"type": "offset", "parameter": "offset", "limit": "limit"});
    settings("/items/offset", json!({"records": "items", "total": "total", "paging": paging}))
}

fn page() -> Value {
    let paging = json!({"type": "page", "parameter": "page", "limit": "per_page"});
    settings("/items/page", json!({"records": "data", "total": "meta.total", "paging": paging}))
}

fn cursor() -> Value {
    let paging = json!({"type": "cursor", "parameter": "cursor", "limit": "limit", "next": "meta.next"});
    let since = json!({"parameter": "updated_since"});
    settings(
        "/items/cursor",
        json!({"records": "data", "changed": "updated_at", "deleted": "deleted", "since": since, "paging": paging}),
    )
}

fn link() -> Value {
    let paging = json!({"type": "link", "limit": "per_page"});
    settings("/items/link", json!({"auth": {"header": "X-Api-Key"}, "paging": paging}))
}

fn with(mut settings: Value, more: Value) -> Value {
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

/// Returns the records that the sink has, by id.
fn held(world: &World) -> BTreeMap<u64, Value> {
    let mut held = BTreeMap::new();
    for line in world.out(FILE) {
        match line["deleted"] == true && line["id"].is_null() {
            true => held.remove(&line["key"].as_str().unwrap().parse().unwrap()),
            false => held.insert(line["id"].as_u64().unwrap(), line),
        };
    }
    held
}

/// Returns the ids of the records in the sandbox.
fn wanted(world: &World) -> Vec<u64> {
    world.sandbox.rest().warehouses().filter(|one| !one.deleted).map(|one| one.id).collect()
}

#[track_caller]
fn assert_equal(world: &World) {
    let held = held(world);
    assert_eq!(held.keys().copied().collect::<Vec<_>>(), wanted(world));
    for warehouse in world.sandbox.rest().warehouses().filter(|one| !one.deleted) {
        assert_eq!(held[&warehouse.id]["name"], *warehouse.name);
    }
}

/// Returns the requests for pages, without those of the login and of the context.
fn pages(world: &World) -> Vec<String> {
    let requests = world.requests().into_iter();
    requests
        .flat_map(|(request, count)| vec![request; count as usize])
        .filter(|request| request.contains("/items/"))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_paging_reads_all_records_and_those_that_change_later() {
    for (source, requests) in [(offset(), 11), (page(), 10), (cursor(), 10), (link(), 10)] {
        for cap in [None, Some(4)] {
            let world = world(source.clone());
            world.sandbox.rest().set_cap(cap);
            assert_eq!(world.once().await.unwrap(), Verdict::Done, "{source}: {:?}", world.log());
            assert_equal(&world);
            // A load by changes reads what changed meanwhile.
            let found = pages(&world).len();
            assert!(cap.is_some() || (requests..=requests + 1).contains(&found), "{source}: {found}");
            sleep(minutes(5)).await;
            let now = world.clock.now();
            world.sandbox.rest().edit(7, now, |one| one.name = "Moved".into());
            sleep(minutes(5)).await;
            let before = world.out(FILE).len();
            assert_eq!(world.once().await.unwrap(), Verdict::Done);
            assert_equal(&world);
            assert_eq!(world.out(FILE).len(), before + 1, "{source}: only the change is sent");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_incremental_run_asks_for_changes_and_passes_deletions_on() {
    let world = world(cursor());
    world.once().await.unwrap();
    sleep(minutes(10)).await;
    let now = world.clock.now();
    world.sandbox.rest().edit(3, now, |one| one.deleted = true);
    sleep(minutes(10)).await;
    let before = pages(&world);
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_equal(&world);
    assert_eq!(world.out(FILE).last().unwrap(), &json!({"key": "3", "deleted": true}));
    let new: Vec<String> = pages(&world).into_iter().filter(|page| !before.contains(page)).collect();
    // A minute, the `overlap`, before the end of the last window.
    assert_eq!(new, ["GET /rest/items/cursor?limit=10&updated_since=2026-11-21T11%3A59%3A00Z"]);
}

#[tokio::test(start_paused = true)]
async fn records_keep_their_text_and_the_context_is_added_only_where_the_entry_says_so() {
    let source = settings(
        "/iam/users/{me}/warehouses",
        json!({
            "records": "warehouses", "context": [{"url": format!("{HOST}/iam/users/me"), "values": {"me": "id", "user": "username"}}],
        }),
    );
    for (more, expected) in [
        (json!({}), Value::Null),
        (json!({"context_field": "of"}), json!({"me": 17, "user": "warehouse-user"})),
    ] {
        let world = world(with(source.clone(), more));
        assert_eq!(world.once().await.unwrap(), Verdict::Done, "{:?}", world.log());
        assert_equal(&world);
        assert!(held(&world).values().all(|record| record["of"] == expected));
        let requests: Vec<String> = world.requests().into_keys().collect();
        assert_eq!(requests, ["GET /rest/iam/users/17/warehouses", "GET /rest/iam/users/me"]);
        assert_eq!(world.requests()["GET /rest/iam/users/me"], 1);
    }
}

#[tokio::test(start_paused = true)]
async fn every_example_of_the_guide_reads_all_records() {
    let guide = std::fs::read_to_string(documents::root().join("docs/rest.md")).unwrap();
    let examples = blocks(&guide, "jsonc");
    assert_eq!(examples.len(), 4);
    for example in examples {
        let world = World::new()
            .set("REST_HOSTS", "api.example.com")
            .set("REST_HOSTS_WMS", "api.example.com")
            .set("REST_USER_WMS", rest::USER)
            .set("REST_PASSWORD_WMS", rest::PASSWORD)
            .with_state(&example);
        world.sandbox.rest().invent(250, 1, world.clock.now());
        assert_eq!(world.once().await.unwrap(), Verdict::Done, "{example}: {:?}", world.log());
        let entry = &entries(&example)[0];
        let file = entry.sink.value["path"].as_str().unwrap().trim_start_matches("out/").to_owned();
        let ids: Vec<u64> = world.out(&file).iter().map(|line| line["id"].as_u64().unwrap()).collect();
        assert_eq!(ids.len(), 250, "{example}");
        assert!(wanted(&world).iter().all(|id| ids.contains(id)), "{example}");
    }
}

// ---- Logins ----

fn login(more: Value) -> Value {
    let mut token = json!({
        "url": format!("{HOST}/auth"), "grant": "password", "body": "json", "send": {"scope": "default"},
    });
    token.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    with(offset(), json!({"auth": {"token": token}}))
}

/// Returns a world that logs in: the token of the other tests is not set.
fn with_login(more: Value) -> World {
    let world = World::new().set("REST_TOKEN", "").with_state(&state(login(more), json!({"every": "5m"})));
    world.sandbox.rest().invent(95, 1, world.clock.now());
    world
}

#[tokio::test(start_paused = true)]
async fn a_token_is_fetched_once_renewed_before_it_ends_and_once_after_it_was_revoked() {
    for more in [json!({}), json!({"body": "form"}), json!({"grant": "client_credentials"})] {
        let world = with_login(more);
        let story = async {
            sleep(minutes(30)).await;
            assert_eq!(world.sandbox.rest().logins(), 1);
            assert_equal(&world);
            sleep(minutes(35)).await;
            assert_eq!(world.sandbox.rest().logins(), 2, "it is valid for an hour");
            world.sandbox.rest().revoke();
            sleep(minutes(6)).await;
            assert_eq!(world.sandbox.rest().logins(), 3);
            world.stop();
        };
        let (ended, ()) = tokio::join!(world.go(), story);
        assert_eq!(ended.unwrap(), Verdict::Done);
        assert_eq!(world.logged("401"), 0, "no run has failed: {:?}", world.lines("401"));
        assert_eq!(world.logged("sandbox-token") + world.logged("sandbox-rest-password"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_a_person_has_set_replaces_the_login() {
    for (token, logins) in [("sandbox-rest-key", 0), ("", 1)] {
        let world = World::new().set("REST_TOKEN", token).with_state(&state(login(json!({})), json!({})));
        world.sandbox.rest().invent(15, 1, world.clock.now());
        assert_eq!(world.once().await.unwrap(), Verdict::Done);
        assert_equal(&world);
        assert_eq!(world.sandbox.rest().logins(), logins);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_login_is_tried_again_at_the_interval_of_the_entry() {
    let world = with_login(json!({"retry_every": "10s"}));
    for _ in 0..3 {
        world.sandbox.rest().respond_instead("/rest/auth", 200, "{}");
    }
    let start = tokio::time::Instant::now();
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_equal(&world);
    let seconds = start.elapsed().as_secs();
    assert!((30..40).contains(&seconds), "{seconds} s");
    assert_eq!(world.requests()["POST /rest/auth"], 4);
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_the_login_without_a_usable_token_is_named_and_never_shown() {
    const T: &str = r#""access_token": "s3cr3t-t0ken""#;
    for (status, body, why) in [
        (200, "{}".to_owned(), "response to the login has nothing at `access_token`, not a token"),
        (200, r#"{"access_token": null}"#.into(), "has null at `access_token`, not a token"),
        (200, r#"{"access_token": " "}"#.into(), "has blank at `access_token`, not a token"),
        (
            200,
            r#"{"access_token": {"s3cr3t-t0ken": 1}}"#.into(),
            "has an object at `access_token`, not a token",
        ),
        (200, format!("[{{{T}}}]"), "has nothing at `access_token`, not a token"),
        (200, format!(r#"{{{T}, "expires_in": 0}}"#), "has 0 at `expires_in`, not a number of seconds"),
        (
            200,
            format!(r#"{{{T}, "expires_in": -5}}"#),
            "has a negative number at `expires_in`, not a number of seconds",
        ),
        (
            200,
            format!(r#"{{{T}, "expires_in": "soon"}}"#),
            "has a string at `expires_in`, not a number of seconds",
        ),
        (200, "<html>s3cr3t-t0ken</html>".into(), "response is HTML or XML, not JSON"),
        (200, String::new(), "response has no content"),
        (200, "s3cr3t-t0ken".into(), "response can't be read: unexpected JSON at line 1 column 1"),
        (200, r#"{"error": "invalid_grant"}"#.into(), "response reports an error: invalid_grant"),
        (
            400,
            r#"{"error": "invalid_grant"}"#.into(),
            "returned 400 bad request: invalid_grant (check `REST_USER` and `REST_PASSWORD`, and `auth.token`: importer sent",
        ),
        (
            401,
            "{}".into(),
            "returned 401 unauthorized (check `REST_USER` and `REST_PASSWORD`, and `auth.token`: ",
        ),
        (404, "{}".into(), "returned 404 not found (check `source.auth.token.url`)"),
    ] {
        let world = with_login(json!({}));
        for _ in 0..6 {
            world.sandbox.rest().respond_instead("/rest/auth", status, body.clone());
        }
        assert_eq!(world.once().await.unwrap(), Verdict::Failed, "{body}");
        let log = world.log().join("\n");
        assert!(log.contains(why), "{body}: {log}");
        assert!(log.contains("could not log in to rest.example.org"), "{log}");
        assert!(!log.contains("s3cr3t"), "{log}");
        assert!(world.out(FILE).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_without_a_time_is_used_until_it_is_rejected() {
    let world = with_login(json!({"expires_in": "absent"}));
    world.sandbox.rest().set_life(TimeDelta::minutes(30));
    let story = async {
        sleep(minutes(95)).await;
        world.stop();
    };
    let (ended, ()) = tokio::join!(world.go(), story);
    assert_eq!(ended.unwrap(), Verdict::Done);
    let logins = world.sandbox.rest().logins();
    assert!((3..=4).contains(&logins), "{logins}");
    assert_eq!(world.logged("401"), 0);
}

// ---- Bad answers ----

#[tokio::test(start_paused = true)]
async fn a_bad_answer_is_named_with_the_next_step_and_other_entries_go_on() {
    for (source, body, why) in [
        (
            offset(),
            "[]",
            "response is an array, so it has nothing at `items` (if this persists, check `records`",
        ),
        (link(), r#"{"data": []}"#, "response is an object, not an array of records"),
        (offset(), r#"{"data": []}"#, "response has nothing at `items`"),
        (offset(), r#"{"items": {"a": 1}}"#, "response has an object at `items`, not an array of records"),
        (offset(), r#"{"items": null}"#, "response has null at `items`, not an array of records"),
        (offset(), r#"{"items": []}"#, "response has nothing at `total`, not a number of records"),
        (
            offset(),
            r#"{"items": [], "total": "many"}"#,
            "response has a string at `total`, not a number of records",
        ),
        (
            cursor(),
            r#"{"data": [], "meta": {"next": {}}}"#,
            "response has an object at `meta.next`, not a cursor or an address",
        ),
        (offset(), r#"{"items": [], "error": "no quota"}"#, "response reports an error: no quota"),
        (offset(), r#"{"items": [], "success": false}"#, "response reports an error: `success` is false"),
        (offset(), "<!doctype html><p>s3cr3t", "response is HTML or XML, not JSON (check the address;"),
        (
            offset(),
            "",
            "response has no content (if that means that there are no records, add its status to `empty`",
        ),
        (offset(), r#"{"items": ["s3cr3t"#, "response can't be read: unexpected JSON at line 1"),
    ] {
        let other = json!({
            "list_id": "other", "source": page(), "sink": {"type": "ndjson", "path": "out/other.ndjson"},
        });
        let mut entries: Value = serde_json::from_str(&state(source, json!({}))).unwrap();
        entries.as_array_mut().unwrap().push(other);
        let world = World::new().with_state(&entries.to_string());
        world.sandbox.rest().invent(15, 1, world.clock.now());
        for path in ["/rest/items/offset", "/rest/items/cursor", "/rest/items/link"] {
            for _ in 0..6 {
                world.sandbox.rest().respond_instead(path, 200, body);
            }
        }
        assert_eq!(world.once().await.unwrap(), Verdict::Failed, "{body}");
        let log = world.log().join("\n");
        assert!(log.contains(why), "{body}: {log}");
        assert!(log.contains("list \"items\" failed: could not read ") && !log.contains("s3cr3t"), "{log}");
        assert_eq!(world.out("other.ndjson").len(), 15, "the other entry");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_since_and_a_page_elsewhere_are_named() {
    let world = world(cursor());
    world.once().await.unwrap();
    sleep(minutes(10)).await;
    for status in [400, 422] {
        world.sandbox.rest().respond_instead("/rest/items", status, r#"{"error": "bad time"}"#);
        assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    }
    let why = "bad time (the service may refuse the parameter of `since`; check its name and `format`)";
    assert_eq!(world.logged(why), 2, "{:?}", world.log());

    let paging = json!({"type": "next", "next": "next"});
    let elsewhere = settings("/items/page", json!({"records": "data", "paging": paging}));
    let world = self::world(elsewhere);
    let body = r#"{"data": [{"id": 1}], "next": "https://evil.example/s3cr3t"}"#;
    world.sandbox.rest().respond_instead("/rest/items", 200, body);
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    let why = "could not read the first page: the next page is on another host, to which the credentials are not sent";
    assert_eq!(world.logged(why), 1, "{:?}", world.log());
    assert_eq!(world.logged("s3cr3t"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cursor_that_repeats_ends_the_run() {
    let world = world(cursor());
    for id in 1..4 {
        let body = json!({"data": [{"id": id, "updated_at": "2026-11-20T12:00:00Z"}], "meta": {"next": "x"}});
        world.sandbox.rest().respond_instead("/rest/items", 200, body.to_string());
    }
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    assert_eq!(world.logged("the page names itself as the next one (check `paging.parameter`, since"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_next_address_in_the_body_is_followed() {
    let paging = json!({"type": "next", "next": "links.next"});
    let world = world(settings(
        "/items/page",
        json!({"records": "data", "query": {"per_page": 10}, "paging": paging}),
    ));
    for (id, next) in
        [(1, json!("?page=2")), (2, json!("/rest/items/page?page=3&per_page=10")), (3, json!(null))]
    {
        let body = json!({"data": [{"id": id}], "links": {"next": next}});
        world.sandbox.rest().respond_instead("/rest/items", 200, body.to_string());
    }
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(held(&world).into_keys().collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(
        pages(&world),
        [
            "GET /rest/items/page?page=2&per_page=10",
            "GET /rest/items/page?page=3&per_page=10",
            "GET /rest/items/page?per_page=10"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_record_without_its_key_or_its_time_is_rejected_and_the_others_are_sent() {
    let world = world(cursor());
    let body = json!({"data": [
        {"id": 1, "updated_at": "2026-11-20T12:00:00Z"},
        {"updated_at": "2026-11-20T12:00:00Z"},
        {"id": 3, "updated_at": "soon"},
        {"id": 4, "updated_at": "Fri, 20 Nov 2026 12:00:00 GMT"},
        "x",
    ], "meta": {"next": null}});
    world.sandbox.rest().respond_instead("/rest/items", 200, body.to_string());
    world.once().await.unwrap();
    assert_eq!(world.out(FILE).iter().map(|line| line["id"].clone()).take(2).collect::<Vec<_>>(), [1, 4]);
    let letters = std::fs::read_to_string(dead_letter(world.folder.path(), "items")).unwrap();
    for why in [
        "`id` is missing; record 2 of the page",
        "`updated_at` is a string, not a time; record 3 of the page",
        "the record is a string, not an object; record 5 of the page",
    ] {
        assert!(letters.contains(why), "{letters}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_without_a_time_is_passed_on_even_after_the_record_was_listed() {
    let world = world(cursor());
    for (row, next) in [
        (json!({"id": 1, "updated_at": "2026-11-20T12:00:00Z"}), json!("x")),
        (json!({"id": 1, "deleted": true}), json!(null)),
    ] {
        let body =
            json!({"data": [row, {"id": 2, "updated_at": "2026-11-20T12:00:00Z"}], "meta": {"next": next}});
        world.sandbox.rest().respond_instead("/rest/items", 200, body.to_string());
    }
    assert_eq!(world.once().await.unwrap(), Verdict::Done, "{:?}", world.log());
    assert_eq!(world.out(FILE).last().unwrap(), &json!({"key": "1", "deleted": true}));
    assert_eq!(held(&world).into_keys().collect::<Vec<_>>(), [2]);
}

#[tokio::test(start_paused = true)]
async fn statuses_that_mean_no_records_end_a_listing() {
    for (status, more, verdict) in [
        (204, json!({}), Verdict::Done),
        (404, json!({"empty": [404]}), Verdict::Done),
        (404, json!({}), Verdict::Failed),
        (204, json!({"empty": [404]}), Verdict::Failed),
    ] {
        let world = world(with(link(), more.clone()));
        for _ in 0..6 {
            world.sandbox.rest().respond_instead("/rest/items", status, "");
        }
        assert_eq!(world.once().await.unwrap(), verdict, "{status} {more}");
        assert!(world.out(FILE).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn records_that_are_removed_while_they_are_read_hide_no_other() {
    for source in [offset(), page()] {
        let world = world(source.clone());
        let edits = async {
            // Two pages have been read by then.
            sleep(Duration::from_millis(500)).await;
            world.sandbox.rest().remove(2);
            world.sandbox.rest().remove(11);
        };
        let (ended, ()) = tokio::join!(world.once(), edits);
        assert_eq!(ended.unwrap(), Verdict::Done);
        let held = held(&world);
        assert!(wanted(&world).iter().all(|id| held.contains_key(id)), "{source}");
        assert_eq!(world.logged("WARN") + world.logged("ERROR"), 0, "{:?}", world.log());
    }
}

// ---- Settings ----

fn refusal(settings: &Value, variables: &'static [(&str, &str)]) -> String {
    let doors = doors(Arc::new(Always(200, "")), variables);
    let wanted =
        source::SourceContext { list_id: "items", fields: None, caller: Caller::new("items", false) };
    match source::open(Chosen::of(settings, ""), wanted, &doors) {
        Ok(_) => panic!("{settings} is accepted"),
        Err(Unopened::Settings(why)) => why,
        Err(Unopened::Account(refused)) => refused.to_string(),
    }
}

#[test]
fn an_invalid_setting_is_named_with_what_is_valid() {
    let paging = |more: Value| json!({"paging": more});
    for (more, why) in [
        (json!({"url": "/s3cr3t"}), "rest: `url` must be an http(s) address, such as \"https://host/path\""),
        (
            json!({"url": "https://u:s3cr3t@h/"}),
            "rest: `url` must not contain a user or a password; use `auth`",
        ),
        (json!({"url": "https://h/{list}"}), "rest: `url`: unknown placeholder {list}; use one of {list_id}"),
        (
            json!({"url": "https://{list_id}.h/"}),
            "rest: `url` must not have a placeholder in its host; write the host out",
        ),
        (json!({"method": "PUT"}), "rest: `method`: unknown variant `PUT`, expected `GET` or `POST`"),
        (json!({"body": {"a": 1}}), "rest: `body` and `paging.in` \"body\" need `method` \"POST\""),
        (
            paging(json!({"type": "link", "in": "body"})),
            "rest: `body` and `paging.in` \"body\" need `method` \"POST\"",
        ),
        (json!({"query": {"a": []}}), "rest: `query.a` must be a text, a number, true or false"),
        (json!({"query": {"a": "{me}"}}), "rest: `query.a`: unknown placeholder {me}; use one of {list_id}"),
        (
            json!({"method": "POST", "body": {"a": ["{me}"]}}),
            "rest: `body`: unknown placeholder {me}; use one of {list_id}",
        ),
        (json!({"key": []}), "rest: `key`: use a path such as \"id\", or a list of paths"),
        (json!({"key": ""}), "rest: `key`: use a path such as \"id\", or a list of paths"),
        (
            json!({"since": {"parameter": "s"}}),
            "rest: `since` needs `changed`, the path of the time by which the service filters",
        ),
        (paging(json!({"type": "offset"})), "rest: `paging` of the type offset needs `parameter`"),
        (
            paging(json!({"type": "cursor", "parameter": "c"})),
            "rest: `paging` of the type cursor needs `next`",
        ),
        (
            paging(json!({"type": "link", "next": "n"})),
            "rest: `paging.next` has no effect with the type link; remove it",
        ),
        (
            paging(json!({"type": "offset", "parameter": "o", "first": 1})),
            "rest: `paging.first` has no effect with the type offset; remove it",
        ),
        (
            paging(json!({"type": "link", "short_page": "end"})),
            "rest: `paging.short_page` \"end\" needs the type offset or page, and `limit`",
        ),
        (
            json!({"context": [{"url": "https://h/me", "values": {"me": "id"}}]}),
            "rest: `context[0].url` must be on the host of `url`, which alone gets the credentials",
        ),
        (
            json!({"context": [{"url": format!("{HOST}/me"), "values": {"list_id": "id"}}]}),
            "rest: `context[0].values`: duplicate name `list_id`; choose another",
        ),
        (
            json!({"context": [{"url": format!("{HOST}/me"), "values": {"a b": "id"}}]}),
            "rest: `context[0].values`: invalid name \"a b\"; use letters, digits and `_`, and begin with a letter",
        ),
        (json!({"context_field": "of"}), "rest: `context_field` needs a name and `context`"),
        (json!({"item": format!("{HOST}/one")}), "rest: `item` needs the placeholder {key}"),
        (
            json!({"item": "https://h/{key}"}),
            "rest: `item` must be on the host of `url`, which alone gets the credentials",
        ),
        (
            json!({"item": format!("{HOST}/{{key}}"), "key": ["a", "b"]}),
            "rest: `item` works only with one path in `key`; use one path, or remove `item`",
        ),
        (
            json!({"accept": [200], "empty": [200]}),
            "rest: status 200 is in `accept` and in `empty`; remove it from one of them",
        ),
        (
            json!({"auth": {"token": {"url": format!("{HOST}/auth"), "fields": {"client": "c"}}}}),
            "rest: `auth.token.fields`: unknown field `client`; only `user` and `password` can be renamed",
        ),
        (json!({"auth": {"token": {}}}), "rest: `auth.token`: missing field `url`"),
        (json!({"rate": 0}), "rest: `rate` must be from 0.001 to 1000 requests per second; found 0"),
    ] {
        assert_eq!(refusal(&settings("/items", more), &[]), why);
    }
    assert_eq!(refusal(&json!("rest"), &[]), "rest: missing field `url`");
}

/// People who may edit the state file must not be able to send the credentials elsewhere.
#[test]
fn credentials_and_logins_go_only_to_hosts_that_the_environment_names() {
    let token = |url: &str| json!({"auth": {"token": {"url": url}}});
    for (settings, why) in [
        (
            settings("/items", json!({"url": "https://evil.example/"})),
            "`REST_HOSTS` does not contain evil.example, to which an entry sends the credentials; add it, or correct `url`",
        ),
        (
            settings("/items", token("https://evil.example/")),
            "`REST_HOSTS` does not contain evil.example, to which an entry sends the credentials; add it, or correct `auth.token.url`",
        ),
        (
            settings("/items", token("http://rest.example.org/")),
            "`REST_HOSTS` does not contain http://rest.example.org, to which an entry sends the credentials unencrypted; use https in `auth.token.url`, or add this address",
        ),
    ] {
        assert_eq!(refusal(&settings, &[]), why);
    }
    for (auth, variables, why) in [
        (json!("bearer"), &[("REST_TOKEN", "")][..], "`REST_TOKEN` is not set"),
        (json!("basic"), &[], "`REST_USER` is not set"),
        (json!({"token": {"url": format!("{HOST}/auth")}}), &[("REST_TOKEN", "")], "`REST_USER` is not set"),
        (
            json!({"token": {"url": format!("{HOST}/auth")}}),
            &[("REST_TOKEN", ""), ("REST_USER", "u")],
            "`REST_PASSWORD` is not set",
        ),
    ] {
        let found = refusal(&settings("/items", json!({"auth": auth})), variables);
        assert!(found.starts_with(why), "{found}");
    }
}
