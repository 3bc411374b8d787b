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

/// The lines that a run has measured.
pub struct Measured {
    pub figures: Vec<String>,
    pub sides: Vec<String>,
    /// Whether all rows were measured. Otherwise, the lines of the other rows stay.
    pub all: bool,
}

/// Replaces the tables, and the lines about the machine.
pub fn write(about: &[String], measured: Measured) -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let text = fs::read_to_string(&path).with_context(|| format!("could not read {PAGE}"))?;
    let (before, rest) = text.split_once(MARKS[0]).with_context(|| format!("{PAGE} has no {}", MARKS[0]))?;
    let (old, after) = rest.split_once(MARKS[1]).with_context(|| format!("{PAGE} has no {}", MARKS[1]))?;
    let (old_figures, old_sides): (Vec<&str>, Vec<&str>) = old
        .lines()
        .filter(|line| !measured.all && number(line).is_some())
        .partition(|line| number(line).is_some_and(|row| row < 100));
    let figures = merged(old_figures, measured.figures);
    let sides = merged(old_sides, measured.sides);
    let new = format!(
        "{}\n\n{FIGURES}\n{}\n\nSide by side, medians; memory is the highest of all runs:\n\n{SIDES}\n{}",
        about.join("\n"),
        figures.join("\n"),
        sides.join("\n")
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

/// Merges the lines of two tables, in the order of their numbers. The first two cells of a line identify it.
fn merged(old: Vec<&str>, new: Vec<String>) -> Vec<String> {
    let key = |line: &str| line.split(" | ").take(2).map(str::to_owned).collect::<Vec<_>>();
    let replaced: Vec<_> = new.iter().map(|line| key(line)).collect();
    let kept = old.into_iter().filter(|line| !replaced.contains(&key(line))).map(str::to_owned);
    let mut lines: Vec<String> = kept.chain(new).collect();
    lines.sort_by_cached_key(|line| (number(line), line.split(" | ").next().map(str::to_owned)));
    lines
}
