//! One run of one list, from its first window to its outcome. It makes a pass, and after a full load further
//! passes that catch up with changes made in the meantime; it records the result of each.
//!
//! A run is a chain of passes. Each pass ends in a [`Step`]: another pass, or the end of the run.

mod after;
mod before;
mod leftovers;
mod positions;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{
    clocks::Noticed,
    guard::MassChangeGuard,
    pass::{Baseline, Beginning, Context, Pass},
    plan::{Ended, Outcome, Pipeline, Plan},
    windows::{Done, a_second_has_passed, catch_up, leave_out, same_again},
};
use crate::{
    base::{event::RunEvent, fault::Fault},
    sink::Settles,
    source::Scope,
    store::{
        checkpoint::{Checkpoint, Header, Line},
        hold,
        records::Summary,
        seen::Seen,
    },
};

/// Maximum number of passes after the first one of a full load; there is at least one.
const CATCH_UPS: u32 = 3;

/// Runs one list. After `stop`, no new page is requested, and pages in flight are dropped. Everything that a
/// failed or stopped run has settled is in its checkpoint, from which the next run continues.
///
/// # Errors
///
/// The fault that prevents the list from being delivered: a hold, a source or a sink that fails, records that
/// nothing explains, or clocks that contradict each other.
pub async fn run(pipeline: &Pipeline, plan: &Plan, stop: &CancellationToken) -> Result<Ended, Fault> {
    pipeline.check()?;
    let allowed = plan.allow_mass_change.then_some(plan.entry.as_str());
    hold::check(plan.store.as_ref(), &plan.list_id, allowed, plan.siblings.as_deref()).await?;
    leftovers::tidy(plan).await?;
    let known = plan.records.begin().await?;
    let (checkpoint, left) = plan.store.open_checkpoint(&plan.run_fingerprint).await?;
    let run = Run { pipeline, plan, stop, checkpoint, known, noticed: Noticed::default() };
    let ended = run.passes(left).await;
    // What the sink has accepted is worth remembering however the run has ended.
    let synced = plan.records.sync().await;
    let ended = ended?;
    synced.map(|()| ended)
}

struct Run<'a> {
    pipeline: &'a Pipeline,
    plan: &'a Plan,
    stop: &'a CancellationToken,
    checkpoint: Checkpoint,
    /// The summary of the ledger before the run; `None` if there is none.
    known: Option<Summary>,
    /// Observations of the passes so far.
    noticed: Noticed,
}

/// What follows a pass.
enum Step {
    Pass(NextPass),
    End(Ended),
}

/// A pass to make.
struct NextPass {
    kind: PassKind,
    header: Header,
}

/// The reason for a pass.
enum PassKind {
    /// It is the first one of the run.
    First,
    /// It resumes an interrupted pass after these settled pages.
    Resumed(Vec<Line>),
    /// The previous one could not explain all records.
    Repeated,
    /// Records have changed during the previous one.
    CatchUp,
}

impl Run<'_> {
    /// Makes one pass after the other.
    async fn passes(mut self, left: Option<(Header, Vec<Line>)>) -> Result<Ended, Fault> {
        let mut step = self.begin(left).await?;
        loop {
            match step {
                Step::Pass(next) => step = self.pass(next).await?,
                Step::End(ended) => return Ok(ended),
            }
        }
    }

    /// Decides where the run begins.
    async fn begin(&self, left: Option<(Header, Vec<Line>)>) -> Result<Step, Fault> {
        let Run { pipeline, plan, .. } = *self;
        let summary = self.known.as_ref();
        let (mut header, lines) = before::begin(pipeline, plan, summary, left);
        if !before::may_begin(pipeline, plan, summary, lines.is_empty(), self.stop).await {
            return Ok(Step::End(Ended::Stopped(header.counts)));
        }
        before::warn_beforehand(pipeline, plan, summary);
        let choice = lines.last().and_then(|line| line.choice.clone()).or(header.choice.clone());
        pipeline.mapping.choose(choice.or(summary.and_then(|summary| summary.choice.clone())));
        if !lines.is_empty() {
            return Ok(Step::Pass(NextPass { kind: PassKind::Resumed(lines), header }));
        }
        // A later pass that starts over has its windows already.
        let opens = header.pass == 1;
        if opens && plan.since.is_none() && plan.start_offset > 0 && pipeline.counts_rows() {
            leave_out(pipeline, plan, &mut header).await?;
        }
        if let Some(shards) = pipeline.shards().filter(|_| opens) {
            positions::begin(shards, plan, &mut header).await?;
        }
        Ok(Step::Pass(NextPass { kind: PassKind::First, header }))
    }

    /// Makes a pass.
    async fn pass(&mut self, next: NextPass) -> Result<Step, Fault> {
        let Run { pipeline, plan, stop, .. } = *self;
        let NextPass { kind, header } = next;
        let lines: &[Line] = if let PassKind::Resumed(lines) = &kind { lines } else { &[] };
        if lines.is_empty() {
            self.checkpoint.begin(header.clone());
        }
        let beginning = Beginning {
            header: &header,
            lines,
            baseline: baseline(pipeline, plan, &header, self.known.as_ref()),
            holds_back: plan.holds_back || (pipeline.reads_all() && header.pass > 1),
            unrecorded: self.known.is_none() && matches!(kind, PassKind::First | PassKind::Resumed(_)),
            noticed: std::mem::take(&mut self.noticed),
        };
        let Some(mut pass) = Pass::new(Context { pipeline, plan }, &mut self.checkpoint, beginning) else {
            let hint = "discard it with `importer go --fresh`";
            return Err(Fault::list("the checkpoint of the list can't be read").hint(hint));
        };
        if !lines.is_empty() {
            report_resumed(plan, &pass);
        }
        let explained = match pass.read_all(stop).await {
            Ok(Some(explained)) => explained,
            Ok(None) => return Ok(Step::End(Ended::Stopped(pass.counts()))),
            Err(fault) if pass.rejects_most() => {
                drop(pass);
                self.start_over(header).await?;
                return Err(fault);
            }
            Err(fault) => return Err(fault),
        };
        self.noticed = pass.noticed().clone();
        let mut done = pass.done();
        if let Err(why) = explained {
            return repeat(pipeline, plan, &kind, header, done, &why).await;
        }
        if let Err(fault) = pipeline.clocks().holds(done.until, self.noticed.newest) {
            // The next run opens a new window.
            plan.store.discard_checkpoint().await?;
            return Err(fault);
        }
        let unlisted = after::record(pipeline, plan, header.pass, &pass, &done).await?;
        if pipeline.keeps_positions() {
            positions::keep(plan, pass.positions()).await?;
        }
        // Entries of one list may read different parts of it.
        done.counts.unlisted += if pipeline.reads_all() && plan.is_alone() { unlisted } else { 0 };
        if has_caught_up(pipeline, plan, &kind, &header, &done) {
            return Ok(Step::End(self.finished(done)));
        }
        if !a_second_has_passed(pipeline, done.until, stop).await {
            return Ok(Step::End(Ended::Stopped(done.counts)));
        }
        Ok(Step::Pass(NextPass { kind: PassKind::CatchUp, header: catch_up(pipeline, plan, header, done) }))
    }

    /// Makes the next run repeat a pass from its start: once a person has corrected why most records were rejected,
    /// they have to be read again.
    async fn start_over(&mut self, header: Header) -> Result<(), Fault> {
        match header.pass {
            1 => self.plan.store.discard_checkpoint().await,
            _ => self.checkpoint.start_over(header).await,
        }
    }

    fn finished(&mut self, done: Done) -> Ended {
        let Done { until, counts, seconds, .. } = done;
        after::warn_of_repeats(self.plan, counts.repeated);
        Ended::Finished(Outcome {
            until,
            elapsed: Duration::try_from_secs_f64(seconds).unwrap_or_default(),
            counts,
            unknown: self.pipeline.mapping.unknown(),
            noticed: std::mem::take(&mut self.noticed),
            remedy: self.pipeline.remedy(),
        })
    }
}

/// Discards a pass that could not explain all records, and returns its repetition.
///
/// # Errors
///
/// The pass was already a repetition, or the sink settles at its close. Such a sink is dropped with the run, so
/// that it undoes the batches of the pass.
async fn repeat(
    pipeline: &Pipeline,
    plan: &Plan,
    kind: &PassKind,
    header: Header,
    done: Done,
    why: &str,
) -> Result<Step, Fault> {
    plan.store.discard_checkpoint().await?;
    let undone = pipeline.spec.settles == Settles::AtClose;
    if matches!(kind, PassKind::Repeated) || undone {
        let hint = match undone {
            true => "nothing was delivered; the next run reads the same window again",
            false => {
                "nothing is recorded as delivered, although records may have been sent; the next run reads the same window again"
            }
        };
        return Err(Fault::list(format!("{why}. {}", done.counts)).hint(hint));
    }
    plan.events.emit(RunEvent::WindowRepeated { why: why.to_owned() });
    Ok(Step::Pass(NextPass { kind: PassKind::Repeated, header: same_again(pipeline, plan, header, done) }))
}

/// Returns whether no further pass is needed.
fn has_caught_up(pipeline: &Pipeline, plan: &Plan, kind: &PassKind, header: &Header, done: &Done) -> bool {
    match pipeline.source.scope() {
        // A resumed pass has read some records as they were when the run began, however often it was resumed.
        Scope::Full => !matches!(kind, PassKind::Resumed(_)),
        Scope::Positions => true,
        Scope::Changes => plan.since.is_some() || (header.pass > 1 && !done.big) || header.pass > CATCH_UPS,
    }
}

/// Returns the values that the changes of consent in a pass are compared with.
fn baseline<'a>(
    pipeline: &Pipeline,
    plan: &Plan,
    header: &Header,
    known: Option<&'a Summary>,
) -> Baseline<'a> {
    let full = plan.since.is_none() && header.pass == 1;
    // A source that can't be asked for the size of the list is compared with the ledger.
    let listed = (!pipeline.counts_rows()).then(|| known.map_or(0, Summary::len));
    let expected = listed.filter(|_| full || pipeline.reads_all()).unwrap_or(0);
    // After a first load by cursor, the number of records that it has read is the size of the list.
    let loaded = if pipeline.reads_changes() && plan.since.is_none() { header.counts.seen } else { 0 };
    let listed = listed.map(|listed| listed.max(loaded));
    if plan.allow_mass_change {
        return Baseline { brake: None, known: None, listed, expected };
    }
    // A full load is compared with the previous one, if there is one. In a pass over changes, every opt-out
    // counts.
    let last = known.and_then(|summary| summary.opt_outs(&plan.consent_scope));
    Baseline {
        brake: Some(MassChangeGuard { expected: if full { last } else { Some(0) } }),
        known,
        listed,
        expected,
    }
}

fn report_resumed(plan: &Plan, pass: &Pass) {
    let settled: usize = pass.seen().iter().map(Seen::records).sum();
    plan.events.emit(RunEvent::Resumed { settled: settled as u64 });
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
