//! Records that are refused, services that fail, and clocks that are wrong.

use std::time::Duration;

use chrono::TimeDelta;
use importer::sandbox::{Faults, Service, Trouble, clocks::Jump, quirks::Quirks};
use tokio::time::sleep;

use super::{LIST, members, past, rename, stories, turn, with};
use crate::support::{World, hours, minutes};

stories![
    source_asks_for_a_rest,
    sink_fails_for_a_while,
    sink_does_not_recover,
    key_refused,
    key_refused_in_the_loop,
    list_unknown_to_the_source,
    redirect,
    answers_broken,
    page_too_heavy,
    contacts_refused,
    contacts_refused_and_delivered_later,
    most_contacts_refused,
    records_that_cannot_be_mapped,
    rows_that_cannot_be_read,
    rows_that_share_an_id,
    errors_found_later,
    source_clock_ahead,
    source_clock_behind,
    own_clock_jumps,
    clocks_a_day_apart,
    clock_set_back_before_a_sync,
];

/// Loads a list while the services have these troubles.
async fn troubled(service: Service, troubles: &[Trouble]) -> World {
    let world = with(40, r#", "items_per_request": 20"#);
    troubles.iter().for_each(|trouble| world.sandbox.trouble(service, trouble.clone()));
    world.once().await.unwrap();
    world
}

async fn source_asks_for_a_rest() -> World {
    troubled(Service::Mailchimp, &[Trouble::Status(429, Some("30"))]).await
}

async fn sink_fails_for_a_while() -> World {
    let down = [500, 502, 504].map(|status| Trouble::Status(status, None));
    troubled(Service::Ometria, &down).await
}

async fn sink_does_not_recover() -> World {
    let down = [503; 6].map(|status| Trouble::Status(status, None));
    troubled(Service::Ometria, &down).await
}

async fn key_refused() -> World {
    troubled(Service::Mailchimp, &[Trouble::Status(401, None)]).await
}

async fn key_refused_in_the_loop() -> World {
    let world = with(20, "");
    world.sandbox.trouble(Service::Ometria, Trouble::Status(403, None));
    world.go_for(past(10)).await.unwrap();
    world
}

async fn list_unknown_to_the_source() -> World {
    let world = with(20, "");
    world.sandbox.mailchimp().remove_list(LIST);
    world.once().await.unwrap();
    world
}

async fn redirect() -> World {
    troubled(Service::Mailchimp, &[Trouble::Status(302, None)]).await
}

async fn answers_broken() -> World {
    let broken = [Trouble::Malformed, Trouble::Reset, Trouble::CutOff, Trouble::ErrorBody, Trouble::Slow];
    let world = with(40, r#", "items_per_request": 10"#);
    for service in [Service::Mailchimp, Service::Ometria] {
        broken.iter().for_each(|trouble| world.sandbox.trouble(service, trouble.clone()));
    }
    world.once().await.unwrap();
    world
}

async fn page_too_heavy() -> World {
    let heavy = [Trouble::Stall { carried_out: false }, Trouble::Status(504, None)];
    troubled(Service::Mailchimp, &heavy).await
}

fn refuse(world: &World, count: usize, refuse: bool) {
    for member in &members(world, "subscribed")[..count] {
        world.sandbox.ometria().refuse(&member.contact_id(LIST), refuse);
    }
}

async fn contacts_refused() -> World {
    let world = with(60, "");
    refuse(&world, 3, true);
    world.once().await.unwrap();
    world
}

async fn contacts_refused_and_delivered_later() -> World {
    let world = with(60, "");
    refuse(&world, 3, true);
    world.once().await.unwrap();
    refuse(&world, 2, false);
    sleep(hours(3)).await;
    let subscribed = members(&world, "subscribed");
    rename(&world, &subscribed[..3]);
    sleep(minutes(5)).await;
    world.once().await.unwrap();
    world
}

async fn most_contacts_refused() -> World {
    let world = with(400, r#", "items_per_request": 100"#);
    refuse(&world, members(&world, "subscribed").len(), true);
    world.once().await.unwrap();
    world
}

async fn records_that_cannot_be_mapped() -> World {
    let world = with(40, "");
    let subscribed = members(&world, "subscribed");
    turn(&world, &subscribed[..1], "vip");
    let moment = subscribed[1].last_changed;
    world
        .sandbox
        .mailchimp()
        .edit(LIST, subscribed[1].number, moment, |member| member.email = "broken".into());
    sleep(minutes(5)).await;
    world.once().await.unwrap();
    world
}

async fn rows_that_cannot_be_read() -> World {
    let world = with(60, r#", "items_per_request": 20"#);
    let quirks = Quirks { without_id: [3, 30].into(), without_time: [7, 41].into(), ..Quirks::default() };
    world.sandbox.mailchimp().set_quirks(quirks);
    world.once().await.unwrap();
    sleep(hours(3)).await;
    world.once().await.unwrap();
    world
}

async fn rows_that_share_an_id() -> World {
    let world = with(60, "");
    for member in &members(&world, "subscribed")[..3] {
        world.sandbox.mailchimp().edit(LIST, member.number, member.last_changed, |member| {
            member.email = String::new();
        });
    }
    world.once().await.unwrap();
    world
}

async fn errors_found_later() -> World {
    let world = with(40, "");
    for member in &members(&world, "subscribed")[..2] {
        world.sandbox.ometria().disbelieve(&member.contact_id(LIST));
    }
    world.go_for(past(30)).await.unwrap();
    world.sandbox.ometria().forget_errors();
    world
}

/// A load and a sync while clocks are wrong.
async fn with_clocks(faults: Faults) -> World {
    let world = with(40, r#", "items_per_request": 10, "worker_count": 1"#);
    world.sandbox.misbehave(faults);
    world.once().await.unwrap();
    sleep(hours(3)).await;
    let subscribed = members(&world, "subscribed");
    rename(&world, &subscribed[..2]);
    sleep(minutes(15)).await;
    world.once().await.unwrap();
    world
}

async fn source_clock_ahead() -> World {
    with_clocks(Faults { ahead: TimeDelta::minutes(10), ..Faults::default() }).await
}

async fn source_clock_behind() -> World {
    with_clocks(Faults { date_ahead: TimeDelta::minutes(-5), ..Faults::default() }).await
}

async fn own_clock_jumps() -> World {
    let jump = Jump { after: Duration::from_secs(1), by: TimeDelta::minutes(5) };
    with_clocks(Faults { our_jump: Some(jump), ..Faults::default() }).await
}

async fn clocks_a_day_apart() -> World {
    with_clocks(Faults { date_ahead: TimeDelta::hours(25), ..Faults::default() }).await
}

async fn clock_set_back_before_a_sync() -> World {
    let world = with(20, r#", "latest_timestamp": "2026-11-21T09:00:00""#);
    world.sandbox.misbehave(Faults { date_ahead: TimeDelta::hours(-4), ..Faults::default() });
    world.once().await.unwrap();
    world
}
