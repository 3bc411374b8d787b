//! The effect of every status of every account on its request and on the account. The whole table is pinned: a
//! new status, a new account, or a changed rule shows here.

use std::{
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use expect_test::expect;
use futures::future::BoxFuture;
use http::{HeaderValue, header};
use importer::{
    base::{adapter::Chosen, fault::Fault},
    net::{AccountClients, Caller, Request, Response, Transport, TransportError},
    source,
};
use serde_json::json;
use tokio::time::timeout;

use crate::contract::{doors, prepared, read, settings, sink, source as opened, source_settings};

/// An account with a kind of credential, and how to send it a request.
struct Case {
    name: &'static str,
    kind: &'static str,
    /// Variables in addition to the keys.
    variables: &'static [(&'static str, &'static str)],
    /// End of the path of the requests that get the status.
    path: &'static str,
    /// Body of a good answer.
    good: &'static str,
}

/// A login instead of a token.
const LOGIN: &[(&str, &str)] = &[
    ("WHEN_I_WORK_TOKEN", ""),
    ("WHEN_I_WORK_EMAIL", "s3cr3t@example.com"),
    ("WHEN_I_WORK_PASSWORD", "s3cr3t-password"),
];
const SHIFTS: &str = r#"{"shifts": []}"#;

const CASES: [Case; 10] = [
    Case {
        name: "mailchimp",
        kind: "mailchimp",
        variables: &[],
        path: "/members",
        good: r#"{"members": [], "total_items": 0}"#,
    },
    Case { name: "ometria", kind: "ometria", variables: &[], path: "/push", good: r#"{"status": "OK"}"# },
    Case { name: "http", kind: "http", variables: &[], path: "/s3cr3t-path", good: "" },
    Case {
        name: "when_i_work, given token",
        kind: "when_i_work",
        variables: &[],
        path: "/shifts",
        good: SHIFTS,
    },
    Case {
        name: "when_i_work, fetched token",
        kind: "when_i_work",
        variables: LOGIN,
        path: "/shifts",
        good: SHIFTS,
    },
    Case { name: "when_i_work, login", kind: "when_i_work", variables: LOGIN, path: "/login", good: TOKEN },
    Case { name: "rest, list", kind: "rest", variables: &[], path: "/items/a", good: ROWS },
    Case { name: RECORD, kind: "rest", variables: &[], path: "/items/7", good: ROW },
    Case { name: "rest, fetched token", kind: "rest", variables: REST_LOGIN, path: "/items/a", good: ROWS },
    Case { name: "rest, login", kind: "rest", variables: REST_LOGIN, path: "/login", good: TOKEN },
];

/// The case of a request for one record, as replay sends it.
const RECORD: &str = "rest, record";
const REST_LOGIN: &[(&str, &str)] =
    &[("REST_TOKEN", ""), ("REST_USER", "s3cr3t-user"), ("REST_PASSWORD", "s3cr3t-password")];
const ROWS: &str = r#"{"data": [], "meta": {}}"#;
const ROW: &str = r#"{"id": 7, "updated_at": "2026-11-20T12:00:00Z"}"#;

const TOKEN: &str = r#"{"token": "s3cr3t-token", "access_token": "s3cr3t-token"}"#;
/// Statuses of an answer.
const STATUSES: RangeInclusive<u16> = 100..=599;
/// Wait that every answer asks for: within the patience of a request, and longer than [`SOON`].
const RETRY_AFTER: &str = "100";
/// Time in which a request that nothing pauses is sent, whatever the rate of its account.
const SOON: Duration = Duration::from_secs(30);

/// Answers the requests of a case with one status, and every other with what the case needs.
struct Answers {
    case: &'static Case,
    status: u16,
    body: &'static str,
    /// Number of requests that got the status.
    sent: AtomicUsize,
}

impl Transport for Answers {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(async move {
            let path = request.uri().path();
            let asked = path.ends_with(self.case.path);
            let text = match (asked, path.ends_with("/login")) {
                (true, _) => self.body,
                (false, true) => TOKEN,
                (false, false) if self.case.kind == "rest" => ROWS,
                (false, false) => SHIFTS,
            };
            let mut response = Response::new(text.into());
            if asked {
                self.sent.fetch_add(1, Ordering::Relaxed);
                *response.status_mut() = self.status.try_into().unwrap();
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
            }
            let date = HeaderValue::from_static("Sat, 21 Nov 2026 12:00:00 GMT");
            response.headers_mut().insert(header::DATE, date);
            Ok(response)
        })
    }
}

async fn call(case: &Case, doors: &AccountClients) -> Result<(), Fault> {
    let kind = case.kind;
    match kind {
        "rest" => {
            let mut settings = source_settings(kind);
            if !case.variables.is_empty() {
                settings["auth"] = json!({"token": {"url": "https://rest.example.org/rest/login"}});
            }
            let context =
                source::SourceContext { list_id: "a", fields: None, caller: Caller::new("a", false) };
            let opened = source::open(Chosen::of(&settings, ""), context, doors).unwrap();
            match case.name {
                RECORD => opened.source.lookup().unwrap().find("7").await.map(|_| ()),
                _ => read(opened.source.as_ref()).await,
            }
        }
        "ometria" | "http" => {
            let sink = sink(settings(kind), std::path::Path::new("."), doors).sink;
            sink.deliver(&prepared(sink.as_ref(), 2)).await.map(|_| ())
        }
        "mailchimp" => read(opened(kind, "a", doors).as_ref()).await,
        _ => read(opened(kind, "shifts", doors).as_ref()).await,
    }
}

/// Describes what a status does: to its request, then to another request of the account that follows.
async fn verdict(case: &'static Case, status: u16, body: &'static str) -> String {
    let answers = Arc::new(Answers { case, status, body, sent: AtomicUsize::new(0) });
    let doors = doors(answers.clone(), case.variables);
    let first = match timeout(SOON, call(case, &doors)).await {
        Ok(Ok(())) => "accepted",
        Ok(Err(Fault::TooLarge(_))) => "too large",
        Ok(Err(Fault::List(_))) => "final",
        Ok(Err(fault)) => panic!("{status}: {fault:?}"),
        Err(_) => "retried",
    };
    let sent = answers.sent.load(Ordering::Relaxed);
    let other = timeout(SOON, call(case, &doors)).await;
    let more = answers.sent.load(Ordering::Relaxed) - sent;
    let account = match (other, more) {
        (Ok(Err(_)), 0) => "; the account is suspended",
        (Err(_), 0) => "; the account is paused",
        _ => "",
    };
    let times = if sent == 1 { String::new() } else { format!(", after {sent} requests") };
    format!("{first}{times}{account}")
}

#[tokio::test(start_paused = true)]
async fn every_status_of_every_account_has_its_verdict() {
    let mut table = String::new();
    for case in &CASES {
        for (with, body) in [("a JSON problem", r#"{"error": "no"}"#), ("no JSON", "<html>no</html>")] {
            table += &format!("{}, {with}\n", case.name);
            let mut ranges: Vec<(u16, u16, String)> = vec![];
            for status in STATUSES {
                let good = (200..300).contains(&status);
                let verdict = verdict(case, status, if good { case.good } else { body }).await;
                match ranges.last_mut() {
                    Some((_, last, known)) if *known == verdict => *last = status,
                    _ => ranges.push((status, status, verdict)),
                }
            }
            for (first, last, verdict) in ranges {
                let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
                table += &format!("  {range:<7} {verdict}\n");
            }
        }
    }
    expect![[r#"
        mailchimp, a JSON problem
          100-199 final
          200-299 accepted
          300-400 final
          401     final; the account is suspended
          402     final
          403     final; the account is suspended
          404-407 final
          408     retried
          409-420 final
          421     retried
          422-424 final
          425     retried
          426-428 final
          429     retried; the account is paused
          430-499 final
          500-502 retried
          503     retried; the account is paused
          504     too large
          505-599 retried
        mailchimp, no JSON
          100-199 final
          200-299 accepted
          300-400 final
          401     final; the account is suspended
          402     final
          403     retried; the account is paused
          404-407 final
          408     retried
          409-420 final
          421     retried
          422-424 final
          425     retried
          426-428 final
          429     retried; the account is paused
          430-499 final
          500-502 retried
          503     retried; the account is paused
          504     too large
          505-599 retried
        ometria, a JSON problem
          100-199 final
          200-299 accepted
          300-399 final
          400     too large
          401     final; the account is suspended
          402     final
          403     final; the account is suspended
          404-407 final
          408     retried
          409     too large
          410-412 final
          413     too large
          414-420 final
          421     retried
          422     too large
          423-424 final
          425     retried
          426-428 final
          429     retried; the account is paused
          430-450 final
          451     too large
          452-499 final
          500-502 retried
          503     retried; the account is paused
          504-599 retried
        ometria, no JSON
          100-199 final
          200-299 accepted
          300-399 final
          400     too large
          401     final; the account is suspended
          402     final
          403     retried; the account is paused
          404-407 final
          408     retried
          409     too large
          410-412 final
          413     too large
          414-420 final
          421     retried
          422     too large
          423-424 final
          425     retried
          426-428 final
          429     retried; the account is paused
          430-450 final
          451     too large
          452-499 final
          500-502 retried
          503     retried; the account is paused
          504-599 retried
        http, a JSON problem
          100-199 final
          200-206 accepted
          207     final
          208-299 accepted
          300-399 final
          400     too large
          401     final; the account is suspended
          402     final
          403     final; the account is suspended
          404-407 final
          408     retried
          409     too large
          410-412 final
          413     too large
          414-420 final
          421     retried
          422     too large
          423-424 final
          425     retried
          426-428 final
          429     retried; the account is paused
          430-450 final
          451     too large
          452-499 final
          500-502 retried
          503     retried; the account is paused
          504-599 retried
        http, no JSON
          100-199 final
          200-206 accepted
          207     final
          208-299 accepted
          300-399 final
          400     too large
          401     final; the account is suspended
          402     final
          403     retried; the account is paused
          404-407 final
          408     retried
          409     too large
          410-412 final
          413     too large
          414-420 final
          421     retried
          422     too large
          423-424 final
          425     retried
          426-428 final
          429     retried; the account is paused
          430-450 final
          451     too large
          452-499 final
          500-502 retried
          503     retried; the account is paused
          504-599 retried
        when_i_work, given token, a JSON problem
          100-199 final
          200-299 accepted
          300-400 final
          401     final; the account is suspended
          402     final
          403     final; the account is suspended
          404-407 final
          408     retried
          409-420 final
          421     retried
          422-424 final
          425     retried
          426-428 final
          429     retried; the account is paused
          430-499 final
          500-502 retried
          503     retried; the account is paused
          504-599 retried
        when_i_work, given token, no JSON
          100-199 final
          200-299 accepted
          300-400 final
          401     final; the account is suspended
          402     final
          403     retried; the account is paused
          404-407 final
          408     retried
          409-420 final
          421     retried
          422-424 final
          425     retried
          426-428 final
          429     retried; the account is paused
          430-499 final
          500-502 retried
          503     retried; the account is paused
          504-599 retried
        when_i_work, fetched token, a JSON problem
          100-199 final
          200-299 accepted
          300-400 final
          401     final, after 2 requests; the account is suspended
          402-407 final
          408     retried
          409-420 final
          421     retried
          422-424 final
          425     retried
          426-428 final
          429     retried; the account is paused
          430-499 final
          500-502 retried
          503     retried; the account is paused
          504-599 retried
        when_i_work, fetched token, no JSON
          100-199 final
          200-299 accepted
          300-400 final
          401     final, after 2 requests; the account is suspended
          402     final
          403     retried; the account is paused
          404-407 final
          408     retried
          409-420 final
          421     retried
          422-424 final
          425     retried
          426-428 final
          429     retried; the account is paused
          430-499 final
          500-502 retried
          503     retried; the account is paused
          504-599 retried
        when_i_work, login, a JSON problem
          100-199 final
          200-299 accepted
          300-400 final
          401     final; the account is suspended
          402     final
          403     final; the account is suspended
          404-407 final
          408     retried
          409-420 final
          421     retried
          422-424 final
          425     retried
          426-428 final
          429     retried; the account is paused
          430-499 final
          500-502 retried
          503     retried; the account is paused
          504-599 retried
        when_i_work, login, no JSON
          100-199 final
          200-299 accepted
          300-400 final
          401     final; the account is suspended
          402     final
          403     retried; the account is paused
          404-407 final
          408     retried
          409-420 final
          421     retried
          422-424 final
          425     retried
          426-428 final
          429     retried; the account is paused
          430-499 final
          500-502 retried
          503     retried; the account is paused
          504-599 retried
        rest, list, a JSON problem
          100-199 final
          200-299 accepted
          300-400 final
          401     final; the account is suspended
          402     final
          403     final; the account is suspended
          404-407 final
          408     retried
          409-420 final
          421     retried
          422-424 final
          425     retried
          426-428 final
          429     retried; the account is paused
          430-499 final
          500-502 retried
          503     retried; the account is paused
          504-599 retried
        rest, list, no JSON
          100-199 final
          200-299 accepted
          300-400 final
          401     final; the account is suspended
          402     final
          403     retried; the account is paused
          404-407 final
          408     retried
          409-420 final
          421     retried
          422-424 final
          425     retried
          426-428 final
          429     retried; the account is paused
          430-499 final
          500-502 retried
          503     retried; the account is paused
          504-599 retried
        rest, record, a JSON problem
          100-199 final
          200-299 accepted
          300-400 final
          401     final; the account is suspended
          402     final
          403     final; the account is suspended
          404     accepted
          405-407 final
          408     retried
          409     final
          410     accepted
          411-420 final
          421     retried
          422-424 final
          425     retried
          426-428 final
          429     retried; the account is paused
          430-499 final
          500-502 retried
          503     retried; the account is paused
          504-599 retried
        rest, record, no JSON
          100-199 final
          200-299 accepted
          300-400 final
          401     final; the account is suspended
          402     final
          403     retried; the account is paused
          404     final, after 6 requests
          405-407 final
          408     retried
          409     final
          410     final, after 6 requests
          411-420 final
          421     retried
          422-424 final
          425     retried
          426-428 final
          429     retried; the account is paused
          430-499 final
          500-502 retried
          503     retried; the account is paused
          504-599 retried
        rest, fetched token, a JSON problem
          100-199 final
          200-299 accepted
          300-400 final
          401     final, after 2 requests; the account is suspended
          402-407 final
          408     retried
          409-420 final
          421     retried
          422-424 final
          425     retried
          426-428 final
          429     retried; the account is paused
          430-499 final
          500-502 retried
          503     retried; the account is paused
          504-599 retried
        rest, fetched token, no JSON
          100-199 final
          200-299 accepted
          300-400 final
          401     final, after 2 requests; the account is suspended
          402     final
          403     retried; the account is paused
          404-407 final
          408     retried
          409-420 final
          421     retried
          422-424 final
          425     retried
          426-428 final
          429     retried; the account is paused
          430-499 final
          500-502 retried
          503     retried; the account is paused
          504-599 retried
        rest, login, a JSON problem
          100-199 final
          200-299 accepted
          300-400 final
          401     final; the account is suspended
          402     final
          403     final; the account is suspended
          404-407 final
          408     retried
          409-420 final
          421     retried
          422-424 final
          425     retried
          426-428 final
          429     retried; the account is paused
          430-499 final
          500-502 retried
          503     retried; the account is paused
          504-599 retried
        rest, login, no JSON
          100-199 final
          200-299 accepted
          300-400 final
          401     final; the account is suspended
          402     final
          403     retried; the account is paused
          404-407 final
          408     retried
          409-420 final
          421     retried
          422-424 final
          425     retried
          426-428 final
          429     retried; the account is paused
          430-499 final
          500-502 retried
          503     retried; the account is paused
          504-599 retried
    "#]]
    .assert_eq(&table);
}
