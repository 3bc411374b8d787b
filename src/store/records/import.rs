//! Writes a new database from records that another format has, and verifies it before it gets its name.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io,
    path::Path,
    sync::Arc,
};

use redb::{ReadableDatabase, ReadableTable};

use super::{
    NAME,
    database::{CacheState, Open, RECORDS, decoded, summary as read_summary},
    delivery::CachedDelivery,
    file::{self, Failed, guarded},
    row::{Row, Status},
    summary::{Summary, index_of},
    values::opened,
};
use crate::{base::events::Events, store::files};

/// Records in another format.
#[derive(Debug, Default)]
pub struct Former {
    pub summary: Option<Summary>,
    rows: BTreeMap<u128, Row>,
    /// Number of records by status, and whether they were rejected.
    statuses: HashMap<(String, bool), u64>,
    cached: u64,
}

impl Former {
    /// Adds the status of a record. The summary has to be there.
    pub fn settled(&mut self, key: u128, status: &str, rejected: bool) {
        let Some(summary) = &mut self.summary else { return };
        let index = index_of(&mut summary.names, status);
        let row = self.rows.entry(key).or_default();
        if row.status.replace(Status { index, rejected }).is_none() {
            summary.rows += 1;
            *self.statuses.entry((status.to_owned(), rejected)).or_default() += 1;
        }
    }

    /// Adds the cached delivery of a record.
    pub fn cached(&mut self, key: u128, cached: CachedDelivery) {
        let row = self.rows.entry(key).or_default();
        if row.cached.replace((0, cached)).is_none() {
            self.cached += 1;
        }
    }

    /// Returns whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.summary.is_none() && self.rows.is_empty()
    }
}

/// Writes records as the database of a delivery. The cached deliveries are those of the sink `destination`. The
/// database is renamed to its final name after it was read back with the same counts; a crash before that leaves no
/// database.
///
/// # Errors
///
/// The folder can't be written, or the new database has other counts.
pub fn write_new(folder: &Path, destination: &str, former: &Former) -> io::Result<()> {
    let new = folder.join(NAME).with_extension("new");
    files::remove(&new)?;
    done(guarded(|| {
        let mut open = Open::at(&new, &Arc::default(), &Events::default())?;
        open.change(|tables| {
            let (generation, live) = (0, former.cached > 0);
            let destination = destination.to_owned();
            *tables.cache = CacheState { generation, destination, live, ..CacheState::default() };
            tables.summary.clone_from(&former.summary);
            former.rows.iter().try_for_each(|(key, row)| tables.put(*key, row))
        })
    }))?;
    if !done(guarded(|| is_same(&new, former)))? {
        return Err(io::Error::other("the copy of the records has other counts"));
    }
    rename(&new, &folder.join(NAME))?;
    File::open(folder)?.sync_all()
}

#[expect(clippy::disallowed_methods, reason = "the folder has no database yet, and one process uses it")]
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// Returns whether the database has the same summary, and the same numbers of records by status and of cached
/// deliveries.
fn is_same(path: &Path, former: &Former) -> Result<bool, redb::Error> {
    let database = file::open_to_read(path)?;
    let transaction = database.begin_read()?;
    let summary = read_summary(&transaction)?;
    let (mut statuses, mut cached) = (HashMap::<(String, bool), u64>::new(), 0);
    if let Some(table) = opened(transaction.open_table(RECORDS))? {
        for entry in table.iter()? {
            let row = decoded(entry?.1.value())?;
            cached += u64::from(row.cached.is_some());
            let name = |status: Status| {
                let settled = summary.as_ref()?.settled(status)?;
                Some((settled.status.to_string(), settled.rejected))
            };
            if let Some(name) = row.status.and_then(name) {
                *statuses.entry(name).or_default() += 1;
            }
        }
    }
    Ok(summary == former.summary && statuses == former.statuses && cached == former.cached)
}

fn done<T>(done: Result<T, Failed>) -> io::Result<T> {
    done.map_err(|failed| match failed {
        Failed::Io(error) => error,
        Failed::Damaged => io::ErrorKind::InvalidData.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_with_other_counts_never_gets_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let summary = r#"{"version": 1, "until": "2026-11-21T12:00:00Z", "archived_until": "2026-11-21T12:00:00Z",
            "whole": true, "left_out": 0, "choice": null, "names": [], "rows": 0}"#;
        let mut former = Former { summary: serde_json::from_str(summary).unwrap(), ..Former::default() };
        (0..5).for_each(|key| former.settled(key, "subscribed", key == 0));
        for (statuses, cached) in [(6, 0), (5, 1)] {
            let mut wrong = Former { cached, ..Former::default() };
            wrong.summary.clone_from(&former.summary);
            wrong.rows.clone_from(&former.rows);
            wrong.statuses =
                [(("subscribed".to_owned(), false), statuses - 1), (("subscribed".to_owned(), true), 1)]
                    .into();
            let error = write_new(folder.path(), "destination", &wrong).unwrap_err();
            assert_eq!(error.to_string(), "the copy of the records has other counts");
            assert!(!folder.path().join(NAME).exists());
        }
        write_new(folder.path(), "destination", &former).unwrap();
        assert!(folder.path().join(NAME).exists());
    }
}
