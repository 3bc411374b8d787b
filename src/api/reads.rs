//! The answers to requests that change nothing.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::json;

use super::{
    Api,
    call::Call,
    problem::{BAD_QUERY, NOT_READY, Problem, UNKNOWN_RUN, UNREADABLE},
};
use crate::controller::{
    status::{EntryStatus, Status},
    stored::{IdentifiedRun, Rejected},
};

/// What a request leads to.
pub type Answer = Result<Response, Problem>;

/// One list, with its entries.
#[derive(Serialize)]
struct List {
    /// `None` for elements whose list can't be read.
    list_id: Option<String>,
    entries: Vec<EntryStatus>,
}

/// A page of runs, the latest one first.
#[derive(Serialize)]
struct Runs<'a> {
    runs: &'a [IdentifiedRun],
    /// The `cursor` of the next page; `None` on the last one.
    next: Option<String>,
}

/// `GET /api/v1/status`.
pub async fn status(api: Arc<Api>, _: Call) -> Answer {
    json_of(StatusCode::OK, &api.files.report(api.status().await?).await?)
}

/// `GET /api/v1/lists`.
pub async fn lists(api: Arc<Api>, _: Call) -> Answer {
    let report = api.files.report(api.status().await?).await?;
    let mut lists: Vec<List> = vec![];
    for entry in report.status.entries {
        match lists.iter_mut().find(|list| list.list_id == entry.list_id) {
            Some(list) => list.entries.push(entry),
            None => lists.push(List { list_id: entry.list_id.clone(), entries: vec![entry] }),
        }
    }
    json_of(StatusCode::OK, &json!({ "lists": lists }))
}

/// `GET /api/v1/runs`.
pub async fn runs(api: Arc<Api>, call: Call) -> Answer {
    let before = call.text("cursor").map(position).transpose()?;
    let mut runs = api.files.runs(call.text("list")).await?;
    runs.reverse();
    if let Some((end, id)) = &before {
        runs.retain(|run| run.order() < (*end, id));
    }
    let shown = &runs[..runs.len().min(call.number("limit"))];
    let next = shown.last().filter(|_| shown.len() < runs.len()).map(cursor);
    json_of(StatusCode::OK, &Runs { runs: shown, next })
}

/// `GET /api/v1/runs/{id}`.
pub async fn run(api: Arc<Api>, call: Call) -> Answer {
    let runs = api.files.runs(None).await?;
    let found = runs.iter().find(|run| run.id == call.id).ok_or_else(|| {
        let detail = format!("no run on record has the id {:?}; GET /api/v1/runs lists the runs", call.id);
        Problem::new(UNKNOWN_RUN, detail)
    })?;
    json_of(StatusCode::OK, found)
}

/// `GET /api/v1/rejected`.
pub async fn rejected(api: Arc<Api>, call: Call) -> Answer {
    let lists: Vec<Rejected> = api.files.rejected(call.text("list")).await?;
    json_of(StatusCode::OK, &json!({ "lists": lists }))
}

/// `GET /metrics`.
pub async fn metrics(api: Arc<Api>, _: Call) -> Answer {
    let text = api.metrics.text(&api.status().await?);
    Ok(answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text.into()))
}

/// `GET /health/live`: the program answers, and so does its controller.
pub async fn live(api: Arc<Api>, _: Call) -> Answer {
    api.status().await?;
    json_of(StatusCode::OK, &json!({ "live": true }))
}

/// `GET /health/ready`: the controller works with a valid state file.
pub async fn ready(api: Arc<Api>, _: Call) -> Answer {
    match unready(&api.status().await?) {
        Some(detail) => Err(Problem::new(NOT_READY, detail)),
        None => json_of(StatusCode::OK, &json!({ "ready": true })),
    }
}

/// Returns why no list can run; `None` if lists can.
fn unready(status: &Status) -> Option<String> {
    let broken = status.file.broken.as_ref().filter(|_| status.entries.is_empty())?;
    Some(format!("the state file can't be read, so no list runs: {broken}"))
}

/// Returns the cursor of the page after the one that ends with this run.
fn cursor(run: &IdentifiedRun) -> String {
    let (end, id) = run.order();
    format!("{end}-{id}")
}

/// Returns the place in the history that a cursor names.
///
/// # Errors
///
/// The text is none of our cursors.
fn position(cursor: &str) -> Result<(i64, &str), Problem> {
    let parts = cursor.rsplit_once('-').and_then(|(end, id)| Some((end.parse().ok()?, id)));
    parts
        .filter(|(_, id)| id.len() == 32)
        .ok_or_else(|| Problem::new(BAD_QUERY, "`cursor` must be the `next` of an earlier page, as it was"))
}

/// Makes an answer with this value as JSON.
///
/// # Errors
///
/// The value has no JSON form, which is a bug.
pub fn json_of(status: StatusCode, value: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(value)
        .map_err(|error| Problem::new(UNREADABLE, format!("the answer has no JSON form: {error}")))?;
    Ok(answer(status, "application/json", body))
}

fn answer(status: StatusCode, content: &'static str, body: Vec<u8>) -> Response {
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content));
    // What is true now may not be true later, and is for nobody else.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
