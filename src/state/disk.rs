//! Reads the state file as a whole, and exchanges it in one step. Works on bytes only, not on entries.
//!
//! A program that reads, changes and replaces a file loses a save that happens in between, even if it
//! compares before it replaces. `renameat2(RENAME_EXCHANGE)` closes that gap: it returns the file that had
//! the name at the moment of the exchange, under the other name, so that the content can be checked.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, fchown},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{home, layout::OURS};
use crate::base::{event::FileEvent, events::Events};

/// The moments of a write at which a crash or another program's save can happen. Tests stop the write or save
/// there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The pending edit is in the journal.
    Pending,
    /// importer's text is on disk, in the swap file.
    Written,
    /// The journal has the digests of both texts of the exchange.
    Prepared,
    /// importer's text is the state file; the replaced text is in the swap file.
    Exchanged,
    /// The replaced text was another program's save, and is the state file again.
    PutBack,
    /// The replaced text is kept as a displaced text.
    Kept,
    /// The edit is removed from the journal.
    Done,
}

/// Called at each step of a write; an error stops the write there.
pub type Hook = Box<dyn Fn(Step) -> io::Result<()> + Send + Sync>;

/// How a file takes the name of another file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// Both files exchange their names in one step.
    Exchange,
    /// The replaced file gets a second name, then a rename replaces it. A save by rename in the microseconds
    /// in between is lost.
    Replace,
}

/// The state file, with symlinks followed, and importer's folder beside it.
pub struct Disk {
    /// The path as the user named it.
    pub path: PathBuf,
    /// The folder of the file itself when this was opened. Files can be exchanged within one file system
    /// only.
    pub home: PathBuf,
    /// importer's own folder in `home`.
    ours: PathBuf,
    pub means: Means,
    pub hook: Hook,
    pub events: Events,
}

impl Disk {
    /// Creates importer's folder if it is missing, and tests whether the file system can exchange two files.
    ///
    /// # Errors
    ///
    /// The folder can't be created or written, or a link leads to a missing folder or is part of a loop.
    pub fn open(path: PathBuf, events: Events) -> io::Result<Self> {
        let home = home::of(path.parent().unwrap_or(Path::new(".")))?;
        let ours = home.join(OURS);
        fs::create_dir_all(&ours)?;
        let mut disk = Disk { path, home, ours, means: Means::Exchange, hook: Box::new(|_| Ok(())), events };
        let probes = [disk.own("probe-a"), disk.own("probe-b")];
        for probe in &probes {
            File::create(probe)?;
        }
        if let Err(error) = exchange(&probes[0], &probes[1]) {
            disk.means = Means::Replace;
            disk.events.emit(FileEvent::NoExchange { error: error.to_string() });
        }
        for probe in &probes {
            fs::remove_file(probe)?;
        }
        Ok(disk)
    }

    /// Returns the path of the file itself, with symlinks followed.
    pub fn target(&self) -> io::Result<PathBuf> {
        fs::canonicalize(&self.path)
    }

    /// Returns the path of a file in importer's folder.
    pub fn own(&self, name: &str) -> PathBuf {
        self.ours.join(name)
    }

    /// Calls the hook.
    pub fn step(&self, step: Step) -> io::Result<()> {
        (self.hook)(step)
    }

    /// Writes a file in importer's folder, and does `beside` meanwhile. The file gets its name only when its content is
    /// complete and on disk, and `beside` has succeeded.
    #[expect(clippy::disallowed_methods, reason = "one of the two places that may replace a file")]
    pub fn write_own(
        &self,
        name: &str,
        bytes: &[u8],
        beside: Option<impl FnOnce() -> io::Result<()>>,
    ) -> io::Result<()> {
        let new = self.own(&format!("{name}.new"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        match beside {
            None => file.sync_all()?,
            // Two syncs at the same time take as long as one.
            Some(beside) => thread::scope(|scope| {
                let synced = thread::Builder::new().spawn_scoped(scope, || file.sync_all());
                let done = beside();
                match synced {
                    Ok(thread) => {
                        thread.join().unwrap_or_else(|_| Err(io::Error::other("a sync panicked")))?
                    }
                    Err(_) => file.sync_all()?,
                }
                done
            })?,
        }
        fs::rename(&new, self.own(name))?;
        sync_folder(&self.ours)
    }

    /// Syncs importer's folder, so that the names of its files survive a power failure.
    pub fn sync_own(&self) -> io::Result<()> {
        sync_folder(&self.ours)
    }

    /// Writes `text` into a file of importer, with the mode and the owner of the state file.
    #[expect(clippy::disallowed_methods, reason = "the earlier content of the swap file is settled")]
    pub fn write_slot(&self, slot: &Path, text: &str) -> io::Result<()> {
        let like = fs::metadata(self.target()?)?;
        // The swap file never has an incomplete text: after a crash, that could be taken for a user's save.
        let new = slot.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        let ours = file.metadata()?;
        if (ours.uid(), ours.gid()) != (like.uid(), like.gid())
            && fchown(&file, Some(like.uid()), Some(like.gid())).is_err()
        {
            // Only root can change the owner of a file, but any member of the group can set the group.
            let _ = fchown(&file, None, Some(like.gid()));
        }
        file.set_permissions(like.permissions())?;
        file.sync_all()?;
        fs::rename(new, slot)
    }

    /// Moves a file to a free name, `name` or `name` with a number appended, and returns that name.
    #[expect(clippy::disallowed_methods, reason = "the name is free")]
    pub fn move_to_free(&self, from: &Path, name: &Path) -> io::Result<PathBuf> {
        for number in 0.. {
            let free = if number == 0 {
                name.to_owned()
            } else {
                PathBuf::from(format!("{}-{number}", name.display()))
            };
            match renameat_with(CWD, from, CWD, &free, RenameFlags::NOREPLACE) {
                Ok(()) => return Ok(free),
                Err(rustix::io::Errno::EXIST) => {}
                // The file system does not support this kind of rename: check first instead.
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) if !free.exists() => {
                    fs::rename(from, &free)?;
                    return Ok(free);
                }
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Makes the file at `slot` the state file; afterwards the replaced file is at `slot`. Does nothing slow,
    /// because a user's save may be hidden meanwhile. Only after [`Self::sync`] does the exchange survive a
    /// power failure.
    #[expect(clippy::disallowed_methods, reason = "one of the two places that may replace a file")]
    pub fn swap(&self, slot: &Path) -> io::Result<()> {
        let target = self.target()?;
        match self.means {
            Means::Exchange => exchange(slot, &target)?,
            Means::Replace => {
                let aside = self.own("aside");
                let _ = fs::remove_file(&aside);
                fs::hard_link(&target, &aside)?;
                fs::rename(slot, &target)?;
                fs::rename(&aside, slot)?;
            }
        }
        Ok(())
    }

    /// Syncs the folders, so that the names of the state file and of importer's files survive a power
    /// failure.
    pub fn sync(&self) -> io::Result<()> {
        sync_folder(self.target()?.parent().unwrap_or(Path::new(".")))?;
        self.sync_own()
    }
}

fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Time between two readings of a text that is not whole. Some editors truncate a file and write it tens of
/// milliseconds later.
const AGAIN: Duration = Duration::from_millis(5);
/// Time without a change after which a text counts as saved.
const STILL: Duration = Duration::from_secs(1);
/// Longest wait for a text that keeps changing and is never whole.
const LONGEST: Duration = Duration::from_secs(10);

/// Reads a file until it is `whole`. Otherwise returns the last reading, once it has not changed for
/// [`STILL`] or after [`LONGEST`].
///
/// # Errors
///
/// The file can't be read, or is still missing at the end of that time.
pub fn read_whole(path: &Path, whole: impl Fn(&[u8]) -> bool) -> io::Result<Vec<u8>> {
    read_until(|| fs::read(path), whole, pause)
}

/// Does the work of [`read_whole`]: `read` reads the file, `wait` waits. Only the time of the waits counts.
fn read_until(
    mut read: impl FnMut() -> io::Result<Vec<u8>>,
    whole: impl Fn(&[u8]) -> bool,
    mut wait: impl FnMut(Duration),
) -> io::Result<Vec<u8>> {
    let (mut waited, mut still, mut last) = (Duration::ZERO, Duration::ZERO, None);
    loop {
        let text = match read() {
            Ok(bytes) => Some(bytes),
            // An editor may move the file away before it writes a new one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if last.as_ref() != Some(&text) {
            match text {
                Some(bytes) if whole(&bytes) => return Ok(bytes),
                text => (last, still) = (Some(text), Duration::ZERO),
            }
        }
        if still >= STILL || waited >= LONGEST {
            return last.flatten().ok_or_else(|| io::ErrorKind::NotFound.into());
        }
        wait(AGAIN);
        (waited, still) = (waited + AGAIN, still + AGAIN);
    }
}

/// Blocks the thread. Work on files runs on threads where that is allowed.
pub fn pause(time: Duration) {
    #[expect(clippy::disallowed_methods, reason = "never on a thread that runs tasks")]
    thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Reads a file whose text depends on the time in milliseconds. Returns the result and the time it took.
    fn read(text: impl Fn(u64) -> Option<&'static str>) -> (io::Result<Vec<u8>>, u64) {
        let now = Cell::new(0);
        let read =
            || text(now.get()).map(|text| text.as_bytes().to_vec()).ok_or(io::ErrorKind::NotFound.into());
        let whole = |bytes: &[u8]| bytes.ends_with(b"]");
        let wait = |time: Duration| now.set(now.get() + u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        (read_until(read, whole, wait), now.get())
    }

    #[test]
    fn a_text_that_is_truncated_again_and_again_is_read_in_the_moment_in_which_it_is_whole() {
        // The file is whole for 10 ms of every 200 ms; a reading every 200 ms would always miss it.
        let (text, after) = read(|now| Some(if (30..40).contains(&(now % 200)) { "[]" } else { "" }));
        assert_eq!((text.unwrap(), after), (b"[]".to_vec(), 30));
    }

    #[test]
    fn a_broken_text_that_does_not_change_is_given_up_after_a_second() {
        let (text, after) = read(|_| Some("["));
        assert_eq!((text.unwrap(), after), (b"[".to_vec(), 1000));
        let (text, after) = read(|_| None);
        assert_eq!((text.unwrap_err().kind(), after), (io::ErrorKind::NotFound, 1000));
    }

    #[test]
    fn each_change_begins_the_second_anew() {
        // The file is written slowly, moved away in between, and whole after 2.7 s.
        let (text, after) = read(|now| match now {
            0..900 => Some(""),
            900..1800 => None,
            1800..2700 => Some("["),
            _ => Some("[]"),
        });
        assert_eq!((text.unwrap(), after), (b"[]".to_vec(), 2700));
    }

    #[test]
    fn a_text_that_always_changes_and_is_never_whole_has_an_end() {
        let (text, after) = read(|now| Some(if now % 10 == 0 { "[" } else { "[[" }));
        assert!(text.is_ok());
        assert_eq!(after, 10_000);
    }

    #[test]
    fn a_file_that_may_not_be_read_is_not_waited_for() {
        let mut waits = 0;
        let read = || Err(io::ErrorKind::PermissionDenied.into());
        let text = read_until(read, |_| true, |_| waits += 1);
        assert_eq!((text.unwrap_err().kind(), waits), (io::ErrorKind::PermissionDenied, 0));
    }
}
