//! Row 18: records of a REST API into a table, against a bare loop that sends the same statements.

use crate::{
    bench::Bench,
    databases::{Comparison, LOADS, Load, Place, Runs},
    figure::{Figure, Goal, Unit, median},
    number,
    postgres::Postgres,
    programs,
    sides::{grouped, memory, walls},
};

const RECORDS: u64 = 200_000;
const SHARE: Goal = Goal::MustBeAtLeast(0.6);
const MEMORY: Goal = Goal::MustBeAtMost(64.0);

pub fn measure(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let records = number("BENCH_RECORDS", RECORDS)?;
    let (importer, bare) = (programs::importer(&bench.folder, &["sql"])?, programs::sql_loop()?);
    let mut figures = vec![];
    for place in [Ok(Place::Sqlite), Postgres::start().map(Place::Postgres)] {
        let place = match place {
            Ok(place) => place,
            Err(why) => {
                figures.push(Figure::not_run(18, "PostgreSQL", format!("{why:#}")));
                continue;
            }
        };
        for atomic in [false, true] {
            let comparison = Comparison { place: &place, atomic, records, importer: &importer, bare: &bare };
            match comparison.measure(bench) {
                Ok(runs) => {
                    bench
                        .databases
                        .extend(LOADS.iter().zip(&runs).map(|(load, runs)| line(&comparison, load, runs)));
                    figures.extend(of(&comparison, &runs));
                }
                Err(error) if format!("{error:#}").contains("this build has no `sql`") => {
                    figures.push(Figure::not_run(18, place.name(), "the program has no `sql`"));
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(figures)
}

/// Returns the figures of a comparison.
fn of(comparison: &Comparison, all: &[Runs; 3]) -> Vec<Figure> {
    let speed = match comparison.place {
        Place::Sqlite => 60_000.0,
        Place::Postgres(_) => 40_000.0,
    };
    let mut figures = vec![];
    for (load, runs) in LOADS.iter().zip(all) {
        let name = format!("{} of {}", title(comparison, load), grouped(comparison.records));
        let goal = if load.writes { Goal::AimAtLeast(speed) } else { Goal::None };
        let of_importer = speeds(comparison, &walls(&runs.importer));
        let of_loop = speeds(comparison, &runs.bare);
        let shares = of_importer.iter().zip(of_loop).map(|(importer, bare)| importer / bare).collect();
        figures.push(Figure::new(18, format!("{name}: against the bare loop"), Unit::Times, SHARE, shares));
        figures.push(Figure::new(18, format!("{name}: records"), Unit::PerSecond, goal, of_importer));
    }
    let most = all.iter().flat_map(|runs| memory(&runs.importer)).collect();
    let name = format!("{}, {}: memory", kind(comparison), grouped(comparison.records));
    figures.push(Figure::new(18, name, Unit::Megabytes, MEMORY, most));
    figures
}

/// Returns the line of the table that compares the programs.
fn line(comparison: &Comparison, load: &Load, runs: &Runs) -> String {
    let speed = |times: &[f64]| Unit::PerSecond.text(median(&speeds(comparison, times)));
    let cpu = |times: Vec<f64>| Unit::Seconds.text(median(&times) * 100_000.0 / comparison.records as f64);
    let server = match comparison.place {
        Place::Sqlite => String::new(),
        Place::Postgres(_) => cpu(runs.server.clone()),
    };
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {server} |",
        title(comparison, load),
        grouped(comparison.records),
        speed(&walls(&runs.importer)),
        speed(&runs.bare),
        cpu(runs.importer.iter().map(|usage| usage.cpu).collect()),
        cpu(runs.bare_cpu.clone()),
        cpu(runs.service.clone()),
    )
}

fn kind(comparison: &Comparison) -> String {
    let atomic = if comparison.atomic { " with `atomic`" } else { "" };
    format!("{}{atomic}", comparison.place.name())
}

fn title(comparison: &Comparison, load: &Load) -> String {
    format!("{}, {}", kind(comparison), load.name)
}

fn speeds(comparison: &Comparison, times: &[f64]) -> Vec<f64> {
    times.iter().map(|time| comparison.records as f64 / time).collect()
}
