//! Deferred errors, which a sink detects after it has accepted the records: determines which of them are new
//! since the last poll. The last poll is on disk, so that a restart neither polls too often nor reports the
//! same errors again.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::plan::Pipeline;
use crate::{
    base::fault::Fault,
    sink::{LatestErrors, Settles, Sink},
    store::files,
};

/// Minimum time between two polls of an account.
pub const BETWEEN: TimeDelta = TimeDelta::minutes(10);

/// The result of one poll.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Look {
    at: DateTime<Utc>,
    kinds: BTreeMap<String, u64>,
    /// Whether the sink returned as many errors as it can.
    #[serde(default)]
    full: bool,
    /// Whether something was sent since, and it was too early to poll again.
    #[serde(default)]
    unseen: bool,
}

/// New deferred errors.
#[derive(Debug, PartialEq, Eq)]
pub struct News {
    /// Number of new errors of each kind.
    pub kinds: BTreeMap<String, u64>,
    /// Whether there may be more errors than the sink returned.
    pub at_least: bool,
    /// Time of the previous poll; `None` if there was none.
    pub since: Option<DateTime<Utc>>,
}

/// The account to which runs have sent records.
#[derive(Clone)]
pub struct Account(Arc<dyn Sink>);

impl Account {
    /// Returns the account of a sink that reports deferred errors; `None` for any other sink, and for one that
    /// settles at its close, since it has to be dropped with its run.
    pub fn of(pipeline: &Pipeline) -> Option<Self> {
        let outlives = pipeline.spec.settles == Settles::EachBatch;
        pipeline.sink.deferred_errors().filter(|_| outlives).map(|_| Account(Arc::clone(&pipeline.sink)))
    }

    /// Polls the account if the sink has `taken` something since the last poll, unless that poll was less
    /// than ten minutes ago, and saves the result at `path`. Returns `None` if there was no poll or nothing
    /// is new.
    ///
    /// # Errors
    ///
    /// The fault of the sink, or of the file.
    pub async fn look(&self, path: &Path, taken: bool, now: DateTime<Utc>) -> Result<Option<News>, Fault> {
        let before = load(path).await?;
        if !taken && !before.as_ref().is_some_and(|before| before.unseen) {
            return Ok(None);
        }
        let soon = |before: &&Look| (TimeDelta::zero()..BETWEEN).contains(&(now - before.at));
        if let Some(before) = before.as_ref().filter(soon) {
            keep(path, &Look { unseen: true, ..before.clone() }).await?;
            return Ok(None);
        }
        let Some(errors) = self.0.deferred_errors() else { return Ok(None) };
        let found = errors.latest().await?;
        let news = news(before, &found);
        keep(path, &Look { at: now, kinds: found.kinds, full: found.full, unseen: false }).await?;
        Ok(Some(news).filter(|news| !news.kinds.is_empty()))
    }
}

async fn keep(path: &Path, look: &Look) -> Result<(), Fault> {
    let bytes = serde_json::to_vec(look).unwrap_or_default();
    files::blocking(path, move |path| files::replace(path, &bytes).map(|_| ())).await
}

/// Reads the last poll; a file that can't be read counts as none.
async fn load(path: &Path) -> Result<Option<Look>, Fault> {
    let bytes = files::blocking(path, files::read).await?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Compares a poll with the previous one. The sink returns its latest errors without their times, so a kind
/// is new if it occurs more often than before. If both polls returned as many errors as the sink can, new
/// errors can't be distinguished from old ones, and all of them count as new.
fn news(before: Option<Look>, found: &LatestErrors) -> News {
    let comparable = before.as_ref().filter(|before| !(before.full && found.full));
    let known = |kind: &String| comparable.and_then(|before| before.kinds.get(kind)).copied().unwrap_or(0);
    let more = |(kind, count): (&String, &u64)| (kind.clone(), count.saturating_sub(known(kind)));
    let kinds = found.kinds.iter().map(more).filter(|(_, count)| *count > 0).collect();
    News { kinds, at_least: found.full, since: before.as_ref().map(|before| before.at) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_more_often_than_before_is_new() {
        let kinds = |kinds: &[(&str, u64)]| -> BTreeMap<String, u64> {
            kinds.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect()
        };
        let at = "2026-11-21T12:00:00Z".parse().unwrap();
        let look = |full| Some(Look { at, kinds: kinds(&[("a", 3), ("b", 2)]), full, unseen: false });
        let before = || look(false);
        for (before, found, full, expected) in [
            (look(true), kinds(&[("a", 3), ("b", 2)]), true, kinds(&[("a", 3), ("b", 2)])),
            (look(true), kinds(&[("a", 3)]), false, kinds(&[])),
            (None, kinds(&[("a", 3)]), false, kinds(&[("a", 3)])),
            (before(), kinds(&[("a", 5), ("b", 2), ("c", 1)]), false, kinds(&[("a", 2), ("c", 1)])),
            (before(), kinds(&[("a", 3), ("b", 2)]), false, kinds(&[])),
            (before(), kinds(&[("a", 99), ("b", 1)]), true, kinds(&[("a", 96)])),
        ] {
            let since = before.as_ref().map(|_| at);
            let news = news(before, &LatestErrors { kinds: found, full });
            assert_eq!(news, News { kinds: expected, at_least: full, since });
        }
    }
}
