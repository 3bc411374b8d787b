//! importer side by side with the limit, a bare client and a script, over the same members.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::{
    bench::Bench,
    figure::{Unit, median},
    process::{self, Usage},
    programs::SCRIPT,
    service::{Conditions, Service},
    state::{State, entry},
};

/// A full load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case {
    pub members: u64,
    pub count: u64,
    pub conditions: Conditions,
}

impl Case {
    pub fn new(members: u64, count: u64) -> Self {
        Case { members, count, conditions: Conditions::default() }
    }

    pub fn name(&self) -> String {
        let Conditions { read_ms, push_ms, .. } = self.conditions;
        let latency = if read_ms == 0 { String::new() } else { format!(", {read_ms}/{push_ms} ms") };
        format!("{} members, page {}{latency}", grouped(self.members), self.count)
    }
}

/// The runs of each program, in the order in which they were made.
pub struct Sides {
    case: Case,
    pub importer: Vec<Usage>,
    pub limit: Vec<Usage>,
    pub bare: Vec<Usage>,
    /// The runs of the script, or why there are none.
    pub script: Result<Vec<Usage>, String>,
}

impl Sides {
    /// Returns importer's wall time as a multiple of the limit's, run by run.
    pub fn times_the_limit(&self) -> Vec<f64> {
        ratios(&self.importer, &self.limit)
    }

    /// Returns the script's wall time as a multiple of importer's, run by run.
    pub fn times_faster_than_the_script(&self) -> Result<Vec<f64>, String> {
        self.script.as_ref().map(|script| ratios(script, &self.importer)).map_err(String::clone)
    }

    /// Returns importer's CPU time for 100,000 members.
    pub fn cpu(&self) -> Vec<f64> {
        self.per_100_000(&self.importer)
    }

    fn per_100_000(&self, runs: &[Usage]) -> Vec<f64> {
        runs.iter().map(|usage| usage.cpu * 100_000.0 / self.case.members as f64).collect()
    }

    /// Returns the lines of the table that compares the programs.
    pub fn lines(&self) -> Vec<String> {
        let nothing = vec![];
        let script = self.script.as_ref().unwrap_or(&nothing);
        let sides = [
            ("limit", &self.limit),
            ("importer", &self.importer),
            ("script", script),
            ("bare client", &self.bare),
        ];
        let line = |(name, runs): (&str, &Vec<Usage>)| {
            let cells = match (runs.is_empty(), &self.script) {
                (true, Err(why)) => format!("not run: {why} | | |"),
                _ => format!(
                    "{} | {} | {} | {}",
                    Unit::Seconds.text(median(&walls(runs))),
                    Unit::Times.text(median(&ratios(runs, &self.limit))),
                    Unit::Seconds.text(median(&self.per_100_000(runs))),
                    Unit::Megabytes.text(peak(runs)),
                ),
            };
            format!("| {} | {name} | {cells} |", self.case.name())
        };
        sides.into_iter().map(line).collect()
    }
}

pub fn walls(runs: &[Usage]) -> Vec<f64> {
    runs.iter().map(|usage| usage.wall).collect()
}

pub fn memory(runs: &[Usage]) -> Vec<f64> {
    runs.iter().map(|usage| usage.memory).collect()
}

/// Returns the largest memory of all runs: what must be there.
fn peak(runs: &[Usage]) -> f64 {
    memory(runs).into_iter().fold(0.0, f64::max)
}

/// Returns the wall times as multiples of those of the same round.
pub fn ratios(runs: &[Usage], of: &[Usage]) -> Vec<f64> {
    runs.iter().zip(of).map(|(run, of)| run.wall / of.wall).collect()
}

/// Returns a number with commas between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|part| str::from_utf8(part).ok()).collect();
    groups.join(",")
}

impl Bench {
    /// Compares the programs over a full load. Makes each comparison once.
    pub fn compare(&mut self, case: Case) -> anyhow::Result<&Sides> {
        if !self.sides.contains_key(&case) {
            let sides = self.measure(case).with_context(|| case.name())?;
            self.sides.insert(case, sides);
        }
        self.sides.get(&case).context("no comparison was made")
    }

    fn measure(&mut self, case: Case) -> anyhow::Result<Sides> {
        let service = self.service(case.members, 0)?;
        let entries = entry(json!({"default_country": "GB", "items_per_request": case.count}));
        let (trace, fields) = self.record(case, &service, &entries)?;
        let (base, count) = (service.base(), case.count.to_string());
        let command = |program: &Path, words: &[&str]| {
            let mut command = Command::new(program);
            command.args(words);
            command
        };
        let limit = command(&self.programs.limit, &["replay", &base, &trace]);
        let bare = command(&self.programs.limit, &["bare", &base, &count, &fields]);
        let python = self.programs.python.as_ref();
        let script = python.map(|python| command(python, &[SCRIPT, &base, &count, &fields]));
        let runs = script.as_ref().map(|_| vec![]).map_err(|why| (*why).clone());
        let mut sides = Sides { case, importer: vec![], limit: vec![], bare: vec![], script: runs };
        for _ in 0..self.runs {
            sides.limit.push(self.peer(case, &service, &limit)?);
            let state = State::fresh(self.path("state"), &entries)?;
            sides.importer.push(self.load(&state, &service, case.conditions)?);
            complete(case, &service)?;
            if let (Ok(script), Ok(runs)) = (&script, &mut sides.script) {
                runs.push(self.peer(case, &service, script)?);
            }
            sides.bare.push(self.peer(case, &service, &bare)?);
        }
        Ok(sides)
    }

    /// Runs importer once before the measurement. Returns the file with its requests, and the fields that it requests.
    fn record(&self, case: Case, service: &Service, entries: &Value) -> anyhow::Result<(String, String)> {
        let state = State::fresh(self.path("state"), entries)?;
        let report = self.rehearse(&self.programs.importer, &state, service)?;
        let all = report.distinct == Some(case.members) && report.records == case.members;
        ensure!(all, "importer did not deliver every member once: {report:?}");
        let (requests, file) = (service.trace()?, self.path("trace"));
        fs::write(&file, &requests)?;
        let fields = requests.split(['?', '&']).find_map(|part| part.strip_prefix("fields="));
        let fields = fields.context("importer requested no fields")?.to_owned();
        Ok((file.display().to_string(), fields))
    }

    /// Runs a program that is compared with importer.
    fn peer(&self, case: Case, service: &Service, command: &Command) -> anyhow::Result<Usage> {
        service.reset(case.conditions)?;
        process::wait_for_start();
        let usage = process::run(command, &self.path("peer.log"))?;
        complete(case, service)?;
        Ok(usage)
    }
}

/// Fails if a run did not deliver every member.
fn complete(case: Case, service: &Service) -> anyhow::Result<()> {
    let report = service.report()?;
    ensure!(report.records == case.members, "a run did not deliver every member: {report:?}");
    Ok(())
}
