//! Other sources, mappings and sinks, and the settings of an entry.

use std::time::Duration;

use importer::sandbox::{Service, Trouble};
use tokio::time::sleep;

use super::{LIST, members, past, rename, stories, turn, with, world};
use crate::support::{World, at, hours, minutes};

stories![
    members_as_they_are_into_a_file,
    fields_into_a_file,
    standard_output,
    remembered_and_not_sent_again,
    full_load_of_what_has_changed,
    expired_and_sent_again,
    consent_none,
    consent_opt_outs_only,
    archived_skipped,
    collection_and_properties,
    overlap_of_ten_minutes,
    shifts_changed_and_deleted,
    shifts_in_halves,
    shifts_loaded_again,
    shifts_not_retried,
    notes_and_comments_kept,
];

/// A load, then some changes, then a sync.
async fn loaded_and_synced(settings: &str) -> World {
    let world = with(40, settings);
    world.once().await.unwrap();
    sleep(hours(3)).await;
    let subscribed = members(&world, "subscribed");
    rename(&world, &subscribed[..2]);
    turn(&world, &subscribed[2..4], "unsubscribed");
    turn(&world, &subscribed[4..6], "archived");
    sleep(minutes(5)).await;
    world.once().await.unwrap();
    world
}

async fn members_as_they_are_into_a_file() -> World {
    loaded_and_synced(r#", "mapping": "as_is", "sink": "ndjson""#).await
}

async fn fields_into_a_file() -> World {
    let fields = r#"{"type": "fields", "fields": {"key": "id", "state": "status", "name": "merge_fields.FNAME", "none": "nowhere"}}"#;
    loaded_and_synced(&format!(r#", "mapping": {fields}, "sink": "ndjson""#)).await
}

async fn standard_output() -> World {
    let fields = r#"{"type": "fields", "fields": {"state": "status"}}"#;
    loaded_and_synced(&format!(r#", "mapping": {fields}, "sink": "stdout""#)).await
}

/// The second run reads the last minute of the first one again and sends none of it.
async fn remembered_and_not_sent_again() -> World {
    let world = with(40, r#", "unchanged": "embedded""#);
    world.once().await.unwrap();
    sleep(hours(3)).await;
    let subscribed = members(&world, "subscribed");
    rename(&world, &subscribed[..2]);
    sleep(minutes(5)).await;
    world.once().await.unwrap();
    world.save(&world.state().replace("2026-11-21T15:0", "2026-11-21T12:0"));
    world.once().await.unwrap();
    world
}

async fn full_load_of_what_has_changed() -> World {
    let settings = r#", "unchanged": "embedded", "full_load": "changed_only", "latest_timestamp": null"#;
    let world = with(40, settings);
    let before = world.state();
    world.once().await.unwrap();
    sleep(hours(3)).await;
    let subscribed = members(&world, "subscribed");
    rename(&world, &subscribed[..2]);
    sleep(minutes(5)).await;
    world.save(&before);
    world.once().await.unwrap();
    world
}

async fn expired_and_sent_again() -> World {
    let settings = r#", "unchanged": {"store": "embedded", "expire": "1h"}, "full_load": "changed_only""#;
    let world = with(20, settings);
    let before = world.state();
    world.once().await.unwrap();
    sleep(hours(2)).await;
    world.save(&before);
    world.once().await.unwrap();
    world
}

async fn consent_none() -> World {
    loaded_and_synced(r#", "consent": "none""#).await
}

async fn consent_opt_outs_only() -> World {
    loaded_and_synced(r#", "consent": "opt_outs_only""#).await
}

async fn archived_skipped() -> World {
    loaded_and_synced(r#", "archived": "skip""#).await
}

async fn collection_and_properties() -> World {
    let settings = r#", "collection": "people", "properties": {"mc_company": "merge_fields.COMPANY", "mc_none": "merge_fields.NOWHERE"}"#;
    loaded_and_synced(settings).await
}

async fn overlap_of_ten_minutes() -> World {
    loaded_and_synced(r#", "overlap": "10m""#).await
}

const SHIFTS: &str = r#"[{"list_id": "shifts", "source": "when_i_work", "sink": "ndjson", "every": "5s"}]"#;

/// A world with the shifts of an account.
fn shifts(count: u64, state: &str) -> World {
    let world = world(0, state);
    world.sandbox.when_i_work().invent(count, 1, world.clock.now());
    world
}

/// Shifts that are read: published and taken, of today and tomorrow.
fn read(world: &World) -> Vec<u64> {
    let (from, to) = (at("2026-11-21"), at("2026-11-23"));
    let account = world.sandbox.when_i_work();
    let read = account.shifts().filter(|s| s.published && s.user_id != 0 && s.start >= from && s.start < to);
    read.map(|shift| shift.id).collect()
}

async fn shifts_changed_and_deleted() -> World {
    let world = shifts(100, SHIFTS);
    let ids = read(&world);
    let change = async {
        sleep(Duration::from_secs(30)).await;
        let now = world.clock.now();
        world.sandbox.when_i_work().edit(ids[0], now, |shift| shift.notes = "Moved.".into());
        world.sandbox.when_i_work().delete(ids[1]);
    };
    tokio::join!(world.go_for(past(1)), change).0.unwrap();
    world
}

async fn shifts_in_halves() -> World {
    let world = shifts(300, &SHIFTS.replace(r#""every""#, r#""items_per_request": 10, "every""#));
    world.once().await.unwrap();
    world
}

async fn shifts_loaded_again() -> World {
    let world = shifts(100, SHIFTS);
    world.once().await.unwrap();
    world.save(&SHIFTS.replace(r#""every""#, r#""latest_timestamp": null, "every""#));
    world.once().await.unwrap();
    world
}

async fn shifts_not_retried() -> World {
    let source = r#"{"type": "when_i_work", "retry": false, "min_interval": "2s"}"#;
    let world = shifts(50, &SHIFTS.replace(r#""when_i_work""#, source));
    // The first one meets the login.
    for _ in 0..2 {
        world.sandbox.trouble(Service::WhenIWork, Trouble::Status(500, None));
    }
    world.go_for(past(1)).await.unwrap();
    world
}

async fn notes_and_comments_kept() -> World {
    let text = format!(
        "// ours\r\n[ {{\"list_id\":\"{LIST}\" , \"owner\": \"caf\\u00e9\", /* ! */ \"latest_timestamp\": null,\r\n\
         \t\"elapsed_seconds\": 1.50, \"total_updates\": -77,\r\n\t\"x\": 1e3,}}, ]\r\n"
    );
    let world = world(20, &text);
    world.once().await.unwrap();
    world
}
