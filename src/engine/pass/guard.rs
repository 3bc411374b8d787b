//! Applies the brake: checks the number of opt-outs and opt-ins before anything more is sent.

use futures::future::BoxFuture;

use super::{Pass, reader::Answer};
use crate::{
    base::{
        fault::Fault,
        window::{Span, Sweep, Window},
    },
    engine::{
        deliver::Parcel,
        guard::{Brake, Changes},
    },
    store::hold::{self, Held},
};

impl<'a> Pass<'a> {
    /// Whether the brake depends on the size of the list, which is not known yet.
    pub(super) fn is_unsure(&self) -> bool {
        self.listed.is_none() && self.brake.is_some_and(|brake| brake.may_trip(self.news()))
    }

    /// Returns the changes of consent in this pass that count. In a pass over changes, opt-outs that the sink is known to have
    /// accepted before do not count.
    fn news(&self) -> Changes {
        let known = self.counts.known_opt_outs - self.known_before;
        let counts = self.brake.is_some_and(|brake| brake.expected == Some(0));
        Changes {
            opt_outs: self.opt_outs() - if counts { known } else { 0 },
            opt_ins: self.counts.opt_ins - self.opt_ins_before,
        }
    }

    /// Asks for that size, as one of the reads: a request of its own would wait for places that the others hold.
    pub(super) fn count(&self) -> BoxFuture<'a, (usize, u32, Answer)> {
        let ends = self.ends;
        Box::pin(async move {
            let all = Window { sweep: Sweep::Listed, since: None, until: None };
            let count = async { Ok(ends.rows()?.read(&all, Span { offset: 0, count: 1 }).await?.total) };
            (0, 0, Answer::Count(count.await))
        })
    }

    /// Stops the delivery and returns an error if this pass has too many opt-outs or opt-ins. Every further run of the delivery then
    /// fails as well, until a person lifts the hold.
    pub(super) async fn hold(&mut self) -> Result<(), Fault> {
        let (Some(brake), Some(listed)) = (self.brake, self.listed) else { return Ok(()) };
        // The archived stood in the plain listing before.
        let archived = self.sweeps.iter().filter(|sweep| sweep.window.sweep == Sweep::Archived);
        let list = listed + archived.filter_map(|sweep| sweep.progress.window).sum::<u64>();
        let seen = self.sweeps.iter().map(|sweep| sweep.seen.len() as u64).sum();
        // A total that is wrong must not make the list look small. What a chain held at the last time may be unknown.
        let last = self.known.filter(|_| self.totals_wrong() || list < seen);
        let list = list.max(seen).max(last.map_or(0, |ledger| ledger.summary.len()));
        let news = self.news();
        let (what, why) = if brake.stops_opt_outs(news, list) {
            (self.would(news.opt_outs, list, "opted out", |parcel| parcel.opts_out), above(brake))
        } else if brake.stops_opt_ins(news, list) {
            let what = "opted in although they had another status or were opted out";
            let caution = self.ends.sink.caution().map(|caution| format!("; {caution}")).unwrap_or_default();
            (self.would(news.opt_ins, list, what, |parcel| parcel.opts_in), format!("{SHARE}{caution}"))
        } else {
            return Ok(());
        };
        let held = Held { entry: self.plan.entry(), what, why };
        hold::keep(&self.plan.list_folder, &self.ends.delivery, &held).await?;
        // Those that were sent by mistake are to be counted at the next try as well.
        self.plan.unchanged.clear().await?;
        Err(held.fault(&self.plan.list_id))
    }

    /// Describes the change that was stopped, and how much of it was sent.
    fn would(&self, changes: u64, list: u64, what: &str, counts: impl Fn(&&Parcel) -> bool) -> String {
        let waiting = self.batcher.iter().chain(self.newer.values()).filter(counts).count();
        let sent = changes.saturating_sub(waiting as u64);
        format!(
            "stopped when {changes} of {list} records, or still more, would be {what} (up to {sent} have been)"
        )
    }
}

const SHARE: &str = "more than a fifth of the list";

fn above(brake: Brake) -> String {
    match brake.expected {
        None | Some(0) => SHARE.to_owned(),
        Some(before) => format!("{SHARE} above the {before} of the last full load"),
    }
}
