//! Records on their way to the sink: batches them across pages, makes newer versions wait for older ones,
//! stores rejected records, and determines which pages are settled.

use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};
use futures::{future::BoxFuture, stream::FuturesUnordered};
use tokio::time::Instant;

use super::{
    Context,
    unclosed::{OpenDeliveries, Settled},
};
use crate::{
    base::{
        fault::Fault,
        key::{KeyMap, key_digest},
    },
    engine::{
        batcher::Batcher,
        deliver::{Unclosed, deliver},
        in_flight::Delivered,
        paging::offset::Joined,
        pending::PendingRecord,
        plan::Plan,
        watermark::Watermark,
    },
    sink::Settles,
    store::{
        checkpoint::{Checkpoint, Line},
        dead_letter::DeadLetter,
        progress::Progress,
        records::{AcceptedDelivery, NewNotice},
    },
};

/// Batches in flight.
pub(super) type Deliveries<'a> = FuturesUnordered<BoxFuture<'a, Result<Delivered, Fault>>>;

pub(super) struct Dispatch<'a> {
    context: Context<'a>,
    batcher: Batcher<PendingRecord>,
    /// Newer versions of records whose older version is queued or in flight.
    newer: KeyMap<u128, PendingRecord>,
    /// What a sink with [`Settles::AtClose`] has got so far; `None` once it is closed, and for other sinks. While there
    /// is one, no page is settled.
    unclosed: Option<OpenDeliveries>,
    /// Dead letters that are not on disk yet, each with whether a page waits for it.
    rejects: Vec<(DeadLetter, bool)>,
    /// Notices about them.
    notices: Vec<NewNotice>,
    watermark: Watermark<(Joined, Progress)>,
    checkpoint: &'a mut Checkpoint,
}

impl<'a> Dispatch<'a> {
    pub fn new(context: Context<'a>, listings: usize, checkpoint: &'a mut Checkpoint) -> Self {
        let Context { pipeline, plan } = context;
        let keeps_records = plan.records.cache().is_some() || pipeline.notify.is_some();
        let at_close = pipeline.spec.settles == Settles::AtClose;
        Dispatch {
            context,
            batcher: Batcher::new(context.pipeline.spec.limits),
            newer: KeyMap::default(),
            unclosed: at_close.then(|| OpenDeliveries::new(keeps_records)),
            rejects: Vec::new(),
            notices: Vec::new(),
            watermark: Watermark::new(listings),
            checkpoint,
        }
    }

    /// Returns whether another page may be requested while `reading` pages are in flight: not while the sink is so slow
    /// that their records would pile up. Beyond one batch per slot of the sink, one page per worker may be queued or in
    /// flight, so that reading continues during the deliveries.
    pub fn has_room(&self, reading: usize) -> bool {
        let further =
            (self.pages_at_once().saturating_sub(reading + 1)) * self.context.plan.items_per_request;
        self.batcher.has_room(further)
    }

    /// Returns whether another page of this listing may be read while `requested` pages are in flight. One delivery
    /// that hangs stops the watermark, and all pages beyond it would be sent again after a crash. Therefore only two
    /// rounds of deliveries may wait, and a round of pages. The pages in flight count, too: otherwise all workers
    /// would read at once when room becomes free, and then none until the sink has nothing left to do. With a sink
    /// that settles at its close, all pages wait for that.
    pub fn has_room_for(&self, listing: usize, requested: usize) -> bool {
        if self.settles_at_close() {
            return true;
        }
        let Context { pipeline, plan } = self.context;
        let rows = 2 * self.batcher.payloads_per_batch() * pipeline.spec.limits.in_flight;
        let rounds = (rows / plan.items_per_request).max(2);
        self.watermark.waiting(listing) + requested < rounds - 1 + self.pages_at_once()
    }

    /// Returns the maximum number of pages of a listing in flight: without offsets one, since each page names the next;
    /// otherwise one per worker.
    fn pages_at_once(&self) -> usize {
        let Context { pipeline, plan } = self.context;
        if pipeline.counts_rows() { plan.worker_count.max(1) } else { 1 }
    }

    /// Returns whether no record waits for a batch.
    pub fn is_empty(&self) -> bool {
        self.batcher.is_empty()
    }

    /// Returns the number of records that the sink has not accepted yet.
    pub fn pending(&self) -> usize {
        self.watermark.pending()
    }

    /// Returns whether nothing counts as accepted before the sink is closed.
    pub fn settles_at_close(&self) -> bool {
        self.context.pipeline.spec.settles == Settles::AtClose
    }

    /// Returns the time at which a batch that is not full has to be sent.
    pub fn due(&self) -> Option<Instant> {
        self.batcher.due()
    }

    /// Returns the records that are not in flight yet.
    pub fn waiting(&self) -> impl Iterator<Item = &PendingRecord> {
        self.batcher.iter().chain(self.newer.values())
    }

    /// Queues a record. A newer version never overtakes an older one: it waits until the older one is
    /// settled. Returns whether it replaces a version that was waiting.
    pub fn queue(&mut self, pending: PendingRecord) -> bool {
        if !self.watermark.sent(pending.key) {
            return self.newer.insert(pending.key, pending).is_some();
        }
        self.push(pending);
        false
    }

    /// Returns whether a newer version of a record waits until this one is settled.
    pub fn has_newer(&self, key: u128) -> bool {
        self.newer.contains_key(&key)
    }

    fn push(&mut self, pending: PendingRecord) {
        if let Some(unclosed) = &mut self.unclosed {
            // A sink keeps the order in which versions are delivered.
            unclosed.followed(pending.key, pending.effect());
        }
        let size = pending.size();
        self.batcher.push(pending, size, Instant::now());
    }

    /// Takes the dead letter of a record that is not sent. Its pages wait until the dead letter is on disk,
    /// unless an older version in flight settles them.
    pub fn reject(&mut self, (letter, notice): (DeadLetter, Option<NewNotice>)) {
        let key = key_digest(&letter.key);
        let waits = self.watermark.sent(key);
        self.rejects.push((letter, waits));
        self.notices.extend(notice);
    }

    /// Takes the dead letter of a record that the sink has refused. Its pages wait until the dead letter is
    /// on disk; then a newer version follows, if there is one.
    pub fn refuse(&mut self, (letter, notice): (DeadLetter, Option<NewNotice>)) {
        self.rejects.push((letter, true));
        self.notices.extend(notice);
    }

    /// Adds the next page of a listing. The page is settled as soon as its records and all pages before it
    /// are.
    pub fn page(
        &mut self,
        listing: usize,
        page: Joined,
        progress: Progress,
        keys: impl Iterator<Item = u128>,
    ) {
        self.watermark.joined(listing, (page, progress), keys);
    }

    /// Sends batches that are due until the sink's slots are used; with `rest`, also the last, smaller one.
    pub fn send(&mut self, deliveries: &mut Deliveries<'a>, rest: bool) {
        let Context { pipeline, plan } = self.context;
        while deliveries.len() < pipeline.in_flight() {
            let Some(batch) = self.batcher.next(Instant::now(), rest) else { break };
            if let Some(unclosed) = &mut self.unclosed {
                unclosed.sent(batch.iter().map(|pending| pending.key));
            }
            deliveries.push(Box::pin(deliver(pipeline, plan.records.as_ref(), batch, &plan.events)));
        }
    }

    /// Records that the sink has accepted these records, of which it had some already. Returns the numbers of those
    /// that count as accepted now: none if the sink settles at its close.
    pub fn accepted(&mut self, accepted: Vec<AcceptedDelivery>, unchanged: u64) -> Settled {
        let keys: Vec<u128> = accepted.iter().map(|accepted| accepted.key).collect();
        let settled = match &mut self.unclosed {
            None => self.taken(Settled { accepted: keys.len() as u64, unchanged }),
            Some(unclosed) => {
                unclosed.accepted(accepted, unchanged);
                Settled::default()
            }
        };
        keys.into_iter().for_each(|key| self.settled(key));
        settled
    }

    /// Returns what was sent to a sink that settles at its close. To be called once, before the close.
    pub fn take_unclosed(&mut self) -> Unclosed {
        self.unclosed.as_mut().map(OpenDeliveries::take).unwrap_or_default()
    }

    /// Records that the sink was closed. Returns the numbers of deliveries that count as accepted now.
    pub fn closed(&mut self) -> Settled {
        let settled = self.unclosed.take().map(OpenDeliveries::closed).unwrap_or_default();
        self.taken(settled)
    }

    /// Notes for the poll of deferred errors that the sink has accepted something.
    fn taken(&self, settled: Settled) -> Settled {
        self.context.plan.taken.fetch_or(settled.accepted > 0, Ordering::Relaxed);
        settled
    }

    /// Settles a version of a record; a newer version that waited for it is queued.
    fn settled(&mut self, key: u128) {
        match self.newer.remove(&key) {
            Some(pending) => self.push(pending),
            None => self.watermark.settled(key),
        }
    }

    /// Writes the dead letters to disk, and only then settles their records.
    pub async fn write_dead_letters(&mut self) -> Result<(), Fault> {
        if self.rejects.is_empty() {
            return Ok(());
        }
        let (letters, waits): (Vec<DeadLetter>, Vec<bool>) = self.rejects.drain(..).unzip();
        let keys: Vec<u128> = letters.iter().map(|letter| key_digest(&letter.key)).collect();
        let Plan { store, records, .. } = self.context.plan;
        store.append_dead_letters(letters).await?;
        if !self.notices.is_empty() {
            records.notice(std::mem::take(&mut self.notices)).await?;
        }
        keys.into_iter().zip(waits).filter(|(_, waits)| *waits).for_each(|(key, _)| self.settled(key));
        Ok(())
    }

    /// Returns the pages settled since the last call, each with its listing and the progress after it.
    pub fn settled_pages(&mut self) -> Vec<(usize, (Joined, Progress))> {
        if self.unclosed.is_some() { vec![] } else { self.watermark.advance() }
    }

    /// Adds settled pages to the checkpoint, after the notices about their records are on disk. A sync of the pages
    /// also syncs what the sink has accepted.
    pub async fn checkpoint(&mut self, lines: Vec<Line>) -> Result<(), Fault> {
        if lines.is_empty() {
            return Ok(());
        }
        let Context { pipeline, plan } = self.context;
        if pipeline.notify.is_some() {
            plan.records.sync_notices().await?;
        }
        match self.checkpoint.append(lines).await? {
            true => plan.records.sync().await,
            false => Ok(()),
        }
    }

    /// Changes the end of the windows in the checkpoint.
    pub fn end_at(&mut self, until: DateTime<Utc>) {
        self.checkpoint.until(until);
    }
}
