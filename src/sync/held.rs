//! A run that its brake has stopped: a file of ours in the entry's folder, so that no further try sends anything either.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files;
use crate::base::fault::Fault;

const NAME: &str = "held.json";

/// Why a run was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Of the run: one of another origin is not held.
    pub origin: String,
    pub what: String,
    pub why: String,
}

impl Held {
    pub fn fault(&self) -> Fault {
        let hint = "nothing more is sent until somebody has looked: if it is a mistake, mend it at the source and start \
                    importer once with `--fresh`; if it is meant, put \"allow_mass_change\": true into the entry";
        Fault::list(&self.what).because(&self.why).hint(hint)
    }
}

/// The file in an entry's folder.
pub fn path(folder: &Path) -> PathBuf {
    folder.join(NAME)
}

pub async fn keep(folder: &Path, held: &Held) -> Result<(), Fault> {
    let bytes = serde_json::to_vec(held).unwrap_or_default();
    files::blocking(&path(folder), move |path| files::replace(path, &bytes).map(|_| ())).await
}

/// Why runs of the entry are stopped, if they are.
pub async fn look(folder: &Path) -> Result<Option<String>, Fault> {
    let bytes = files::blocking(&path(folder), files::read).await?;
    Ok(bytes
        .and_then(|bytes| serde_json::from_slice::<Held>(&bytes).ok())
        .map(|held| held.fault().to_string()))
}

/// Fails if a run of this origin was stopped, unless it is `allowed` now; drops what is of no account any more.
pub async fn check(folder: &Path, origin: &str, allowed: bool) -> Result<(), Fault> {
    let bytes = files::blocking(&path(folder), files::read).await?;
    let Some(bytes) = bytes else { return Ok(()) };
    match serde_json::from_slice::<Held>(&bytes) {
        Ok(held) if held.origin == origin && !allowed => Err(held.fault()),
        _ => files::blocking(&path(folder), files::remove).await.map(|_| ()),
    }
}
