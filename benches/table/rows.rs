//! The rows of the table, each in the file of its subject.

mod builds;
mod idle;
mod latency;
mod load;
mod plain;
mod rate;
mod sql;
mod start;
mod unchanged;

use std::ops::RangeInclusive;

use super::{bench::Bench, figure::Figure};

pub const ALL: RangeInclusive<u8> = 1..=18;

pub fn measure(bench: &mut Bench, row: u8) -> anyhow::Result<Vec<Figure>> {
    match row {
        1 => load::cpu(bench),
        2 => load::against_the_limit(bench),
        3 => load::against_the_script(bench),
        4 => load::memory(bench),
        5 => plain::as_is(bench),
        6 => latency::full_load(bench),
        7 => latency::incremental(bench),
        8 => rate::kept(bench),
        9 => rate::found(bench),
        10 => unchanged::measure(bench),
        11 => plain::mappings(bench),
        12 => idle::measure(bench),
        13 => start::measure(bench),
        18 => sql::measure(bench),
        _ => builds::read(row),
    }
}
