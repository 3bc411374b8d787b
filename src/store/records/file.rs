//! The file of a database: opened for one writer beside readers in other processes, and set aside if it can't
//! be understood.

use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::Duration,
};

use redb::{Builder, ConcurrencyMode, Database, DatabaseError, ReadOnlyDatabase, StorageError};

use crate::store::files;

/// Memory in which an open database keeps pages of its file, in bytes.
const CACHE: usize = 4 << 20;
/// Number of attempts to open a file that another process has open for a moment, and the wait between them.
const TRIES: u32 = 100;
const WAIT: Duration = Duration::from_millis(20);

fn builder() -> Builder {
    let mut builder = Builder::new();
    // One process writes, while others, such as `importer why`, may read.
    builder.set_cache_size(CACHE).set_concurrency_mode(ConcurrencyMode::SingleWriter);
    builder
}

/// Opens a file for writing. Creates it if it is missing.
pub(super) fn open(path: &Path) -> Result<Database, redb::Error> {
    if !path.exists() {
        // Only the owner may read it, as with all files of importer.
        files::replace(path, &[]).map_err(StorageError::Io)?;
    }
    patiently(|| builder().create(path))
}

/// Opens a file for reading, beside a process that may be writing to it. A file that a crash has left is
/// repaired first, if no other process uses it.
pub(super) fn open_to_read(path: &Path) -> Result<ReadOnlyDatabase, redb::Error> {
    patiently(|| match builder().open_read_only(path) {
        Err(DatabaseError::RepairAborted) => {
            drop(builder().open(path)?);
            builder().open_read_only(path)
        }
        opened => opened,
    })
}

fn patiently<T>(open: impl Fn() -> Result<T, DatabaseError>) -> Result<T, redb::Error> {
    for _ in 0..TRIES {
        match open() {
            #[expect(clippy::disallowed_methods, reason = "runs on a thread for files")]
            Err(DatabaseError::DatabaseAlreadyOpen) => std::thread::sleep(WAIT),
            opened => return Ok(opened?),
        }
    }
    Err(DatabaseError::DatabaseAlreadyOpen.into())
}

/// Why work on a database failed.
#[derive(Debug)]
pub(super) enum Failed {
    /// The file can't be understood.
    Damaged,
    Io(io::Error),
}

/// Does some work on a database. The database panics on pages that make no sense.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Failed> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) if is_damage(&error) => Err(Failed::Damaged),
        Ok(Err(redb::Error::Io(error))) => Err(Failed::Io(error)),
        Ok(Err(error)) => Err(Failed::Io(io::Error::other(error.to_string()))),
        Err(_) => Err(Failed::Damaged),
    }
}

fn is_damage(error: &redb::Error) -> bool {
    match error {
        redb::Error::Corrupted(_) | redb::Error::UpgradeRequired(_) | redb::Error::RepairAborted => true,
        redb::Error::TableTypeMismatch { .. } | redb::Error::TypeDefinitionChanged { .. } => true,
        redb::Error::Io(error) => {
            matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
        }
        _ => false,
    }
}

/// Gives a file that can't be understood another name, under which no run reads it. Returns that name.
#[expect(clippy::disallowed_methods, reason = "the new name is free, and one process writes to the folder")]
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = (1..)
        .map(|number| path.with_extension(format!("damaged-{number}")))
        .find(|aside| !aside.exists())
        .unwrap_or_else(|| path.with_extension("damaged"));
    fs::rename(path, &aside)?;
    Ok(aside)
}
