//! The records of a delivery in memory, as a second implementation for tests.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use tokio::task::yield_now;

use super::{
    AcceptedDelivery, CacheRules, CachedDelivery, DAILY, Delivered, KnownRecord, KnownRecords, NewNotice,
    OutboxStatus, Settled, Summary, delivery::Change, mark::Mark,
};
use crate::{
    base::{
        fate::Fate,
        fault::Fault,
        notice::{Notice, NoticeKind},
    },
    store::{DeliveryCache, Outbox},
};

/// The view of one run. Each write happens between two awaits, so that a test can drop it before and after.
#[derive(Debug)]
pub struct RecordsInMemory {
    rules: CacheRules,
    destination: String,
    delivery: Arc<Mutex<Delivery>>,
    /// The statuses at the beginning of the run; `None` if there was no ledger.
    before: Mutex<Option<HashMap<u128, Settled>>>,
}

/// What all runs of a delivery share.
#[derive(Debug, Default)]
pub struct Delivery {
    now: State,
    /// What a crash leaves.
    durable: State,
}

#[derive(Debug, Clone, Default)]
struct State {
    summary: Option<Summary>,
    settled: HashMap<u128, Settled>,
    cached: HashMap<u128, CachedDelivery>,
    destination: String,
    tidied: Option<DateTime<Utc>>,
    outbox: BTreeMap<u64, Notice>,
    marks: HashMap<u128, Mark>,
    /// Number of the next notice.
    next: u64,
    refused: u64,
}

impl Delivery {
    /// Loses what is not durable.
    pub fn crash(&mut self) {
        self.now = self.durable.clone();
    }

    fn empty(&mut self, destination: &str) {
        for state in [&mut self.now, &mut self.durable] {
            state.cached.clear();
            destination.clone_into(&mut state.destination);
        }
    }
}

impl State {
    fn notice(&mut self, new: NewNotice) {
        if new.record.is_none_or(|record| self.marks.entry(record).or_default().add(&new.notice)) {
            self.outbox.insert(self.next, new.notice);
            self.next += 1;
        }
    }

    fn change(&mut self, key: u128, change: &Change) {
        let cached = change.over(self.cached.get(&key));
        self.cached.insert(key, cached);
    }

    fn add(&mut self, delivered: Delivered<'_>) -> u64 {
        let (statuses, delivered) = delivered.split();
        let mut summary = self.summary.take().unwrap_or_else(|| Summary::new(&delivered));
        let mut there = 0;
        if delivered.whole {
            let unlisted = self.settled.extract_if(|key, _| !statuses.contains(*key));
            there = unlisted.filter(|(_, settled)| *settled.status != *super::GONE).count() as u64;
        }
        let indices = statuses.within(&mut summary.names);
        for (key, status) in statuses.iter(&indices) {
            self.settled.insert(key, summary.settled(status).unwrap());
        }
        summary.rows = self.settled.len();
        summary.take(delivered);
        self.summary = Some(summary);
        there
    }
}

impl RecordsInMemory {
    /// Opens the records of a delivery for a run.
    pub fn new(delivery: &Arc<Mutex<Delivery>>, destination: &str, rules: CacheRules) -> Self {
        let (destination, delivery) = (destination.to_owned(), Arc::clone(delivery));
        RecordsInMemory { rules, destination, delivery, before: Mutex::default() }
    }

    fn work<'a, T: Send + 'a>(
        &'a self,
        work: impl FnOnce(&mut Delivery) -> T + Send + 'a,
    ) -> BoxFuture<'a, Result<T, Fault>> {
        Box::pin(async move {
            yield_now().await;
            let done = work(&mut self.delivery.lock().unwrap());
            yield_now().await;
            Ok(done)
        })
    }
}

impl DeliveryCache for RecordsInMemory {
    fn rules(&self) -> &CacheRules {
        &self.rules
    }

    fn begin(&self) -> BoxFuture<'_, Result<Option<Summary>, Fault>> {
        self.work(|delivery| {
            if self.rules.expire.is_none() || delivery.now.destination != self.destination {
                delivery.empty(&self.destination);
            }
            let State { summary, settled, .. } = &delivery.now;
            *self.before.lock().unwrap() = summary.as_ref().map(|_| settled.clone());
            summary.clone()
        })
    }

    fn summary(&self) -> BoxFuture<'_, Result<Option<Summary>, Fault>> {
        self.work(|delivery| delivery.durable.summary.clone())
    }

    fn clear(&self) -> BoxFuture<'_, Result<(), Fault>> {
        self.work(|delivery| delivery.empty(&self.destination))
    }

    fn recall(&self, keys: Vec<u128>) -> BoxFuture<'_, Result<KnownRecords, Fault>> {
        self.work(|delivery| {
            let before = self.before.lock().unwrap();
            let settled = before.as_ref().unwrap_or(&delivery.now.settled);
            let known = keys.into_iter().map(|key| {
                let cached = delivery.now.cached.get(&key).filter(|_| self.rules.expire.is_some());
                (key, KnownRecord { settled: settled.get(&key).cloned(), cached: cached.cloned() })
            });
            known.filter(|(_, known)| *known != KnownRecord::default()).collect()
        })
    }

    fn forget(&self, keys: Vec<u128>) -> BoxFuture<'_, Result<(), Fault>> {
        self.work(move |delivery| {
            for state in [&mut delivery.now, &mut delivery.durable] {
                for key in &keys {
                    if let Some(cached) = state.cached.get(key) {
                        state.change(*key, &Change::forgetting(&cached.clone()));
                    }
                }
            }
        })
    }

    fn accepted(
        &self,
        accepted: Vec<AcceptedDelivery>,
        now: DateTime<Utc>,
    ) -> BoxFuture<'_, Result<(), Fault>> {
        self.work(move |delivery| {
            for mut accepted in accepted {
                accepted.notice.take().into_iter().for_each(|notice| delivery.now.notice(*notice));
                if self.rules.expire.is_none() {
                    continue;
                }
                let (key, change) = Change::accepted(accepted, now);
                delivery.now.change(key, &change);
            }
        })
    }

    fn note(&self, fates: Vec<(u128, Fate)>, now: DateTime<Utc>) -> BoxFuture<'_, Result<(), Fault>> {
        self.work(move |delivery| {
            for (key, fate) in fates {
                delivery.now.change(key, &Change { sent: None, seen: now, fate });
            }
        })
    }

    fn forget_noticed(&self, effects: HashMap<u128, Option<NoticeKind>>) -> BoxFuture<'_, Result<(), Fault>> {
        self.work(move |delivery| {
            let ends = |(record, mark): (&u128, &Mark)| {
                effects.get(record).is_some_and(|effect| mark.ends_with(*effect))
            };
            if delivery.now.marks.iter().any(ends) {
                for (record, mark) in &mut delivery.now.marks {
                    mark.effect = mark.effect.filter(|_| !ends((record, &*mark)));
                }
                delivery.durable = delivery.now.clone();
            }
        })
    }

    fn notice(&self, notices: Vec<NewNotice>) -> BoxFuture<'_, Result<(), Fault>> {
        self.work(|delivery| notices.into_iter().for_each(|notice| delivery.now.notice(notice)))
    }

    fn sync_notices(&self) -> BoxFuture<'_, Result<(), Fault>> {
        self.sync()
    }

    fn sync(&self) -> BoxFuture<'_, Result<(), Fault>> {
        self.work(|delivery| delivery.durable = delivery.now.clone())
    }

    fn add<'a>(&'a self, delivered: Delivered<'a>) -> BoxFuture<'a, Result<u64, Fault>> {
        self.work(|delivery| {
            let unlisted = delivery.now.add(delivered);
            delivery.durable = delivery.now.clone();
            unlisted
        })
    }

    fn tidy(&self, now: DateTime<Utc>) -> BoxFuture<'_, Result<(), Fault>> {
        self.work(move |delivery| {
            let expires_before = self.rules.expires_before(now);
            for state in [&mut delivery.now, &mut delivery.durable] {
                if state.tidied.is_none_or(|last| (now - last).abs() >= DAILY) {
                    state.cached.retain(|_, cached| {
                        cached.seen >= expires_before
                            || cached.sent.as_ref().is_some_and(|sent| sent.at >= expires_before)
                    });
                    state.tidied = Some(now);
                }
            }
        })
    }
}

/// The outbox of a delivery in memory.
#[derive(Debug)]
pub struct OutboxInMemory(pub Arc<Mutex<Delivery>>);

impl OutboxInMemory {
    fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Delivery) -> T + Send + 'static,
    ) -> BoxFuture<'_, Result<T, Fault>> {
        Box::pin(async move {
            yield_now().await;
            let done = work(&mut self.0.lock().unwrap());
            yield_now().await;
            Ok(done)
        })
    }
}

/// Has no bounds.
impl Outbox for OutboxInMemory {
    fn oldest(&self, most: usize, _: DateTime<Utc>) -> BoxFuture<'_, Result<Vec<(u64, Notice)>, Fault>> {
        self.work(move |delivery| {
            let notices = delivery.durable.outbox.iter().take(most);
            notices.map(|(number, notice)| (*number, notice.clone())).collect()
        })
    }

    fn remove(&self, numbers: Vec<u64>, refused: u64) -> BoxFuture<'_, Result<(), Fault>> {
        self.work(move |delivery| {
            for state in [&mut delivery.now, &mut delivery.durable] {
                state.outbox.retain(|number, _| !numbers.contains(number));
                state.refused += refused;
            }
        })
    }

    fn status(&self) -> BoxFuture<'_, Result<OutboxStatus, Fault>> {
        self.work(|delivery| {
            let State { outbox, refused, .. } = &delivery.durable;
            let oldest = outbox.values().map(|notice| notice.at).next();
            OutboxStatus { waiting: outbox.len() as u64, oldest, dropped: 0, refused: *refused }
        })
    }
}
