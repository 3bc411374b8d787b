//! The pages of a pass: which to ask for next, and what is done with an answer.

use std::time::Duration;

use chrono::{DateTime, Utc};
use log::warn;
use tokio::time::Instant;

use super::{Pass, Reads};
use crate::{
    base::{
        fault::{Fault, Problem},
        record::Record,
        window::{Link, Page, Window},
    },
    engine::{
        paging::{
            listing::Want,
            offset::{Ask, Relief},
        },
        plan::{Ends, Plan},
    },
    source::Pages,
    store::{cache::Memory, seen::fingerprint},
};

/// Pages in a row that are too heavy, whatever their size, before the list fails.
const TOO_HEAVY: u32 = 8;
/// The wait after a page that was too heavy, doubling: a server that is only busy is not to be pressed.
const RELIEF: Duration = Duration::from_secs(1);
const LONGEST_RELIEF: Duration = Duration::from_secs(16);

pub(super) enum Answer {
    Page(Ask, Result<(Page, Memory), Fault>),
    Link(Result<(Link, Memory), Fault>),
    /// The second of the oldest row's change, and what can be told of a cut in the middle.
    Cut(Result<Option<(DateTime<Utc>, u64)>, Fault>),
    /// Members in the plain listing.
    Count(Result<u64, Fault>),
}

impl<'a> Pass<'a> {
    /// Keeps the workers busy, the listings in turn, unless the sink is so slow that their rows would pile up.
    pub(super) fn ask(&mut self, reads: &mut Reads<'a>) {
        let limits = self.ends.sink.limits();
        if self.resting.is_some_and(|until| until > Instant::now()) {
            return;
        }
        let mut idle = 0;
        let mut index = reads.len();
        while idle < self.sweeps.len()
            && reads.len() < self.plan.worker_count
            && self.batcher.waiting() <= self.batcher.size() * limits.in_flight
        {
            index = (index + 1) % self.sweeps.len();
            // One delivery that hangs holds up the mark; what is beyond it would be sent again after a crash.
            if self.watermark.waiting(index) >= self.most_unsettled() {
                idle += 1;
                continue;
            }
            let sweep = &mut self.sweeps[index];
            let (generation, window) = (sweep.generation, sweep.progress.part);
            match sweep.want(self.start.elapsed()) {
                None => idle += 1,
                Some(want) => {
                    idle = 0;
                    let answer = read(self.ends, self.plan, window, want);
                    reads.push(Box::pin(async move { (index, generation, answer.await) }));
                }
            }
        }
    }

    pub(super) fn take(
        &mut self,
        index: usize,
        generation: u32,
        answer: Answer,
        reads: &mut Reads<'a>,
    ) -> Result<(), Fault> {
        if self.sweeps[index].generation != generation && !matches!(answer, Answer::Count(_)) {
            return Ok(());
        }
        match answer {
            Answer::Count(count) => self.listed = Some(count?),
            Answer::Page(ask, Ok((page, memory))) => {
                (self.heavies, self.resting) = (0, None);
                if self.confirm(page.at)? {
                    self.page(index, ask, page, memory);
                    self.trust()?;
                }
            }
            Answer::Link(link) => {
                let (link, memory) = link?;
                if self.confirm(link.at)? {
                    self.memory = memory;
                    self.link(index, link)?;
                    self.trust()?;
                }
            }
            // It was on its way already when smaller pages were decided upon.
            Answer::Page(ask, Err(Fault::TooLarge(_))) if self.relieved.is_some_and(|at| ask.at() <= at) => {
                self.sweeps[index].again(ask);
            }
            Answer::Page(ask, Err(Fault::TooLarge(problem))) => {
                if self.relieve(index, ask, problem)? == Relief::Cut {
                    reads.push(self.cut(index, generation));
                }
            }
            Answer::Cut(Ok(Some((middle, below)))) => {
                self.kept.retain(|kept| !kept.is_of(index));
                self.sweeps[index].cut_at(middle, below);
            }
            Answer::Cut(Ok(None)) => {
                return Err(Fault::list(
                    "the source takes too long for a page, and the window can't be cut further",
                ));
            }
            Answer::Page(_, Err(fault)) | Answer::Cut(Err(fault)) => return Err(fault),
        }
        Ok(())
    }

    /// A page was too heavy: the server is left alone for a moment, and then less is asked for.
    fn relieve(&mut self, index: usize, ask: Ask, problem: Problem) -> Result<Relief, Fault> {
        self.relieved = Some(self.start.elapsed());
        self.heavies += 1;
        if self.heavies > TOO_HEAVY {
            return Err(Fault::List(problem).hint("even small pages take the source too long"));
        }
        self.resting = Some(Instant::now() + (RELIEF * (1 << (self.heavies - 1))).min(LONGEST_RELIEF));
        let relief = self.sweeps[index].too_heavy(ask);
        let then = match relief {
            Relief::Halved => "smaller pages are asked for",
            Relief::Cut => "the window is cut in two by time",
        };
        warn!("{problem}; {then}.");
        Ok(relief)
    }
}

/// Reads what a listing wants next, and what is remembered of the records in it.
async fn read(ends: &Ends, plan: &Plan, window: Window, want: Want) -> Answer {
    match (want, ends.source.pages()) {
        (Want::Rows(ask), Pages::Rows(rows)) => {
            let read = async {
                let page = rows.read(&window, ask.span).await?;
                let memory = recall(plan, &page.records).await?;
                Ok((page, memory))
            };
            Answer::Page(ask, read.await)
        }
        (Want::Link(cursor), Pages::Chain(chain)) => {
            let read = async {
                let at = window.until.unwrap_or_else(|| ends.source.now());
                let link = chain.follow(at, cursor.as_ref(), plan.items_per_request).await?;
                let memory = recall(plan, &link.records).await?;
                Ok((link, memory))
            };
            Answer::Link(read.await)
        }
        _ => Answer::Link(Err(Fault::list("the source has changed how it is read"))),
    }
}

pub(super) async fn recall(plan: &Plan, records: &[Record]) -> Result<Memory, Fault> {
    match plan.unchanged.on() {
        None => Ok(Memory::new()),
        Some(unchanged) => {
            unchanged.recall(records.iter().map(|record| fingerprint(&record.key)).collect()).await
        }
    }
}
