//! What the commands share that look at single lists: the state file's entries, where what is remembered of them is kept, and
//! their third parties.

use std::{path::Path, sync::Arc};

use anyhow::{anyhow, bail};

use crate::{
    app::{
        variable,
        wiring::{Adapters, Keys, VOCABULARY, examine},
    },
    base::clock::{Clock, SystemClock},
    controller,
    engine::plan::Ends,
    net::transport::Web,
    state::{Entry, folders::Folders, home, layout::NAME, read},
    store::{
        checkpoint::Checkpoint,
        hold::{self, Hold},
        migrate::{self, Past},
    },
};

pub struct Lists {
    pub entries: Vec<Entry>,
    /// Entries that can't run are none of them.
    pub problems: usize,
    pub folders: Folders,
    adapters: Adapters,
}

impl Lists {
    /// `folder` is that of the state file.
    pub fn open(folder: &Path, keys: Keys) -> anyhow::Result<Self> {
        let mut snapshot = read::load(&folder.join(NAME), VOCABULARY)?;
        let home = home::of(folder)?;
        if let Some(left) = home::left_beside_link(folder, &home) {
            bail!(
                "an older version of importer left `{}` beside the link, but it belongs in `{}`; `importer go --once` moves it there",
                left.display(),
                home.display()
            );
        }
        examine(&mut snapshot, folder)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Ok(Lists {
            entries: snapshot.entries,
            problems: snapshot.problems.len(),
            folders: Folders::of(&home),
            adapters: Adapters::new(variable, keys, Arc::new(Web::new()?), clock, folder),
        })
    }

    /// The entries of one list, at least one.
    pub fn of(&self, list_id: &str) -> anyhow::Result<Vec<&Entry>> {
        let entries: Vec<_> = self.entries.iter().filter(|entry| entry.id.list_id == list_id).collect();
        if entries.is_empty() {
            bail!(
                "no entry of the state file has the list {list_id:?}, or it has a problem: see importer check"
            );
        }
        Ok(entries)
    }

    pub fn ends(&self, entry: &Entry) -> anyhow::Result<Ends> {
        self.adapters.open(entry, true).map_err(|closed| match closed.refused {
            Some(refused) => refused.into(),
            None => anyhow!("{}", closed.unfit.text),
        })
    }

    /// Whether the entry has an interrupted run that can go on. Runs that an older version of importer left count too.
    pub fn is_unfinished(&self, entry: &Entry) -> bool {
        let Past { own, .. } = self.past(entry);
        let former = own.former.iter().filter(|folder| own.names.contains(&migrate::name(folder)));
        former.chain([&own.folder]).any(|folder| Checkpoint::path(folder).exists())
    }

    /// Returns where older versions of importer may have kept the records of the entry.
    pub fn past(&self, entry: &Entry) -> Past {
        let all = (self.problems == 0).then_some(self.entries.as_slice());
        controller::past(entry, all, &self.folders)
    }

    /// Returns the hold that stops the entry's delivery, if there is one.
    pub async fn hold(&self, entry: &Entry, ends: &Ends) -> anyhow::Result<Option<Hold>> {
        let holds = hold::all(&self.folders.list(entry)).await?;
        Ok(holds.into_iter().find(|hold| hold.stops(&ends.delivery)))
    }
}
