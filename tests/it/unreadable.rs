//! Records that can't be read become dead letters; all others are delivered.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use http::Method;
use importer::{
    controller::Verdict,
    net::{Request, Response, Transport, TransportError},
    sandbox::{Sandbox, people::Member},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::places::dead_letter;
use crate::{
    contract::{self, sandbox, source},
    loopback::{Loopback, finish},
    support::{World, hours},
    twist::{Twist, each_member, with_body},
};

fn letters(world: &World, list_id: &str) -> Vec<Value> {
    let path = dead_letter(world.folder.path(), list_id);
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Returns a subscriber in the middle of the list.
fn victim(world: &World, list_id: &str) -> Member {
    let mailchimp = world.sandbox.mailchimp();
    let mut members = mailchimp.members(list_id).filter(|member| member.status == "subscribed");
    members.nth(100).unwrap().clone()
}

/// Returns whether a request is for a page or a member of Mailchimp.
fn reads(request: &Request) -> bool {
    request.method() == Method::GET && request.uri().path().contains("/members")
}

/// Replaces bytes anywhere in a response.
fn replaced(response: Response, from: &[u8], to: &[u8]) -> Response {
    let body = response.body().to_vec();
    let mut out = vec![];
    let mut rest = &body[..];
    while !rest.is_empty() {
        if rest.starts_with(from) {
            out.extend(to);
            rest = &rest[from.len()..];
        } else {
            out.push(rest[0]);
            rest = &rest[1..];
        }
    }
    with_body(response, out)
}

/// Damages one member of a response.
type Spoil = fn(Response, &Member) -> Response;

fn spoil_field(response: Response, member: &Member, field: &str, value: &Value) -> Response {
    let id = member.id();
    each_member(response, |found| {
        if found["id"] == id.as_str() {
            match value {
                Value::String(text) if text == "(none)" => _ = found.as_object_mut().unwrap().remove(field),
                value => found[field] = value.clone(),
            }
        }
    })
}

const SPOILS: [(&str, Spoil); 12] = [
    ("`id` is null", |response, member| spoil_field(response, member, "id", &Value::Null)),
    ("`id` is missing", |response, member| spoil_field(response, member, "id", &json!("(none)"))),
    ("`id` is a number", |response, member| spoil_field(response, member, "id", &json!(123_456))),
    ("`last_changed` is null", |response, member| {
        spoil_field(response, member, "last_changed", &Value::Null)
    }),
    ("`last_changed` is missing", |response, member| {
        spoil_field(response, member, "last_changed", &json!("(none)"))
    }),
    ("`last_changed` is blank", |response, member| spoil_field(response, member, "last_changed", &json!(""))),
    ("`last_changed` is not a valid time", |response, member| {
        spoil_field(response, member, "last_changed", &json!("yesterday"))
    }),
    ("the record is null, not an object", |response, member| {
        let id = member.id();
        each_member(response, |found| {
            if found["id"] == id.as_str() {
                *found = Value::Null;
            }
        })
    }),
    ("it contains bytes that are not UTF-8", |response, member| {
        let email = member.email.as_bytes();
        replaced(response, email, &[&email[..3], b"\xff\xfe", &email[3..]].concat())
    }),
    ("it contains bytes that are not UTF-8", |response, member| {
        // Half a character, as in a truncated text.
        let email = member.email.as_bytes();
        replaced(response, email, &[email, b"\xc3"].concat())
    }),
    ("it contains a control character, which JSON does not allow", |response, member| {
        let email = member.email.as_bytes();
        replaced(response, email, &[&email[..3], b"\x01\n", &email[3..]].concat())
    }),
    ("it contains an escape that JSON does not know", |response, member| {
        let email = member.email.as_bytes();
        replaced(response, email, &[&email[..3], b"\\x41", &email[3..]].concat())
    }),
];

#[tokio::test(start_paused = true)]
async fn one_member_that_cannot_be_read_is_kept_and_all_others_are_delivered() {
    for (index, (what, spoil)) in SPOILS.into_iter().enumerate() {
        let world = World::new().list("unr1", 350).with_state(r#"[{"list_id": "unr1"}]"#);
        let member = victim(&world, "unr1");
        let spoilt = member.clone();
        let world = world.through(|sandbox| {
            Twist(
                sandbox,
                move |request: &Request, response| {
                    if reads(request) { spoil(response, &spoilt) } else { response }
                },
            )
        });
        assert_eq!(world.once().await.unwrap(), Verdict::Done, "{index} {what}");
        let expected = world.expected("unr1");
        assert_eq!(world.contacts(), expected.len() - 1, "{index} {what}");
        assert!(world.contact("unr1", &member).is_none());
        assert_eq!(world.logged("1 rejected (1 unreadable)"), 1, "{index} {what}");
        let seen = world.sandbox.mailchimp().members("unr1").filter(|m| m.status != "archived").count();
        let told = format!("{seen} records in the window, {seen} seen: {} sent", world.contacts());
        assert_eq!(world.logged(&told), 1, "{index} {what}: {told}");
        assert_ne!(world.field("latest_timestamp"), Value::Null, "{index} {what}");
        let found = letters(&world, "unr1");
        assert_eq!(found.len(), 1, "{index} {what}: {found:?}");
        let reason = found[0]["reason"].as_str().unwrap();
        assert!(reason.starts_with(&format!("unreadable: {what}; row ")), "{index}: {reason}");
        assert!(reason.contains(" of the page at offset "), "{reason}");
        assert!(
            !reason.contains('@') && !reason.contains("yesterday") && !reason.contains("123456"),
            "{reason}"
        );
        assert_eq!(found[0]["payload"], Value::Null);

        // The next run sends nothing more, and a reload adds no letters.
        sleep(hours(3)).await;
        let pushes = world.pushes().len();
        assert_eq!(world.once().await.unwrap(), Verdict::Done, "{index} {what}");
        assert_eq!(world.pushes().len(), pushes, "{index} {what}");
        assert_eq!(letters(&world, "unr1").len(), 1, "{index} {what}");
        world.save(r#"[{"list_id": "unr1"}]"#);
        assert_eq!(world.once().await.unwrap(), Verdict::Done, "{index} {what}");
        assert_eq!(letters(&world, "unr1").len(), 1, "{index} {what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_can_be_read_at_the_next_full_load_is_no_dead_letter_any_more() {
    for (what, spoil) in [SPOILS[0], SPOILS[5], SPOILS[8]] {
        let world = World::new().list("unr2", 350).with_state(r#"[{"list_id": "unr2"}]"#);
        let member = victim(&world, "unr2");
        let (spoilt, broken) = (member.clone(), Arc::new(AtomicBool::new(true)));
        let still = broken.clone();
        let world = world.through(|sandbox| {
            Twist(sandbox, move |request: &Request, response| {
                if reads(request) && still.load(Ordering::Relaxed) {
                    spoil(response, &spoilt)
                } else {
                    response
                }
            })
        });
        world.once().await.unwrap();
        assert_eq!(letters(&world, "unr2").len(), 1, "{what}");
        broken.store(false, Ordering::Relaxed);
        world.save(r#"[{"list_id": "unr2"}]"#);
        assert_eq!(world.once().await.unwrap(), Verdict::Done, "{what}");
        assert_eq!(letters(&world, "unr2"), [] as [Value; 0], "{what}");
        world.assert_delivered("unr2");
    }
}

/// An archived member must not stay opted in. Its letter counts as an opt-out, and no load drops it without
/// reading the member.
#[tokio::test(start_paused = true)]
async fn the_letter_of_an_archived_member_that_cannot_be_read_stays() {
    let world = World::new().list("unr3", 350).with_state(r#"[{"list_id": "unr3"}]"#);
    let member = victim(&world, "unr3");
    let spoilt = member.clone();
    let world = world.through(|sandbox| {
        Twist(sandbox, move |request: &Request, response| {
            let archived = request.uri().query().is_some_and(|query| query.contains("status=archived"));
            if reads(request) && archived {
                spoil_field(response, &spoilt, "id", &Value::Null)
            } else {
                response
            }
        })
    });
    world.once().await.unwrap();
    assert_eq!(letters(&world, "unr3").len(), 0);
    sleep(hours(3)).await;
    let now = world.clock.now();
    world.sandbox.mailchimp().archive("unr3", member.number, now);
    sleep(hours(3)).await;
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    let found = letters(&world, "unr3");
    assert_eq!((found.len(), &found[0]["opts_out"]), (1, &json!(true)), "{found:?}");
    assert!(found[0]["reason"].as_str().unwrap().contains("of the archived members"), "{found:?}");
    sleep(hours(3)).await;
    world.save(r#"[{"list_id": "unr3"}]"#);
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(letters(&world, "unr3").len(), 1, "nobody has read it since");
}

/// Shows members without a time of their last change in the listing without bounds, and in no window.
struct Hiding {
    sandbox: Arc<Sandbox>,
    number: u64,
    /// Whether these members are listed before all others or after them.
    first: bool,
    /// Whether the listing shows them at all.
    shown: bool,
}

impl Transport for Hiding {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(async move {
            let query: HashMap<String, String> =
                url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes())
                    .into_owned()
                    .collect();
            let bounded = ["since_last_changed", "before_last_changed", "status"];
            if !reads(&request)
                || !query.contains_key("count")
                || bounded.iter().any(|name| query.contains_key(*name))
            {
                return self.sandbox.handle(request).await;
            }
            let number = |name: &str| query.get(name).map_or(0, |text| text.parse::<usize>().unwrap());
            let (offset, count) = (number("offset"), number("count"));
            let rest: String = query
                .iter()
                .filter(|(name, _)| !["offset", "count"].contains(&name.as_str()))
                .map(|(name, value)| format!("&{name}={value}"))
                .collect();
            let mut rows: Vec<Value> = vec![];
            let (mut head, body) = request.into_parts();
            let response = loop {
                let uri = format!("{}?count=1000&offset={}{rest}", head.uri.path(), rows.len());
                head.uri = uri.parse().unwrap();
                let asked = Request::from_parts(head.clone(), body.clone());
                let response = self.sandbox.handle(asked).await?;
                let page: Value = serde_json::from_slice(response.body()).unwrap();
                let found = page["members"].as_array().cloned().unwrap_or_default();
                if found.is_empty() {
                    break response;
                }
                rows.extend(found);
            };
            let hidden = (0..self.number).map(|number| {
                json!({"id": format!("hidden{number}"), "email_address": format!("h{number}@example.com"),
                    "status": "subscribed", "last_changed": "", "merge_fields": {}})
            });
            let total = rows.len() as u64 + self.number;
            let at = if self.first { 0 } else { rows.len() };
            if self.shown {
                rows.splice(at..at, hidden);
            }
            let page: Vec<Value> = rows.into_iter().skip(offset).take(count).collect();
            Ok(with_body(response, json!({"members": page, "total_items": total}).to_string()))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn members_without_a_time_that_no_window_shows_are_read_from_the_end_of_the_listing_where_they_stand() {
    for (first, number) in [(true, 2), (false, 2), (true, 250), (false, 250)] {
        let size = 600;
        let world = World::new().list("unr4", size).with_state(r#"[{"list_id": "unr4"}]"#);
        let world = world.through(|sandbox| Hiding { sandbox, number, first, shown: true });
        assert_eq!(world.once().await.unwrap(), Verdict::Done, "{first} {number}");
        world.assert_delivered("unr4");
        assert_ne!(world.field("latest_timestamp"), Value::Null);
        assert_eq!(world.logged(&format!("{number} rejected ({number} unreadable)")), 1);
        let seen =
            world.sandbox.mailchimp().members("unr4").filter(|m| m.status != "archived").count() as u64;
        let seen = seen + number;
        assert_eq!(
            world.logged(&format!("{seen} records in the window, {seen} seen: ")),
            1,
            "{first} {number}"
        );
        let found = letters(&world, "unr4");
        assert_eq!(found.len() as u64, number);
        assert!(
            found.iter().all(|letter| letter["reason"].as_str().unwrap().contains("`last_changed` is blank"))
        );
        if number > 2 {
            continue;
        }
        world.save(r#"[{"list_id": "unr4"}]"#);
        assert_eq!(world.once().await.unwrap(), Verdict::Done);
        assert_eq!(letters(&world, "unr4").len() as u64, number, "they do not pile up");
    }
}

#[tokio::test(start_paused = true)]
async fn members_that_the_source_counts_and_shows_nowhere_are_no_success() {
    let world = World::new().list("unr5", 350).with_state(r#"[{"list_id": "unr5"}]"#);
    let world = world.through(|sandbox| Hiding { sandbox, number: 2, first: true, shown: false });
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    assert!(
        world.logged("2 records have no time of their last change, and the listing shows none of them") > 0
    );
    assert_eq!(world.field("latest_timestamp"), Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_broken_envelope_is_no_page() {
    for (from, to) in
        [(&b"\"total_items\""[..], &b"\"total\""[..]), (b"\"members\":[", b"\"members\":["), (b"]", b"")]
    {
        let world = World::new().list("unr6", 50).with_state(r#"[{"list_id": "unr6"}]"#);
        let world = world.through(|sandbox| {
            Twist(sandbox, move |request: &Request, response: Response| {
                if !reads(request) {
                    return response;
                }
                // Cuts within a character as well.
                if from == to {
                    with_body(response, b"{\"members\":[{\"id\":\"\xc3".to_vec())
                } else {
                    replaced(response, from, to)
                }
            })
        });
        assert_eq!(world.once().await.unwrap(), Verdict::Failed);
        assert!(world.logged("mailchimp's response can't be read: unexpected JSON at line 1 column ") > 0);
        assert_eq!((world.contacts(), letters(&world, "unr6").len()), (0, 0));
    }
}

const SHIFTS: &str = r#"[{"list_id": "shifts", "source": "when_i_work", "sink": "ndjson", "every": "1h"}]"#;

#[tokio::test(start_paused = true)]
async fn one_shift_that_cannot_be_read_is_kept_and_all_others_are_passed_on() {
    type Spoil = fn(&mut Value);
    let spoils: [(&str, Spoil); 6] = [
        ("`id` is null; shift 3 of the page", |body| body["shifts"][2]["id"] = Value::Null),
        ("`id` is a negative number; shift 3 of the page", |body| body["shifts"][2]["id"] = json!(-1)),
        ("`id` is a string; shift 3 of the page", |body| body["shifts"][2]["id"] = json!("x")),
        ("the record is null, not an object; shift 3 of the page", |body| body["shifts"][2] = Value::Null),
        ("`id` is missing; shift 3 of the page", |body| {
            _ = body["shifts"][2].as_object_mut().unwrap().remove("id")
        }),
        ("`id` is null; deleted shift 1 of the page", |body| body["deleted_ids"] = json!([null])),
    ];
    for (index, (what, spoil)) in spoils.into_iter().enumerate() {
        let world = World::new().with_state(SHIFTS);
        world.sandbox.when_i_work().invent(60, 1, world.clock.now());
        let world = world.through(|sandbox| {
            Twist(sandbox, move |request: &Request, response: Response| {
                // The day that begins at noon's midnight.
                let query = request.uri().query().unwrap_or_default();
                if !query.contains("start=2026-11-21T00") {
                    return response;
                }
                let mut body: Value = serde_json::from_slice(response.body()).unwrap();
                spoil(&mut body);
                with_body(response, body.to_string())
            })
        });
        let whole = world
            .sandbox
            .when_i_work()
            .shifts()
            .filter(|s| {
                let (from, to) = (crate::support::at("2026-11-21"), crate::support::at("2026-11-23"));
                s.published && s.user_id != 0 && s.start >= from && s.start < to
            })
            .count();
        assert_eq!(world.once().await.unwrap(), Verdict::Done, "{what}");
        let expected = whole - usize::from(index < 5);
        assert_eq!(world.out("shifts.ndjson").len(), expected, "{what}");
        assert_eq!(world.logged("1 rejected (1 unreadable)"), 1, "{what}");
        let found = letters(&world, "shifts");
        assert_eq!(found.len(), 1, "{what}: {found:?}");
        let reason = found[0]["reason"].as_str().unwrap();
        assert!(reason.starts_with(&format!("unreadable: {what} from 2026-11-21 00:00:00 on")), "{reason}");
        sleep(hours(2)).await;
        assert_eq!(world.once().await.unwrap(), Verdict::Done, "{what}");
        assert_eq!(letters(&world, "shifts").len(), 1, "{what}");
        assert_eq!(world.out("shifts.ndjson").len(), expected, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shift_may_hold_bytes_that_are_not_utf_8() {
    let world = World::new().with_state(SHIFTS);
    world.sandbox.when_i_work().invent(60, 1, world.clock.now());
    let victim = {
        let account = world.sandbox.when_i_work();
        let day = |s: &&importer::sandbox::when_i_work::Shift| {
            s.published
                && s.user_id != 0
                && s.start >= crate::support::at("2026-11-21")
                && s.start < crate::support::at("2026-11-22")
        };
        account.shifts().filter(day).nth(2).unwrap().id
    };
    let world = world.through(|sandbox| {
        Twist(sandbox, move |request: &Request, response| {
            let from = format!("\"id\":{victim},");
            let to = [from.as_bytes(), b"\"x\":\"\xe9t\xe9\","].concat();
            if request.uri().path().contains("shifts") {
                replaced(response, from.as_bytes(), &to)
            } else {
                response
            }
        })
    });
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    let found = letters(&world, "shifts");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["key"], victim.to_string());
    assert!(
        found[0]["reason"]
            .as_str()
            .unwrap()
            .starts_with("unreadable: it contains bytes that are not UTF-8; shift")
    );
    assert_eq!(world.logged("1 rejected (1 unreadable)"), 1);
}

/// Requests one record by its key, as a replay does.
#[tokio::test(start_paused = true)]
async fn a_record_requested_by_its_key_is_reported_as_unreadable() {
    let sandbox = sandbox(Default::default());
    let member = sandbox.mailchimp().members("a").find(|m| m.status == "subscribed").unwrap().clone();
    for (what, spoil) in [SPOILS[5], SPOILS[8]] {
        let spoilt = member.clone();
        let twisted = Twist(sandbox.clone(), move |_: &Request, response| spoil(response, &spoilt));
        let doors = doors(Arc::new(twisted));
        let found =
            source("mailchimp", "a", &doors).lookup().unwrap().find(&member.id()).await.unwrap().unwrap();
        assert_eq!(found.key, member.id());
        assert!(found.unreadable.unwrap().starts_with(what));
    }
    let source = source("mailchimp", "a", &contract::sandbox_doors(&sandbox));
    assert_eq!(source.lookup().unwrap().find(&member.id()).await.unwrap().unwrap().unreadable, None);
}

fn doors(transport: Arc<dyn Transport>) -> importer::net::AccountClients {
    let known =
        |name: &str| crate::support::KEYS.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let environment = importer::net::Environment::new(move |name| known(name).map(str::to_owned));
    importer::net::AccountClients::new(
        environment,
        transport,
        Arc::new(crate::support::TokioClock::at(crate::support::NOON)),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_keeps_the_letter_of_a_record_that_cannot_be_requested_and_says_so() {
    let state = r#"[{"list_id": "unr7"}]"#;
    let loopback = Loopback::start(Duration::ZERO, state).await.list("unr7", 50);
    assert_eq!(finish(loopback.command(&["go", "--once"])).await.0, 0);
    let member = {
        let mailchimp = loopback.sandbox.mailchimp();
        mailchimp.members("unr7").find(|member| member.status == "subscribed").unwrap().id()
    };
    let letter = |key: &str| {
        json!({"key": key, "entry": "unr7", "reason": "unreadable: `id` is null; row 17 of the page at offset 300",
            "request_id": null, "time": "2026-11-21T12:00:00Z", "payload": null})
    };
    let file = dead_letter(loopback.folder.path(), "unr7");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let nameless = "unreadable-0123456789abcdef0123456789abcdef";
    std::fs::write(&file, format!("{}\n{}\n", letter(&member), letter(nameless))).unwrap();
    for arguments in [&["replay", "--dry-run"][..], &["replay"]] {
        let reads = loopback.sandbox.seen().reads.len();
        let (code, told, _) = finish(loopback.command(arguments)).await;
        assert_eq!(code, 1, "{told}");
        assert!(told.contains("2 dead letters: 1 ") && told.contains("1 rejected (1 unreadable)"), "{told}");
        assert!(told.contains("1 has no readable key, so a replay can't request it"), "{told}");
        assert!(loopback.sandbox.seen().reads.iter().skip(reads).all(|read| !read.contains(nameless)));
    }
    let left = std::fs::read_to_string(&file).unwrap();
    assert!(left.lines().count() == 1 && left.contains(nameless), "{left}");
}
