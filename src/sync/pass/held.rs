//! The brake: before anything more is sent, whether so many opt-outs may be meant.

use futures::future::BoxFuture;

use super::{Pass, reading::Answer};
use crate::{
    base::{
        fault::Fault,
        window::{Span, Sweep, Window},
    },
    sync::held::{self, Held},
};

impl<'a> Pass<'a> {
    /// Whether the brake depends on the size of the list, which is not known yet.
    pub(super) fn is_unsure(&self) -> bool {
        self.listed.is_none() && self.brake.is_some_and(|brake| brake.may_trip(self.news()))
    }

    /// Opt-outs that are to be compared: those that the sink is known to have had already are none in a pass over changes.
    fn news(&self) -> u64 {
        let known = self.counts.known_opt_outs - self.known_before;
        let counts = self.brake.is_some_and(|brake| brake.expected == 0);
        self.opt_outs() - if counts { known } else { 0 }
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

    /// Fails when the opt-outs of this pass are too many to go out unasked; so does every further run then, until it is allowed.
    pub(super) async fn hold(&mut self) -> Result<(), Fault> {
        let (Some(brake), Some(listed)) = (self.brake, self.listed) else { return Ok(()) };
        // The archived stood in the plain listing before.
        let archived = self.sweeps.iter().filter(|sweep| sweep.window.sweep == Sweep::Archived);
        let list = listed + archived.filter_map(|sweep| sweep.progress.window).sum::<u64>();
        // What a chain held at the last time may be unknown.
        let list = list.max(self.sweeps.iter().map(|sweep| sweep.seen.len() as u64).sum());
        let opt_outs = self.news();
        if !brake.trips(opt_outs, list) {
            return Ok(());
        }
        let waiting = self.batcher.iter().chain(self.newer.values()).filter(|parcel| parcel.opts_out).count();
        let sent = opt_outs.saturating_sub(waiting as u64);
        let more = match brake.expected {
            0 => "more than a fifth of the list".to_owned(),
            before => format!("more than a fifth of the list above the {before} of the last full load"),
        };
        let held = Held {
            entry: self.plan.entry(),
            what: format!(
                "stopped when {opt_outs} of {list} records, or still more, would be opted out (up to {sent} have been)"
            ),
            why: more,
        };
        held::keep(&self.plan.list_folder, &self.ends.delivery, &held).await?;
        // Those that were sent by mistake are to be counted at the next try as well.
        self.plan.unchanged.clear().await?;
        Err(held.fault(&self.plan.list_id))
    }
}
