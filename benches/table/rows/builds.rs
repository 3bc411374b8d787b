//! Rows 14 to 17: figures of builds, which take too long to measure again and again. People measure them as
//! docs/performance.md describes, and write them into `benches/builds.json`.

use std::{fs, path::Path};

use anyhow::Context;
use serde::Deserialize;

use crate::figure::{Figure, Goal, Unit};

#[derive(Deserialize)]
struct Measured {
    row: u8,
    case: String,
    unit: Unit,
    must: f64,
    aim: f64,
    /// The values measured; none if nobody has measured yet.
    values: Vec<f64>,
}

pub fn read(row: u8) -> anyhow::Result<Vec<Figure>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/builds.json");
    let text = fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
    let all: Vec<Measured> = serde_json::from_str(&text).context("benches/builds.json")?;
    let figure = |measured: Measured| {
        let Measured { row, case, unit, must, aim, values } = measured;
        match values.is_empty() {
            true => Figure::not_run(row, case, "see below how to measure it"),
            false => Figure::new(row, case, unit, Goal::AtMost { must, aim }, values),
        }
    };
    Ok(all.into_iter().filter(|measured| measured.row == row).map(figure).collect())
}
