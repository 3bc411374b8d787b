//! The state file on disk. The functions block; callers use `spawn_blocking`.
//!
//! A lost edit of importer costs a repeated run. An edit of the user must never be lost. In every
//! conflict the user's edit wins.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use log::warn;

use super::{
    disk::{self, Disk, Step},
    document::{self, Edit, Overruled, Stamped},
    folders::Folders,
    history::{self, By},
    home,
    journal::{Exchange, Journal},
    layout::{DEAD_LETTER, NAME, OURS, digest},
    linger::Displaced,
    lock,
    model::Snapshot,
    read, schema,
    vocabulary::Vocabulary,
};
use crate::base::{clock::Clock, fault::Fault};

/// Name of the swap file: it has importer's new text before the exchange, and the replaced text after it.
pub(super) const SLOT: &str = "slot";
/// Attempts of one write. Each attempt fails if another program saves the file at the same time.
const TRIES: usize = 100;
/// Time after a write in which an editor that had the old file open finishes its save.
const SOON: Duration = Duration::from_millis(50);

/// The state file of one folder.
pub struct StateFile {
    pub(super) disk: Disk,
    pub(super) clock: Arc<dyn Clock>,
    vocabulary: &'static Vocabulary,
    held: Mutex<Held>,
}

/// The part of a [`StateFile`] that changes, behind its mutex.
#[derive(Default)]
pub(super) struct Held {
    /// Folders that a changed link has led to since the start, with their locks.
    followed: Vec<(PathBuf, File)>,
    pub journal: Journal,
    pub displaced: Displaced,
}

/// The outcome of an edit.
#[derive(Debug)]
pub struct Applied {
    /// The file after the edit.
    pub snapshot: Snapshot,
    /// The text before the edit.
    pub before: String,
    /// Why the edit was not applied; `None` if it was.
    pub overruled: Option<Overruled>,
}

impl StateFile {
    /// Opens the state file of a folder and finishes a write that a crash interrupted. The caller holds the
    /// folder's lock.
    ///
    /// # Errors
    ///
    /// A [`Fault::Process`] if importer can't access its own folder, or can't finish the write.
    pub fn open(
        folder: &Path,
        clock: Arc<dyn Clock>,
        vocabulary: &'static Vocabulary,
    ) -> Result<Self, Fault> {
        let disk = Disk::open(folder.join(NAME)).map_err(|error| {
            Fault::process(format!("can't access the state folder `{}`", folder.display())).because(error)
        })?;
        let file = StateFile { disk, clock, vocabulary, held: Mutex::default() };
        file.recover().map_err(|error| file.unwritable(&error))?;
        Ok(file)
    }

    /// Returns the path as the user named it.
    pub fn path(&self) -> &Path {
        &self.disk.path
    }

    /// Returns the paths of importer's own files.
    pub fn folders(&self) -> Folders {
        Folders::of(self.home())
    }

    /// Returns the folder that contains importer's own folder: that of the state file when this was opened.
    pub fn home(&self) -> &Path {
        &self.disk.home
    }

    /// Follows a link that was changed since the start: locks the folder that it leads to now. importer's own
    /// files stay where they are until the next start.
    fn follow(&self) -> Result<(), Fault> {
        let folder = self.path().parent().unwrap_or(Path::new("."));
        // A link that leads nowhere is reported when the file is read.
        let Ok(home) = home::of(folder) else { return Ok(()) };
        let mut held = self.held();
        if home == self.disk.home || held.followed.iter().any(|(followed, _)| *followed == home) {
            return Ok(());
        }
        let lock = lock::one(&home, self.clock.now()).map_err(|why| {
            Fault::process(format!("can't access `{}`", self.path().display())).because(why)
        })?;
        warn!(
            "the link `{}` leads to `{}` now; importer uses the file there. Its own data stays in `{}`: before the next start, stop \
             importer and move `{OURS}` and `{DEAD_LETTER}` to the new folder.",
            self.path().display(),
            home.display(),
            self.disk.home.display()
        );
        held.followed.push((home, lock));
        Ok(())
    }

    /// Reads the file and applies the pending edits. A text that the user has edited is added to the history.
    ///
    /// # Errors
    ///
    /// A [`Fault::Process`] with place and reason if the file is missing, unreadable or no array of entries,
    /// or if another importer uses the folder that a changed link leads to. A pending edit that fails is only
    /// logged.
    pub fn load(&self) -> Result<Snapshot, Fault> {
        self.follow()?;
        let mut snapshot = read::load(self.path(), self.vocabulary)?;
        let wishes = self.held().journal.wishes.clone();
        if !wishes.is_empty() {
            self.remember(&snapshot.text, By::Hand);
            wishes.iter().for_each(|wish| self.redo(wish));
            snapshot = read::load(self.path(), self.vocabulary)?;
        }
        self.remember(&snapshot.text, By::Hand);
        Ok(snapshot)
    }

    /// Saves an edit in the journal. From here on it survives a crash: [`Self::apply`] or the next start
    /// applies it.
    ///
    /// # Errors
    ///
    /// A [`Fault::Process`] if the journal can't be written.
    pub fn wish(&self, edit: &Edit) -> Result<(), Fault> {
        let mut held = self.held();
        if held.journal.wishes.contains(edit) {
            return Ok(());
        }
        held.journal.wishes.push(edit.clone());
        self.save(&held.journal, Step::Wished)
    }

    /// Writes a run stamp into the current text of the file. The edit stays in the journal until it is
    /// applied, by this process or a later one.
    ///
    /// # Errors
    ///
    /// A [`Fault::Process`] if the file or the journal can't be read or written. The edit may still be
    /// pending then: [`Self::load`] tries again.
    pub fn apply(&self, edit: &Edit) -> Result<Applied, Fault> {
        let applied = self.apply_now(edit)?;
        disk::pause(SOON);
        if let Err(fault) = self.look_back() {
            warn!("{fault}");
        }
        Ok(applied)
    }

    /// Does the work of [`Self::apply`] without waiting for late saves.
    pub(super) fn apply_now(&self, edit: &Edit) -> Result<Applied, Fault> {
        self.wish(edit)?;
        self.follow()?;
        let mut held = self.held();
        let applied = self.write(&mut held, edit)?;
        held.journal.wishes.retain(|wish| wish != edit);
        self.save(&held.journal, Step::Done)?;
        Ok(applied)
    }

    /// Looks for saves that went to a displaced text, and moves them into the state file.
    ///
    /// # Errors
    ///
    /// A [`Fault::Process`] if the state file can't be written; the save stays in the displaced text.
    pub fn look_back(&self) -> Result<(), Fault> {
        self.look_back_at(&mut self.held())
    }

    pub(super) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self, journal: &Journal, step: Step) -> Result<(), Fault> {
        journal.save(&self.disk).and_then(|()| self.disk.step(step)).map_err(|error| self.unwritable(&error))
    }

    /// Applies an edit and starts over if another program saves the file meanwhile.
    fn write(&self, held: &mut Held, edit: &Edit) -> Result<Applied, Fault> {
        for _ in 0..TRIES {
            let before = read::text(self.path())?;
            let ours = match document::stamp(&before, edit).map_err(|finding| finding.fault(self.path()))? {
                Stamped::Text(ours) if ours == before => return self.applied(&before, &before, None),
                Stamped::Text(ours) => ours,
                Stamped::Overruled(why) => return self.applied(&before, &before, Some(why)),
            };
            if self.replace(held, &before, &ours, edit).map_err(|error| self.unwritable(&error))? {
                self.remember(&before, By::Hand);
                self.remember(&ours, By::Importer);
                return self.applied(&before, &ours, None);
            }
        }
        Err(Fault::process(format!(
            "could not write `{}`: another program keeps saving it; importer will try again",
            self.path().display()
        )))
    }

    fn applied(&self, before: &str, text: &str, overruled: Option<Overruled>) -> Result<Applied, Fault> {
        let snapshot = schema::read(text, self.vocabulary).map_err(|finding| finding.fault(self.path()))?;
        Ok(Applied { snapshot, before: before.to_owned(), overruled })
    }

    /// Exchanges the state file for `ours`. Returns false if the replaced text is not `before`: another
    /// program saved in between, and its save is put back.
    pub(super) fn replace(&self, held: &mut Held, before: &str, ours: &str, edit: &Edit) -> io::Result<bool> {
        let slot = self.disk.own(SLOT);
        self.settle_slot(held.journal.exchange.take())?;
        held.journal.save(&self.disk)?;
        match self.disk.write_slot(&slot, ours) {
            // An editor has moved the file away and will write a new one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            written => written?,
        }
        self.disk.step(Step::Written)?;
        let (was, will) = (digest(before.as_bytes()), digest(ours.as_bytes()));
        held.journal.exchange = Some(Exchange { before: was, ours: will, edit: edit.clone() });
        held.journal.save(&self.disk)?;
        self.disk.step(Step::Prepared)?;
        let replaced = match self.disk.swap(&slot) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            swapped => {
                swapped?;
                self.disk.step(Step::Exchanged)?;
                let out = fs::read(&slot)?;
                let same = out == before.as_bytes();
                if !same {
                    self.put_back(&slot, out, ours.as_bytes())?;
                }
                // An editor may even have opened importer's text in the moment in which it was the state
                // file.
                if slot.exists() {
                    let displaced = if same { before } else { ours };
                    held.displaced.keep(&self.disk, &slot, displaced, ours, edit)?;
                }
                self.disk.sync()?;
                self.disk.step(Step::Kept)?;
                same
            }
        };
        held.journal.exchange = None;
        if replaced {
            held.journal.wishes.retain(|wish| wish != edit);
        }
        held.journal.save(&self.disk)?;
        Ok(replaced)
    }

    /// Exchanges the user's save in the swap file for the state file, so that the save is in force again.
    ///
    /// Three texts matter: *the user's save* (`save`), which is in the swap file at the start; *importer's
    /// text* (`ours`), which the state file should have; and *the swap file's text* after an exchange, which
    /// is the text that the state file had. The cases after the exchange:
    ///
    /// * The swap file's text is importer's text: done.
    /// * The swap file's text is another text: it is a newer save of the user. The files are exchanged again,
    ///   so that the newer save becomes the state file, and the older save is kept aside.
    /// * The exchange fails because an editor has moved the state file away: the swap file is kept aside.
    ///
    /// Afterwards the swap file has importer's text or does not exist.
    pub(super) fn put_back(&self, slot: &Path, save: Vec<u8>, ours: &[u8]) -> io::Result<()> {
        let (mut back, mut there) = (save, ours.to_owned());
        loop {
            match self.disk.swap(slot) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return self.set_aside(slot),
                swapped => swapped?,
            }
            self.disk.step(Step::PutBack)?;
            let out = fs::read(slot)?;
            if out == there {
                break;
            }
            (there, back) = (back, out);
        }
        if there == ours { Ok(()) } else { self.set_aside(slot) }
    }

    /// Adds a version to the history. The history is a convenience: if it can't be written, the run
    /// continues.
    pub(super) fn remember(&self, text: &str, by: By) {
        if let Err(error) = history::record(&self.disk, text, by, self.clock.now()) {
            warn!("could not write the history of the state file: {error}.");
        }
    }

    /// Makes the fault for a state file, or a file of importer beside it, that can't be written.
    pub(super) fn unwritable(&self, error: &io::Error) -> Fault {
        Fault::process(format!("could not write `{}`", self.path().display()))
            .because(error)
            .hint("check the folder's permissions and the free disk space; nothing is lost")
    }

    /// Sets the means of an exchange, and a hook for each step.
    #[cfg(test)]
    pub fn with(mut self, means: disk::Means, hook: disk::Hook) -> Self {
        self.disk.means = means;
        self.disk.hook = hook;
        self
    }
}
