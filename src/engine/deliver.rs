//! Payloads on their way to the sink, and what comes of them.

use chrono::{DateTime, Utc};

use super::plan::Ends;
use crate::{
    base::{
        fault::{Fault, Problem},
        record::Payload,
    },
    store::cache::Unchanged,
};

/// A payload on its way, and the record it was made of.
pub struct Parcel {
    pub print: u128,
    pub payload: Payload,
    pub opts_out: bool,
    /// Whether it opts in a record that was known with another status, or as opted out, before the run.
    pub opts_in: bool,
    /// When the record had last changed.
    pub changed: Option<DateTime<Utc>>,
}

/// What came of a batch.
pub struct Delivered {
    pub accepted: Vec<u128>,
    pub refused: Vec<(Parcel, Problem)>,
}

/// Delivers a batch. One that is refused as a whole is split until the records at fault stand alone. What is accepted is
/// remembered; what was accepted before counts for nothing as soon as another version is on its way.
pub async fn deliver(
    ends: &Ends,
    unchanged: Option<&Unchanged>,
    batch: Vec<Parcel>,
) -> Result<Delivered, Fault> {
    if let Some(unchanged) = unchanged {
        unchanged.forget(batch.iter().map(|parcel| parcel.print).collect()).await?;
    }
    let (records, payloads): (Vec<_>, Vec<Payload>) = batch
        .into_iter()
        .map(|Parcel { print, payload, opts_out, opts_in, changed }| {
            ((print, opts_out, (opts_in, changed)), payload)
        })
        .unzip();
    let mut fates: Vec<Option<Problem>> = vec![None; payloads.len()];
    let whole = 0..payloads.len();
    let mut ranges = vec![whole];
    while let Some(range) = ranges.pop() {
        match ends.sink.deliver(&payloads[range.clone()]).await {
            Ok(receipt) => {
                if let Some(unchanged) = unchanged {
                    let accepted = range
                        .map(|index| (records[index].0, unchanged.print(&payloads[index]), records[index].1));
                    let now = ends.source.now();
                    unchanged.accepted(accepted.collect(), receipt.request_id, now).await?;
                }
            }
            Err(Fault::TooLarge(problem)) if range.len() == 1 => fates[range.start] = Some(problem),
            Err(Fault::TooLarge(_)) => {
                let middle = range.start + range.len() / 2;
                // The earlier half first.
                ranges.extend([middle..range.end, range.start..middle]);
            }
            Err(fault) => return Err(fault),
        }
    }
    let mut delivered = Delivered { accepted: vec![], refused: vec![] };
    for (((print, opts_out, (opts_in, changed)), payload), fate) in
        records.into_iter().zip(payloads).zip(fates)
    {
        match fate {
            None => delivered.accepted.push(print),
            Some(problem) => {
                let parcel = Parcel { print, payload, opts_out, opts_in, changed };
                delivered.refused.push((parcel, problem));
            }
        }
    }
    Ok(delivered)
}
