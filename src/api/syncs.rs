//! The answers to requests for runs, and for their end.

use std::sync::Arc;

use http::StatusCode;
use serde_json::json;

use super::{
    Api,
    call::Call,
    problem::{BUSY, Problem},
    reads::{Answer, json_of},
};
use crate::controller::status::{Refusal, RunOutcome, SyncAnswer, Synced};

/// `POST /api/v1/sync`: syncs a list, or all. By default the answer comes when the runs have ended.
pub async fn sync(api: Arc<Api>, call: Call) -> Answer {
    let list = call.text("list");
    if !call.flag("wait") {
        let entries = api.handle.sync_now(list).await.map_err(|_| Problem::stopping())?;
        refuse(&entries, list)?;
        return json_of(StatusCode::ACCEPTED, &json!({ "entries": entries }));
    }
    let _place = place(&api)?;
    let entries = api.handle.sync_and_wait(list).await.map_err(|_| Problem::stopping())?;
    refuse(&entries, list)?;
    let succeeded = entries.iter().all(|entry| has_succeeded(&entry.answer));
    json_of(StatusCode::OK, &json!({ "succeeded": succeeded, "entries": entries }))
}

/// `POST /api/v1/lists/{id}/stop`: ends the runs of a list, which then waits for a request.
pub async fn stop(api: Arc<Api>, call: Call) -> Answer {
    let _place = place(&api)?;
    let stopped = api.handle.stop_one(&call.id).await.map_err(|_| Problem::stopping())?;
    match stopped {
        Ok(runs) => json_of(StatusCode::OK, &json!({ "runs": runs })),
        Err(reason) => Err(refusal(&reason, Some(&call.id))),
    }
}

/// Takes a place among the requests that wait for the end of runs.
fn place(api: &Api) -> Result<tokio::sync::SemaphorePermit<'_>, Problem> {
    api.waiting.try_acquire().map_err(|_| {
        Problem::new(BUSY, "too many requests wait for the end of runs; use `wait=false`, or try again later")
    })
}

/// Refuses a request that was refused as a whole. A refusal of a single entry is part of the answer.
fn refuse(entries: &[Synced], list: Option<&str>) -> Result<(), Problem> {
    match entries {
        [Synced { list_id: None, place: None, answer: SyncAnswer::Refused { reason } }] => {
            Err(refusal(reason, list))
        }
        [Synced { answer: SyncAnswer::Refused { reason: reason @ Refusal::UnknownList }, .. }] => {
            Err(refusal(reason, list))
        }
        _ => Ok(()),
    }
}

fn refusal(reason: &Refusal, list: Option<&str>) -> Problem {
    match reason {
        Refusal::UnknownList => Problem::unknown_list(list.unwrap_or_default()),
        _ => Problem::stopping(),
    }
}

/// Returns whether a run has finished, and the state file has its result.
fn has_succeeded(answer: &SyncAnswer) -> bool {
    let SyncAnswer::Ended { result } = answer else { return false };
    matches!(result.outcome, RunOutcome::Finished { not_written: None, .. })
}
