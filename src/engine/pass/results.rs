//! The results of a pass: for its guard, for the log, and for the run once the pass is over.

use super::{Pass, guard::Size};
use crate::{
    base::{counts::Counts, event::RunEvent},
    engine::{clocks::Noticed, coverage::Rows, paging::listing::ListingProgress, windows::Done},
    store::{position::ShardPosition, progress::Server, seen::Seen},
};

impl Pass<'_> {
    /// Returns the size of the pass, as the guard counts it.
    pub(super) fn size(&self) -> Size {
        let rows = |(index, listing): (usize, &ListingProgress)| {
            let seen = self.intake.seen_of(index);
            listing.rows(seen).window.max(seen as u64)
        };
        Size {
            rows: self.reader.listings.iter().enumerate().map(rows).sum(),
            archived: self.reader.archived(),
            seen: self.intake.seen_in_all() as u64,
            totals_wrong: self.reader.totals_wrong(),
        }
    }

    /// Returns the results of the run so far.
    pub fn done(&self) -> Done {
        Done {
            until: self.reader.until(),
            counts: self.counts(),
            seconds: self.seconds(),
            big: self.reader.listings.iter().any(|listing| !listing.held_all_at_once()),
            server: self.server(),
            totals_wrong: self.totals_wrong(),
            newest: self.intake.noticed.newest,
        }
    }

    /// Returns the counts of the whole run so far.
    pub fn counts(&self) -> Counts {
        let mut counts = self.intake.counts.clone();
        (0..self.reader.listings.len()).for_each(|index| self.rows_of(index).add_to(&mut counts));
        counts.totals_wrong |= self.totals_wrong();
        counts.passes += 1;
        counts
    }

    /// Returns the rows of a listing, as the source counted them and as they were read.
    pub(super) fn rows_of(&self, index: usize) -> Rows {
        self.intake.rows(index, &self.reader.listings[index])
    }

    /// Returns the records of each listing and their fates.
    pub fn seen(&self) -> &[Seen] {
        &self.intake.seen
    }

    /// Returns the shards of a stream, each with the position at which the next run continues.
    pub fn positions(&self) -> Vec<ShardPosition> {
        self.reader.listings.iter().filter_map(ListingProgress::shard_position).collect()
    }

    pub fn noticed(&self) -> &Noticed {
        &self.intake.noticed
    }

    /// Returns whether the pass was stopped because most of its records were rejected.
    pub fn rejects_most(&self) -> bool {
        self.rejects_most
    }

    /// Returns the number of opt-outs in this pass.
    pub fn opt_outs(&self) -> u64 {
        self.guard.opt_outs(&self.intake.counts)
    }

    /// Returns whether a record was read, and accepted or skipped in its last version.
    pub fn settled_well(&self, key: u128) -> bool {
        self.intake.settled_well(key)
    }

    /// Returns whether a record was read in this pass.
    pub fn has_met(&self, key: u128) -> bool {
        self.intake.has_met(key)
    }

    /// Returns whether an answer had more rows than its own total. The source's totals are unreliable then.
    pub fn totals_wrong(&self) -> bool {
        self.reader.totals_wrong()
    }

    /// Returns the limits that the source's answers have revealed.
    pub fn server(&self) -> Server {
        self.reader.server
    }

    /// Returns the seconds that the run has taken so far, including interrupted parts.
    pub(super) fn seconds(&self) -> f64 {
        self.seconds + self.start.elapsed().as_secs_f64()
    }

    /// Reports the progress; `regular`: at the interval at which people want to read it.
    pub(super) fn report_progress(&self, regular: bool) {
        let size = |(index, listing): (usize, &ListingProgress)| listing.size(self.intake.seen_of(index));
        let window: u64 = self.reader.listings.iter().enumerate().map(size).sum();
        let (seen, sent) = (self.intake.seen_in_all() as u64, self.intake.counts.sent);
        let done = seen.saturating_sub(self.dispatch.pending() as u64);
        self.context.plan.events.emit(RunEvent::Progress { seen, done, window, sent, regular });
    }
}
