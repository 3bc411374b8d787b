//! The state file on disk. Blocking on purpose; callers use `spawn_blocking`.
//!
//! Losing one of our edits costs a repeated run, losing one of the user's is never acceptable: every tie is broken that
//! way.

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

/// Of ours: the text that is to take the file's name, and after the exchange the one that had it.
pub(super) const SLOT: &str = "slot";
/// How often a write gives way to somebody's save before it is given up.
const TRIES: usize = 100;
/// After so long an editor that had the old file open has saved.
const SOON: Duration = Duration::from_millis(50);

/// One folder's state file.
pub struct StateFile {
    pub(super) disk: Disk,
    pub(super) clock: Arc<dyn Clock>,
    vocabulary: &'static Vocabulary,
    held: Mutex<Held>,
}

#[derive(Default)]
pub(super) struct Held {
    /// Folders that a changed link has led to since the start, with their locks.
    followed: Vec<(PathBuf, File)>,
    pub journal: Journal,
    pub displaced: Displaced,
}

/// What became of an edit.
#[derive(Debug)]
pub struct Applied {
    /// The file as it is now.
    pub snapshot: Snapshot,
    /// What it said before.
    pub before: String,
    /// Why the edit was not made, if it was not.
    pub overruled: Option<Overruled>,
}

impl StateFile {
    /// Opens a folder's state file and finishes what a crash has left undone. The caller holds the folder's lock.
    pub fn open(
        folder: &Path,
        clock: Arc<dyn Clock>,
        vocabulary: &'static Vocabulary,
    ) -> Result<Self, Fault> {
        let disk = Disk::open(folder.join(NAME)).map_err(|error| {
            Fault::process(format!("could not use the state folder `{}`", folder.display())).because(error)
        })?;
        let file = StateFile { disk, clock, vocabulary, held: Mutex::default() };
        file.recover().map_err(|error| file.unwritable(&error))?;
        Ok(file)
    }

    pub fn path(&self) -> &Path {
        &self.disk.path
    }

    pub fn folders(&self) -> Folders {
        Folders::of(self.home())
    }

    /// Returns the folder of our own files: that of the state file when this was opened.
    pub fn home(&self) -> &Path {
        &self.disk.home
    }

    /// Follows a link that was changed since the start: locks the folder of the file that it leads to now. Our own files stay
    /// where they are until the next start.
    fn follow(&self) -> Result<(), Fault> {
        let folder = self.path().parent().unwrap_or(Path::new("."));
        // Reading the file reports a link that leads nowhere.
        let Ok(home) = home::of(folder) else { return Ok(()) };
        let mut held = self.held();
        if home == self.disk.home || held.followed.iter().any(|(followed, _)| *followed == home) {
            return Ok(());
        }
        let lock = lock::one(&home, self.clock.now()).map_err(|why| {
            Fault::process(format!("`{}` can't be used", self.path().display())).because(why)
        })?;
        warn!(
            "`{}` leads to `{}` now; the file there is in force. importer's own files stay in `{}`; stop importer and move `{OURS}` and \
             `{DEAD_LETTER}` to the new folder before the next start.",
            self.path().display(),
            home.display(),
            self.disk.home.display()
        );
        held.followed.push((home, lock));
        Ok(())
    }

    /// Reads the file, and makes the edits that it could not take before. A hand edit that is seen becomes a version of
    /// the history.
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

    /// Puts an edit into the journal: from here on it is made, by [`Self::apply`] or by the next start.
    pub fn wish(&self, edit: &Edit) -> Result<(), Fault> {
        let mut held = self.held();
        if held.journal.wishes.contains(edit) {
            return Ok(());
        }
        held.journal.wishes.push(edit.clone());
        self.save(&held.journal, Step::Wished)
    }

    /// Stamps one entry in the file as it is at this moment. Until that is done, now or in a later process, the edit
    /// is in the journal.
    pub fn apply(&self, edit: &Edit) -> Result<Applied, Fault> {
        let applied = self.apply_now(edit)?;
        disk::pause(SOON);
        if let Err(fault) = self.look_back() {
            warn!("{fault}");
        }
        Ok(applied)
    }

    /// As [`Self::apply`], without waiting for late saves.
    pub(super) fn apply_now(&self, edit: &Edit) -> Result<Applied, Fault> {
        self.wish(edit)?;
        self.follow()?;
        let mut held = self.held();
        let applied = self.write(&mut held, edit)?;
        held.journal.wishes.retain(|wish| wish != edit);
        self.save(&held.journal, Step::Done)?;
        Ok(applied)
    }

    /// Looks for saves that went to a displaced text, and takes them over.
    pub fn look_back(&self) -> Result<(), Fault> {
        self.look_back_at(&mut self.held())
    }

    pub(super) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self, journal: &Journal, step: Step) -> Result<(), Fault> {
        journal.save(&self.disk).and_then(|()| self.disk.step(step)).map_err(|error| self.unwritable(&error))
    }

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
        Err(Fault::process(format!("`{}` is saved faster than it can be written", self.path().display())))
    }

    fn applied(&self, before: &str, text: &str, overruled: Option<Overruled>) -> Result<Applied, Fault> {
        let snapshot = schema::read(text, self.vocabulary).map_err(|finding| finding.fault(self.path()))?;
        Ok(Applied { snapshot, before: before.to_owned(), overruled })
    }

    /// Exchanges the file for `ours`. If what comes out is not `before`, a save came in between: it gets its name back,
    /// and the answer is false.
    pub(super) fn replace(&self, held: &mut Held, before: &str, ours: &str, edit: &Edit) -> io::Result<bool> {
        let slot = self.disk.own(SLOT);
        self.settle_slot(held.journal.exchange.take())?;
        held.journal.save(&self.disk)?;
        match self.disk.write_slot(&slot, ours) {
            // An editor has moved the file away and is about to write a new one.
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
                // Also a text of ours that had the name for a moment may have been opened by an editor.
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

    /// Gives the save in the slot its name back. What comes out must be what we had put there; if not, it is a still newer
    /// save, which gets the name in turn, and the older one is kept aside. Leaves our text in the slot, or nothing.
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

    /// The history is a convenience: if it can't be written, the run goes on.
    pub(super) fn remember(&self, text: &str, by: By) {
        if let Err(error) = history::record(&self.disk, text, by, self.clock.now()) {
            warn!("the history of the state file could not be written: {error}.");
        }
    }

    pub(super) fn unwritable(&self, error: &io::Error) -> Fault {
        Fault::process(format!("could not write `{}`", self.path().display()))
            .because(error)
            .hint("check the folder's rights and the free space; nothing is lost")
    }

    /// What happens at each step, and by which means.
    #[cfg(test)]
    pub fn with(mut self, means: disk::Means, hook: disk::Hook) -> Self {
        self.disk.means = means;
        self.disk.hook = hook;
        self
    }
}
