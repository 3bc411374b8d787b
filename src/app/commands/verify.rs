//! `importer verify LIST`: counts at the source against what our runs have delivered.

use std::{
    collections::HashSet,
    io::{Write, stdout},
};

use anyhow::{Context, bail};
use chrono::TimeDelta;

use super::lists::Lists;
use crate::{
    app::wiring::Keys,
    base::window::{Span, Sweep, Window},
    cli::{self, exit},
    engine::{
        paging::offset::LAG,
        verify::{Comparison, keys},
    },
    source::Rows,
    store::{dead_letter, ledger::Ledger},
};

/// Answers the exit code.
pub async fn run(options: &cli::Verify) -> anyhow::Result<u8> {
    let lists = Lists::open(&options.state, Keys::SourceOnly)?;
    let list = &options.list_id;
    let entries = lists.of(list)?;
    let ends = lists.ends(entries[0])?;
    if ends.rereads() {
        writeln!(
            stdout(),
            "list {list:?}: its source counts nothing, so there is nothing to compare; every run reads all that there is, and its \
             last line accounts for it."
        )?;
        return Ok(exit::FAILED);
    }
    let Some(ledger) = Ledger::load(&lists.folders.list(entries[0])).await? else {
        bail!(
            "no run of list {list:?} is on record; set its latest_timestamp to null, let it load, and verify again"
        );
    };
    if !ledger.summary.whole {
        let told = match entries.iter().any(|entry| lists.is_unfinished(entry)) {
            true => "a run of it is not finished: start importer, let it end, and verify again",
            false => {
                "the record does not begin with a full load, so it can't account for everybody: set its \
                 latest_timestamp to null, let it load, and verify again"
            }
        };
        writeln!(stdout(), "list {list:?}: {told}.")?;
        return Ok(exit::FAILED);
    }
    if ledger.summary.totals_wrong {
        writeln!(
            stdout(),
            "list {list:?}: verify can't tell whether records are missing: a run found that the source's totals contradict the rows \
             that it lists. A full load checks the totals again; set latest_timestamp to null to start one."
        )?;
        return Ok(exit::FAILED);
    }
    let file = lists.folders.dead_letter(entries[0]);
    let (letters, _) = dead_letter::read(&file).await?;
    let compared = compare(ends.rows()?, &ledger, &keys(&letters))
        .await
        .with_context(|| format!("list {list:?}: verify can't tell whether records are missing"))?;
    writeln!(stdout(), "list {list:?}\n\n{compared}")?;
    let (missing, rejected) = (compared.missing(), compared.rejected());
    if rejected > 0 {
        let nothing = if missing == 0 { "Nothing is missing, but " } else { "" };
        writeln!(
            stdout(),
            "{nothing}{rejected} records are rejected: {} lists them with the reasons. Correct the cause, then run `importer replay \
             {list}`.",
            file.display()
        )?;
    }
    Ok(match missing {
        0 if rejected > 0 => exit::REJECTED,
        0 => exit::DONE,
        _ => exit::FAILED,
    })
}

/// Asks the source, in this order: whoever changes in between is counted as both, which hides nobody.
async fn compare(source: &dyn Rows, ledger: &Ledger, letters: &HashSet<u128>) -> anyhow::Result<Comparison> {
    // What changed within the last seconds of the window may have become visible after it was read.
    let until = ledger.summary.until - TimeDelta::from_std(LAG).unwrap_or_default();
    let counted = source.census(until).await.context("could not count at the source")?;
    let mut since = 0;
    for sweep in [Sweep::Listed, Sweep::Archived] {
        let window = Window { sweep, since: Some(until), until: None };
        let page = source.read(&window, Span { offset: 0, count: 1 }).await;
        since += page.context("could not count at the source")?.total;
    }
    Ok(Comparison::new(ledger, until, counted, since, letters))
}
