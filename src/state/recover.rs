//! Handles what a crash or a late save has left: an unfinished write is finished or undone, and a user's save
//! becomes the state file or is kept aside. No save is ever dropped.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    disk,
    document::{self, Edit, Outcome},
    file::{Held, SLOT, StateFile},
    history::By,
    journal::{Exchange, Journal},
    layout::{NAME, digest},
    linger, read, schema,
};
use chrono::{DateTime, Utc};

use crate::base::{event::FileEvent, fault::Fault};

/// The second name of the replaced file, in importer's folder. Used only where files can't be exchanged.
pub const ASIDE: &str = "aside";

impl StateFile {
    /// Checks every displaced text for a late save.
    pub(super) fn look_back_at(&self, held: &mut Held) -> Result<(), Fault> {
        for index in 0..held.displaced.0.len() {
            self.take_over(held, index).map_err(|error| self.unwritable(&error))?;
        }
        Ok(())
    }

    /// Handles a late save to the displaced text at `index`. If the state file still has importer's last
    /// text, the save replaces it, with all stamps that were written since. If the user has saved the state
    /// file too, the late save is kept aside.
    fn take_over(&self, held: &mut Held, index: usize) -> io::Result<()> {
        let displaced = &held.displaced.0;
        let path = displaced[index].path.clone();
        let Ok(bytes) = fs::read(&path) else { return Ok(()) };
        if digest(&bytes) == displaced[index].digest {
            return Ok(());
        }
        // An incomplete save is checked again later. If it never becomes whole, the next start keeps it
        // aside.
        let Some(late) = read::text(&path).ok().filter(|late| schema::parse(late).is_ok()) else {
            return Ok(());
        };
        let now = fs::read_to_string(self.path()).unwrap_or_default();
        let in_force = displaced.last().is_some_and(|newest| newest.ours == digest(now.as_bytes()));
        let mut merged = late.clone();
        for lingering in &displaced[index..] {
            if let Ok(stamped) = document::stamp(&merged, &lingering.edits, self.vocabulary) {
                merged = stamped.text;
            }
        }
        let edits = displaced[index].edits.clone();
        if in_force && self.replace(held, &now, &merged, &edits)? {
            self.disk.events.emit(FileEvent::LateSaveApplied);
            self.remember(&merged, By::Hand);
        } else {
            let copy = self.disk.own("late");
            fs::copy(&path, &copy)?;
            self.set_aside(&copy)?;
        }
        held.displaced.renew(&self.disk, &path, &late)
    }

    /// Keeps a user's text that conflicts with the state file, as `state.json.conflict-TIME` beside it.
    pub(super) fn set_aside(&self, path: &Path) -> io::Result<()> {
        let target = self.disk.target().unwrap_or_else(|_| self.path().to_owned());
        let now = self.clock.now().format("%Y%m%dT%H%M%S");
        let conflict =
            self.disk.move_to_free(path, &target.with_file_name(format!("{NAME}.conflict-{now}")))?;
        self.disk.events.emit(FileEvent::Conflict { kept: conflict });
        Ok(())
    }

    /// Removes the swap file after an exchange that a crash or an error interrupted.
    ///
    /// Three texts matter: *importer's text*, which importer wrote with the edit; *the swap file's text*; and
    /// *the user's save*, a text that another program wrote. An editor may still be writing the save, so
    /// this waits until it is whole, for up to the limits of [`disk::read_whole`]. The cases:
    ///
    /// * There is no `exchange`: the swap file has nothing to keep, and is removed.
    /// * The swap file's text is importer's text, or the text that importer replaced: the swap file is
    ///   removed.
    /// * The swap file's text is the user's save, the save is whole, and the state file has importer's text:
    ///   the save becomes the state file again.
    /// * The swap file's text is the user's save, but the save is not whole, or the state file has another
    ///   text: the save is kept aside, beside the state file.
    /// * The swap file can't be read: it is kept aside too.
    pub(super) fn settle_slot(&self, exchange: Option<Exchange>) -> io::Result<()> {
        let slot = self.disk.own(SLOT);
        if !slot.exists() {
            return Ok(());
        }
        let Some(exchange) = exchange else { return fs::remove_file(slot) };
        let known = |text: &[u8]| [&exchange.ours, &exchange.before].contains(&&digest(text));
        // An editor may still be writing this text.
        let save = disk::read_whole(&slot, |save| known(save) || read::is_whole(save));
        let Ok(save) = save else { return self.set_aside(&slot) };
        if known(&save) {
            return fs::remove_file(slot);
        }
        let file = self.disk.target().and_then(fs::read).unwrap_or_default();
        if digest(&file) != exchange.ours || !read::is_whole(&save) {
            return self.set_aside(&slot);
        }
        self.put_back(&slot, save, &file)?;
        if slot.exists() { fs::remove_file(slot) } else { Ok(()) }
    }

    /// Finishes or undoes the exchange that a crash interrupted, then applies the pending edits.
    pub(super) fn recover(&self) -> io::Result<()> {
        let (mut journal, found) = Journal::load(&self.disk);
        self.recover_aside(&self.disk.own(SLOT))?;
        if let Some(exchange) = journal.exchange.take() {
            // If the replaced text was the expected one, the exchange was made: its edits are in the file,
            // unless the user has removed one since. That removal counts, so no edit may be applied again.
            let before = fs::read(self.disk.own(SLOT)).map(|text| digest(&text) == exchange.before);
            if before.unwrap_or_else(|_| linger::path(&self.disk, &exchange.before).exists()) {
                journal.remove(exchange.edits());
            }
            self.settle_slot(Some(exchange))?;
        }
        self.settle_slot(None)?;
        for (path, changed) in linger::left(&self.disk)? {
            if changed { self.set_aside(&path)? } else { fs::remove_file(path)? }
        }
        let mut held = self.held();
        (held.inherited, held.journal) = (journal.pending.clone(), journal);
        let Held { journal, durable, .. } = &mut *held;
        *durable = found;
        journal.save(&self.disk, durable)?;
        // The text that was found may not be on disk: the folder may have been copied just now.
        Journal::sync(&self.disk)?;
        drop(held);
        self.redo();
        Ok(())
    }

    /// Finishes a replacement without exchange that a crash interrupted between its two renames.
    #[expect(clippy::disallowed_methods, reason = "there is no swap file")]
    fn recover_aside(&self, slot: &Path) -> io::Result<()> {
        let aside: PathBuf = self.disk.own(ASIDE);
        match (aside.exists(), slot.exists()) {
            (true, false) => fs::rename(aside, slot),
            (true, true) => fs::remove_file(aside),
            _ => Ok(()),
        }
    }

    /// Applies the pending edits of an earlier process and reports the results. An edit that fails stays pending.
    pub(super) fn redo(&self) {
        let edits = self.held().inherited.clone();
        if edits.is_empty() {
            return;
        }
        let outcomes = match self.apply(&edits) {
            Ok(applied) => applied.outcomes,
            Err(fault) => return edits.iter().for_each(|edit| self.report_pending(edit, &fault)),
        };
        self.look_back_soon();
        let mut failed = Vec::new();
        for (edit, outcome) in edits.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Stamped => {
                    let (list_id, latest_timestamp) = result_of(&edit);
                    self.disk.events.emit(FileEvent::InheritedResultWritten { list_id, latest_timestamp });
                }
                // The user has changed the entry since.
                Outcome::Overruled(_) => {}
                Outcome::Failed(finding) => {
                    self.report_pending(&edit, &finding.fault(self.path()));
                    failed.push(edit);
                }
            }
        }
        self.held().inherited = failed;
    }

    /// Reports that the result of an earlier run is still pending.
    fn report_pending(&self, edit: &Edit, fault: &Fault) {
        let ((list_id, latest_timestamp), problem) = (result_of(edit), fault.to_string());
        self.disk.events.emit(FileEvent::InheritedResultWaits { list_id, latest_timestamp, problem });
    }
}

/// Returns the list of an edit, and the timestamp that it writes.
fn result_of(edit: &Edit) -> (String, DateTime<Utc>) {
    (edit.entry.list_id.clone(), edit.stamp.latest_timestamp)
}
