//! The safety brake: a run that would opt out an unusual share of a list stops, logs why, and waits for a
//! person.

use importer::{
    controller::Verdict,
    sandbox::quirks::{Quirks, Totals},
};
use tokio::time::{sleep, timeout};

use crate::support::{World, at, hours, minutes};

const SIZE: u64 = 2000;

fn opted_out(world: &World) -> usize {
    let ometria = world.sandbox.ometria();
    ometria
        .contacts()
        .values()
        .filter(|contact| contact.get("marketing_optin") == Some(&"EXPLICITLY_OPTEDOUT".into()))
        .count()
}

/// Gives `count` of the subscribed members another status.
fn turn(world: &World, list_id: &str, count: usize, status: &'static str) {
    let numbers: Vec<u64> = {
        let mailchimp = world.sandbox.mailchimp();
        let members = mailchimp.members(list_id).filter(|member| member.status == "subscribed");
        members.map(|member| member.number).take(count).collect()
    };
    assert_eq!(numbers.len(), count);
    let now = world.clock.now();
    numbers.into_iter().for_each(|number| {
        world.sandbox.mailchimp().edit(list_id, number, now, |member| member.status = status)
    });
}

async fn loaded(list_id: &'static str) -> World {
    let world = World::new().list(list_id, SIZE).with_state(&format!(r#"[{{"list_id": "{list_id}"}}]"#));
    assert_eq!(world.once().await.unwrap(), Verdict::Done, "a first load has nothing to be held against");
    sleep(hours(3)).await;
    world
}

fn allow(world: &World) {
    world.save(&world.state().replace("\"latest", "\"allow_mass_change\": true, \"latest"));
}

#[tokio::test(start_paused = true)]
async fn an_incremental_that_would_opt_out_more_than_a_fifth_waits_for_allow_mass_change() {
    for (list_id, status) in [("brk1", "unsubscribed"), ("brk2", "archived")] {
        let world = loaded(list_id).await;
        let before = opted_out(&world);
        turn(&world, list_id, 700, status);
        sleep(minutes(10)).await;
        let timestamp = world.field("latest_timestamp");
        assert_eq!(world.once().await.unwrap(), Verdict::Failed);
        assert_eq!(world.logged("records would be opted out (up to "), 1);
        assert_eq!(world.logged(" of them were sent already): more than a fifth of the list"), 1);
        assert_eq!(world.logged("\"allow_mass_change\": true"), 1);
        assert_eq!(world.field("latest_timestamp"), timestamp);
        let sent = opted_out(&world) - before;
        assert!(sent <= 420, "{sent} were opted out");
        // No further run continues by itself, not even after another edit of the entry.
        let asked = (world.reads().len(), world.pushes().len());
        for _ in 0..3 {
            assert_eq!(world.once().await.unwrap(), Verdict::Failed);
            sleep(hours(1)).await;
        }
        world.save(&world.state().replace("\"latest", "\"worker_count\": 2, \"latest"));
        assert_eq!(world.once().await.unwrap(), Verdict::Failed);
        assert_eq!((world.reads().len(), world.pushes().len()), asked);
        assert_eq!(world.logged("would be opted out"), 5);
        allow(&world);
        assert_eq!(world.once().await.unwrap(), Verdict::Done);
        assert_eq!(world.logged("`allow_mass_change` is true"), 1);
        assert_eq!(opted_out(&world) - before, 700);
        world.assert_delivered(list_id);
    }
}

#[tokio::test(start_paused = true)]
async fn fewer_opt_outs_than_a_fifth_pass() {
    let world = loaded("brk3").await;
    turn(&world, "brk3", 380, "unsubscribed");
    sleep(minutes(10)).await;
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    world.assert_delivered("brk3");
}

#[tokio::test(start_paused = true)]
async fn a_full_load_is_compared_with_the_last_one() {
    let world = loaded("brk4").await;
    let before = opted_out(&world);
    // Fewer than a fifth each time.
    for _ in 0..2 {
        turn(&world, "brk4", 300, "unsubscribed");
        sleep(hours(3)).await;
        assert_eq!(world.once().await.unwrap(), Verdict::Done);
    }
    turn(&world, "brk4", 100, "cleaned");
    sleep(minutes(10)).await;
    world.save(r#"[{"list_id": "brk4"}]"#);
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    let told = format!("more than a fifth of the list above the {before} of the last full load");
    assert_eq!(world.logged(&told), 1);
    world.save(r#"[{"list_id": "brk4", "allow_mass_change": true}]"#);
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    // The next load is compared with the load that passed.
    world.save(r#"[{"list_id": "brk4"}]"#);
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    world.assert_delivered("brk4");
}

#[tokio::test(start_paused = true)]
async fn in_the_loop_the_edit_that_allows_it_is_enough() {
    let world = loaded("brk5").await;
    turn(&world, "brk5", 900, "unsubscribed");
    sleep(minutes(10)).await;
    let edit = async {
        sleep(minutes(30)).await;
        assert!(world.logged("would be opted out") > 0);
        allow(&world);
        sleep(minutes(5)).await;
        world.stop();
    };
    assert_eq!(tokio::join!(world.go(), edit).0.unwrap(), Verdict::Done);
    world.assert_delivered("brk5");
    assert!(world.field("latest_timestamp").as_str().unwrap() > "2026-11-21T15:", "{}", at("2026-11-21"));
}

#[tokio::test(start_paused = true)]
async fn a_small_list_may_change_as_it_likes() {
    let world = World::new().list("brk6", 500).with_state(r#"[{"list_id": "brk6"}]"#);
    world.once().await.unwrap();
    sleep(hours(3)).await;
    turn(&world, "brk6", 350, "unsubscribed");
    sleep(minutes(10)).await;
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    world.assert_delivered("brk6");
}

#[tokio::test(start_paused = true)]
async fn a_load_is_compared_with_complete_loads_of_the_same_delivery_and_consent() {
    let world = loaded("brk9").await;
    turn(&world, "brk9", 380, "unsubscribed");
    sleep(minutes(10)).await;
    for entry in [
        r#"{"list_id": "brk9", "consent": "none"}"#,
        r#"{"list_id": "brk9", "start_offset": 1900}"#,
        r#"{"list_id": "brk9"}"#,
    ] {
        world.save(&format!("[{entry}]"));
        assert_eq!(world.once().await.unwrap(), Verdict::Done, "{entry}");
    }
    assert_eq!(world.logged("would be opted out"), 0);
}

#[tokio::test(start_paused = true)]
async fn archived_members_count_in_the_size_of_a_list() {
    let world = World::new().list("brk10", 1400).with_state(r#"[{"list_id": "brk10"}]"#);
    world.once().await.unwrap();
    sleep(hours(3)).await;
    let listed =
        world.sandbox.mailchimp().members("brk10").filter(|member| member.status != "archived").count();
    let leave = listed / 5 - 1;
    assert!(
        5 * leave > listed - leave && listed - leave > 1000,
        "a fifth of those who were there, more of those who are"
    );
    turn(&world, "brk10", leave, "archived");
    sleep(minutes(10)).await;
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_run_counts_its_earlier_opt_outs_when_it_continues() {
    let world = loaded("brk11").await;
    turn(&world, "brk11", 900, "unsubscribed");
    let slow =
        world.state().replace("\"brk11\"", "\"brk11\", \"items_per_request\": 20, \"worker_count\": 1");
    world.save(&slow);
    sleep(minutes(10)).await;
    let before = opted_out(&world);
    for _ in 0..40 {
        tokio::select! {
            _ = world.once() => {}
            () = sleep(std::time::Duration::from_millis(1200)) => {}
        }
    }
    assert!(world.logged("resuming the interrupted run") > 3);
    assert!(world.logged("would be opted out") > 0);
    assert!(opted_out(&world) - before < 500, "{}", opted_out(&world) - before);
}

#[tokio::test(start_paused = true)]
async fn the_brake_treats_changes_during_a_full_load_like_an_incremental_sync() {
    let world = World::new().list("brk12", SIZE);
    let world = world.with_state(r#"[{"list_id": "brk12", "items_per_request": 20, "worker_count": 1}]"#);
    let leave = async {
        sleep(std::time::Duration::from_secs(10)).await;
        turn(&world, "brk12", 700, "unsubscribed");
    };
    assert_eq!(tokio::join!(world.once(), leave).0.unwrap(), Verdict::Failed);
    assert_eq!(world.logged("would be opted out"), 1);
}

/// Requests the size of a list while its pages use all connections.
#[tokio::test(start_paused = true)]
async fn requesting_the_size_of_a_list_causes_no_deadlock_with_its_pages() {
    let world = World::new().set("MAILCHIMP_CONNECTIONS", "2").list("brk8", 3000);
    let world = world.with_state(r#"[{"list_id": "brk8", "items_per_request": 20}]"#);
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    sleep(hours(3)).await;
    turn(&world, "brk8", 450, "unsubscribed");
    sleep(minutes(10)).await;
    assert_eq!(timeout(hours(1), world.once()).await.unwrap().unwrap(), Verdict::Done);
    world.assert_delivered("brk8");
}

/// With a wrong total, the number of known records counts, so that the list does not look too small for the
/// brake.
#[tokio::test(start_paused = true)]
async fn wrong_totals_do_not_switch_the_brake_off() {
    for (total, status) in [
        (Totals::OfPage, "unsubscribed"),
        (Totals::Fixed(0), "unsubscribed"),
        (Totals::AtMost(1000), "archived"),
    ] {
        let world = World::new().list("brk9", SIZE).with_state(r#"[{"list_id": "brk9"}]"#);
        world.sandbox.mailchimp().set_quirks(Quirks { total, ..Quirks::default() });
        assert_eq!(world.once().await.unwrap(), Verdict::Done);
        sleep(hours(3)).await;
        let before = opted_out(&world);
        turn(&world, "brk9", 700, status);
        sleep(minutes(10)).await;
        assert_eq!(world.once().await.unwrap(), Verdict::Failed, "{total:?}");
        let sent = opted_out(&world) - before;
        assert!(sent <= 420, "{sent} were opted out, {total:?}");
    }
}
