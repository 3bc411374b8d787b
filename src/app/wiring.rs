//! What opens the ends of an entry: its source, its mapping and its sink, by what the entry says of them. The accounts of the
//! environment have one door each, shared by all entries.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    base::{
        adapter::Chosen,
        clock::{Clock, SystemClock},
    },
    controller::{Open, Wanted, remembers},
    engine::plan::Ends,
    mapping,
    net::{Caller, Doors, Environment, Refused, Transport, Unopened, transport::Web},
    sink,
    source::{self, Opened},
    state::{
        Entry, Snapshot, Unfit, Vocabulary, home,
        model::{FullLoad, Said},
    },
};

/// What the adapters declare, for the readers of the state file.
pub const VOCABULARY: &Vocabulary = &Vocabulary {
    source: &source::CATALOG,
    mapping: &mapping::CATALOG,
    sink: &sink::CATALOG,
    default_mapping: mapping::default,
    declared: &mapping::DECLARED,
};

/// The adapters, with the accounts that they share.
pub struct Adapters {
    sources: Arc<Doors>,
    sinks: Arc<Doors>,
    clock: Arc<dyn Clock>,
    /// The folder of the state file, with links followed.
    folder: PathBuf,
}

/// Which keys are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    Both,
    /// Nothing is sent.
    SourceOnly,
    /// Nobody is asked.
    None,
}

/// Why an entry can't be opened.
pub struct Closed {
    pub unfit: Unfit,
    /// If the entry is right, and the environment is not.
    pub refused: Option<Refused>,
}

impl Adapters {
    /// `get` reads the environment.
    pub fn new(
        get: impl Fn(&str) -> Option<String> + Send + Sync + Clone + 'static,
        keys: Keys,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        folder: &Path,
    ) -> Self {
        let doors = |needed: bool| {
            let environment = Environment::new(get.clone());
            let environment = if needed { environment } else { environment.without_keys() };
            Arc::new(Doors::new(environment, Arc::clone(&transport), Arc::clone(&clock)))
        };
        let sources = doors(keys != Keys::None);
        let sinks = if keys == Keys::SourceOnly { doors(false) } else { Arc::clone(&sources) };
        // The same folder for every spelling and every link.
        let folder = home::of(folder).unwrap_or_else(|_| folder.to_owned());
        Adapters { sources, sinks, clock, folder }
    }

    pub fn open(&self, entry: &Entry, urgent: bool) -> Result<Ends, Closed> {
        let (list_id, folder) = (entry.id.list_id.as_str(), self.folder.as_path());
        let caller = Caller::new(list_id, urgent);
        let chosen = Kinds::of(entry);
        let wanted = mapping::Wanted { list_id, policy: entry.policy, declared: &entry.declared, folder };
        let mapping = mapping::open(&chosen.mapping, &wanted)
            .map_err(|why| closed("mapping", &entry.mapping, why.into()))?;
        chosen.fit(entry)?;
        let wanted = source::Wanted { list_id, fields: mapping.fields(), caller: caller.clone() };
        let Opened { source, retry } = source::open(chosen.source, wanted, &self.sources)
            .map_err(|why| closed("source", &entry.source, why))?;
        let wanted = sink::Wanted { list_id, folder, caller };
        let sink =
            sink::open(&chosen.sink, wanted, &self.sinks).map_err(|why| closed("sink", &entry.sink, why))?;
        let held_by = format!("{:x}", md5::compute(format!("{} {}", chosen.sink.kind, sink.place())));
        let delivery = format!("{:x}", md5::compute(format!("{} {}", chosen.sink.kind, sink.address())));
        let ends = Ends { source, mapping, sink, clock: Arc::clone(&self.clock), retry, held_by, delivery };
        if entry.full_load == FullLoad::ChangedOnly && !remembers(entry, &ends) {
            let text = "`full_load` changed_only holds back what is remembered, and nothing is: set `unchanged` to \"embedded\"";
            let unfit = Unfit { place: entry.place, text: text.to_owned(), environment: false };
            return Err(Closed { unfit, refused: None });
        }
        Ok(ends)
    }

    /// For the controller.
    pub fn opener(self) -> Open {
        Box::new(move |Wanted { entry, urgent }| self.open(entry, urgent).map_err(|closed| closed.unfit))
    }
}

/// What an entry has chosen, where it says nothing what is usual.
struct Kinds {
    source: Chosen,
    mapping: Chosen,
    sink: Chosen,
}

impl Kinds {
    fn of(entry: &Entry) -> Self {
        let source = Chosen::of(&entry.source.value, source::USUAL);
        let mapping = Chosen::of(&entry.mapping.value, mapping::default(&source.kind));
        Kinds { source, mapping, sink: Chosen::of(&entry.sink.value, sink::USUAL) }
    }

    /// Contacts are made of members, and contacts are what the usual sink takes.
    fn fit(&self, entry: &Entry) -> Result<(), Closed> {
        if self.mapping.kind == mapping::CONTACT && self.source.kind != source::USUAL {
            let why = "ometria_contact makes contacts of members, which this source has not; choose another mapping";
            return Err(closed("mapping", &entry.mapping, why.to_owned().into()));
        }
        if self.mapping.kind != mapping::CONTACT && mapping::is_for_contacts(entry.policy, &entry.declared) {
            let why = format!(
                "`consent`, `collection`, `default_country`, `marketing_permission`, `fields` and `properties` of the entry are for \
                 ometria_contact, and {} passes on what it makes of a record whatever they say; take them out",
                self.mapping.kind
            );
            return Err(closed("mapping", &entry.mapping, why.into()));
        }
        if self.mapping.kind == mapping::PLAIN && self.sink.kind == sink::USUAL {
            let why = "ometria takes contacts, and as_is makes none; choose another mapping or another sink";
            return Err(closed("sink", &entry.sink, why.to_owned().into()));
        }
        Ok(())
    }
}

/// Takes out the entries whose ends can't be opened for what the file says of them; keys do not matter.
pub fn examine(snapshot: &mut Snapshot, folder: &Path) -> anyhow::Result<()> {
    let adapters =
        Adapters::new(super::variable, Keys::None, Arc::new(Web::new()?), Arc::new(SystemClock), folder);
    snapshot.examine(|entry| match adapters.open(entry, false) {
        Err(closed) if closed.refused.is_none() => Err(closed.unfit),
        _ => Ok(()),
    });
    Ok(())
}

fn closed(field: &'static str, said: &Said, why: Unopened) -> Closed {
    let (place, text) = (said.place, format!("`{field}`: {why}"));
    let refused = if let Unopened::Account(refused) = why { Some(refused) } else { None };
    Closed { unfit: Unfit { place, text, environment: refused.is_some() }, refused }
}
