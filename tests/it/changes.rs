//! Changes at the worst moment: while a second with many members is read, below a `start_offset`, between two
//! attempts, on all connections at once.

use std::{
    cell::Cell,
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use importer::{
    controller::Verdict,
    net::{Request, Response, Transport, TransportError},
    sandbox::{Faults, Sandbox, Service, Trouble, people::Member},
};
use serde_json::Value;
use tokio::time::sleep;

use crate::places::dead_letter;
use crate::support::{World, at, hours, minutes};

fn listed(world: &World, list_id: &str) -> Vec<Member> {
    let mailchimp = world.sandbox.mailchimp();
    mailchimp.members(list_id).filter(|member| member.status != "archived").cloned().collect()
}

/// Changes the responses to requests for members.
struct Changed<F> {
    sandbox: Arc<Sandbox>,
    change: F,
}

impl<F: Fn(&Request, &mut Value) + Send + Sync> Transport for Changed<F> {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(async move {
            let asked = request.clone();
            let mut response = self.sandbox.send(request).await?;
            if asked.uri().path().contains("/members") {
                let mut page = serde_json::from_slice(response.body()).unwrap();
                (self.change)(&asked, &mut page);
                *response.body_mut() = page.to_string().into();
            }
            Ok(response)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn members_archived_long_ago_are_opted_out_even_if_the_first_run_without_a_record_fails() {
    for text in [
        r#"[{"list_id": "record1", "latest_timestamp": "2026-11-21T09:00:00"}]"#,
        r#"[{"list_id": "record1", "latest_timestamp": null, "total_updates": 250}]"#,
    ] {
        let world = World::new().list("record1", 300).with_state(text);
        world.sandbox.trouble(Service::Ometria, Trouble::Status(401, None));
        assert_eq!(world.once().await.unwrap(), Verdict::Failed);
        sleep(minutes(5)).await;
        assert_eq!(world.once().await.unwrap(), Verdict::Done);
        let mailchimp = world.sandbox.mailchimp();
        let archived: Vec<Member> =
            mailchimp.members("record1").filter(|m| m.status == "archived").cloned().collect();
        drop(mailchimp);
        assert!(archived.iter().all(|member| world.contact("record1", member).is_some()), "{text}");
    }
}

/// Members of one second change while they are read, and every response lists them in another order. The load
/// may have to start again when the changes end, but it is not recorded before it has read all members.
#[tokio::test(start_paused = true)]
async fn a_big_second_in_disorder_is_not_recorded_before_all_of_it_was_seen() {
    for seed in 0..2 {
        let world = World::new().with_state(r#"[{"list_id": "second1", "worker_count": 2}]"#);
        let filled = at("2026-11-20T09:00:00");
        world.sandbox.mailchimp().add_list("second1", 1200, seed, world.clock.now());
        for number in 0..1200 {
            world.sandbox.mailchimp().edit("second1", number, filled, |member| member.status = "subscribed");
        }
        world.sandbox.misbehave(Faults {
            seed,
            shuffle_ties: true,
            edits_per_second: 20.0,
            ..Faults::default()
        });
        let mut verdict = world.once().await.unwrap();
        world.sandbox.behave();
        if verdict == Verdict::Failed {
            sleep(minutes(5)).await;
            world.sandbox.misbehave(Faults { seed, shuffle_ties: true, ..Faults::default() });
            verdict = world.once().await.unwrap();
        }
        assert_eq!(verdict, Verdict::Done, "seed {seed}");
        let stayed = listed(&world, "second1").into_iter().filter(|member| member.last_changed == filled);
        let lost = stayed.filter(|member| world.contact("second1", member).is_none()).count();
        assert_eq!(lost, 0, "seed {seed}");
    }
}

/// If the server keeps an order, a bulk import is loaded whatever changes meanwhile.
#[tokio::test(start_paused = true)]
async fn a_big_second_in_order_is_loaded_while_its_members_change() {
    let world = World::new().with_state(r#"[{"list_id": "second2", "worker_count": 2}]"#);
    let filled = at("2026-11-20T09:00:00");
    world.sandbox.mailchimp().add_list("second2", 2500, 1, world.clock.now());
    for number in 0..2500 {
        world.sandbox.mailchimp().edit("second2", number, filled, |member| member.status = "subscribed");
    }
    world.sandbox.misbehave(Faults { seed: 1, edits_per_second: 20.0, ..Faults::default() });
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    world.sandbox.behave();
    sleep(hours(3)).await;
    world.once().await.unwrap();
    world.assert_delivered("second2");
    assert_eq!(world.logged("reading the window again"), 0);
}

/// A row below the offset that becomes visible late moves from the bottom to the top, so it does not count as
/// delisted. Neither this move nor a cool-down before the window is split moves a row above the offset below
/// it.
#[tokio::test(start_paused = true)]
async fn nobody_above_a_start_offset_slips_below_it() {
    let text = r#"[{"list_id": "offset2", "start_offset": 100, "items_per_request": 50, "worker_count": 1}]"#;
    for late in [0, 10] {
        let world = World::new().list("offset2", 2000).with_state(text);
        let rows = listed(&world, "offset2");
        sleep(Duration::from_secs(100)).await;
        let stamp = world.clock.now() - chrono::TimeDelta::seconds(late);
        let (verdict, ()) = tokio::join!(world.once(), async {
            sleep(Duration::from_secs(2)).await;
            for member in &rows[..80] {
                world
                    .sandbox
                    .mailchimp()
                    .edit("offset2", member.number, stamp, |member| member.first = "Late".into());
            }
        });
        assert_eq!(verdict.unwrap(), Verdict::Done);
        let wanted = rows[100..].iter().filter(|member| member.status != "pending");
        assert_eq!(wanted.filter(|member| world.contact("offset2", member).is_none()).count(), 0, "{late} s");
    }
}

/// importer's clock is ahead, the first attempt counts a member who is not listed, and meanwhile a delivered
/// member is archived.
#[tokio::test(start_paused = true)]
async fn members_archived_between_two_attempts_are_opted_out() {
    for server in ["2026-11-21T11:50:00", "2026-11-21T12:00:00"] {
        let lies = Arc::new(AtomicBool::new(true));
        let lying = Arc::clone(&lies);
        let change = move |request: &Request, page: &mut Value| {
            let query = request.uri().query().unwrap_or_default();
            let whole = !query.contains("status=") && !query.contains("since_last_changed");
            if whole && lying.load(Ordering::Relaxed) {
                page["total_items"] = (page["total_items"].as_u64().unwrap() + 1).into();
            }
        };
        let world = World::with_server_at(server).set("OMETRIA_RATE", "0.5");
        let world =
            world.with_state(r#"[{"list_id": "twice2"}]"#).through(|sandbox| Changed { sandbox, change });
        let here = world.clock.now();
        let there = || at(server) + (world.clock.now() - here);
        world.sandbox.mailchimp().add_list("twice2", 2500, 1, there());
        let leaves = Cell::new(0);
        let (verdict, ()) = tokio::join!(world.once(), async {
            sleep(Duration::from_secs(40)).await;
            let rows = listed(&world, "twice2");
            let delivered = rows
                .iter()
                .find(|m| m.status == "subscribed" && world.contact("twice2", m).is_some())
                .unwrap();
            leaves.set(delivered.number);
            world.sandbox.mailchimp().archive("twice2", delivered.number, there());
            while world.logged("reading the window again") == 0 {
                sleep(Duration::from_millis(100)).await;
            }
            lies.store(false, Ordering::Relaxed);
        });
        assert_eq!(verdict.unwrap(), Verdict::Done, "{server}");
        let mailchimp = world.sandbox.mailchimp();
        let member =
            mailchimp.members("twice2").find(|member| member.number == leaves.get()).unwrap().clone();
        drop(mailchimp);
        let contact = world.contact("twice2", &member).unwrap();
        assert_eq!(contact["marketing_optin"], "EXPLICITLY_OPTEDOUT", "{server}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_blip_on_all_connections_is_one_blip() {
    for trouble in
        [Trouble::Status(504, None), Trouble::Stall { carried_out: false }, Trouble::Status(503, None)]
    {
        let world = World::new().list("blip1", 6000);
        let world =
            world.with_state(r#"[{"list_id": "blip1", "items_per_request": 50, "worker_count": 10}]"#);
        let (verdict, ()) = tokio::join!(world.once(), async {
            sleep(Duration::from_millis(2500)).await;
            for _ in 0..10 {
                world.sandbox.trouble(Service::Mailchimp, trouble.clone());
            }
        });
        assert_eq!(verdict.unwrap(), Verdict::Done, "{trouble:?}");
        world.assert_delivered("blip1");
        assert!(world.field("elapsed_seconds").as_f64().unwrap() < 300.0, "{trouble:?}: {}", world.state());
        assert!(world.logged("requesting smaller pages") <= 2);
    }
}

/// Responses are up to 5 s old, right after a time without changes. Their higher totals do not count as
/// growth.
#[tokio::test(start_paused = true)]
async fn old_answers_after_a_quiet_time_raise_no_alarm() {
    for seed in 0..6 {
        let world = World::new().list("burst1", 3000).with_state(r#"[{"list_id": "burst1"}]"#);
        sleep(minutes(5)).await;
        let stale = Duration::from_secs(5);
        world.sandbox.misbehave(Faults { seed, stale, edits_per_second: 20.0, ..Faults::default() });
        sleep(Duration::from_millis(500)).await;
        assert_eq!(world.once().await.unwrap(), Verdict::Done, "seed {seed}");
        assert_eq!(world.logged("reading the window again"), 0, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn members_whose_time_cannot_be_read_are_kept_and_all_others_are_delivered() {
    let world = World::new().list("blank1", 2000).with_state(r#"[{"list_id": "blank1", "worker_count": 1}]"#);
    let ids: HashSet<String> =
        world.sandbox.mailchimp().members("blank1").take(350).map(Member::id).collect();
    let kept = ids.clone();
    let change = move |_: &Request, page: &mut Value| {
        for member in page["members"].as_array_mut().unwrap() {
            if ids.contains(member["id"].as_str().unwrap()) {
                member["last_changed"] = "".into();
            }
        }
    };
    let world = world.through(|sandbox| Changed { sandbox, change });
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    let expected = world.expected("blank1");
    let others: Vec<_> = expected.iter().filter(|member| !kept.contains(&member.id())).collect();
    assert!(others.iter().all(|member| world.contact("blank1", member).is_some()));
    assert_eq!(world.contacts(), others.len());
    let mailchimp = world.sandbox.mailchimp();
    let listed =
        mailchimp.members("blank1").filter(|m| m.status != "archived" && kept.contains(&m.id())).count();
    drop(mailchimp);
    assert_eq!(world.logged(&format!("{listed} rejected ({listed} unreadable)")), 1);
    let letters = std::fs::read_to_string(dead_letter(world.folder.path(), "blank1")).unwrap();
    assert_eq!(letters.lines().count(), listed);
}
