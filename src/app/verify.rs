//! `importer verify LIST`: counts at the source against what our runs have delivered.

use std::{
    io::{Write, stdout},
    sync::Arc,
};

use anyhow::{Context, bail};
use chrono::TimeDelta;

use super::{open, settings::Settings};
use crate::{
    base::{
        clock::{Clock, SystemClock},
        contact::ContactSettings,
        window::{Span, Sweep, Window},
    },
    cli::{self, exit},
    controller::Wanted,
    net::transport::Web,
    source::Source,
    state::{
        Entry,
        disk::OURS,
        file::{LISTS, NAME},
        read,
    },
    sync::{checkpoint::Checkpoint, ledger::Ledger, verify::Comparison, walk::LAG},
};

/// Answers the exit code.
pub async fn run(options: &cli::Verify) -> anyhow::Result<u8> {
    // Only the source is asked.
    let variable = |name: &str| {
        let unused = (name == "OMETRIA_APIKEY").then(|| "unused".to_owned());
        std::env::var(name).ok().or(unused)
    };
    let settings = match Settings::read(variable) {
        Ok(settings) => settings,
        Err(refused) => {
            eprintln!("importer: {refused}");
            return Ok(refused.exit_code());
        }
    };
    let path = options.state.join(NAME);
    let snapshot = read::load(&path)?;
    let list = &options.list_id;
    let entries: Vec<_> = snapshot.entries.iter().filter(|entry| entry.id.list_id == *list).collect();
    if entries.is_empty() {
        bail!("no entry of `{}` has the list {list:?}", path.display());
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let open = open(settings, Arc::new(Web::new()?), clock);
    let folders = path.canonicalize()?.with_file_name(OURS).join(LISTS);
    let Some(ledger) = Ledger::load(&folders.join(entries[0].id.list_folder())).await? else {
        bail!(
            "no run of list {list:?} is on record; set its latest_timestamp to null, let it load, and verify again"
        );
    };
    if !ledger.summary.whole {
        let folder = |entry: &&Entry| folders.join(entry.id.folder(entry.alone));
        let unfinished = entries.iter().any(|entry| Checkpoint::path(&folder(entry)).exists());
        let told = match unfinished {
            true => "a run of it is not finished: start importer, let it end, and verify again",
            false => {
                "the record does not begin with a full load, so it can't account for everybody: set its \
                 latest_timestamp to null, let it load, and verify again"
            }
        };
        writeln!(stdout(), "list {list:?}: {told}.")?;
        return Ok(exit::FAILED);
    }
    let ends = open(Wanted { list_id: list, urgent: true, contact: &ContactSettings::default() });
    let compared = compare(ends.source.as_ref(), &ledger).await?;
    writeln!(stdout(), "list {list:?}\n\n{compared}")?;
    Ok(if compared.missing() == 0 { exit::DONE } else { exit::FAILED })
}

/// Asks the source, in this order: whoever changes in between is counted as both, which hides nobody.
async fn compare(source: &dyn Source, ledger: &Ledger) -> anyhow::Result<Comparison> {
    // What changed within the last seconds of the window may have become visible after it was read.
    let until = ledger.summary.until - TimeDelta::from_std(LAG).unwrap_or_default();
    let counted = source.census(until).await.context("could not count at the source")?;
    let mut since = 0;
    for sweep in [Sweep::Listed, Sweep::Archived] {
        let window = Window { sweep, since: Some(until), until: None };
        let page = source.read(&window, Span { offset: 0, count: 1 }).await;
        since += page.context("could not count at the source")?.total;
    }
    Ok(Comparison::new(ledger, until, counted, since))
}
