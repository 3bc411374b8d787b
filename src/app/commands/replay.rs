//! `importer replay [LIST]`: reads rejected records again and delivers them as they are now.

use std::{
    collections::BTreeSet,
    io::{Write, stdout},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::bail;

use super::lists::Lists;
use crate::{
    app::{check_layout, wiring::Keys},
    base::{
        clock::{Clock, SystemClock},
        events::Events,
        identity::ListId,
        remedy::Remedy,
    },
    cli::{self, exit},
    controller::{records, run_name, run_store},
    engine::{
        plan::Pipeline,
        replay::{self, Letters},
    },
    state::{Entry, lock},
    store::{files, records::Databases},
};

/// Replays the dead letters of one list, or of all lists, and returns the exit code.
///
/// # Errors
///
/// An entry of the state file has a problem, the list is unknown, another importer works on the folder, or a
/// replay could not be finished.
pub async fn run(options: &cli::Replay, events: &Events) -> anyhow::Result<u8> {
    check_layout(&options.state)?;
    // Without the lock, a running importer could send a newer version of a record before the replay sends an
    // older one.
    let _lock = match options.dry_run {
        true => None,
        false => Some(lock::take(&options.state, SystemClock.now())?),
    };
    let lists = Lists::open(&options.state, Keys::Both, events)?;
    if !lists.snapshot.problems.is_empty() {
        // An entry that can't be read would look removed, and its letters would go to other entries.
        bail!(
            "an entry of the state file has a problem; run `importer check`, correct the entry, and replay again"
        );
    }
    let mut ids: Vec<&str> = match &options.list_id {
        Some(list_id) => vec![lists.of(list_id)?[0].id.list_id.as_str()],
        None => lists.entries().iter().map(|entry| entry.id.list_id.as_str()).collect(),
    };
    ids.sort_unstable();
    ids.dedup();
    let all = files::in_folder(&lists.folders.dead_letters())?;
    let (databases, mut code, mut found) = (Arc::default(), exit::DONE, BTreeSet::new());
    for list_id in ids {
        for entry in lists.of(list_id)? {
            if !all.iter().any(|file| is_of(file, &entry.list)) {
                continue;
            }
            let pipeline = lists.pipeline(entry)?;
            let file = lists.folders.dead_letter(&pipeline.delivery);
            if file.exists() {
                code = code.max(one(&lists, entry, &pipeline, &databases, options.dry_run).await?);
                found.insert(file);
            }
        }
    }
    if found.is_empty() {
        writeln!(stdout(), "There are no dead letters of the lists in the state file.")?;
    }
    if options.list_id.is_none() {
        for file in strangers(&lists)? {
            writeln!(
                stdout(),
                "{}: no entry of the state file has this delivery; restore its entry to replay the file, or remove the file.",
                file.display()
            )?;
        }
    }
    Ok(code)
}

/// Returns the dead-letter files of deliveries that no entry has.
fn strangers(lists: &Lists) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = files::in_folder(&lists.folders.dead_letters())?;
    files.retain(|file| file.is_file());
    for entry in lists.entries() {
        match lists.pipeline(entry) {
            Ok(pipeline) => files.retain(|file| *file != lists.folders.dead_letter(&pipeline.delivery)),
            Err(_) => files.retain(|file| !is_of(file, &entry.list)),
        }
    }
    Ok(files)
}

/// Returns whether a file contains dead letters of a list.
fn is_of(file: &Path, list: &ListId) -> bool {
    file.file_name().unwrap_or_default().to_string_lossy().starts_with(&format!("{}--", list.name()))
}

/// Replays the dead letters of one entry.
async fn one(
    lists: &Lists,
    entry: &Entry,
    pipeline: &Pipeline,
    databases: &Arc<Databases>,
    dry_run: bool,
) -> anyhow::Result<u8> {
    let name = if entry.alone {
        format!("list {:?}", entry.id.list_id)
    } else {
        format!("list {:?} (entry at {})", entry.id.list_id, entry.place)
    };
    if let Some(why) = obstacle(lists, entry, pipeline).await? {
        writeln!(stdout(), "{name}{why}")?;
        return Ok(exit::FAILED);
    }
    let letters = Letters {
        records: Arc::new(records(entry, pipeline, &lists.folders, databases)),
        store: Arc::new(run_store(entry, pipeline, &lists.folders, &lists.events)),
        entry: entry.folder.clone(),
        entries: lists.siblings(entry, pipeline),
        events: lists.events.of_run(run_name(entry)),
        dry_run,
    };
    let replayed = replay::run(pipeline, &letters).await?;
    let then = match dry_run || replayed.counts.rejected.is_empty() {
        true => String::new(),
        false => format!("; the rejected records stay in {}", letters.store.dead_letter_location()),
    };
    writeln!(stdout(), "{name}: {replayed}{then}.")?;
    Ok(if replayed.counts.rejected.is_empty() { exit::DONE } else { exit::FAILED })
}

/// Returns the reason for which the entry can't be replayed now, as the rest of a line that begins with its name.
async fn obstacle(lists: &Lists, entry: &Entry, pipeline: &Pipeline) -> anyhow::Result<Option<String>> {
    if !entry.enabled {
        return Ok(Some(" is paused; its dead letters stay until its entry is enabled.".to_owned()));
    }
    if lists.is_unfinished(entry, pipeline) {
        let why =
            ": its last run is not finished; start importer, wait until the run has ended, and replay again.";
        return Ok(Some(why.to_owned()));
    }
    if let Some(why) = impossible(pipeline) {
        return Ok(Some(format!(": {why}.")));
    }
    // With `allow_mass_change` the next run lifts the hold.
    let hold = lists.hold(pipeline).await?.filter(|_| !entry.allow_mass_change);
    Ok(hold.map(|hold| format!(" is on hold: {}.", hold.fault(&entry.id.list_id))))
}

/// Returns the reason for which a replay is not possible, and what to do instead; `None` if it is possible.
fn impossible(pipeline: &Pipeline) -> Option<String> {
    let remedy = pipeline.remedy();
    (remedy != Remedy::Replay)
        .then(|| format!("replay is not possible; to deliver the rejected records, {}", remedy.advice("")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::events::RunEvents,
        engine::support_tests::{AsItIs, Feed, Store, pipeline},
        store::{FolderStore, records::Records},
    };

    #[tokio::test(start_paused = true)]
    async fn a_source_without_a_lookup_is_not_replayed() {
        let (feed, folder) = (Feed::new(&[], false), tempfile::tempdir().unwrap());
        let pipeline = pipeline(feed.clone(), AsItIs, Store::new(1, 0.0), feed.list);
        let why = impossible(&pipeline).unwrap();
        assert!(why.contains("can't read single records") && why.contains("a full load"), "{why}");
        let letters = Letters {
            events: RunEvents::default(),
            store: Arc::new(FolderStore::alone(folder.path())),
            entry: String::new(),
            entries: vec![],
            records: Arc::new(Records::new(&Arc::default(), folder.path(), "", 1, None)),
            dry_run: false,
        };
        let fault = replay::run(&pipeline, &letters).await.unwrap_err().to_string();
        assert!(fault.contains("can't read single records"), "{fault}");
    }
}
