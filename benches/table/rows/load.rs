//! Rows 1 to 4: full loads with the whole contact mapping.

use crate::{
    bench::Bench,
    figure::{Figure, Goal, Unit},
    rows::latency,
    sides::{Case, grouped, memory as memory_of},
};

const SMALL: u64 = 100_000;
const LARGE: u64 = 1_000_000;
/// The default of `items_per_request`, and its maximum.
const PAGES: [u64; 2] = [100, 1000];

pub fn cpu(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let goal = Goal::AtMost { must: 0.30, aim: 0.20 };
    PAGES
        .into_iter()
        .map(|count| {
            let values = bench.compare(Case::new(SMALL, count))?.cpu();
            Ok(Figure::new(1, format!("CPU for 100,000 contacts, page {count}"), Unit::Seconds, goal, values))
        })
        .collect()
}

pub fn against_the_limit(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let goals = [(1000, Goal::AtMost { must: 3.0, aim: 2.0 }), (100, Goal::AtMost { must: 2.2, aim: 1.6 })];
    goals
        .into_iter()
        .map(|(count, goal)| {
            let values = bench.compare(Case::new(LARGE, count))?.times_the_limit();
            let case = format!("1,000,000 members, page {count}: wall against the limit");
            Ok(Figure::new(2, case, Unit::Times, goal, values))
        })
        .collect()
}

pub fn against_the_script(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let loads = [SMALL, LARGE].into_iter().flat_map(|members| PAGES.map(|count| Case::new(members, count)));
    loads
        .chain(latency::cases())
        .map(|case| {
            let name = format!("{}: times faster than the script", case.name());
            let goal = Goal::AtLeast { must: 1.0, aim: 2.0 };
            Ok(match bench.compare(case)?.times_faster_than_the_script() {
                Ok(values) => Figure::new(3, name, Unit::Times, goal, values),
                Err(why) => Figure::not_run(3, name, why),
            })
        })
        .collect()
}

pub fn memory(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let goals =
        [(SMALL, Goal::AtMost { must: 24.0, aim: 16.0 }), (LARGE, Goal::AtMost { must: 90.0, aim: 60.0 })];
    let cases = goals.into_iter().flat_map(|(members, goal)| PAGES.map(|count| (members, count, goal)));
    cases
        .map(|(members, count, goal)| {
            let values = memory_of(&bench.compare(Case::new(members, count))?.importer);
            let case = format!("peak memory at {}, page {count}", grouped(members));
            Ok(Figure::new(4, case, Unit::Megabytes, goal, values))
        })
        .collect()
}
