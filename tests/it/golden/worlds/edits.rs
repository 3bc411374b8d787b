//! Edits of the state file, and runs that wait for a person.

use std::time::Duration;

use clap::Parser;
use importer::{app, app::listeners::Listeners, cli::Cli};
use tokio::time::sleep;

use super::{LIST, members, past, rename, stories, turn, with, world};
use crate::support::{World, hours, minutes};

stories![
    paused_while_loading,
    removed_while_loading,
    disabled_entry,
    two_entries_of_a_list,
    two_lists,
    entry_added_in_the_loop,
    entry_added_in_a_single_pass,
    timestamp_edited_while_loading,
    null_while_syncing,
    file_broken_in_the_loop,
    unusable_file,
    entry_with_a_problem,
    timestamp_in_the_future,
    first_load_asked_for,
    loop_of_five_hours,
    mass_opt_out_held_and_released,
    mass_opt_out_allowed,
    mass_opt_in_held,
];

const SLOW: &str = r#", "items_per_request": 10, "worker_count": 1"#;

/// Loads a list while the state file is saved with other text, then runs again with the original text.
async fn edited_while_loading(edit: &str) -> World {
    let world = with(140, SLOW);
    let before = world.state();
    let save = async {
        sleep(Duration::from_secs(1)).await;
        world.save(edit);
    };
    tokio::join!(world.go_for(past(2)), save).0.unwrap();
    world.save(&before);
    world.once().await.unwrap();
    world
}

async fn paused_while_loading() -> World {
    edited_while_loading(&format!(r#"[{{"list_id": "{LIST}"{SLOW}, "enabled": false}}]"#)).await
}

async fn removed_while_loading() -> World {
    edited_while_loading("[]").await
}

async fn disabled_entry() -> World {
    let world = with(20, r#", "enabled": false"#);
    world.once().await.unwrap();
    world
}

async fn two_entries_of_a_list() -> World {
    let entries = format!(
        r#"[{{"list_id": "{LIST}", "consent": "none", "collection": "first"}}, {{"list_id": "{LIST}", "sink": "ndjson"}}]"#
    );
    let world = world(30, &entries);
    world.once().await.unwrap();
    sleep(hours(3)).await;
    let subscribed = members(&world, "subscribed");
    turn(&world, &subscribed[..2], "archived");
    sleep(minutes(5)).await;
    world.once().await.unwrap();
    world
}

async fn two_lists() -> World {
    let entries = format!(r#"[{{"list_id": "{LIST}"}}, {{"list_id": "list2"}}]"#);
    let world = world(30, &entries).list("list2", 20);
    world.once().await.unwrap();
    world
}

async fn entry_added_in_the_loop() -> World {
    let world = with(20, "").list("list2", 20);
    let save = async {
        sleep(past(2)).await;
        world.save(&world.state().replace(']', r#", {"list_id": "list2"}]"#));
    };
    tokio::join!(world.go_for(past(5)), save).0.unwrap();
    world
}

async fn entry_added_in_a_single_pass() -> World {
    let world = with(140, SLOW).list("list2", 20);
    let save = async {
        sleep(Duration::from_secs(1)).await;
        world.save(&world.state().replace(']', r#", {"list_id": "list2"}]"#));
    };
    tokio::join!(world.once(), save).0.unwrap();
    world
}

/// The result of the run must not replace what a person has written.
async fn timestamp_edited_while_loading() -> World {
    let world = with(140, &format!(r#"{SLOW}, "latest_timestamp": null"#));
    let save = async {
        sleep(Duration::from_secs(1)).await;
        world.save(&world.state().replace("null", "\"2026-11-20T00:00:00\""));
    };
    tokio::join!(world.once(), save).0.unwrap();
    world
}

async fn null_while_syncing() -> World {
    let world = with(30, r#", "latest_timestamp": "2026-11-21T09:00:00""#);
    let save = async {
        sleep(Duration::from_millis(100)).await;
        world.save(&world.state().replace("\"2026-11-21T09:00:00\"", "null"));
    };
    tokio::join!(world.go_for(past(5)), save).0.unwrap();
    world
}

async fn file_broken_in_the_loop() -> World {
    let world = with(20, "");
    let save = async {
        sleep(past(2)).await;
        let whole = world.state();
        world.save("[{oops");
        sleep(past(2)).await;
        world.save(&whole);
    };
    tokio::join!(world.go_for(past(6)), save).0.unwrap();
    world
}

async fn unusable_file() -> World {
    let world = world(20, "[{]");
    world.once().await.unwrap_err();
    world
}

async fn entry_with_a_problem() -> World {
    let entries = format!(
        r#"[{{"list_id": "{LIST}", "note": 1}}, {{"list_id": "list2", "worker_count": 0}}, {{"lst_id": "x"}}]"#
    );
    let world = world(20, &entries);
    world.once().await.unwrap();
    world
}

async fn timestamp_in_the_future() -> World {
    let world = with(20, r#", "latest_timestamp": "2026-11-21T13:00:01""#);
    world.once().await.unwrap();
    world
}

async fn first_load_asked_for() -> World {
    let world = with(20, r#", "first_load": "ask""#);
    world.once().await.unwrap();
    let confirm = async {
        sleep(past(2)).await;
        world.save(&world.state().replace("ask", "confirmed"));
    };
    tokio::join!(world.go_for(past(5)), confirm).0.unwrap();
    world
}

async fn loop_of_five_hours() -> World {
    let world = with(30, "");
    let change = async {
        sleep(past(60)).await;
        let subscribed = members(&world, "subscribed");
        rename(&world, &subscribed[..2]);
        sleep(hours(2)).await;
        turn(&world, &subscribed[2..4], "cleaned");
    };
    tokio::join!(world.go_for(past(300)), change).0.unwrap();
    world
}

/// Returns a world whose run the safety brake stops: more than a fifth of 1,300 members unsubscribe. The brake ignores lists of
/// up to 1,000 records.
async fn held() -> World {
    let world = with(1300, r#", "items_per_request": 500"#);
    world.once().await.unwrap();
    sleep(hours(3)).await;
    let subscribed = members(&world, "subscribed");
    turn(&world, &subscribed[..500], "unsubscribed");
    sleep(minutes(10)).await;
    world.once().await.unwrap();
    // Nothing more is sent.
    world.once().await.unwrap();
    world
}

async fn mass_opt_out_held_and_released() -> World {
    let world = held().await;
    let unsubscribed = members(&world, "unsubscribed");
    let mistaken = unsubscribed[unsubscribed.len() - 500..].to_vec();
    turn(&world, &mistaken, "subscribed");
    sleep(minutes(10)).await;
    let folder = world.folder.path().to_str().unwrap();
    app::run(Cli::parse_from(["importer", "release", LIST, "--state", folder]), &Listeners::default())
        .await
        .unwrap();
    world.once().await.unwrap();
    world
}

async fn mass_opt_out_allowed() -> World {
    let world = held().await;
    world.save(&world.state().replace("\"latest", "\"allow_mass_change\": true, \"latest"));
    world.once().await.unwrap();
    world
}

async fn mass_opt_in_held() -> World {
    let world = with(2600, r#", "items_per_request": 500, "allow_mass_change": true"#);
    let subscribed = members(&world, "subscribed");
    turn(&world, &subscribed[..600], "unsubscribed");
    sleep(minutes(10)).await;
    world.once().await.unwrap();
    sleep(hours(3)).await;
    let all = members(&world, "unsubscribed");
    turn(&world, &all[all.len() - 600..], "subscribed");
    sleep(minutes(10)).await;
    world.save(&world.state().replace(r#", "allow_mass_change": true"#, ""));
    world.once().await.unwrap();
    world
}
