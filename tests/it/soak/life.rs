//! One world by seed: the list changes while it is read, the services have faults, and the program is cut off.

use std::{ops::Range, time::Duration};

use chrono::TimeDelta;
use fastrand::Rng;
use importer::{
    controller::Verdict,
    sandbox::{
        Faults,
        clocks::Jump,
        people::Member,
        quirks::{Quirks, Totals},
    },
};
use tokio::time::sleep;

use super::{
    decorators::{AT_FIRST, Batches, Decorators, Reading, Settling},
    neighbors,
};
use crate::support::{World, entries, hours};

pub const LIST: &str = "soak1";

/// Bounds of the size of a list whose records are delivered one by one.
const FEW_MEMBERS: Range<u64> = 40..120;

/// A world before it is lived through.
pub struct Life {
    pub faults: Faults,
    pub odds: Odds,
    pub quirks: Quirks,
    /// Share of the attempts that are cut off, 0 to 1.
    pub cuts: f64,
    /// Bounds of the size of the list.
    pub members: Range<u64>,
    /// Whether there are the lists and sinks of [`neighbors`].
    pub neighbors: bool,
}

impl Life {
    /// Everything at once: the faults, quirks, pauses and cuts of this seed.
    pub fn of(seed: u64, members: Range<u64>) -> Self {
        let mut random = Rng::with_seed(seed);
        let mut faults = Faults {
            edits_per_second: [0.2, 1.0, 5.0, 20.0][random.usize(..4)],
            troubles: 0.15 * random.f64(),
            ..Faults::by_default(seed)
        };
        let odds = Odds::of(seed, faults.edits_per_second, &mut random);
        let quirks = quirks(&mut random, members.start, &mut faults);
        Life { faults, odds, quirks, cuts: 0.7, members, neighbors: false }
    }

    /// Adds the neighbors and the decorators of this seed, if it has any, to [`Self::of`].
    pub fn decorated(seed: u64, members: Range<u64>) -> Self {
        let mut life = Life::of(seed, members);
        if neighbors::has(seed) {
            life.odds.second = Some(neighbors::ENTRIES);
            life.neighbors = true;
        }
        let Some(decorators) = Decorators::of(seed) else { return life };
        if decorators.batches == Batches::Linger(Duration::ZERO) {
            life.members = FEW_MEMBERS;
        }
        if decorators.reading != Reading::Offset {
            // These decorators know neither caps nor wrong totals, and only a walk by offset leaves rows out.
            (life.quirks.cap, life.quirks.total) = (None, Totals::Right);
            life.odds.leave_nothing_out();
        }
        if decorators.rejects() {
            // A replay could deliver a member whose row can't be read: the answer to its key is whole.
            (life.quirks.without_id, life.quirks.without_time) = Default::default();
        }
        if decorators.streams() {
            (life.faults.date_ahead, life.faults.date_jump) = (TimeDelta::zero(), None);
        }
        if let Settling::AtClose { .. } = decorators.settling {
            // A close that fails loses a pass, and a pass in pages of seven rows takes hours, in which the list changes.
            life.odds.entry =
                life.odds.entry.replace("\"items_per_request\": 7,", "\"items_per_request\": 20,");
        }
        life.odds.decorators = Some(decorators);
        life
    }

    /// Runs a load and an incremental sync while the list changes, then one more sync without changes. Afterwards no member is
    /// missing or outdated.
    pub async fn live(self) -> World {
        let Life { faults, odds, quirks, cuts, members, neighbors } = self;
        let (world, seed) = (neighbors::with_keys(World::new()), faults.seed);
        let world = match odds.decorators {
            None => world,
            Some(decorators) => world.opening(decorators.decorate()),
        };
        let mut random = Rng::with_seed(seed);
        // The program's own chance, too: the waits before it tries again.
        fastrand::seed(seed);
        world.save(&odds.state());
        let now = world.clock.now();
        world.sandbox.mailchimp().add_list(LIST, random.u64(members), seed, now);
        twins(&world, &mut random, seed);
        if neighbors {
            neighbors::add_list(&world, &mut random, seed);
        }
        world.sandbox.mailchimp().set_quirks(quirks);
        for _ in 0..2 {
            world.sandbox.misbehave(faults.clone());
            import(&world, &mut random, &odds, cuts, seed).await;
            assert_caught_up(&world, &odds);
            world.sandbox.behave();
            sleep(hours(3)).await;
        }
        import(&world, &mut random, &odds, 0.0, seed).await;
        if odds.decorators.is_some_and(Decorators::rejects) {
            replay(&world, seed).await;
        }
        // No alarm is false: in these worlds everything has its explanation.
        let alarms = world.lines("reading the window again");
        assert!(alarms.is_empty(), "seed {seed}: {alarms:?}");
        if neighbors {
            neighbors::assert_delivered(&world);
        }
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
}

/// Disturbances of a world besides its faults. Each occurs in some worlds.
pub struct Odds {
    pub entry: String,
    /// Other entries of the list, such as one that writes lines into a file.
    pub second: Option<&'static str>,
    /// Pauses or removes the entry while it runs, and puts it back.
    pub pauses: bool,
    /// Rows that a full load leaves out.
    pub start_offset: u64,
    pub decorators: Option<Decorators>,
}

impl Odds {
    /// Every other pair of seeds uses the delivery cache, also in full loads.
    pub fn of(seed: u64, edits_per_second: f64, random: &mut Rng) -> Self {
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
        Odds { entry, second, pauses: one_in(random, 4), start_offset, decorators: None }
    }

    /// Removes the `start_offset`.
    pub fn leave_nothing_out(&mut self) {
        self.entry = self.entry.replace("\"start_offset\"", "\"x-start\"");
        self.start_offset = 0;
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

/// Adds a server that caps its answers, has wrong totals or rows that can't be read, and clocks that are wrong or jump.
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

/// Keeps one clock behind the clock that stamps the rows: if both are ahead, no window ends early enough, and nothing shows it.
fn keep_one_clock_behind_the_rows(faults: &mut Faults) {
    let ours = faults.our_jump.map_or(TimeDelta::zero(), |jump| jump.by).max(TimeDelta::zero());
    if ours > faults.ahead {
        faults.date_ahead = -faults.date_ahead.abs();
        faults.date_jump = faults.date_jump.map(|jump| Jump { by: -jump.by.abs(), ..jump });
    }
}

/// Runs importer until a run completes. Each attempt is cut off at a random moment with the probability `cuts`.
async fn import(world: &World, random: &mut Rng, odds: &Odds, cuts: f64, seed: u64) {
    for _ in 0..200 {
        let cut = Duration::from_millis(random.u64(100..8000));
        let pause = (odds.pauses && cuts > 0.0 && random.bool()).then(|| random.u64(100..4000));
        let edited = odds.edited(world, random);
        let run = async {
            if random.f64() < cuts {
                tokio::select! {
                    biased;
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

/// Replays the rejected records until the sink has accepted them.
async fn replay(world: &World, seed: u64) {
    for _ in 0..10 {
        let mut rejected = false;
        for entry in 0..entries(&world.state()).len() {
            let replayed = world.replay(entry).await.unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
            rejected |= replayed.counts.rejected.contains_key(AT_FIRST);
        }
        if !rejected {
            return;
        }
    }
    panic!("seed {seed}: the sink rejects records again and again");
}

/// Checks that the first load made another pass over what changed meanwhile. Only a stream needs none.
fn assert_caught_up(world: &World, odds: &Odds) {
    let passes = if odds.decorators.is_some_and(Decorators::streams) { " 1 pass," } else { " passes," };
    let loads = world.lines(" finished in ");
    assert!(loads[0].contains(passes), "{}", loads[0]);
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
