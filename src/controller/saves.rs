//! Handles the ends of writes of results.

use log::{error, info, log, warn};

use super::{Mode, Poll, input::Written, machine::Machine, report, saver::Finished};
use crate::{
    base::fault::Fault,
    state::{
        Edit,
        document::{Outcome, Overruled},
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
    fn wrote(&mut self, finished: &Finished, overruled: Option<Overruled>) {
        let Edit { entry: id, stamp, .. } = &finished.edit;
        let overruled = match overruled {
            None => {
                log!(finished.level, "{}", report::written(&finished.edit));
                if let Some(entry) = self.lists().entry(id) {
                    self.slots.written(entry);
                }
                None
            }
            Some(Overruled::ByHand) => Some(report::overruled_by_hand(&id.list_id)),
            Some(Overruled::NoSuchEntry) => Some(report::entry_gone(&id.list_id)),
            Some(Overruled::Redirected) => return self.redirected(finished.run, id),
        };
        if let Some(why) = &overruled {
            warn!("{why}");
        }
        self.slots.free(finished.run);
        self.slots.recovered(id);
        self.turns.ended(id, stamp.latest_timestamp, self.now.utc);
        self.results.written(finished.run, &id.list_id, overruled.as_ref());
        self.settle_finished(finished.run, overruled);
    }

    /// Keeps results that could not be written.
    fn keep(&mut self, results: Vec<Finished>, fault: &Fault) {
        let lists = results.iter().map(|finished| finished.edit.entry.list_id.as_str());
        error!("{}: {fault}", report::lists(lists));
        info!("{}", report::kept(results.len()));
        self.failed = true;
        for finished in results {
            self.settle_finished(finished.run, Some(fault.to_string()));
            self.saver.keep(finished);
        }
    }
}
