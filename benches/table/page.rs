//! Writes what was measured into docs/performance.md, and prints it.

use std::{fs, path::Path};

use anyhow::Context;

/// The page, below the root of the repository. What is between the marks is replaced.
const PAGE: &str = "docs/performance.md";
const MARKS: [&str; 2] = ["<!-- bench: begin -->", "<!-- bench: end -->"];

const FIGURES: &str = "| row | case | must | aim | measured | lowest to highest | meets | date |\n\
     | --- | --- | --- | --- | --- | --- | --- | --- |";
const SIDES: &str = "| full load | program | wall | of the limit | CPU per 100,000 | peak memory |\n\
     | --- | --- | --- | --- | --- | --- |";
const DATABASES: &str = "| load of a table | records | importer | bare loop | CPU of importer | of the loop | of the service | of PostgreSQL |\n\
     | --- | --- | --- | --- | --- | --- | --- | --- |";

/// The lines that a run has measured.
pub struct Measured {
    pub figures: Vec<String>,
    pub sides: Vec<String>,
    pub databases: Vec<String>,
    /// Whether all rows were measured. Otherwise, the lines of the other rows stay.
    pub all: bool,
}

/// Replaces the tables, and the lines about the machine.
pub fn write(about: &[String], measured: Measured) -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let text = fs::read_to_string(&path).with_context(|| format!("could not read {PAGE}"))?;
    let (before, rest) = text.split_once(MARKS[0]).with_context(|| format!("{PAGE} has no {}", MARKS[0]))?;
    let (old, after) = rest.split_once(MARKS[1]).with_context(|| format!("{PAGE} has no {}", MARKS[1]))?;
    let kept = |table: Table| old.lines().filter(move |line| !measured.all && Table::of(line) == Some(table));
    let figures = merged(kept(Table::Figures), measured.figures);
    let sides = merged(kept(Table::Sides), measured.sides);
    let databases = merged(kept(Table::Databases), measured.databases);
    let new = format!(
        "{}\n\n{FIGURES}\n{}\n\nSide by side, medians; memory is the highest of all runs:\n\n{SIDES}\n{}\n\nRow 18 in \
         records per second, medians; CPU in seconds per 100,000 records:\n\n{DATABASES}\n{}",
        about.join("\n"),
        figures.join("\n"),
        sides.join("\n"),
        databases.join("\n")
    );
    println!("\n{new}");
    fs::write(&path, format!("{before}{}\n{new}\n{}{after}", MARKS[0], MARKS[1]))?;
    Ok(())
}

/// Returns the number with which a line of a table begins: the row, or the members of a full load.
fn number(line: &str) -> Option<u64> {
    let digits: String =
        line.strip_prefix("| ")?.chars().filter(|c| *c != ',').take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    Figures,
    Sides,
    Databases,
}

impl Table {
    /// Returns the table of a line with values.
    fn of(line: &str) -> Option<Table> {
        match number(line) {
            Some(0..100) => Some(Table::Figures),
            Some(_) => Some(Table::Sides),
            None => ["| PostgreSQL", "| SQLite"]
                .iter()
                .any(|begin| line.starts_with(begin))
                .then_some(Table::Databases),
        }
    }
}

/// Merges the lines of two tables, in the order of their numbers. The first two cells of a line identify it.
fn merged<'a>(old: impl Iterator<Item = &'a str>, new: Vec<String>) -> Vec<String> {
    let key = |line: &str| line.split(" | ").take(2).map(str::to_owned).collect::<Vec<_>>();
    let replaced: Vec<_> = new.iter().map(|line| key(line)).collect();
    let kept = old.filter(|line| !replaced.contains(&key(line))).map(str::to_owned);
    let mut lines: Vec<String> = kept.chain(new).collect();
    lines.sort_by_cached_key(|line| (number(line), line.split(" | ").next().map(str::to_owned)));
    lines
}
