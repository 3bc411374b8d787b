//! Reads and maps pages in tasks of their own, so that another core can run them: this is most of the work of a run.

use std::{future::pending, panic::resume_unwind, sync::Arc};

use tokio::task::{JoinSet, coop::consume_budget};
use tokio_util::sync::CancellationToken;

use super::plan::Pipeline;
use crate::{
    base::record::{Mapped, Record},
    mapping::Mapping,
    source::Source,
};

/// A record of an answer.
pub struct Received {
    pub record: Record,
    /// Result of the mapping; `None` if the intake has to map the record.
    pub mapped: Option<Mapped>,
}

impl From<Record> for Received {
    fn from(record: Record) -> Self {
        Received { record, mapped: None }
    }
}

/// The parts of a pipeline with which a page is read and mapped.
#[derive(Clone)]
pub struct Reading {
    pub source: Arc<dyn Source>,
    mapping: Arc<dyn Mapping>,
}

impl Reading {
    pub fn of(pipeline: &Pipeline) -> Self {
        Reading { source: Arc::clone(&pipeline.source), mapping: Arc::clone(&pipeline.mapping) }
    }

    /// Maps the records of a page, except those that are never mapped.
    pub async fn map(&self, records: Vec<Record>) -> Vec<Received> {
        let mut received = Vec::with_capacity(records.len());
        for record in records {
            // Lets other tasks of the thread run, and ends a task that was aborted.
            consume_budget().await;
            let maps = record.unreadable.is_none() && !record.deleted;
            received.push(Received { mapped: maps.then(|| self.mapping.map(&record)), record });
        }
        received
    }
}

/// Runs a future in a task of its own, and aborts the task if the caller is dropped. A task that begins after `stop`
/// requests nothing: its caller is about to be dropped.
pub async fn in_task<T: Send + 'static>(
    stop: CancellationToken,
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    let mut task = JoinSet::new();
    task.spawn(async move { if stop.is_cancelled() { pending().await } else { work.await } });
    match task.join_next().await {
        Some(Ok(done)) => done,
        Some(Err(error)) if error.is_panic() => resume_unwind(error.into_panic()),
        // Only a runtime that shuts down cancels the task, and then the caller is dropped, too.
        _ => pending().await,
    }
}
