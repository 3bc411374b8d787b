//! The state file as last read, with what was learned when its entries were opened. Pure.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::Arc,
};

use super::siblings::Destination;
use crate::{
    base::identity::DeliveryId,
    engine::plan::Pipeline,
    state::{Entry, Snapshot, identity::EntryId, model::Element},
};

/// The entries of the state file, and their pipelines. Cheap to clone.
#[derive(Clone, Default)]
pub struct Lists {
    pub snapshot: Arc<Snapshot>,
    /// What was learned of the entries that could be opened, by the names of their folders.
    pub opened: Arc<HashMap<String, Opened>>,
    /// The folders of the entries with `"first_load": "ask"` that no run has loaded yet.
    pub first_loads: Arc<HashSet<String>>,
}

/// What a pipeline says about its entry. It stays true until the entry or the environment changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    pub destination: Destination,
    /// See [`Pipeline::reads_all`].
    pub reads_all: bool,
    /// See [`Pipeline::counts_rows`].
    pub counts_rows: bool,
}

impl Opened {
    pub fn of(pipeline: &Pipeline) -> Self {
        Opened {
            destination: Destination::of(pipeline),
            reads_all: pipeline.reads_all(),
            counts_rows: pipeline.counts_rows(),
        }
    }
}

impl Lists {
    /// Returns what was learned of an entry; `None` for a paused entry that can't be opened.
    pub fn opened(&self, entry: &Entry) -> Option<&Opened> {
        self.opened.get(&entry.folder)
    }

    /// Returns the delivery of an entry.
    pub fn delivery(&self, entry: &Entry) -> Option<&DeliveryId> {
        self.opened(entry).map(|opened| &opened.destination.delivery)
    }

    /// Returns the elements of the file in their order, each with its entry, or with its problem and the place of that.
    /// `path` is that of the file.
    pub fn elements(&self, path: &Path) -> Vec<(&Element, Result<&Entry, String>)> {
        let Snapshot { elements, entries, problems, .. } = &*self.snapshot;
        let mut texts: HashMap<usize, String> = HashMap::new();
        for problem in problems {
            let index = elements.partition_point(|element| element.place <= problem.place);
            texts.entry(index).or_insert_with(|| problem.at(path));
        }
        let with = |(index, element): (usize, &Element)| {
            let entry = entries.binary_search_by_key(&element.place, |entry| entry.place);
            match entry.ok().and_then(|index| entries.get(index)) {
                Some(entry) => Ok(entry),
                None => Err(texts.remove(&(index + 1)).unwrap_or_default()),
            }
        };
        elements.iter().enumerate().map(with).zip(elements).map(|(entry, element)| (element, entry)).collect()
    }

    /// Returns the entry with this identity.
    pub fn entry(&self, id: &EntryId) -> Option<&Entry> {
        self.snapshot.entries.iter().find(|entry| entry.id == *id)
    }
}
