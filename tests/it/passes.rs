//! What one run reads: both listings, their windows, the number of requests, and that every row is accounted
//! for.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::StatusCode;
use importer::{
    controller::Verdict,
    net::{Request, Response, Transport, TransportError},
    sandbox::{Faults, Sandbox},
};
use serde_json::Value;
use tokio::time::sleep;

use crate::{
    ledger,
    support::{NOON, World, at, hours, minutes},
};

/// Returns the world of a list three hours after its load.
async fn loaded(list_id: &str, members: u64) -> World {
    let text = format!(r#"[{{"list_id": "{list_id}"}}]"#);
    let world = World::new().list(list_id, members).with_state(&text);
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    sleep(hours(3)).await;
    world
}

/// Returns the numbers of the members with this status.
fn with_status(world: &World, list_id: &str, status: &str) -> Vec<u64> {
    let mailchimp = world.sandbox.mailchimp();
    mailchimp.members(list_id).filter(|member| member.status == status).map(|member| member.number).collect()
}

fn optin(world: &World, list_id: &str, number: u64) -> Option<Value> {
    let members = world.sandbox.mailchimp().members(list_id).cloned().collect::<Vec<_>>();
    let member = members.into_iter().find(|member| member.number == number).unwrap();
    world.contact(list_id, &member).map(|contact| contact["marketing_optin"].clone())
}

#[tokio::test(start_paused = true)]
async fn an_incremental_sync_with_little_to_do_costs_one_read_a_listing_and_one_push() {
    let world = loaded("small1", 450).await;
    for (changed, pushes) in [(0, 0), (3, 1), (90, 1)] {
        let now = world.clock.now();
        for number in with_status(&world, "small1", "subscribed").into_iter().take(changed) {
            world.sandbox.mailchimp().edit("small1", number, now, |member| member.first = "Augusta".into());
        }
        sleep(minutes(2)).await;
        let (reads, pushed) = (world.reads().len(), world.pushes().len());
        assert_eq!(world.once().await.unwrap(), Verdict::Done);
        assert_eq!((world.reads().len() - reads, world.pushes().len() - pushed), (2, pushes), "{changed}");
        // 200 ms for the concurrent reads, and 200 ms for the push.
        let seconds = world.field("elapsed_seconds").as_f64().unwrap();
        assert!(seconds <= 0.2 + 0.2 * pushes as f64, "{seconds}");
        let all: Vec<String> = world.sandbox.seen().reads.into();
        assert!(all.iter().all(|read| read.contains("/members")), "nothing else is asked for");
        world.assert_delivered("small1");
        sleep(hours(3)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_load_skips_archived_members_and_later_archived_ones_are_opted_out() {
    let world = loaded("arch1", 300).await;
    let archived = with_status(&world, "arch1", "archived");
    assert!(!archived.is_empty() && archived.iter().all(|number| optin(&world, "arch1", *number).is_none()));
    let leaves = with_status(&world, "arch1", "subscribed")[0];
    assert_eq!(optin(&world, "arch1", leaves).unwrap(), "EXPLICITLY_OPTEDIN");
    world
        .sandbox
        .mailchimp()
        .edit("arch1", leaves, at("2026-11-21T14:00:00"), |member| member.status = "archived");
    world.once().await.unwrap();
    assert_eq!(optin(&world, "arch1", leaves).unwrap(), "EXPLICITLY_OPTEDOUT");
    world
        .sandbox
        .mailchimp()
        .edit("arch1", leaves, at("2026-11-21T17:00:00"), |member| member.status = "subscribed");
    sleep(hours(3)).await;
    world.once().await.unwrap();
    assert_eq!(optin(&world, "arch1", leaves).unwrap(), "EXPLICITLY_OPTEDIN");
    world.assert_delivered("arch1");
}

#[tokio::test(start_paused = true)]
async fn members_archived_before_a_reload_by_hand_are_opted_out_too() {
    let world = loaded("arch2", 300).await;
    let leaves = with_status(&world, "arch2", "subscribed")[0];
    world
        .sandbox
        .mailchimp()
        .edit("arch2", leaves, at("2026-11-21T14:00:00"), |member| member.status = "archived");
    // The state file no longer says up to when the list was delivered; importer's own record does.
    world.save(r#"[{"list_id": "arch2", "latest_timestamp": null}]"#);
    world.once().await.unwrap();
    assert_eq!(optin(&world, "arch2", leaves).unwrap(), "EXPLICITLY_OPTEDOUT");
    let others = with_status(&world, "arch2", "archived").into_iter().filter(|number| *number != leaves);
    assert!(
        others.into_iter().all(|number| optin(&world, "arch2", number).is_none()),
        "before the first load"
    );
}

#[tokio::test(start_paused = true)]
async fn members_delivered_by_an_unfinished_first_load_and_archived_then_are_opted_out() {
    let mut world = World::new().list("arch4", 3000).with_state(r#"[{"list_id": "arch4"}]"#);
    let first = tokio::time::timeout(std::time::Duration::from_secs(3), world.once()).await;
    assert!(first.is_err(), "it is cut off");
    let delivered: Vec<u64> = with_status(&world, "arch4", "subscribed");
    let leaves = delivered.into_iter().find(|number| optin(&world, "arch4", *number).is_some()).unwrap();
    sleep(hours(1)).await;
    world.sandbox.mailchimp().archive("arch4", leaves, world.clock.now());
    sleep(hours(1)).await;
    world.fresh();
    world.once().await.unwrap();
    assert_eq!(optin(&world, "arch4", leaves).unwrap(), "EXPLICITLY_OPTEDOUT");
    let others = with_status(&world, "arch4", "archived").into_iter().filter(|number| *number != leaves);
    assert!(
        others.into_iter().all(|number| optin(&world, "arch4", number).is_none()),
        "before the first load"
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_record_of_ours_all_archived_members_of_a_list_that_was_delivered_are_opted_out() {
    for text in [
        r#"[{"list_id": "arch3", "latest_timestamp": "2026-11-21T09:00:00"}]"#,
        r#"[{"list_id": "arch3", "latest_timestamp": null, "total_updates": 250}]"#,
    ] {
        let world = World::new().list("arch3", 300).with_state(text);
        world.once().await.unwrap();
        let archived = with_status(&world, "arch3", "archived");
        assert!(
            archived.iter().all(|number| optin(&world, "arch3", *number).unwrap() == "EXPLICITLY_OPTEDOUT")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_was_filled_in_the_very_second_is_loaded_whole() {
    for ago in [0, 1, 2] {
        let world =
            World::new().list("bulk1", 0).with_state(r#"[{"list_id": "bulk1", "items_per_request": 50}]"#);
        world.sandbox.mailchimp().add_list("bulk1", 400, 1, world.clock.now());
        let filled = world.clock.now() - chrono::TimeDelta::seconds(ago);
        for number in 0..400 {
            let status = if number % 10 == 0 { "unsubscribed" } else { "subscribed" };
            world.sandbox.mailchimp().edit("bulk1", number, filled, |member| member.status = status);
        }
        world.once().await.unwrap();
        world.assert_delivered("bulk1");
        assert_eq!(world.contacts(), 400, "{ago} s ago");
    }
}

/// A window ends at the earlier time of both clocks. If the server's clock is ahead of ours, a later run
/// reads its newest rows.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_ten_minutes_off_loses_nobody() {
    for server in ["2026-11-21T11:50:00", "2026-11-21T12:10:00", NOON] {
        let world = World::with_server_at(server).with_state(r#"[{"list_id": "off1"}]"#);
        let here = world.clock.now();
        let there = |after: i64| at(server) + (world.clock.now() - here) + chrono::TimeDelta::seconds(after);
        world.sandbox.mailchimp().add_list("off1", 300, 1, there(0));
        let change = |number, after| {
            world
                .sandbox
                .mailchimp()
                .edit("off1", number, there(after), |member| member.status = "unsubscribed");
        };
        let earlier = || there(0).min(world.clock.now());
        // A moment before the load, by the server's clock.
        change(5, -1);
        world.once().await.unwrap();
        let ahead = there(0) > world.clock.now() + chrono::TimeDelta::minutes(1);
        if !ahead {
            world.assert_delivered("off1");
        }
        assert_eq!(world.contacts(), world.expected("off1").len() - usize::from(ahead), "{server}");
        let until = at(world.field("latest_timestamp").as_str().unwrap());
        assert!((earlier() - until).num_seconds().abs() <= 3, "{until} {}", there(0));
        change(6, 0);
        sleep(hours(3)).await;
        world.once().await.unwrap();
        world.assert_delivered("off1");
        // No member that changed up to the end of a later run is missing.
        change(7, -1);
        sleep(hours(3)).await;
        world.once().await.unwrap();
        world.assert_delivered("off1");
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_run_accounts_for_every_member() {
    let world = World::new().list("cover1", 250).with_state(r#"[{"list_id": "cover1", "start_offset": 30}]"#);
    world.sandbox.mailchimp().edit("cover1", 7, at("2026-11-20T12:00:00"), |member| member.status = "vip");
    world.once().await.unwrap();
    let listed = 250 - with_status(&world, "cover1", "archived").len();
    let pending = {
        let mailchimp = world.sandbox.mailchimp();
        let listed = mailchimp.members("cover1").filter(|member| member.status != "archived").skip(30);
        listed.filter(|member| member.status == "pending").count()
    };
    let (window, sent) = (listed - 30, world.contacts());
    assert_eq!(window, sent + pending + 1);
    let opted_out = {
        let ometria = world.sandbox.ometria();
        let all = ometria.contacts().values();
        all.filter(|contact| contact.get("marketing_optin") == Some(&"EXPLICITLY_OPTEDOUT".into())).count()
    };
    let told = format!(
        "{window} records in the window, {window} seen: {sent} sent ({opted_out} opted out), {pending} skipped ({pending} pending), 1 rejected (1 unknown_status); "
    );
    assert_eq!(world.logged(&told), 1);
    assert_eq!(world.logged(" 0 left the window, 30 left out by start_offset, 2 passes, 0 unexplained."), 1);
}

/// A server that is slow for some requests, chosen by offset, count, and whether the window has a start.
struct Heavy {
    sandbox: Arc<Sandbox>,
    slow: fn(u64, u64, bool) -> bool,
}

impl Transport for Heavy {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let number = |name: &str| {
            let mut pairs = url::form_urlencoded::parse(query.as_bytes());
            pairs.find(|(key, _)| key == name).and_then(|(_, value)| value.parse().ok())
        };
        let slow = number("count").is_some_and(|count: u64| {
            (self.slow)(number("offset").unwrap_or(0), count, query.contains("since_last_changed"))
        });
        if !slow {
            return self.sandbox.send(request);
        }
        Box::pin(async {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
            Ok(response)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn pages_that_are_too_slow_are_requested_in_smaller_ones() {
    let world =
        World::new().list("heavy1", 2000).with_state(r#"[{"list_id": "heavy1", "items_per_request": 500}]"#);
    let world =
        world.through(|sandbox| Heavy { sandbox, slow: |offset, count, _| offset > 1000 && count > 300 });
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    world.assert_delivered("heavy1");
    assert!(world.logged("requesting smaller pages") > 0);
    assert_eq!(world.logged("splitting the window in two by time"), 0);
    assert_eq!(world.field("total_updates"), world.contacts());
}

/// A split window neither loses nor repeats a member.
#[tokio::test(start_paused = true)]
async fn a_window_whose_offsets_are_too_heavy_is_cut_in_two_by_time() {
    for start_offset in [0, 150] {
        let text =
            format!(r#"[{{"list_id": "heavy2", "items_per_request": 200, "start_offset": {start_offset}}}]"#);
        let world = World::new().list("heavy2", 2000).with_state(&text);
        let world = world.through(|sandbox| Heavy { sandbox, slow: |offset, _, _| offset > 700 });
        assert_eq!(world.once().await.unwrap(), Verdict::Done, "{start_offset}");
        assert!(world.logged("splitting the window in two by time") > 1);
        let mailchimp = world.sandbox.mailchimp();
        let listed: Vec<_> =
            mailchimp.members("heavy2").filter(|m| m.status != "archived").cloned().collect();
        drop(mailchimp);
        let mut missing = 0;
        for (row, member) in listed.iter().enumerate().filter(|(_, member)| member.status != "pending") {
            let sent = world.contact("heavy2", member).is_some();
            assert!(sent || row < start_offset, "row {row} of {start_offset}");
            missing += usize::from(!sent);
        }
        assert!(start_offset == 0 || missing > start_offset / 2, "{missing} of {start_offset} are left out");
        assert_eq!(world.field("total_updates"), world.contacts());
        let left_out = world.logged(&format!("{start_offset} left out by start_offset"));
        assert_eq!(left_out, usize::from(start_offset > 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_for_which_every_page_is_too_heavy_fails_the_list_and_says_so() {
    let world = World::new().list("heavy3", 2000).with_state(r#"[{"list_id": "heavy3"}]"#);
    let world = world.through(|sandbox| Heavy { sandbox, slow: |_, count, _| count > 1 });
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    assert_eq!(world.logged("504 gateway timeout (the source is too slow even for small pages)"), 1);
}

/// The order within a second is not guaranteed. A bulk import has more members in one second than fit one
/// response.
#[tokio::test(start_paused = true)]
async fn members_of_one_second_are_all_delivered_in_whatever_order_they_come() {
    for (seed, members) in [(1, 700), (2, 1600)] {
        let world = World::new().with_state(r#"[{"list_id": "ties1", "items_per_request": 100}]"#);
        let filled = at("2026-11-20T09:00:00");
        world.sandbox.mailchimp().add_list("ties1", members, seed, world.clock.now());
        for number in 0..members {
            world.sandbox.mailchimp().edit("ties1", number, filled, |member| member.status = "subscribed");
        }
        world.sandbox.misbehave(Faults { seed, shuffle_ties: true, ..Faults::default() });
        assert_eq!(world.once().await.unwrap(), Verdict::Done);
        world.assert_delivered("ties1");
        assert_eq!(world.contacts() as u64, members);
    }
}

/// The change arrives with the next incremental sync, whose window begins before the end of the last one.
#[tokio::test(start_paused = true)]
async fn a_change_that_becomes_visible_after_the_window_was_read_arrives_with_the_next_sync() {
    for seed in 0..8 {
        let world = World::new().list("late1", 300).with_state(r#"[{"list_id": "late1"}]"#);
        let late = std::time::Duration::from_secs(30);
        world.sandbox.misbehave(Faults { seed, late, ..Faults::default() });
        sleep(minutes(1)).await;
        for number in with_status(&world, "late1", "subscribed").into_iter().take(40) {
            world
                .sandbox
                .mailchimp()
                .edit("late1", number, world.clock.now(), |member| member.status = "unsubscribed");
        }
        world.once().await.unwrap();
        let stale = with_status(&world, "late1", "unsubscribed").into_iter();
        let stale =
            stale.filter(|number| optin(&world, "late1", *number).unwrap() == "EXPLICITLY_OPTEDIN").count();
        assert!(stale > 0, "some were not visible yet");
        sleep(hours(3)).await;
        world.once().await.unwrap();
        world.assert_delivered("late1");
    }
}

#[tokio::test(start_paused = true)]
async fn pages_of_any_size_come_to_an_end_however_fast_the_sink_is() {
    for (items, rate) in [(1, "0"), (3, "0"), (1000, "0"), (1000, "8")] {
        let text = format!(r#"[{{"list_id": "size1", "items_per_request": {items}}}]"#);
        let members = if items < 10 { 60 } else { 6000 };
        let world = World::new().set("OMETRIA_RATE", rate).list("size1", members).with_state(&text);
        world.sandbox.ometria().set_rate(0.0);
        assert_eq!(world.once().await.unwrap(), Verdict::Done, "{items} {rate}");
        world.assert_delivered("size1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_keeps_the_field_that_gives_the_ids_of_the_list() {
    let world = loaded("ids1", 30).await;
    ledger::edit(world.folder.path(), "ids1", |summary| {
        assert_eq!(summary["choice"], "contact_id");
        summary["choice"] = "unique_email_id".into();
    });
    let known = world.contacts();
    world.save(r#"[{"list_id": "ids1", "latest_timestamp": null}]"#);
    world.once().await.unwrap();
    assert_eq!(world.contacts(), 2 * known, "everybody once more, under the id that the ledger says");
}

/// The check at the end reads boundary seconds and counts the list. These requests begin together, while the last records
/// are delivered; only the second count waits for the first.
#[tokio::test(start_paused = true)]
async fn the_requests_of_the_check_are_in_flight_together() {
    let text = r#"[{"list_id": "bulk01", "items_per_request": 50, "worker_count": 8}]"#;
    let world = World::new().list("bulk01", 1600).with_state(text);
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    let reads: Vec<String> = world.sandbox.seen().reads.into();
    let counts = reads.iter().filter(|read| read.contains("count=1&")).count();
    assert_eq!((reads.len(), counts), (39, 2));
    // One after the other, they would take a second more.
    assert_eq!(world.field("elapsed_seconds").as_f64().unwrap(), 4.8);
    world.assert_delivered("bulk01");
}
