//! The state file in use: edited during a run, saved by editors, checked, described, reverted.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use importer::{app::wiring::VOCABULARY, controller::Verdict, state::lock};
use serde_json::Value;
use tokio::time::sleep;

use crate::support::{World, at, entries, minutes, read};

/// Starts a full load that takes some seconds, during which the file is edited.
async fn edited_during_a_run(before: &str, edit: impl Fn(&str) -> String) -> World {
    let world = World::new().list("during", 2500).list("other", 10).with_state(before);
    let edits = async {
        sleep(Duration::from_millis(1500)).await;
        assert_eq!(world.field("latest_timestamp"), Value::Null, "the run is going");
        world.save(&edit(&world.state()));
        sleep(minutes(5)).await;
        world.stop();
    };
    let (verdict, ()) = tokio::join!(world.go(), edits);
    assert_eq!(verdict.unwrap(), Verdict::Done);
    world.assert_delivered("during");
    world
}

const ONE: &str = r#"[{"list_id": "during"}]"#;

#[tokio::test(start_paused = true)]
async fn a_parameter_changed_during_a_run_is_kept_and_the_run_is_stamped() {
    let edit = |text: &str| text.replace("\"during\"", "\"during\", \"worker_count\": 2, \"x-mine\": [1]");
    let world = edited_during_a_run(ONE, edit).await;
    let stamped =
        r#"[{"list_id": "during", "worker_count": 2, "x-mine": [1], "latest_timestamp": "2026-11-21T12:00:"#;
    assert!(world.state().starts_with(stamped), "{}", world.state());
    assert_eq!(world.logged("firing full load"), 1);
}

#[tokio::test(start_paused = true)]
async fn entries_inserted_and_reordered_during_a_run_are_kept_and_the_right_one_is_stamped() {
    let edit = |text: &str| text.replace('[', r#"[{"list_id": "other"}, "#);
    let world = edited_during_a_run(ONE, edit).await;
    let entries = entries(&world.state());
    assert!(entries.iter().all(|entry| entry.latest_timestamp.is_some()), "{}", world.state());
}

#[tokio::test(start_paused = true)]
async fn an_entry_deleted_during_a_run_stays_deleted() {
    // So slow that the file is read again before the end of the load.
    let slow = r#"[{"list_id": "during", "items_per_request": 2, "worker_count": 1}]"#;
    let world = World::new().list("during", 2500).list("other", 10).with_state(slow);
    let edits = async {
        sleep(Duration::from_millis(1500)).await;
        world.save(r#"[{"list_id": "other"}]"#);
        sleep(minutes(5)).await;
        world.stop();
    };
    assert_eq!(tokio::join!(world.go(), edits).0.unwrap(), Verdict::Done);
    assert_eq!(world.logged("its entry was removed from the state file"), 1);
    assert!(world.contacts() < 2000, "the run has ended: {}", world.contacts());
    assert!(!world.state().contains("during"));
    world.assert_delivered("other");
}

#[tokio::test(start_paused = true)]
async fn of_two_entries_of_one_list_that_change_places_each_gets_its_own_stamp() {
    let two = r#"[{"list_id": "during", "x-n": 1}, {"list_id": "during", "x-n": 2, "start_offset": 2400}]"#;
    let swapped =
        r#"[{"list_id": "during", "x-n": 2, "start_offset": 2400}, {"list_id": "during", "x-n": 1}]"#;
    let world = edited_during_a_run(two, |_| swapped.into()).await;
    let value: Value = serde_json::from_str(&world.state()).unwrap();
    let totals: Vec<u64> = (0..2).map(|n| value[n]["total_updates"].as_u64().unwrap()).collect();
    assert!(totals[0] < 20 && totals[1] > 2000, "{}", world.state());
}

#[tokio::test(start_paused = true)]
async fn a_timestamp_moved_back_during_a_run_is_kept_and_synced_from() {
    let edit =
        |text: &str| text.replace("\"during\"", "\"during\", \"latest_timestamp\": \"2026-11-20T00:00:00\"");
    let world = edited_during_a_run(ONE, edit).await;
    assert_eq!(world.logged("latest_timestamp or start_offset was changed by hand during the run"), 1);
    assert_eq!(world.logged("list \"during\" last updated on \"2026-11-20 00:00:00\", over 2 hours ago"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_file_broken_while_a_run_ends_gets_its_result_once_corrected() {
    let world = World::new().list("late1", 450).with_state(r#"[{"list_id": "late1"}]"#);
    let edits = async {
        sleep(Duration::from_millis(500)).await;
        world.save("[{");
        sleep(minutes(3)).await;
        assert_eq!(world.state(), "[{");
        assert_eq!(world.logged("the result of the run is kept"), 1);
        world.save(r#"[{"list_id": "late1", "x-mended": true}]"#);
        sleep(Duration::from_secs(2)).await;
        world.stop();
    };
    tokio::join!(async { world.go().await.unwrap() }, edits);
    assert_eq!(world.field("latest_timestamp"), "2026-11-21T12:00:00");
    assert_eq!(world.logged("firing full load"), 1, "it was not run again");
}

#[tokio::test(start_paused = true)]
async fn a_corrected_file_is_used_within_a_second() {
    let world = World::new().list("mended1", 10).with_state("[{");
    let edits = async {
        sleep(Duration::from_secs(70)).await;
        world.save(r#"[{"list_id": "mended1"}]"#);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(world.logged("the state file can be read again"), 1);
        assert_eq!(world.logged("list \"mended1\" has no latest timestamp, firing full load."), 1);
        world.stop();
    };
    tokio::join!(async { world.go().await.unwrap() }, edits);
}

#[tokio::test(start_paused = true)]
async fn a_broken_file_is_reported_once_whatever_else_happens() {
    let world = World::new().list("noise1", 10).with_state(r#"[{"list_id": "noise1"}]"#);
    let edits = async {
        sleep(Duration::from_secs(5)).await;
        for _ in 0..10 {
            world.save("[{");
            sleep(Duration::from_secs(2)).await;
        }
        assert_eq!(world.logged("expected a `}` that closes this object"), 1);
        world.stop();
    };
    tokio::join!(async { world.go().await.unwrap() }, edits);
}

#[tokio::test(start_paused = true)]
async fn warnings_of_an_edit_during_a_run_are_logged_when_the_run_has_ended() {
    let edit = |text: &str| text.replace("\"during\"", "\"during\", \"worker_cout\": 2");
    let world = edited_during_a_run(ONE, edit).await;
    assert_eq!(world.logged("did you mean `worker_count`?"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_paused_list_does_not_run_until_it_is_enabled() {
    let world = World::new().list("pause1", 10).with_state(r#"[{"list_id": "pause1", "enabled": false}]"#);
    let edits = async {
        sleep(minutes(3)).await;
        assert_eq!((world.contacts(), world.logged("list \"pause1\" is paused")), (0, 3));
        world.save(r#"[{"list_id": "pause1", "enabled": true}]"#);
        sleep(Duration::from_secs(2)).await;
        world.assert_delivered("pause1");
        world.stop();
    };
    tokio::join!(async { world.go().await.unwrap() }, edits);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_field_is_warned_of_once_with_the_nearest_name_and_kept() {
    let text = r#"[{"list_id": "typo1", "worker_cout": 2, "owner": "me", "x-note": 1, "_note": 2}]"#;
    let world = World::new().list("typo1", 10).with_state(text);
    world.go_for(minutes(5)).await.unwrap();
    assert_eq!(
        world.logged("state.json:1:23: unknown field `worker_cout` is ignored; did you mean `worker_count`?"),
        1
    );
    assert_eq!(world.logged("unknown field `owner` is ignored; for a note"), 1);
    assert_eq!(world.logged("unknown field"), 2);
    assert!(world.state().starts_with(text.trim_end_matches("}]")));
}

/// Returns commands that save a file as editors do: the editor itself, or the steps that its documentation
/// describes.
fn saves() -> Vec<(&'static str, &'static str)> {
    vec![
        ("redirect", "cat new >state.json"),
        ("cp", "cp new state.json"),
        ("mv", "mv new state.json"),
        ("sed -i", "sed -i 's/\"x-n\": 0/\"x-n\": 1/' state.json"),
        (
            "symlink swap",
            "mkdir -p v2 && mv new v2/state.json && ln -s v2/state.json link && mv -T link state.json",
        ),
        ("VS Code: truncate and write in place", "truncate -s 0 state.json && cat new >>state.json"),
        ("vim: move away, write anew", "mv state.json state.json~ && cat new >state.json && rm state.json~"),
        ("vim itself", "vim -u NONE -es -c '%s/\"x-n\": 0/\"x-n\": 1/' -c wq state.json"),
        ("nano itself", "TERM=xterm timeout 30 script -qec 'nano -t state.json' /dev/null <keys"),
    ]
}

fn has(program: &str) -> bool {
    let found =
        Command::new("sh").args(["-c", &format!("command -v {program}")]).stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

#[tokio::test(start_paused = true)]
async fn the_saves_of_all_usual_editors_are_seen_and_kept() {
    for (name, script) in saves() {
        let program = name.strip_suffix(" itself").unwrap_or("sh");
        if !has(program) {
            assert!(std::env::var_os("CI").is_none(), "{program} is missing; .ci/run installs it");
            println!("skipped: {program} is not installed");
            continue;
        }
        let world = World::new().list("saves", 10).with_state("[{\"list_id\": \"saves\", \"x-n\": 0}]\n");
        world.once().await.unwrap();
        let stamped = world.state();
        fs::write(world.folder.path().join("new"), stamped.replace("\"x-n\": 0", "\"x-n\": 1")).unwrap();
        // In nano: type and exit; -t saves without a question.
        fs::write(world.folder.path().join("keys"), "/* nano */\u{18}").unwrap();
        let saved = Command::new("sh")
            .args(["-c", script])
            .current_dir(world.folder.path())
            .stdout(Stdio::null())
            .status();
        assert!(saved.unwrap().success(), "{name}");
        let expected = match program {
            "nano" => format!("/* nano */{stamped}"),
            _ => stamped.replace("\"x-n\": 0", "\"x-n\": 1"),
        };
        assert_eq!(world.state(), expected, "{name}");
        sleep(minutes(180)).await;
        world.once().await.unwrap();
        let text = world.state();
        let edit = if program == "nano" { "/* nano */" } else { "\"x-n\": 1" };
        assert!(text.contains(edit) && !text.contains("T11:59:59"), "{name}: {text}");
        for left in ["new", "keys", "v2", "state.json~"] {
            let path = world.folder.path().join(left);
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        }
    }
}

fn importer(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_importer"));
    let output = command.args(arguments).arg("--state").arg(folder).env_clear().output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(folder.to_str().unwrap(), "state");
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn check_reports_all_problems_at_once_and_by_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let check = |text: &str, arguments: &[&str]| {
        fs::write(folder.path().join("state.json"), text).unwrap();
        importer(folder.path(), arguments)
    };
    let stdio =
        r#"{"list_id": "a", "source": {"type": "rest", "url": "https://h", "key": "id"}, "sink": "stdout"}"#;
    let (code, told, _) = check(&format!("[{stdio}]"), &["check"]);
    assert_eq!((code, told.as_str()), (0, "state/state.json: 1 entry can run; no problem, no warning.\n"));
    // The process has no variable: the entry is valid, and can't run.
    let (code, told, _) =
        check(&format!("[{stdio}, {{\"list_id\": \"b\"}}, {{\"list_id\": \"c\"}}]"), &["check"]);
    assert_eq!(code, 0, "{told}");
    assert!(
        told.contains(": `source`: `MAILCHIMP_APIKEY` is not set; set it in .env or the environment"),
        "{told}"
    );
    assert!(told.ends_with("state/state.json: 1 entry can run; no problem, 1 warning.\n"), "{told}");
    let (code, told, _) = check(r#"[{"list_id": "a", "enabled": false}]"#, &["check"]);
    assert!(code == 0 && told.ends_with(": 1 entry can run; no problem, no warning.\n"), "{told}");
    let bad = "[\n  {\"list_id\": \"a\", \"worker_count\": 0, \"start_ofset\": 1},\n  {\"list_id\": \"b\", \"latest_timestamp\": \"2999-01-01\"}\n]\n";
    let (code, told, _) = check(bad, &["check"]);
    assert_eq!(code, 2);
    for expected in [
        "state/state.json:2:36: `worker_count` must be a whole number from 1 to 10; found 0: problem\n 2 |   {\"list_id\"",
        "state/state.json:3:3: `latest_timestamp` 2999-01-01T00:00:00 is more than an hour in the future, so the entry does not run: problem",
        "state/state.json:2:39: unknown field `start_ofset` is ignored; did you mean `start_offset`?: warning",
        "no entry can run; 2 problems, 2 warnings.",
    ] {
        assert!(told.contains(expected), "{told}");
    }
    let (code, told, _) = check(bad, &["check", "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (code, &told["problems"][0]["line"], &told["problems"][0]["column"]),
        (2, &Value::from(2), &Value::from(36))
    );
    let (code, told, _) = check("[{]", &["check"]);
    assert!(code == 2 && told.starts_with("state/state.json:1:3: "), "{told}");
    fs::remove_file(folder.path().join("state.json")).unwrap();
    let (code, _, told) = importer(folder.path(), &["check"]);
    assert!(code == 2 && told.contains("there is no state file"), "{told}");
}

#[test]
fn the_json_schema_accepts_what_importer_accepts_and_refuses_what_it_refuses() {
    let output = Command::new(env!("CARGO_BIN_EXE_importer")).arg("schema").output().unwrap();
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let validator = jsonschema::validator_for(&printed).unwrap();
    for (field, values) in [
        ("list_id", &["\"a\"", "\"\"", "\" \"", "5", "null"][..]),
        ("enabled", &["true", "false", "null", "\"yes\"", "1"]),
        ("start_offset", &["0", "7", "-1", "1.5", "\"7\"", "null"]),
        ("items_per_request", &["1", "1000", "0", "true"]),
        ("worker_count", &["1", "10", "0", "[]"]),
        (
            "latest_timestamp",
            &[
                "null",
                "\"2019-10-21T09:50:54\"",
                "\"2019-10-21 09:50:54.5+02:00\"",
                "\"2019-10-21\"",
                "\"\"",
                "\"soon\"",
                "5",
            ],
        ),
        ("allow_mass_change", &["true", "false", "1"]),
        ("consent", &["\"full\"", "\"none\"", "\"all\"", "null"]),
        ("collection", &["\"news\"", "\"\"", "\"a b\"", "null"]),
        ("default_country", &["\"GB\"", "\"gb\"", "\"UK\"", "\"XX\"", "44"]),
        ("marketing_permission", &["\"0a1b\"", "\"\"", "true"]),
        (
            "fields",
            &[
                "{}",
                r#"{"firstname": "VORNAME", "phone_number": null}"#,
                r#"{"first_name": "VORNAME"}"#,
                r#"{"firstname": 1}"#,
                r#"{"firstname": "merge_fields.FNAME"}"#,
                r#"{"firstname": ""}"#,
                "[]",
                "null",
            ],
        ),
        (
            "properties",
            &[
                "{}",
                r#"{"a": "language", "b": "merge_fields.X", "c": "merge_fields.HOME.city", "d": "interests.1f"}"#,
                r#"{"a": {"from": "merge_fields.X", "type": "number"}, "b": {"from": "vip"}}"#,
                r#"{"a": "email_address"}"#,
                r#"{"a": "merge_fields."}"#,
                r#"{"a": "merge_fields.HOME.street"}"#,
                r#"{"a b": "vip"}"#,
                r#"{"a": {"type": "number"}}"#,
                r#"{"a": {"from": "vip", "type": "any"}}"#,
                r#"{"a": {"from": "vip", "kind": "flag"}}"#,
                r#"{"a": null}"#,
                r#"{"a": {"from": "tags", "type": "text"}, "b": {"from": "vip", "type": "text"}}"#,
                r#"{"a": {"from": "tags", "type": "number"}}"#,
                r#"{"a": {"from": "interests.1f", "type": "date"}}"#,
                r#"{"a": {"from": "language", "type": "flag"}}"#,
                r#""vip""#,
            ],
        ),
        ("x-note", &["{}"]),
    ] {
        for value in values {
            let list_id = if field == "list_id" { "" } else { "\"list_id\": \"a\", " };
            let text = format!("[{{{list_id}\"{field}\": {value}}}]");
            let accepted = read(&text).problems.is_empty();
            assert_eq!(validator.is_valid(&serde_json::from_str(&text).unwrap()), accepted, "{text}");
        }
    }
    assert!(!validator.is_valid(&serde_json::json!([{}])));
    for field in VOCABULARY.fields() {
        assert!(printed["items"]["properties"][field]["description"].as_str().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn the_log_shows_who_changed_what_and_a_revert_undoes_a_mistake() {
    let world = World::new().list("undo1", 10).with_state("[\n  {\"list_id\": \"undo1\"} // mine\n]\n");
    let edits = async {
        sleep(minutes(2)).await;
        let stamped = world.state();
        world.save("[]");
        sleep(minutes(2)).await;
        world.stop();
        stamped
    };
    let (_, stamped) = tokio::join!(world.go(), edits);
    let (code, told, _) = importer(world.folder.path(), &["state", "log"]);
    assert_eq!(code, 0);
    let lines: Vec<&str> = told.lines().collect();
    assert!(
        lines[1].starts_with("   1  2026-11-21 12:00:0")
            && lines[1].ends_with("hand      oldest version kept"),
        "{told}"
    );
    assert!(lines[2].contains("  importer  undo1: elapsed_seconds (absent) → "), "{told}");
    assert!(told.contains("undo1: latest_timestamp (absent) → \"2026-11-21T12:00:00\""), "{told}");
    assert!(told.contains("  hand      undo1: removed"), "{told}");
    let (code, told, _) = importer(world.folder.path(), &["state", "revert", "2"]);
    assert!(code == 0 && told.contains("is version 2 again"), "{told}");
    assert_eq!(world.state(), stamped);
    let (_, told, _) = importer(world.folder.path(), &["state", "log"]);
    assert!(told.contains("   4  ") && told.contains("undo1: added"), "{told}");
    fs::remove_file(world.folder.path().join("state.json")).unwrap();
    let (code, told, _) = importer(world.folder.path(), &["state", "revert", "2"]);
    assert!(code == 0, "{told}");
    assert_eq!(world.state(), stamped);
    let (code, _, told) = importer(world.folder.path(), &["state", "revert", "9"]);
    assert!(code == 2 && told.contains("there is no version 9; `importer state log` shows 1 to 4"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn twenty_versions_are_kept() {
    let world = World::new().list("ring1", 10).with_state(r#"[{"list_id": "ring1", "enabled": false}]"#);
    let edits = async {
        for n in 0..30 {
            world.save(&format!(r#"[{{"list_id": "ring1", "enabled": false, "x-n": {n}}}]"#));
            sleep(minutes(2)).await;
        }
        world.stop();
    };
    let (_, ()) = tokio::join!(world.go(), edits);
    let (_, told, _) = importer(world.folder.path(), &["state", "log"]);
    assert_eq!(told.lines().count(), 21);
    assert!(told.contains("x-n 28 → 29"), "{told}");
}

#[test]
fn one_process_works_on_a_folder_and_a_second_one_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let held = lock::take(folder.path(), at("2026-11-21T12:00:00")).unwrap();
    let told = lock::take(folder.path(), at("2026-11-21T12:00:00")).unwrap_err().to_string();
    let expected = format!("another importer (pid {} on ", std::process::id());
    assert!(
        told.starts_with(&expected) && told.contains(", since 2026-11-21 12:00:00 UTC) is using the folder"),
        "{told}"
    );
    drop(held);
    lock::take(folder.path(), at("2026-11-21T12:00:00")).unwrap();
}
