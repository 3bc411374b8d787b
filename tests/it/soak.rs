//! Lists that people change while they are read, from services that misbehave, by a program that is cut off: by seed.
//! `./run.sh soak` tries more of them.

use std::{env, time::Duration};

use fastrand::Rng;
use futures::TryStreamExt;
use importer::{
    controller::Verdict,
    net::Transport,
    sandbox::{Faults, MAILCHIMP_KEY},
};
use tokio::time::sleep;

use crate::support::{World, hours};

const LIST: &str = "soak1";

/// Every other pair of seeds holds back what Ometria has already, in full loads too.
fn entry(random: &mut Rng, seed: u64) -> String {
    let (items, workers) = ([7, 20, 50, 100, 1000][random.usize(..5)], random.u32(1..=10));
    let unchanged = match seed % 4 {
        0 | 1 => "",
        _ => r#""unchanged": "embedded", "full_load": "changed_only", "#,
    };
    // In these worlds whole lists leave.
    format!(
        r#"[{{"list_id": "{LIST}", {unchanged}"items_per_request": {items}, "worker_count": {workers}, "allow_mass_change": true}}]"#
    )
}

/// Imports until it has come to its end; with a chance of `cuts` each attempt is cut off at some moment.
async fn import(world: &World, random: &mut Rng, cuts: f64, seed: u64) {
    for _ in 0..200 {
        let cut = Duration::from_millis(random.u64(100..8000));
        let ended = if random.f64() < cuts {
            tokio::select! {
                verdict = world.once() => Some(verdict),
                () = sleep(cut) => None,
            }
        } else {
            Some(world.once().await)
        };
        match ended {
            Some(Ok(Verdict::Done)) => return,
            Some(Err(fault)) => panic!("seed {seed}: {fault}"),
            // Cut off, or the services did not recover in time.
            Some(Ok(Verdict::Failed)) | None => sleep(Duration::from_secs(random.u64(1..90))).await,
        }
    }
    panic!("seed {seed}: never comes to its end");
}

/// A load and an incremental sync while people change the list, then, when all is quiet, one more sync: nobody is missing,
/// nobody is as they were.
async fn live_through(world: World, faults: &Faults, cuts: f64) -> World {
    let seed = faults.seed;
    let mut random = Rng::with_seed(seed);
    // The program's own chance, too: the waits before it tries again.
    fastrand::seed(seed);
    world.save(&entry(&mut random, seed));
    world.sandbox.mailchimp().add_list(LIST, random.u64(300..1200), seed, world.clock.now());
    for _ in 0..2 {
        world.sandbox.misbehave(faults.clone());
        import(&world, &mut random, cuts, seed).await;
        world.sandbox.behave();
        sleep(hours(3)).await;
    }
    import(&world, &mut random, 0.0, seed).await;
    // No alarm is false: in these worlds everything has its explanation.
    let alarms = world.lines("The window is read again");
    assert!(alarms.is_empty(), "seed {seed}: {alarms:?}");
    world.assert_delivered(LIST);
    world
}

/// Changes of every kind: members are renamed, join, are deleted, archived, taken back, unsubscribe and subscribe.
#[tokio::test(start_paused = true)]
async fn while_members_change_nobody_is_missed_and_nobody_stays_as_they_were() {
    let mut kinds = std::collections::BTreeSet::new();
    for edits_per_second in [1.0, 5.0, 50.0] {
        for seed in 0..4 {
            println!("{edits_per_second} changes a second, seed {seed}");
            let faults = Faults { seed, edits_per_second, ..Faults::default() };
            let world = live_through(World::new(), &faults, 0.0).await;
            kinds.extend(world.sandbox.mailchimp().edits().keys().copied());
        }
    }
    assert_eq!(kinds.len(), importer::sandbox::edits::Edit::ALL.len(), "{kinds:?}");
}

/// So that we know that such a world can lose members: the way everybody pages.
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

/// Everything at once. Half of the seeds, so that both cores have work.
async fn soak(half: u64) {
    let from = number("SOAK_FROM", 1);
    for seed in (from..from + number("SOAK_SEEDS", 24)).filter(|seed| seed % 2 == half) {
        println!("seed {seed}");
        let mut random = Rng::with_seed(seed);
        let faults = Faults {
            edits_per_second: [0.2, 1.0, 5.0, 20.0][random.usize(..4)],
            troubles: 0.15 * random.f64(),
            ..Faults::usual(seed)
        };
        live_through(World::new(), &faults, 0.7).await;
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
