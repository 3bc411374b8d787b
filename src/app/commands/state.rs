//! The commands for the state file: `check`, `schema`, `state log` and `state revert`.

use std::{
    collections::BTreeSet,
    io::{Write, stdout},
};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::online::{self, OnlineCheck};
use crate::{
    app::{
        check_layout,
        ready::{self, Readiness},
        wiring::{VOCABULARY, examine},
    },
    base::{
        clock::{Clock, SystemClock},
        events::Events,
        time,
    },
    cli::{self, StateCommand, exit},
    controller::schedule::due::{self, Due},
    state::{disk::Disk, finding::Finding, history, json_schema, layout::NAME, model::Snapshot, read},
};

/// `importer check`: prints all problems of the state file at once, and returns the exit code. With `--online`,
/// also checks the services of its entries.
///
/// # Errors
///
/// The state file can't be read at all.
pub async fn check(options: &cli::Check, events: &Events) -> anyhow::Result<u8> {
    let path = options.state.join(NAME);
    let (mut entries, problems, warnings) = match read::inspect(&path, VOCABULARY) {
        Ok(Ok(mut snapshot)) => {
            examine(&mut snapshot, &options.state, events)?;
            let mut problems = std::mem::take(&mut snapshot.problems);
            problems.extend(future(&snapshot));
            problems.sort_by_key(|problem| problem.place);
            let Readiness { unable, missing, warnings } = match options.online {
                true => Readiness::default(),
                false => ready::of(&snapshot.entries, &options.state)?,
            };
            let found =
                missing.into_iter().chain(warnings).map(|(place, text)| snapshot.finding(place, text));
            let found: Vec<Finding> = found.collect();
            snapshot.warnings.extend(found);
            (snapshot.entries.len() - unable, problems, snapshot.warnings)
        }
        Ok(Err(finding)) => (0, vec![finding], vec![]),
        Err(fault) if options.json => {
            writeln!(stdout(), "{}", json!({"path": path, "error": fault.to_string()}))?;
            return Ok(exit::UNUSABLE);
        }
        Err(fault) => bail!(fault),
    };
    let checks = if options.online { online::check_all(&options.state, events).await? } else { vec![] };
    let failed = checks.iter().filter(|check| check.error.is_some());
    let (failures, places): (usize, BTreeSet<_>) =
        (failed.clone().count(), failed.map(|check| check.place).collect());
    entries -= places.len();
    let code = match (problems.is_empty(), failures) {
        (false, _) => exit::UNUSABLE,
        (true, 1..) => exit::FAILED,
        (true, 0) => exit::DONE,
    };
    if options.json {
        let list = |findings: &[Finding]| -> Vec<Value> {
            let each = |finding: &Finding| json!({"line": finding.place.line, "column": finding.place.column, "text": finding.text});
            findings.iter().map(each).collect()
        };
        let (problems, warnings) = (list(&problems), list(&warnings));
        let mut json = json!({"path": path, "entries": entries, "problems": problems, "warnings": warnings});
        if options.online {
            json["online"] = checks.iter().map(OnlineCheck::json).collect();
        }
        writeln!(stdout(), "{json}")?;
        return Ok(code);
    }
    for (word, findings) in [("problem", &problems), ("warning", &warnings)] {
        for finding in findings {
            writeln!(stdout(), "{}: {word}\n{}\n", finding.at(&path), finding.excerpt)?;
        }
    }
    for check in &checks {
        writeln!(stdout(), "{check}")?;
    }
    let online: usize = checks.iter().map(|check| check.warnings.len()).sum();
    let mut counts = vec![count(problems.len(), "problem"), count(warnings.len() + online, "warning")];
    if options.online {
        counts.push(count(failures, "failed check"));
    }
    let entries = match entries {
        0 => "no entry".to_owned(),
        1 => "1 entry".to_owned(),
        _ => format!("{entries} entries"),
    };
    writeln!(stdout(), "{}: {entries} can run; {}.", path.display(), counts.join(", "))?;
    Ok(code)
}

/// Returns a problem for each entry that can't run only because its timestamp is too far in the future.
fn future(snapshot: &Snapshot) -> Vec<Finding> {
    let now = SystemClock.now();
    let ahead = snapshot.entries.iter().filter_map(|entry| {
        match due::decide(entry.latest_timestamp, None, entry.every, now) {
            Due::Future { since } => Some((entry.place, since)),
            _ => None,
        }
    });
    let what = |since| {
        format!(
            "`latest_timestamp` {} is more than an hour in the future, so the entry does not run",
            time::state_format(since)
        )
    };
    ahead.map(|(place, since)| snapshot.finding(place, what(since))).collect()
}

fn count(number: usize, word: &str) -> String {
    match number {
        0 => format!("no {word}"),
        1 => format!("1 {word}"),
        _ => format!("{number} {word}s"),
    }
}

/// `importer schema`: prints the JSON Schema of the state file.
pub fn schema() -> anyhow::Result<u8> {
    writeln!(stdout(), "{:#}", json_schema::json_schema(VOCABULARY))?;
    Ok(exit::DONE)
}

/// `importer state log` prints the versions of the state file; `importer state revert N` restores one.
///
/// # Errors
///
/// There is no history or no such version, or a file can't be read or written.
pub fn versions(options: &cli::State, events: &Events) -> anyhow::Result<u8> {
    let folder = &options.state;
    check_layout(folder)?;
    let versions = history::versions(folder)
        .with_context(|| format!("the history of `{}` can't be read", folder.display()))?;
    if versions.is_empty() {
        bail!("`{}` has no history yet; importer records one while it runs", folder.display());
    }
    match options.command {
        StateCommand::Log => {
            let mut before: Option<String> = None;
            writeln!(stdout(), "   N  when (UTC)           by        what changed")?;
            for version in &versions {
                let text = version.text().with_context(|| format!("version {}", version.number))?;
                let changes = before
                    .as_deref()
                    .map_or(vec!["oldest version kept".into()], |old| history::changes(old, &text));
                let (number, at, by) = (version.number, time::log_format(version.at), version.by);
                writeln!(
                    stdout(),
                    "{number:4}  {at}  {by:8}  {}",
                    changes.join("\n                                     ")
                )?;
                before = Some(text);
            }
        }
        StateCommand::Revert { number } => {
            let Some(version) = versions.iter().find(|version| version.number == number) else {
                let (first, last) = (versions[0].number, versions[versions.len() - 1].number);
                bail!("there is no version {number}; `importer state log` shows {first} to {last}");
            };
            let disk = Disk::open(folder.join(NAME), events.clone()).context(
                "could not write to the state folder; check its permissions and the free disk space",
            )?;
            history::revert(&disk, version, SystemClock.now()).context("the state file can't be written")?;
            writeln!(
                stdout(),
                "{} is version {number} again; the replaced text is kept as a version too.",
                disk.path.display()
            )?;
        }
    }
    Ok(exit::DONE)
}
