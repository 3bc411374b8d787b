//! What a crash or a late save has left: finished, taken over, or kept aside, but never dropped.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use log::{info, warn};

use super::{
    disk,
    document::{self, Edit, Stamped},
    file::{Applied, Held, SLOT, StateFile},
    history::By,
    journal::{Exchange, Journal},
    layout::{NAME, digest},
    linger, read, schema,
};
use crate::base::{fault::Fault, time};

/// Of ours, where files can't be exchanged.
pub const ASIDE: &str = "aside";

impl StateFile {
    pub(super) fn look_back_at(&self, held: &mut Held) -> Result<(), Fault> {
        for index in 0..held.displaced.0.len() {
            self.take_over(held, index).map_err(|error| self.unwritable(&error))?;
        }
        Ok(())
    }

    /// If the displaced text at `index` was written to: its save, stamped as ours were since, becomes the file, provided
    /// that nobody saved there as well.
    fn take_over(&self, held: &mut Held, index: usize) -> io::Result<()> {
        let displaced = &held.displaced.0;
        let path = displaced[index].path.clone();
        let Ok(bytes) = fs::read(&path) else { return Ok(()) };
        if digest(&bytes) == displaced[index].digest {
            return Ok(());
        }
        // Half saved, it is looked at again; the next start keeps it aside if it never becomes whole.
        let Some(late) = read::text(&path).ok().filter(|late| schema::parse(late).is_ok()) else {
            return Ok(());
        };
        let now = fs::read_to_string(self.path()).unwrap_or_default();
        let in_force = displaced.last().is_some_and(|newest| newest.ours == digest(now.as_bytes()));
        let mut merged = late.clone();
        for lingering in &displaced[index..] {
            if let Ok(Stamped::Text(stamped)) = document::stamp(&merged, &lingering.edit) {
                merged = stamped;
            }
        }
        let edit = displaced[index].edit.clone();
        if in_force && self.replace(held, &now, &merged, &edit)? {
            info!("an edit that was saved while importer wrote the state file has been taken over.");
            self.remember(&merged, By::Hand);
        } else {
            let copy = self.disk.own("late");
            fs::copy(&path, &copy)?;
            self.set_aside(&copy)?;
        }
        held.displaced.renew(&self.disk, &path, &late)
    }

    /// Keeps a user's text that has no place beside the one in force.
    pub(super) fn set_aside(&self, path: &Path) -> io::Result<()> {
        let target = self.disk.target().unwrap_or_else(|_| self.path().to_owned());
        let now = self.clock.now().format("%Y%m%dT%H%M%S");
        let conflict =
            self.disk.move_to_free(path, &target.with_file_name(format!("{NAME}.conflict-{now}")))?;
        warn!(
            "two saves of the state file crossed; one is in force, the other one is kept as {:?}: compare them.",
            conflict.display().to_string()
        );
        Ok(())
    }

    /// Empties the slot after an exchange that a crash or an error has cut short: a user's save that is in it gets its
    /// name back, if ours still has it and the save is whole, or else is kept aside.
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

    /// Finishes or undoes the exchange that a crash has cut short, then makes the edits that were still wished for.
    pub(super) fn recover(&self) -> io::Result<()> {
        let mut journal = Journal::load(&self.disk);
        self.recover_aside(&self.disk.own(SLOT))?;
        if let Some(exchange) = journal.exchange.take() {
            // The exchange was made if the text before ours came out of it: its wish is in the file, or was until the
            // user took it out again, which is then his wish.
            let before = fs::read(self.disk.own(SLOT)).map(|text| digest(&text) == exchange.before);
            if before.unwrap_or_else(|_| linger::path(&self.disk, &exchange.before).exists()) {
                journal.wishes.retain(|wish| *wish != exchange.edit);
            }
            self.settle_slot(Some(exchange))?;
        }
        self.settle_slot(None)?;
        for (path, changed) in linger::left(&self.disk)? {
            if changed { self.set_aside(&path)? } else { fs::remove_file(path)? }
        }
        journal.save(&self.disk)?;
        let wishes = journal.wishes.clone();
        self.held().journal = journal;
        for edit in wishes {
            self.redo(&edit);
        }
        Ok(())
    }

    /// Where files can't be exchanged, a crash may have come between the two renames.
    #[expect(clippy::disallowed_methods, reason = "the slot is empty")]
    fn recover_aside(&self, slot: &Path) -> io::Result<()> {
        let aside: PathBuf = self.disk.own(ASIDE);
        match (aside.exists(), slot.exists()) {
            (true, false) => fs::rename(aside, slot),
            (true, true) => fs::remove_file(aside),
            _ => Ok(()),
        }
    }

    pub(super) fn redo(&self, edit: &Edit) {
        let (list, until) = (&edit.entry.list_id, time::spoken(edit.stamp.latest_timestamp));
        match self.apply(edit) {
            Ok(Applied { overruled: None, .. }) => {
                info!("list {list:?}: the run up to {until:?} had ended before, and is written now.");
            }
            // Written already, or changed by hand since.
            Ok(_) => {}
            Err(fault) => warn!("list {list:?}: the run up to {until:?} can't be written yet: {fault}"),
        }
    }
}
