//! Records on their way to the sink: batches them across pages, makes newer versions wait for older ones,
//! stores rejected records, and determines which pages are settled.

use std::{collections::HashMap, sync::atomic::Ordering};

use chrono::{DateTime, Utc};
use futures::{future::BoxFuture, stream::FuturesUnordered};

use super::Context;
use crate::{
    base::fault::Fault,
    engine::{
        batcher::Batcher,
        deliver::{Delivered, PendingRecord, deliver},
        paging::offset::Joined,
        watermark::Watermark,
    },
    store::{
        checkpoint::{Checkpoint, Line},
        dead_letter::{self, DeadLetter},
        progress::{Progress, Row},
        seen::{Seen, record_key},
    },
};

/// Batches in flight.
pub(super) type Deliveries<'a> = FuturesUnordered<BoxFuture<'a, Result<Delivered, Fault>>>;

pub(super) struct Outbox<'a> {
    context: Context<'a>,
    batcher: Batcher<PendingRecord>,
    /// Newer versions of records whose older version is queued or in flight.
    newer: HashMap<u128, PendingRecord>,
    /// Dead letters that are not on disk yet, each with whether a page waits for it.
    rejects: Vec<(DeadLetter, bool)>,
    watermark: Watermark<(Joined, Progress)>,
    checkpoint: &'a mut Checkpoint,
}

impl<'a> Outbox<'a> {
    pub fn new(context: Context<'a>, listings: usize, checkpoint: &'a mut Checkpoint) -> Self {
        let size = context.pipeline.sink.limits().records.min(context.plan.items_per_request);
        Outbox {
            context,
            batcher: Batcher::new(size),
            newer: HashMap::new(),
            rejects: Vec::new(),
            watermark: Watermark::new(listings),
            checkpoint,
        }
    }

    /// Returns whether more pages may be read: not while the sink is so slow that their records would pile up.
    pub fn has_room(&self) -> bool {
        self.batcher.waiting() <= self.batcher.size() * self.context.pipeline.sink.limits().in_flight
    }

    /// Returns whether another page of this listing may be read. One delivery that hangs stops the watermark,
    /// and all pages beyond it would be sent again after a crash. Therefore only two rounds of deliveries may
    /// wait.
    pub fn has_room_for(&self, listing: usize) -> bool {
        let rows = 2 * self.batcher.size() * self.context.pipeline.sink.limits().in_flight;
        let most = (rows / self.context.plan.items_per_request).max(2);
        self.watermark.waiting(listing) < most
    }

    /// Returns whether no record waits for a batch.
    pub fn is_empty(&self) -> bool {
        self.batcher.waiting() == 0
    }

    /// Returns the records that are not in flight yet.
    pub fn waiting(&self) -> impl Iterator<Item = &PendingRecord> {
        self.batcher.iter().chain(self.newer.values())
    }

    /// Queues a record. A newer version never overtakes an older one: it waits until the older one is
    /// settled. Returns whether it replaces a version that was waiting.
    pub fn queue(&mut self, pending: PendingRecord) -> bool {
        if self.watermark.is_pending(pending.key) {
            return self.newer.insert(pending.key, pending).is_some();
        }
        self.watermark.sent(pending.key);
        self.batcher.push(pending);
        false
    }

    /// Takes the dead letter of a record that is not sent. Its pages wait until the dead letter is on disk,
    /// unless an older version in flight settles them.
    pub fn reject(&mut self, letter: DeadLetter) {
        let key = record_key(&letter.key);
        let waits = !self.watermark.is_pending(key);
        if waits {
            self.watermark.sent(key);
        }
        self.rejects.push((letter, waits));
    }

    /// Takes the dead letter of a record that the sink has refused. Its pages wait until the dead letter is
    /// on disk; then a newer version follows, if there is one.
    pub fn refuse(&mut self, letter: DeadLetter) {
        self.rejects.push((letter, true));
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

    /// Sends full batches until the sink's slots are used; with `rest`, also the last, smaller one.
    pub fn send(&mut self, deliveries: &mut Deliveries<'a>, rest: bool) {
        let Context { pipeline, plan } = self.context;
        while deliveries.len() < pipeline.in_flight() {
            let batch = if rest { self.batcher.rest() } else { self.batcher.full() };
            let Some(batch) = batch else { break };
            deliveries.push(Box::pin(deliver(pipeline, plan.unchanged.on(), batch)));
        }
    }

    /// Records the acceptance of these records by the sink.
    pub fn accepted(&mut self, keys: Vec<u128>) {
        self.context.plan.taken.fetch_or(!keys.is_empty(), Ordering::Relaxed);
        keys.into_iter().for_each(|key| self.settled(key));
    }

    /// Settles a version of a record; a newer version that waited for it is queued.
    fn settled(&mut self, key: u128) {
        match self.newer.remove(&key) {
            Some(pending) => self.batcher.push(pending),
            None => self.watermark.settled(key),
        }
    }

    /// Writes the dead letters to disk, and only then settles their records.
    pub async fn write_dead_letters(&mut self) -> Result<(), Fault> {
        if self.rejects.is_empty() {
            return Ok(());
        }
        let (letters, waits): (Vec<DeadLetter>, Vec<bool>) = self.rejects.drain(..).unzip();
        let keys: Vec<u128> = letters.iter().map(|letter| record_key(&letter.key)).collect();
        dead_letter::append(&self.context.plan.dead_letter, letters).await?;
        keys.into_iter().zip(waits).filter(|(_, waits)| *waits).for_each(|(key, _)| self.settled(key));
        Ok(())
    }

    /// Returns the pages settled since the last call, each with its listing and the progress after it.
    pub fn settled_pages(&mut self) -> Vec<(usize, (Joined, Progress))> {
        self.watermark.advance()
    }

    /// Adds settled pages to the checkpoint.
    pub async fn checkpoint(&mut self, lines: Vec<Line>) -> Result<(), Fault> {
        if lines.is_empty() { Ok(()) } else { self.checkpoint.append(lines).await }
    }

    /// Changes the end of the windows in the checkpoint.
    pub fn end_at(&mut self, until: DateTime<Utc>) {
        self.checkpoint.until(until);
    }
}

/// Returns the names of statuses and fates, and the rows of a settled page, in the format of the checkpoint.
pub(super) fn rows_of_line(seen: &Seen, rows: &[Row]) -> (Vec<String>, String) {
    let names = if rows.is_empty() { vec![] } else { seen.names().to_vec() };
    (names, seen.encode(rows))
}
