//! `importer status`: what each entry does, with its progress and what importer's own files say of it; from the status that
//! a running importer publishes, or as it would be after a start.

mod text;
mod watch;

use std::io::{Write, stdout};

use anyhow::{anyhow, bail};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::lists::Lists;
use crate::{
    app::wiring::Keys,
    base::{
        clock::{Clock, SystemClock},
        events::Events,
        time,
    },
    cli::{self, exit},
    controller::{
        offline, publish,
        status::{EntryState, EntryStatus, Status, Stored},
    },
    state::{Entry, folders::Folders, home, layout::NAME, lock},
    store::{
        dead_letter,
        records::{self, OutboxStatus},
        runs::{LastRuns, RunHistory},
    },
};

/// Age of a published status from which a running importer counts as silent: it publishes every minute.
const SILENT: TimeDelta = TimeDelta::minutes(3);
/// Shortest age from which an entry counts as stale, unless one is given: a run may take that long.
const STALE: TimeDelta = TimeDelta::minutes(10);

/// The answer of the command; the names of the fields are the keys of `--json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Shown {
    /// The process that works on the state folder; `None` if there is none.
    pid: Option<u32>,
    /// Whether the running importer has not reported for some minutes.
    is_silent: bool,
    #[serde(flatten)]
    status: Status,
}

/// Prints the status. Returns [`exit::FAILED`] if an entry is stale, and that was asked for.
///
/// # Errors
///
/// The state file can't be read and no importer is running, or it has no such list.
pub async fn run(options: &cli::Status, events: &Events) -> anyhow::Result<u8> {
    let age = options.fail_if_stale.as_deref().map(age).transpose()?;
    if options.watch {
        watch::run(options, events).await?;
        return Ok(exit::DONE);
    }
    let shown = collect(options, events).await?;
    write!(stdout(), "{}", rendered(&shown, options.json)?)?;
    let Some(age) = age else { return Ok(exit::DONE) };
    let stale: Vec<String> =
        shown.status.entries.iter().filter_map(|entry| stale(entry, &shown, age)).collect();
    stale.iter().try_for_each(|why| writeln!(std::io::stderr(), "importer: {why}"))?;
    Ok(if stale.is_empty() { exit::DONE } else { exit::FAILED })
}

/// Reads the age of `--fail-if-stale`; `None`: that of each entry.
fn age(text: &str) -> anyhow::Result<Option<TimeDelta>> {
    if text.is_empty() {
        return Ok(None);
    }
    let age = time::span(text).ok_or_else(|| {
        anyhow!("invalid duration {text:?} for --fail-if-stale; use a number and a unit, such as \"3h\"")
    })?;
    Ok(Some(age))
}

fn rendered(shown: &Shown, json: bool) -> anyhow::Result<String> {
    Ok(if json { serde_json::to_string(shown)? + "\n" } else { text::of(shown) })
}

/// Collects the status of the entries that the options name.
async fn collect(options: &cli::Status, events: &Events) -> anyhow::Result<Shown> {
    let (folder, now) = (options.state.as_path(), SystemClock.now());
    let home = home::of(folder)?;
    let folders = Folders::of(&home);
    let published = match lock::is_held(folder)? {
        true => publish::read(&folders.status()).await?,
        false => None,
    };
    let lists = Lists::open(folder, Keys::None, events);
    let mut shown = match published {
        Some(publish::Published { pid, status }) => {
            Shown { pid: Some(pid), is_silent: now - status.time > SILENT, status }
        }
        None => {
            let path = folder.join(NAME);
            let lists = lists.as_ref().map_err(|error| anyhow!("{error:#}"))?;
            let status = offline::status(&path, lists.snapshot.clone(), lists.opener(), &folders, now);
            Shown { pid: None, is_silent: false, status }
        }
    };
    if let Some(list_id) = &options.list_id {
        shown.status.entries.retain(|entry| entry.list_id.as_ref() == Some(list_id));
        if shown.status.entries.is_empty() {
            bail!("no entry of the state file has the list {list_id:?}; run `importer check`");
        }
    }
    if let Ok(lists) = &lists {
        for entry in &mut shown.status.entries {
            entry.stored = stored(lists, entry, now).await?;
        }
    }
    Ok(shown)
}

/// Returns what importer's own files say of an entry; `None` if the entry can't be opened.
async fn stored(lists: &Lists, status: &EntryStatus, now: DateTime<Utc>) -> anyhow::Result<Option<Stored>> {
    let is_it = |entry: &&Entry| {
        Some(&entry.id.list_id) == status.list_id.as_ref() && Some(&entry.folder) == status.entry.as_ref()
    };
    let Some(entry) = lists.entries().iter().find(is_it) else { return Ok(None) };
    let Ok(pipeline) = lists.pipeline(entry) else { return Ok(None) };
    let folder = lists.folders.delivery(&pipeline.delivery);
    let LastRuns { last, with_changes, .. } = RunHistory::of(&folder).last(&entry.folder).await?;
    let (letters, unreadable) = dead_letter::read(&lists.folders.dead_letter(&pipeline.delivery)).await?;
    let OutboxStatus { waiting, oldest, dropped, refused } = records::outbox(&folder, &lists.events).await?;
    Ok(Some(Stored {
        last_run: last,
        last_run_with_changes: with_changes,
        is_interrupted: lists.is_unfinished(entry, &pipeline),
        rejected: (letters.len() + unreadable) as u64,
        notices_waiting: waiting,
        oldest_notice: oldest,
        notices_dropped: dropped,
        notices_refused: refused,
        age_seconds: entry.latest_timestamp.map(|latest| (now - latest).num_seconds()),
    }))
}

/// Returns why an entry is stale; `None` if it is not. A paused or stopped entry is not, and a run that a live importer
/// reports is given time. Without an `age`, an entry may be one and a half times its `every` old.
fn stale(entry: &EntryStatus, shown: &Shown, age: Option<TimeDelta>) -> Option<String> {
    let name = entry.list_id.as_deref().unwrap_or("?");
    match &entry.state {
        EntryState::Paused | EntryState::Stopped | EntryState::Done => return None,
        EntryState::Running { .. } if !shown.is_silent => return None,
        EntryState::Problem { text } if entry.entry.is_none() => return Some(text.clone()),
        _ => {}
    }
    let Some(latest) = entry.latest_timestamp else {
        return Some(format!("list {name:?} was never loaded; see `importer status {name}`"));
    };
    let of_entry = || entry.next_due.map_or(STALE, |due| ((due - latest) * 3 / 2).max(STALE));
    let old = shown.status.time - latest;
    (old > age.unwrap_or_else(of_entry)).then(|| {
        format!(
            "list {name:?} is delivered up to {} only, {} ago; see `importer status {name}`",
            time::log_format(latest),
            time::approximately(old)
        )
    })
}
