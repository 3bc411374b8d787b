//! Responses with a success status that report an error: none counts as a success, and the log has the
//! service's message.

use std::sync::Arc;

use http::Method;
use importer::{
    base::fault::Fault,
    controller::Verdict,
    net::{Request, Response, Transport},
};
use serde_json::{Value, json};

use crate::{
    contract::{Always, classed, doors, prepared, read, sandbox, sandbox_doors, sink, source},
    support::World,
    twist::{Twist, with_body},
};

/// Bodies of responses, each with the words that the log may contain.
const ERRORS: [(&str, &str); 9] = [
    (r#"{"error": "Quota of ada@example.com is used up."}"#, "quota of <address> is used up"),
    (r#"{"error": {"message": "Quota used up", "code": 7}}"#, "quota used up"),
    (r#"{"status": "error", "message": "Try later, s3cr3t-us1"}"#, "try later, ***"),
    (r#"{"title": "Internal Error", "status": 500, "detail": "Oops."}"#, "internal error: oops"),
    (r#"{"errors": [{"message": "no such account"}]}"#, "no such account"),
    (r#"{"errors": ["down for maintenance"]}"#, "down for maintenance"),
    (r#"{"status": "error"}"#, "`status` is error"),
    (r#"{"response": "ERROR"}"#, "`response` is error"),
    (r#"{"success": false}"#, "`success` is false"),
];

/// Returns the class of Ometria's response to a push of two contacts: `ok`, or the class of the fault.
async fn pushed(body: &'static str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let sink = sink(json!("ometria"), folder.path(), &doors(Arc::new(Always(200, body)), &[])).sink;
    match sink.deliver(&prepared(sink.as_ref(), 2)).await {
        Ok(_) => "ok".to_owned(),
        Err(Fault::TooLarge(_)) => "split".to_owned(),
        Err(fault) => {
            let text = fault.to_string();
            assert!(text.contains("tried 6 times"), "{text}");
            "unreadable".to_owned()
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_push_is_accepted_only_if_its_answer_says_so() {
    for (body, expected) in [
        (r#"{"status": "OK", "request_id": "r", "accepted": 2, "rejected": 0}"#, "ok"),
        (r#"{"status": "ok"}"#, "ok"),
        (r#"{"accepted": 2}"#, "ok"),
        (r#"{"accepted": 2, "rejected": null, "error": null, "errors": []}"#, "ok"),
        (r#"{"status": "OK", "rejected": 0}"#, "ok"),
        (r#"{"success": true, "data": {"rejected": 0}}"#, "ok"),
        (r#"{"success": true, "data": {"accepted": 2}}"#, "ok"),
        (r#"{"status": "OK", "accepted": 1, "rejected": 1}"#, "split"),
        (r#"{"status": "OK", "accepted": 1}"#, "split"),
        (r#"{"status": "OK", "accepted": 0}"#, "split"),
        (r#"{"status": "OK", "rejected": 2}"#, "split"),
        (r#"{"success": true, "data": {"rejected": 1}}"#, "split"),
        (r#"{"status": "error", "accepted": 1, "rejected": 1}"#, "split"),
        ("{}", "unreadable"),
        ("", "unreadable"),
        ("null", "unreadable"),
        ("[]", "unreadable"),
        (r#""OK""#, "unreadable"),
        (r#"{"success": false}"#, "unreadable"),
        (r#"{"success": "false"}"#, "unreadable"),
        (r#"{"status": "error", "accepted": 2}"#, "unreadable"),
        (r#"{"status": "error", "accepted": 0}"#, "unreadable"),
        (r#"{"status": "OK", "error": "quota"}"#, "unreadable"),
        (r#"{"status": "queued"}"#, "unreadable"),
        (r#"{"rejected": 0}"#, "unreadable"),
        (r#"{"request_id": "r"}"#, "unreadable"),
        (r#"{"status": "OK", "accepted": 3}"#, "unreadable"),
        (r#"{"status": "OK", "rejected": 3}"#, "unreadable"),
        (r#"{"status": "OK", "accepted": -1}"#, "unreadable"),
        (r#"{"status": "OK", "rejected": -1}"#, "unreadable"),
        (r#"{"status": "OK", "accepted": "2"}"#, "unreadable"),
        (r#"{"status": "OK", "accepted": 2, "rejected": "0"}"#, "unreadable"),
        (r#"{"status": "OK", "accepted": 1.5}"#, "unreadable"),
    ] {
        assert_eq!(pushed(body).await, expected, "{body}");
    }
}

/// Reading a response with a success status that reports an error returns a fault.
#[tokio::test(start_paused = true)]
async fn an_error_in_a_good_answer_is_reported_in_the_services_own_words() {
    for (body, words) in ERRORS {
        for kind in ["ometria", "mailchimp", "when_i_work"] {
            let told = classed(kind, 200, body).await;
            assert!(told.starts_with("retry: "), "{kind} {body}: {told}");
            assert!(told.contains(&format!(": {words} (")), "{kind} {body}: {told}");
        }
        let doors = doors(Arc::new(Always(200, body)), &[]);
        for (kind, list_id) in [("mailchimp", "a"), ("when_i_work", "shifts")] {
            let fault =
                source(kind, list_id, &doors).lookup().unwrap().find("1").await.unwrap_err().to_string();
            assert!(
                fault.contains(words) && !fault.contains("s3cr3t"),
                "{kind}, one record, {body}: {fault}"
            );
        }
        let folder = tempfile::tempdir().unwrap();
        let sink = sink(json!("ometria"), folder.path(), &doors).sink;
        let fault = sink.deferred_errors().unwrap().latest().await.unwrap_err().to_string();
        assert!(fault.contains(words), "late errors, {body}: {fault}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_comes_with_an_error_is_no_page() {
    for (kind, body) in [
        ("mailchimp", r#"{"members": [], "total_items": 0, "error": "Search is down"}"#),
        ("mailchimp", r#"{"members": [], "total_items": 0, "errors": ["Search is down"]}"#),
        ("when_i_work", r#"{"shifts": [], "error": "Search is down", "code": 5}"#),
        ("when_i_work", r#"{"shifts": [], "success": false, "message": "Search is down"}"#),
    ] {
        let told = classed(kind, 200, body).await;
        assert!(told.starts_with("retry: ") && told.contains("search is down"), "{body}: {told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_without_a_token_reports_what_the_service_says() {
    for (body, words) in [
        (r#"{"error": "Wrong password for ada@example.com"}"#, "wrong password for <address>"),
        (r#"{"success": false, "message": "Locked"}"#, "locked"),
        (r#"{"token": " "}"#, "has no token"),
        (r#"{"token": null}"#, "has no token"),
    ] {
        let sandbox = sandbox(Default::default());
        let twisted = Twist(sandbox.clone(), move |request: &Request, response: Response| {
            if request.uri().path() == "/login" { with_body(response, body) } else { response }
        });
        let doors = with_transport(Arc::new(twisted));
        let fault = read(source("when_i_work", "shifts", &doors).as_ref()).await.unwrap_err().to_string();
        assert!(fault.contains("could not log in") && fault.contains(words), "{body}: {fault}");
        assert!(fault.contains("check `WHEN_I_WORK_KEY`"), "{fault}");
    }
    let doors = sandbox_doors(&sandbox(Default::default()));
    read(source("when_i_work", "shifts", &doors).as_ref()).await.unwrap();
}

/// Returns the clients of the sandbox's accounts, with another transport.
fn with_transport(transport: Arc<dyn Transport>) -> importer::net::AccountClients {
    let known =
        |name: &str| crate::support::KEYS.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let environment = importer::net::Environment::new(move |name| known(name).map(str::to_owned));
    importer::net::AccountClients::new(
        environment,
        transport,
        Arc::new(crate::support::TokioClock::at(crate::support::NOON)),
    )
}

#[tokio::test(start_paused = true)]
async fn a_list_whose_pushes_are_answered_with_an_error_is_not_recorded_as_delivered() {
    for body in [
        r#"{"status": "error", "message": "quota used up"}"#,
        r#"{"success": false, "message": "quota used up"}"#,
        r#"{"error": "quota used up"}"#,
        r#"{"response": "ERROR", "message": "quota used up"}"#,
        "{}",
    ] {
        let world = World::new().list("ans1", 8).with_state(r#"[{"list_id": "ans1"}]"#);
        let world = world.through(|sandbox| {
            Twist(sandbox, move |request: &Request, response| {
                if request.method() == Method::POST { with_body(response, body) } else { response }
            })
        });
        assert_eq!(world.once().await.unwrap(), Verdict::Failed, "{body}");
        assert_eq!(world.field("latest_timestamp"), Value::Null, "{body}");
        assert_eq!(world.logged("5 sent"), 0);
        let words =
            if body == "{}" { "does not confirm that it accepted the contacts" } else { "quota used up" };
        assert!(world.logged(words) > 0, "{body}");
        assert!(!world.folder.path().join("dead-letter").exists(), "nobody is at fault");
    }
}
