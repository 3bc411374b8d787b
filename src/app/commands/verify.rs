//! `importer verify LIST`: compares the source's counts with the records that runs have delivered and
//! rejected.

use std::io::{Write, stdout};

use anyhow::{Context, bail};
use chrono::TimeDelta;

use super::lists::Lists;
use crate::{
    app::wiring::Keys,
    cli::{self, exit},
    controller,
    engine::{
        paging::offset::LAG,
        verify::{Comparison, keys},
    },
    source::Census,
    store::{
        dead_letter,
        records::{self, Census as Ledger},
    },
};

/// Compares the counts of a list, prints the result and returns the exit code.
///
/// # Errors
///
/// There is no ledger to compare with, or the source could not be read.
pub async fn run(options: &cli::Verify) -> anyhow::Result<u8> {
    let lists = Lists::open(&options.state, Keys::SourceOnly)?;
    let list = &options.list_id;
    let entries = lists.of(list)?;
    let pipeline = lists.pipeline(entries[0])?;
    let Some(census) = pipeline.source.census() else {
        let whole = match pipeline.reads_all() {
            true => "Every run reads the source whole, and the last line of the run",
            false => "Instead, read the last line of each run in the log: it",
        };
        writeln!(
            stdout(),
            "list {list:?}: verify can't compare it, since its source reports no counts. {whole} accounts for \
             every record."
        )?;
        return Ok(exit::FAILED);
    };
    let file = lists.folders.dead_letter(entries[0]);
    let (letters, _) = dead_letter::read(&file).await?;
    let folder = controller::records_folder(entries[0], &pipeline, &lists.folders);
    let Some(ledger) = records::census(&folder, keys(&letters)).await? else {
        bail!(
            "no run of list {list:?} is on record; set its latest_timestamp to null, wait until the list is loaded, and verify again"
        );
    };
    if !ledger.summary.whole {
        let told = match entries.iter().any(|entry| lists.is_unfinished(entry)) {
            true => {
                "its last run is not finished; start importer, wait until the run has ended, and verify again"
            }
            false => {
                "its ledger does not begin with a full load, so verify can't account for every record; set its \
                 latest_timestamp to null, wait until the list is loaded, and verify again"
            }
        };
        writeln!(stdout(), "list {list:?}: {told}.")?;
        return Ok(exit::FAILED);
    }
    if ledger.summary.totals_wrong {
        writeln!(
            stdout(),
            "list {list:?}: verify can't check whether records are missing: a run found that the source's totals contradict \
             the rows that it lists. A full load checks the totals again; set latest_timestamp to null to start one."
        )?;
        return Ok(exit::FAILED);
    }
    let compared = compare(census, ledger)
        .await
        .with_context(|| format!("list {list:?}: verify can't check whether records are missing"))?;
    writeln!(stdout(), "list {list:?}\n\n{compared}")?;
    let (missing, rejected) = (compared.missing(), compared.rejected());
    if rejected > 0 {
        let then = match pipeline.source.lookup() {
            Some(_) => format!("Correct the cause, then run `importer replay {list}`."),
            None => "Correct the cause, then load the list again (`latest_timestamp`: null), since this source can't be \
                     replayed."
                .to_owned(),
        };
        let nothing = if missing == 0 { "Nothing is missing, but " } else { "" };
        writeln!(
            stdout(),
            "{nothing}{rejected} records are rejected: {} lists them with the reasons. {then}",
            file.display()
        )?;
    }
    Ok(match missing {
        0 if rejected > 0 => exit::REJECTED,
        0 => exit::DONE,
        _ => exit::FAILED,
    })
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
