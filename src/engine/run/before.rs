//! The start of a run: decides where the first pass begins, and reports what a person should know before it.

use tokio_util::sync::CancellationToken;

use crate::{
    base::event::RunEvent,
    engine::{
        plan::{Pipeline, Plan},
        windows::first,
    },
    store::{
        checkpoint::{Header, Line},
        records::Summary,
    },
};

/// Returns where an interrupted run continues, or the windows of a new run, with earlier observations about
/// the source.
pub(super) fn begin(
    pipeline: &Pipeline,
    plan: &Plan,
    summary: Option<&Summary>,
    left: Option<(Header, Vec<Line>)>,
) -> (Header, Vec<Line>) {
    let (mut header, lines) = left.unwrap_or_else(|| {
        let recorded = summary.map(|summary| summary.archived_until);
        (first(pipeline, plan, recorded), vec![])
    });
    // The length of the longest earlier answer distinguishes a complete answer from a truncated one only
    // while the source still returns as many records. A full load, and any run after wrong totals, determines
    // it again.
    let trusted = summary.filter(|summary| plan.since.is_some() && !summary.totals_wrong);
    header.server.proven = header.server.proven.max(trusted.map_or(0, |summary| summary.most_rows));
    header.server.doubts &= plan.since.is_none();
    // A source with wrong totals is expected to report wrong totals again, so only a full load checks them
    // again.
    header.totals_wrong |= plan.since.is_some() && summary.is_some_and(|summary| summary.totals_wrong);
    (header, lines)
}

/// Warns of mass changes that the run can't stop.
pub(super) fn warn_beforehand(pipeline: &Pipeline, plan: &Plan, summary: Option<&Summary>) {
    if plan.allow_mass_change {
        plan.events.emit(RunEvent::MassChangeAllowed);
    } else if pipeline.mapping.has_consent()
        && summary.is_none()
        && (plan.since.is_some() || plan.delivered_before)
    {
        plan.events.emit(RunEvent::NoLedger);
    }
}

/// Reports the sink's caution before a first load, and waits until the load may begin. Returns false if a stop
/// came first. `new`: whether the run resumes no interrupted one.
pub(super) async fn may_begin(
    pipeline: &Pipeline,
    plan: &Plan,
    summary: Option<&Summary>,
    new: bool,
    stop: &CancellationToken,
) -> bool {
    let nobody_yet = new && plan.since.is_none() && summary.is_none_or(Summary::is_empty);
    let Some(caution) = pipeline.spec.caution.filter(|_| nobody_yet) else { return true };
    plan.events.emit(RunEvent::FirstLoad { caution });
    let Some(confirm) = &plan.confirm else { return true };
    tokio::select! {
        () = stop.cancelled() => false,
        () = confirm.ask(&plan.list_id, caution) => true,
    }
}
