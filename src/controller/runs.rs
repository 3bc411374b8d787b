//! The runs: what follows their starts, their ends, and the writes of their results.

use std::sync::Arc;

use chrono::TimeDelta;

use super::{
    Mode, Poll,
    active::Active,
    input::{self, Action, Begun, Ran, RunEnd},
    lists::Opened,
    machine::Machine,
    record::{findings, record},
    saver::Finished,
    schedule::{RunId, due::Due},
    siblings::Destination,
    status::{RunOutcome, RunResult},
};
use crate::{
    base::{
        event::{EntryEvent, EntryName, Event, Overruled, PauseReason, RunEvent, Start},
        identity::DeliveryId,
    },
    engine::plan::{self, Ended},
    state::{Edit, Entry, RunStamp, identity::EntryId},
    store::{Lease, RunStore, hold::HoldReason, runs::RunKind},
};

/// Entries with a shorter `every` report runs without changes as routine.
const OFTEN: TimeDelta = TimeDelta::seconds(60);

impl Machine {
    /// Returns whether a run is routine: without changes (`nothing`), of an entry that runs more than once a minute,
    /// unless an operator asked for it: with `go --once`, a missing timestamp or a request.
    fn is_routine(&self, entry: &Entry, nothing: bool, is_requested: bool) -> bool {
        let asked = is_requested || self.mode == Mode::Once || entry.latest_timestamp.is_none();
        nothing && !asked && entry.every < OFTEN
    }

    /// Starts a run of the entry, which has the lease of its list: a full load, or an incremental sync if that is
    /// `due`. Reports the reason.
    pub(super) fn start(&mut self, entry: &Entry, due: Due, lease: Arc<dyn Lease>) {
        let is_early = matches!(self.due_by_itself(entry), Due::UpToDate { .. });
        let requests = self.calls.start(&entry.id);
        let (is_requested, waiters) = (requests.is_some(), requests.unwrap_or_default());
        let since = if let Due::Incremental { since } = due { Some(since) } else { None };
        let start = match since {
            None => Start::Full,
            Some(since) if is_early => Start::Requested { since },
            Some(since) => Start::Incremental { since, every: entry.every },
        };
        let routine = self.is_routine(entry, true, is_requested);
        self.emit(entry, EntryEvent::Due { start, routine });
        self.settle_once(entry.id.clone());
        let lists = self.lists();
        if let Some(opened) = lists.opened(entry)
            && (since.is_some() || !opened.counts_rows)
            && entry.start_offset > 0
        {
            let (offset, Opened { reads_all, counts_rows, .. }) = (entry.start_offset, opened);
            let (reads_all, counts_rows) = (*reads_all, *counts_rows);
            self.emit(entry, EntryEvent::OffsetIgnored { offset, reads_all, counts_rows });
        }
        let kind = if since.is_some() { RunKind::Sync } else { RunKind::FullLoad };
        self.last_run += 1;
        let (run, began) = (RunId(self.last_run), self.now.utc);
        self.slots.run(run, entry, Arc::clone(&lease));
        self.capacity.begin(run, kind);
        let entry = entry.clone();
        let active =
            Active { entry: entry.clone(), kind, began, traces: None, is_requested, waiters, finished: None };
        self.runs.insert(run, active);
        self.act(Action::Start(Box::new(input::Start { run, entry, since, lease })));
    }

    /// Records where a run that has begun delivers.
    pub(super) fn began(&mut self, run: RunId, Begun { destination, store, requests }: Begun) {
        if let Some(active) = self.runs.get_mut(&run) {
            active.traces = Some((store, requests));
            let mentions = &self.lists.clone().unwrap_or_default().snapshot.mentions;
            self.pauses.begin(run, (&active.entry, destination), mentions);
        }
    }

    /// Handles a run whose entry could not be opened. Rare, since it could be opened when the file was read.
    pub(super) fn not_opened(&mut self, run: RunId, why: &str) {
        self.capacity.end(run);
        self.failed = true;
        if let Some(id) = self.slots.free(run) {
            let event = EntryEvent::NotOpened { problem: why.to_owned() };
            self.events.emit(Event::Entry(EntryName::alone(&id.list_id), event));
            self.slots.rest(id, self.now.instant, None, why);
        }
        self.settle(run, RunOutcome::Failed { error: why.to_owned() });
        // Another entry may have its capacity and its list.
        self.consider(Poll::After);
    }

    /// Handles the end of a run. Its result, if it finished, goes to the saver.
    pub(super) fn ended(&mut self, run: RunId, end: RunEnd) {
        self.capacity.end(run);
        let (now, pause) = self.pauses.ended(run).map_or((None, None), |(now, pause)| (Some(now), pause));
        match end {
            RunEnd::Ran(ran) => self.ran(run, *ran, now, pause),
            // The panic hook has printed the cause.
            RunEnd::Panicked => {
                self.fail(run, "a bug in importer ended the run; please report the lines above", None);
            }
            // A run that was aborted is not a failure.
            RunEnd::Aborted => {
                if let Some((_, reason)) = self.give_back(run, pause).zip(pause) {
                    self.emit_run(run, RunEvent::CutAtPause { reason });
                }
                self.settle(run, RunOutcome::Stopped { reason: stopped_by(pause), counts: None });
            }
        }
    }

    fn ran(&mut self, run: RunId, ran: Ran, now: Option<EntryId>, pause: Option<PauseReason>) {
        let Ran {
            entry, store, retry, destination: Destination { delivery, .. }, delivery_now, hold, ..
        } = ran;
        if ran.has_ledger {
            self.ledgers.insert(delivery.clone());
        }
        match ran.ended {
            // A reference in the settings of the entry leads elsewhere now.
            Ok(Ended::Finished(outcome)) if delivery_now.is_some_and(|now| now != delivery) => {
                let counts = (outcome.counts, outcome.until);
                self.runs.entry(run).and_modify(|active| active.finished = Some(counts));
                self.redirected(run, &entry.id);
            }
            Ok(Ended::Finished(outcome)) => self.save(run, (entry, now), store, outcome),
            Ok(Ended::Stopped(counts)) => {
                self.give_back(run, pause);
                let (full, all) = (entry.latest_timestamp.is_none(), Box::new(counts.clone()));
                self.emit_run(run, RunEvent::Stopped { counts: all, reason: pause, full });
                self.settle(run, RunOutcome::Stopped { reason: stopped_by(pause), counts: Some(counts) });
            }
            Err(fault) if let Some(pause) = pause => {
                self.note_hold(delivery, hold);
                self.give_back(run, Some(pause));
                let (problem, full) = (fault.to_string(), entry.latest_timestamp.is_none());
                self.emit_run(run, RunEvent::FailedAtPause { reason: pause, problem, full });
                self.settle(run, RunOutcome::Failed { error: fault.to_string() });
            }
            Err(fault) => {
                self.note_hold(delivery, hold);
                self.fail(run, &fault.to_string(), (!retry).then_some(entry.every));
            }
        }
    }

    /// Records whether a delivery is on hold.
    pub(super) fn note_hold(&mut self, delivery: DeliveryId, hold: Option<HoldReason>) {
        match hold {
            Some(hold) => drop(self.holds.insert(delivery, hold)),
            None => drop(self.holds.remove(&delivery)),
        }
    }

    /// Frees the list of a run that did not finish. A paused entry may continue, with `go --once` too.
    fn give_back(&mut self, run: RunId, pause: Option<PauseReason>) -> Option<EntryId> {
        let id = self.slots.free(run);
        if let Some(id) = id.as_ref().filter(|_| pause.is_some()) {
            self.slots.unsettle(id);
        }
        id
    }

    /// Reports a failed run and delays the entry's next run by `rest`, or, with `None`, by the growing delay.
    fn fail(&mut self, run: RunId, why: &str, rest: Option<TimeDelta>) {
        self.failed = true;
        if let Some(id) = self.slots.free(run) {
            // With a fixed delay an entry may fail every few seconds: a repeated failure is routine.
            let often = rest.is_some_and(|rest| rest < OFTEN);
            let routine = often && !self.turns.is_news(&id, why, self.now.utc);
            self.emit_run(run, RunEvent::Failed { problem: why.to_owned(), routine });
            self.slots.rest(id, self.now.instant, rest.and_then(|rest| rest.to_std().ok()), why);
        }
        self.settle(run, RunOutcome::Failed { error: why.to_owned() });
    }

    /// Drops the result of a run: it belongs to a delivery that is no longer that of its entry, since a reference, or
    /// the source or the sink in the state file, was changed. The entry may run again, with `go --once` too.
    pub(super) fn redirected(&mut self, run: RunId, id: &EntryId) {
        self.report_overruled(id, Overruled::Redirected);
        self.slots.free(run);
        self.slots.recovered(id);
        self.slots.unsettle(id);
        self.settle_finished(run, Some(Overruled::Redirected.to_string()));
    }

    /// Reports the outcome of a finished run and passes its result to the saver. The list stays taken until
    /// the result is written or overruled by an edit. `now` is the entry as last read.
    fn save(
        &mut self,
        run: RunId,
        (entry, now): (Entry, Option<EntryId>),
        store: Arc<dyn RunStore>,
        outcome: plan::Outcome,
    ) {
        let is_requested = self.runs.get(&run).is_some_and(|active| active.is_requested);
        let routine = self.is_routine(&entry, outcome.counts.brought_nothing(), is_requested);
        let findings = findings(&entry, &outcome, store.as_ref());
        // An entry that runs more than once a minute reports unchanged findings only every ten minutes.
        let repeated = entry.every < OFTEN && {
            let found = format!("{findings:?} {}", outcome.counts.warnings());
            !self.turns.is_news(&entry.id, &found, self.now.utc)
        };
        let (elapsed, counts) = (outcome.elapsed, Box::new(outcome.counts.clone()));
        let findings = Box::new(findings);
        self.emit_run(run, RunEvent::Finished { elapsed, counts, findings, routine, repeated });
        let stamp = RunStamp {
            latest_timestamp: outcome.until,
            elapsed_seconds: outcome.elapsed.as_secs_f64(),
            total_updates: outcome.counts.sent,
        };
        // If the list has several entries, the edit finds only an unchanged one, so it keeps the id of the run's entry.
        let id = now.filter(|_| entry.alone).unwrap_or(entry.id);
        let edit = Edit { entry: id, alone: entry.alone, was: entry.was, stamp };
        let counts = (outcome.counts, outcome.until);
        self.runs.entry(run).and_modify(|active| active.finished = Some(counts));
        self.saver.add(Finished { run, edit, store, routine });
    }

    /// Settles a run that has finished; `not_written` says why the state file does not have its result.
    pub(super) fn settle_finished(&mut self, run: RunId, not_written: Option<String>) {
        let finished = self.runs.get_mut(&run).and_then(|active| active.finished.take());
        if let Some((counts, latest_timestamp)) = finished {
            self.settle(run, RunOutcome::Finished { counts, latest_timestamp, not_written });
        }
    }

    /// Records the final outcome of a run, and answers the requests that wait for it.
    pub(super) fn settle(&mut self, run: RunId, outcome: RunOutcome) {
        let Some(active) = self.runs.remove(&run) else { return };
        match record(&active, &outcome, self.now.utc) {
            // Its line is written when it is known whether the state file has the result.
            Some(ended) if self.saver.is_waiting(run) => drop(self.unrecorded.insert(run, ended)),
            Some(ended) => self.act(Action::Record(Box::new(ended))),
            None => {}
        }
        let Active { entry, kind, began, waiters, .. } = active;
        let result = RunResult {
            list_id: entry.id.list_id,
            entry: entry.folder,
            kind,
            start: began,
            end: self.now.utc,
            outcome,
        };
        self.results.add(run, result.clone());
        let replies = self.calls.ended(waiters, result);
        replies.into_iter().for_each(|reply| self.act(Action::Reply(reply)));
    }
}

/// Says why a run was stopped.
fn stopped_by(pause: Option<PauseReason>) -> String {
    pause.map_or("importer was stopped".to_owned(), |reason| reason.to_string())
}
