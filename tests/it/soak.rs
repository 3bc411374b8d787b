//! Random worlds by seed: lists change while they are read, services have faults, and the program is cut off.
//! `./run.sh soak` runs more seeds.

pub mod decorators;
pub mod life;
mod neighbors;
pub mod rest;

use std::{env, ops::Range};

use fastrand::Rng;
use futures::TryStreamExt;
use importer::{
    net::Transport,
    sandbox::{Faults, MAILCHIMP_KEY, quirks::Quirks},
};

use self::life::{LIST, Life, Odds};
use crate::support::World;

/// Bounds of the size of a list.
const MEMBERS: Range<u64> = 300..1200;

/// Changes of every kind: members are renamed, join, are deleted, archived, taken back, unsubscribe and
/// subscribe.
#[tokio::test(start_paused = true)]
async fn while_members_change_none_is_missed_and_none_stays_outdated() {
    let mut kinds = std::collections::BTreeSet::new();
    for edits_per_second in [1.0, 5.0, 50.0] {
        for seed in 0..4 {
            println!("{edits_per_second} changes a second, seed {seed}");
            let faults = Faults { seed, edits_per_second, ..Faults::default() };
            let mut odds =
                Odds { second: None, pauses: false, ..Odds::of(seed, 1.0, &mut Rng::with_seed(seed)) };
            odds.leave_nothing_out();
            let life = Life {
                faults,
                odds,
                quirks: Quirks::default(),
                cuts: 0.0,
                members: MEMBERS,
                neighbors: false,
            };
            let world = life.live().await;
            kinds.extend(world.sandbox.mailchimp().edits().keys().copied());
        }
    }
    assert_eq!(kinds.len(), importer::sandbox::edits::Edit::ALL.len(), "{kinds:?}");
}

/// Proves that such a world can lose members: by plain offset paging.
#[tokio::test(start_paused = true)]
async fn rising_offsets_lose_members_in_the_same_worlds() {
    let mut lost = 0;
    for seed in 0..4 {
        let world = World::new();
        world.sandbox.mailchimp().add_list(LIST, 1000, seed, world.clock.now());
        world.sandbox.misbehave(Faults { seed, edits_per_second: 5.0, ..Faults::default() });
        let until =
            (world.clock.now() - chrono::TimeDelta::seconds(1)).format("%Y-%m-%dT%H:%M:%SZ").to_string();
        let basic = base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            format!("any:{MAILCHIMP_KEY}"),
        );
        let pages = (0..1000).step_by(20).map(|offset| {
            let address = format!(
                "http://sandbox/3.0/lists/{LIST}/members?before_last_changed={until}&sort_field=last_changed&sort_dir=ASC&offset={offset}&count=20"
            );
            let request = http::Request::get(address).header("Authorization", format!("Basic {basic}"));
            Ok::<_, importer::net::TransportError>(world.sandbox.send(request.body(bytes::Bytes::new()).unwrap()))
        });
        let answers: Vec<_> = futures::stream::iter(pages).try_buffered(4).try_collect().await.unwrap();
        let mut read = std::collections::HashSet::new();
        for answer in answers {
            let page: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
            let members = page["members"].as_array().unwrap().clone();
            read.extend(members.into_iter().map(|member| member["id"].as_str().unwrap().to_owned()));
        }
        let until = crate::support::at(&until);
        let mailchimp = world.sandbox.mailchimp();
        let stayed = mailchimp.members(LIST).filter(|m| m.status != "archived" && m.last_changed <= until);
        lost += stayed.filter(|member| !read.contains(&member.id())).count();
    }
    assert!(lost > 0);
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// All disturbances at once. Half of the seeds, so that both cores are used.
async fn soak(half: u64) {
    let from = number("SOAK_FROM", 1);
    for seed in (from..from + number("SOAK_SEEDS", 24)).filter(|seed| seed % 2 == half) {
        let life = Life::decorated(seed, MEMBERS);
        println!("seed {seed}{}", life.odds.decorators.map_or(String::new(), |these| format!(": {these:?}")));
        life.live().await;
    }
}

#[tokio::test(start_paused = true)]
async fn soak_of_odd_seeds() {
    soak(1).await;
}

#[tokio::test(start_paused = true)]
async fn soak_of_even_seeds() {
    soak(0).await;
}

#[tokio::test(start_paused = true)]
async fn soak_of_rest_apis() {
    let from = number("SOAK_FROM", 1);
    for seed in from..from + number("SOAK_SEEDS", 24) {
        rest::live(seed, rest::Output::Lines).await;
    }
}
