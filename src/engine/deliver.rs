//! The single path of a batch to the sink, for runs and replays.

use super::{
    in_flight::{Apart, Delivered, InFlight},
    pending::PendingRecord,
    plan::Pipeline,
};
use crate::{
    base::{event::RunEvent, events::RunEvents, fault::Fault},
    sink::{Prepared, Rejection, Settles},
    store::{DeliveryCache, records::AcceptedDelivery},
};

/// Delivers a batch. A part that the sink refuses as a whole is halved until each payload at fault is in a
/// part of its own; payloads that the sink asks to retry are sent again by themselves.
///
/// With [`Settles::EachBatch`], the cache forgets the records before they are sent, and stores those that
/// were accepted. A crash in between therefore repeats a delivery, but never hides one. With
/// [`Settles::AtClose`], [`close`] does both.
///
/// # Errors
///
/// * Any fault of the sink, except [`Fault::TooLarge`].
/// * [`Fault::List`]: the sink did not accept some payloads in six attempts or five minutes without progress.
/// * The cache can't be written.
///
/// The fate of the records is unknown then.
pub async fn deliver(
    pipeline: &Pipeline,
    cache: Option<&dyn DeliveryCache>,
    batch: Vec<PendingRecord>,
    events: &RunEvents,
) -> Result<Delivered, Fault> {
    let writes = cache.filter(|_| pipeline.spec.settles == Settles::EachBatch);
    if let Some(cache) = writes {
        cache.forget(batch.iter().map(|pending| pending.key).collect()).await?;
    }
    let mut batch = InFlight::new(batch, cache.map(|cache| cache.rules()), pipeline.spec.retries);
    let mut parts = batch.parts(pipeline.spec.limits, Apart::of(pipeline));
    while let Some(part) = parts.pop() {
        let payloads: Vec<Prepared> = part.payloads.iter().map(|at| batch.payload(*at)).collect();
        match pipeline.sink.deliver(&payloads).await {
            Ok(delivery) => {
                let (accepted, retry) = batch.settle(&part, delivery)?;
                events.emit(RunEvent::BatchDelivered { payloads: part.payloads.len() - retry.len() });
                if let Some(cache) = writes {
                    cache.accepted(accepted, pipeline.source.now()).await?;
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

/// Closes the sink, which makes the batches since its last close final.
///
/// `keys` are the records of these batches if the sink settles at its close; otherwise there are none. The cache
/// forgets them before the close. After the close, the cache stores `accepted`.
///
/// # Errors
///
/// The fault of the sink, or the cache can't be written.
pub async fn close(
    pipeline: &Pipeline,
    cache: Option<&dyn DeliveryCache>,
    (keys, accepted): (Vec<u128>, Vec<AcceptedDelivery>),
) -> Result<(), Fault> {
    if let Some(cache) = cache {
        cache.forget(keys).await?;
    }
    pipeline.sink.close().await?;
    match cache {
        Some(cache) => cache.accepted(accepted, pipeline.source.now()).await,
        None => Ok(()),
    }
}
