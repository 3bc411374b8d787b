//! The windows of a pass: their end, and where they are cut.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Context, Pass};
use crate::{
    base::{fault::Fault, window::Sweep},
    engine::clocks::Clocks,
};

/// How far the end of a window may lie behind the source's clock, beyond the time since the pass began: the clock is reported in
/// whole seconds, and the current one is still filling.
const BEHIND: TimeDelta = TimeDelta::seconds(5);

impl Pass<'_> {
    /// Compares the window's end with both clocks at the first answer. Opens the windows anew and returns false if the expected end
    /// was wrong: a window must end neither where changes still come in nor long before now.
    ///
    /// For a chain, only the difference of the clocks counts: each of its runs reads everything.
    ///
    /// # Errors
    ///
    /// See [`Clocks::checked_end`] and, for a pass that an earlier run has begun, [`Clocks::is_over`].
    pub(super) fn confirm(&mut self, at: DateTime<Utc>) -> Result<bool, Fault> {
        if self.reader.compared {
            return Ok(true);
        }
        self.reader.compared = true;
        let Context { ends, plan } = self.context;
        let (clocks, chained) = (Clocks { source: at, ours: ends.clock.now() }, ends.rereads());
        if clocks.differ() {
            self.intake.noticed.apart.get_or_insert(clocks);
        }
        if self.reader.confirmed {
            return if chained { Ok(true) } else { clocks.is_over(self.reader.until()).map(|()| true) };
        }
        let start = self.reader.before.or(plan.since).filter(|_| !chained);
        let newest = clocks.checked_end(start, self.intake.noticed.newest)?;
        self.reader.confirmed = true;
        let took = TimeDelta::from_std(self.start.elapsed()).unwrap_or_default();
        let right = |until| until <= newest && newest - until <= BEHIND + took;
        if self.reader.listings.iter().filter_map(|listing| listing.window.until).all(right) {
            return Ok(true);
        }
        self.reader.restart(newest);
        self.outbox.end_at(newest);
        Ok(false)
    }

    /// From when on the archived listing still has to be read if this pass does not come to its end.
    pub(super) fn archived_since(&self) -> DateTime<Utc> {
        let archived = self.reader.listings.iter().find(|listing| listing.window.sweep == Sweep::Archived);
        archived.map_or(self.reader.until(), |listing| listing.window.since.unwrap_or(DateTime::UNIX_EPOCH))
    }
}
