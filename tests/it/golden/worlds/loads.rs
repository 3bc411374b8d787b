//! Full loads, incremental syncs, and the ways through a listing.

use std::time::Duration;

use importer::sandbox::quirks::{Quirks, Totals};
use tokio::time::{sleep, timeout};

use super::{LIST, members, rename, stories, turn, with};
use crate::support::{World, at, hours, minutes};

stories![
    full_load,
    empty_list,
    incremental_sync,
    up_to_date,
    archived_after_delivery,
    deleted_for_good,
    catch_up_pass,
    timestamp_without_ledger,
    small_pages,
    page_of_one_second,
    start_offset,
    start_offset_in_a_sync,
    whole_list_left_out,
    capped_server,
    totals_of_the_page,
    totals_too_high,
    totals_too_low,
    stopped_and_resumed,
    cut_off_and_resumed,
    fresh_start,
    checkpoint_of_another_state,
];

async fn full_load() -> World {
    let world = with(40, "");
    world.once().await.unwrap();
    world
}

async fn empty_list() -> World {
    let world = with(0, "");
    world.once().await.unwrap();
    world
}

async fn incremental_sync() -> World {
    let world = with(40, "");
    world.once().await.unwrap();
    sleep(hours(3)).await;
    let subscribed = members(&world, "subscribed");
    turn(&world, &subscribed[..2], "unsubscribed");
    rename(&world, &subscribed[2..5]);
    world.sandbox.mailchimp().insert(LIST, world.clock.now());
    sleep(minutes(5)).await;
    world.once().await.unwrap();
    world
}

async fn up_to_date() -> World {
    let world = with(20, "");
    world.once().await.unwrap();
    world.once().await.unwrap();
    world
}

async fn archived_after_delivery() -> World {
    let world = with(40, "");
    world.once().await.unwrap();
    sleep(hours(3)).await;
    let subscribed = members(&world, "subscribed");
    turn(&world, &subscribed[..3], "archived");
    sleep(minutes(5)).await;
    world.once().await.unwrap();
    world
}

async fn deleted_for_good() -> World {
    let world = with(40, "");
    world.once().await.unwrap();
    sleep(hours(3)).await;
    for member in &members(&world, "subscribed")[..3] {
        world.sandbox.mailchimp().delete(LIST, member.number, world.clock.now());
    }
    sleep(minutes(5)).await;
    world.once().await.unwrap();
    world
}

async fn catch_up_pass() -> World {
    let world = with(60, r#", "items_per_request": 7, "worker_count": 1"#);
    let subscribed = members(&world, "subscribed");
    let change = async {
        sleep(Duration::from_secs(1)).await;
        rename(&world, &subscribed[..3]);
        turn(&world, &subscribed[3..5], "archived");
    };
    tokio::join!(world.once(), change).0.unwrap();
    world
}

/// Without a ledger, all archived members are sent as archived.
async fn timestamp_without_ledger() -> World {
    let world = with(60, r#", "latest_timestamp": "2026-11-21T09:00:00""#);
    let subscribed = members(&world, "subscribed");
    let now = at("2026-11-21T10:00:00");
    for member in &subscribed[..4] {
        world.sandbox.mailchimp().edit(LIST, member.number, now, |member| member.status = "unsubscribed");
    }
    world.once().await.unwrap();
    world
}

async fn small_pages() -> World {
    let world = with(60, r#", "items_per_request": 7, "worker_count": 3"#);
    world.once().await.unwrap();
    world
}

async fn page_of_one_second() -> World {
    let world = with(40, r#", "items_per_request": 7, "worker_count": 2"#);
    for number in 5..30 {
        let moment = at("2026-11-01T10:00:00");
        world.sandbox.mailchimp().edit(LIST, number, moment, |member| member.first = "Augusta".into());
    }
    world.once().await.unwrap();
    world
}

async fn start_offset() -> World {
    let world = with(60, r#", "items_per_request": 20, "start_offset": 25"#);
    world.once().await.unwrap();
    world
}

async fn start_offset_in_a_sync() -> World {
    let world = with(40, r#", "start_offset": 5, "latest_timestamp": "2026-11-21T09:00:00""#);
    world.once().await.unwrap();
    world
}

async fn whole_list_left_out() -> World {
    let world = with(20, r#", "start_offset": 500"#);
    world.once().await.unwrap();
    world
}

/// A load from a server that differs from the documentation.
async fn quirky(quirks: Quirks) -> World {
    let world = with(60, "");
    world.sandbox.mailchimp().set_quirks(quirks);
    world.once().await.unwrap();
    world
}

async fn capped_server() -> World {
    quirky(Quirks { cap: Some(10), ..Quirks::default() }).await
}

async fn totals_of_the_page() -> World {
    quirky(Quirks { total: Totals::OfPage, cap: Some(20), ..Quirks::default() }).await
}

async fn totals_too_high() -> World {
    quirky(Quirks { total: Totals::Fixed(1000), ..Quirks::default() }).await
}

async fn totals_too_low() -> World {
    quirky(Quirks { total: Totals::Fixed(0), ..Quirks::default() }).await
}

/// A load that takes several seconds.
const SLOW: &str = r#", "items_per_request": 10, "worker_count": 1"#;

async fn stopped_and_resumed() -> World {
    let world = with(140, SLOW);
    world.go_for(Duration::from_millis(2500)).await.unwrap();
    sleep(hours(1)).await;
    world.once().await.unwrap();
    world
}

async fn cut_off_and_resumed() -> World {
    let world = with(140, SLOW);
    for _ in 0..2 {
        timeout(Duration::from_millis(1500), world.once()).await.unwrap_err();
        sleep(minutes(1)).await;
    }
    world.once().await.unwrap();
    world
}

async fn fresh_start() -> World {
    let mut world = with(140, SLOW);
    timeout(Duration::from_millis(2500), world.once()).await.unwrap_err();
    world.fresh();
    world.once().await.unwrap();
    world
}

async fn checkpoint_of_another_state() -> World {
    let world = with(140, SLOW);
    timeout(Duration::from_millis(2500), world.once()).await.unwrap_err();
    world.save(&world.state().replace(SLOW, &format!(r#"{SLOW}, "start_offset": 3"#)));
    world.once().await.unwrap();
    world
}
