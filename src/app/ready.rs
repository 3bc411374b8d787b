//! Which entries can run with the environment of this process, and what may be a mistake in it. Sends no request.

use std::{path::Path, sync::Arc};

use super::{
    environment,
    wiring::{Adapters, Keys},
};
use crate::{
    base::{clock::SystemClock, events::Events},
    net::transport::Web,
    state::{Entry, finding::Place},
};

/// What the environment means for the enabled entries.
#[derive(Default)]
pub struct Readiness {
    /// Number of the entries that can't run.
    pub unable: usize,
    /// The variables that they miss, or that are malformed, each with the place of the first entry that needs it.
    pub missing: Vec<(Place, String)>,
    /// What may be a mistake, in the same form.
    pub warnings: Vec<(Place, String)>,
}

/// Opens the enabled entries. Ignores those that can't be opened because of what the state file says.
///
/// # Errors
///
/// The HTTP client could not be made.
pub fn of(entries: &[Entry], folder: &Path) -> anyhow::Result<Readiness> {
    let (web, clock) = (Arc::new(Web::new()?), Arc::new(SystemClock));
    let adapters = Adapters::new(&environment(), Keys::Both, web, clock, folder, Events::default());
    let mut readiness = Readiness::default();
    for entry in entries.iter().filter(|entry| entry.enabled) {
        match adapters.open(entry, false) {
            Ok(pipeline) => {
                let warnings = pipeline.source.warnings().into_iter();
                warnings.for_each(|text| add(&mut readiness.warnings, entry.source.place, text));
            }
            Err(closed) if closed.refused.is_some() => {
                readiness.unable += 1;
                add(&mut readiness.missing, closed.unfit.place, closed.unfit.text);
            }
            Err(_) => {}
        }
    }
    Ok(readiness)
}

/// Adds a text once, since many entries may miss the same variable.
fn add(texts: &mut Vec<(Place, String)>, place: Place, text: String) {
    if texts.iter().all(|(_, known)| *known != text) {
        texts.push((place, text));
    }
}
