//! Limits that stop a pass before it does harm: too many changes of consent, or too many rejected records.

use std::collections::BTreeMap;

use super::{Context, dispatch::Dispatch};
use crate::{
    base::{
        counts::{Counts, counted},
        fault::Fault,
    },
    engine::{
        guard::{Changes, MassChangeGuard},
        pending::PendingRecord,
    },
    store::{hold::HoldReason, records::Summary},
};

/// Number of rejected records up to which a pass is never stopped, whatever their share.
const MANY: u64 = 100;

/// The values that a pass is compared with.
#[derive(Clone, Copy)]
pub struct Baseline<'a> {
    /// `None`: any number of opt-outs and opt-ins is allowed.
    pub brake: Option<MassChangeGuard>,
    /// The summary of the ledger before the run; `None` if there is no ledger, or no brake.
    pub known: Option<&'a Summary>,
    /// Number of records in the list, if it is known beforehand.
    pub listed: Option<u64>,
    /// Number of records that this pass is expected to read, if it is known beforehand; otherwise 0.
    pub expected: u64,
}

/// The size of a pass, as the guard counts it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// Rows that the pass has to read.
    pub rows: u64,
    /// Rows of the archived listing among them.
    pub archived: u64,
    /// Different records read so far.
    pub seen: u64,
    pub totals_wrong: bool,
}

pub(super) struct Guard<'a> {
    context: Context<'a>,
    baseline: Baseline<'a>,
    /// Number of records in the plain listing, regardless of the window, once the source has reported it.
    listed: Option<u64>,
    /// Whether that number has been requested.
    counting: bool,
    /// Counts of the run before this pass.
    before: Counts,
}

impl<'a> Guard<'a> {
    pub fn new(context: Context<'a>, baseline: Baseline<'a>, before: Counts) -> Self {
        Guard { context, listed: baseline.listed, baseline, counting: false, before }
    }

    /// Returns the summary of the ledger before the run.
    pub fn known(&self) -> Option<&'a Summary> {
        self.baseline.known
    }

    /// Records the size of the list.
    pub fn listed(&mut self, records: u64) {
        self.listed = Some(records);
    }

    /// Returns whether the decision depends on the size of the list, which is not known yet. Nothing may be
    /// sent until it is.
    pub fn is_unsure(&self, counts: &Counts) -> bool {
        self.listed.is_none() && self.baseline.brake.is_some_and(|brake| brake.may_trip(self.changes(counts)))
    }

    /// Returns whether the size of the list has to be requested; true only once.
    pub fn wants_size(&mut self) -> bool {
        !std::mem::replace(&mut self.counting, true)
    }

    /// Returns the number of opt-outs in this pass.
    pub fn opt_outs(&self, counts: &Counts) -> u64 {
        counts.opt_outs - self.before.opt_outs
    }

    /// Returns the changes of consent in this pass that count. In a pass over changes, opt-outs that the sink
    /// is known to have accepted before do not count.
    fn changes(&self, counts: &Counts) -> Changes {
        let known = counts.known_opt_outs - self.before.known_opt_outs;
        let discounts = self.baseline.brake.is_some_and(|brake| brake.expected == Some(0));
        Changes {
            opt_outs: self.opt_outs(counts) - if discounts { known } else { 0 },
            opt_ins: counts.opt_ins - self.before.opt_ins,
        }
    }

    /// Stops the delivery if this pass has too many opt-outs or opt-ins.
    ///
    /// # Errors
    ///
    /// The delivery is on hold: this run and all further ones fail until a person lifts the hold.
    pub async fn check_consent(
        &self,
        counts: &Counts,
        size: Size,
        dispatch: &Dispatch<'_>,
    ) -> Result<(), Fault> {
        let (Some(brake), Some(listed)) = (self.baseline.brake, self.listed) else { return Ok(()) };
        // Archived records were in the plain listing before.
        let list = listed + size.archived;
        // A wrong total must not make the list look small. A source that reports no total may have no ledger
        // either.
        let last = self.known().filter(|_| size.totals_wrong || list < size.seen);
        let list = list.max(size.seen).max(last.map_or(0, Summary::len));
        let changes = self.changes(counts);
        let Context { pipeline, plan } = self.context;
        let (what, why) = if brake.stops_opt_outs(changes, list) {
            (would(changes.opt_outs, list, "opted out", dispatch, |pending| pending.opts_out), above(brake))
        } else if brake.stops_opt_ins(changes, list) {
            let what = "opted in although they had another status or were opted out";
            let caution = pipeline.spec.caution.map(|caution| format!("; {caution}")).unwrap_or_default();
            (
                would(changes.opt_ins, list, what, dispatch, |pending| pending.opts_in),
                format!("{SHARE}{caution}"),
            )
        } else {
            return Ok(());
        };
        let held = HoldReason { entry: plan.entry.clone(), what, why };
        plan.store.keep_hold(&held).await?;
        // Opt-outs that were sent by mistake have to count again at the next attempt.
        plan.records.clear().await?;
        Err(held.fault(&plan.list_id))
    }

    /// Checks the number of rejected records. `none`: the list was read to its end, and the sink takes no record of it.
    ///
    /// # Errors
    ///
    /// This pass rejected records and delivers none; or it rejected more than 100, and more than half of those that it
    /// has to read. The records are then unlikely to be the cause.
    pub fn check_rejects(&self, counts: &Counts, size: Size, none: bool) -> Result<(), Fault> {
        let before = |reason: &String| self.before.rejected.get(reason).copied().unwrap_or(0);
        let mut reasons: BTreeMap<String, u64> = counts.rejected.clone();
        reasons.iter_mut().for_each(|(reason, count)| *count -= before(reason));
        reasons.retain(|_, count| *count > 0);
        let rejected: u64 = reasons.values().sum();
        let plan = self.context.plan;
        let records = size.rows.max(self.baseline.expected);
        let many = rejected > MANY && 2 * rejected > records;
        if !many && (rejected == 0 || !none) {
            return Ok(());
        }
        let letters = plan.store.dead_letter_location();
        let hint = format!(
            "the mapping or the sink is probably wrong; check the dead letters in {letters}; the next run reads the same \
             records again"
        );
        let what = format!("{rejected} of {records} records were rejected ({})", counted(&reasons));
        Err(Fault::list(what).hint(hint))
    }
}

/// Describes the change that was stopped, and how much of it was sent.
fn would(
    changes: u64,
    list: u64,
    what: &str,
    dispatch: &Dispatch<'_>,
    counts: impl Fn(&&PendingRecord) -> bool,
) -> String {
    let unsent = dispatch.waiting().filter(counts).count() as u64;
    let sent = if dispatch.settles_at_close() { 0 } else { changes.saturating_sub(unsent) };
    format!(
        "stopped because at least {changes} of {list} records would be {what} (up to {sent} of them were sent already)"
    )
}

const SHARE: &str = "more than a fifth of the list";

fn above(brake: MassChangeGuard) -> String {
    match brake.expected {
        None | Some(0) => SHARE.to_owned(),
        Some(before) => format!("{SHARE} above the {before} of the last full load"),
    }
}
