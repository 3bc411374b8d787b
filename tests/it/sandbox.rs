//! The emulators behave as the vendors' documentation describes the services.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, header};
use importer::sandbox::{MAILCHIMP_KEY, OMETRIA_KEY, Sandbox};
use serde_json::{Value, json};

use crate::support::{NOON, TokioClock, at};

fn sandbox(size: u64) -> Arc<Sandbox> {
    let sandbox = Sandbox::new(Arc::new(TokioClock::at(NOON)), Duration::from_millis(100));
    sandbox.mailchimp().add_list("l", size, 1, at(NOON));
    Arc::new(sandbox)
}

pub fn request(method: Method, address: &str, body: String) -> http::Request<Bytes> {
    let basic =
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("any:{MAILCHIMP_KEY}"));
    http::Request::builder()
        .method(method)
        .uri(format!("http://sandbox{address}"))
        .header(header::AUTHORIZATION, format!("Basic {basic}"))
        .header("X-Ometria-Auth", OMETRIA_KEY)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.into())
        .unwrap()
}

async fn get(sandbox: &Sandbox, address: &str) -> (u16, Value) {
    let response = sandbox.handle(request(Method::GET, address, String::new())).await.unwrap();
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
}

async fn push(sandbox: &Sandbox, batch: &Value) -> (u16, Value) {
    let response = sandbox.handle(request(Method::POST, "/v2/push", batch.to_string())).await.unwrap();
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn its_members_answers_validate_against_the_schema() {
    let schema: Value = serde_json::from_str(include_str!("members.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let sandbox = sandbox(300);
    for query in ["count=1000", "count=1000&status=archived", "fields=members.id,total_items", "offset=5000"]
    {
        let (status, answer) = get(&sandbox, &format!("/3.0/lists/l/members?{query}")).await;
        assert_eq!(status, 200, "{answer}");
        let errors: Vec<String> = validator
            .iter_errors(&answer)
            .map(|error| format!("{} {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{query}: {errors:?}");
    }
    let (_, whole) = get(&sandbox, "/3.0/lists/l/members?count=1000").await;
    assert_eq!(whole["members"].as_array().unwrap().len() as u64, whole["total_items"].as_u64().unwrap());
    for wrong in [
        json!({"members": [{"id": 5}]}),
        json!({"members": [{"status": "vip"}]}),
        json!({"members": [{"emial": ""}]}),
        json!([]),
    ] {
        assert!(!validator.is_valid(&wrong), "the schema accepts {wrong}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_window_excludes_its_start_and_includes_its_end() {
    let sandbox = sandbox(0);
    sandbox.mailchimp().add_list("l", 3, 1, at(NOON));
    for (number, time) in [(0, "2026-11-01T00:00:01"), (1, "2026-11-01T00:00:02"), (2, "2026-11-01T00:00:03")]
    {
        sandbox.mailchimp().edit("l", number, at(time), |member| member.status = "subscribed");
    }
    let query = "since_last_changed=2026-11-01T00:00:01Z&before_last_changed=2026-11-01T00:00:03Z&sort_field=last_changed&sort_dir=ASC";
    let (_, answer) = get(&sandbox, &format!("/3.0/lists/l/members?{query}")).await;
    let times: Vec<&str> =
        answer["members"].as_array().unwrap().iter().map(|m| m["last_changed"].as_str().unwrap()).collect();
    assert_eq!(times, ["2026-11-01T00:00:02+00:00", "2026-11-01T00:00:03+00:00"]);
    assert_eq!(answer["total_items"], 2);
}

#[tokio::test(start_paused = true)]
async fn archived_members_are_hidden_pages_end_at_a_thousand_and_ten_is_the_default() {
    let sandbox = sandbox(2000);
    let archived = sandbox.mailchimp().members("l").filter(|member| member.status == "archived").count();
    assert!(archived > 0);
    for (query, rows) in [("", 10), ("count=5000", 1000), ("count=1000&status=archived", archived)] {
        let (_, answer) = get(&sandbox, &format!("/3.0/lists/l/members?{query}")).await;
        assert_eq!(answer["members"].as_array().unwrap().len(), rows, "{query}");
    }
    let (_, answer) = get(&sandbox, "/3.0/lists/l/members").await;
    assert_eq!(answer["total_items"], 2000 - archived);
}

#[tokio::test(start_paused = true)]
async fn errors_are_problem_documents() {
    let sandbox = sandbox(1);
    for (address, status, title) in [
        ("/3.0/lists/other/members", 404, "Resource Not Found"),
        ("/3.0/lists/l/members?count=many", 400, "Invalid Resource"),
        ("/3.0/lists/l/members?fields=members.id&exclude_fields=_links", 400, "Invalid Resource"),
    ] {
        let response = sandbox.handle(request(Method::GET, address, String::new())).await.unwrap();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!((body["status"].as_u64(), body["title"].as_str()), (Some(status), Some(title)));
        assert_eq!(u64::from(response.status().as_u16()), status);
    }
    let mut stranger = request(Method::GET, "/3.0/ping", String::new());
    stranger.headers_mut().remove(header::AUTHORIZATION);
    assert_eq!(sandbox.handle(stranger).await.unwrap().status(), 401);
}

#[tokio::test(start_paused = true)]
async fn an_eleventh_connection_is_refused() {
    let sandbox = sandbox(1);
    let answers = futures::future::join_all((0..11).map(|_| get(&sandbox, "/3.0/ping"))).await;
    let refused = answers.iter().filter(|(status, _)| *status == 429).count();
    assert_eq!(refused, 1);
    assert_eq!(get(&sandbox, "/3.0/ping").await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn pushes_are_merged_by_collection_and_id() {
    let sandbox = sandbox(0);
    let contact = |more: Value| {
        let mut contact =
            json!({"@type": "contact", "@collection": "c", "id": "1", "email": "ada@example.com"});
        contact.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        contact
    };
    let (status, answer) = push(&sandbox, &json!([contact(json!({"firstname": "Ada"}))])).await;
    assert_eq!((status, &answer["accepted"], &answer["rejected"]), (200, &json!(1), &json!(0)));
    push(&sandbox, &json!([contact(json!({"lastname": "Lovelace"})), contact(json!({"@collection": "d"}))]))
        .await;
    let ometria = sandbox.ometria();
    assert_eq!(ometria.contacts().len(), 2);
    let merged = &ometria.contacts()[&("c".into(), "1".into())];
    assert_eq!((&merged["firstname"], &merged["lastname"]), (&json!("Ada"), &json!("Lovelace")));
}

#[tokio::test(start_paused = true)]
async fn pushes_keep_to_the_limits() {
    let sandbox = sandbox(0);
    sandbox.ometria().set_rate(0.0);
    let contact = json!({"@type": "contact", "id": "1"});
    let large = json!({"@type": "contact", "id": "1", "email": "a".repeat(60_000)});
    for (batch, status) in [
        (json!(vec![&contact; 100]), 200),
        (json!(vec![&contact; 101]), 400),
        (json!([]), 400),
        (contact.clone(), 400),
        (json!([contact, {"@type": "order", "id": "1"}]), 400),
        (json!([large]), 400),
    ] {
        assert_eq!(push(&sandbox, &batch).await.0, status);
    }
    let (_, answer) =
        push(&sandbox, &json!([{"@type": "contact", "id": "1", "marketing_optin": "EXPLICITYLY_OPTEDOUT"}]))
            .await;
    assert_eq!(answer["accepted"], 1, "validation comes after the answer");
    let (_, errors) = get(&sandbox, "/v2/push/_errors").await;
    assert_eq!(
        errors,
        json!([{"error_message": "not a valid value", "error_path": "root > marketing_optin"}])
    );
    let mut stranger = request(Method::POST, "/v2/push", "[]".into());
    stranger.headers_mut().remove("X-Ometria-Auth");
    assert_eq!(sandbox.handle(stranger).await.unwrap().status(), 403);
}

#[tokio::test(start_paused = true)]
async fn more_than_eight_pushes_a_second_are_refused() {
    let sandbox = sandbox(0);
    let batch = json!([{"@type": "contact", "id": "1"}]);
    let statuses = futures::future::join_all((0..12).map(|_| push(&sandbox, &batch))).await;
    assert_eq!(statuses.iter().filter(|(status, _)| *status == 429).count(), 4);
}

#[test]
fn the_same_seed_invents_the_same_members() {
    let emails = |seed| {
        let mut mailchimp = importer::sandbox::mailchimp::Mailchimp::new("");
        mailchimp.add_list("l", 50, seed, at(NOON));
        mailchimp.members("l").map(|member| member.email.clone()).collect::<Vec<_>>()
    };
    assert_eq!(emails(1), emails(1));
    assert_ne!(emails(1), emails(2));
}
