//! What is looked at when all pages of a pass have joined: seconds that lie across pages, and the source's own counts.

use chrono::{DateTime, TimeDelta};
use log::debug;

use super::Pass;
use crate::{
    base::{
        fault::Fault,
        time,
        window::{Page, Span, Sweep, Window},
    },
    sync::{
        sweep::Sweeping,
        walk::{LAG, MOST},
    },
};

/// How often a second that is too big for one answer is read, at most.
const READINGS: u32 = 10;
/// How often the counts are compared: members who come and go between two of them can make them differ.
const COUNTS: u32 = 3;

/// Everything that the source counts is explained, or not: then why.
pub type Explained = Result<(), String>;

impl Pass<'_> {
    /// Reads what the walk could not be sure of, and compares what was seen with what the source counts. Nothing is under way
    /// meanwhile; records that turn up are queued.
    pub async fn check(&mut self) -> Result<Explained, Fault> {
        for index in 0..self.sweeps.len() {
            let cut: Vec<i64> = self.sweeps[index].cut.drain().collect();
            for second in cut {
                if let Err(why) = self.second(index, second).await? {
                    return Ok(Err(why));
                }
            }
            if let Some(why) = self.rows(index).await? {
                return Ok(Err(why));
            }
        }
        self.without_time().await
    }

    async fn read(&self, window: Window, span: Span) -> Result<Page, Fault> {
        self.ends.source.read(&window, span).await
    }

    async fn total(&self, window: Window) -> Result<u64, Fault> {
        Ok(self.read(window, Span { offset: 0, count: 1 }).await?.total)
    }

    /// Reads a second of changes that lies across pages: within it nobody promises an order, so that rows may have been in
    /// neither. One answer is a consistent picture; a second that is bigger is read until all that it counts were seen.
    async fn second(&mut self, index: usize, second: i64) -> Result<Explained, Fault> {
        let Some(until) = DateTime::from_timestamp(second, 0) else { return Ok(Ok(())) };
        let since = Some(until - TimeDelta::seconds(1));
        let window = Window { since, until: Some(until), ..self.sweeps[index].window };
        let mut seen = 0;
        for _ in 0..READINGS {
            let mut offset = 0;
            loop {
                let page = self.read(window, Span { offset, count: MOST }).await?;
                let rows = page.records.len() as u64;
                // Rows that `start_offset` leaves out may be of this second; to send them does no harm.
                page.records.iter().for_each(|record| self.record(index, record));
                if offset == 0 && rows >= page.total {
                    return Ok(Ok(()));
                }
                offset += rows;
                seen = self.sweeps[index].seen.in_second(second);
                if rows == 0 || offset >= page.total {
                    if seen >= page.total {
                        return Ok(Ok(()));
                    }
                    break;
                }
            }
        }
        let at = time::spoken(until);
        Ok(Err(format!("of the members last changed at {at} the source listed only {seen} different ones")))
    }

    async fn rows(&self, index: usize) -> Result<Option<String>, Fault> {
        let Sweeping { window, seen, progress, .. } = &self.sweeps[index];
        let mut rows = self.sweeps[index].rows();
        let Some(until) = window.until.filter(|_| rows.suspicious()) else { return Ok(None) };
        // More may have left since the last page was read.
        rows.held = rows.held.min(self.total(*window).await?.saturating_sub(progress.left_out));
        let lag = until - TimeDelta::from_std(LAG).unwrap_or_default();
        let since = window.since.map_or(lag, |since| since.max(lag));
        let late = self.total(Window { since: Some(since), ..*window }).await?;
        let why = rows.unexplained(late, seen.after(since.timestamp()));
        debug!("list {:?}: {rows:?}, {late} of the last seconds: {why:?}.", self.plan.list_id);
        Ok(why)
    }

    /// Members without a time stand in no window. A full load therefore compares with the count without bounds.
    async fn without_time(&self) -> Result<Explained, Fault> {
        let whole = |sweep: &&Sweeping| sweep.window.sweep == Sweep::Listed && sweep.window.since.is_none();
        let Some(sweep) = self.sweeps.iter().find(whole) else { return Ok(Ok(())) };
        let all = Window { until: None, ..sweep.window };
        if self.total(all).await? <= sweep.walk.least() {
            return Ok(Ok(()));
        }
        let later = Window { since: sweep.window.until, until: None, ..sweep.window };
        let mut without = u64::MAX;
        for _ in 0..COUNTS {
            let mut counts = Vec::new();
            // In this order nobody who comes or goes in between is missed twice.
            for window in [all, sweep.window, later, all] {
                counts.push(self.total(window).await?);
            }
            without = without.min(counts[0].min(counts[3]).saturating_sub(counts[1] + counts[2]));
            if without == 0 {
                return Ok(Ok(()));
            }
        }
        Ok(Err(format!("{without} members have no time of their last change, so that no window holds them")))
    }
}
