//! One attempt to deliver the notices of a delivery.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::Semaphore;

use crate::{
    base::{clock::Clock, events::Events, fault::Fault, identity::DeliveryId},
    controller::{Open, OpenRequest},
    engine::notices::{Removed, deliver_oldest},
    state::Entry,
    store::{
        Outbox,
        records::{Databases, StoredOutbox},
    },
};

/// What every attempt uses.
#[derive(Clone)]
pub(super) struct Tools {
    pub open: Arc<Open>,
    pub databases: Arc<Databases>,
    pub clock: Arc<dyn Clock>,
    pub events: Events,
    /// Permits to search a database for notices.
    pub searches: Arc<Semaphore>,
    /// Number of batches that were delivered since the start.
    pub batches: Arc<AtomicU64>,
}

/// Result of an attempt.
pub(super) struct Attempt {
    pub removed: Removed,
    /// Why notices are left, and their number, if it is known.
    pub failed: Option<(String, Option<u64>)>,
}

impl Tools {
    /// Returns the delivery of an entry; `None` if it can't be opened, which the check of the file reports.
    pub fn delivery(&self, entry: &Entry) -> Option<DeliveryId> {
        (self.open)(OpenRequest { entry, urgent: false }).ok().map(|pipeline| pipeline.delivery)
    }

    /// Delivers notices until none is left.
    pub async fn attempt(&self, entry: &Entry, outbox: &StoredOutbox) -> Attempt {
        let mut removed = Removed::default();
        let Err(fault) = self.deliver(entry, outbox, &mut removed).await else {
            return Attempt { removed, failed: None };
        };
        let waiting = outbox.status().await.ok().map(|status| status.waiting);
        Attempt { removed, failed: Some((fault.to_string(), waiting)) }
    }

    async fn deliver(&self, entry: &Entry, outbox: &StoredOutbox, sum: &mut Removed) -> Result<(), Fault> {
        let search = self.searches.acquire().await;
        if outbox.status().await?.waiting == 0 {
            return Ok(());
        }
        drop(search);
        // Opened for each attempt, since files with credentials may have changed.
        let opened = (self.open)(OpenRequest { entry, urgent: false });
        let pipeline = opened.map_err(|unfit| Fault::list(unfit.text))?;
        let Some(receiver) = pipeline.notify else { return Ok(()) };
        while deliver_oldest(outbox, &receiver, self.clock.now(), sum).await? {
            self.batches.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}
