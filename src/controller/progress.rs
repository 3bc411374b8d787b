//! The progress of the active runs, as they report it in events. Pure, except that it takes the events from a queue.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};

use super::status::RunProgress;
use crate::base::{
    event::{Emitted, Event, RunEvent},
    events::{Events, Inbox},
};

/// Number of events that may wait until the next [`update`](Progress::update): each active run reports once a
/// second.
const QUEUE: usize = 1024;
/// Time over which the rate of a run is measured: long enough to even out pages and batches.
const RATE: TimeDelta = TimeDelta::seconds(30);

/// An entry, by its list and the name of its folder.
pub type Key = (String, String);

/// The progress of each run since it has begun.
pub struct Progress {
    inbox: Inbox,
    runs: HashMap<Key, Reports>,
}

#[derive(Default)]
struct Reports {
    /// The times of the last reports, with the records done by then.
    done: VecDeque<(DateTime<Utc>, u64)>,
    read: u64,
    total: u64,
    sent: u64,
}

impl Progress {
    /// Listens to the events of runs.
    pub fn new(events: &Events) -> Self {
        let wants = |event: &Event| {
            matches!(event, Event::Run(_, RunEvent::Started { .. } | RunEvent::Progress { .. }))
        };
        Progress { inbox: events.subscribe(QUEUE, wants), runs: HashMap::new() }
    }

    /// Takes in what was reported since the last call.
    pub fn update(&mut self) {
        let mut events: Vec<Arc<Emitted>> = vec![];
        // A lost report is made up for by the next one.
        self.inbox.take(&mut events);
        for emitted in events {
            let Event::Run(run, event) = &emitted.event else { continue };
            let reports = self.runs.entry((run.entry.list_id.clone(), run.folder.clone())).or_default();
            match event {
                RunEvent::Progress { seen, done, window, sent, .. } => {
                    reports.add(emitted.at, *done);
                    (reports.read, reports.total, reports.sent) = (*seen, *window, *sent);
                }
                _ => *reports = Reports::default(),
            }
        }
    }

    /// Forgets all runs but the active ones.
    pub fn keep(&mut self, active: &HashSet<Key>) {
        self.runs.retain(|run, _| active.contains(run));
    }

    /// Returns the progress of the entry's run; `None` before its first report.
    pub fn of(&self, list_id: &str, entry: &str) -> Option<RunProgress> {
        self.runs.get(&(list_id.to_owned(), entry.to_owned()))?.progress()
    }
}

impl Reports {
    fn add(&mut self, at: DateTime<Utc>, done: u64) {
        self.done.push_back((at, done));
        // The first report within the measured time, and the last one before it, are the beginning of the measurement.
        while self.done.len() > 2 && self.done[1].0 <= at - RATE {
            self.done.pop_front();
        }
    }

    fn progress(&self) -> Option<RunProgress> {
        let (first, last) = (self.done.front()?, self.done.back()?);
        let (done, total) = (last.1, self.total.max(self.read));
        let seconds = (last.0 - first.0).as_seconds_f64();
        let rate = (seconds >= 1.0 && last.1 > first.1).then(|| (last.1 - first.1) as f64 / seconds);
        Some(RunProgress {
            read: self.read,
            done,
            total,
            sent: self.sent,
            records_per_second: rate,
            seconds_left: rate.map(|rate| ((total - done) as f64 / rate).ceil() as u64),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{
        clock::Clock,
        event::{EntryName, RunName},
    };
    use std::sync::atomic::{AtomicI64, Ordering};

    struct Seconds(AtomicI64);

    impl Clock for Seconds {
        fn now(&self) -> DateTime<Utc> {
            DateTime::UNIX_EPOCH + TimeDelta::seconds(self.0.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn rate_and_time_left_follow_the_last_reports() {
        let clock = Arc::new(Seconds(AtomicI64::new(0)));
        let events = Events::new(clock.clone());
        let mut progress = Progress::new(&events);
        let run = events.of_run(RunName { entry: EntryName::alone("a"), folder: "f".into() });
        let report = |second: i64, seen: u64| {
            clock.0.store(second, Ordering::Relaxed);
            run.emit(RunEvent::Progress {
                seen: seen + 50,
                done: seen,
                window: 10_000,
                sent: seen / 2,
                regular: false,
            });
        };
        assert_eq!(progress.of("a", "f"), None);
        run.emit(RunEvent::Started { full: true });
        report(1, 0);
        progress.update();
        let first = progress.of("a", "f").unwrap();
        assert_eq!((first.read, first.done, first.total, first.records_per_second), (50, 0, 10_000, None));
        report(11, 1_000);
        progress.update();
        let second = progress.of("a", "f").unwrap();
        assert_eq!(
            (second.sent, second.records_per_second, second.seconds_left),
            (500, Some(100.0), Some(90))
        );
        // A run that becomes slower is measured by the last half minute.
        (12..=72).for_each(|at| report(at, 1_000 + 10 * (at as u64 - 11)));
        progress.update();
        let slow = progress.of("a", "f").unwrap();
        assert_eq!((slow.done, slow.records_per_second), (1_610, Some(10.0)));
        assert_eq!(progress.of("a", "other"), None);
        // The next run of the entry starts anew, and a list may grow.
        run.emit(RunEvent::Started { full: false });
        report(80, 10_001);
        progress.update();
        let next = progress.of("a", "f").unwrap();
        assert_eq!((next.read, next.total, next.records_per_second), (10_051, 10_051, None));
    }
}
