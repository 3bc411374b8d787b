//! By what a run, its checkpoint and its baselines are known over edits of the state file and updates of importer. Pure.

use crate::{
    state::{Entry, folders::Folders},
    sync::{
        job::Ends,
        ledger::DELIVERY,
        takeover::{Past, Relative},
    },
};

/// What the result of an entry's run depends on: with anything of it changed, an interrupted run does not go on. The
/// program's version is part of it, since another version may read the same settings differently. How fast an entry runs is not.
pub fn origin(entry: &Entry) -> String {
    // Properties have an order: the last ones find no room in a contact that is full.
    let properties: Vec<&str> =
        entry.contact.properties.iter().map(|property| property.id.as_str()).collect();
    let was = serde_json::to_string(&(entry.was, entry.id.settings(), properties)).unwrap_or_default();
    format!("{was} importer {}", env!("CARGO_PKG_VERSION"))
}

/// The same as older versions of importer have written it.
fn former_origin(entry: &Entry) -> String {
    let said = [&entry.source, &entry.mapping, &entry.sink].map(|said| &said.value);
    let was = serde_json::to_string(&(entry.was, &entry.contact, said)).unwrap_or_default();
    format!("{was} importer {}", env!("CARGO_PKG_VERSION"))
}

/// By what the opt-outs of full loads are compared: the delivery, and what the entry says of consent.
pub fn audience(entry: &Entry, ends: &Ends) -> String {
    let consent = serde_json::to_string(&(entry.contact.policy, &entry.contact.marketing_permission));
    format!("{DELIVERY}{} {}", ends.delivery, consent.unwrap_or_default())
}

/// Where older versions of importer kept what they have left of the entry, and which entries its list has. `all`: those of the
/// state file, if every one of them can be read.
pub fn past(entry: &Entry, all: Option<&[Entry]>, folders: &Folders) -> Past {
    let relative = |entry: &Entry| {
        let [own, list] = entry.id.former_folders();
        let names = if entry.alone { vec![own, list] } else { vec![own] };
        Relative { folder: folders.entry(entry), former: folders.former(entry), names }
    };
    let of_list = |all: &[Entry]| {
        all.iter().filter(|other| other.id.list_id == entry.id.list_id).map(relative).collect()
    };
    Past { own: relative(entry), origin: former_origin(entry), entries: all.map(of_list) }
}
