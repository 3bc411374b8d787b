//! The second pipeline: every run reads all shifts, and sends only those that have changed.

use std::time::Duration;

use chrono::TimeDelta;
use importer::{
    controller::Verdict,
    sandbox::{Service, Trouble},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    contract,
    support::{World, at, minutes},
};

const ENTRY: &str = r#"[{"list_id": "shifts", "source": "when_i_work", "sink": "ndjson", "every": "5s"}]"#;
const FILE: &str = "shifts.ndjson";

fn world() -> World {
    let world = World::new().with_state(ENTRY);
    world.sandbox.when_i_work().invent(300, 1, world.clock.now());
    world
}

/// Returns the ids of today's and tomorrow's shifts that are published and assigned.
fn wanted(world: &World) -> Vec<u64> {
    let (from, to) = (at("2026-11-21"), at("2026-11-23"));
    let account = world.sandbox.when_i_work();
    let wanted =
        account.shifts().filter(|s| s.published && s.user_id != 0 && s.start >= from && s.start < to);
    wanted.map(|shift| shift.id).collect()
}

/// Returns the ids of the shifts in the file, without those that were deleted later.
fn held(world: &World) -> Vec<u64> {
    let mut held = std::collections::BTreeMap::new();
    for line in world.out(FILE) {
        match line["deleted"] == true {
            true => held.remove(&line["key"].as_str().unwrap().parse::<u64>().unwrap()),
            false => held.insert(line["id"].as_u64().unwrap(), line),
        };
    }
    held.into_keys().collect()
}

#[tokio::test(start_paused = true)]
async fn shifts_are_read_every_few_seconds_and_only_what_changed_is_passed_on() {
    let world = world();
    let ids = wanted(&world);
    let story = async {
        sleep(Duration::from_secs(60)).await;
        assert_eq!(world.out(FILE).len(), ids.len(), "each once");
        let now = world.clock.now();
        world.sandbox.when_i_work().edit(ids[0], now, |shift| shift.notes = "Moved.".into());
        world.sandbox.when_i_work().delete(ids[1]);
        sleep(Duration::from_secs(60)).await;
        world.stop();
    };
    let (ended, ()) = tokio::join!(world.go(), story);
    assert_eq!(ended.unwrap(), Verdict::Done);
    let lines = world.out(FILE);
    let new: Vec<&Value> = lines[ids.len()..].iter().collect();
    assert_eq!(new.len(), 2, "{new:?}");
    assert_eq!((&new[0]["id"], &new[0]["notes"]), (&json!(ids[0]), &json!("Moved.")));
    assert_eq!(new[1], &json!({"key": ids[1].to_string(), "deleted": true}));
    assert_eq!(held(&world), wanted(&world));
    // Runs every few seconds that change nothing are not logged.
    assert_eq!(world.logged("INFO list \"shifts\" finished in"), 2, "the load, and the two");
    // Two days, and the day before for deletions, are three requests. A run is due five seconds after the end
    // of the last one.
    let requests = world.sandbox.seen().shifts.iter().filter(|request| request.contains("/2/shifts")).count();
    assert!((40..=60).contains(&requests), "{requests} requests in two minutes");
    assert_eq!(world.logged("1 of them"), 0);
    let (unchanged, all) = (ids.len() - 2, ids.len());
    assert_eq!(
        world.logged(&format!(
            "{all} records in the window, {all} seen: 2 sent (1 deleted), {unchanged} unchanged, 0 skipped"
        )),
        1
    );
    assert_eq!(world.sandbox.when_i_work().logins(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_null_sends_everything_again_unless_the_entry_says_changed_only() {
    let world = world();
    let count = wanted(&world).len();
    world.once().await.unwrap();
    assert_eq!(world.out(FILE).len(), count);
    let reload = |text: &str| text.replace(r#""every": "5s""#, r#""every": "5s", "latest_timestamp": null"#);
    world.save(&reload(ENTRY));
    world.once().await.unwrap();
    assert_eq!(world.out(FILE).len(), 2 * count);
    world.save(&reload(ENTRY).replace(r#""every""#, r#""full_load": "changed_only", "every""#));
    world.once().await.unwrap();
    assert_eq!(world.out(FILE).len(), 2 * count, "nothing has changed");
    assert_eq!(world.logged(&format!("0 sent, {count} unchanged")), 1);
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_is_sent_once_more_and_without_a_memory_everything_is() {
    let world = world();
    let count = wanted(&world).len();
    let entry = |unchanged: &str| {
        format!(
            r#"[{{"list_id": "shifts", "source": {{"type": "when_i_work", "days_ahead": 1, "time_zone": "UTC"}}, "sink": "ndjson",
                "unchanged": {unchanged}, "latest_timestamp": "2026-11-21T00:00:00"}}]"#
        )
    };
    for (unchanged, wait, sent) in [
        (r#"{"store": "embedded", "expire": "1h"}"#, 0, count),
        (r#"{"store": "embedded", "expire": "1h"}"#, 50, 0),
        (r#"{"expire": "1h"}"#, 11, count),
        (r#""off""#, 1, count),
        (r#""off""#, 1, count),
    ] {
        sleep(minutes(wait)).await;
        world.save(&entry(unchanged));
        let before = world.out(FILE).len();
        world.once().await.unwrap();
        assert_eq!(world.out(FILE).len() - before, sent, "{unchanged}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_slice_is_read_in_halves_and_nothing_is_lost() {
    let world = World::new().with_state(&ENTRY.replace(r#""every""#, r#""items_per_request": 10, "every""#));
    world.sandbox.when_i_work().invent(300, 1, world.clock.now());
    let (ids, midnight) = (wanted(&world), at("2026-11-21T00:00:00"));
    assert!(ids.len() > 60);
    world.once().await.unwrap();
    assert_eq!(held(&world), ids);
    // More shifts begin in one minute than fit a response.
    for _ in 0..10 {
        let mut account = world.sandbox.when_i_work();
        let mut shift = account.shifts().find(|shift| shift.id == ids[0]).unwrap().clone();
        shift.start = midnight + TimeDelta::hours(3);
        account.add(shift);
    }
    world.save(&world.state().replace("2026-11-21T12", "2026-11-21T11"));
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    assert_eq!(
        world.logged(
            "10 shifts or more begin within a minute of 2026-11-21 03:00:00 (raise `items_per_request`)"
        ),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_revoked_is_fetched_anew() {
    let world = world();
    let story = async {
        sleep(Duration::from_secs(30)).await;
        assert_eq!(world.sandbox.when_i_work().logins(), 1);
        world.sandbox.when_i_work().revoke();
        sleep(Duration::from_secs(30)).await;
        assert_eq!(world.sandbox.when_i_work().logins(), 2);
        world.stop();
    };
    let (ended, ()) = tokio::join!(world.go(), story);
    assert_eq!(ended.unwrap(), Verdict::Done);
    assert_eq!(world.logged("ERROR"), 0);
}

/// A token is valid for seven days.
#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_two_days_before_it_ends() {
    let sandbox = contract::sandbox(Duration::ZERO);
    let source = contract::source("when_i_work", "shifts", &contract::sandbox_doors(&sandbox));
    for (days, logins) in [(0, 1), (4, 1), (2, 2), (4, 2), (1, 3)] {
        sleep(minutes(days * 24 * 60)).await;
        contract::read(source.as_ref()).await.unwrap();
        assert_eq!(sandbox.when_i_work().logins(), logins);
    }
}

#[tokio::test(start_paused = true)]
async fn the_request_limit_is_kept_and_a_429_is_waited_for() {
    let world = World::new().with_state(
        &ENTRY.replace(r#""when_i_work""#, r#"{"type": "when_i_work", "days_prior": 60, "days_ahead": 60}"#),
    );
    world.sandbox.when_i_work().invent(300, 1, world.clock.now());
    // These are responses to the login.
    for _ in 0..2 {
        world.sandbox.trouble(Service::WhenIWork, Trouble::Status(429, Some("30")));
    }
    world.once().await.unwrap();
    assert_eq!(world.sandbox.seen().throttled, 2, "only those on purpose");
    let requests = world.sandbox.seen().shifts.iter().filter(|request| request.contains("/2/shifts")).count();
    assert_eq!(requests, 122, "a day each, and the day before");
    assert!(world.field("elapsed_seconds").as_f64().unwrap() > 140.0, "one a second, and a rest");
}

/// A service that allows one call per minute.
#[tokio::test(start_paused = true)]
async fn a_distance_is_kept_between_all_calls_of_an_account() {
    let source = r#"{"type": "when_i_work", "min_interval": "60s"}"#;
    let entry = |list: &str| {
        format!(r#"{{"list_id": "{list}", "source": {source}, "sink": "ndjson", "every": "1s"}}"#)
    };
    let world = World::new().with_state(&format!("[{}, {}]", entry("shifts"), entry("41")));
    world.sandbox.when_i_work().invent(100, 1, world.clock.now());
    let ended = world.go_for(minutes(30)).await;
    assert_eq!(ended.unwrap(), Verdict::Done);
    let requests = world.sandbox.seen().shifts.iter().filter(|request| request.contains("/2/shifts")).count();
    assert!((29..=31).contains(&requests), "{requests} requests in half an hour");
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_to_be_retried_a_failed_run_waits_for_its_next_turn() {
    let state =
        ENTRY.replace(r#""when_i_work""#, r#"{"type": "when_i_work", "retry": false}"#).replace("5s", "20m");
    let world = World::new().with_state(&state);
    world.sandbox.when_i_work().invent(100, 1, world.clock.now());
    let requests = || world.sandbox.seen().shifts.iter().filter(|r| r.contains("/2/shifts")).count();
    let story = async {
        sleep(minutes(19)).await;
        assert_eq!(requests(), 3, "two days and the one before");
        for _ in 0..2 {
            world.sandbox.trouble(Service::WhenIWork, Trouble::Status(500, None));
        }
        sleep(minutes(20)).await;
        assert_eq!(requests(), 4, "one try");
        sleep(minutes(20)).await;
        assert_eq!(requests(), 5, "and at the next turn another one");
        sleep(minutes(20)).await;
        world.stop();
    };
    let (ended, ()) = tokio::join!(world.go(), story);
    assert_eq!(ended.unwrap(), Verdict::Done);
    assert_eq!(requests(), 8);
    assert_eq!(world.logged("500 internal server error (`retry` is false; the next run tries again)"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_given_needs_no_login_and_says_when_it_is_over() {
    let world = World::new().with_state(ENTRY);
    world.sandbox.when_i_work().invent(50, 1, world.clock.now());
    let token = world.sandbox.when_i_work().issue(world.clock.now()).leak();
    let world = world.set("WHEN_I_WORK_TOKEN", token);
    world.once().await.unwrap();
    assert_eq!(held(&world), wanted(&world));
    assert_eq!(world.sandbox.when_i_work().logins(), 0);
    world.sandbox.when_i_work().revoke();
    sleep(minutes(1)).await;
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    assert_eq!(
        world.logged(
            "the token in `WHEN_I_WORK_TOKEN` has expired or is wrong; set a new one, or `WHEN_I_WORK_KEY`"
        ),
        1
    );
    assert!(world.logged(token) == 0);
}

/// The first source with the second sink: members unchanged, also those that were archived after a delivery.
#[tokio::test(start_paused = true)]
async fn members_are_written_as_lines_and_unchanged_ones_are_not_written_again() {
    let state = r#"[{"list_id": "as1", "mapping": "as_is", "sink": "ndjson", "unchanged": "embedded"}]"#;
    let world = World::new().list("as1", 250).with_state(state);
    let listed: Vec<u64> = {
        let mailchimp = world.sandbox.mailchimp();
        mailchimp
            .members("as1")
            .filter(|member| member.status != "archived")
            .map(|member| member.number)
            .collect()
    };
    world.once().await.unwrap();
    let lines = world.out("as1.ndjson");
    assert_eq!(lines.len(), listed.len());
    assert!(lines.iter().all(|line| line["merge_fields"].is_object() && line["_links"].is_null()));
    sleep(minutes(180)).await;
    let now = world.clock.now();
    world.sandbox.mailchimp().edit("as1", listed[0], now, |member| member.first = "Augusta".into());
    world.sandbox.mailchimp().archive("as1", listed[1], now);
    sleep(minutes(5)).await;
    world.once().await.unwrap();
    let new: Vec<Value> = world.out("as1.ndjson").split_off(lines.len());
    let mut told: Vec<(Value, Value)> =
        new.iter().map(|line| (line["status"].clone(), line["merge_fields"]["FNAME"].clone())).collect();
    told.sort_by_key(|(status, _)| status == "archived");
    assert_eq!((told.len(), &told[0].1, &told[1].0), (2, &json!("Augusta"), &json!("archived")));
    // The minute before is read again, and all its members were delivered.
    world.save(&world.state().replace("2026-11-21T15:0", "2026-11-21T14:0"));
    world.once().await.unwrap();
    assert_eq!(world.out("as1.ndjson").len(), lines.len() + 2);
}

/// Two entries of a list have separate schedules.
#[tokio::test(start_paused = true)]
async fn a_fast_entry_does_not_wait_for_a_slow_one_of_its_list() {
    let entry = |every: &str, path: &str| {
        format!(
            r#"{{"list_id": "shifts", "source": "when_i_work", "sink": {{"type": "ndjson", "path": "out/{path}"}}, "every": "{every}"}}"#
        )
    };
    let world = World::new().with_state(&format!(
        "[{}, {}]",
        entry("30s", "slow.ndjson"),
        entry("2s", "fast.ndjson")
    ));
    world.sandbox.when_i_work().invent(50, 1, world.clock.now());
    world.go_for(minutes(10)).await.unwrap();
    let runs = world.lines("finished in").len();
    // A run takes about two seconds.
    assert!(runs > 120, "{runs} runs in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn deletions_are_skipped_and_counted_if_the_sink_is_to_ignore_them() {
    let world =
        world().with_state(&ENTRY.replace("\"ndjson\"", r#"{"type": "ndjson", "deletions": "ignore"}"#));
    let ids = wanted(&world);
    world.once().await.unwrap();
    world.sandbox.when_i_work().delete(ids[1]);
    sleep(Duration::from_secs(60)).await;
    world.once().await.unwrap();
    assert_eq!(world.out(FILE).len(), ids.len(), "no line for the deletion");
    assert_eq!(world.logged(" 1 skipped (1 deleted)"), 1);
}
