//! Reads and maps pages in tasks of their own, so that another core can run them: this is most of the work of a run.

use std::{future::pending, panic::resume_unwind, sync::Arc, time::Duration};

use serde_json::value::RawValue;
use tokio::{
    task::{JoinSet, yield_now},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::plan::Pipeline;
use crate::{
    base::{
        json::Json,
        record::{Mapped, Record},
    },
    mapping::Mapping,
    source::Source,
};

/// Time after which a task that maps a page lets others run. Long enough for most pages: tasks that take turns
/// more often keep the texts of all their pages in memory.
const SLICE: Duration = Duration::from_millis(20);

/// A record of an answer.
pub struct Received {
    /// The record. A task that maps its page sets its body to null.
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

    /// Maps the records of a page, except those that are never mapped. Drops the page's text, which is not needed
    /// after the mapping, because several pages may wait for a slow sink.
    pub async fn map(&self, records: Vec<Record>) -> Vec<Received> {
        let null = Json::from(RawValue::NULL.to_owned());
        let (mut received, mut resumed) = (Vec::with_capacity(records.len()), Instant::now());
        for mut record in records {
            if resumed.elapsed() >= SLICE {
                // Lets other tasks of the thread run, and ends a task that was aborted.
                yield_now().await;
                resumed = Instant::now();
            }
            let maps = record.unreadable.is_none() && !record.deleted;
            let mapped = maps.then(|| self.mapping.map(&record));
            record.body = null.clone();
            received.push(Received { record, mapped });
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::Instant;

    use super::*;
    use crate::{
        base::record::Outgoing,
        engine::support_tests::{AsItIs, Feed},
    };

    fn reading(mapping: impl Mapping + 'static) -> (Reading, Feed) {
        let feed = Feed::new(&[], false);
        (Reading { source: Arc::new(feed.clone()), mapping: Arc::new(mapping) }, feed)
    }

    /// Otherwise all pages that wait for the sink would keep their texts.
    #[tokio::test]
    async fn a_mapped_record_keeps_no_text_of_its_page() {
        let (reading, feed) = reading(AsItIs);
        let records = (0..3).map(|row| feed.list.record(row)).collect();
        for (row, Received { record, mapped }) in reading.map(records).await.into_iter().enumerate() {
            let Some(Mapped::Send(outgoing)) = mapped else { panic!("{row} was not mapped") };
            assert_eq!(outgoing.bodies[0].get(), format!("[{row},0]"));
            assert_eq!(record.body.get(), "null");
        }
    }

    /// Logs the records that it maps, each of which takes a time.
    struct Logged(Arc<Mutex<String>>, Duration);

    impl Mapping for Logged {
        fn map(&self, record: &Record) -> Mapped {
            let begun = Instant::now();
            while begun.elapsed() < self.1 {}
            self.0.lock().unwrap().push_str(&record.key);
            Mapped::Send(Outgoing::plain(vec![]))
        }
    }

    /// Returns the order in which two tasks of one thread map their records, with the keys `0` and `1`.
    async fn order(each: usize, takes: Duration) -> String {
        let (log, mut tasks) = (Arc::default(), JoinSet::new());
        let (reading, feed) = reading(Logged(Arc::clone(&log), takes));
        for task in 0..2 {
            let (reading, records) = (reading.clone(), vec![task; each]);
            let records = records.into_iter().map(|row| feed.list.record(row)).collect();
            tasks.spawn(async move { reading.map(records).await.len() });
        }
        assert_eq!(tasks.join_all().await, [each; 2]);
        log.lock().unwrap().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_is_mapped_before_the_next_one() {
        let each = 2000;
        assert_eq!(order(each, Duration::ZERO).await, "0".repeat(each) + &"1".repeat(each));
    }

    #[tokio::test]
    async fn a_page_that_takes_long_lets_another_one_be_mapped_in_between() {
        assert!(order(2, SLICE).await.starts_with("01"));
    }
}
