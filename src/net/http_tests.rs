//! Requests of an account against a scripted service.

use std::{
    borrow::Cow,
    collections::VecDeque,
    sync::{Mutex, atomic::AtomicUsize},
    time::Duration,
};

use futures::future::BoxFuture;
use http::HeaderName;
use tokio::time::sleep;

use super::*;
use crate::net::RateLimiter;
use crate::{
    base::{events::Events, time},
    net::{
        AccountClients, Environment,
        auth::{FetchToken, Session, Token},
        classify::{Body, Rule},
    },
};

struct Noon;

impl Clock for Noon {
    fn now(&self) -> DateTime<Utc> {
        time::parse("2026-11-21T12:00:00").unwrap()
    }
}

/// Answers with one status after the other, then with 200, and notes the credentials of the requests.
#[derive(Default)]
struct Service {
    answers: Mutex<VecDeque<(u16, &'static str)>>,
    sent: Mutex<Vec<String>>,
}

impl Service {
    fn of(answers: &[(u16, &'static str)]) -> Arc<Self> {
        Arc::new(Service { answers: Mutex::new(answers.iter().copied().collect()), sent: Mutex::default() })
    }

    fn sent(&self) -> Vec<String> {
        self.sent.lock().unwrap().clone()
    }
}

impl Transport for Service {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        let credentials = request.headers().get("authorization").or(request.headers().get("x-token"));
        let text = credentials.map_or("none", |value| value.to_str().unwrap());
        self.sent.lock().unwrap().push(text.to_owned());
        let (status, body) = self.answers.lock().unwrap().pop_front().unwrap_or((200, ""));
        let mut response = Response::new(body.into());
        *response.status_mut() = status.try_into().unwrap();
        Box::pin(async { Ok(response) })
    }
}

/// Makes an account as an entry with an address could: all names are made at run time.
fn account(address: &str, auth: Auth) -> Account {
    Account {
        service: Cow::Owned(format!("the service at {address}")),
        key_name: Cow::Owned("A_KEY".to_lowercase()),
        key_hint: None,
        url_name: Cow::Owned("a_url".to_owned()),
        base: Url::parse(address).unwrap(),
        auth,
        secrets: vec![],
        rules: Rules::default(),
        room: None,
    }
}

fn http(service: &Arc<Service>, auth: Auth) -> Http {
    let calls = Calls::new("example".into(), RateLimiter::new(2, 0.0), Events::default());
    AccountClient::new(account("https://example.org/v1", auth), calls, service.clone(), Arc::new(Noon))
        .open(Caller::new("a", false))
}

async fn call(http: &Http) -> Result<(), Fault> {
    http.call("could not ask", http.get(&["x"], &[]), |_| Ok(())).await
}

#[tokio::test(start_paused = true)]
async fn rules_made_at_run_time_decide_for_the_requests_of_one_client_only() {
    let accept = 409..=410;
    let rules = || {
        Rules::new(vec![
            Rule::new(accept.clone(), Body::Any, Verdict::Accepted),
            Rule::status(422, Verdict::ContentRefused),
            Rule::status(418, Verdict::Temporary),
        ])
    };
    for (status, by_rules, by_account) in
        [(409, "accepted", "final"), (422, "too large", "final"), (418, "accepted after 2", "final")]
    {
        for (own, expected) in [(true, by_rules), (false, by_account)] {
            let service = Service::of(&[(status, "")]);
            let http = http(&service, Auth::None);
            let http = if own { http.with_rules(rules()) } else { http };
            let shown = match (call(&http).await, service.sent().len()) {
                (Ok(()), 1) => "accepted".to_owned(),
                (Ok(()), sent) => format!("accepted after {sent}"),
                (Err(Fault::TooLarge(_)), 1) => "too large".to_owned(),
                (Err(Fault::List(_)), 1) => "final".to_owned(),
                other => panic!("{other:?}"),
            };
            assert_eq!(shown, expected, "{status}");
        }
    }
}

#[test]
fn each_address_that_an_entry_names_has_one_account() {
    let environment = Environment::new(|_| None);
    let accounts = AccountClients::new(environment, Service::of(&[]), Arc::new(Noon));
    let open = |address: &str| {
        accounts.client(address, |_| Ok((account(address, Auth::None), RateLimiter::new(1, 0.0)))).unwrap()
    };
    let clients = ["https://a.example", "https://b.example", "https://a.example"].map(open);
    assert!(Arc::ptr_eq(&clients[0], &clients[2]) && !Arc::ptr_eq(&clients[0], &clients[1]));
}

/// Returns the tokens `t1`, `t2` and so on.
#[derive(Clone, Default)]
struct Login(Arc<AtomicUsize>);

impl FetchToken for Login {
    fn fetch<'a>(&'a self, _: &'a Caller) -> BoxFuture<'a, Result<Token, Fault>> {
        let number = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        let renew = Noon.now() + TimeDelta::days(5);
        Box::pin(async move { Ok(Token { secret: Secret::new(format!("t{number}-s3cr3t")), renew }) })
    }
}

fn by_token(service: &Arc<Service>, login: &Login) -> Http {
    http(service, Auth::Token(Session::new(HeaderName::from_static("x-token"), login.clone())))
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_is_fetched_once_more_and_a_second_rejection_is_final() {
    let (service, login) = (Service::of(&[(401, "")]), Login::default());
    let http = by_token(&service, &login);
    assert!(call(&http).await.is_ok() && call(&http).await.is_ok());
    assert_eq!(service.sent(), ["t1-s3cr3t", "t2-s3cr3t", "t2-s3cr3t"]);

    let (service, login) = (Service::of(&[(401, ""), (401, "")]), Login::default());
    let http = by_token(&service, &login);
    let why = call(&http).await.unwrap_err().to_string();
    let known = "could not ask: the service at https://example.org/v1 returned 401 unauthorized (check the key in `a_key`)";
    assert_eq!((why.as_str(), service.sent().len()), (known, 2));
    // While the account is suspended, neither a request nor a login is made.
    assert_eq!(call(&http).await.unwrap_err().to_string(), known);
    assert_eq!((service.sent().len(), login.0.load(Ordering::Relaxed)), (2, 2));
    sleep(Duration::from_secs(46)).await;
    assert!(call(&http).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn no_message_contains_a_key_or_a_token_that_the_service_quotes() {
    const QUOTES: &str = r#"{"error": "t1-s3cr3t is not allowed, nor is k-s3cr3t"}"#;
    for auth in [
        Auth::Token(Session::new(HeaderName::from_static("x-token"), Login::default())),
        Auth::Bearer(Secret::new("k-s3cr3t")),
        Auth::Basic { user: "me".into(), password: Secret::new("k-s3cr3t") },
    ] {
        let hidden = if matches!(auth, Auth::Token(_)) { "t1-s3cr3t" } else { "k-s3cr3t" };
        let service = Service::of(&[(400, QUOTES)]);
        let why = call(&http(&service, auth)).await.unwrap_err().to_string();
        assert!(why.contains("***") && !why.contains(hidden), "{why}");
    }
}
