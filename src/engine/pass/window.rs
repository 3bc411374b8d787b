//! The windows of a pass: their end, and where they are cut.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use futures::future::BoxFuture;

use super::{Context, Pass, reader::Answer};
use crate::{
    base::{
        fault::Fault,
        window::{Span, Sweep, Window},
    },
    engine::clocks::Clocks,
};

/// How far the end of a window may lie behind the source's clock, beyond the time since the pass began: the clock is reported in
/// whole seconds, and the current one is still filling.
const BEHIND: TimeDelta = TimeDelta::seconds(5);

/// Finds the time at which to cut a window in two, in the middle between its oldest row and its end, and the number of rows up to
/// then.
pub(super) fn cut(
    context: Context<'_>,
    window: Window,
    index: usize,
    generation: u32,
) -> BoxFuture<'_, (usize, u32, Answer)> {
    Box::pin(async move {
        let find = async {
            let source = context.ends.rows()?;
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
