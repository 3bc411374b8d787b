//! Sets the end of a pass's windows, and checks it against the clocks.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Context, Pass};
use crate::{
    base::{fault::Fault, window::Listing},
    engine::clocks::Clocks,
};

/// How far the end of a window may lag behind the source's clock, in addition to the time since the pass
/// began. The clock has whole seconds, and the current second is still filling.
const BEHIND: TimeDelta = TimeDelta::seconds(5);

impl Pass<'_> {
    /// Compares the end of the windows with both clocks at the first answer. If the expected end was wrong,
    /// restarts the listings with a new end and returns false: a window must neither end where changes still
    /// arrive, nor long before now.
    ///
    /// If the source does not list changes, only the difference of the clocks matters. A stream is read by
    /// position, so a new end restarts nothing.
    ///
    /// # Errors
    ///
    /// See [`Clocks::checked_end`] and, for a pass that an earlier run began, [`Clocks::is_over`].
    pub(super) fn confirm(&mut self, at: DateTime<Utc>) -> Result<bool, Fault> {
        if self.reader.compared {
            return Ok(true);
        }
        self.reader.compared = true;
        let Context { pipeline, plan } = self.context;
        let (clocks, changes) = (Clocks { source: at, ours: pipeline.clock.now() }, pipeline.reads_changes());
        if clocks.differ() {
            self.intake.noticed.apart.get_or_insert(clocks);
        }
        if self.reader.confirmed {
            return if changes { clocks.is_over(self.reader.until()).map(|()| true) } else { Ok(true) };
        }
        let start = self.reader.before.or(plan.since).filter(|_| changes);
        let newest = clocks.checked_end(start, self.intake.noticed.newest)?;
        self.reader.confirmed = true;
        let took = TimeDelta::from_std(self.start.elapsed()).unwrap_or_default();
        let right = |until| until <= newest && newest - until <= BEHIND + took;
        if self.reader.listings.iter().filter_map(|listing| listing.window.until).all(right) {
            return Ok(true);
        }
        self.dispatch.end_at(newest);
        if pipeline.keeps_positions() {
            self.reader.end_at(newest);
            return Ok(true);
        }
        self.reader.restart(newest);
        Ok(false)
    }

    /// Returns the time from which the archived listing still has to be read if this pass does not finish.
    pub(super) fn archived_since(&self) -> DateTime<Utc> {
        let archived =
            self.reader.listings.iter().find(|listing| listing.window.listing == Listing::Archived);
        archived.map_or(self.reader.until(), |listing| listing.window.since.unwrap_or(DateTime::UNIX_EPOCH))
    }
}
