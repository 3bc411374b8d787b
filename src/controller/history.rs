//! Writes the history of runs, beside the loop and in the order of their ends.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    task::JoinSet,
    time::timeout,
};

use crate::{
    base::{event::StoreEvent, events::Events},
    store::{
        RunStore,
        runs::{Cause, LastRuns, RunRecord},
    },
};

/// Number of runs that may wait to be written. More only pile up if the disk hangs.
const QUEUE: usize = 1024;
/// Maximum time that the last writes may take at the end.
const LAST: Duration = Duration::from_secs(2);

/// A run that has ended.
#[derive(Debug)]
pub struct Ended {
    pub store: Arc<dyn RunStore>,
    /// Its cause is the schedule, unless it was requested.
    pub run: RunRecord,
}

/// The writer of the history.
pub struct History {
    runs: Option<Sender<Ended>>,
    task: JoinSet<()>,
    events: Events,
}

impl History {
    pub fn new(events: Events) -> Self {
        let (runs, waiting) = mpsc::channel(QUEUE);
        let mut task = JoinSet::new();
        task.spawn(write(waiting, events.clone()));
        History { runs: Some(runs), task, events }
    }

    /// Adds a run to those that are written.
    pub fn add(&self, ended: Ended) {
        if let Some(runs) = &self.runs
            && let Err(error) = runs.try_send(ended)
        {
            let list_id = match &error {
                mpsc::error::TrySendError::Full(ended) | mpsc::error::TrySendError::Closed(ended) => {
                    ended.run.list_id.clone()
                }
            };
            let problem = "the disk is too slow".to_owned();
            self.events.emit(StoreEvent::RunUnrecorded { list_id, problem });
        }
    }

    /// Waits until the runs are written, but not for a disk that hangs.
    pub async fn close(&mut self) {
        self.runs = None;
        if timeout(LAST, self.task.join_next()).await.is_err() {
            self.events.emit(StoreEvent::HistoryIncomplete);
        }
    }
}

async fn write(mut waiting: Receiver<Ended>, events: Events) {
    // The last runs of each entry, so that its history is read only once.
    let mut known: HashMap<(String, String), LastRuns> = HashMap::new();
    while let Some(Ended { store, mut run }) = waiting.recv().await {
        let list_id = run.list_id.clone();
        let written = async {
            let last = match known.entry((list_id.clone(), run.entry.clone())) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(store.last_runs(&run.entry).await?),
            };
            if run.cause == Cause::Schedule {
                run.cause = cause(&run, last);
            }
            last.add(run.clone());
            store.record_run(run).await
        };
        if let Err(fault) = written.await {
            events.emit(StoreEvent::RunUnrecorded { list_id, problem: fault.to_string() });
        }
    }
}

/// Returns why a run that nobody requested began: by the schedule, as the first run of an entry, or since a person changed
/// its timestamp, which is then neither the one that the last run has reached nor the one with which the last run began.
fn cause(run: &RunRecord, before: &LastRuns) -> Cause {
    let Some(last) = &before.last else { return Cause::Schedule };
    let seconds = |time: Option<chrono::DateTime<chrono::Utc>>| time.map(|time| time.timestamp());
    let since = seconds(run.since);
    let reached =
        before.finished.as_ref().is_some_and(|finished| seconds(finished.latest_timestamp) == since);
    match reached || seconds(last.since) == since && last.latest_timestamp.is_none() {
        true => Cause::Schedule,
        false => Cause::HandEdit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::runs::{ResultKind, RunKind};
    use chrono::{DateTime, TimeDelta};

    fn run(since: Option<i64>, until: Option<i64>) -> RunRecord {
        let at = |minute: i64| DateTime::UNIX_EPOCH + TimeDelta::minutes(minute);
        RunRecord {
            list_id: "l".into(),
            entry: "a".into(),
            start: at(0),
            end: at(0),
            cause: Cause::Schedule,
            kind: RunKind::Sync,
            result: if until.is_some() { ResultKind::Finished } else { ResultKind::Failed },
            since: since.map(at),
            latest_timestamp: until.map(at),
            counts: None,
            error: None,
            reason: None,
            requests: 0,
            refusals: 0,
        }
    }

    #[test]
    fn a_timestamp_that_no_run_has_left_was_set_by_hand() {
        let finished = |since, until| {
            let run = run(since, Some(until));
            LastRuns { last: Some(run.clone()), finished: Some(run), with_changes: None }
        };
        let failed = |since, before: Option<i64>| LastRuns {
            last: Some(run(since, None)),
            finished: before.map(|until| run(None, Some(until))),
            with_changes: None,
        };
        for (since, before, expected, why) in [
            (None, LastRuns::default(), Cause::Schedule, "a new entry"),
            (Some(5), LastRuns::default(), Cause::Schedule, "an entry from before the history"),
            (Some(5), finished(None, 5), Cause::Schedule, "continues where the last run ended"),
            (None, finished(Some(1), 5), Cause::HandEdit, "a reload"),
            (None, finished(None, 5), Cause::HandEdit, "another reload"),
            (Some(3), finished(None, 5), Cause::HandEdit, "an earlier time"),
            (None, failed(None, None), Cause::Schedule, "the load is tried again"),
            (Some(5), failed(Some(5), Some(5)), Cause::Schedule, "the sync is tried again"),
            (None, failed(Some(5), Some(5)), Cause::HandEdit, "a reload after a failure"),
        ] {
            assert_eq!(cause(&run(since, None), &before), expected, "{why}");
        }
    }
}
