//! `importer history`: the last runs, from the files of the deliveries.

use std::io::{Write, stderr, stdout};

use super::lists::Lists;
use crate::{
    app::wiring::Keys,
    base::{
        counts::{counted, grouped},
        events::Events,
        redact,
        time::{approximately, log_format},
    },
    cli::{self, exit},
    controller::stored::{self, StoredEntry},
    store::runs::{Cause, ResultKind, RunKind, RunRecord},
};

/// Prints the last runs, the latest one last.
///
/// # Errors
///
/// The state file can't be read or has no such list, or the files of a delivery can't be read.
pub async fn run(options: &cli::History, events: &Events) -> anyhow::Result<u8> {
    let lists = Lists::open(&options.state, Keys::None, events)?;
    let entries = match &options.list_id {
        Some(list_id) => lists.of(list_id)?,
        None => lists.entries().iter().collect(),
    };
    let mut opened = vec![];
    for entry in entries {
        match lists.pipeline(entry) {
            Ok(pipeline) => opened.push(StoredEntry::of(entry, &pipeline)),
            Err(error) => {
                let list = &entry.id.list_id;
                writeln!(
                    stderr(),
                    "importer: list {list:?} can't be opened, so its runs are not shown: {error}"
                )?;
            }
        }
    }
    let mut runs = stored::runs(&opened, &lists.folders).await?;
    runs.retain(|identified| !options.changes || !identified.run.is_quiet());
    let mut out = stdout().lock();
    for identified in runs.iter().skip(runs.len().saturating_sub(options.last)) {
        let run = &identified.run;
        match options.json {
            true => writeln!(out, "{}", serde_json::to_string(identified)?)?,
            false => writeln!(out, "{}", redact::printable(&format!("{}: {}", run.list_id, described(run))))?,
        }
    }
    if runs.is_empty() && !options.json {
        writeln!(
            out,
            "No run is on record{}.",
            if options.changes { " that changed something" } else { "" }
        )?;
    }
    Ok(exit::DONE)
}

/// Describes a run in one line: `2026-11-28 09:50:54, incremental sync, 3 s: 12 sent, 1 skipped (1 pending); 4 requests`.
pub fn described(run: &RunRecord) -> String {
    let kind = match run.kind {
        RunKind::FullLoad => "full load",
        RunKind::Sync => "incremental sync",
    };
    let cause = match run.cause {
        Cause::Schedule => "",
        Cause::HandEdit => " after an edit by hand",
        Cause::Command => " on request",
    };
    let took = approximately(run.end - run.start);
    let mut text = format!("{}, {kind}{cause}, {took}: {}", log_format(run.end), fate(run));
    if let Some(reason) = &run.reason {
        text += &format!(" ({})", first_line(reason));
    }
    text += &match run.requests {
        1 => "; 1 request".to_owned(),
        requests => format!("; {} requests", grouped(requests)),
    };
    if run.refusals > 0 {
        text += &format!(", {} refused", grouped(run.refusals));
    }
    text
}

fn fate(run: &RunRecord) -> String {
    let counts = run.counts.as_ref().map(|counts| {
        if run.is_quiet() && counts.seen == 0 {
            return "nothing new".to_owned();
        }
        let kinds = [(counts.opt_outs, "opted out"), (counts.deletions, "deleted")];
        let kinds: Vec<String> = kinds
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{} {word}", grouped(*count)))
            .collect();
        let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
        let mut parts = vec![format!("{} sent{kinds}", grouped(counts.sent))];
        if counts.unchanged > 0 {
            parts.push(format!("{} unchanged", grouped(counts.unchanged)));
        }
        for (reasons, word) in [(&counts.skipped, "skipped"), (&counts.rejected, "rejected")] {
            if !reasons.is_empty() {
                let sum = reasons.values().sum();
                parts.push(format!("{} {word} ({})", grouped(sum), counted(reasons)));
            }
        }
        parts.join(", ")
    });
    match (run.result, counts, &run.error) {
        (ResultKind::Finished, counts, _) => counts.unwrap_or_default(),
        (ResultKind::Stopped, Some(counts), _) => format!("stopped, {counts}"),
        (ResultKind::Stopped, None, _) => "stopped".to_owned(),
        (ResultKind::Failed, _, error) => {
            format!("failed: {}", first_line(error.as_deref().unwrap_or_default()))
        }
    }
}

/// Returns a text without the lines of the file that it is about, which follow the first line.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
