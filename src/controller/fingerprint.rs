//! Computes the keys that identify a run, its checkpoint and its baselines across edits of the state file and
//! updates of importer. Pure.

use crate::{
    engine::plan::Pipeline,
    state::{Entry, folders::Folders},
    store::{
        migrate::{Past, Relative},
        records::DELIVERY,
    },
};

/// Returns the run fingerprint: everything that the result of an entry's run depends on. If it changes, an
/// interrupted run starts again. It includes the program's version, since another version may read the same
/// settings differently, but not the settings that change only the pace (such as `worker_count`).
pub fn run_fingerprint(entry: &Entry) -> String {
    // The order of names matters: a contact without room for all of its properties omits the last ones.
    let was = serde_json::to_string(&(entry.was, &entry.settings, &entry.names.order)).unwrap_or_default();
    format!("{was} importer {}", env!("CARGO_PKG_VERSION"))
}

/// Returns the run fingerprint in the form that older versions of importer wrote.
fn former_fingerprint(entry: &Entry) -> String {
    let said = [&entry.source, &entry.mapping, &entry.sink].map(|said| &said.value);
    let was = serde_json::to_string(&(entry.was, &entry.names.former, said)).unwrap_or_default();
    format!("{was} importer {}", env!("CARGO_PKG_VERSION"))
}

/// Returns the consent scope: the delivery and the entry's consent settings. The opt-outs of two full loads
/// are compared only within one scope.
pub fn consent_scope(entry: &Entry, pipeline: &Pipeline) -> String {
    let consent = serde_json::to_string(&(entry.policy, &entry.names.consent));
    format!("{DELIVERY}{} {}", pipeline.delivery, consent.unwrap_or_default())
}

/// Returns where older versions of importer kept the checkpoints and dead letters of the entry and of the
/// other entries of its list. `all`: the entries of the state file, or `None` if one of them can't be read.
pub fn past(entry: &Entry, all: Option<&[Entry]>, folders: &Folders) -> Past {
    let relative = |entry: &Entry| {
        let [own, list] = entry.id.former_folders();
        let names = if entry.alone { vec![own, list] } else { vec![own] };
        Relative { folder: folders.entry(entry), former: folders.former(entry), names }
    };
    let of_list = |all: &[Entry]| {
        all.iter().filter(|other| other.id.list_id == entry.id.list_id).map(relative).collect()
    };
    Past { own: relative(entry), run_fingerprint: former_fingerprint(entry), entries: all.map(of_list) }
}
