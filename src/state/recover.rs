//! What a crash or a late save has left: finished, taken over, or kept aside, but never dropped.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use log::{info, warn};

use super::{
    disk::digest,
    document::{self, Edit, Stamped},
    file::{Applied, Held, NAME, SLOT, StateFile},
    history::By,
    journal::Journal,
    linger, read,
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
        // Half saved, it is looked at again.
        let Ok(late) = read::text(&path) else { return Ok(()) };
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

    /// Keeps a user's text that has no place beside a newer one.
    #[expect(clippy::disallowed_methods, reason = "the new name is made for it")]
    pub(super) fn set_aside(&self, path: &Path) -> io::Result<()> {
        let target = self.disk.target().unwrap_or_else(|_| self.path().to_owned());
        let now = self.clock.now().format("%Y%m%dT%H%M%S%3f");
        let conflict = target.with_file_name(format!("{NAME}.conflict-{now}"));
        fs::rename(path, &conflict)?;
        warn!(
            "two saves of the state file crossed; the newer one is in force, the other one is kept as {:?}: compare them.",
            conflict.display().to_string()
        );
        Ok(())
    }

    /// Finishes or undoes the exchange that a crash has cut short, then makes the edits that were still wished for.
    pub(super) fn recover(&self) -> io::Result<()> {
        let mut journal = Journal::load(&self.disk);
        let slot = self.disk.own(SLOT);
        self.recover_aside(&slot)?;
        if let Ok(save) = fs::read(&slot) {
            let found = digest(&save);
            let file = self.disk.target().and_then(fs::read).unwrap_or_default();
            match &journal.exchange {
                // A save was displaced and has not got its name back.
                Some(exchange) if ![&exchange.ours, &exchange.before].contains(&&found) => {
                    if digest(&file) == exchange.ours {
                        self.put_back(&slot, save, &file)?;
                        let _ = fs::remove_file(&slot);
                    } else {
                        self.set_aside(&slot)?;
                    }
                }
                _ => fs::remove_file(&slot)?,
            }
        }
        for (path, changed) in linger::left(&self.disk)? {
            if changed { self.set_aside(&path)? } else { fs::remove_file(path)? }
        }
        journal.exchange = None;
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
