//! The single path of a batch to the sink, for runs and replays.

use super::{
    in_flight::{Apart, Delivered, InFlight},
    pending::PendingRecord,
    plan::Pipeline,
};
use crate::{
    base::{event::RunEvent, events::RunEvents, fault::Fault},
    sink::{Prepared, Rejection, Settles},
    store::{
        DeliveryCache,
        records::{AcceptedDelivery, NewNotice},
    },
};

/// Delivers a batch. A part that the sink refuses as a whole is halved until each payload at fault is in a
/// part of its own; payloads that the sink asks to retry are sent again by themselves.
///
/// With [`Settles::EachBatch`], the cache forgets the records before they are sent, and stores those that
/// were accepted. A crash in between therefore repeats a delivery, but never hides one. With
/// [`Settles::AtClose`], [`close`] does both. The same holds for the notices that the delivery causes, also without a
/// cache.
///
/// # Errors
///
/// * Any fault of the sink, except [`Fault::TooLarge`].
/// * [`Fault::List`]: the sink did not accept some payloads in six attempts or five minutes without progress.
/// * The records of the delivery can't be written.
///
/// The fate of the records is unknown then.
pub async fn deliver(
    pipeline: &Pipeline,
    records: &dyn DeliveryCache,
    batch: Vec<PendingRecord>,
    events: &RunEvents,
) -> Result<Delivered, Fault> {
    let (cache, at_once) = (records.cache(), pipeline.spec.settles == Settles::EachBatch);
    if let Some(cache) = cache.filter(|_| at_once) {
        cache.forget(batch.iter().map(|pending| pending.key).collect()).await?;
    }
    if pipeline.notify.is_some() {
        records.forget_noticed(batch.iter().map(|pending| (pending.key, pending.effect())).collect()).await?;
    }
    let writes = Some(records).filter(|_| at_once && (cache.is_some() || pipeline.notify.is_some()));
    let mut batch = InFlight::new(batch, cache.map(|cache| cache.rules()), pipeline.spec.retries);
    let mut parts = batch.parts(pipeline.spec.limits, Apart::of(pipeline));
    while let Some(part) = parts.pop() {
        let payloads: Vec<Prepared> = part.payloads.iter().map(|at| batch.payload(*at)).collect();
        match pipeline.sink.deliver(&payloads).await {
            Ok(delivery) => {
                let (accepted, retry) = batch.settle(&part, delivery)?;
                events.emit(RunEvent::BatchDelivered { payloads: part.payloads.len() - retry.len() });
                if let Some(records) = writes {
                    records.accepted(accepted, pipeline.source.now()).await?;
                }
                if !retry.is_empty() {
                    parts.push(part.again(retry, events).await?);
                }
            }
            Err(Fault::TooLarge(problem)) if part.payloads.len() == 1 => {
                batch.reject(part.payloads[0], Rejection::refused(&problem));
            }
            Err(Fault::TooLarge(_)) => parts.extend(part.halves()),
            Err(fault) => return Err(fault),
        }
    }
    Ok(batch.delivered())
}

/// What was sent to a sink with [`Settles::AtClose`] since its last close.
#[derive(Default)]
pub struct Unclosed {
    /// The records.
    pub keys: Vec<u128>,
    /// What the sink has accepted of their last versions.
    pub accepted: Vec<AcceptedDelivery>,
    /// Notices about their older versions, which the sink has accepted too.
    pub older: Vec<NewNotice>,
}

/// Closes the sink, which makes the batches since its last close final.
///
/// The cache forgets the unclosed records before the close. After the close, the cache stores what the sink has
/// accepted, and the outbox the notices. If the sink does not settle at its close, nothing is unclosed.
///
/// # Errors
///
/// The fault of the sink, or the records of the delivery can't be written.
pub async fn close(
    pipeline: &Pipeline,
    records: &dyn DeliveryCache,
    Unclosed { keys, accepted, older }: Unclosed,
) -> Result<(), Fault> {
    if let Some(cache) = records.cache() {
        cache.forget(keys).await?;
    }
    pipeline.sink.close().await?;
    if !older.is_empty() {
        records.notice(older).await?;
    }
    records.accepted(accepted, pipeline.source.now()).await
}
