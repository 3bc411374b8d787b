//! The windows of a pass: their end, and where they are cut.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use futures::future::BoxFuture;

use super::{Pass, reader::Answer};
use crate::{
    base::{
        fault::Fault,
        window::{Span, Sweep, Window},
    },
    engine::clocks::Clocks,
};

/// How far the end of a window may lie behind the source's clock, beyond the time since the pass began: the clock is told in
/// whole seconds, and the current one is still filling.
const BEHIND: TimeDelta = TimeDelta::seconds(5);

impl<'a> Pass<'a> {
    /// Where to cut a part in two: in the middle of the time since its oldest row, and how many rows stand below.
    pub(super) fn cut(&self, index: usize, generation: u32) -> BoxFuture<'a, (usize, u32, Answer)> {
        let (ends, window) = (self.ends, self.sweeps[index].progress.part);
        Box::pin(async move {
            let find = async {
                let source = ends.rows()?;
                let first = source.read(&window, Span { offset: 0, count: 1 }).await?;
                let oldest = first.records.first().and_then(|record| record.changed);
                let (Some(oldest), Some(until)) = (oldest, window.until) else { return Ok(None) };
                let middle = (oldest + (until - oldest) / 2).trunc_subsecs(0);
                if middle >= until || window.since.is_some_and(|since| middle <= since) {
                    return Ok(None);
                }
                let older = Window { until: Some(middle), ..window };
                Ok(Some((middle, source.read(&older, Span { offset: 0, count: 1 }).await?.total)))
            };
            (index, generation, Answer::Cut(find.await))
        })
    }

    /// Compares the window's end with both clocks at the first answer. Opens the windows anew and returns false if the expected end
    /// was wrong: a window must end neither where changes still come in nor long before now.
    ///
    /// For a chain, only the difference of the clocks counts: each of its runs reads everything.
    ///
    /// # Errors
    ///
    /// See [`Clocks::checked_end`] and, for a pass that an earlier run has begun, [`Clocks::is_over`].
    pub(super) fn confirm(&mut self, at: DateTime<Utc>) -> Result<bool, Fault> {
        if self.compared {
            return Ok(true);
        }
        self.compared = true;
        let (clocks, chained) = (Clocks { source: at, ours: self.ends.clock.now() }, self.ends.rereads());
        if clocks.differ() {
            self.noticed.apart.get_or_insert(clocks);
        }
        if self.confirmed {
            return if chained { Ok(true) } else { clocks.is_over(self.until()).map(|()| true) };
        }
        let start = self.before.or(self.plan.since).filter(|_| !chained);
        let newest = clocks.checked_end(start, self.noticed.newest)?;
        self.confirmed = true;
        let took = TimeDelta::from_std(self.start.elapsed()).unwrap_or_default();
        let right = |until| until <= newest && newest - until <= BEHIND + took;
        if self.sweeps.iter().filter_map(|sweep| sweep.window.until).all(right) {
            return Ok(true);
        }
        self.sweeps.iter_mut().for_each(|sweep| sweep.restart(newest));
        self.kept.clear();
        self.checkpoint.until(newest);
        Ok(false)
    }

    /// From when on the archived still have to be looked at, if this pass does not come to its end.
    pub(super) fn archived_since(&self) -> DateTime<Utc> {
        let archived = self.sweeps.iter().find(|sweep| sweep.window.sweep == Sweep::Archived);
        archived.map_or(self.until(), |sweep| sweep.window.since.unwrap_or(DateTime::UNIX_EPOCH))
    }
}
