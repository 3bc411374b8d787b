//! The bench: `./run.sh bench` measures every row of the table in docs/performance.md, `./run.sh bench 1 2 4` these
//! rows, and both write them there. `BENCH_RUNS` is the number of runs of each case, `BENCH_IMPORTER` a program that is
//! measured instead of a new build.
#![expect(clippy::disallowed_methods, reason = "a bench measures the time of the machine")]

mod bench;
mod figure;
mod machine;
mod page;
mod process;
mod programs;
mod rows;
mod service;
mod sides;
mod state;

use std::{collections::BTreeSet, env};

use anyhow::{Context, bail};

use self::bench::Bench;

/// Runs of each case, at least.
const RUNS: usize = 5;

fn main() -> anyhow::Result<()> {
    let runs = match env::var("BENCH_RUNS") {
        Ok(text) => text.parse().with_context(|| format!("BENCH_RUNS is `{text}`; it must be a number"))?,
        Err(_) => RUNS,
    };
    let mut rows = BTreeSet::new();
    // `cargo bench` adds an option of its own.
    for word in env::args().skip(1).filter(|word| word != "--bench") {
        match word.parse() {
            Ok(row) if rows::ALL.contains(&row) => rows.insert(row),
            _ => bail!("there is no row `{word}`; the rows are 1 to {}", rows::ALL.end()),
        };
    }
    if rows.is_empty() {
        rows.extend(rows::ALL);
    }
    let mut bench = Bench::new(runs.max(1))?;
    let mut figures = Vec::new();
    for row in rows {
        let measured = rows::measure(&mut bench, row).with_context(|| format!("row {row}"))?;
        measured.iter().for_each(|figure| println!("{}", figure.line()));
        figures.extend(measured);
    }
    let sides = bench.sides.values().flat_map(sides::Sides::lines).collect();
    page::write(&machine::describe(&bench), figures.iter().map(figure::Figure::line).collect(), sides)
}
