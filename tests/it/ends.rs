//! Entries that choose a source, a mapping and a sink, through the real program: errors are reported, only
//! the entries that use a key need it, and `why` explains one record.

use std::{fs, time::Duration};

use importer::sandbox::{MAILCHIMP_KEY, when_i_work};

use crate::loopback::{Loopback, Running, finish, importer, output};

const SHIFTS: &str = r#"[{"list_id": "shifts", "source": "when_i_work", "mapping": "as_is", "sink": "ndjson", "every": "1s"}]"#;

/// Returns a command against the sandbox, with its account of When I Work.
fn with_login(loopback: &Loopback, arguments: &[&str]) -> tokio::process::Command {
    let mut command = loopback.command(arguments);
    command
        .env("WHEN_I_WORK_URL", format!("http://127.0.0.1:{}/2", loopback.port))
        .env("WHEN_I_WORK_LOGIN_URL", format!("http://127.0.0.1:{}", loopback.port))
        .envs([
            ("WHEN_I_WORK_KEY", when_i_work::KEY),
            ("WHEN_I_WORK_EMAIL", when_i_work::EMAIL),
            ("WHEN_I_WORK_PASSWORD", when_i_work::PASSWORD),
        ]);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_adapters_are_reported_with_their_position_and_without_keys() {
    let folder = tempfile::tempdir().unwrap();
    let state = r#"[
  {"list_id": "a", "sink": "kafka"},
  {"list_id": "b", "source": {"type": "when_i_work"}, "sink": "ndjson"},
  {"list_id": "shifts", "source": {"type": "when_i_work", "days": 3}, "sink": "ndjson"},
  {"list_id": "41", "source": {"type": "when_i_work", "min_interval": "soon"}, "sink": "ndjson"},
  {"list_id": "42", "source": "when_i_work"},
  {"list_id": "43", "source": "when_i_work", "mapping": "ometria_contact", "sink": "ndjson"},
  {"list_id": "c", "mapping": {"type": "fields", "fields": {"a": {"from": ""}}}, "sink": {"type": "ndjson", "rotate_mb": 0}},
  {"list_id": "d", "mapping": "jq"},
  {"list_id": "e", "sink": 5, "every": "0s", "unchanged": {"store": "redis", "expires": "1d"}},
  {"list_id": "f", "full_load": "changed_only"},
  {"list_id": "44", "source": {"type": "when_i_work", "min_interval": 60}, "sink": "ndjson"},
  {"list_id": "g", "mapping": "as_is", "sink": "ndjson", "consent": "none"},
  {"list_id": "h", "mapping": "as_is", "sink": {"type": "ndjson", "path": "state.json"}},
  {"list_id": "i", "mapping": {"type": "fields", "fields": {"a": "b", "a": "c"}}, "sink": "ndjson", "retry": false},
  {"list_id": "good", "sink": "stdout", "mapping": {"type": "as_is", "x-note": 1}, "every": "90s", "unchanged": {"expire": "1d"}},
]"#;
    fs::write(folder.path().join("state.json"), state).unwrap();
    let mut check = importer(&["check", "--state"]);
    check.arg(folder.path()).env("MAILCHIMP_APIKEY", MAILCHIMP_KEY);
    let (code, told, _) = finish(check).await;
    assert_eq!(code, 2);
    let jq = match cfg!(feature = "jq") {
        true => "9:31: `mapping`: jq: set exactly one of `expression` and `file`",
        false => "9:31: `mapping`: this build has no `jq`; run IMPORTER_FEATURES=jq ./run.sh go",
    };
    for problem in [
        "2:28: `sink`: unknown type \"kafka\", expected one of ometria, ndjson, stdout",
        "3:30: `source`: when_i_work: `list_id` must be \"shifts\" for all shifts, or the number of a location (schedule)",
        "4:59: `source`: when_i_work: unknown setting `days`, expected one of `days_ahead`, `days_prior`, `time_zone`, `unpublished`, `open_shifts`, `account`, `min_interval`, `retry`",
        "5:55: `source`: `min_interval`: invalid duration \"soon\"; use a number and a unit, such as \"60s\" or \"5m\"",
        "`sink`: ometria accepts contacts only, and as_is makes none; choose another mapping or another sink",
        "7:57: `mapping`: ometria_contact needs members, which this source does not list; choose another mapping",
        "8:61: `mapping`: fields: `fields.a`: use either `from`",
        jq,
        "10:28: `sink` must be a type, or an object with a `type`; found 5",
        "`every` must be a duration of at least one second, such as \"30s\"",
        "unknown setting of `unchanged`; expected `store` or `expire`",
        "`unchanged` must be one of embedded, off, or an object with one as `store`",
        "11:3: `full_load` \"changed_only\" needs the delivery cache, which is off; set `unchanged` to \"embedded\"",
        "12:55: `source`: `min_interval`: invalid duration 60; use a number and a unit, such as \"60s\" or \"5m\"",
        "13:31: `mapping`: `consent`, `collection`, `default_country`,",
        "14:67: `sink`: ndjson: `path` state.json is reserved for importer; choose another, such as out/",
        "duplicate key `a`; remove one",
        "`retry` is ignored here; move it into the object of `source`: warning",
        "state.json: 1 entry can run; 17 problems, 1 warning.",
    ] {
        assert!(told.contains(problem), "{problem}\n\n{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_needed_by_the_entries_that_use_them_and_by_no_other() {
    let loopback = Loopback::start(Duration::ZERO, SHIFTS).await;
    loopback.sandbox.when_i_work().invent(50, 1, chrono::Utc::now());
    // No key of Mailchimp or Ometria.
    let mut command = with_login(&loopback, &["go", "--once"]);
    command.env_remove("MAILCHIMP_APIKEY").env_remove("OMETRIA_APIKEY");
    let (code, _, log) = finish(command).await;
    assert_eq!(code, 0, "{log}");
    let mut command = with_login(&loopback, &["go", "--once"]);
    command.env_remove("WHEN_I_WORK_PASSWORD");
    let (code, _, log) = finish(command).await;
    assert!(code == 77 && log.contains("`WHEN_I_WORK_PASSWORD` is not set; set it in .env"), "{log}");
    // A paused entry needs no key.
    fs::write(
        loopback.folder.path().join("state.json"),
        SHIFTS.replace("\"every\"", "\"enabled\": false, \"every\""),
    )
    .unwrap();
    let (code, _, log) = finish(loopback.command(&["go", "--once"])).await;
    assert!(code == 0 && log.contains("is paused"), "{log}");
    // While importer runs, a missing key is an error of one entry.
    let running = loopback.command(&["go"]);
    let mut running = Running::start(running);
    running.wait_for("is paused").await;
    fs::write(loopback.folder.path().join("state.json"), SHIFTS).unwrap();
    running.wait_for("state.json:1:34: `source`: `WHEN_I_WORK_KEY` is not set; set it in .env").await;
    running.signal("TERM");
    assert!(running.end().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn why_explains_one_record() {
    let loopback = Loopback::start(Duration::ZERO, SHIFTS).await;
    loopback.sandbox.when_i_work().invent(50, 1, chrono::Utc::now());
    let (code, _, log) = finish(with_login(&loopback, &["go", "--once"])).await;
    assert_eq!(code, 0, "{log}");
    let file = fs::read_to_string(loopback.folder.path().join("out/shifts.ndjson")).unwrap();
    let shift: serde_json::Value = serde_json::from_str(file.lines().next().unwrap()).unwrap();
    let key = shift["id"].to_string();
    let why = |arguments: &[&str]| {
        let mut command = importer(&["why"]);
        command.args(arguments).arg("--state").arg(loopback.folder.path());
        finish(command)
    };
    // Without a key, and also while importer runs.
    let mut running = Running::start(with_login(&loopback, &["go"]));
    running.wait_for("finished in").await;
    let (code, told, log) = why(&["shifts", &key]).await;
    assert_eq!(code, 0, "{log}");
    assert!(told.starts_with(&format!("list \"shifts\", record {key}\n")), "{told}");
    for line in
        ["  last seen        ", ": unchanged\n", "  last sent        20", "  next attempt     with the sync"]
    {
        assert!(told.contains(line), "{told}");
    }
    running.signal("TERM");
    assert!(running.end().await.success());
    let (code, told, _) = why(&["shifts", "1"]).await;
    assert!(
        code == 1 && told.contains("unknown          no run of this entry has recorded this key"),
        "{told}"
    );
    let (code, _, log) = why(&["other", "1"]).await;
    assert!(code == 2 && log.contains("no entry of the state file has the list \"other\""), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn why_finds_a_member_by_address_with_its_request_and_reason() {
    let state = r#"[{"list_id": "why1", "unchanged": "embedded"}]"#;
    let loopback = Loopback::start(Duration::ZERO, state).await.list("why1", 60);
    let (sent, pending, odd) = {
        let mut mailchimp = loopback.sandbox.mailchimp();
        let numbers: Vec<u64> = mailchimp
            .members("why1")
            .filter(|m| m.status == "subscribed")
            .map(|m| m.number)
            .take(3)
            .collect();
        let long_ago = chrono::Utc::now() - chrono::TimeDelta::days(1);
        mailchimp.edit("why1", numbers[1], long_ago, |member| member.status = "pending");
        mailchimp.edit("why1", numbers[2], long_ago, |member| member.status = "vip");
        let of = |number: u64| mailchimp.members("why1").find(|m| m.number == number).unwrap().email.clone();
        (of(numbers[0]), of(numbers[1]), of(numbers[2]))
    };
    let (code, _, log) = finish(loopback.command(&["go", "--once"])).await;
    assert_eq!(code, 0, "{log}");
    for (email, lines) in [
        (
            &sent,
            &[
                "last sent        20",
                "request ",
                "last outcome     delivered or skipped with the status subscribed; every change up to ",
            ][..],
        ),
        (&pending, &["skipped pending", "last sent        never"]),
        (
            &odd,
            &[
                "rejected unknown_status",
                "rejected         20",
                ", unknown_status",
                "or `importer replay \"why1\"`",
            ],
        ),
    ] {
        let mut command = loopback.command(&["why", "why1", &email.to_uppercase()]);
        ["MAILCHIMP_APIKEY", "OMETRIA_APIKEY"].into_iter().for_each(|key| {
            command.env_remove(key);
        });
        let (code, told, log) = finish(command).await;
        assert_eq!(code, 0, "{log}");
        assert!(lines.iter().all(|line| told.contains(line)), "{told}");
    }
    // Without a change, a second load with `changed_only` sends nothing.
    let reload = state.replace("\"unchanged\"", "\"full_load\": \"changed_only\", \"unchanged\"");
    fs::write(loopback.folder.path().join("state.json"), reload).unwrap();
    let (_, _, log) = finish(loopback.command(&["go", "--once"])).await;
    assert!(log.contains(": 0 sent, ") && log.contains(" unchanged, "), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_demo_shows_the_second_pipeline() {
    let (code, story, log) = output(importer(&["demo", "shifts"])).await;
    assert_eq!(code, 0, "{log}");
    for words in [
        "\"type\": \"when_i_work\"",
        "What was added to the file",
        "\"deleted\":true",
        "\"latest_timestamp\": \"",
        "\"person\":5001",
    ] {
        assert!(story.contains(words), "{story}");
    }
    assert!(log.contains(": 2 sent (1 deleted), ") && log.contains(" unchanged, "), "{log}");
}

#[cfg(not(feature = "sql"))]
#[tokio::test(flavor = "multi_thread")]
async fn a_demo_that_this_build_does_not_have_is_reported_with_the_command_that_shows_it() {
    let (code, story, log) = output(importer(&["demo", "warehouses"])).await;
    assert_eq!((code, story.as_str()), (2, ""));
    assert!(
        log.contains("this build has no `sql`; run IMPORTER_FEATURES=sql ./run.sh demo warehouses"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_can_be_tried_to_the_standard_output() {
    let state = r#"[{"list_id": "try1", "sink": "stdout", "items_per_request": 1000}]"#;
    let loopback = Loopback::start(Duration::ZERO, state).await.list("try1", 50);
    let mut command = loopback.command(&["go", "--once"]);
    command.env_remove("OMETRIA_APIKEY");
    let (code, told, log) = output(command).await;
    assert_eq!(code, 0, "{log}");
    let lines: Vec<serde_json::Value> =
        told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), loopback.expected("try1"));
    assert!(lines.iter().all(|line| line["@collection"] == "mailchimp_try1"));
}
