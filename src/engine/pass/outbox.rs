//! Batches on their way to the sink, and what comes of them.

use std::sync::atomic::Ordering;

use futures::{future::BoxFuture, stream::FuturesUnordered};

use super::Pass;
use crate::{
    base::fault::Fault,
    engine::deliver::{Delivered, deliver},
    store::{
        dead_letter::{self, DeadLetter},
        seen::fingerprint,
    },
};

/// So many notes are written together.
const NOTES: usize = 1000;

pub(super) type Deliveries<'a> = FuturesUnordered<BoxFuture<'a, Result<Delivered, Fault>>>;

impl<'a> Pass<'a> {
    /// Fills the sink's places with full batches; with the last, smaller one only when no page is under way or left.
    pub(super) fn send(&mut self, deliveries: &mut Deliveries<'a>, rest: bool) {
        let (ends, plan) = (self.ends, self.plan);
        while deliveries.len() < ends.sink.limits().in_flight {
            let batch = if rest { self.batcher.rest() } else { self.batcher.full() };
            let Some(batch) = batch else { break };
            deliveries.push(Box::pin(deliver(ends, plan.unchanged.on(), batch)));
        }
    }

    pub(super) fn delivered(&mut self, delivered: Delivered) -> Result<(), Fault> {
        self.counts.sent += delivered.accepted.len() as u64;
        self.plan.taken.fetch_or(!delivered.accepted.is_empty(), Ordering::Relaxed);
        for print in delivered.accepted {
            self.arrived(print);
        }
        for (parcel, problem) in delivered.refused {
            self.refused(parcel, problem);
        }
        self.trust()
    }

    /// The version of a record that was on its way has met its fate; a newer one that has waited for that goes now.
    fn arrived(&mut self, print: u128) {
        match self.newer.remove(&print) {
            Some(parcel) => self.batcher.push(parcel),
            None => self.watermark.settled(print),
        }
    }

    /// Notes what became of records that were not sent, when there are some or at the end.
    pub(super) async fn note(&mut self, end: bool) -> Result<(), Fault> {
        let Some(unchanged) = self.plan.unchanged.on() else { return Ok(()) };
        if self.notes.len() < NOTES && !end {
            return Ok(());
        }
        unchanged.note(std::mem::take(&mut self.notes), self.ends.source.now()).await
    }

    /// Keeps the rejected records; only then their fate counts as known.
    pub(super) async fn bury(&mut self) -> Result<(), Fault> {
        if self.rejects.is_empty() {
            return Ok(());
        }
        let (letters, waits): (Vec<DeadLetter>, Vec<bool>) = self.rejects.drain(..).unzip();
        let prints: Vec<u128> = letters.iter().map(|letter| fingerprint(&letter.key)).collect();
        dead_letter::append(&self.plan.dead_letter, letters).await?;
        prints.into_iter().zip(waits).filter(|(_, waits)| *waits).for_each(|(print, _)| self.arrived(print));
        Ok(())
    }
}
