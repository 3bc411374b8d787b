//! `importer replay [LIST]`: rejected members once more, as they are now.

use std::{
    io::{Write, stdout},
    path::PathBuf,
};

use anyhow::bail;

use super::lists::Lists;
use crate::{
    app::wiring::Keys,
    base::clock::{Clock, SystemClock},
    cli::{self, exit},
    controller::unchanged,
    engine::replay::{self, Letters},
    state::{Entry, lock},
};

/// Answers the exit code.
pub async fn run(options: &cli::Replay) -> anyhow::Result<u8> {
    // A running importer could send a newer version of a member, and we an older one after it.
    let _lock = match options.dry_run {
        true => None,
        false => Some(lock::take(&options.state, SystemClock.now())?),
    };
    let lists = Lists::open(&options.state, Keys::Both)?;
    if lists.problems > 0 {
        // An entry that can't be read would look like one that is gone, and its letters go to others.
        bail!("an entry of the state file has a problem; mend it first, importer check tells it");
    }
    let mut ids: Vec<&str> = match &options.list_id {
        Some(list_id) => vec![lists.of(list_id)?[0].id.list_id.as_str()],
        None => lists.entries.iter().map(|entry| entry.id.list_id.as_str()).collect(),
    };
    ids.sort_unstable();
    ids.dedup();
    let (mut code, mut found) = (exit::DONE, false);
    for list_id in ids {
        let entries = lists.of(list_id)?;
        if !lists.folders.dead_letter(entries[0]).exists() {
            continue;
        }
        found = true;
        code = code.max(list(&lists, &entries, options.dry_run).await?);
    }
    if !found {
        writeln!(stdout(), "There are no dead letters of the lists in the state file.")?;
    }
    if options.list_id.is_none() {
        for file in strangers(&lists) {
            writeln!(
                stdout(),
                "{}: no entry of the state file has this list; it is left alone.",
                file.display()
            )?;
        }
    }
    Ok(code)
}

/// Files of dead letters whose lists are in no entry.
fn strangers(lists: &Lists) -> Vec<PathBuf> {
    let known: Vec<PathBuf> = lists.entries.iter().map(|entry| lists.folders.dead_letter(entry)).collect();
    let files = std::fs::read_dir(lists.folders.dead_letters()).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> =
        files.map(|file| file.path()).filter(|file| !known.contains(file)).collect();
    files.sort();
    files
}

/// Replays one list, each of its entries by itself.
async fn list(lists: &Lists, entries: &[&Entry], dry_run: bool) -> anyhow::Result<u8> {
    let mut code = exit::DONE;
    for entry in entries {
        let name = if entry.alone {
            format!("list {:?}", entry.id.list_id)
        } else {
            format!("list {:?} (entry at {})", entry.id.list_id, entry.place)
        };
        if !entry.enabled {
            writeln!(stdout(), "{name} is paused; its dead letters stay until its entry is enabled.")?;
            code = exit::FAILED;
        } else if lists.is_unfinished(entry) {
            writeln!(
                stdout(),
                "{name}: a run of it is not finished; start importer, let it end, and replay again."
            )?;
            code = exit::FAILED;
        } else {
            code = code.max(one(lists, entries, entry, &name, dry_run).await?);
        }
    }
    Ok(code)
}

async fn one(
    lists: &Lists,
    entries: &[&Entry],
    entry: &Entry,
    name: &str,
    dry_run: bool,
) -> anyhow::Result<u8> {
    let of = |entry: &Entry| entry.folder.clone();
    let ends = lists.ends(entry)?;
    // With `allow_mass_change` the next run lifts the hold.
    if let Some(hold) = lists.hold(entry, &ends).await?.filter(|_| !entry.allow_mass_change) {
        writeln!(stdout(), "{name} is on hold: {}.", hold.fault(&entry.id.list_id))?;
        return Ok(exit::FAILED);
    }
    let letters = Letters {
        unchanged: unchanged(entry, &ends, &lists.folders),
        file: lists.folders.dead_letter(entry),
        list_folder: lists.folders.list(entry),
        entry: of(entry),
        entries: entries.iter().map(|entry| of(entry)).collect(),
        renamed: lists.past(entry).renamed(),
        dry_run,
    };
    let replayed = replay::run(&ends, &letters).await?;
    let then = match dry_run || replayed.rejected.is_empty() {
        true => String::new(),
        false => format!("; who is rejected stays in {}", letters.file.display()),
    };
    writeln!(stdout(), "{name}: {replayed}{then}.")?;
    Ok(if replayed.rejected.is_empty() { exit::DONE } else { exit::FAILED })
}
