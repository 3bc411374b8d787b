//! Row 10: what it costs to remember what was delivered, and what that saves.

use anyhow::ensure;
use serde_json::json;

use crate::{
    bench::Bench,
    figure::{Figure, Goal, Unit},
    service::Conditions,
    sides::ratios,
    state::{State, entry},
};

const MEMBERS: u64 = 100_000;

pub fn measure(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let service = bench.service(MEMBERS, 0)?;
    let off = entry(json!({"default_country": "GB"}));
    let on = entry(json!({"default_country": "GB", "unchanged": "embedded", "full_load": "changed_only"}));
    bench.rehearse(&bench.programs.importer, &State::fresh(bench.path("state"), &off)?, &service)?;
    let load = |state: &State, records: u64| {
        let usage = bench.load(state, &service, Conditions::default())?;
        let report = service.report()?;
        ensure!(report.records == records, "a run did not deliver {records} members: {report:?}");
        Ok(usage)
    };
    let (mut without, mut first, mut again) = (vec![], vec![], vec![]);
    for _ in 0..bench.runs {
        without.push(load(&State::fresh(bench.path("state"), &off)?, MEMBERS)?);
        let state = State::fresh(bench.path("state"), &on)?;
        first.push(load(&state, MEMBERS)?);
        // Without its timestamp, the list is loaded once more.
        state.write(&on)?;
        again.push(load(&state, 0)?);
    }
    let (load, rest) = (Goal::AtMost { must: 1.3, aim: 1.15 }, Goal::AtMost { must: 0.8, aim: 0.5 });
    let (first, again) = (ratios(&first, &without), ratios(&again, &without));
    Ok(vec![
        Figure::new(10, "`unchanged`, 100,000 members: first load against off", Unit::Times, load, first),
        Figure::new(10, "`unchanged`, 100,000 members: all unchanged against off", Unit::Times, rest, again),
    ])
}
