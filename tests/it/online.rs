//! `importer check --online` makes requests to services; `importer check` alone makes none.

use std::time::Duration;

use importer::{
    base::clock::{Clock, SystemClock},
    sandbox::rest,
};
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
    assert!(
        told.ends_with("/state.json: 3 entries can run; no problem, no warning, no failed check.\n"),
        "{told}"
    );
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
    assert!(
        told.ends_with("/state.json: 1 entry can run; no problem, no warning, 1 failed check.\n"),
        "{told}"
    );
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

/// An entry of the sandbox's warehouses, with these settings of the source in addition, and this sink.
fn warehouses(port: u16, source: &Value, sink: &Value) -> String {
    let url = format!("http://127.0.0.1:{port}/rest");
    let mut settings = json!({
        "type": "rest", "url": format!("{url}/items/cursor"), "auth": "bearer", "records": "data", "key": "id",
        "paging": {"type": "cursor", "parameter": "cursor", "limit": "limit", "next": "meta.next"},
        "item": format!("{url}/items/{{key}}"),
    });
    settings.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
    json!([{"list_id": "onl4", "source": settings, "sink": sink}]).to_string()
}

/// Runs a command over the sandbox's warehouses with some variables. Returns its exit code, output and log.
async fn with_warehouses(
    (source, sink): (Value, Value),
    variables: &[(&str, &str)],
    arguments: &[&str],
) -> (i32, String, String) {
    let loopback = Loopback::start(Duration::ZERO, "[]").await;
    loopback.sandbox.rest().invent(250, 1, SystemClock.now());
    let state = warehouses(loopback.port, &source, &sink)
        .replace("PORT", &loopback.port.to_string())
        .replace("\"COLUMNS\"", r#"{"name": "text", "id": "bigint", "cty": "text"}"#);
    std::fs::write(loopback.folder.path().join("state.json"), state).unwrap();
    let mut command = loopback.command(arguments);
    command.env("REST_HOSTS", format!("http://127.0.0.1:{}", loopback.port)).envs(variables.iter().copied());
    finish(command).await
}

const KEY: (&str, &str) = ("REST_TOKEN", rest::KEY);

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_nothing_has_is_a_warning_of_a_check_and_of_a_preview() {
    let typos = json!({
        "deleted": "removed", "status": "stte", "changed": "updated_at",
        "paging": {"type": "cursor", "parameter": "cursor", "limit": "limit", "next": "meta.nxt"},
    });
    let warnings = [
        "no record that was read has `removed`, the path in `deleted`; correct the path",
        "no record that was read has `stte`, the path in `status`; correct the path",
        "the first response has nothing at `meta.nxt`, the path in `paging.next`, so the listing ends with that page",
    ];
    let (code, told, log) =
        with_warehouses((typos.clone(), json!("stdout")), &[KEY], &["check", "--online"]).await;
    assert!(
        code == 0 && warnings.iter().all(|line| told.contains(&format!("\n  warning: {line}"))),
        "{told}{log}"
    );
    assert!(!told.contains("updated_at"), "{told}");
    assert!(told.ends_with("1 entry can run; no problem, 3 warnings, no failed check.\n"), "{told}");
    let (code, told, log) = with_warehouses((typos, json!("stdout")), &[KEY], &["preview", "onl4"]).await;
    assert!(
        code == 0 && warnings.iter().all(|line| told.contains(&format!("\nWarning: {line}"))),
        "{told}{log}"
    );
    assert_eq!(told.matches("\nWould be sent\n").count(), 1, "one record is shown: {told}");
    let right = json!({"deleted": "deleted", "status": "country"});
    let (code, told, _) = with_warehouses((right, json!("stdout")), &[KEY], &["check", "--online"]).await;
    assert!(code == 0 && told.contains("no problem, no warning, no failed check"), "{told}");
}

#[cfg(feature = "sql")]
#[tokio::test(flavor = "multi_thread")]
async fn a_column_without_a_field_and_a_field_without_a_column_are_shown() {
    let sink = json!({
        "type": "sql", "url": "sqlite:out/a.db", "table": "t", "key": "id", "create": true,
        // A value of the test has no order, but the file has.
        "columns": "COLUMNS",
    });
    let (code, told, log) =
        with_warehouses((json!({}), sink.clone()), &[KEY], &["preview", "onl4", "--count", "2"]).await;
    let warning = "no payload has `cty`, which `columns` of the table `t` names";
    assert!(code == 0 && told.ends_with(&format!("\nWarning: {warning}\n")), "{told}{log}");
    assert!(told.contains("\nLeft out\n  active                           no_column\n"), "{told}");
    let statement =
        "  \"id\" INTEGER NOT NULL,\n  \"name\" text,\n  \"cty\" text,\n  PRIMARY KEY (\"id\")\n)";
    assert!(told.contains(statement), "{told}");
    let (code, told, _) = with_warehouses((json!({}), sink), &[KEY], &["check", "--online"]).await;
    assert!(code == 0 && told.contains(&format!("\n  warning: {warning}\n")), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_takes_the_key_of_a_record_that_the_service_returns_by_its_address() {
    let (code, told, log) =
        with_warehouses((json!({}), json!("stdout")), &[KEY], &["preview", "onl4", "249"]).await;
    assert!(code == 0 && told.starts_with("Record 249\n{") && !told.contains("Warning"), "{told}{log}");
    let (code, _, log) =
        with_warehouses((json!({}), json!("stdout")), &[KEY], &["preview", "onl4", "999"]).await;
    assert!(code == 1 && log.contains("the list has no such record"), "{log}");
}

/// The answer would be the same each time.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_fit_the_settings_is_requested_once_by_a_check_and_a_preview() {
    let typo = (json!({"records": "dta"}), json!("stdout"));
    let why = "could not read the first page: 127.0.0.1:";
    for arguments in [&["check", "--online"][..], &["preview", "onl4"]] {
        let (code, told, log) = with_warehouses(typo.clone(), &[KEY], arguments).await;
        let text = format!("{told}{log}");
        assert!(code == 1 && text.contains(why) && text.contains("has nothing at `dta`"), "{text}");
        assert!(!text.contains("tried") && !text.contains("retry"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_replaces_a_login_is_a_warning() {
    let source = json!({"auth": {"token": {"url": "https://127.0.0.1:1/auth"}}});
    let warning = "`REST_TOKEN` is set, so importer does not log in: `REST_USER` and `REST_PASSWORD` are not used; \
                   remove `REST_TOKEN` to log in";
    let both = [KEY, ("REST_USER", "ada"), ("REST_PASSWORD", "p4ssw0rd")];
    let loopback = Loopback::start(Duration::ZERO, "[]").await;
    let state = warehouses(loopback.port, &source, &json!("stdout"));
    std::fs::write(loopback.folder.path().join("state.json"), state).unwrap();
    loopback.sandbox.rest().invent(5, 1, SystemClock.now());
    let run = async |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = loopback.command(arguments);
        let hosts = format!("http://127.0.0.1:{},127.0.0.1:1", loopback.port);
        command.env("REST_HOSTS", hosts).envs(variables.iter().copied());
        finish(command).await
    };
    for arguments in [&["check"][..], &["check", "--online"], &["settings"], &["settings", "--json"]] {
        let (code, told, log) = run(arguments, &both).await;
        assert!(
            code == 0 && told.contains(warning) && !told.contains("p4ssw0rd"),
            "{arguments:?}: {told}{log}"
        );
        let (code, told, _) = run(arguments, &[KEY]).await;
        assert!(code == 0 && !told.contains("does not log in"), "{arguments:?}: {told}");
    }
}

/// The password is right, and the request has no `grant`.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_the_service_does_not_understand_is_described() {
    let source = json!({"auth": {"token": {"url": "http://127.0.0.1:PORT/rest/auth"}}});
    let variables = [("REST_USER", rest::USER), ("REST_PASSWORD", rest::PASSWORD)];
    let (code, told, _) =
        with_warehouses((source, json!("stdout")), &variables, &["check", "--online"]).await;
    let why = "returned 400 bad request: unsupported_grant_type (check `REST_USER` and `REST_PASSWORD`, and `auth.token`: \
               importer sent a form with the fields `username` and `password` and without a `grant`, which OAuth 2 needs; \
               other services may need another `body` or `fields`)";
    assert!(code == 1 && told.contains(why) && !told.contains(rest::PASSWORD), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_says_which_setting_finds_missing_records_of_a_source_that_counts_none() {
    for (source, hint) in [
        (json!({}), "set `total` of the source to its path: a run that reads fewer records then fails."),
        (json!({"total": "count"}), "fails if it reads fewer records than `total` of the source reports."),
    ] {
        let (code, told, log) = with_warehouses((source, json!("stdout")), &[KEY], &["verify", "onl4"]).await;
        assert!(code == 1 && told.contains(hint), "{told}{log}");
    }
}
