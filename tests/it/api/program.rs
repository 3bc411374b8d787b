//! The real binary with `--listen`, over loopback and in real time.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::loopback::{LIMIT, Loopback, Running, finish};

const LISTEN: [&str; 3] = ["go", "--listen", "127.0.0.1:0"];

/// Returns the address in the line of the log that names it.
fn address(line: &str) -> String {
    let rest = line.split("http://").nth(1).unwrap();
    rest.split(';').next().unwrap().trim_end_matches('.').to_owned()
}

/// Sends a request, and returns the status and the body of the answer.
async fn send(address: &str, head: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{head}Host: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(LIMIT, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_program_answers_with_the_token_in_its_file_and_ends_while_callers_hang() {
    let loopback = Loopback::start(Duration::ZERO, r#"[{"list_id": "api1"}]"#).await.list("api1", 10);
    let mut running = Running::start(loopback.command(&LISTEN));
    let line = running.wait_for("listening on http://127.0.0.1:").await;
    let path = loopback.folder.path().canonicalize().unwrap().join(".importer/api-token");
    assert!(
        line.contains(&format!("the token of this run is in {:?}.", path.display().to_string())),
        "{line}"
    );
    let token = fs::read_to_string(&path).unwrap();
    assert!(!line.contains(&token));
    assert_eq!((token.len(), fs::metadata(&path).unwrap().permissions().mode() & 0o777), (64, 0o600));
    let address = address(&line);
    running.wait_for("list \"api1\" updated").await;
    assert_eq!(send(&address, "GET /health/ready HTTP/1.1\r\n").await, (200, json!({"ready": true})));
    let (status, _) = send(&address, "POST /api/v1/sync HTTP/1.1\r\n").await;
    assert_eq!(status, 401);
    let sync =
        format!("POST /api/v1/sync HTTP/1.1\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n");
    let (status, answer) = send(&address, &sync).await;
    assert_eq!((status, &answer["succeeded"]), (200, &json!(true)), "{answer}");
    let (_, status) = send(&address, "GET /api/v1/status HTTP/1.1\r\n").await;
    assert_eq!(status["pid"], running.child.id().unwrap());
    let large = format!("GET / HTTP/1.1\r\nX-Filling: {}\r\n", "x".repeat(40_000));
    let (status, long) = send(&address, &large).await;
    assert_eq!((status, &long["type"]), (431, &json!("urn:importer:long-head")));
    // One caller has sent nothing, and one half a request.
    let _silent = TcpStream::connect(&address).await.unwrap();
    let mut half = TcpStream::connect(&address).await.unwrap();
    half.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    running.signal("TERM");
    let asked = tokio::time::Instant::now();
    assert_eq!(running.end().await.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn more_callers_than_there_are_connections_wait_for_their_turn() {
    let loopback = Loopback::start(Duration::ZERO, "[]").await;
    let mut command = loopback.command(&["go"]);
    command.env("IMPORTER_LISTEN", "127.0.0.1:0").env("IMPORTER_API_TOKEN", super::TOKEN);
    let mut running = Running::start(command);
    let line = running.wait_for("listening on http://127.0.0.1:").await;
    assert!(!line.contains("token"), "{line}");
    assert!(!loopback.folder.path().join(".importer/api-token").exists());
    let address = address(&line);
    let mut silent = vec![];
    for _ in 0..64 {
        silent.push(TcpStream::connect(&address).await.unwrap());
    }
    let request = send(&address, "GET /health/live HTTP/1.1\r\n");
    tokio::pin!(request);
    assert!(timeout(Duration::from_millis(500), &mut request).await.is_err(), "there is no room");
    silent.pop();
    assert_eq!(request.await, (200, json!({"live": true})));
    running.signal("TERM");
    assert_eq!(running.end().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_address_or_the_token_is_said_before_anything_runs() {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let busy = other.local_addr().unwrap().to_string();
    let loopback = Loopback::start(Duration::ZERO, r#"[{"list_id": "api2"}]"#).await.list("api2", 10);
    for (listen, name, value, code, told) in [
        (busy.as_str(), "RUST_LOG", "info", 2, "Address already in use (os error 98); name a free address"),
        ("127.0.0.1", "RUST_LOG", "info", 2, "can't listen on 127.0.0.1: invalid socket address"),
        (
            "127.0.0.1:0",
            "IMPORTER_API_TOKEN",
            "short",
            77,
            "`IMPORTER_API_TOKEN` must have at least 16 visible ASCII",
        ),
        (
            "127.0.0.1:0",
            "IMPORTER_HOSTS",
            "https://a.example",
            2,
            "`IMPORTER_HOSTS` names \"https://a.example\", which is no host",
        ),
    ] {
        let mut command = loopback.command(&["go", "--once", "--listen", listen]);
        command.env(name, value);
        let (ended, _, log) = finish(command).await;
        assert_eq!(ended, code, "{log}");
        assert!(log.contains(told) && !log.contains("starting, state file"), "{told}: {log}");
    }
    let (ended, _, log) = finish(loopback.command(&["go", "--once"])).await;
    assert!(ended == 0 && !log.contains("listening"), "nothing listens unless asked: {log}");
    let (ended, _, log) = finish(loopback.command(&["go", "--once", "--listen", "127.0.0.1:0"])).await;
    assert!(ended == 0 && log.contains("listening on http://127.0.0.1:"), "{log}");
}
