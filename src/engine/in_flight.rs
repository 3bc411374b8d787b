//! The records of a batch in flight: which of their payloads are settled, and which part of the batch is sent
//! next. No I/O except the wait before a part is sent again.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    batcher::Size,
    pending::{PendingRecord, RejectedRecord},
    plan::Pipeline,
};
use crate::{
    base::{backoff, event::RunEvent, events::RunEvents, fault::Fault},
    sink::{BatchLimits, Delivery, Prepared, Rejection, SinkSpec},
    store::records::{AcceptedDelivery, CacheRules},
};

/// Outcome of a batch.
pub struct Delivered {
    pub accepted: Vec<AcceptedDelivery>,
    /// Accepted records that the sink had already, and that have no effect on a consent and cause no notice.
    pub unchanged: Vec<u128>,
    pub rejected: Vec<RejectedRecord>,
}

/// Position of a payload: the index of its record in the batch, and its index in the record.
pub type Position = (usize, usize);

/// The records of a batch.
pub struct InFlight<'a> {
    records: Vec<Record>,
    cache: Option<&'a CacheRules>,
    /// Whether the sink may ask to retry single payloads.
    retries: bool,
}

struct Record {
    pending: PendingRecord,
    /// Number of payloads without an outcome.
    open: usize,
    /// Number of payloads that the sink had already.
    unchanged: usize,
    /// The first payload that was rejected, by its index.
    rejected: Option<(usize, Rejection)>,
    request_id: Option<Arc<str>>,
    /// Digest of the payloads, once it was computed.
    digest: Option<u128>,
}

/// Payloads of a batch that must not be sent together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Apart {
    /// Those of different records.
    pub records: bool,
    /// Those of the same record.
    pub payloads: bool,
}

impl Apart {
    /// Returns what this pipeline keeps apart. A payload that is sent again must not be overtaken by a later one
    /// of its record, or in a stream by a later event.
    pub fn of(pipeline: &Pipeline) -> Self {
        let SinkSpec { retries, limits, .. } = &pipeline.spec;
        let alone = limits.linger == Some(Duration::ZERO);
        Apart { records: alone || (*retries && pipeline.keeps_positions()), payloads: *retries }
    }
}

/// Payloads of a batch that are sent together.
pub struct Part {
    pub payloads: Vec<Position>,
    /// Number of attempts so far without progress.
    attempts: u32,
    /// Time of the last progress.
    since: Instant,
}

impl<'a> InFlight<'a> {
    /// Begins the delivery of a batch. With a `cache`, accepted records carry the digests of their payloads.
    pub fn new(batch: Vec<PendingRecord>, cache: Option<&'a CacheRules>, retries: bool) -> Self {
        let records = batch.into_iter().map(|pending| {
            let open = pending.size().payloads;
            Record { pending, open, unchanged: 0, rejected: None, request_id: None, digest: None }
        });
        InFlight { records: records.collect(), cache, retries }
    }

    /// Divides the batch into parts within the limits, the first one last. There is one, unless a record has
    /// more payloads than a batch may have, or the payloads are to be kept `apart`.
    pub fn parts(&self, limits: BatchLimits, apart: Apart) -> Vec<Part> {
        let open = |(record, of): (usize, &Record)| (0..of.open).map(move |payload| (record, payload));
        let mut positions: Vec<Position> = self.records.iter().enumerate().flat_map(open).collect();
        if apart.payloads && !apart.records {
            // The first payload of each record, then the second of each, and so on.
            positions.sort_by_key(|(record, payload)| (*payload, *record));
        }
        let (mut parts, mut payloads, mut size) = (vec![], Vec::<Position>::new(), Size::default());
        for position in positions {
            let (record, payload) = position;
            let larger = size.plus(self.records[record].pending.size_of(payload));
            let splits = payloads.last().is_some_and(|(before, of_before)| {
                larger.exceeds(limits)
                    || (apart.records && *before != record)
                    || (apart.payloads && *of_before != payload)
            });
            if splits {
                parts.push(Part::new(std::mem::take(&mut payloads)));
                size = Size::default();
            }
            payloads.push(position);
            size = size.plus(self.records[record].pending.size_of(payload));
        }
        parts.push(Part::new(payloads));
        parts.reverse();
        parts
    }

    pub fn payload(&self, (record, payload): Position) -> Prepared {
        self.records[record].pending.prepared(payload).clone()
    }

    /// Records the outcome of a part. Returns the records that are now accepted with all their payloads, and
    /// the payloads to send again.
    ///
    /// # Errors
    ///
    /// The outcome names a position that the part does not have, or one twice, or asks for a retry that the sink
    /// has not declared, or names a payload that was not accepted as unchanged: a bug of the sink.
    pub fn settle(
        &mut self,
        part: &Part,
        delivery: Delivery,
    ) -> Result<(Vec<AcceptedDelivery>, Vec<Position>), Fault> {
        let Delivery { receipt, rejected, retry, unchanged } = delivery;
        let mut accepted = vec![true; part.payloads.len()];
        let contradicts = || {
            Fault::list("the sink's report about a batch contradicts itself")
                .hint("this is a bug in importer, please report it; the next run continues from here")
        };
        for at in rejected.iter().map(|(at, _)| at).chain(&retry) {
            let known = accepted.get_mut(*at).is_some_and(|accepted| std::mem::replace(accepted, false));
            if !known || !(self.retries || retry.is_empty()) {
                return Err(contradicts());
            }
        }
        for at in unchanged {
            let accepted = accepted.get(at).is_some_and(|accepted| *accepted);
            let (record, _) = *part.payloads.get(at).filter(|_| accepted).ok_or_else(contradicts)?;
            self.records[record].unchanged += 1;
        }
        rejected.into_iter().for_each(|(at, rejection)| self.reject(part.payloads[at], rejection));
        let request_id: Option<Arc<str>> = receipt.request_id.map(Into::into);
        let mut settled = Vec::with_capacity(part.payloads.len());
        for ((record, _), _) in part.payloads.iter().zip(accepted).filter(|(_, accepted)| *accepted) {
            let record = &mut self.records[*record];
            record.open -= 1;
            record.request_id.clone_from(&request_id);
            if record.open == 0 && record.rejected.is_none() {
                settled.push(record.accepted(self.cache));
            }
        }
        Ok((settled, retry.into_iter().map(|at| part.payloads[at]).collect()))
    }

    /// Records that a payload was rejected.
    pub fn reject(&mut self, (record, payload): Position, rejection: Rejection) {
        let record = &mut self.records[record];
        record.open -= 1;
        record.rejected.get_or_insert((payload, rejection));
    }

    /// Returns the outcome of the batch, once every payload has one. A record is accepted if all of its
    /// payloads are.
    pub fn delivered(self) -> Delivered {
        let accepted = Vec::with_capacity(self.records.len());
        let mut delivered = Delivered { accepted, unchanged: vec![], rejected: vec![] };
        for mut record in self.records {
            match record.rejected {
                None => {
                    if record.is_unchanged() {
                        delivered.unchanged.push(record.pending.key);
                    }
                    delivered.accepted.push(record.accepted(self.cache));
                }
                Some((payload, rejection)) => {
                    delivered.rejected.push(record.pending.rejected(payload, rejection));
                }
            }
        }
        delivered
    }
}

impl Record {
    /// Returns whether the sink had all payloads already, or no row of a deletion, and nothing else depends on their
    /// delivery.
    fn is_unchanged(&self) -> bool {
        let pending = &self.pending;
        let effect = pending.opts_out || pending.opts_in || pending.notice.is_some();
        self.unchanged >= pending.size().payloads && !effect
    }

    fn accepted(&mut self, cache: Option<&CacheRules>) -> AcceptedDelivery {
        let Record { pending, digest, .. } = self;
        let digest = cache.map_or(0, |rules| *digest.get_or_insert_with(|| pending.digest(rules)));
        AcceptedDelivery {
            key: self.pending.key,
            digest,
            opted_out: self.pending.opts_out,
            request_id: self.request_id.clone(),
            notice: self.pending.notice.clone(),
        }
    }
}

impl Part {
    fn new(payloads: Vec<Position>) -> Self {
        Part { payloads, attempts: 0, since: Instant::now() }
    }

    /// Returns the two halves of a part with at least two payloads, the earlier one last.
    pub fn halves(mut self) -> [Part; 2] {
        let later = self.payloads.split_off(self.payloads.len() / 2);
        [Part::new(later), Part::new(self.payloads)]
    }

    /// Waits before these payloads of the part are sent again, and returns them as a part.
    ///
    /// # Errors
    ///
    /// There was no progress in six attempts or five minutes.
    pub async fn again(self, payloads: Vec<Position>, events: &RunEvents) -> Result<Part, Fault> {
        let (count, all) = (payloads.len(), self.payloads.len());
        let part = match count < all {
            true => Part { attempts: 1, ..Part::new(payloads) },
            false => Part { payloads, attempts: self.attempts + 1, ..self },
        };
        let wait = backoff::delay(part.attempts, fastrand::f64(), None);
        let waited = part.since.elapsed();
        if part.attempts >= backoff::TRIES || waited.saturating_add(wait) > backoff::PATIENCE {
            let (attempts, seconds) = (part.attempts, waited.as_secs());
            return Err(Fault::list(format!(
                "the sink did not accept {count} of {all} payloads: tried {attempts} times in {seconds} s"
            )));
        }
        events.emit(RunEvent::PartlyAccepted { left: count, payloads: all, wait });
        sleep(wait).await;
        Ok(part)
    }
}
