//! References in the settings of adapters: what they may read, what they stand for, and that no output contains it.

use std::{fs, path::Path, sync::Arc};

use importer::{
    app::{
        exit_code,
        wiring::{Adapters, Closed, Keys},
    },
    base::events::Events,
    controller::{Verdict, run_fingerprint},
    engine::plan::Pipeline,
    net::Environment,
    sandbox::receiver,
};

use crate::{
    contract::{Always, prepared},
    support::{NOON, TokioClock, World, entries},
};

/// Opens an entry with these variables, as `go` does.
pub fn open(entry: &str, variables: &[(&str, &str)], keys: Keys) -> Result<Pipeline, Closed> {
    let variables: Vec<(String, String)> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let names: Vec<String> = variables.iter().map(|(name, _)| name.clone()).collect();
    let get = move |name: &str| {
        let set = variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let key = name.ends_with("_APIKEY").then(|| "s3cr3t-us1".to_owned());
        set.or(key)
    };
    let (web, clock) = (Arc::new(Always(401, ECHO)), Arc::new(TokioClock::at(NOON)));
    let environment = Environment::new(get).with_names(names.into_iter());
    let adapters = Adapters::new(&environment, keys, web, clock, Path::new("."), Events::default());
    adapters.open(&entries(&format!("[{entry}]"))[0], false)
}

/// An answer that repeats the credentials.
const ECHO: &str =
    r#"{"title": "unauthorized", "status": 401, "detail": "wrong token s3cr3t-of-acme or s3cr3t-header"}"#;

fn sink(settings: &str) -> String {
    format!(r#"{{"list_id": "a", "mapping": "as_is", "sink": {{"type": "http", {settings}}}}}"#)
}

/// A folder of secrets, its path, and the variables that every test here sets.
fn secrets() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("acme", "s3cr3t-of-acme\n"),
        ("header", "s3cr3t-header"),
        ("hook", "https://receiver.example.org/hooks/s3cr3t-path"),
        ("days", "3"),
        ("renamed", "s3cr3t-us1"),
        ("mailchimp_apikey", "s3cr3t-us1"),
        ("http-sink-token", "s3cr3t-of-acme"),
        ("http_sink_token_us", "s3cr3t-of-us"),
        ("both", "s3cr3t-of-both"),
    ] {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let path = folder.path().display().to_string();
    (folder, path)
}

const URL: &str = r#""url": "https://receiver.example.org/hooks""#;

#[test]
fn what_a_reference_may_read_is_decided_by_the_declarations() {
    let (folder, path) = secrets();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (renamed, of_us, both) = (file("renamed"), file("http_sink_token_us"), file("both"));
    let variables = [
        ("IMPORTER_SECRETS", &path[..]),
        ("IMPORTER_VAR_HOST", "https://receiver.example.org/hooks"),
        ("HTTP_SINK_HOSTS", "receiver.example.org"),
        ("HTTP_SINK_HOSTS_EU", "receiver.example.org"),
        ("HTTP_SINK_TOKEN", "s3cr3t"),
        ("HTTP_SINK_TOKEN_EU", "s3cr3t"),
        ("OMETRIA_URL", "https://receiver.example.org/hooks"),
        ("OMETRIA_APIKEY_FILE", &renamed),
        ("HTTP_SINK_TOKEN_US_FILE", &of_us),
        ("HTTP_SINK_HOSTS_US", "receiver.example.org"),
        ("HTTP_SINK_TOKEN_EU_FILE", ""),
        ("HTTP_SINK_PASSWORD_FILE", &both),
        ("OMETRIA_APIKEY_EU_FILE", &both),
        ("OMETRIA_APIKEY", ""),
        ("HOME", "/root"),
    ];
    let permitted = "";
    let foreign =
        |name: &str, owner: &str| format!("must not read `{name}`, which is a credential of {owner}");
    for (settings, why) in [
        (r#""url": {"env": "IMPORTER_VAR_HOST"}"#.to_owned(), permitted.to_owned()),
        (r#""url": {"env": "OMETRIA_URL"}"#.to_owned(), permitted.into()),
        (format!(r#"{URL}, "auth": "bearer", "token": {{"env": "HTTP_SINK_TOKEN"}}"#), permitted.into()),
        (
            format!(r#"{URL}, "account": "eu", "auth": "bearer", "token": {{"env": "HTTP_SINK_TOKEN_EU"}}"#),
            permitted.into(),
        ),
        (format!(r#"{URL}, "auth": "bearer", "token": {{"file": "acme"}}"#), permitted.into()),
        (format!(r#"{URL}, "auth": "bearer", "token": {{"file": "http-sink-token"}}"#), permitted.into()),
        (format!(r#"{URL}, "headers": {{"X-A": {{"file": "header"}}}}"#), permitted.into()),
        (r#""url": {"file": "hook"}"#.to_owned(), permitted.into()),
        // The environment of the process is not the state file's.
        (
            r#""url": {"env": "HOME"}"#.to_owned(),
            "http: `url` must not read `HOME`; a reference reads variables that begin with IMPORTER_VAR_".into(),
        ),
        (r#""url": {"env": "IMPORTER_VAR_"}"#.to_owned(), "`url` must not read `IMPORTER_VAR_`".into()),
        (r#""url": {"env": "IMPORTER_VAR_a"}"#.to_owned(), "`url` must not read `IMPORTER_VAR_a`".into()),
        (r#""url": {"env": "IMPORTER_SECRETS"}"#.to_owned(), "`url` must not read `IMPORTER_SECRETS`".into()),
        (
            r#""url": {"env": "OMETRIA_APIKEY_FILE"}"#.to_owned(),
            "`url` refers to `OMETRIA_APIKEY_FILE`; leave out `_FILE`, which importer adds by itself".into(),
        ),
        // A credential goes only to the service that it is for, in a setting that is for it.
        (r#""url": {"env": "OMETRIA_APIKEY"}"#.to_owned(), foreign("OMETRIA_APIKEY", "ometria")),
        (
            format!(r#"{URL}, "headers": {{"X-A": {{"env": "MAILCHIMP_APIKEY_EU"}}}}"#),
            foreign("MAILCHIMP_APIKEY_EU", "mailchimp"),
        ),
        (
            format!(r#"{URL}, "auth": "bearer", "token": {{"env": "MAILCHIMP_APIKEY"}}"#),
            foreign("MAILCHIMP_APIKEY", "mailchimp"),
        ),
        (
            format!(r#"{URL}, "headers": {{"X-A": {{"env": "HTTP_SINK_TOKEN"}}}}"#),
            "`headers.X-A` must not read `HTTP_SINK_TOKEN`, since the setting is not for credentials".into(),
        ),
        (
            format!(r#"{URL}, "auth": "bearer", "token": {{"file": "mailchimp_apikey"}}"#),
            foreign("mailchimp_apikey", "mailchimp"),
        ),
        (format!(r#"{URL}, "auth": "bearer", "token": {{"file": "renamed"}}"#), foreign("renamed", "ometria")),
        // The hosts of an account get its credentials only.
        (
            format!(r#"{URL}, "auth": "bearer", "token": {{"env": "HTTP_SINK_TOKEN_EU"}}"#),
            "must not read `HTTP_SINK_TOKEN_EU`, which belongs to an account, but this sink has no `account`".into(),
        ),
        (
            format!(r#"{URL}, "account": "eu", "auth": "bearer", "token": {{"env": "HTTP_SINK_TOKEN"}}"#),
            "must not read `HTTP_SINK_TOKEN`, which does not belong to the account eu; refer to a variable or file of this account".into(),
        ),
        (
            format!(r#"{URL}, "account": "eu", "auth": "bearer", "token": {{"file": "http-sink-token"}}"#),
            permitted.into(),
        ),
        (
            format!(r#"{URL}, "account": "us", "auth": "bearer", "token": {{"file": "http_sink_token_us"}}"#),
            permitted.into(),
        ),
        (format!(r#"{URL}, "auth": "bearer", "token": {{"file": "both"}}"#), foreign("both", "ometria")),
        (
            format!(r#"{URL}, "auth": "bearer", "token": {{"file": "http_sink_token_us"}}"#),
            "must not read `http_sink_token_us`, which belongs to an account, but this sink has no `account`".into(),
        ),
        (
            format!(r#"{URL}, "headers": {{"X-A": {{"file": "http_sink_token_us"}}}}"#),
            "must not read `http_sink_token_us`, which belongs to an account, but this sink has no `account`".into(),
        ),
        (
            format!(r#"{URL}, "headers": {{"X-A": {{"file": "http-sink-token"}}}}"#),
            "`headers.X-A` must not read `http-sink-token`, since the setting is not for credentials".into(),
        ),
        // A file below the folder of secrets, and no other.
        (r#""url": {"file": "../a"}"#.to_owned(), "`url` must name a file below the folder in".into()),
        (r#""url": {"file": "/etc/passwd"}"#.to_owned(), "`url` must name a file below the folder in".into()),
        (
            format!(r#"{URL}, "count": {{"file": "header"}}"#),
            "`count` must not read a file, since messages and payloads may contain its text".into(),
        ),
        // Credentials are never literals.
        (
            format!(r#"{URL}, "auth": "bearer", "token": "s3cr3t""#),
            "http: `token` must not be in the state file; write \"token\": {\"env\": \"HTTP_SINK_TOKEN\"} and set that variable".into(),
        ),
        (
            format!(r#"{URL}, "account": "eu", "auth": "bearer", "token": "s3cr3t""#),
            "write \"token\": {\"env\": \"HTTP_SINK_TOKEN_EU\"}".into(),
        ),
        (
            format!(r#"{URL}, "auth": "basic", "token": {{"env": "HTTP_SINK_TOKEN"}}"#),
            "http: `token` has no effect with this `auth`; remove it, or correct `auth`".into(),
        ),
    ] {
        let told = open(&sink(&settings), &variables, Keys::Both).err().map_or(String::new(), |closed| {
            assert!(closed.refused.is_none(), "{}", closed.unfit.text);
            closed.unfit.text
        });
        assert!(told.is_empty() == why.is_empty() && told.contains(&why), "{settings}: {told}");
        assert!(!told.contains("s3cr3t"), "{told}");
    }
}

/// A payload goes to whatever sink the entry names, so no secret may get into one.
#[test]
fn a_mapping_reads_variables_but_no_file() {
    let (_folder, path) = secrets();
    let variables = [("IMPORTER_SECRETS", &path[..]), ("IMPORTER_VAR_TENANT", "acme")];
    let entry = |value: &str| {
        format!(
            r#"{{"list_id": "a", "mapping": {{"type": "fields", "fields": {{"tenant": {value}}}}}, "sink": "stdout"}}"#
        )
    };
    let told =
        |value: &str| open(&entry(value), &variables, Keys::Both).err().map(|closed| closed.unfit.text);
    assert_eq!(told(r#"{"value": {"env": "IMPORTER_VAR_TENANT"}}"#), None);
    let why = told(r#"{"value": {"file": "header"}}"#).unwrap();
    assert!(why.starts_with("`mapping`: fields: `fields.tenant.value` must not read a file"), "{why}");
    let why = told(r#"{"value": {"env": "OMETRIA_APIKEY"}}"#).unwrap();
    assert!(why.contains("must not read `OMETRIA_APIKEY`, which is a credential of ometria"), "{why}");
}

#[test]
fn a_text_is_read_as_the_type_of_its_setting() {
    let (_folder, path) = secrets();
    let entry = |days: &str| {
        format!(
            r#"{{"list_id": "shifts", "source": {{"type": "when_i_work", "days_ahead": {days}}}, "sink": "stdout"}}"#
        )
    };
    let variables = [
        ("IMPORTER_SECRETS", &path[..]),
        ("IMPORTER_VAR_DAYS", "3"),
        ("IMPORTER_VAR_WORD", "s3cr3t"),
        ("WHEN_I_WORK_TOKEN", "s3cr3t"),
    ];
    for (days, why) in [
        (r#"{"env": "IMPORTER_VAR_DAYS"}"#, ""),
        (r#"{"env": "IMPORTER_VAR_NONE", "default": 2}"#, ""),
        (r#"{"file": "days"}"#, ""),
        (
            r#"{"env": "IMPORTER_VAR_WORD"}"#,
            "`IMPORTER_VAR_WORD` must be a whole number from 0 to 366 for `source.days_ahead`, which refers to it",
        ),
        (
            r#"{"file": "acme"}"#,
            "`acme` is a file whose content must be a whole number from 0 to 366 for `source.days_ahead`",
        ),
        (
            r#"{"env": "IMPORTER_VAR_NONE"}"#,
            "`IMPORTER_VAR_NONE` is not set, and `source.days_ahead` refers to it; set it, or add a `default` to the reference",
        ),
    ] {
        let told = open(&entry(days), &variables, Keys::Both)
            .err()
            .map_or(String::new(), |closed| closed.unfit.text);
        assert!(told.is_empty() == why.is_empty() && told.contains(why), "{days}: {told}");
        assert!(!told.contains("s3cr3t"));
    }
}

#[test]
fn what_is_missing_is_an_error_of_the_environment_with_its_exit_code() {
    let hosts = ("HTTP_SINK_HOSTS", "receiver.example.org");
    for (settings, code, why) in [
        (
            format!(r#"{URL}, "auth": "bearer", "token": {{"env": "HTTP_SINK_TOKEN"}}"#),
            77,
            "`HTTP_SINK_TOKEN` is not set, and `sink.token` refers to it; set it",
        ),
        (
            format!(r#"{URL}, "auth": "bearer", "token": {{"file": "none"}}"#),
            77,
            "`none` (a file in /absent, from IMPORTER_SECRETS), to which `sink.token` refers, can't be read: no such file",
        ),
        (
            r#""url": {"env": "IMPORTER_VAR_URL"}"#.to_owned(),
            2,
            "`IMPORTER_VAR_URL` is not set, and `sink.url` refers",
        ),
        (
            r#""url": {"file": "none"}"#.to_owned(),
            2,
            "`none` (a file in /absent, from IMPORTER_SECRETS), to which `sink.url` refers",
        ),
    ] {
        let variables = [hosts, ("IMPORTER_SECRETS", "/absent")];
        let refused = open(&sink(&settings), &variables, Keys::Both).err().unwrap().refused.unwrap();
        assert!(refused.to_string().starts_with(why), "{refused}");
        assert_eq!(exit_code(&refused.into()), code, "{settings}");
    }
    // A command that sends nothing needs no credential.
    let settings = format!(r#"{URL}, "auth": "bearer", "token": {{"file": "none"}}"#);
    assert!(open(&sink(&settings), &[], Keys::None).is_ok());
}

/// An adapter may show a wrong setting in its message; a value from elsewhere is not for the log.
#[test]
fn the_message_about_a_value_from_elsewhere_does_not_contain_it() {
    let entry = r#"{"list_id": "shifts", "source": {"type": "when_i_work", "time_zone": {"env": "IMPORTER_VAR_ZONE"}}, "sink": "stdout"}"#;
    let variables = [("IMPORTER_VAR_ZONE", "Eu\"rope/Nowhere"), ("WHEN_I_WORK_TOKEN", "s3cr3t")];
    let told = open(entry, &variables, Keys::Both).err().unwrap().unfit.text;
    assert!(told.starts_with("`source`: when_i_work: unknown `time_zone` \"…\"; use a name"), "{told}");
}

/// People who may edit the address must not be able to send a secret anywhere.
#[test]
fn the_content_of_a_file_goes_only_to_a_host_that_the_environment_names() {
    let (_folder, path) = secrets();
    let header = format!(r#"{URL}, "headers": {{"X-A": {{"file": "header"}}}}"#);
    for settings in [&header[..], r#""url": {"file": "hook"}"#] {
        for (hosts, why) in [
            ("", "`HTTP_SINK_HOSTS` is not set"),
            ("other.example.org", "`HTTP_SINK_HOSTS` does not contain receiver.example.org, to which"),
        ] {
            let variables = [("IMPORTER_SECRETS", &path[..]), ("HTTP_SINK_HOSTS", hosts)];
            let told = open(&sink(settings), &variables, Keys::Both).err().unwrap().unfit.text;
            assert!(told.contains(why), "{told}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_repeats_what_was_read_is_redacted() {
    let (_folder, path) = secrets();
    let variables = [("IMPORTER_SECRETS", &path[..]), ("HTTP_SINK_HOSTS", "receiver.example.org")];
    let settings = format!(
        r#"{URL}, "auth": "bearer", "token": {{"file": "acme"}}, "headers": {{"X-A": {{"file": "header"}}}}"#
    );
    let pipeline = open(&sink(&settings), &variables, Keys::Both).ok().unwrap();
    let fault = pipeline.sink.deliver(&prepared(pipeline.sink.as_ref(), 1)).await.unwrap_err().to_string();
    assert!(fault.contains("wrong token *** or ***") && !fault.contains("s3cr3t"), "{fault}");
    assert!(fault.contains("check the key in `sink.token`"), "{fault}");
}

/// The names on disk belong to the text of the file; an interrupted run begins again if a value has changed.
#[test]
fn a_changed_value_changes_the_run_but_no_name_and_nothing_that_concerns_the_pace() {
    let entry = |more: &str| sink(&format!(r#""url": {{"env": "IMPORTER_VAR_URL"}}{more}"#));
    let run = |more: &str, variables: &[(&str, &str)]| {
        let pipeline = open(&entry(more), variables, Keys::Both).ok().unwrap();
        run_fingerprint(&entries(&format!("[{}]", entry(more)))[0], &pipeline.references)
    };
    let (one, two) = ("https://one.example.org/s3cr3t-path", "https://two.example.org");
    let first = run("", &[("IMPORTER_VAR_URL", one)]);
    assert_eq!(first, run("", &[("IMPORTER_VAR_URL", one)]));
    assert_ne!(first, run("", &[("IMPORTER_VAR_URL", two)]));
    assert!(!first.contains("one.example") && !first.contains("s3cr3t"), "{first}");
    let rate = r#", "rate": {"env": "IMPORTER_VAR_RATE"}"#;
    let paced = |rate_value| run(rate, &[("IMPORTER_VAR_URL", one), ("IMPORTER_VAR_RATE", rate_value)]);
    assert_eq!(paced("1"), paced("2"));
    let key = r#", "auth": "bearer", "token": {"env": "HTTP_SINK_TOKEN"}"#;
    let keyed = |token| {
        let hosts = ("HTTP_SINK_HOSTS", "one.example.org");
        run(key, &[("IMPORTER_VAR_URL", one), ("HTTP_SINK_TOKEN", token), hosts])
    };
    assert_eq!(keyed("s3cr3t-one"), keyed("s3cr3t-two"));
    // Without a reference, a run has the fingerprint that it always had.
    let plain = sink(URL);
    let pipeline = open(&plain, &[], Keys::Both).ok().unwrap();
    assert_eq!(pipeline.references, "");
}

/// `World` searches the log and all files for the token when it ends.
#[tokio::test(start_paused = true)]
async fn a_credential_from_a_file_is_in_no_output() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rota"), receiver::TOKEN).unwrap();
    let path: &'static str = folder.path().display().to_string().leak();
    let world = World::new()
        .set("HTTP_SINK_TOKEN", "")
        .set("IMPORTER_SECRETS", path)
        .set("IMPORTER_VAR_HOST", "https://receiver.example.org/hooks/a")
        .list("ref1", 30)
        .with_state(
            r#"[{"list_id": "ref1", "mapping": {"type": "fields", "fields": {"id": "id", "status": "status"}},
                "sink": {"type": "http", "url": {"env": "IMPORTER_VAR_HOST"}, "auth": "bearer", "token": {"file": "rota"}}}]"#,
        );
    assert_eq!(world.once().await.unwrap(), Verdict::Done, "{}", world.log().join("\n"));
    assert!(!world.sandbox.receiver().records().is_empty());
    let state = world.state();
    assert!(state.contains(r#""token": {"file": "rota"}"#) && state.contains("latest_timestamp"), "{state}");
    assert!(world.log().iter().all(|line| !line.contains("/hooks/a")));
}

#[tokio::test(start_paused = true)]
async fn a_credential_in_the_state_file_reaches_neither_the_log_nor_the_history() {
    for value in [
        r#""pasted-s3cr3t""#,
        r#"{"env": "HTTP_SINK_TOKEN", "default": "pasted-s3cr3t"}"#,
        r#"{"file": ["pasted-s3cr3t"]}"#,
    ] {
        let world = World::new().with_state(&format!(
            r#"[{{"list_id": "ref2", "mapping": "as_is", "sink": {{"type": "http", "url": "https://receiver.example.org/hooks/a",
                "auth": "bearer", "token": {value}}}}}]"#
        ));
        assert_eq!(world.once().await.unwrap(), Verdict::Failed, "{value}");
        assert_eq!(world.logged("this entry does not run"), 1, "{value}");
        assert_eq!(world.logged("pasted"), 0, "{value}: {:?}", world.log());
        let history = world.folder.path().join(".importer/history");
        assert_eq!(fs::read_dir(history).map_or(0, Iterator::count), 0, "{value}");
    }
}
