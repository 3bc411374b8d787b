//! The real program with the sink `http` and a receiver that refuses, throttles and miscounts.

use std::{fs, time::Duration};

use importer::{
    controller::Verdict,
    sandbox::{Sandbox, Service, Trouble, people::Member, receiver, receiver::Reply},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::places::dead_letter;
use crate::{
    loopback::{Loopback, finish, output},
    support::{World, at},
};

/// Path and query of the address: a secret, as that of a webhook is.
const PATH: &str = "/hooks/T0P-S3CR3T?code=L0NG";

/// Returns a state file whose only entry sends a list of `source` to the receiver at `host`.
fn entry(list_id: &str, source: &str, host: &str, more: Value) -> String {
    let mut sink = json!({"type": "http", "url": format!("{host}{PATH}"), "auth": "bearer"});
    sink.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!([{"list_id": list_id, "source": source, "mapping": "as_is", "sink": sink}]).to_string()
}

fn results() -> Value {
    json!({"results": {"path": "results", "status": "status", "retry": ["busy"], "reason": "error"}})
}

const HOST: &str = "https://receiver.example.org";

/// Returns the members that are listed, the only ones that a first load sends.
fn listed(sandbox: &Sandbox, list_id: &str) -> Vec<Member> {
    let mailchimp = sandbox.mailchimp();
    mailchimp.members(list_id).filter(|member| member.status != "archived").cloned().collect()
}

fn letters(folder: &std::path::Path, list_id: &str) -> Vec<Value> {
    let path = dead_letter(folder, list_id);
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn single_records_that_are_refused_or_throttled_hold_up_no_other() {
    for reply in [Reply::Each, Reply::Count, Reply::Empty] {
        let more = match reply {
            Reply::Each => results(),
            Reply::Count => json!({"count": "received"}),
            Reply::Empty => json!({}),
        };
        // Without a result for each record, a throttled one throttles its batch.
        let throttled = if reply == Reply::Each { 20 } else { 11 };
        let world = World::new().list("hook1", 450).with_state(&entry("hook1", "mailchimp", HOST, more));
        let members = listed(&world.sandbox, "hook1");
        {
            let mut receiver = world.sandbox.receiver();
            receiver.reply(reply);
            members[..3].iter().for_each(|member| receiver.refuse(&member.id(), true));
            members[10..throttled].iter().for_each(|member| receiver.throttle(&member.id(), 2));
        }
        assert_eq!(world.once().await.unwrap(), Verdict::Done, "{reply:?}");
        let held = world.sandbox.receiver().records().clone();
        assert_eq!(held.len(), members.len() - 3, "{reply:?}");
        assert!(
            members[3..].iter().all(|member| held[&member.id()]["email_address"] == member.email.as_str())
        );
        let letters = letters(world.folder.path(), "hook1");
        let mut keys: Vec<&str> = letters.iter().map(|letter| letter["key"].as_str().unwrap()).collect();
        let mut expected: Vec<String> = members[..3].iter().map(Member::id).collect();
        keys.sort_unstable();
        expected.sort_unstable();
        assert_eq!(keys, expected, "{reply:?}");
        let reason = match reply {
            Reply::Each => {
                "receiver.example.org rejected the record: 422 unprocessable entity: the record of <address> is invalid"
            }
            _ => "receiver.example.org returned 422 unprocessable entity: a record is invalid",
        };
        assert!(
            letters.iter().all(|letter| letter["reason"].as_str().unwrap().contains(reason)),
            "{letters:?}"
        );
        assert_eq!(world.logged("3 rejected (3 refused)"), 1, "{reply:?}");
        assert_eq!(world.field("total_updates"), members.len() - 3);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_receiver_does_not_confirm_is_sent_again_until_all_of_it_has_arrived() {
    let world = World::new().list("hook2", 450).with_state(&entry("hook2", "mailchimp", HOST, results()));
    world.sandbox.receiver().reply(Reply::Each);
    world.sandbox.receiver().set_capacity(Some(30));
    let page = "<html>Please try again later.</html>";
    for trouble in [
        Trouble::ErrorBody,
        Trouble::Html(200, page),
        Trouble::Truncated,
        Trouble::Malformed,
        Trouble::Reset,
        Trouble::ResetBefore,
        Trouble::CutOff,
        Trouble::Slow,
        Trouble::Stall { carried_out: true },
        Trouble::Status(503, Some("2")),
        Trouble::Html(403, page),
    ] {
        world.sandbox.trouble(Service::Receiver, trouble);
    }
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    let members = listed(&world.sandbox, "hook2");
    let held = world.sandbox.receiver().records().clone();
    assert!(members.iter().all(|member| held.contains_key(&member.id())));
    assert_eq!((held.len(), world.field("total_updates")), (members.len(), members.len().into()));
    assert_eq!(world.sandbox.seen().troubles.len(), 11);
    assert_eq!(letters(world.folder.path(), "hook2").len(), 0);
    for text in ["has no array at `results`: busy", "is a page, not an answer"] {
        assert!(world.logged(text) > 0, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_number_of_results_or_records_is_not_believed() {
    for (reply, more, text) in [
        (Reply::Each, results(), "99 items at `results` for 100 records"),
        (Reply::Count, json!({"count": "received"}), "does not confirm 100 records at `received`"),
    ] {
        let world = World::new().list("hook6", 150).with_state(&entry("hook6", "mailchimp", HOST, more));
        world.sandbox.receiver().reply(reply);
        world.sandbox.receiver().miscount(1);
        assert_eq!(world.once().await.unwrap(), Verdict::Done, "{reply:?}");
        assert_eq!(world.logged(text), 1, "{reply:?}");
        let (held, sent) = (world.sandbox.receiver().records().len(), world.sandbox.seen().batches);
        assert_eq!(held, listed(&world.sandbox, "hook6").len());
        assert_eq!(sent.iter().sum::<usize>(), held + 100, "the batch was sent twice");
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_never_confirms_fails_the_list_and_the_next_run_goes_on() {
    let text = entry("hook3", "mailchimp", HOST, json!({"count": "received"}));
    let world = World::new().list("hook3", 150).with_state(&text);
    world.sandbox.receiver().reply(Reply::Count);
    world.sandbox.receiver().set_capacity(Some(99));
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    assert!(world.logged("receiver.example.org's response does not confirm 100 records at `received`") > 0);
    assert!(world.field("latest_timestamp").is_null());
    world.sandbox.receiver().set_capacity(None);
    sleep(Duration::from_secs(300)).await;
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(world.sandbox.receiver().records().len(), listed(&world.sandbox, "hook3").len());
}

#[tokio::test(start_paused = true)]
async fn only_what_has_changed_is_sent_and_a_deletion_once() {
    let world = World::new().with_state(&entry("shifts", "when_i_work", HOST, results()));
    world.sandbox.receiver().reply(Reply::Each);
    world.sandbox.when_i_work().invent(300, 1, world.clock.now());
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    let (from, to) = (at("2026-11-21"), at("2026-11-23"));
    let ids: Vec<u64> = {
        let account = world.sandbox.when_i_work();
        let shifts = account.shifts();
        let wanted = shifts.filter(|s| s.published && s.user_id != 0 && s.start >= from && s.start < to);
        wanted.map(|shift| shift.id).collect()
    };
    let sent = |world: &World| world.sandbox.seen().batches.iter().sum::<usize>();
    assert_eq!((sent(&world), world.sandbox.receiver().records().len()), (ids.len(), ids.len()));
    let later = Duration::from_secs(3 * 3600);
    sleep(later).await;
    world.once().await.unwrap();
    assert_eq!(sent(&world), ids.len(), "nothing has changed");
    let now = world.clock.now();
    world.sandbox.when_i_work().edit(ids[0], now, |shift| shift.notes = "Moved.".into());
    world.sandbox.when_i_work().delete(ids[1]);
    for _ in 0..2 {
        sleep(later).await;
        world.once().await.unwrap();
        assert_eq!(sent(&world), ids.len() + 2);
    }
    let held = world.sandbox.receiver().records().clone();
    assert_eq!(held[&ids[0].to_string()]["notes"], "Moved.");
    assert!(!held.contains_key(&ids[1].to_string()) && held.len() == ids.len() - 1);
}

/// Starts the sandbox on loopback and makes the entry's address its receiver.
async fn loopback(list_id: &str, more: Value) -> Loopback {
    let loopback = Loopback::start(Duration::ZERO, "[]").await.list(list_id, 200);
    let host = format!("http://127.0.0.1:{}", loopback.port);
    let text = entry(list_id, "mailchimp", &host, more);
    fs::write(loopback.folder.path().join("state.json"), text).unwrap();
    loopback
}

/// Login of an entry with `auth` basic, and what its header contains.
const USER: &str = "h00k-user";
const PASSWORD: &str = "p4ssw0rd-x";
const PAIR: &str = "aDAway11c2VyOnA0c3N3MHJkLXg=";

/// Runs a command with a log at `trace`. Its output and its log contain no secret.
async fn run(loopback: &Loopback, arguments: &[&str]) -> (i32, String) {
    let mut command = loopback.command(arguments);
    command
        .env("HTTP_SINK_TOKEN", receiver::TOKEN)
        .envs([("HTTP_SINK_USER", USER), ("HTTP_SINK_PASSWORD", PASSWORD)])
        .env("HTTP_SINK_HOSTS", format!("127.0.0.1:{}", loopback.port));
    let (code, told, log) = finish(command).await;
    let text = told + &log;
    // Texts of the receiver are in lower case.
    let lower = text.to_lowercase();
    for secret in ["T0P-S3CR3T", "L0NG", "/hooks", "t3n4nt", "Augusta", USER, PASSWORD, PAIR] {
        assert!(!lower.contains(&secret.to_lowercase()), "{secret} is in the output");
    }
    (code, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_record_is_replayed_as_it_is_now() {
    let loopback = loopback("hook4", results()).await;
    loopback.sandbox.receiver().reply(Reply::Each);
    let refused = listed(&loopback.sandbox, "hook4").remove(7);
    loopback.sandbox.receiver().refuse(&refused.id(), true);
    assert_eq!(run(&loopback, &["go", "--once"]).await.0, 0);
    let (code, text) = run(&loopback, &["replay", "hook4"]).await;
    assert!(code == 1 && text.contains("1 dead letter: 0 sent, 0 skipped, 1 rejected (1 refused)"), "{text}");
    loopback.sandbox.receiver().refuse(&refused.id(), false);
    let now = importer::base::clock::Clock::now(&importer::base::clock::SystemClock);
    loopback.sandbox.mailchimp().edit("hook4", refused.number, now, |member| member.first = "Augusta".into());
    let (code, text) = run(&loopback, &["replay", "hook4"]).await;
    assert!(code == 0 && text.contains("1 dead letter: 1 sent"), "{text}");
    let held = loopback.sandbox.receiver().records()[&refused.id()].clone();
    assert_eq!(held["merge_fields"]["FNAME"], "Augusta");
    assert!(letters(loopback.folder.path(), "hook4").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_contains_the_path_of_the_address_a_header_or_a_key() {
    let more = json!({"headers": {"X-Tenant": "t3n4nt"}, "count": "received"});
    let loopback = loopback("hook5", more).await;
    loopback.sandbox.receiver().reply(Reply::Count);
    loopback.sandbox.receiver().miscount(1);
    loopback.sandbox.trouble(Service::Receiver, Trouble::Status(503, Some("1")));
    loopback.sandbox.trouble(Service::Receiver, Trouble::Reset);
    let (code, text) = run(&loopback, &["go", "--once"]).await;
    let host = format!("to 127.0.0.1:{}: ", loopback.port);
    assert!(code == 0 && text.contains(&host), "{text}");
    assert_eq!(loopback.sandbox.receiver().records().len(), listed(&loopback.sandbox, "hook5").len());
    loopback.sandbox.trouble(Service::Receiver, Trouble::Status(401, None));
    let path = loopback.folder.path().join("state.json");
    let mut state: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    state[0]["latest_timestamp"] = Value::Null;
    fs::write(&path, state.to_string()).unwrap();
    let (code, text) = run(&loopback, &["go", "--once"]).await;
    assert!(code == 1 && text.contains("check the key in `HTTP_SINK_TOKEN`"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_contains_what_a_receiver_repeats_of_the_address_a_header_or_the_login() {
    for (status, body, shown) in [
        (404, r#"{"message": "Cannot POST /hooks/T0P-S3CR3T"}"#, "404 not found: cannot post ***"),
        (404, r#"{"message": "T0P-S3CR3T?code=L0NG is gone"}"#, "404 not found: ***?*** is gone"),
        (403, r#"{"message": "No tenant t3n4nt"}"#, "403 forbidden: no tenant ***"),
        (403, r#"{"message": "Bad Basic aDAway11c2VyOnA0c3N3MHJkLXg="}"#, "403 forbidden: bad basic ***"),
        (200, r#"{"error": "h00k-user may not store"}"#, "reports an error: *** may not store"),
    ] {
        let more = json!({"auth": "basic", "headers": {"X-Tenant": "t3n4nt"}});
        let loopback = loopback("hook7", more).await;
        loopback.sandbox.trouble(Service::Receiver, Trouble::Html(status, body));
        let (code, text) = run(&loopback, &["go", "--once"]).await;
        assert!(code == 1 && text.contains(shown), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_needs_neither_the_credentials_nor_the_hosts() {
    let loopback = loopback("hook9", json!({})).await;
    let (code, told, log) = output(loopback.command(&["preview", "hook9", "--count", "1"])).await;
    assert!(code == 0 && told.contains("\nWould be sent\n"), "{code} {told} {log}");
}
