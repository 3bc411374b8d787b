//! `importer sandbox` as a user runs it: the header that it prints, and the services that it emulates.

use std::{collections::HashMap, fs, process::Stdio, sync::Arc, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use importer::{
    base::clock::SystemClock,
    net::{Response, Transport, TransportError, transport::Web},
    sandbox::{Faults, Sandbox},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
    time::timeout,
};

use crate::loopback::{LIMIT, finish, importer};

/// Starts a sandbox. Returns it with its header, up to the line that contains `last`, and the variables in
/// the header.
async fn sandbox(options: &[&str], last: &str) -> (Child, String, HashMap<String, String>) {
    let mut command = importer(&["sandbox", "--port", "0"]);
    let mut child = command.args(options).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut header, mut variables) = (String::new(), HashMap::new());
    while !header.contains(last) {
        let line = timeout(LIMIT, lines.next_line()).await.unwrap().unwrap().unwrap();
        let words = line.strip_prefix("export ").and_then(|setting| setting.split_once('='));
        variables.extend(words.map(|(name, value)| (name.to_owned(), value.to_owned())));
        header += &format!("{line}\n");
    }
    (child, header, variables)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_prints_settings_with_which_an_import_runs() {
    let (_sandbox, _, variables) = sandbox(&["--list", "here", "--members", "30"], "Stop with ctrl-c").await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("state.json"), r#"[{"list_id": "here"}]"#).unwrap();
    let mut go = importer(&["go", "--once", "--state"]);
    go.arg(folder.path()).envs(variables);
    let (code, _, log) = finish(go).await;
    assert_eq!(code, 0, "{log}");
    assert!(log.contains(" 0 unexplained."), "{log}");
}

/// Enough requests to meet refusals, slow and unreadable responses, and a reset connection.
const PINGS: usize = 210;
/// Timeout between a slow response (3 s) and a stalled one (125 s).
const GIVE_UP: Duration = Duration::from_secs(15);

/// Returns the status and the body of a complete response.
async fn heard(
    answer: impl Future<Output = Result<Response, TransportError>>,
) -> Option<(StatusCode, Bytes)> {
    let answer = timeout(GIVE_UP, answer).await.ok()?.ok()?;
    Some((answer.status(), answer.into_body()))
}

/// The same requests go to emulators in this process, with faults from the same seed.
#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_with_faults_prints_its_seed_and_faults_and_then_injects_them() {
    let (_sandbox, header, variables) = sandbox(&["--faults", "--seed", "3"], "the clock of").await;
    for told in [
        "seed 3: 5 % of the requests fail",
        "up to 30 s late",
        "each list and the warehouses have 1 changes",
        "the clock of the services is 10 minutes ahead.",
    ] {
        assert!(header.contains(told), "{header}");
    }
    let same = Sandbox::new(Arc::new(SystemClock), Duration::ZERO);
    same.misbehave(Faults::by_default(3));
    let web = Web::new().unwrap();
    let basic = format!("any:{}", variables["MAILCHIMP_APIKEY"]);
    let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, basic);
    let ping = http::Request::get(format!("{}/ping", variables["MAILCHIMP_URL"]));
    let ping = ping.header("Authorization", format!("Basic {basic}")).body(Bytes::new()).unwrap();
    let mut healthy = 0;
    for number in 0..PINGS {
        let (there, here) = tokio::join!(heard(web.send(ping.clone())), heard(same.handle(ping.clone())));
        assert_eq!(there, here, "request {number}");
        healthy += usize::from(here.is_some_and(|(_, body)| body.starts_with(b"{\"health_status\"")));
    }
    assert!(healthy > 0 && healthy < PINGS, "{healthy}");
}
