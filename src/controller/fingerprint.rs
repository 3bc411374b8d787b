//! Names by which a run, its checkpoint and its baselines are found again after edits of the state file and updates of
//! importer. Pure.

use crate::{
    engine::plan::Ends,
    state::{Entry, folders::Folders},
    store::{
        ledger::DELIVERY,
        migrate::{Past, Relative},
    },
};

/// Returns everything that the result of an entry's run depends on. If any of it changes, an interrupted run starts again.
/// The program's version is included, since another version may read the same settings differently. The pace of the entry
/// is not included.
pub fn origin(entry: &Entry) -> String {
    let was = serde_json::to_string(&(entry.was, &entry.settings, &entry.names.order)).unwrap_or_default();
    format!("{was} importer {}", env!("CARGO_PKG_VERSION"))
}

/// Returns the origin in the form that older versions of importer wrote.
fn former_origin(entry: &Entry) -> String {
    let said = [&entry.source, &entry.mapping, &entry.sink].map(|said| &said.value);
    let was = serde_json::to_string(&(entry.was, &entry.names.former, said)).unwrap_or_default();
    format!("{was} importer {}", env!("CARGO_PKG_VERSION"))
}

/// Returns the name under which the opt-outs of full loads are compared: the delivery and the entry's consent settings.
pub fn audience(entry: &Entry, ends: &Ends) -> String {
    let consent = serde_json::to_string(&(entry.policy, &entry.names.consent));
    format!("{DELIVERY}{} {}", ends.delivery, consent.unwrap_or_default())
}

/// Returns where older versions of importer kept the records of the entry, and the entries of its list. `all` has the entries
/// of the state file, or is `None` if one of them can't be read.
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
