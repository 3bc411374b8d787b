//! `importer status`: shows what each entry does, its progress, and what importer's own files contain about it.
//! Uses the status that a running importer publishes; without one, describes the state after a start.

mod text;
mod watch;

use std::{
    io::{Write, stdout},
    path::Path,
};

use anyhow::{Context, anyhow, bail};
use chrono::{DateTime, TimeDelta, Utc};

use super::lists::Lists;
use crate::{
    app::wiring::Keys,
    base::{
        clock::{Clock, SystemClock},
        events::Events,
        redact, time,
    },
    cli::{self, exit},
    controller::{
        offline,
        publish::{self, Published},
        status::{EntryState, EntryStatus, Report, Status, Stored},
        stored::{self, StoredEntry},
    },
    state::{
        Entry,
        folders::Folders,
        home,
        layout::NAME,
        lock::{self, Holder},
    },
    store::runs::RunKind,
};

/// Age from which a published status is silent. A running importer publishes at least once a minute.
const SILENT: TimeDelta = TimeDelta::minutes(3);
/// Shortest age from which an entry counts as stale, unless one is given: a run may take that long.
const STALE: TimeDelta = TimeDelta::minutes(10);

/// Prints the status. Returns [`exit::FAILED`] with `--fail-if-stale` if an entry is stale or a running importer hangs.
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
    let now = SystemClock.now();
    let entries = shown.status.entries.iter().filter_map(|entry| stale(entry, age, now));
    let stale: Vec<String> = unhealthy(&shown).into_iter().chain(entries).collect();
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

fn rendered(shown: &Report, json: bool) -> anyhow::Result<String> {
    Ok(if json { serde_json::to_string(shown)? + "\n" } else { redact::printable(&text::of(shown)) })
}

/// Collects the status of the entries that the options name.
async fn collect(options: &cli::Status, events: &Events) -> anyhow::Result<Report> {
    let lists = Lists::open(&options.state, Keys::None, events);
    let mut shown = latest(&options.state, &lists).await?;
    if let Some(list_id) = &options.list_id {
        retain(&mut shown.status, list_id, lists.as_ref().ok())?;
    }
    match &lists {
        Ok(lists) => {
            for entry in &mut shown.status.entries {
                entry.stored = of_entry(lists, entry).await.unwrap_or_else(|error| {
                    Some(Stored { unreadable: Some(format!("{error:#}")), ..Stored::default() })
                });
            }
        }
        Err(error) => shown.not_stored = Some(format!("{error:#}")),
    }
    Ok(shown)
}

/// Returns the status that the holder of the lock has published; without one, what a start would show.
async fn latest(folder: &Path, lists: &anyhow::Result<Lists>) -> anyhow::Result<Report> {
    let (now, folders) = (SystemClock.now(), Folders::of(&home::of(folder)?));
    let holder = lock::holder(folder).with_context(|| {
        let folder = folder.display();
        format!("can't read importer's own files in `{folder}`; run this command as the user of importer")
    })?;
    let published = match &holder {
        Some(holder) => publish::read(&folders.status()).await?.filter(|published| is_of(published, holder)),
        None => None,
    };
    let (is_published, status) = match published {
        Some(Published { status, .. }) => (true, status),
        None => {
            let lists = lists.as_ref().map_err(|error| anyhow!("{error:#}"))?;
            let (path, snapshot) = (folder.join(NAME), lists.snapshot.clone());
            (false, offline::status(&path, snapshot, lists.opener(), &folders, now))
        }
    };
    let (pid, is_silent) = (holder.map(|holder| holder.pid), is_published && now - status.time > SILENT);
    Ok(Report { pid, is_published, is_silent, not_stored: None, now, status })
}

/// Keeps the entries of a list only, by its `list_id` or by its name on disk.
///
/// # Errors
///
/// There is none.
fn retain(status: &mut Status, list_id: &str, lists: Option<&Lists>) -> anyhow::Result<()> {
    let of_list = lists.and_then(|lists| lists.of(list_id).ok()).unwrap_or_default();
    status.entries.retain(|entry| {
        let is_it = |other: &&Entry| Some(&other.folder) == entry.entry.as_ref();
        entry.list_id.as_deref() == Some(list_id) || of_list.iter().any(is_it)
    });
    if status.entries.is_empty() {
        bail!("no entry of the state file has the list {list_id:?}; run `importer check`");
    }
    Ok(())
}

/// Returns what importer's own files say of an entry; `None` if the entry can't be opened.
async fn of_entry(lists: &Lists, status: &EntryStatus) -> anyhow::Result<Option<Stored>> {
    let is_it = |entry: &&Entry| {
        Some(&entry.id.list_id) == status.list_id.as_ref() && Some(&entry.folder) == status.entry.as_ref()
    };
    let Some(entry) = lists.entries().iter().find(is_it) else { return Ok(None) };
    let Ok(pipeline) = lists.pipeline(entry) else { return Ok(None) };
    let entry = StoredEntry::of(entry, &pipeline);
    Ok(Some(stored::stored(&entry, &lists.folders, &lists.events).await?))
}

/// Returns whether the holder of the lock has published a status. A status that is older than the
/// lock is of a former process, which may have had the same process id.
fn is_of(published: &Published, holder: &Holder) -> bool {
    let since = time::parse(&holder.since);
    published.pid == holder.pid && since.is_some_and(|since| published.status.time >= since)
}

/// Returns why an entry is stale at `now`; `None` if it is not. A paused, stopped or loading entry is never
/// stale. Without an `age`, the limit is one and a half times its `every`, at least [`STALE`].
fn stale(entry: &EntryStatus, age: Option<TimeDelta>, now: DateTime<Utc>) -> Option<String> {
    let name = entry.list_id.as_deref().unwrap_or("?");
    match &entry.state {
        EntryState::Paused | EntryState::Stopped | EntryState::Done => return None,
        // A load may take hours.
        EntryState::Running { kind: RunKind::FullLoad, .. } => return None,
        EntryState::Problem { text } => return Some(text.clone()),
        _ => {}
    }
    let Some(latest) = entry.latest_timestamp else {
        return Some(format!("list {name:?} is not loaded yet; see `importer status {name}`"));
    };
    let of_entry = || entry.next_due.map_or(STALE, |due| ((due - latest) * 3 / 2).max(STALE));
    let old = now - latest;
    (old > age.unwrap_or_else(of_entry)).then(|| {
        format!(
            "list {name:?} is delivered up to {} only, {} ago; see `importer status {name}`",
            time::log_format(latest),
            time::approximately(old)
        )
    })
}

/// Returns why the running importer is not healthy as a whole.
fn unhealthy(shown: &Report) -> Option<String> {
    if let Some(broken) = shown.status.file.broken.as_ref().filter(|_| shown.status.entries.is_empty()) {
        return Some(format!("the state file can't be read, so no list runs: {broken}"));
    }
    let since = time::log_format(shown.status.time);
    shown
        .is_silent
        .then(|| format!("the running importer has reported nothing since {since}; look at its log"))
}
