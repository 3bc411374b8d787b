//! `importer verify LIST`: compares the source's counts with the records that runs have delivered and
//! rejected.

use std::io::{Write, stdout};

use anyhow::Context;
use chrono::TimeDelta;

use super::lists::Lists;
use crate::{
    app::wiring::Keys,
    base::events::Events,
    cli::{self, exit},
    engine::{
        paging::offset::LAG,
        plan::Pipeline,
        verify::{Comparison, keys},
    },
    source::Census,
    state::Entry,
    store::{
        dead_letter,
        records::{self, Census as Ledger, Summary},
    },
};

/// Compares the counts of each delivery of a list, prints the results and returns the exit code.
///
/// # Errors
///
/// The state file has no such list, importer's own files can't be read, or the source could not be read.
pub async fn run(options: &cli::Verify, events: &Events) -> anyhow::Result<u8> {
    let lists = Lists::open(&options.state, Keys::SourceOnly, events)?;
    let mut deliveries: Vec<(Pipeline, Vec<&Entry>)> = vec![];
    for entry in lists.of(&options.list_id)? {
        let pipeline = lists.pipeline(entry)?;
        match deliveries.iter_mut().find(|(known, _)| known.delivery == pipeline.delivery) {
            Some((_, entries)) => entries.push(entry),
            None => deliveries.push((pipeline, vec![entry])),
        }
    }
    let several = deliveries.len() > 1;
    let mut codes = vec![];
    for (pipeline, entries) in &deliveries {
        let name = match several {
            true => format!("list {:?} (entry at {})", options.list_id, entries[0].place),
            false => format!("list {:?}", options.list_id),
        };
        codes.push(one(&lists, pipeline, entries, &name).await?);
    }
    let worst = [exit::FAILED, exit::REJECTED].into_iter().find(|code| codes.contains(code));
    Ok(worst.unwrap_or(exit::DONE))
}

/// Compares the counts of one delivery. `name` is the name of its list in the output.
async fn one(lists: &Lists, pipeline: &Pipeline, entries: &[&Entry], name: &str) -> anyhow::Result<u8> {
    let Some(census) = pipeline.source.census() else {
        let whole = match pipeline.reads_all() {
            true => "Every run reads the source whole, and the last line of the run",
            false => "Instead, read the last line of each run in the log: it",
        };
        let hint = pipeline.source.instead_of_census().map_or(String::new(), |hint| format!(" {hint}."));
        writeln!(
            stdout(),
            "{name}: verify can't compare it, since its source reports no counts. {whole} accounts for \
             every record.{hint}"
        )?;
        return Ok(exit::FAILED);
    };
    let is_unfinished = entries.iter().any(|entry| lists.is_unfinished(entry, pipeline));
    let file = lists.folders.dead_letter(&pipeline.delivery);
    let (letters, _) = dead_letter::read(&file).await?;
    let folder = lists.folders.delivery(&pipeline.delivery);
    let ledger = match records::census(&folder, keys(&letters), &lists.events).await? {
        Some(ledger) if obstacle(&ledger.summary, is_unfinished).is_none() => ledger,
        found => {
            let text = found.and_then(|ledger| obstacle(&ledger.summary, is_unfinished)).unwrap_or(
                "no run of the list into this sink is on record; set latest_timestamp of the entry to null, wait until the \
                 list is loaded, and verify again",
            );
            writeln!(stdout(), "{name}: {text}.")?;
            return Ok(exit::FAILED);
        }
    };
    let compared = compare(census, ledger)
        .await
        .with_context(|| format!("{name}: verify can't check whether records are missing"))?;
    writeln!(stdout(), "{name}\n\n{compared}")?;
    let (missing, rejected) = (compared.missing(), compared.rejected());
    if rejected > 0 {
        let list = &entries[0].id.list_id;
        let then = pipeline.remedy().advice(list);
        let nothing = if missing == 0 { "Nothing is missing, but " } else { "" };
        writeln!(
            stdout(),
            "{nothing}{rejected} records are rejected: {} lists them with the reasons. To deliver \
             them, {then}.",
            file.display()
        )?;
    }
    Ok(match missing {
        0 if rejected > 0 => exit::REJECTED,
        0 => exit::DONE,
        _ => exit::FAILED,
    })
}

/// Returns why this ledger can't be compared with the source; `None` if it can.
fn obstacle(summary: &Summary, is_unfinished: bool) -> Option<&'static str> {
    match summary {
        Summary { whole: false, .. } if is_unfinished => Some(
            "its last run is not finished; start importer, wait until the run has ended, and verify again",
        ),
        Summary { whole: false, .. } => Some(
            "its ledger does not begin with a full load, so verify can't account for every record; set its \
             latest_timestamp to null, wait until the list is loaded, and verify again",
        ),
        Summary { totals_wrong: true, .. } => Some(
            "verify can't check whether records are missing: a run found that the source's totals contradict \
             the rows that it lists. A full load checks the totals again; set latest_timestamp to null to start one",
        ),
        _ => None,
    }
}

/// Requests the source's counts and compares them with the ledger. The order of the requests matters: a
/// record that changes between them is counted by both, so that it can't hide a missing one.
async fn compare(source: &dyn Census, ledger: Ledger) -> anyhow::Result<Comparison> {
    // A change in the last seconds of the window may have become visible only after the window was read.
    let until = ledger.summary.until - TimeDelta::from_std(LAG).unwrap_or_default();
    let counted = source.census(until).await.context("could not count the records at the source")?;
    let since = source.changed_since(until).await.context("could not count the records at the source")?;
    Ok(Comparison::new(ledger, until, counted, since))
}
