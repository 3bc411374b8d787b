//! Computes the keys that identify a run, its checkpoint and its baselines across edits of the state file and
//! updates of importer. Pure.

use crate::{engine::plan::Pipeline, state::Entry, store::records::DELIVERY};

/// Returns the run fingerprint: everything that the result of an entry's run depends on. If it changes, an
/// interrupted run starts again. It includes the program's version, since another version may read the same
/// settings differently, but not the settings that change only the pace (such as `worker_count`).
///
/// The settings contain references as the state file spells them. `references` is the digest of what these stand for:
/// if a variable has changed, the part that is delivered already may be of another source or for another sink.
pub fn run_fingerprint(entry: &Entry, references: &str) -> String {
    // The order of names matters: a contact without room for all of its properties omits the last ones.
    let mut was =
        serde_json::to_string(&(entry.was, &entry.settings, &entry.names.order)).unwrap_or_default();
    if !references.is_empty() {
        was += &format!(" references {references}");
    }
    format!("{was} importer {}", env!("CARGO_PKG_VERSION"))
}

/// Returns the consent scope: the delivery and the entry's consent settings. The opt-outs of two full loads
/// are compared only within one scope.
pub fn consent_scope(entry: &Entry, pipeline: &Pipeline) -> String {
    let consent = serde_json::to_string(&(entry.policy, &entry.names.consent));
    format!("{DELIVERY}{} {}", pipeline.delivery.digest, consent.unwrap_or_default())
}
