//! Sinks that settle their batches in another way than the sink that they decorate.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;
use futures::future::BoxFuture;
use importer::{
    base::{fault::Fault, record::Payload},
    sink::{BatchLimits, DeferredErrors, Delivery, Prepared, Rejection, Sink, SinkSpec},
};
use tokio::time::sleep;

/// Time of a call that reaches no service.
const LATENCY: Duration = Duration::from_millis(50);

/// Reason of a rejection that a replay lifts.
pub const AT_FIRST: &str = "not_at_first";

/// What the sinks of a world share over its runs.
pub struct Chance {
    random: Mutex<Rng>,
    /// Payloads that a rejecting sink has seen.
    seen: Mutex<HashSet<Vec<u8>>>,
}

impl Chance {
    pub fn new(seed: u64) -> Self {
        Chance { random: Mutex::new(Rng::with_seed(seed)), seen: Mutex::default() }
    }

    /// Returns whether a payload is rejected: a share of those that come for the first time.
    fn rejects(&self, prepared: &Prepared, share: f64) -> bool {
        self.seen.lock().unwrap().insert(prepared.bytes.to_vec()) && self.random.lock().unwrap().f64() < share
    }
}

/// Forwards the methods of a sink that no decorator changes.
macro_rules! forwarded {
    () => {
        fn spec(&self) -> SinkSpec {
            self.sink.spec()
        }

        fn prepare(&self, payload: &Payload) -> Result<Prepared, Rejection> {
            self.sink.prepare(payload)
        }

        fn deferred_errors(&self) -> Option<&dyn DeferredErrors> {
            self.sink.deferred_errors()
        }
    };
}

/// Passes the payloads on that `passes` names by position, in one delivery. Reports none of the others.
async fn pass_on(sink: &dyn Sink, batch: &[Prepared], passes: &[usize]) -> Result<Delivery, Fault> {
    if passes.is_empty() {
        sleep(LATENCY).await;
        return Ok(Delivery::default());
    }
    let payloads: Vec<Prepared> = passes.iter().map(|at| batch[*at].clone()).collect();
    let mut delivery = sink.deliver(&payloads).await?;
    delivery.rejected.iter_mut().for_each(|(at, _)| *at = passes[*at]);
    delivery.retry.iter_mut().for_each(|at| *at = passes[*at]);
    Ok(delivery)
}

/// A sink that checks that every batch is within its limits.
pub struct Limited {
    pub sink: Arc<dyn Sink>,
    pub limits: BatchLimits,
}

impl Sink for Limited {
    forwarded!();

    fn deliver<'a>(&'a self, batch: &'a [Prepared]) -> BoxFuture<'a, Result<Delivery, Fault>> {
        let BatchLimits { records, bytes, linger, .. } = self.limits;
        let most = if linger == Some(Duration::ZERO) { 1 } else { records };
        assert!((1..=most).contains(&batch.len()), "{} records, {:?}", batch.len(), self.limits);
        let size: usize = batch.iter().map(|prepared| prepared.bytes.len()).sum();
        assert!(bytes.is_none_or(|most| size <= most), "{size} bytes, {:?}", self.limits);
        self.sink.deliver(batch)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Fault>> {
        self.sink.close()
    }
}

/// A sink that accepts some payloads of a batch later, as a stream with a limit for each of its parts does.
pub struct Throttled {
    pub sink: Arc<dyn Sink>,
    pub chance: Arc<Chance>,
    /// Share of the payloads that have to be sent again, each time.
    pub share: f64,
}

impl Sink for Throttled {
    forwarded!();

    fn deliver<'a>(&'a self, batch: &'a [Prepared]) -> BoxFuture<'a, Result<Delivery, Fault>> {
        Box::pin(async move {
            let (retry, passes): (Vec<usize>, Vec<usize>) = {
                let mut random = self.chance.random.lock().unwrap();
                (0..batch.len()).partition(|_| random.f64() < self.share)
            };
            let mut delivery = pass_on(&*self.sink, batch, &passes).await?;
            delivery.retry.extend(retry);
            Ok(delivery)
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Fault>> {
        self.sink.close()
    }
}

/// A sink that rejects some payloads the first time, and accepts them at a replay.
pub struct Rejecting {
    pub sink: Arc<dyn Sink>,
    pub chance: Arc<Chance>,
    /// Share of the new payloads that are rejected.
    pub share: f64,
}

impl Sink for Rejecting {
    forwarded!();

    fn deliver<'a>(&'a self, batch: &'a [Prepared]) -> BoxFuture<'a, Result<Delivery, Fault>> {
        Box::pin(async move {
            let (rejected, passes): (Vec<usize>, Vec<usize>) =
                (0..batch.len()).partition(|at| self.chance.rejects(&batch[*at], self.share));
            let mut delivery = pass_on(&*self.sink, batch, &passes).await?;
            delivery.rejected.extend(rejected.into_iter().map(|at| (at, Rejection::new(AT_FIRST))));
            Ok(delivery)
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Fault>> {
        self.sink.close()
    }
}

/// A sink that delivers everything at its close. If it is dropped before, nothing has happened.
pub struct AtClose {
    sink: Arc<dyn Sink>,
    chance: Arc<Chance>,
    limits: BatchLimits,
    /// Probability that a close fails.
    failing: f64,
    /// The payloads since the last close.
    open: Mutex<Vec<Prepared>>,
}

impl AtClose {
    pub fn new(sink: Arc<dyn Sink>, chance: Arc<Chance>, limits: BatchLimits, failing: f64) -> Self {
        AtClose { sink, chance, limits, failing, open: Mutex::default() }
    }

    /// Divides the payloads since the last close into batches within the limits, in their order. No batch has two versions of
    /// a record.
    fn batches(&self) -> Vec<Vec<Prepared>> {
        let open = std::mem::take(&mut *self.open.lock().unwrap());
        let (mut batches, mut batch) = (vec![], vec![]);
        let (mut bytes, mut keys) = (0, HashSet::new());
        for prepared in open {
            let larger = bytes + prepared.bytes.len();
            let full = batch.len() == self.limits.records
                || self.limits.bytes.is_some_and(|most| larger > most)
                || keys.contains(&prepared.key.digest());
            if full && !batch.is_empty() {
                batches.push(std::mem::take(&mut batch));
                (bytes, keys) = (0, HashSet::new());
            }
            bytes += prepared.bytes.len();
            keys.insert(prepared.key.digest());
            batch.push(prepared);
        }
        batches.push(batch);
        batches.retain(|batch| !batch.is_empty());
        batches
    }

    /// Returns after how many of these batches the close fails, if it does.
    fn fails(&self, batches: usize) -> Option<usize> {
        let mut random = self.chance.random.lock().unwrap();
        (random.f64() < self.failing).then(|| match random.u32(..3) {
            0 => 0,
            1 => batches,
            _ => random.usize(..=batches),
        })
    }
}

impl Sink for AtClose {
    forwarded!();

    fn deliver<'a>(&'a self, batch: &'a [Prepared]) -> BoxFuture<'a, Result<Delivery, Fault>> {
        Box::pin(async move {
            sleep(LATENCY).await;
            self.open.lock().unwrap().extend(batch.iter().cloned());
            Ok(Delivery::default())
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            sleep(LATENCY).await;
            let batches = self.batches();
            let fails = self.fails(batches.len());
            for batch in &batches[..fails.unwrap_or(batches.len())] {
                let Delivery { rejected, retry, .. } = self.sink.deliver(batch).await?;
                if !rejected.is_empty() || !retry.is_empty() {
                    return Err(Fault::list("the decorated sink did not accept a batch as a whole"));
                }
            }
            match fails {
                None => self.sink.close().await,
                Some(_) => Err(Fault::list("the sink could not be closed")),
            }
        })
    }
}
