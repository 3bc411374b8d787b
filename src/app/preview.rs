//! `importer preview LIST`: members as they are read, the contacts they become, and what is left out and why. The one command
//! that shows personal data, to whoever asks for it, on stdout.

use std::io::{Write, stdout};

use anyhow::Context;
use serde_json::{Value, value::RawValue};

use super::lists::{Keys, Lists};
use crate::{
    base::{
        fault::Fault,
        record::{LeftOut, Mapped, Outgoing, Record},
        window::{Span, Sweep, Window},
    },
    cli::{self, exit},
    state::Entry,
    sync::{job::Ends, ledger},
};

/// Answers the exit code.
pub async fn run(options: &cli::Preview) -> anyhow::Result<u8> {
    let lists = Lists::open(&options.state, Keys::SourceOnly)?;
    for entry in lists.of(&options.list_id)? {
        let ends = lists.ends(entry);
        let summary = ledger::summary(&lists.folders.list(entry)).await?;
        ends.mapping.choose(summary.and_then(|summary| summary.choice));
        let records = match &options.member {
            Some(member) => vec![one(&ends, member).await?],
            None => latest(&ends, options.count).await?,
        };
        let told: Vec<String> = records.iter().map(|record| told(&ends, record)).collect();
        let told = if told.is_empty() { "The list has no members.\n".to_owned() } else { told.join("\n") };
        write!(stdout(), "{}{told}", head(entry))?;
    }
    Ok(exit::DONE)
}

fn head(entry: &Entry) -> String {
    if entry.alone { String::new() } else { format!("\nEntry at {}\n\n", entry.place) }
}

async fn one(ends: &Ends, member: &str) -> anyhow::Result<Record> {
    let found = ends.source.find(&ends.source.key(member)).await?;
    let hint = "give the address as it is there, or the key of a dead letter";
    Ok(found.ok_or_else(|| Fault::list("the list has no such member").hint(hint))?)
}

/// The members that changed last.
async fn latest(ends: &Ends, count: u64) -> anyhow::Result<Vec<Record>> {
    let window = Window { sweep: Sweep::Listed, since: None, until: None };
    let total = ends.source.read(&window, Span { offset: 0, count: 1 }).await?.total;
    let offset = total.saturating_sub(count);
    let page = ends
        .source
        .read(&window, Span { offset, count: count as usize })
        .await
        .context("could not read the latest members")?;
    Ok(page.records)
}

/// These are opted out, but not on a first load.
const ARCHIVED: &str = "archived";

/// One member, in three parts.
fn told(ends: &Ends, record: &Record) -> String {
    let mut told = format!("Member {}\n{}\n\n", record.key, pretty(&record.body));
    match ends.mapping.map(record) {
        Mapped::Skip(reason) => told += &format!("Not sent: skipped, {reason}\n"),
        Mapped::Reject(reason) => told += &format!("Not sent: rejected, {reason}\n"),
        Mapped::Send(Outgoing { payload, left_out, .. }) => {
            let refused = ends.sink.refusal(&payload);
            let when = if record.status == ARCHIVED {
                ", sent if archived after a delivery of the list"
            } else {
                ""
            };
            let head = format!("Contact{when}\n");
            told += &refused.map_or(head, |reason| format!("Not sent: rejected, {reason}\n"));
            told += &format!("{}\n", pretty(&payload.0));
            if !left_out.is_empty() {
                told += "\nLeft out\n";
            }
            for LeftOut { field, reason } in left_out {
                told += &format!("  {field:<32} {reason}\n");
            }
        }
    }
    told
}

fn pretty(json: &RawValue) -> String {
    let value: Result<Value, _> = serde_json::from_str(json.get());
    value.and_then(|value| serde_json::to_string_pretty(&value)).unwrap_or_else(|_| json.get().to_owned())
}
