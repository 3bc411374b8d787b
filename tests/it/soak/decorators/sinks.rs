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
    sink::{BatchLimits, DeferredErrors, Delivery, Prepared, Rejection, Settles, Sink, SinkSpec},
};
use tokio::time::sleep;

/// Time of a call that reaches no service.
const LATENCY: Duration = Duration::from_millis(50);

/// A sink that checks that every batch is within its limits.
pub struct Limited {
    pub sink: Arc<dyn Sink>,
    pub limits: BatchLimits,
}

impl Sink for Limited {
    fn spec(&self) -> SinkSpec {
        self.sink.spec()
    }

    fn prepare(&self, payload: &Payload) -> Result<Prepared, Rejection> {
        self.sink.prepare(payload)
    }

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

    fn deferred_errors(&self) -> Option<&dyn DeferredErrors> {
        self.sink.deferred_errors()
    }
}

/// A sink that accepts some payloads of a batch later, as a stream with a limit for each of its parts does.
pub struct Throttled {
    pub sink: Arc<dyn Sink>,
    pub random: Arc<Mutex<Rng>>,
    /// Share of the payloads that have to be sent again, each time.
    pub share: f64,
}

impl Sink for Throttled {
    fn spec(&self) -> SinkSpec {
        self.sink.spec()
    }

    fn prepare(&self, payload: &Payload) -> Result<Prepared, Rejection> {
        self.sink.prepare(payload)
    }

    fn deliver<'a>(&'a self, batch: &'a [Prepared]) -> BoxFuture<'a, Result<Delivery, Fault>> {
        Box::pin(async move {
            let (retry, passed): (Vec<usize>, Vec<usize>) = {
                let mut random = self.random.lock().unwrap();
                (0..batch.len()).partition(|_| random.f64() < self.share)
            };
            if passed.is_empty() {
                sleep(LATENCY).await;
                return Ok(Delivery { retry, ..Delivery::default() });
            }
            let payloads: Vec<Prepared> = passed.iter().map(|at| batch[*at].clone()).collect();
            let mut delivery = self.sink.deliver(&payloads).await?;
            delivery.rejected.iter_mut().for_each(|(at, _)| *at = passed[*at]);
            delivery.retry.iter_mut().for_each(|at| *at = passed[*at]);
            delivery.retry.extend(retry);
            Ok(delivery)
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Fault>> {
        self.sink.close()
    }

    fn deferred_errors(&self) -> Option<&dyn DeferredErrors> {
        self.sink.deferred_errors()
    }
}

/// A sink that delivers everything at its close. If it is dropped before, nothing has happened.
pub struct AtClose {
    sink: Arc<dyn Sink>,
    random: Arc<Mutex<Rng>>,
    limits: BatchLimits,
    /// Probability that a close fails.
    failing: f64,
    /// The payloads since the last close.
    open: Mutex<Vec<Prepared>>,
}

impl AtClose {
    pub fn new(sink: Arc<dyn Sink>, random: Arc<Mutex<Rng>>, limits: BatchLimits, failing: f64) -> Self {
        AtClose { sink, random, limits, failing, open: Mutex::default() }
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
                || keys.contains(&prepared.key);
            if full && !batch.is_empty() {
                batches.push(std::mem::take(&mut batch));
                (bytes, keys) = (0, HashSet::new());
            }
            bytes += prepared.bytes.len();
            keys.insert(Arc::clone(&prepared.key));
            batch.push(prepared);
        }
        batches.push(batch);
        batches.retain(|batch| !batch.is_empty());
        batches
    }

    /// Returns after how many of these batches the close fails, if it does.
    fn fails(&self, batches: usize) -> Option<usize> {
        let mut random = self.random.lock().unwrap();
        (random.f64() < self.failing).then(|| match random.u32(..3) {
            0 => 0,
            1 => batches,
            _ => random.usize(..=batches),
        })
    }
}

impl Sink for AtClose {
    fn spec(&self) -> SinkSpec {
        SinkSpec { settles: Settles::AtClose, ..self.sink.spec() }
    }

    fn prepare(&self, payload: &Payload) -> Result<Prepared, Rejection> {
        self.sink.prepare(payload)
    }

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

    fn deferred_errors(&self) -> Option<&dyn DeferredErrors> {
        self.sink.deferred_errors()
    }
}
