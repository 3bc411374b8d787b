//! The state file as far as its entries lead to importer's own files, and what those say.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    task::spawn_blocking,
};

use super::problem::{BUSY, Problem, UNREADABLE};
use crate::{
    base::{events::Events, fault::Fault},
    controller::{
        Open, OpenRequest,
        status::{EntryStatus, Report, Status, Stored},
        stored::{self, IdentifiedRun, Rejected, StoredEntry},
    },
    state::{Snapshot, Vocabulary, folders::Folders, layout::NAME, read},
};

/// Number of requests that may read files at a time. They share the disk and the threads for files with the runs, which
/// come first.
const READERS: usize = 2;

/// Reads the files of one state folder.
pub struct Files {
    folders: Folders,
    vocabulary: &'static Vocabulary,
    open: Arc<Open>,
    /// The entries as last read.
    known: Mutex<Arc<Known>>,
    readers: Semaphore,
}

/// The entries of one text of the state file.
#[derive(Debug, Default)]
struct Known {
    /// `None`: the file was never read.
    text: Option<String>,
    entries: Vec<StoredEntry>,
}

impl Files {
    /// `open` opens an entry to find its files; no request is sent.
    pub fn new(folders: Folders, vocabulary: &'static Vocabulary, open: Open) -> Self {
        let (known, readers) = (Mutex::default(), Semaphore::new(READERS));
        Files { folders, vocabulary, open: Arc::new(open), known, readers }
    }

    /// Adds what the files say to a status, as `importer status` does.
    ///
    /// # Errors
    ///
    /// Too many requests read files.
    pub async fn report(&self, mut status: Status) -> Result<Report, Problem> {
        let _turn = self.turn().await?;
        let known = self.known().await;
        if let Ok(known) = &known {
            for shown in &mut status.entries {
                shown.stored = self.stored(known, shown).await;
            }
        }
        let not_stored = known.err().map(|fault| fault.to_string());
        let (pid, now) = (Some(std::process::id()), status.time);
        Ok(Report { pid, is_published: true, is_silent: false, not_stored, now, status })
    }

    /// Returns the runs of a list, or of all lists, the latest one last.
    ///
    /// # Errors
    ///
    /// The state file has no such list, or a file can't be read.
    pub async fn runs(&self, list: Option<&str>) -> Result<Vec<IdentifiedRun>, Problem> {
        let _turn = self.turn().await?;
        let known = self.known().await.map_err(|fault| unreadable(&fault))?;
        let entries = known.of(list)?;
        stored::runs(entries, &self.folders).await.map_err(|fault| unreadable(&fault))
    }

    /// Returns the rejected records of a list, or of all lists.
    ///
    /// # Errors
    ///
    /// The state file has no such list, or a file can't be read.
    pub async fn rejected(&self, list: Option<&str>) -> Result<Vec<Rejected>, Problem> {
        let _turn = self.turn().await?;
        let known = self.known().await.map_err(|fault| unreadable(&fault))?;
        let entries = known.of(list)?;
        stored::rejected(entries, &self.folders).await.map_err(|fault| unreadable(&fault))
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.readers
            .acquire()
            .await
            .map_err(|_| Problem::new(BUSY, "too many requests; repeat this one later"))
    }

    async fn stored(&self, known: &Known, shown: &EntryStatus) -> Option<Stored> {
        let is_it = |entry: &&StoredEntry| {
            Some(&entry.list_id) == shown.list_id.as_ref() && Some(&entry.entry) == shown.entry.as_ref()
        };
        let entry = known.entries.iter().find(is_it)?;
        let stored = stored::stored(entry, &self.folders, &Events::default()).await;
        let unreadable = |fault: Fault| Stored { unreadable: Some(fault.to_string()), ..Stored::default() };
        Some(stored.unwrap_or_else(unreadable))
    }

    /// Reads the state file if it has changed. While it can't be read, its last version counts.
    async fn known(&self) -> Result<Arc<Known>, Fault> {
        let known = Arc::clone(&self.known.lock().unwrap_or_else(PoisonError::into_inner));
        let (path, vocabulary, open) = (self.path(), self.vocabulary, Arc::clone(&self.open));
        let last = Arc::clone(&known);
        let read = spawn_blocking(move || {
            let read = read::load_unless(&path, last.text.as_deref(), vocabulary)?;
            Ok(read.map(|snapshot| Arc::new(Known::read(snapshot, &open))))
        });
        match read.await {
            Ok(Ok(Some(new))) => {
                *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&new);
                Ok(new)
            }
            Ok(Err(fault)) if known.text.is_none() => Err(fault),
            _ => Ok(known),
        }
    }

    fn path(&self) -> PathBuf {
        self.folders.home().join(NAME)
    }
}

impl Known {
    fn read(snapshot: Snapshot, open: &Open) -> Self {
        let opened = snapshot.entries.iter().filter_map(|entry| {
            let pipeline = open(OpenRequest { entry, urgent: false }).ok()?;
            Some(StoredEntry::of(entry, &pipeline))
        });
        let entries = opened.collect();
        Known { text: Some(snapshot.text), entries }
    }

    /// Returns the entries of a list, or all.
    ///
    /// # Errors
    ///
    /// There is no such list.
    fn of(&self, list: Option<&str>) -> Result<Vec<&StoredEntry>, Problem> {
        let is_it = |entry: &&StoredEntry| list.is_none_or(|list| entry.is_of(list));
        let found: Vec<&StoredEntry> = self.entries.iter().filter(is_it).collect();
        match list {
            Some(list) if found.is_empty() => Err(Problem::unknown_list(list)),
            _ => Ok(found),
        }
    }
}

fn unreadable(fault: &Fault) -> Problem {
    Problem::new(UNREADABLE, fault.to_string())
}
