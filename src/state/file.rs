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

use tokio::time::Instant;

use super::{
    disk::{self, Disk, Step},
    document::{self, Edit, Outcome, Stamped},
    folders::Folders,
    history::{self, By},
    home,
    journal::{Exchange, Journal},
    layout::{DEAD_LETTER, NAME, OURS, digest},
    linger::Displaced,
    locate, lock,
    model::Snapshot,
    read, schema,
    vocabulary::Vocabulary,
};
use crate::base::{clock::Clock, event::FileEvent, events::Events, fault::Fault};

/// Name of the swap file: it has importer's new text before the exchange, and the replaced text after it.
pub(super) const SLOT: &str = "slot";
/// Attempts of one write. Each attempt fails if another program saves the file at the same time.
const TRIES: usize = 100;
/// Time after an exchange in which an editor that had the old file open finishes its save.
const SOON: Duration = Duration::from_millis(50);

/// The state file of one folder.
pub struct StateFile {
    pub(super) disk: Disk,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) vocabulary: &'static Vocabulary,
    held: Mutex<Held>,
}

/// The part of a [`StateFile`] that changes, behind its mutex.
#[derive(Default)]
pub(super) struct Held {
    /// Folders that a changed link has led to since the start, with their locks.
    followed: Vec<(PathBuf, File)>,
    pub journal: Journal,
    /// The text of the journal that this process wrote and synced last; empty if there is none.
    pub durable: Vec<u8>,
    /// The pending edits of an earlier process. Those of this process are repeated by the caller.
    pub inherited: Vec<Edit>,
    pub displaced: Displaced,
    /// Time of the last exchange.
    exchanged: Option<Instant>,
}

/// The result of a write.
#[derive(Debug)]
pub struct Applied {
    /// The file after the edits.
    pub snapshot: Snapshot,
    /// The text before the edits.
    pub before: String,
    /// The outcome of each edit, in the order of the edits.
    pub outcomes: Vec<Outcome>,
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
        events: Events,
    ) -> Result<Self, Fault> {
        let disk = Disk::open(folder.join(NAME), events).map_err(|error| {
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
        self.disk.events.emit(FileEvent::Moved {
            link: self.path().to_owned(),
            target: home.clone(),
            own_data: self.disk.home.clone(),
            folders: [OURS, DEAD_LETTER],
        });
        held.followed.push((home, lock));
        Ok(())
    }

    /// Reads the file and applies the pending edits of an earlier process. A text that the user has edited is
    /// added to the history.
    ///
    /// # Errors
    ///
    /// A [`Fault::Process`] with place and reason if the file is missing, unreadable or no array of entries,
    /// or if another importer uses the folder that a changed link leads to. A pending edit that fails is only
    /// reported.
    pub fn load(&self) -> Result<Snapshot, Fault> {
        Ok(self.load_unless(None)?.unwrap_or_default())
    }

    /// Does the work of [`Self::load`], but returns `None`, without parsing anything, if the text is `known`:
    /// that of the last reading or write, which is in the history.
    ///
    /// # Errors
    ///
    /// Those of [`Self::load`].
    pub fn load_unless(&self, known: Option<&str>) -> Result<Option<Snapshot>, Fault> {
        self.follow()?;
        let inherited = !self.held().inherited.is_empty();
        let known = known.filter(|_| !inherited);
        let Some(mut snapshot) = read::load_unless(self.path(), known, self.vocabulary)? else {
            return Ok(None);
        };
        if inherited {
            self.remember(&snapshot.text, By::Hand);
            self.redo();
            snapshot = read::load(self.path(), self.vocabulary)?;
        }
        self.remember(&snapshot.text, By::Hand);
        Ok(Some(snapshot))
    }

    /// Returns whether the file has another text, or none that can be read.
    pub fn differs(&self, known: &str) -> bool {
        !matches!(read::text_unless(self.path(), Some(known)), Ok(None))
    }

    /// Saves edits in the journal, with one write. From here on they survive a crash: [`Self::apply`] or the
    /// next start applies them.
    ///
    /// # Errors
    ///
    /// A [`Fault::Process`] if the journal can't be written.
    pub fn keep_pending(&self, edits: &[Edit]) -> Result<(), Fault> {
        let mut held = self.held();
        let held = &mut *held;
        let is_new = held.journal.add(edits);
        // Those that are not new may not be on disk: an earlier write may have failed.
        let saved = held.journal.save(&self.disk, &mut held.durable);
        saved
            .and_then(|()| if is_new { self.disk.step(Step::Pending) } else { Ok(()) })
            .map_err(|error| self.unwritable(&error))
    }

    /// Writes run stamps into the current text of the file, with one exchange. An edit stays in the journal
    /// until it is applied, by this process or a later one. [`Self::look_back_soon`] has to follow.
    ///
    /// # Errors
    ///
    /// A [`Fault::Process`] if the file or the journal can't be read or written. The edits may still be
    /// pending then, and the call can be repeated.
    pub fn apply(&self, edits: &[Edit]) -> Result<Applied, Fault> {
        self.keep_pending(edits)?;
        self.follow()?;
        let mut held = self.held();
        let applied = self.write(&mut held, edits)?;
        held.journal.remove(pending_no_more(edits, &applied.outcomes));
        self.save(&mut held, Step::Done)?;
        Ok(applied)
    }

    /// Waits until [`SOON`] after the last exchange, then moves a save that went to the replaced file into the state
    /// file. Reports a failure.
    pub fn look_back_soon(&self) {
        let since = self.held().exchanged.map_or(SOON, |exchanged| exchanged.elapsed());
        disk::pause(SOON.saturating_sub(since));
        if let Err(fault) = self.look_back() {
            self.disk.events.emit(FileEvent::LookBackFailed { problem: fault.to_string() });
        }
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

    fn save(&self, held: &mut Held, step: Step) -> Result<(), Fault> {
        let saved = held.journal.save(&self.disk, &mut held.durable);
        saved.and_then(|()| self.disk.step(step)).map_err(|error| self.unwritable(&error))
    }

    /// Applies edits and starts over if another program saves the file meanwhile.
    fn write(&self, held: &mut Held, edits: &[Edit]) -> Result<Applied, Fault> {
        for _ in 0..TRIES {
            let before = read::text(self.path())?;
            let Stamped { text: ours, outcomes } = document::stamp(&before, edits, self.vocabulary)
                .map_err(|finding| finding.fault(self.path()))?;
            if ours == before {
                return self.applied(before, &ours, outcomes);
            }
            let stamped = edits.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == Outcome::Stamped);
            let stamped: Vec<Edit> = stamped.map(|(edit, _)| edit.clone()).collect();
            if self.replace(held, &before, &ours, &stamped).map_err(|error| self.unwritable(&error))? {
                self.remember(&before, By::Hand);
                self.remember(&ours, By::Importer);
                return self.applied(before, &ours, outcomes);
            }
        }
        Err(Fault::process(format!(
            "could not write `{}`: another program keeps saving it; importer will try again",
            self.path().display()
        )))
    }

    fn applied(&self, before: String, text: &str, outcomes: Vec<Outcome>) -> Result<Applied, Fault> {
        let snapshot = schema::read(text, self.vocabulary).map_err(|finding| finding.fault(self.path()))?;
        Ok(Applied { snapshot, before, outcomes })
    }

    /// Exchanges the state file for `ours`. Returns false if the replaced text is not `before`: another
    /// program saved in between, and its save is put back.
    pub(super) fn replace(
        &self,
        held: &mut Held,
        before: &str,
        ours: &str,
        edits: &[Edit],
    ) -> io::Result<bool> {
        let slot = self.disk.own(SLOT);
        self.settle_slot(held.journal.exchange.take())?;
        held.journal.save(&self.disk, &mut held.durable)?;
        if !self.prepare(held, &slot, before, ours, edits)? {
            return Ok(false);
        }
        self.disk.step(Step::Prepared)?;
        let exchanged = Instant::now();
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
                    held.displaced.keep(&self.disk, &slot, displaced, ours, edits)?;
                }
                self.disk.sync()?;
                self.disk.step(Step::Kept)?;
                same
            }
        };
        held.journal.exchange = None;
        if replaced {
            held.journal.remove(edits);
            held.exchanged = Some(exchanged);
        }
        held.journal.save(&self.disk, &mut held.durable)?;
        Ok(replaced)
    }

    /// Writes `ours` into the swap file, and the digests of both texts into the journal. Both are synced at the same
    /// time, but in any crash, a journal that names the exchange proves that the swap file has all of `ours`: the
    /// journal gets its new text only after the swap file has its name. Returns false if there is no state file.
    fn prepare(
        &self,
        held: &mut Held,
        slot: &Path,
        before: &str,
        ours: &str,
        edits: &[Edit],
    ) -> io::Result<bool> {
        let (was, will) = (digest(before.as_bytes()), digest(ours.as_bytes()));
        held.journal.exchange = Exchange::new(was, will, edits);
        let mut is_gone = false;
        let saved = held.journal.save_beside(&self.disk, &mut held.durable, || {
            let written = self.disk.write_slot(slot, ours);
            is_gone = written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
            written.and_then(|()| self.disk.step(Step::Written))
        });
        if is_gone {
            // An editor has moved the file away and will write a new one.
            held.journal.exchange = None;
            return Ok(false);
        }
        saved.map(|()| true)
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

    /// Adds a version to the history, unless it contains a credential. The history is a convenience: if it can't be
    /// written, the run continues.
    pub(super) fn remember(&self, text: &str, by: By) {
        if locate::has_credentials(text, self.vocabulary) {
            return;
        }
        if let Err(error) = history::record(&self.disk, text, by, self.clock.now()) {
            self.disk.events.emit(FileEvent::HistoryUnwritten { error: error.to_string() });
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

/// Returns the edits that are applied or overruled.
fn pending_no_more<'a>(edits: &'a [Edit], outcomes: &'a [Outcome]) -> impl Iterator<Item = &'a Edit> {
    let done = edits.iter().zip(outcomes).filter(|(_, outcome)| !matches!(outcome, Outcome::Failed(_)));
    done.map(|(edit, _)| edit)
}
