//! The emulators inject the faults that a test sets, and stop when it clears them.

use std::{
    collections::{BTreeSet, HashSet},
    mem::discriminant,
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, TimeDelta};
use http::Method;
use importer::{
    base::clock::{Clock, SystemClock},
    net::{Response, Transport, TransportError, transport::Web},
    sandbox::{Faults, Sandbox, Service, Trouble, edits::Edit, serve::serve},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    sandbox::request,
    support::{NOON, TokioClock, at, minutes},
};

const LATENCY: Duration = Duration::from_millis(100);

fn sandbox(size: u64, faults: Faults) -> Sandbox {
    let sandbox = Sandbox::new(Arc::new(TokioClock::at(NOON)), LATENCY);
    sandbox.ometria().set_rate(0.0);
    sandbox.mailchimp().add_list("l", size, 1, at(NOON));
    sandbox.misbehave(faults);
    sandbox
}

async fn send(sandbox: &Sandbox, service: Service) -> Result<Response, TransportError> {
    let contact = json!([{"@type": "contact", "@collection": "c", "id": "1"}]).to_string();
    sandbox
        .handle(match service {
            Service::Mailchimp => request(Method::GET, "/3.0/lists/l/members?count=3", String::new()),
            Service::Ometria => request(Method::POST, "/v2/push", contact),
            Service::WhenIWork => request(Method::POST, "/login", String::new()),
            Service::Receiver => request(Method::POST, "/hooks/a", contact),
            Service::Rest => request(Method::GET, "/rest/items/page", String::new()),
        })
        .await
}

/// Returns the rows of a listing, up to a thousand.
async fn rows(sandbox: &Sandbox, query: &str) -> Vec<Value> {
    let address = format!("/3.0/lists/l/members?count=1000&{query}");
    let response = sandbox.handle(request(Method::GET, &address, String::new())).await.unwrap();
    let mut answer: Value = serde_json::from_slice(response.body()).unwrap();
    let Value::Array(rows) = answer["members"].take() else { panic!("no members: {answer}") };
    rows
}

fn number(row: &Value) -> u64 {
    row["web_id"].as_u64().unwrap() - 100_000_000
}

async fn numbers(sandbox: &Sandbox, query: &str) -> HashSet<u64> {
    rows(sandbox, query).await.iter().map(number).collect()
}

async fn first_name(sandbox: &Sandbox, of: u64) -> Option<String> {
    let rows = rows(sandbox, "").await;
    let row = rows.iter().find(|row| number(row) == of)?;
    Some(row["merge_fields"]["FNAME"].as_str().unwrap().to_owned())
}

/// Returns the troubles that `requests` requests to each service meet.
async fn troubles(seed: u64, requests: usize) -> Vec<(Service, Trouble)> {
    let sandbox = sandbox(5, Faults { seed, troubles: 0.5, ..Faults::default() });
    for service in [Service::Mailchimp, Service::Ometria].repeat(requests) {
        let _ = send(&sandbox, service).await;
    }
    sandbox.seen().troubles.into()
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_troubles_and_edits() {
    assert_eq!(troubles(1, 100).await, troubles(1, 100).await);
    assert_ne!(troubles(1, 100).await, troubles(2, 100).await);
    let mut lists = vec![];
    for (seed, steps) in [(1, 1), (1, 30), (2, 1)] {
        let sandbox = sandbox(50, Faults { edits_per_second: 1.0, ..Faults::by_default(seed) });
        for _ in 0..steps {
            sleep(Duration::from_secs(60) / steps).await;
            sandbox.live();
        }
        let members =
            sandbox.mailchimp().members("l").map(|member| format!("{member:?}")).collect::<Vec<_>>();
        lists.push(members);
    }
    assert_eq!(lists[0], lists[1], "how often somebody looks changes nothing");
    assert_ne!(lists[0], lists[2]);
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_trouble_meets_each_service_about_as_often_as_configured() {
    let met = troubles(1, 500).await;
    assert!((400..600).contains(&met.len()), "{}", met.len());
    for service in [Service::Mailchimp, Service::Ometria] {
        let met: Vec<&Trouble> = met.iter().filter(|(of, _)| *of == service).map(|(_, met)| met).collect();
        assert_eq!(met.iter().map(|trouble| discriminant(*trouble)).collect::<HashSet<_>>().len(), 10);
        for status in [429, 500, 502, 503, 504] {
            let asks = |trouble: &&Trouble| match trouble {
                Trouble::Status(of, after) if *of == status => Some(after.is_some()),
                _ => None,
            };
            let asks: BTreeSet<bool> = met.iter().filter_map(asks).collect();
            assert_eq!(asks.len(), 2, "{service:?} {status} with and without Retry-After: {asks:?}");
        }
        for page in [403, 503] {
            assert!(met.iter().any(|trouble| matches!(trouble, Trouble::Html(status, _) if *status == page)));
        }
        for carried_out in [false, true] {
            assert!(met.contains(&&Trouble::Stall { carried_out }), "{service:?} {carried_out}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_trouble_does_what_its_name_says() {
    use TransportError::{Broken, TimedOut};
    let html = "<html></html>";
    for (trouble, arrives, seconds) in [
        (Trouble::Status(503, Some("2")), false, 0.0..1.0),
        (Trouble::Html(503, html), false, 0.0..1.0),
        (Trouble::ErrorBody, false, 0.0..1.0),
        (Trouble::Truncated, true, 0.0..1.0),
        (Trouble::Malformed, true, 0.0..1.0),
        (Trouble::Reset, true, 0.0..1.0),
        (Trouble::ResetBefore, false, 0.0..1.0),
        (Trouble::CutOff, true, 0.0..1.0),
        (Trouble::Stall { carried_out: false }, false, 125.0..126.0),
        (Trouble::Stall { carried_out: true }, true, 125.0..126.0),
        (Trouble::Slow, true, 2.0..10.0),
    ] {
        let sandbox = sandbox(0, Faults::default());
        sandbox.trouble(Service::Ometria, trouble.clone());
        let start = Instant::now();
        let result = send(&sandbox, Service::Ometria).await;
        assert!(seconds.contains(&start.elapsed().as_secs_f64()), "{trouble:?} {:?}", start.elapsed());
        assert_eq!(sandbox.ometria().contacts().len(), usize::from(arrives), "{trouble:?}");
        let json = |response: &Response| serde_json::from_slice::<Value>(response.body()).is_ok();
        let as_told = match (&trouble, &result) {
            (Trouble::Status(..), Ok(response)) => {
                response.status() == 503 && response.headers()["Retry-After"] == "2" && json(response)
            }
            (Trouble::Html(..), Ok(response)) => response.status() == 503 && response.body() == html,
            (Trouble::Truncated | Trouble::Malformed, Ok(response)) => {
                response.status() == 200 && !json(response)
            }
            (Trouble::ErrorBody, Ok(response)) => {
                response.status() == 200 && response.body().starts_with(b"{\"error\":")
            }
            (Trouble::Slow, Ok(response)) => response.status() == 200 && json(response),
            (Trouble::Reset | Trouble::ResetBefore | Trouble::CutOff, Err(Broken(_))) => true,
            (Trouble::Stall { .. }, Err(TimedOut)) => true,
            _ => false,
        };
        assert!(as_told, "{trouble:?} {result:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_change_shows_the_old_version_until_it_becomes_visible() {
    let sandbox = sandbox(20, Faults { late: Duration::from_secs(30), ..Faults::default() });
    let plain = numbers(&sandbox, "").await;
    let (renamed, archived, deleted) = {
        let mut numbers = plain.iter().copied();
        let mut next = || numbers.next().unwrap();
        (next(), next(), next())
    };
    let old = first_name(&sandbox, renamed).await.unwrap();
    let now = at(NOON);
    let inserted = {
        let mut mailchimp = sandbox.mailchimp();
        mailchimp.edit("l", renamed, now, |member| member.first = "Augusta".into());
        mailchimp.edit("l", renamed, now, |member| member.first = "Augusta Ada".into());
        mailchimp.archive("l", archived, now);
        mailchimp.delete("l", deleted, now);
        mailchimp.insert("l", now).unwrap()
    };
    assert_eq!(numbers(&sandbox, "").await, plain);
    assert_eq!(first_name(&sandbox, renamed).await, Some(old.clone()));
    assert!(numbers(&sandbox, "since_last_changed=2026-11-21T11:59:59Z").await.is_empty());
    assert!(!numbers(&sandbox, "status=archived").await.contains(&archived));
    let mut versions = vec![old];
    for _ in 0..300 {
        let name = first_name(&sandbox, renamed).await.unwrap();
        if versions.last() != Some(&name) {
            versions.push(name);
        }
    }
    assert!(["Augusta", "Augusta Ada"].contains(&versions[1].as_str()), "{versions:?}");
    assert_eq!(versions.last().unwrap(), "Augusta Ada");
    let mut expected = plain.clone();
    expected.retain(|number| ![archived, deleted].contains(number));
    expected.insert(inserted);
    assert_eq!(numbers(&sandbox, "").await, expected);
    assert!(numbers(&sandbox, "status=archived").await.contains(&archived));
    let recent = numbers(&sandbox, "since_last_changed=2026-11-21T11:59:59Z").await;
    assert_eq!(recent, HashSet::from([renamed, inserted]));
}

#[tokio::test(start_paused = true)]
async fn a_stale_response_is_never_older_than_configured() {
    let stale = Duration::from_secs(5);
    let sandbox = sandbox(20, Faults { stale, ..Faults::default() });
    let clock = TokioClock::at(NOON);
    let of = *numbers(&sandbox, "").await.iter().next().unwrap();
    let mut made = vec![];
    let (mut fresh, mut old) = (0, 0);
    for change in 0..300 {
        let now = clock.now();
        sandbox.mailchimp().edit("l", of, now, |member| member.first = change.to_string());
        sandbox.mailchimp().edit("l", of, now, |member| member.status = "subscribed");
        made.push(now);
        sleep(Duration::from_millis(900)).await;
        let seen: usize = match first_name(&sandbox, of).await.unwrap().parse() {
            Ok(seen) => seen,
            Err(_) => continue,
        };
        if let Some(next) = made.get(seen + 1) {
            assert!(clock.now() - *next <= TimeDelta::from_std(stale).unwrap(), "{change} {seen}");
            old += 1;
        } else {
            fresh += 1;
        }
    }
    assert!(fresh > 100 && old > 80, "{fresh} fresh, {old} old");
}

#[tokio::test(start_paused = true)]
async fn members_of_one_second_come_in_another_order_with_every_answer_and_all_of_them_come() {
    let sandbox = sandbox(900, Faults { shuffle_ties: true, ..Faults::default() });
    let stamp = |row: &Value| row["last_changed"].as_str().unwrap().to_owned();
    for direction in ["ASC", "DESC"] {
        let query = format!("sort_field=last_changed&sort_dir={direction}");
        let (one, other) = (rows(&sandbox, &query).await, rows(&sandbox, &query).await);
        assert_ne!(one, other);
        assert_eq!(one.iter().map(stamp).collect::<Vec<_>>(), other.iter().map(stamp).collect::<Vec<_>>());
        assert!(one.is_sorted_by(|a, b| if direction == "ASC" {
            stamp(a) <= stamp(b)
        } else {
            stamp(a) >= stamp(b)
        }));
        let all = |rows: &[Value]| rows.iter().map(number).collect::<BTreeSet<_>>();
        assert_eq!((all(&one).len(), all(&one)), (one.len(), all(&other)));
        let moved = one.iter().zip(&other).filter(|(one, other)| one != other);
        let tied = |row: &Value| one.iter().filter(|other| stamp(other) == stamp(row)).count() > 1;
        assert!(moved.clone().all(|(row, _)| tied(row)));
        // A small page lists any members of a second, also some that belong to another page.
        let start = one.iter().position(tied).unwrap();
        let mut shown = HashSet::new();
        for _ in 0..60 {
            let answer = sandbox
                .handle(request(
                    Method::GET,
                    &format!("/3.0/lists/l/members?{query}&count=1&offset={}", start + 1),
                    String::new(),
                ))
                .await
                .unwrap();
            let answer: Value = serde_json::from_slice(answer.body()).unwrap();
            assert_eq!(stamp(&answer["members"][0]), stamp(&one[start]));
            shown.insert(number(&answer["members"][0]));
        }
        assert!(shown.len() > 10, "{}", shown.len());
    }
}

#[tokio::test(start_paused = true)]
async fn people_change_the_list_in_every_way_while_it_is_paged() {
    let sandbox = sandbox(300, Faults { edits_per_second: 5.0, ..Faults::default() });
    let truth = |archived: bool| -> HashSet<u64> {
        let mailchimp = sandbox.mailchimp();
        let members = mailchimp.members("l").filter(|member| (member.status == "archived") == archived);
        members.map(|member| member.number).collect()
    };
    let (listed, archived) = (truth(false), truth(true));
    for _ in 0..600 {
        send(&sandbox, Service::Mailchimp).await.unwrap();
    }
    let edits = sandbox.mailchimp().edits().clone();
    assert_eq!(edits.keys().copied().collect::<Vec<_>>(), Edit::ALL);
    assert!((200..400).contains(&edits.values().sum::<usize>()), "{edits:?}");
    sandbox.behave();
    assert_eq!(numbers(&sandbox, "").await, truth(false));
    assert_eq!(numbers(&sandbox, "status=archived").await, truth(true));
    assert_eq!(truth(false).len() + truth(true).len(), 300 + edits[&Edit::Insert] - edits[&Edit::Delete]);
    assert!(!listed.is_disjoint(&truth(true)) && !archived.is_disjoint(&truth(false)));
    let changed = rows(&sandbox, "since_last_changed=2026-11-21T12:00:00Z").await;
    assert!(changed.len() > 50 && changed.len() < edits.values().sum(), "{}", changed.len());
}

#[tokio::test(start_paused = true)]
async fn a_member_leaves_and_enters_the_listings_by_the_hand_of_a_test() {
    let sandbox = sandbox(50, Faults::default());
    let listed = async |number| {
        (
            numbers(&sandbox, "").await.contains(&number),
            numbers(&sandbox, "status=archived").await.contains(&number),
        )
    };
    let number = sandbox.mailchimp().insert("l", at(NOON)).unwrap();
    assert_eq!((number, listed(number).await), (50, (true, false)));
    sandbox.mailchimp().archive("l", number, at(NOON));
    assert_eq!(listed(number).await, (false, true));
    sandbox.mailchimp().unarchive("l", number, at(NOON));
    assert_eq!(listed(number).await, (true, false));
    sandbox.mailchimp().delete("l", number, at(NOON));
    assert_eq!(listed(number).await, (false, false));
    assert_eq!(sandbox.mailchimp().insert("l", at(NOON)), Some(51), "a number is not given twice");
    assert_eq!(sandbox.mailchimp().insert("other", at(NOON)), None);
}

#[tokio::test(start_paused = true)]
async fn once_it_behaves_nothing_goes_wrong_and_what_was_changed_shows_in_its_time() {
    let sandbox = sandbox(200, Faults { troubles: 1.0, edits_per_second: 3.0, ..Faults::by_default(1) });
    for _ in 0..20 {
        let _ = send(&sandbox, Service::Mailchimp).await;
        sleep(Duration::from_secs(1)).await;
    }
    sandbox.behave();
    let (troubles, edits) = (sandbox.seen().troubles.len(), sandbox.mailchimp().edits().clone());
    let truth: HashSet<u64> = {
        let mailchimp = sandbox.mailchimp();
        mailchimp.members("l").filter(|member| member.status != "archived").map(|m| m.number).collect()
    };
    assert_ne!(numbers(&sandbox, "").await, truth, "some of it is late");
    assert_eq!(rows(&sandbox, "count=50").await, rows(&sandbox, "count=50").await);
    sleep(minutes(1)).await;
    assert_eq!(numbers(&sandbox, "").await, truth);
    send(&sandbox, Service::Ometria).await.unwrap();
    assert_eq!((sandbox.seen().troubles.len(), sandbox.mailchimp().edits()), (troubles, &edits));
}

#[tokio::test(start_paused = true)]
async fn the_services_clock_is_off_as_configured_and_stays_so_without_faults() {
    let usual: BTreeSet<TimeDelta> = (0..20).map(|seed| Faults::by_default(seed).ahead).collect();
    assert_eq!(Vec::from_iter(usual), [-10, 0, 10].map(TimeDelta::minutes));
    for ahead in [-10, 0, 10].map(TimeDelta::minutes) {
        let sandbox = sandbox(50, Faults { edits_per_second: 5.0, ahead, ..Faults::default() });
        let begun = Instant::now();
        for _ in 0..2 {
            sleep(minutes(1)).await;
            let answer = send(&sandbox, Service::Mailchimp).await.unwrap();
            let date = DateTime::parse_from_rfc2822(answer.headers()["Date"].to_str().unwrap()).unwrap();
            let off = date.to_utc() - at(NOON) - TimeDelta::from_std(begun.elapsed()).unwrap();
            assert!((off - ahead).abs() < TimeDelta::seconds(2), "{off}, not {ahead}");
            let mailchimp = sandbox.mailchimp();
            let newest = mailchimp.members("l").last().unwrap().last_changed;
            drop(mailchimp);
            let old = (date.to_utc() - newest).num_seconds();
            assert!((0..70).contains(&old), "people live by that clock: {newest}, {ahead}");
            sandbox.behave();
        }
    }
}

#[tokio::test]
async fn on_loopback_a_connection_breaks_as_it_does_in_process() {
    let sandbox = Arc::new(Sandbox::new(Arc::new(SystemClock), Duration::ZERO));
    sandbox.mailchimp().add_list("l", 100, 1, at(NOON));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = JoinSet::new();
    server.spawn(serve(listener, sandbox.clone()));
    let members = request(Method::GET, "/3.0/lists/l/members?count=100", String::new());
    let (head, _) = members.clone().into_parts();
    let authorization = head.headers["Authorization"].to_str().unwrap();
    let raw = format!(
        "GET {} HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\nAuthorization: {authorization}\r\n\r\n",
        head.uri
    );
    let heard = async |trouble: Trouble| {
        sandbox.trouble(Service::Mailchimp, trouble);
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(raw.as_bytes()).await.unwrap();
        let mut bytes = vec![];
        let end = stream.read_to_end(&mut bytes).await.map_err(|error| error.kind());
        (end, String::from_utf8(bytes).unwrap())
    };
    for trouble in [Trouble::Reset, Trouble::ResetBefore] {
        assert_eq!(heard(trouble).await, (Err(std::io::ErrorKind::ConnectionReset), String::new()));
    }
    let (end, text) = heard(Trouble::CutOff).await;
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert_eq!((end.is_ok(), body.len()), (true, length.parse::<usize>().unwrap() / 2));

    let web = Web::new().unwrap();
    for trouble in [Trouble::Reset, Trouble::ResetBefore, Trouble::CutOff] {
        sandbox.trouble(Service::Mailchimp, trouble.clone());
        let (mut head, body) = members.clone().into_parts();
        head.uri = format!("http://{address}/3.0/lists/l/members?count=100").parse().unwrap();
        let answer = web.send(http::Request::from_parts(head.clone(), body.clone())).await;
        assert!(matches!(answer, Err(TransportError::Broken(_))), "{trouble:?} {answer:?}");
        let answer = web.send(http::Request::from_parts(head, body)).await.unwrap();
        assert_eq!(answer.status(), 200);
        serde_json::from_slice::<Value>(answer.body()).unwrap();
    }
}
