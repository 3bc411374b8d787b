//! The notices of a delivery: makes them, and delivers those that wait to their receiver.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde_json::value::to_raw_value;

use super::plan::Pipeline;
use crate::{
    base::{
        fault::Fault,
        key::key_digest,
        notice::{Distinction, Notice, NoticeKind},
        record::Payload,
    },
    sink::{Delivery, Opened, Prepared},
    store::{Outbox, records::NewNotice},
};

/// Makes the notice of an event; `None` if the entry has no receiver of notices.
pub fn notice(
    pipeline: &Pipeline,
    kind: NoticeKind,
    key: &str,
    distinction: Distinction<'_>,
) -> Option<NewNotice> {
    pipeline.notify.as_ref()?;
    let notice = Notice::new(&pipeline.delivery, kind, key, distinction, pipeline.clock.now());
    // Events of a stream are unique, so nothing is stored about their records.
    let record = (!pipeline.keeps_positions()).then(|| key_digest(key));
    Some(NewNotice { notice, record })
}

/// Numbers of notices that were removed from an outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    pub confirmed: u64,
    /// Those that the receiver has refused for good.
    pub refused: u64,
}

/// Delivers the oldest notices as one batch, and removes those that the receiver has confirmed or refused for good.
/// Adds their numbers to `removed`. Returns whether there were any.
///
/// A notice is removed only after its confirmation or refusal, so a crash may repeat it. The notices of a record
/// arrive in order: one batch at a time is in flight, and if the receiver may ask to retry single notices, a batch
/// has only one notice of each record.
///
/// # Errors
///
/// The fault of the receiver or of the outbox. The notices that were not confirmed stay.
pub async fn deliver_oldest(
    outbox: &dyn Outbox,
    receiver: &Opened,
    now: DateTime<Utc>,
    removed: &mut Removed,
) -> Result<bool, Fault> {
    let waiting = outbox.oldest(receiver.spec.limits.records, now).await?;
    if waiting.is_empty() {
        return Ok(false);
    }
    let mut batch = Batch::prepare(receiver, waiting);
    let delivered = batch.deliver(receiver).await;
    let Batch { settled, refused, .. } = batch;
    let confirmed = settled.len() as u64 - refused;
    if !settled.is_empty() {
        outbox.remove(settled, refused).await?;
    }
    removed.confirmed += confirmed;
    removed.refused += refused;
    delivered.map(|()| true)
}

/// Notices that are delivered together.
#[derive(Default)]
struct Batch {
    /// The encoded notices, each with its number.
    notices: Vec<(u64, Prepared)>,
    /// Numbers of the notices to remove.
    settled: Vec<u64>,
    /// Number of those that were refused.
    refused: u64,
}

impl Batch {
    /// Encodes notices in their order, as many as fit into one batch.
    fn prepare(receiver: &Opened, waiting: Vec<(u64, Notice)>) -> Self {
        let Opened { sink, spec } = receiver;
        let (mut batch, mut keys, mut bytes) = (Batch::default(), HashSet::new(), 0);
        for (number, notice) in waiting {
            let payload =
                Payload { key: notice.id.as_str().into(), body: to_raw_value(&notice).ok().map(Into::into) };
            let prepared = match sink.prepare(&payload) {
                Ok(prepared) => prepared,
                Err(_) => {
                    batch.refuse(number);
                    continue;
                }
            };
            bytes += prepared.bytes.len();
            let is_full = !batch.notices.is_empty() && spec.limits.bytes.is_some_and(|most| bytes > most);
            if is_full || (spec.retries && !keys.insert(notice.key)) {
                break;
            }
            batch.notices.push((number, prepared));
        }
        batch
    }

    fn refuse(&mut self, number: u64) {
        self.settled.push(number);
        self.refused += 1;
    }

    /// Delivers the batch. A part that the receiver refuses as a whole is halved until each notice at fault is alone.
    async fn deliver(&mut self, receiver: &Opened) -> Result<(), Fault> {
        let mut parts = vec![std::mem::take(&mut self.notices)];
        while let Some(mut part) = parts.pop() {
            let payloads: Vec<Prepared> = part.iter().map(|(_, prepared)| prepared.clone()).collect();
            if payloads.is_empty() {
                continue;
            }
            match receiver.sink.deliver(&payloads).await {
                Ok(Delivery { rejected, retry, .. }) => {
                    let numbers = part.iter().map(|(number, _)| *number).enumerate();
                    self.settled
                        .extend(numbers.filter(|(at, _)| !retry.contains(at)).map(|(_, number)| number));
                    self.refused += rejected.len() as u64;
                    if !retry.is_empty() {
                        let (left, sent) = (retry.len(), part.len());
                        return Err(Fault::retry(format!(
                            "the receiver did not accept {left} of {sent} notices"
                        )));
                    }
                }
                Err(Fault::TooLarge(_)) if part.len() == 1 => self.refuse(part[0].0),
                Err(Fault::TooLarge(_)) => {
                    let later = part.split_off(part.len() / 2);
                    parts.extend([later, part]);
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "notices_tests.rs"]
mod tests;
