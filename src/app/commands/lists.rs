//! Shared by the commands for single lists: the entries of the state file, the folders of their data, and
//! their adapters.

use std::{path::Path, sync::Arc};

use anyhow::{anyhow, bail};

use crate::{
    app::{
        check_layout, environment,
        wiring::{Adapters, Closed, Keys, VOCABULARY, examine},
    },
    base::{
        clock::{Clock, SystemClock},
        events::Events,
    },
    controller::{self, Open, OpenRequest},
    engine::plan::Pipeline,
    net::{Caller, transport::Web},
    state::{Entry, Snapshot, folders::Folders, home, layout::NAME, read},
    store::{
        checkpoint, format,
        hold::{self, Hold},
    },
};

/// The lists of a state file.
pub struct Lists {
    /// The file as read. Its entries are those without a problem.
    pub snapshot: Snapshot,
    pub folders: Folders,
    /// Where the command reports.
    pub events: Events,
    adapters: Arc<Adapters>,
    /// Opens entries for the functions of the controller.
    open: Open,
}

impl Lists {
    /// Reads the state file in `folder`.
    ///
    /// # Errors
    ///
    /// The state file can't be read, or an older version of importer left files beside a link to it.
    pub fn open(folder: &Path, keys: Keys, events: &Events) -> anyhow::Result<Self> {
        check_layout(folder)?;
        let mut snapshot = read::load(&folder.join(NAME), VOCABULARY)?;
        let home = home::of(folder)?;
        if let Some(left) = home::left_beside_link(folder, &home) {
            bail!(
                "an older version of importer left `{}` beside the link, but it belongs in `{}`; run `importer go --once` to move it there",
                left.display(),
                home.display()
            );
        }
        let folders = Folders::of(&home);
        if !format::check(&folders.ours())? && folders.all().exists() {
            bail!(
                "the files in `{}` are of importer 0.1; run `importer go --once` to take them over",
                folders.ours().display()
            );
        }
        examine(&mut snapshot, folder, events)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (web, events) = (Arc::new(Web::new()?), events.clone());
        let adapters = Arc::new(Adapters::new(&environment(), keys, web, clock, folder, events.clone()));
        let opener = Arc::clone(&adapters);
        let open = move |wanted: OpenRequest| opener.open(wanted.entry, false).map_err(|closed| closed.unfit);
        Ok(Lists { snapshot, folders, events, adapters, open: Box::new(open) })
    }

    /// Returns the entries without a problem.
    pub fn entries(&self) -> &[Entry] {
        &self.snapshot.entries
    }

    /// Returns the function that opens entries.
    pub fn opener(&self) -> &Open {
        &self.open
    }

    /// Returns the entries of a list, by its `list_id` or by its name on disk, which tells lists of two sources
    /// or accounts apart.
    ///
    /// # Errors
    ///
    /// The list has no entry without a problem.
    pub fn of(&self, list_id: &str) -> anyhow::Result<Vec<&Entry>> {
        let is_it = |entry: &&Entry| entry.id.list_id == list_id || entry.list.name() == list_id;
        let entries: Vec<_> = self.entries().iter().filter(is_it).collect();
        if entries.is_empty() {
            bail!(
                "no entry of the state file has the list {list_id:?}, or the entry has a problem; run `importer check`"
            );
        }
        Ok(entries)
    }

    /// Opens the source, the mapping and the sink of an entry.
    ///
    /// # Errors
    ///
    /// A variable of the environment is missing or malformed, or the entry can't be opened.
    pub fn pipeline(&self, entry: &Entry) -> anyhow::Result<Pipeline> {
        self.adapters.open(entry, true).map_err(error)
    }

    /// Opens an entry for a person who tries its settings: an answer that can't be used is not requested again.
    ///
    /// # Errors
    ///
    /// As those of [`Self::pipeline`].
    pub fn trial(&self, entry: &Entry) -> anyhow::Result<Pipeline> {
        let caller = Caller { attended: true, ..Caller::new(&entry.list.name(), true) };
        self.adapters.open_for(entry, caller).map_err(error)
    }

    /// Returns whether the entry has an interrupted run that can continue.
    pub fn is_unfinished(&self, entry: &Entry, pipeline: &Pipeline) -> bool {
        checkpoint::path(&self.folders.entry(&pipeline.delivery, &entry.folder)).exists()
    }

    /// Returns the names of the entries with the same delivery as `entry`; only its own if others are unknown.
    pub fn siblings(&self, entry: &Entry, pipeline: &Pipeline) -> Vec<String> {
        let all = self.snapshot.problems.is_empty().then_some(self.entries());
        let names = controller::siblings(entry, &pipeline.delivery, all, &self.open);
        names.unwrap_or_else(|| vec![entry.folder.clone()])
    }

    /// Returns the hold of the delivery, if it is on hold.
    ///
    /// # Errors
    ///
    /// The hold can't be read.
    pub async fn hold(&self, pipeline: &Pipeline) -> anyhow::Result<Option<Hold>> {
        Ok(hold::of(&self.folders.delivery(&pipeline.delivery)).await?)
    }
}

fn error(closed: Closed) -> anyhow::Error {
    match closed.refused {
        Some(refused) => refused.into(),
        None => anyhow!("{}", closed.unfit.text),
    }
}
