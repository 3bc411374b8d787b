//! `importer check --online` makes requests to services; `importer check` alone makes none.

use std::time::Duration;

use serde_json::{Value, json};

use crate::loopback::{Loopback, finish};

const TEXT: &str = r#"[
    {"list_id": "onl1"},
    {"list_id": "onl1", "sink": "ndjson"},
    {"list_id": "off1", "enabled": false}
]"#;

async fn checked(loopback: &Loopback, arguments: &[&str]) -> (i32, String) {
    let (code, told, log) = finish(loopback.command(&[&["check"], arguments].concat())).await;
    assert_eq!(log, "");
    (code, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_asks_the_services_only_if_it_is_told_to_and_changes_nothing() {
    let loopback = Loopback::start(Duration::ZERO, TEXT).await.list("onl1", 50);
    let (code, told) = checked(&loopback, &[]).await;
    let seen = |loopback: &Loopback| {
        let seen = loopback.sandbox.seen();
        (!seen.reads.is_empty(), seen.pushes.len())
    };
    assert_eq!((code, seen(&loopback)), (0, (false, 0)), "{told}");
    let (code, told) = checked(&loopback, &["--online"]).await;
    let lines: Vec<&str> = told.lines().filter(|line| line.starts_with("list ")).collect();
    assert_eq!(
        lines,
        [
            "list \"onl1\": source mailchimp: ok",
            "list \"onl1\": sink ometria: ok",
            "list \"onl1\": source mailchimp: ok",
            "list \"onl1\": sink ndjson: ok",
        ]
    );
    assert_eq!((code, seen(&loopback)), (0, (true, 0)), "{told}");
    assert!(!loopback.folder.path().join("out").exists(), "a check creates no file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_can_not_be_used_is_named_with_the_reason() {
    let loopback = Loopback::start(Duration::ZERO, r#"[{"list_id": "gone1"}]"#).await;
    let mut command = loopback.command(&["check", "--online", "--json"]);
    command.env("OMETRIA_APIKEY", "wrong");
    let (code, told, _) = finish(command).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    let online = told["online"].as_array().unwrap();
    assert_eq!((code, online.len(), &told["problems"]), (1, 2, &json!([])), "{told}");
    for (asked, part, words) in
        [(&online[0], "source", "mailchimp returned 404"), (&online[1], "sink", "ometria returned 403")]
    {
        let error = asked["error"].as_str().unwrap();
        assert!(asked["part"] == part && asked["list_id"] == "gone1" && error.contains(words), "{asked}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_key_is_named_for_its_entry_and_the_others_are_asked() {
    let text = r#"[{"list_id": "onl2"}, {"list_id": "onl2", "sink": "ndjson"}]"#;
    let loopback = Loopback::start(Duration::ZERO, text).await.list("onl2", 5);
    let mut command = loopback.command(&["check", "--online"]);
    command.env_remove("OMETRIA_APIKEY");
    let (code, told, _) = finish(command).await;
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("list \"onl2\": entry at line 1 column 2: `OMETRIA_APIKEY` is not set"), "{told}");
    assert!(told.contains("list \"onl2\": sink ndjson: ok"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn root_certificates_are_needed_for_addresses_with_tls_only() {
    let loopback = Loopback::start(Duration::ZERO, r#"[{"list_id": "onl3"}]"#).await.list("onl3", 5);
    let mut command = loopback.command(&["check", "--online"]);
    command.envs([("SSL_CERT_FILE", "/absent"), ("SSL_CERT_DIR", "/absent")]);
    command.env("OMETRIA_URL", format!("https://127.0.0.1:{}/v2", loopback.port));
    let (code, told, _) = finish(command).await;
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("list \"onl3\": source mailchimp: ok"), "{told}");
    assert!(told.contains("could not set up TLS with the root certificates of the system"), "{told}");
}
