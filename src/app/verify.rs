//! `importer verify LIST`: counts at the source against what our runs have delivered.

use std::{
    io::{Write, stdout},
    sync::Arc,
};

use anyhow::{Context, bail};

use super::{open, settings::Settings};
use crate::{
    base::{
        clock::{Clock, SystemClock},
        consent::Policy,
        window::{Span, Sweep, Window},
    },
    cli::{self, exit},
    controller::Wanted,
    net::transport::Web,
    source::Source,
    state::{
        disk::OURS,
        file::{LISTS, NAME},
        read,
    },
    sync::{ledger::Ledger, verify::Comparison},
};

/// Answers the exit code.
pub async fn run(options: &cli::Verify) -> anyhow::Result<u8> {
    let settings = match Settings::read(|name| std::env::var(name).ok()) {
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
    let folder = path.canonicalize()?.with_file_name(OURS).join(LISTS).join(entries[0].id.list_folder());
    let Some(ledger) = Ledger::load(&folder).await? else {
        bail!("no run of list {list:?} is on record: let it run, then verify");
    };
    let compared = compare(
        open(Wanted { list_id: list, urgent: true, policy: Policy::default() }).source.as_ref(),
        &ledger,
    )
    .await?;
    writeln!(stdout(), "list {list:?}\n\n{compared}")?;
    Ok(if compared.holds() { exit::DONE } else { exit::FAILED })
}

/// Asks the source, in this order: whoever changes in between is counted as both, which hides nobody.
async fn compare(source: &dyn Source, ledger: &Ledger) -> anyhow::Result<Comparison> {
    let until = ledger.summary.until;
    let counted = source.census(until).await.context("could not count at the source")?;
    let mut since = 0;
    for sweep in [Sweep::Listed, Sweep::Archived] {
        let window = Window { sweep, since: Some(until), until: None };
        let page = source.read(&window, Span { offset: 0, count: 1 }).await;
        since += page.context("could not count at the source")?.total;
    }
    Ok(Comparison::new(ledger, counted, since))
}
