//! Rows 8 and 9: an account that admits eight pushes a second.

use anyhow::ensure;
use serde_json::json;

use crate::{
    bench::Bench,
    figure::{Figure, Goal, Unit},
    process::{self, Usage},
    service::{Conditions, Report},
    state::{State, entry},
};

const MEMBERS: u64 = 20_000;
const LIMITED: Conditions = Conditions { read_ms: 0, push_ms: 0, rate: 8 };

/// importer with its default rate, which is the account's.
pub fn kept(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let runs = runs(bench, "8")?;
    let wall = runs.iter().map(|(usage, _)| usage.wall).collect();
    let refused = runs.iter().map(|(_, report)| report.refused as f64).collect();
    let pushes = runs.iter().map(|(_, report)| report.pushes as f64).collect();
    let time = Goal::AtMost { must: 26.5, aim: 25.2 };
    let none = Goal::AtMost { must: 0.0, aim: 0.0 };
    let full = Goal::AtMost { must: 200.0, aim: 200.0 };
    Ok(vec![
        Figure::new(8, "20,000 records at 8 requests/s: time", Unit::Seconds, time, wall),
        Figure::new(8, "20,000 records at 8 requests/s: refused requests", Unit::Count, none, refused),
        Figure::new(8, "20,000 records at 8 requests/s: pushes", Unit::Count, full, pushes),
    ])
}

/// importer without a rate, which has to find the one of the account.
pub fn found(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let runs = runs(bench, "0")?;
    let wall = runs.iter().map(|(usage, _)| usage.wall).collect();
    let refused = runs.iter().map(|(_, report)| report.refused as f64).collect();
    let few = Goal::AtMost { must: 4.0, aim: 2.0 };
    Ok(vec![
        Figure::new(9, "`OMETRIA_RATE=0`, the account allows 8/s: refused of 200", Unit::Count, few, refused),
        Figure::new(9, "`OMETRIA_RATE=0`, the account allows 8/s: time", Unit::Seconds, Goal::None, wall),
    ])
}

fn runs(bench: &mut Bench, rate: &str) -> anyhow::Result<Vec<(Usage, Report)>> {
    let service = bench.service(MEMBERS, 0)?;
    let entries = entry(json!({"default_country": "GB"}));
    let run = |_| {
        let state = State::fresh(bench.path("state"), &entries)?;
        service.reset(LIMITED)?;
        process::wait_for_start();
        let command = state.run_once(&bench.programs.importer, &service, rate);
        let usage = process::run(&command, &bench.path("importer.log"))?;
        let report = service.report()?;
        ensure!(report.records == MEMBERS, "a run did not deliver every member: {report:?}");
        Ok((usage, report))
    };
    (0..bench.runs).map(run).collect()
}
