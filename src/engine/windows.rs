//! Opens the windows of a run's passes.

use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    clocks::continuing,
    paging::offset::LAG,
    plan::{Pipeline, Plan},
};
use crate::{
    base::{
        counts::Counts,
        event::RunEvent,
        fault::Fault,
        window::{Listing, Span, Window},
    },
    store::{checkpoint::Header, progress::Server},
};

/// Upper bound of the wait for the next window of a run. A wait is usually shorter than two seconds; a clock
/// that was set back would lengthen it.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Sets the start of a full load with a `start_offset`: the second in which the row after the first
/// `start_offset` rows last changed. Rows move while they are counted, seconds do not. All members of that
/// second are loaded.
///
/// # Errors
///
/// The fault of the request, or [`Fault::List`] if that row has no time.
pub(super) async fn leave_out(pipeline: &Pipeline, plan: &Plan, header: &mut Header) -> Result<(), Fault> {
    let span = Span { offset: plan.start_offset, count: 1 };
    let mut page = pipeline.rows()?.read(&header.windows[0], span).await?;
    let until = pipeline.clocks().end();
    if header.windows[0].until > Some(until) {
        // The clock of this machine is ahead. After this answer, the source's clock is known.
        header.end_at(until);
        page = pipeline.rows()?.read(&header.windows[0], span).await?;
    }
    header.counts.left_out = match page.records.is_empty() {
        true => page.total.min(plan.start_offset),
        false => plan.start_offset,
    };
    header.windows[0].since = match page.records.first() {
        None => header.windows[0].until,
        Some(first) => {
            let changed = first.changed.ok_or_else(|| {
                Fault::list("the record at `start_offset` has no time of its last change")
                    .hint("remove `start_offset` or choose another one")
            })?;
            Some(changed - TimeDelta::seconds(1))
        }
    };
    Ok(())
}

/// Results of a pass and of those before it.
pub(super) struct Done {
    pub until: DateTime<Utc>,
    pub counts: Counts,
    pub seconds: f64,
    /// Whether a listing needed more than one answer.
    pub big: bool,
    pub server: Server,
    pub totals_wrong: bool,
    pub newest: Option<DateTime<Utc>>,
}

/// Opens the windows of a new run. Archived members are not in the plain listing, and a member that is
/// archived after its delivery must not stay opted in at the sink. The run therefore also reads the archived
/// listing, if the plan reads it at all: from the end of its last window, which the ledger contains
/// (`recorded`), or from `since` if that is earlier. Without a ledger, it reads all archived members, except
/// if nothing was ever delivered.
pub(super) fn first(pipeline: &Pipeline, plan: &Plan, recorded: Option<DateTime<Utc>>) -> Header {
    let until = Some(pipeline.clocks().end());
    let since = plan.since.map(|since| continuing(since, plan.overlap));
    let mut windows = vec![Window { listing: Listing::Listed, since, until }];
    if !plan.reads_archived {
        return Header::new(&plan.run_fingerprint, windows);
    }
    let since = recorded.map(|recorded| plan.since.map_or(recorded, |since| since.min(recorded)));
    if since.is_some() || plan.since.is_some() || plan.delivered_before {
        if since.is_none() {
            plan.events.emit(RunEvent::NoLedgerForArchived);
        }
        let since = since.map(|since| continuing(since, plan.overlap));
        windows.push(Window { listing: Listing::Archived, since, until });
    }
    Header::new(&plan.run_fingerprint, windows)
}

/// Returns how much of the last window the next pass of the same run reads again. Changes that become visible
/// later than that are read by the next run, which reads all of `overlap` again.
fn since_last_pass(plan: &Plan) -> TimeDelta {
    TimeDelta::from_std(LAG).map_or(plan.overlap, |lag| lag.min(plan.overlap))
}

/// Opens the windows of a pass over the rows that have changed, and so left their windows, since the last
/// pass began.
pub(super) fn catch_up(pipeline: &Pipeline, plan: &Plan, header: Header, done: Done) -> Header {
    let since = Some(continuing(done.until, since_last_pass(plan)));
    let until = Some(pipeline.clocks().end());
    let sweeps =
        [Listing::Listed, Listing::Archived].into_iter().take(if plan.reads_archived { 2 } else { 1 });
    let windows = sweeps.map(|listing| Window { listing, since, until }).collect();
    let (pass, choice) = (header.pass + 1, pipeline.mapping.choice());
    let before = Some(done.until);
    Header { pass, windows, choice, before, ..carried_over(header, done) }
}

/// Copies the results of the previous passes into the header.
fn carried_over(header: Header, done: Done) -> Header {
    let Done { counts, seconds, server, totals_wrong, newest, .. } = done;
    Header { counts, seconds, server, totals_wrong, newest, ..header }
}

/// Opens the windows for a repetition of a pass, up to now.
pub(super) fn same_again(pipeline: &Pipeline, plan: &Plan, header: Header, done: Done) -> Header {
    let until = Some(pipeline.clocks().end());
    let mut windows = header.windows.clone();
    if windows.len() == 1 && plan.reads_archived {
        // Members have been delivered by now, and may have been archived since.
        windows.push(Window {
            listing: Listing::Archived,
            since: Some(continuing(done.until, since_last_pass(plan))),
            until: None,
        });
    }
    windows.iter_mut().for_each(|window| window.until = until);
    let Counts { window, left_out, seen, left, late, unexplained, repeated, .. } = header.counts.clone();
    let again = done.counts.again + done.counts.seen - seen;
    let counts =
        Counts { window, left_out, seen, left, late, unexplained, repeated, again, ..done.counts.clone() };
    Header { windows, counts, choice: pipeline.mapping.choice(), ..carried_over(header, done) }
}

/// Waits until the next window reaches beyond the last one, so that a full load includes the second in which
/// it began. A list that was filled a moment ago is then loaded completely. A clock that was set back
/// lengthens the wait to [`LONGEST_WAIT`] at most; the next window reports the clock. Returns false if a stop
/// was requested.
pub(super) async fn a_second_has_passed(
    pipeline: &Pipeline,
    until: DateTime<Utc>,
    stop: &CancellationToken,
) -> bool {
    let left = until + TimeDelta::seconds(2) - pipeline.clocks().earlier();
    let left = left.to_std().unwrap_or_default().min(LONGEST_WAIT);
    tokio::select! {
        () = stop.cancelled() => false,
        () = sleep(left) => !stop.is_cancelled(),
    }
}
