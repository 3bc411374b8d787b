//! The real binary over loopback, in real time. Waits have a limit so that a failing test ends; no result
//! depends on it.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::Stdio,
    time::Duration,
};

use importer::sandbox::{MAILCHIMP_KEY, OMETRIA_KEY};
use tokio::process::Command;

use crate::loopback::{Loopback, Running, finish, importer};

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_25_000_members_is_delivered_once_and_the_file_differs_in_three_fields() {
    let text = "[\n  // big\n  {\"list_id\": \"big\", \"items_per_request\": 1000}\n]\n";
    let loopback = Loopback::start(Duration::ZERO, text).await.list("big", 25_000);
    let (code, _, log) = finish(loopback.command(&["go", "--once"])).await;
    assert_eq!(code, 0, "{log}");
    let expected = loopback.expected("big");
    assert_eq!(loopback.sandbox.ometria().contacts().len(), expected);
    let pushed: usize = loopback.sandbox.seen().pushes.iter().sum();
    assert_eq!(pushed, expected, "every one once");
    assert!(loopback.sandbox.ometria().errors().is_empty());
    let state = loopback.state();
    let (before, after) = state.split_once(", \"latest_timestamp\": \"").unwrap();
    assert_eq!(before, "[\n  // big\n  {\"list_id\": \"big\", \"items_per_request\": 1000");
    let (owned, end) = after.split_once('}').unwrap();
    assert!(owned.ends_with(&format!(", \"total_updates\": {expected}")), "{owned}");
    assert_eq!(end, "\n]\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_log_line_has_the_known_shape_and_no_key_or_address_at_any_level() {
    let loopback = Loopback::start(Duration::ZERO, r#"[{"list_id": "shape"}, {"list_id": "gone"}]"#).await;
    let loopback = loopback.list("shape", 300);
    let mut command = loopback.command(&["go", "--once"]);
    command.env("RUST_LOG", "trace");
    let (code, _, log) = finish(command).await;
    assert_eq!(code, 1, "{log}");
    for secret in [MAILCHIMP_KEY, OMETRIA_KEY, "@example.com", "Lovelace"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
    let basic = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        format!("importer:{MAILCHIMP_KEY}"),
    );
    assert!(!log.contains(&basic), "the encoded key is in the log");
    let ours: Vec<&str> = log.lines().filter(|line| line.contains("|controller|")).collect();
    for known in ["starting", "checking all lists", "firing full load", "list \"shape\" updated"] {
        assert!(ours.iter().any(|line| line.contains(known)), "{known}: {ours:?}");
    }
    for line in ours {
        let (time, rest) = line.split_at(19);
        assert!(chrono::NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S").is_ok(), "{line}");
        let parts: Vec<&str> = rest.splitn(4, '|').collect();
        assert!([" INFO ", " ERROR "].contains(&parts[0]), "{line}");
        assert!(parts[2].parse::<u32>().is_ok() && parts[3].starts_with(' '), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_and_ctrl_c_end_a_running_import_with_success_and_a_whole_file() {
    for signal in ["TERM", "INT", "HUP"] {
        let text = r#"[{"list_id": "slow", "worker_count": 1}]"#;
        let loopback = Loopback::start(Duration::from_millis(50), text).await.list("slow", 20_000);
        let mut command = loopback.command(&["go"]);
        command.env("RUST_LOG", "debug");
        let mut running = Running::start(command);
        running.wait_for("records from 19").await;
        running.signal(signal);
        running.wait_for("list \"slow\" stopped: ").await;
        assert_eq!(running.end().await.code(), Some(0), "{signal}");
        assert_eq!(loopback.state(), text);
        let pushed: usize = loopback.sandbox.seen().pushes.iter().sum();
        assert!(pushed > 0 && pushed < loopback.expected("slow"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_ctrl_c_stops_at_once() {
    let loopback = Loopback::start(Duration::ZERO, r#"[{"list_id": "stuck"}]"#).await.list("stuck", 10);
    for _ in 0..20 {
        let down = importer::sandbox::Trouble::Status(503, Some("60"));
        loopback.sandbox.trouble(importer::sandbox::Service::Ometria, down);
    }
    let mut running = Running::start(loopback.command(&["go"]));
    running.wait_for("attempt 2 of 6 in").await;
    running.signal("INT");
    running.wait_for("stopping: ").await;
    // The same signal at the same moment does not count as a second signal.
    running.signal("INT");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    running.signal("INT");
    assert_eq!(running.end().await.code(), Some(130));
    assert_eq!(loopback.state(), r#"[{"list_id": "stuck"}]"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_seen_whether_saved_in_place_or_by_rename() {
    let loopback = Loopback::start(Duration::ZERO, r#"[{"list_id": "first"}]"#).await;
    let loopback = loopback.list("first", 10).list("second", 10).list("third", 10);
    let mut running = Running::start(loopback.command(&["go"]));
    running.wait_for("list \"first\" updated").await;
    let add = |list_id: &str| loopback.state().replace(']', &format!(r#", {{"list_id": "{list_id}"}}]"#));
    fs::write(loopback.folder.path().join("state.json"), add("second")).unwrap();
    running.wait_for("list \"second\" updated").await;
    fs::write(loopback.folder.path().join("new"), add("third")).unwrap();
    fs::rename(loopback.folder.path().join("new"), loopback.folder.path().join("state.json")).unwrap();
    running.wait_for("list \"third\" updated").await;
    fs::write(loopback.folder.path().join("controller.quit"), "").unwrap();
    assert_eq!(running.end().await.code(), Some(0));
    assert!(!loopback.folder.path().join("controller.quit").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_are_as_the_help_says() {
    let loopback = Loopback::start(Duration::ZERO, r#"[{"list_id": "gone"}]"#).await;
    let with = |name: &str, value: &str| {
        let mut command = loopback.command(&["go", "--once"]);
        command.env(name, value);
        command
    };
    let empty = tempfile::tempdir().unwrap();
    let mut no_file = importer(&["go", "--once", "--state"]);
    no_file.arg(empty.path()).envs([("MAILCHIMP_APIKEY", MAILCHIMP_KEY), ("OMETRIA_APIKEY", OMETRIA_KEY)]);
    for (command, code, told) in [
        (loopback.command(&["go", "--once"]), 1, "list \"gone\" failed"),
        (
            with("MAILCHIMP_APIKEY", ""),
            77,
            "`MAILCHIMP_APIKEY` is not set; set it in .env or the environment, or try importer without keys: ./run.sh demo",
        ),
        (with("OMETRIA_APIKEY", ""), 77, "`OMETRIA_APIKEY` is not set"),
        (with("OMETRIA_RATE", "fast"), 2, "`OMETRIA_RATE` must be"),
        (no_file, 2, "there is no state file"),
        (importer(&["go", "--onec"]), 2, "--once"),
    ] {
        let (ended, _, log) = finish(command).await;
        assert_eq!(ended, code, "{log}");
        assert!(log.contains(told), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_a_whole_import_without_any_setting() {
    let (code, story, log) = finish(importer(&["demo"])).await;
    assert_eq!(code, 0, "{log}");
    for words in [
        "a full load is due",
        "Three hours later",
        "an incremental sync",
        "opted out",
        "\"latest_timestamp\": \"",
    ] {
        assert!(story.contains(words), "{story}");
    }
    assert!(!Path::new("state/state.json").exists() || !story.contains("state/state.json:"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_the_demo_has_the_time_of_its_story_and_stands_where_the_story_does() {
    let both = tempfile::NamedTempFile::new().unwrap();
    let mut command = importer(&["demo"]);
    command.env("RUST_LOG", "info");
    // Both append to one file, as on a terminal.
    let out = || std::fs::OpenOptions::new().append(true).open(both.path()).unwrap();
    assert!(command.stdout(out()).stderr(out()).status().await.unwrap().success());
    let text = fs::read_to_string(both.path()).unwrap();
    let at = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words}: {text}"));
    let last = |words: &str| text.rfind(words).unwrap();
    assert!(at("updated, latest timestamp") < at("Ometria now has"), "{text}");
    assert!(last("updated, latest timestamp") < last("Ometria now has"), "{text}");
    let time = |line: &str| chrono::NaiveDateTime::parse_from_str(&line[..19], "%Y-%m-%d %H:%M:%S").unwrap();
    let starts: Vec<_> =
        text.lines().filter(|line| line.contains(" starting, state file ")).map(time).collect();
    assert!(starts[1] - starts[0] >= chrono::TimeDelta::hours(3), "{starts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_help_names_every_setting_and_exit_code() {
    for arguments in [&["--help"][..], &["go", "--help"]] {
        let (code, help, _) = finish(importer(arguments)).await;
        assert_eq!(code, 0);
        for name in [
            "MAILCHIMP_APIKEY",
            "OMETRIA_APIKEY",
            "MAILCHIMP_URL",
            "OMETRIA_URL",
            "MAILCHIMP_CONNECTIONS",
            "OMETRIA_RATE",
            "RUST_LOG",
            "controller.quit",
        ] {
            assert!(help.contains(name), "{help}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_importer_of_the_folder_exits_75_and_a_killed_one_leaves_it_free() {
    let loopback = Loopback::start(Duration::ZERO, r#"[{"list_id": "first"}]"#).await.list("first", 10);
    let mut running = Running::start(loopback.command(&["go"]));
    running.wait_for("list \"first\" updated").await;
    let pid = running.child.id().unwrap();
    let (code, _, log) = finish(loopback.command(&["go", "--once"])).await;
    assert_eq!(code, 75, "{log}");
    assert!(log.contains(&format!("another importer (pid {pid} on ")), "{log}");
    running.signal("KILL");
    running.end().await;
    let (code, _, log) = finish(loopback.command(&["go", "--once"])).await;
    assert_eq!(code, 0, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_folder_is_reported_before_anything_is_imported() {
    let place = tempfile::tempdir().unwrap();
    let program = place.path().join("importer");
    fs::copy(env!("CARGO_BIN_EXE_importer"), &program).unwrap();
    let state = place.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::write(state.join("state.json"), "[]").unwrap();
    for (path, mode) in [(&state, 0o555), (&place.path().to_owned(), 0o755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut command = Command::new(program);
    command.args(["go", "--once", "--state"]).arg(&state).env_clear();
    command.envs([("MAILCHIMP_APIKEY", MAILCHIMP_KEY), ("OMETRIA_APIKEY", OMETRIA_KEY)]);
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        // Root may write anywhere.
        command.uid(65534).gid(65534);
    }
    let (code, _, log) = finish(command).await;
    assert_eq!(code, 2, "{log}");
    assert!(log.contains("could not write to the state folder"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn under_nohup_the_end_of_the_terminal_does_not_stop_it() {
    let loopback = Loopback::start(Duration::ZERO, r#"[{"list_id": "first"}]"#).await.list("first", 10);
    let go = loopback.command(&["go"]);
    let mut command = Command::new("nohup");
    command
        .arg(go.as_std().get_program())
        .args(go.as_std().get_args())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.envs(go.as_std().get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut running = Running::start(command);
    running.wait_for("list \"first\" updated").await;
    running.signal("HUP");
    running.signal("TERM");
    assert!(running.wait_for(": stopping.").await.contains("SIGTERM"));
    assert_eq!(running.end().await.code(), Some(0));
}
