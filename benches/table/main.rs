//! The bench: `./run.sh bench` measures every row of the table in docs/performance.md, `./run.sh bench 1 2 4` these
//! rows, and both write them there. `BENCH_RUNS` is the number of runs of each case, `BENCH_RECORDS` the number of records
//! of row 18, and `BENCH_IMPORTER` a program that is measured instead of a new build.
#![expect(clippy::disallowed_methods, reason = "a bench measures the time of the machine")]

mod bench;
mod databases;
mod figure;
mod instructions;
mod machine;
mod page;
mod postgres;
mod process;
mod programs;
mod rows;
mod service;
mod sides;
mod state;

use std::{collections::BTreeSet, env, fs, path::Path};

use anyhow::{Context, bail};

use self::bench::Bench;

/// Runs of each case.
const RUNS: usize = 5;

fn main() -> anyhow::Result<()> {
    // `cargo bench` adds an option of its own.
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    if words.first().is_some_and(|word| word == process::MEASURE) {
        return process::measure(&words[1..]);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    fs::create_dir_all(&folder)?;
    if words == ["instructions"] {
        return instructions::guard(&folder);
    }
    let rows = wanted(&words)?;
    let runs = number("BENCH_RUNS", RUNS as u64)? as usize;
    let mut bench = Bench::new(folder, runs.max(1))?;
    let mut figures = Vec::new();
    for row in rows {
        let measured = rows::measure(&mut bench, row).with_context(|| format!("row {row}"))?;
        measured.iter().for_each(|figure| println!("{}", figure.line()));
        figures.extend(measured);
    }
    let measured = page::Measured {
        figures: figures.iter().map(figure::Figure::line).collect(),
        sides: bench.sides.values().flat_map(sides::Sides::lines).collect(),
        databases: std::mem::take(&mut bench.databases),
        all: words.is_empty(),
    };
    page::write(&machine::describe(&bench), measured)
}

/// Returns the number in a variable, or else the default.
pub fn number(variable: &str, default: u64) -> anyhow::Result<u64> {
    match env::var(variable) {
        Ok(text) => text.parse().with_context(|| format!("{variable} is `{text}`; it must be a number")),
        Err(_) => Ok(default),
    }
}

/// Returns the rows that the words name; without words, all.
fn wanted(words: &[String]) -> anyhow::Result<BTreeSet<u8>> {
    let mut rows = BTreeSet::new();
    for word in words {
        match word.parse() {
            Ok(row) if rows::ALL.contains(&row) => rows.insert(row),
            _ => bail!("there is no row `{word}`; the rows are 1 to {}", rows::ALL.end()),
        };
    }
    Ok(if rows.is_empty() { rows::ALL.collect() } else { rows })
}
