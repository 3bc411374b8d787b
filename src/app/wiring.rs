//! Opens the source, the mapping, the sink and the receiver of notices of an entry as the entry configures
//! them. The environment names the accounts; all entries share one client per account.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::references::{Found, look_up};
use crate::{
    base::{
        account::is_account,
        adapter::Chosen,
        clock::{Clock, SystemClock},
        events::Events,
        identity::DeliveryId,
        spec::{ACCOUNT, Catalog, Makes},
    },
    controller::{Destination, Destinations, Open, OpenRequest, remembers},
    engine::plan::Pipeline,
    mapping,
    net::{AccountClients, Caller, Environment, Refused, Transport, Unopened, transport::Web},
    sink,
    source::{self, Opened},
    state::{
        Entry, Snapshot, Unfit, Vocabulary, home,
        model::{FullLoad, RawSetting},
    },
    store::migrate::FormerDigests,
};

/// Declarations of the adapters, for the reader of the state file.
pub const VOCABULARY: &Vocabulary = &Vocabulary {
    source: &source::CATALOG,
    mapping: &mapping::CATALOG,
    sink: &sink::CATALOG,
    notify: &sink::NOTIFY,
    default_mapping,
    declared: &mapping::DECLARED,
};

/// Returns the mapping of an entry that names none, by the type of its source.
fn default_mapping(source: &str) -> &'static str {
    mapping::default(source::CATALOG.spec(source).map_or(Makes::Any, |spec| spec.makes))
}

/// Opens adapters, with the account clients that they share.
pub struct Adapters {
    sources: AccountClients,
    sinks: AccountClients,
    clock: Arc<dyn Clock>,
    /// Folder of the state file, with links resolved.
    folder: PathBuf,
}

/// Keys that a command needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// Keys of sources and sinks.
    Both,
    /// Keys of sources: the command sends nothing to a sink.
    SourceOnly,
    /// No keys: the command sends no request.
    None,
}

/// Why an entry can't be opened.
pub struct Closed {
    pub unfit: Unfit,
    /// The missing or malformed variable, if the entry is valid and the environment is not.
    pub refused: Option<Refused>,
}

impl Adapters {
    /// Makes the clients of the accounts in an environment. They report to `events`.
    pub fn new(
        environment: &Environment,
        keys: Keys,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        folder: &Path,
        events: Events,
    ) -> Self {
        let accounts = |needed: bool| {
            let environment = environment.clone();
            let environment = if needed { environment } else { environment.without_keys() };
            AccountClients::new(environment, Arc::clone(&transport), Arc::clone(&clock))
                .with_events(events.clone())
        };
        let sources = accounts(keys != Keys::None);
        let sinks = if keys == Keys::SourceOnly { accounts(false) } else { sources.clone() };
        // Every spelling of the path and every link results in the same folder.
        let folder = home::of(folder).unwrap_or_else(|_| folder.to_owned());
        Adapters { sources, sinks, clock, folder }
    }

    /// Opens the source, the mapping, the sink and the receiver of notices of an entry. If `urgent`, their
    /// requests precede others.
    ///
    /// # Errors
    ///
    /// A type or a setting of the entry is invalid, its parts do not fit together, or a variable of the
    /// environment is missing or malformed.
    pub fn open(&self, entry: &Entry, urgent: bool) -> Result<Pipeline, Closed> {
        self.open_for(entry, Caller::new(&entry.list.name(), urgent))
    }

    /// Opens an entry for this caller.
    ///
    /// # Errors
    ///
    /// As those of [`Self::open`].
    pub fn open_for(&self, entry: &Entry, caller: Caller) -> Result<Pipeline, Closed> {
        let (list_id, folder) = (entry.id.list_id.as_str(), self.folder.as_path());
        let requests = Arc::clone(&caller.requests);
        let (mut chosen, mut found) = (Kinds::of(entry), Found::default());
        let environment = self.sources.environment();
        look_up("mapping", &mut chosen.mapping, &mapping::CATALOG, environment, &mut found)
            .map_err(|why| closed("mapping", &entry.mapping, found.masked(why)))?;
        let wanted =
            mapping::MappingContext { list_id, policy: entry.policy, declared: &entry.declared, folder };
        let mapping = mapping::open(&chosen.mapping, &wanted)
            .map_err(|why| closed("mapping", &entry.mapping, found.masked(why.into())))?;
        chosen.fit(entry)?;
        let accounts = prepare("source", &mut chosen.source, &source::CATALOG, &self.sources, &mut found)
            .map_err(|why| closed("source", &entry.source, found.masked(why)))?;
        let wanted = source::SourceContext { list_id, fields: mapping.fields(), caller: caller.clone() };
        let Opened { source, retry } = source::open(chosen.source, wanted, &accounts)
            .map_err(|why| closed("source", &entry.source, found.masked(why)))?;
        let accounts = prepare("sink", &mut chosen.sink, &sink::CATALOG, &self.sinks, &mut found)
            .map_err(|why| closed("sink", &entry.sink, found.masked(why)))?;
        let kind = chosen.sink.kind.clone();
        let items_per_request = entry.items_per_request;
        let wanted = sink::SinkContext { part: "sink", list_id, folder, items_per_request, caller };
        let sink::Opened { sink, spec } = sink::open(chosen.sink, wanted, &accounts)
            .map_err(|why| closed("sink", &entry.sink, found.masked(why)))?;
        let digest = |of: &str| format!("{:x}", md5::compute(format!("{kind} {of}")));
        let destination = digest(spec.destination.reveal());
        let former = FormerDigests {
            cache: spec.former_destination.as_deref().map_or(destination.clone(), digest),
            delivery: digest(spec.former_destination.as_deref().unwrap_or(&spec.address)),
        };
        let account = entry.sink.value[ACCOUNT].as_str();
        let delivery = DeliveryId::new(entry.list.clone(), &kind, account, &spec.address);
        let (clock, references) = (Arc::clone(&self.clock), found.digest());
        let notify = self.open_notify(entry)?;
        let pipeline = Pipeline {
            source,
            mapping,
            sink,
            spec,
            clock,
            requests,
            notify,
            retry,
            destination,
            delivery,
            former,
            references,
        };
        if entry.full_load == FullLoad::ChangedOnly && !remembers(entry, &pipeline) {
            let text = "`full_load` \"changed_only\" needs the delivery cache, which is off; set `unchanged` to \"embedded\"";
            let unfit = Unfit { place: entry.place, text: text.to_owned(), environment: false };
            return Err(Closed { unfit, refused: None });
        }
        Ok(pipeline)
    }

    /// Opens the receiver of an entry's notices; `None` if the entry has none. What its references stand for changes
    /// no delivery.
    fn open_notify(&self, entry: &Entry) -> Result<Option<sink::Opened>, Closed> {
        if entry.notify.value.is_null() {
            return Ok(None);
        }
        let (mut chosen, mut found) = (Chosen::of(&entry.notify.value, ""), Found::default());
        let context = sink::SinkContext {
            part: "notify",
            list_id: &entry.id.list_id,
            folder: &self.folder,
            items_per_request: entry.items_per_request,
            caller: Caller::new(&entry.list.name(), false),
        };
        let accounts = prepare("notify", &mut chosen, &sink::NOTIFY, &self.sinks, &mut found);
        let opened = accounts.and_then(|accounts| sink::open_notify(chosen, context, &accounts));
        opened.map(Some).map_err(|why| closed("notify", &entry.notify, found.masked(why)))
    }

    /// Returns the function by which the controller opens an entry.
    pub fn opener(self) -> Open {
        Box::new(move |OpenRequest { entry, urgent }| self.open(entry, urgent).map_err(|closed| closed.unfit))
    }
}

/// The types that an entry chose, or their defaults, with the settings.
struct Kinds {
    source: Chosen,
    mapping: Chosen,
    sink: Chosen,
}

impl Kinds {
    fn of(entry: &Entry) -> Self {
        let source = Chosen::of(&entry.source.value, source::DEFAULT);
        let mapping = Chosen::of(&entry.mapping.value, default_mapping(&source.kind));
        let order = Arc::clone(&entry.sink.order);
        Kinds { source, mapping, sink: Chosen { order, ..Chosen::of(&entry.sink.value, sink::DEFAULT) } }
    }

    /// Checks that the types fit together, by their declarations: what a mapping needs, what a sink accepts, and
    /// which mapping reads fields of the entry. Types that do not exist are left to the opening.
    fn fit(&self, entry: &Entry) -> Result<(), Closed> {
        let source = source::CATALOG.spec(&self.source.kind);
        let (Some(source), Some(mapping)) = (source, mapping::CATALOG.spec(&self.mapping.kind)) else {
            return Ok(());
        };
        if let Some(takes) = mapping.takes.filter(|takes| source.makes != Makes::Only(takes)) {
            let kind = mapping.kind;
            let why =
                format!("{kind} needs {takes}, which this source does not list; choose another mapping");
            return Err(closed("mapping", &entry.mapping, why.into()));
        }
        for owner in mapping::CATALOG.specs.iter().filter(|owner| owner.kind != mapping.kind) {
            if owner.fields.iter().any(|field| entry.settings.contains_key(*field)) {
                let (fields, owner, kind) = (listed(owner.fields), owner.kind, mapping.kind);
                let why = format!(
                    "{fields} of the entry apply to {owner} only, and {kind} ignores them; remove them"
                );
                return Err(closed("mapping", &entry.mapping, why.into()));
            }
        }
        let made = if mapping.makes == Makes::Same { source.makes } else { mapping.makes };
        let takes = sink::CATALOG.spec(&self.sink.kind).and_then(|sink| sink.takes);
        if let Some(takes) = takes.filter(|takes| made != Makes::Any && made != Makes::Only(takes)) {
            let (sink, kind) = (&self.sink.kind, mapping.kind);
            let why = format!(
                "{sink} accepts {takes} only, and {kind} makes none; choose another mapping or another sink"
            );
            return Err(closed("sink", &entry.sink, why.into()));
        }
        Ok(())
    }
}

/// Lists names as in `a`, `b` and `c`.
fn listed(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => names.concat(),
    }
}

/// Prepares the settings of a source or a sink for its opening, and returns the clients of its account.
///
/// # Errors
///
/// The name of the account is invalid, or a reference can't be looked up.
fn prepare(
    part: &'static str,
    chosen: &mut Chosen,
    catalog: &Catalog,
    accounts: &AccountClients,
    found: &mut Found,
) -> Result<AccountClients, Unopened> {
    let accounts = accounts.of(account(chosen, catalog)?.as_deref());
    look_up(part, chosen, catalog, accounts.environment(), found)?;
    Ok(accounts)
}

/// Takes the account from the settings of a source or a sink.
///
/// # Errors
///
/// The name is invalid, or the adapter uses no account.
fn account(chosen: &mut Chosen, catalog: &Catalog) -> Result<Option<String>, String> {
    let kind = &chosen.kind;
    let Some(name) = chosen.settings.remove(ACCOUNT) else { return Ok(None) };
    if catalog.spec(kind).is_some_and(|spec| spec.variables.is_empty()) {
        return Err(format!("{kind}: `{ACCOUNT}` has no effect, since {kind} uses no account; remove it"));
    }
    let Some(name) = name.as_str().filter(|name| is_account(name)) else {
        return Err(format!(
            "{kind}: `{ACCOUNT}` must be a lower-case name that begins with a letter and does not end in `file`, such as \
             \"acme\": up to 32 letters, digits and `_`"
        ));
    };
    Ok(Some(name.to_owned()))
}

/// Removes the entries that can't be opened because of what the state file says, and records their problems.
/// Ignores errors of the environment, such as missing keys.
///
/// # Errors
///
/// The HTTP client could not be made.
pub fn examine(snapshot: &mut Snapshot, folder: &Path, events: &Events) -> anyhow::Result<()> {
    let adapters = Adapters::new(
        &super::environment(),
        Keys::None,
        Arc::new(Web::new()?),
        Arc::new(SystemClock),
        folder,
        events.clone(),
    );
    let mut destinations = Destinations::default();
    snapshot.examine(|entry| match adapters.open(entry, false) {
        Err(closed) if closed.refused.is_none() => Err(closed.unfit),
        Err(_) => Ok(()),
        Ok(pipeline) => destinations.add(entry, &Destination::of(&pipeline)),
    });
    Ok(())
}

/// Makes the error of one field of an entry.
fn closed(field: &'static str, said: &RawSetting, why: Unopened) -> Closed {
    let (place, text) = (said.place, format!("`{field}`: {why}"));
    let refused = if let Unopened::Account(refused) = why { Some(refused) } else { None };
    Closed { unfit: Unfit { place, text, environment: refused.is_some() }, refused }
}
