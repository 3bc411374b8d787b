//! Row 13: the program file, and how soon it works.

use std::{fs, process::Command};

use anyhow::Context;
use serde_json::json;

use crate::{
    bench::Bench,
    figure::{Figure, Goal, Unit},
    process,
    service::Conditions,
    state::{State, entry},
};

/// Starts, as many times the other rows' runs: they are short, and vary.
const STARTS: usize = 4;

pub fn measure(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let service = bench.service(1000, 0)?;
    let program = bench.programs.importer.clone();
    let size = fs::metadata(&program)?.len() as f64 / 1e6;
    let entries = entry(json!({}));
    let (mut version, mut request) = (vec![], vec![]);
    for _ in 0..bench.runs * STARTS {
        let log = bench.path("importer.log");
        let usage = process::run(Command::new(&program).arg("--version"), &log)?;
        version.push(usage.wall * 1000.0);
        let state = State::fresh(bench.path("state"), &entries)?;
        service.reset(Conditions::default())?;
        process::wait_for_start();
        let usage = process::run(&state.run_once(&program, &service, "0"), &log)?;
        let first = service.report()?.first_us.context("importer sent no request")?;
        request.push((first - usage.started_us) as f64 / 1000.0);
    }
    let at_most = |must, aim| Goal::AtMost { must, aim };
    Ok(vec![
        Figure::new(13, "stripped binary", Unit::Megabytes, at_most(12.0, 9.0), vec![size]),
        Figure::new(13, "start of `--version`", Unit::Milliseconds, at_most(10.0, 5.0), version),
        Figure::new(13, "start to first request", Unit::Milliseconds, at_most(30.0, 15.0), request),
    ])
}
