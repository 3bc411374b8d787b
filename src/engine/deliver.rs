//! The single path from a record to the sink, for runs and replays: maps the record, delivers its batch, and
//! creates the dead letter of a record that can't be delivered.

use chrono::{DateTime, Utc};

use super::plan::Pipeline;
use crate::{
    base::{
        fault::{Fault, Problem},
        record::{LeftOut, Mapped, Outgoing, Payload, Reason, Record, UNREADABLE},
        time,
    },
    store::{cache::DeliveryCache, dead_letter::DeadLetter, seen::record_key},
};

/// A payload that waits for its delivery, with what is known about its record.
pub struct PendingRecord {
    /// Fingerprint of the record's key.
    pub key: u128,
    pub payload: Payload,
    pub opts_out: bool,
    /// Whether the payload opts in a record that was known with another status, or as opted out, before the
    /// run.
    pub opts_in: bool,
    /// Time of the record's last change.
    pub changed: Option<DateTime<Utc>>,
}

/// Result of mapping a record, before anything is sent.
pub enum Prepared {
    /// A payload for the sink, and the fields that were left out of it. `opts_in` is the mapping's claim.
    Send(PendingRecord, Vec<LeftOut>),
    /// A rule of the mapping skips the record.
    Skip(Reason),
    /// The record can't be sent. Contains the payload that the sink would refuse, if the mapping made one.
    Reject(Reason, Option<PendingRecord>),
}

/// Outcome of a batch.
pub struct Delivered {
    /// Fingerprints of the accepted records.
    pub accepted: Vec<u128>,
    pub refused: Vec<(PendingRecord, Problem)>,
}

/// Maps a record and checks whether the sink would accept the payload. Sends nothing.
pub fn prepare(pipeline: &Pipeline, record: &Record) -> Prepared {
    if record.unreadable.is_some() {
        return Prepared::Reject(UNREADABLE, None);
    }
    let Outgoing { body, opts_out, opts_in, left_out } = match pipeline.mapping.map(record) {
        Mapped::Send(outgoing) => outgoing,
        Mapped::Skip(reason) => return Prepared::Skip(reason),
        Mapped::Reject(reason) => return Prepared::Reject(reason, None),
    };
    let payload = Payload { key: record.key.clone(), body: Some(body) };
    let opts_out = opts_out || pipeline.sink.opts_out(&payload);
    let key = record_key(&record.key);
    let pending = PendingRecord { key, payload, opts_out, opts_in, changed: record.changed };
    match pipeline.sink.refusal(&pending.payload) {
        Some(reason) => Prepared::Reject(reason, Some(pending)),
        None => Prepared::Send(pending, left_out),
    }
}

impl PendingRecord {
    /// Returns the pending deletion of a record that is gone at the source.
    pub fn deletion(key: String, changed: Option<DateTime<Utc>>) -> Self {
        let print = record_key(&key);
        PendingRecord {
            key: print,
            payload: Payload { key, body: None },
            opts_out: false,
            opts_in: false,
            changed,
        }
    }

    /// Returns the dead letter of a payload that the sink refused or would refuse.
    pub fn dead_letter(self, entry: String, reason: String, now: DateTime<Utc>) -> DeadLetter {
        let PendingRecord { payload: Payload { key, body }, opts_out, changed, .. } = self;
        let (time, deleted) = (time::rfc3339(now), body.is_none());
        DeadLetter { key, entry, reason, request_id: None, time, changed, opts_out, deleted, payload: body }
    }

    /// Returns the dead letter of a payload that the sink refused.
    pub fn refused(self, entry: String, problem: Problem, now: DateTime<Utc>) -> DeadLetter {
        let letter = self.dead_letter(entry, problem.to_string(), now);
        DeadLetter { request_id: problem.request_id.map(String::from), ..letter }
    }
}

/// Returns the dead letter of a record that could not be mapped to a payload.
pub fn dead_letter(record: &Record, entry: String, reason: Reason, now: DateTime<Utc>) -> DeadLetter {
    DeadLetter {
        key: record.key.clone(),
        entry,
        reason: match &record.unreadable {
            Some(why) => format!("{reason}: {why}"),
            None => reason.to_owned(),
        },
        request_id: None,
        time: time::rfc3339(now),
        changed: record.changed,
        opts_out: false,
        deleted: record.deleted,
        payload: None,
    }
}

/// Delivers a batch. A batch that the sink refuses as a whole is halved until each record at fault is in a
/// batch of its own.
///
/// The cache forgets the records before they are sent, and stores those that were accepted. A crash in
/// between therefore repeats a delivery, but never hides one.
///
/// # Errors
///
/// Any fault of the sink except [`Fault::TooLarge`], and a cache that can't be written. The fate of the
/// records is unknown then.
pub async fn deliver(
    pipeline: &Pipeline,
    unchanged: Option<&DeliveryCache>,
    batch: Vec<PendingRecord>,
) -> Result<Delivered, Fault> {
    if let Some(unchanged) = unchanged {
        unchanged.forget(batch.iter().map(|pending| pending.key).collect()).await?;
    }
    let (records, payloads): (Vec<_>, Vec<Payload>) = batch
        .into_iter()
        .map(|PendingRecord { key, payload, opts_out, opts_in, changed }| {
            ((key, opts_out, (opts_in, changed)), payload)
        })
        .unzip();
    let mut fates: Vec<Option<Problem>> = vec![None; payloads.len()];
    let whole = 0..payloads.len();
    let mut ranges = vec![whole];
    while let Some(range) = ranges.pop() {
        match pipeline.sink.deliver(&payloads[range.clone()]).await {
            Ok(receipt) => {
                if let Some(unchanged) = unchanged {
                    let accepted = range.map(|index| {
                        (records[index].0, unchanged.digest(&payloads[index]), records[index].1)
                    });
                    let now = pipeline.source.now();
                    unchanged.accepted(accepted.collect(), receipt.request_id, now).await?;
                }
            }
            Err(Fault::TooLarge(problem)) if range.len() == 1 => fates[range.start] = Some(problem),
            Err(Fault::TooLarge(_)) => {
                let middle = range.start + range.len() / 2;
                // The earlier half is delivered first.
                ranges.extend([middle..range.end, range.start..middle]);
            }
            Err(fault) => return Err(fault),
        }
    }
    let mut delivered = Delivered { accepted: vec![], refused: vec![] };
    for (((key, opts_out, (opts_in, changed)), payload), fate) in records.into_iter().zip(payloads).zip(fates)
    {
        match fate {
            None => delivered.accepted.push(key),
            Some(problem) => {
                let pending = PendingRecord { key, payload, opts_out, opts_in, changed };
                delivered.refused.push((pending, problem));
            }
        }
    }
    Ok(delivered)
}
