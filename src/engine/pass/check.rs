//! Checks a pass after all its pages were stitched: reads the boundary seconds by themselves, and compares
//! the records with the source's own counts.

use std::collections::HashSet;

use chrono::TimeDelta;
use tokio::time::sleep;

use super::{
    Pass,
    requests::{self, recall},
};
use crate::{
    base::{
        event::RunEvent,
        fault::Fault,
        record::Record,
        time,
        window::{Listing, Page, Span, Window},
    },
    engine::{
        coverage::Rows,
        paging::{
            offset::LAG,
            second::{SecondRows, Seconds, groups},
        },
        received::Received,
    },
    store::progress::MOST,
};

/// Maximum number of readings of a second that does not fit into one answer.
const READINGS: u32 = 30;
/// Readings in a row without a new row after which a second counts as complete, if the source's totals are
/// wrong. A server that shuffles its rows may hide one of them several times by chance.
const QUIET: u32 = 8;
/// Maximum number of comparisons of the counts. Members that come and go between two requests, and answers
/// from stale snapshots, can make the counts differ.
const COUNTS: u32 = 8;

/// Whether everything that the source counts is explained; if not, the reason.
pub type Explained = Result<(), String>;

/// Result of reading a group of seconds by itself.
enum Looked {
    Whole,
    /// One answer can't contain all of its rows.
    TooBig,
    Unexplained(String),
}

impl Pass<'_> {
    /// Reads the boundary seconds by themselves, and compares the records with the source's counts. Called
    /// while no request of the walk is in flight. Queues the records that it finds.
    ///
    /// Returns `Ok(Err(reason))` if records are missing.
    ///
    /// # Errors
    ///
    /// Returns `Err` only if a request fails or the delivery cache can't be read.
    pub async fn check(&mut self) -> Result<Explained, Fault> {
        if !self.context.pipeline.counts_rows() {
            return Ok(self.totals());
        }
        for index in 0..self.reader.listings.len() {
            let mut groups = groups(self.reader.listings[index].cut_seconds());
            while let Some(group) = groups.pop() {
                match self.look_at(index, group).await? {
                    Looked::Whole => {}
                    Looked::TooBig => groups.extend(group.halves()),
                    Looked::Unexplained(why) => return Ok(Err(why)),
                }
            }
            if let Some(why) = self.rows(index).await? {
                return Ok(Err(why));
            }
        }
        self.without_time().await
    }

    /// Compares the records with the totals of the pages, if the source has reported any. No request can count
    /// the rows once more.
    fn totals(&self) -> Explained {
        let why = (0..self.reader.listings.len()).find_map(|index| self.rows_of(index).unexplained(0, 0));
        why.map_or(Ok(()), Err)
    }

    async fn late_records(&mut self, index: usize, records: Vec<Record>) -> Result<(), Fault> {
        self.intake.recalled(recall(self.context, records.iter()).await?);
        self.take_late(index, records);
        Ok(())
    }

    /// Processes records of boundary seconds. What is known of them was recalled before.
    pub(super) fn take_late(&mut self, index: usize, records: Vec<Record>) {
        self.intake.note_repeats(index, records.iter().map(|record| record.key.digest()));
        let window = self.reader.listings[index].window;
        let records = records.into_iter().map(Received::from);
        self.intake.records(index, window, records, &mut self.dispatch);
    }

    async fn read(&self, window: Window, span: Span) -> Result<Page, Fault> {
        self.context.pipeline.rows()?.read(&window, span).await
    }

    async fn total(&self, window: Window) -> Result<u64, Fault> {
        Ok(self.read(window, Span { offset: 0, count: 1 }).await?.total)
    }

    /// Returns the number of rows of a window. It is the number of listed rows if one answer contains them
    /// all, since a total may be wrong, and the total otherwise.
    async fn listed(&self, window: Window) -> Result<u64, Fault> {
        let count = self.server().cap;
        let page = self.read(window, Span { offset: 0, count }).await?;
        Ok(if page.records.len() < count { page.records.len() as u64 } else { page.total })
    }

    /// Reads boundary seconds by themselves. No source promises an order within a second, so some of its rows
    /// may have been in neither page. A single answer is a consistent snapshot.
    async fn look_at(&mut self, index: usize, group: Seconds) -> Result<Looked, Fault> {
        let Some(window) = group.window(self.reader.listings[index].window) else { return Ok(Looked::Whole) };
        let count = self.server().cap;
        let page = match self.read(window, Span { offset: 0, count }).await {
            Err(Fault::TooLarge(_)) => None,
            page => Some(page?),
        };
        let whole = page.as_ref().is_some_and(|page| self.is_whole(page, count));
        if !whole && group.first < group.last {
            return Ok(Looked::TooBig);
        }
        let ordered = !whole && self.reader.listings[index].keeps_order(group.first);
        if let Some(page) = page {
            self.late_records(index, page.records).await?;
        }
        if whole || ordered { Ok(Looked::Whole) } else { self.read_again_and_again(index, window).await }
    }

    /// Returns whether an answer to a request for `count` rows contains all rows of its window.
    pub(super) fn is_whole(&self, page: &Page, count: usize) -> bool {
        let rows = page.records.len();
        let counted = !self.totals_wrong() && rows as u64 >= page.total;
        rows == 0 || counted || (rows < count && rows < self.server().proven)
    }

    /// Reads a second that does not fit into one answer until all of its rows were seen; see [`SecondRows`].
    async fn read_again_and_again(&mut self, index: usize, window: Window) -> Result<Looked, Fault> {
        let counted = !self.totals_wrong();
        let (mut count, mut rows, mut quiet) = (self.server().cap, SecondRows::default(), 0);
        for _ in 0..READINGS {
            let (mut offset, known) = (0, rows.shown());
            loop {
                let page = match self.read(window, Span { offset, count }).await {
                    Err(Fault::TooLarge(_)) if count > 1 => {
                        count = count.div_ceil(2);
                        continue;
                    }
                    page => page?,
                };
                // All rows that the second contained at first have left.
                if page.records.is_empty() && offset == 0 {
                    return Ok(Looked::Whole);
                }
                let (read, total, whole) =
                    (page.records.len() as u64, page.total, self.is_whole(&page, count));
                rows.answered(page.records.iter().map(|record| record.key.digest()), total);
                self.late_records(index, page.records).await?;
                if counted && rows.is_complete() {
                    return Ok(Looked::Whole);
                }
                offset += read;
                // A listing that starts over at its end would never end either.
                let turns = offset > 2 * rows.shown() as u64 + 10 * MOST as u64;
                let past = counted && offset >= total;
                if read == 0 || past || turns || whole {
                    break;
                }
            }
            // Without a usable total, several readings without a new record have to suffice.
            quiet = if known > 0 && rows.shown() == known { quiet + 1 } else { 0 };
            if !counted && quiet == QUIET {
                return Ok(Looked::Whole);
            }
        }
        let (at, seen) = (window.until.map(time::log_format).unwrap_or_default(), rows.shown());
        let why = format!("the source listed only {seen} of the records last changed at {at}");
        Ok(Looked::Unexplained(why))
    }

    /// Returns the reason if the source counts members that nothing explains. Its count may come from a stale
    /// snapshot, with members that have left since. It is therefore requested several times, the last time
    /// after [`LAG`], when every snapshot is newer than the rows read.
    async fn rows(&mut self, index: usize) -> Result<Option<String>, Fault> {
        self.read_at_once(index).await?;
        let (window, mut rows) = (self.reader.listings[index].window, self.rows_of(index));
        let Some(until) = window.until.filter(|_| rows.suspicious()) else { return Ok(None) };
        // The next window reads changes that become visible later than this.
        let lag = until - TimeDelta::from_std(LAG).unwrap_or_default().min(self.context.plan.overlap);
        let since = window.since.map_or(lag, |since| since.max(lag));
        let late_seen = self.intake.seen[index].after(since.timestamp());
        let mut why = None;
        for attempt in 0..=COUNTS {
            if attempt == COUNTS {
                sleep(LAG).await;
            }
            rows.held = rows.held.min(self.total(window).await?);
            let late = self.listed(Window { since: Some(since), ..window }).await?;
            why = rows.unexplained(late, late_seen);
            let details = format!("{rows:?}, {late} in the last seconds: {why:?}");
            self.context.plan.events.emit(RunEvent::BoundaryRead { details });
            self.reader.listings[index].checked = Some((rows.held, rows.unseen));
            if why.is_none() {
                break;
            }
        }
        Ok(why)
    }

    /// Reads a listing again in one answer, if it fits into one and rows seem to be missing. Rows that share
    /// a key may have been in different pages; only a single answer distinguishes them from one row that
    /// moved.
    async fn read_at_once(&mut self, index: usize) -> Result<(), Fault> {
        let (rows, count) = (self.rows_of(index), self.server().cap);
        let Rows { held, .. } = rows;
        if rows.missing() == 0 || held > count as u64 {
            return Ok(());
        }
        match self.read(self.reader.listings[index].window, Span { offset: 0, count }).await {
            Err(Fault::TooLarge(_)) => Ok(()),
            page => self.late_records(index, page?.records).await,
        }
    }

    /// Compares the count without bounds with the count of all times, in a full load: members without a time
    /// are in no window. If the counts differ, reads those members from the listing without bounds.
    async fn without_time(&mut self) -> Result<Explained, Fault> {
        if !self.first_of_full || self.totals_wrong() {
            return Ok(Ok(()));
        }
        let all = Window { listing: Listing::Listed, since: None, until: None };
        // The list may have changed since the early counts, so they are not compared with later ones.
        if self.sizes.take().is_some_and(|early| early.all <= early.timed) {
            return Ok(Ok(()));
        }
        let (mut fewest, mut most) = (u64::MAX, 0);
        for _ in 0..COUNTS {
            let sizes = requests::sizes(self.context).await?;
            (fewest, most) = (fewest.min(sizes.all), most.max(sizes.timed));
            if fewest <= most {
                return Ok(Ok(()));
            }
        }
        let without = fewest - most;
        let found = self.untimed(all, fewest, without).await?;
        let shown = match found {
            found if found >= without => return Ok(Ok(())),
            0 => "none".to_owned(),
            found => format!("only {found}"),
        };
        Ok(Err(format!(
            "{without} records have no time of their last change, and the listing shows {shown} of them"
        )))
    }

    /// Rejects the records without a time, which a sort by time puts at one end of a listing. Stops once
    /// `without` of them were found, and returns their number.
    async fn untimed(&mut self, all: Window, total: u64, without: u64) -> Result<u64, Fault> {
        let mut count = self.context.plan.items_per_request.clamp(1, self.server().cap);
        let mut found = HashSet::new();
        for from_start in [true, false] {
            let mut passed = 0;
            while passed < total && (found.len() as u64) < without {
                let rows = (total - passed).min(count as u64);
                let offset = if from_start { passed } else { total - passed - rows };
                let page = match self.read(all, Span { offset, count: rows as usize }).await {
                    Err(Fault::TooLarge(_)) if count > 1 => {
                        count = count.div_ceil(2);
                        continue;
                    }
                    page => page?,
                };
                for record in page.records.iter().filter(|record| record.changed.is_none()) {
                    self.intake.untimed(0, record, &mut self.dispatch);
                    found.insert(record.key.digest());
                }
                if page.records.is_empty() || page.records.iter().any(|record| record.changed.is_some()) {
                    break;
                }
                passed += page.records.len() as u64;
            }
        }
        Ok(found.len() as u64)
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
