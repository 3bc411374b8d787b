//! The safety brake for opt-ins: a run stops if it would opt in an unusual share of the list's records that
//! are known with another status.

use std::{fs, time::Duration};

use chrono::{DateTime, Utc};
use importer::controller::Verdict;
use tokio::time::sleep;

use crate::{
    ledger,
    support::{World, hours, minutes},
};

const SIZE: u64 = 2000;

fn opted_in(world: &World) -> usize {
    let ometria = world.sandbox.ometria();
    let contacts = ometria.contacts().values();
    contacts.filter(|contact| contact.get("marketing_optin") == Some(&"EXPLICITLY_OPTEDIN".into())).count()
}

/// Gives members with one status another status.
fn turn(world: &World, list_id: &str, count: usize, from: &str, to: &'static str) {
    let numbers: Vec<u64> = {
        let mailchimp = world.sandbox.mailchimp();
        let members = mailchimp.members(list_id).filter(|member| member.status == from);
        members.map(|member| member.number).take(count).collect()
    };
    assert_eq!(numbers.len(), count, "{from}");
    let now = world.clock.now();
    for number in numbers {
        world.sandbox.mailchimp().edit(list_id, number, now, |member| match to {
            "subscribed" => member.subscribe(now),
            _ => member.status = to,
        });
    }
}

async fn run(world: &World, text: &str) -> Verdict {
    sleep(minutes(10)).await;
    world.save(text);
    world.once().await.unwrap()
}

/// Returns the state file's text with this setting in its only entry.
fn with(world: &World, more: &str) -> String {
    let plain = world.state().replace(r#""allow_mass_change": true, "#, "");
    plain.replace("\"latest", &format!("{more}\"latest"))
}

const ALLOWED: &str = r#""allow_mass_change": true, "#;

/// Makes a list of which `count` members are known with this status.
async fn known(list_id: &str, count: usize, status: &'static str, more: &str) -> World {
    let text = format!(r#"[{{"list_id": "{list_id}"{more}, "latest_timestamp": null}}]"#);
    let world = World::new().list(list_id, SIZE).with_state(&text);
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    sleep(hours(3)).await;
    turn(&world, list_id, count, "subscribed", status);
    assert_eq!(run(&world, &with(&world, ALLOWED)).await, Verdict::Done);
    world.save(&with(&world, ""));
    sleep(hours(3)).await;
    world
}

#[tokio::test(start_paused = true)]
async fn an_incremental_that_would_opt_in_more_than_a_fifth_of_a_list_waits_for_allow_mass_change() {
    for (list_id, status) in [
        ("in1", "unsubscribed"),
        ("in2", "cleaned"),
        ("in3", "pending"),
        ("in4", "archived"),
        ("in5", "transactional"),
    ] {
        let world = known(list_id, 700, status, "").await;
        let (before, stamp) = (opted_in(&world), world.field("latest_timestamp"));
        turn(&world, list_id, 700, status, "subscribed");
        assert_eq!(run(&world, &world.state()).await, Verdict::Failed, "{status}");
        let told =
            world.lines("would be opted in although they had another status or were opted out (up to ");
        assert_eq!(told.len(), 1, "{status}: {told:?}");
        assert!(told[0].contains("more than a fifth of the list") && told[0].contains("welcome campaign"));
        assert!(told[0].contains("\"allow_mass_change\": true"), "{told:?}");
        assert_eq!(world.field("latest_timestamp"), stamp);
        // Apart from one or two pushes, members that were pending or opted out are not opted in yet.
        let contacts = world.expected(list_id).len();
        assert!(opted_in(&world) <= before + 450, "{status}: {} {before} {contacts}", opted_in(&world));
        let asked = (world.reads().len(), world.pushes().len());
        assert_eq!(world.once().await.unwrap(), Verdict::Failed);
        assert_eq!((world.reads().len(), world.pushes().len()), asked, "no further try sends anything");
        assert_eq!(run(&world, &with(&world, ALLOWED)).await, Verdict::Done);
        assert_eq!(world.logged("any number of opt-outs and opt-ins may pass"), 2, "{status}");
        // The sink keeps the earlier consent of other members.
        if !["pending", "transactional"].contains(&status) {
            world.assert_delivered(list_id);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_mistake_that_was_undone_opts_nobody_in_and_its_opt_outs_are_held_like_others() {
    let mut world = known("in15", 700, "unsubscribed", "").await;
    turn(&world, "in15", 700, "unsubscribed", "subscribed");
    assert_eq!(run(&world, &world.state()).await, Verdict::Failed);
    let wrong: Vec<u64> = {
        let mailchimp = world.sandbox.mailchimp();
        mailchimp.members("in15").rev().take(700).map(|member| member.number).collect()
    };
    let now = world.clock.now();
    for number in wrong {
        world.sandbox.mailchimp().edit("in15", number, now, |member| member.status = "unsubscribed");
    }
    world.fresh();
    assert_eq!(run(&world, &world.state()).await, Verdict::Failed);
    assert_eq!((world.logged("would be opted in"), world.logged("would be opted out")), (1, 1));
    assert_eq!(run(&world, &with(&world, ALLOWED)).await, Verdict::Done);
    world.assert_delivered("in15");
}

#[tokio::test(start_paused = true)]
async fn a_full_load_that_would_opt_in_more_than_a_fifth_of_a_list_is_stopped_too() {
    for more in ["", r#", "start_offset": 10"#] {
        let world = known("in6", 700, "unsubscribed", "").await;
        turn(&world, "in6", 700, "unsubscribed", "subscribed");
        let text = format!(r#"[{{"list_id": "in6"{more}}}]"#);
        assert_eq!(run(&world, &text).await, Verdict::Failed, "{more}");
        assert_eq!(world.logged("would be opted in although they had another status"), 1);
        let allowed = text.replace("\"in6\"", &format!("\"in6\", {}", ALLOWED.trim_end_matches(", ")));
        assert_eq!(run(&world, &allowed).await, Verdict::Done, "{more}");
    }
}

#[tokio::test(start_paused = true)]
async fn new_members_fewer_than_a_fifth_and_small_lists_pass() {
    let world = known("in7", 390, "unsubscribed", "").await;
    turn(&world, "in7", 370, "unsubscribed", "subscribed");
    let now = world.clock.now();
    (0..1500).for_each(|_| {
        world.sandbox.mailchimp().insert("in7", now).unwrap();
    });
    assert_eq!(run(&world, &world.state()).await, Verdict::Done);
    world.assert_delivered("in7");
    let small = World::new().list("in8", 900).with_state(r#"[{"list_id": "in8"}]"#);
    small.once().await.unwrap();
    turn(&small, "in8", 500, "subscribed", "cleaned");
    sleep(hours(3)).await;
    small.once().await.unwrap();
    turn(&small, "in8", 500, "cleaned", "subscribed");
    sleep(hours(3)).await;
    assert_eq!(small.once().await.unwrap(), Verdict::Done);
    small.assert_delivered("in8");
}

#[tokio::test(start_paused = true)]
async fn opt_ins_of_an_interrupted_run_count_when_it_continues() {
    let world = known("in9", 900, "unsubscribed", "").await;
    turn(&world, "in9", 900, "unsubscribed", "subscribed");
    world.save(&with(&world, r#""items_per_request": 20, "worker_count": 1, "#));
    sleep(minutes(10)).await;
    let before = opted_in(&world);
    for _ in 0..40 {
        tokio::select! {
            _ = world.once() => {}
            () = sleep(Duration::from_millis(1200)) => {}
        }
    }
    assert!(world.logged("resuming the interrupted run") > 3);
    assert!(world.logged("would be opted in") > 0);
    assert!(opted_in(&world) - before < 500, "{}", opted_in(&world) - before);
}

#[tokio::test(start_paused = true)]
async fn without_a_record_of_what_was_delivered_no_opt_in_counts_and_the_log_says_so() {
    let world = known("in10", 700, "unsubscribed", "").await;
    turn(&world, "in10", 700, "unsubscribed", "subscribed");
    fs::remove_file(ledger::of(world.folder.path(), "in10")).unwrap();
    assert_eq!(run(&world, &world.state()).await, Verdict::Done);
    assert_eq!(world.logged("a mass opt-in can't be detected"), 1);
    world.assert_delivered("in10");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_of_opt_ins_where_no_consent_is_sent() {
    let world = World::new().list("in11", 20).with_state(
        r#"[{"list_id": "in11", "sink": {"type": "ndjson", "path": "out"}, "mapping": "as_is",
            "latest_timestamp": "2026-11-21 08:00:00"}]"#,
    );
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(world.logged("opt-in"), 0);
}

/// Simulates a run that was cut off between its last push and its last write.
#[tokio::test(start_paused = true)]
async fn an_opt_in_that_the_sink_is_known_to_hold_is_no_news() {
    for (unchanged, verdict) in [(r#", "unchanged": "embedded""#, Verdict::Done), ("", Verdict::Failed)] {
        let world = known("in11", 700, "unsubscribed", unchanged).await;
        let path = ledger::of(world.folder.path(), "in11");
        let before = ledger::read(&path);
        turn(&world, "in11", 700, "unsubscribed", "subscribed");
        assert_eq!(run(&world, &with(&world, ALLOWED)).await, Verdict::Done);
        ledger::write(&path, before.as_ref());
        let text = format!(r#"[{{"list_id": "in11"{unchanged}}}]"#);
        assert_eq!(run(&world, &text).await, verdict, "{unchanged}");
    }
}

/// The sink recognizes opt-ins in the contacts of a mapping that can't report them. Without a change of
/// status, the cache does.
#[tokio::test(start_paused = true)]
async fn opt_ins_of_other_mappings_count_by_their_payloads() {
    let mapping = |said: &str| {
        format!(
            r#", "mapping": {{"type": "fields", "fields": {{"@type": {{"value": "contact"}},
            "@collection": {{"value": "plain"}}, "@merge": {{"value": true}}, "id": "id", "email": "email_address",
            "marketing_optin": {{"value": "{said}"}}}}}}"#
        )
    };
    let world = known("in12", 700, "transactional", &mapping("EXPLICITLY_OPTEDIN")).await;
    turn(&world, "in12", 700, "transactional", "subscribed");
    assert_eq!(run(&world, &world.state()).await, Verdict::Failed);
    assert_eq!(world.logged("would be opted in although they had another status"), 1);
    // Every contact was opted out, and no member has changed.
    let unchanged = r#", "unchanged": "embedded""#;
    let world =
        known("in13", 1, "transactional", &format!("{unchanged}{}", mapping("EXPLICITLY_OPTEDOUT"))).await;
    let text = format!(r#"[{{"list_id": "in13"{unchanged}{}}}]"#, mapping("EXPLICITLY_OPTEDIN"));
    assert_eq!(run(&world, &text).await, Verdict::Failed);
    assert_eq!(world.logged("would be opted in although they had another status"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_opt_in_that_happens_during_a_full_load_is_counted_once() {
    let world = known("in14", 380, "pending", "").await;
    let text = with(&world, r#""items_per_request": 20, "worker_count": 1, "overlap": "10m", "#);
    turn(&world, "in14", 380, "pending", "subscribed");
    let renamed = async {
        for _ in 0..20 {
            sleep(Duration::from_secs(1)).await;
            let now: DateTime<Utc> = world.clock.now();
            let numbers: Vec<u64> = {
                let mailchimp = world.sandbox.mailchimp();
                mailchimp.members("in14").rev().take(100).map(|member| member.number).collect()
            };
            for number in numbers {
                world.sandbox.mailchimp().edit("in14", number, now, |member| member.first = "Augusta".into());
            }
        }
    };
    sleep(minutes(1)).await;
    world.save(&text.replace("\"latest_timestamp\"", "\"x-was\""));
    assert_eq!(tokio::join!(world.once(), renamed).0.unwrap(), Verdict::Done);
}
