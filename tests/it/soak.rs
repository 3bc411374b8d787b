//! Random worlds by seed: lists change while they are read, services have faults, and the program is cut off.
//! `./run.sh soak` runs more seeds.

use std::{env, time::Duration};

use chrono::TimeDelta;
use fastrand::Rng;
use futures::TryStreamExt;
use importer::{
    controller::Verdict,
    net::Transport,
    sandbox::{
        Faults, MAILCHIMP_KEY,
        clocks::Jump,
        people::Member,
        quirks::{Quirks, Totals},
    },
};
use tokio::time::sleep;

use crate::support::{World, hours};

const LIST: &str = "soak1";

/// Disturbances of a world besides its faults. Each occurs in some worlds.
struct Odds {
    entry: String,
    /// Another entry of the list, which writes lines into a file.
    second: Option<&'static str>,
    /// Pauses or removes the entry while it runs, and puts it back.
    pauses: bool,
    /// Rows that a full load leaves out.
    start_offset: u64,
}

impl Odds {
    /// Every other pair of seeds leaves out what Ometria has accepted already, also in full loads.
    fn of(seed: u64, edits_per_second: f64, random: &mut Rng) -> Self {
        // Pages of seven rows take hours while twenty rows a second leave.
        let sizes = if edits_per_second > 5.0 { [20, 20, 50, 100, 1000] } else { [7, 20, 50, 100, 1000] };
        let (items, workers) = (sizes[random.usize(..5)], random.u32(1..=10));
        let unchanged = match seed % 4 {
            0 | 1 => "",
            _ => r#""unchanged": "embedded", "full_load": "changed_only", "#,
        };
        let start_offset = if one_in(random, 8) { random.u64(1..200) } else { 0 };
        // In these worlds all members of a list may leave at once.
        let entry = format!(
            r#"{{"list_id": "{LIST}", {unchanged}"items_per_request": {items}, "worker_count": {workers}, "start_offset": {start_offset}, "allow_mass_change": true}}"#
        );
        let second = format!(r#"{{"list_id": "{LIST}", "sink": "ndjson", "allow_mass_change": true}}"#);
        let second = one_in(random, 5).then(|| &*second.leak());
        Odds { entry, second, pauses: one_in(random, 4), start_offset }
    }

    fn state(&self) -> String {
        format!(
            "[{}]",
            [Some(self.entry.as_str()), self.second].into_iter().flatten().collect::<Vec<_>>().join(", ")
        )
    }

    /// Returns the state file with the entry paused or removed for a while.
    fn edited(&self, world: &World, random: &mut Rng) -> String {
        let text = world.state();
        let paused = text.replacen("\"list_id\"", "\"enabled\": false, \"list_id\"", 1);
        if random.bool() { paused } else { r#"[{"list_id": "another", "enabled": false}]"#.to_owned() }
    }
}

fn one_in(random: &mut Rng, many: u32) -> bool {
    random.u32(..many) == 0
}

/// Adds a server that caps its responses, has wrong totals or rows that can't be read, and clocks that are
/// wrong or jump.
fn quirks(random: &mut Rng, members: u64, faults: &mut Faults) -> Quirks {
    let numbers = |random: &mut Rng| (0..random.usize(1..4)).map(|_| random.u64(..members)).collect();
    let mut quirks = Quirks::default();
    if one_in(random, 4) {
        quirks.cap = Some([100, 50, 10][random.usize(..3)]);
    }
    if one_in(random, 6) {
        quirks.total = [Totals::Fixed(0), Totals::OfPage][random.usize(..2)];
    }
    if quirks.cap.is_some() || quirks.total != Totals::Right {
        // Pages never meet if more rows leave meanwhile than a page has.
        faults.edits_per_second = faults.edits_per_second.min(1.0);
    }
    if one_in(random, 5) {
        quirks.without_id = numbers(random);
    }
    if one_in(random, 5) {
        quirks.without_time = numbers(random);
    }
    let minutes = |random: &mut Rng| TimeDelta::seconds(random.i64(-300..300));
    if one_in(random, 5) {
        faults.date_ahead = minutes(random);
    }
    for jump in [&mut faults.date_jump, &mut faults.our_jump] {
        if one_in(random, 6) {
            *jump = Some(Jump { after: Duration::from_millis(random.u64(..20_000)), by: minutes(random) });
        }
    }
    keep_one_clock_behind_the_rows(faults);
    quirks
}

/// Keeps one clock behind the clock that stamps the rows: if both are ahead, no window ends early enough, and
/// nothing shows it.
fn keep_one_clock_behind_the_rows(faults: &mut Faults) {
    let ours = faults.our_jump.map_or(TimeDelta::zero(), |jump| jump.by).max(TimeDelta::zero());
    if ours > faults.ahead {
        faults.date_ahead = -faults.date_ahead.abs();
        faults.date_jump = faults.date_jump.map(|jump| Jump { by: -jump.by.abs(), ..jump });
    }
}

/// Runs importer until a run completes. Each attempt is cut off at a random moment with the probability
/// `cuts`.
async fn import(world: &World, random: &mut Rng, odds: &Odds, cuts: f64, seed: u64) {
    for _ in 0..200 {
        let cut = Duration::from_millis(random.u64(100..8000));
        let pause = (odds.pauses && cuts > 0.0 && random.bool()).then(|| random.u64(100..4000));
        let edited = odds.edited(world, random);
        let run = async {
            if random.f64() < cuts {
                tokio::select! {
                    verdict = world.once() => Some(verdict),
                    () = sleep(cut) => None,
                }
            } else {
                Some(world.once().await)
            }
        };
        let edit = async {
            let Some(after) = pause else { return };
            sleep(Duration::from_millis(after)).await;
            let before = world.state();
            world.save(&edited);
            sleep(Duration::from_secs(12)).await;
            // `before` has every write of importer that still matters.
            world.save(&before);
        };
        let (ended, ()) = tokio::join!(run, edit);
        match ended {
            // A paused list waits for the next start.
            Some(Ok(Verdict::Done)) if pause.is_none() => return,
            Some(Err(fault)) => panic!("seed {seed}: {fault}"),
            // The run was cut off or paused, or the services did not recover in time.
            Some(Ok(_)) | None => sleep(Duration::from_secs(random.u64(1..90))).await,
        }
    }
    panic!("seed {seed}: never comes to its end");
}

/// A load and an incremental sync run while the list changes, then one more sync without changes. Afterwards
/// no member is missing or outdated.
async fn live_through(world: World, faults: &Faults, odds: &Odds, quirks: Quirks, cuts: f64) -> World {
    let seed = faults.seed;
    let mut random = Rng::with_seed(seed);
    // Also seeds the program's own randomness: the waits before a retry.
    fastrand::seed(seed);
    world.save(&odds.state());
    let now = world.clock.now();
    world.sandbox.mailchimp().add_list(LIST, random.u64(300..1200), seed, now);
    twins(&world, &mut random, seed);
    world.sandbox.mailchimp().set_quirks(quirks);
    for _ in 0..2 {
        world.sandbox.misbehave(faults.clone());
        import(&world, &mut random, odds, cuts, seed).await;
        world.sandbox.behave();
        sleep(hours(3)).await;
    }
    import(&world, &mut random, odds, 0.0, seed).await;
    // There is no false alarm: in these worlds every row is explained.
    let alarms = world.lines("reading the window again");
    assert!(alarms.is_empty(), "seed {seed}: {alarms:?}");
    match odds.start_offset {
        0 => world.assert_delivered(LIST),
        left_out => {
            let missing = |member: &Member| world.contact(LIST, member).is_none();
            let missing = world.expected(LIST).into_iter().filter(missing).count() as u64;
            assert!(missing <= left_out, "seed {seed}: {missing} are missing, {left_out} were left out");
        }
    }
    world
}

/// Removes the addresses of some members in some worlds, so that they share an id.
fn twins(world: &World, random: &mut Rng, seed: u64) {
    if !seed.is_multiple_of(5) {
        return;
    }
    let members: Vec<_> =
        world.sandbox.mailchimp().members(LIST).map(|m| (m.number, m.last_changed)).collect();
    for _ in 0..3 {
        let (number, changed) = members[random.usize(..members.len())];
        world.sandbox.mailchimp().edit(LIST, number, changed, |member| member.email = String::new());
    }
}

/// Changes of every kind: members are renamed, join, are deleted, archived, taken back, unsubscribe and
/// subscribe.
#[tokio::test(start_paused = true)]
async fn while_members_change_none_is_missed_and_none_stays_outdated() {
    let mut kinds = std::collections::BTreeSet::new();
    for edits_per_second in [1.0, 5.0, 50.0] {
        for seed in 0..4 {
            println!("{edits_per_second} changes a second, seed {seed}");
            let faults = Faults { seed, edits_per_second, ..Faults::default() };
            let odds = Odds {
                start_offset: 0,
                second: None,
                pauses: false,
                ..Odds::of(seed, 1.0, &mut Rng::with_seed(seed))
            };
            let odds = Odds { entry: odds.entry.replace("\"start_offset\"", "\"x-start\""), ..odds };
            let world = live_through(World::new(), &faults, &odds, Quirks::default(), 0.0).await;
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
        println!("seed {seed}");
        let mut random = Rng::with_seed(seed);
        let mut faults = Faults {
            edits_per_second: [0.2, 1.0, 5.0, 20.0][random.usize(..4)],
            troubles: 0.15 * random.f64(),
            ..Faults::usual(seed)
        };
        let odds = Odds::of(seed, faults.edits_per_second, &mut random);
        let quirks = quirks(&mut random, 300, &mut faults);
        live_through(World::new(), &faults, &odds, quirks, 0.7).await;
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
