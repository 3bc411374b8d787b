//! What a run leaves behind besides its result: its line in the history, and what it has found. Pure.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{active::Active, history::Ended as EndedRun, status::RunOutcome};
use crate::{
    base::event::Findings,
    engine::{clocks::Noticed, plan},
    state::Entry,
    store::{
        RunStore,
        runs::{Cause, ResultKind, RunRecord},
    },
};

/// Returns the line of a run in the history; `None` if it did not begin.
pub fn record(active: &Active, outcome: &RunOutcome, end: DateTime<Utc>) -> Option<EndedRun> {
    let Active { entry, kind, began, is_requested, .. } = active;
    let (store, requests) = active.traces.as_ref()?;
    let requests = requests.counts();
    let mut run = RunRecord {
        list_id: entry.id.list_id.clone(),
        entry: entry.folder.clone(),
        start: *began,
        end,
        cause: if *is_requested { Cause::Command } else { Cause::Schedule },
        kind: *kind,
        result: ResultKind::Finished,
        since: entry.latest_timestamp,
        latest_timestamp: None,
        counts: None,
        error: None,
        reason: None,
        requests: requests.sent,
        refusals: requests.refusals,
    };
    match outcome.clone() {
        RunOutcome::Finished { counts, latest_timestamp, not_written } => {
            (run.counts, run.latest_timestamp, run.reason) =
                (Some(counts), Some(latest_timestamp), not_written);
        }
        RunOutcome::Failed { error } => (run.result, run.error) = (ResultKind::Failed, Some(error)),
        RunOutcome::Stopped { reason: why, counts } => {
            (run.result, run.reason, run.counts) = (ResultKind::Stopped, Some(why), counts);
        }
    }
    Some(EndedRun { store: Arc::clone(store), run })
}

/// Returns what a finished run has found besides its counts.
pub fn findings(entry: &Entry, outcome: &plan::Outcome, store: &dyn RunStore) -> Findings {
    let Noticed { apart, after_end, last_after, .. } = &outcome.noticed;
    Findings {
        unknown: outcome.unknown.clone(),
        clocks: apart.map(|clocks| (clocks.source, clocks.ours)),
        after_end: last_after.map(|(changed, until)| (*after_end, changed, until)),
        rejected_at: store.dead_letter_location(),
        remedy: outcome.remedy,
        start_offset: entry.start_offset,
    }
}
