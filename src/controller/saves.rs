//! Handles the ends of writes of results.

use super::{
    Mode, Poll,
    input::{Action, Written},
    machine::Machine,
    saver::Finished,
};
use crate::{
    base::{
        event::{EntryEvent, EntryName, Event, FileEvent, Overruled},
        fault::Fault,
    },
    state::{
        Edit,
        document::{self, Outcome},
        identity::EntryId,
    },
};

impl Machine {
    /// Handles the end of a write of results. Those that could not be written are written by a later check. With
    /// [`Mode::Once`] they stay in the journal, and the fault ends the controller.
    pub(super) fn written(&mut self, written: Result<Written, Fault>) {
        let results = self.saver.written(written.is_ok());
        let Written { lists, outcomes } = match written {
            Ok(written) => written,
            Err(fault) => {
                self.keep(results, &fault);
                match self.mode {
                    Mode::Once => self.give_up(fault),
                    Mode::Loop => self.consider(Poll::After),
                }
                return;
            }
        };
        self.take(lists);
        self.last_write = Some(self.now.instant);
        let mut failed = None;
        for (finished, outcome) in results.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Stamped => self.wrote(&finished, None),
                Outcome::Overruled(why) => self.wrote(&finished, Some(why)),
                Outcome::Failed(finding) => {
                    let fault = finding.fault(&self.path);
                    self.keep(vec![finished], &fault);
                    failed = failed.or(Some(fault));
                }
            }
        }
        if let Some(fault) = failed.filter(|_| self.mode == Mode::Once) {
            self.give_up(fault);
        }
        self.consider(Poll::After);
    }

    /// Handles an edit that was made or overruled.
    fn wrote(&mut self, finished: &Finished, overruled: Option<document::Overruled>) {
        let Edit { entry: id, stamp, .. } = &finished.edit;
        let overruled = match overruled {
            None => {
                let (latest_timestamp, routine) = (stamp.latest_timestamp, finished.routine);
                let event = EntryEvent::Written { latest_timestamp, routine };
                self.events.emit(Event::Entry(EntryName::alone(&id.list_id), event));
                if let Some(entry) = self.lists().entry(id) {
                    self.slots.written(entry);
                }
                None
            }
            Some(document::Overruled::ByHand) => Some(Overruled::ByHand),
            Some(document::Overruled::NoSuchEntry) => Some(Overruled::Gone),
            Some(document::Overruled::Redirected) => return self.redirected(finished.run, id),
        };
        if let Some(why) = overruled {
            self.report_overruled(id, why);
        }
        let overruled = overruled.map(|why| why.to_string());
        self.slots.free(finished.run);
        self.slots.recovered(id);
        self.turns.ended(id, stamp.latest_timestamp, self.now.utc);
        self.results.written(finished.run, &id.list_id, overruled.as_ref());
        if let Some(mut ended) = self.unrecorded.remove(&finished.run) {
            ended.run.reason.clone_from(&overruled);
            self.act(Action::Record(Box::new(ended)));
        }
        self.settle_finished(finished.run, overruled);
    }

    /// Reports why the result of a run is not written.
    pub(super) fn report_overruled(&self, id: &EntryId, why: Overruled) {
        self.events.emit(Event::Entry(EntryName::alone(&id.list_id), EntryEvent::Overruled(why)));
    }

    /// Keeps results that could not be written.
    fn keep(&mut self, results: Vec<Finished>, fault: &Fault) {
        let lists = results.iter().map(|finished| finished.edit.entry.list_id.clone()).collect();
        self.events.emit(FileEvent::ResultsUnwritten { lists, problem: fault.to_string() });
        self.events.emit(FileEvent::ResultsKept { results: results.len() });
        self.failed = true;
        for finished in results {
            let run = finished.run;
            self.saver.keep(finished);
            self.settle_finished(run, Some(fault.to_string()));
        }
    }
}
