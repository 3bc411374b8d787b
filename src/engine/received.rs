//! Records as they come from the source. Reading and mapping take most of the time of a run, so they happen in a
//! task of their own, which another core can run.

use std::{panic::resume_unwind, sync::Arc};

use tokio::task::JoinSet;

use super::plan::Pipeline;
use crate::{
    base::record::{Mapped, Record},
    mapping::Mapping,
    source::Source,
};

/// A record of an answer, mapped if its page was read for the walk.
pub struct Received {
    pub record: Record,
    /// What the mapping makes of it; `None`: it is mapped when it is needed.
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
    pub fn map(&self, records: Vec<Record>) -> Vec<Received> {
        let map = |record: Record| {
            let maps = record.unreadable.is_none() && !record.deleted;
            Received { mapped: maps.then(|| self.mapping.map(&record)), record }
        };
        records.into_iter().map(map).collect()
    }
}

/// Does this work in a task of its own, which ends if the caller is dropped.
pub async fn apart<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let mut task = JoinSet::new();
    task.spawn(work);
    match task.join_next().await {
        Some(Ok(done)) => done,
        Some(Err(error)) if error.is_panic() => resume_unwind(error.into_panic()),
        // Only a runtime that shuts down cancels the task, and then the caller is dropped, too.
        _ => std::future::pending().await,
    }
}
