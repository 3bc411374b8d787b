//! Rows 6 and 7: services that take their time. The bound is the time that the waits for responses take if nothing else
//! takes any.

use anyhow::ensure;
use chrono::{TimeDelta, Utc};
use serde_json::json;

use crate::{
    bench::Bench,
    figure::{Figure, Goal, Unit},
    process::{self, Usage},
    service::Conditions,
    sides::{Case, walls},
    state::{State, entry},
};

const MEMBERS: u64 = 20_000;
const SLOW: Conditions = Conditions { read_ms: 50, push_ms: 30, rate: 0 };
/// Simultaneous reads, and simultaneous pushes.
const AT_ONCE: u64 = 8;
/// Contacts per push.
const BATCH: u64 = 100;

/// Members whose changes an incremental run reads, of how many.
const CHANGED: u64 = 37;
const KNOWN: u64 = 100_000;

/// Returns the full loads of row 6.
pub fn cases() -> impl Iterator<Item = Case> {
    [100, 1000].into_iter().map(|count| Case { conditions: SLOW, ..Case::new(MEMBERS, count) })
}

pub fn full_load(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let goal = Goal::AtMost { must: 1.10, aim: 1.04 };
    cases()
        .map(|case| {
            let bound = bound(case) as f64 / 1000.0;
            let values = walls(&bench.compare(case)?.importer).into_iter().map(|wall| wall / bound).collect();
            let name = format!("{}: wall against the bound of {bound:.2} s", case.name());
            Ok(Figure::new(6, name, Unit::Times, goal, values))
        })
        .collect()
}

/// Returns the least duration of a full load in milliseconds: the reads, eight at a time, and the push of what the last
/// ones brought; or the first read, and then the pushes, eight at a time.
fn bound(case: Case) -> u64 {
    let rounds = |requests: u64| requests.div_ceil(AT_ONCE);
    let Conditions { read_ms, push_ms, .. } = case.conditions;
    let reads = rounds(case.members.div_ceil(case.count)) * read_ms;
    let pushes = rounds(case.members.div_ceil(BATCH)) * push_ms;
    (reads + push_ms).max(read_ms + pushes)
}

pub fn incremental(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let service = bench.service(KNOWN, CHANGED)?;
    let loaded = State::fresh(bench.path("loaded"), &entry(json!({"default_country": "GB"})))?;
    bench.rehearse(&bench.programs.importer, &loaded, &service)?;
    let since = (Utc::now() - TimeDelta::hours(3)).format("%Y-%m-%dT%H:%M:%S").to_string();
    let entries = entry(json!({"default_country": "GB", "latest_timestamp": since}));
    let sync = |conditions: Conditions| -> anyhow::Result<Usage> {
        let state = State::copy_of(&loaded, bench.path("state"), &entries)?;
        service.reset(conditions)?;
        let command = state.run_once(&bench.programs.importer, &service, "0");
        let usage = process::run(&command, &bench.path("importer.log"))?;
        let report = service.report()?;
        ensure!(report.records == CHANGED, "an incremental run did not deliver the changes: {report:?}");
        Ok(usage)
    };
    let (mut quick, mut slow) = (vec![], vec![]);
    for _ in 0..bench.runs {
        quick.push(sync(Conditions::default())?);
        slow.push(sync(SLOW)?);
    }
    let wall = Goal::AtMost { must: 25.0, aim: 12.0 };
    let times = Goal::AtMost { must: 1.15, aim: 1.05 };
    let bound = (SLOW.read_ms + SLOW.push_ms) as f64;
    let [quick, slow] = [quick, slow].map(|runs| walls(&runs).into_iter().map(|wall| wall * 1000.0));
    let case = format!("{CHANGED} changes among 100,000, 50/30 ms: wall against the bound of {bound:.0} ms");
    Ok(vec![
        Figure::new(
            7,
            format!("{CHANGED} changes among 100,000: wall"),
            Unit::Milliseconds,
            wall,
            quick.collect(),
        ),
        Figure::new(7, case, Unit::Times, times, slow.map(|wall| wall / bound).collect()),
    ])
}
