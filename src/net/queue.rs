//! A fair queue for a limited number of slots. Urgent callers go first; among equals, the lists take turns.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot::{Sender, channel};

use crate::base::requests::RequestCounter;

/// Who makes a request: decides fairness, priority, spacing and retries.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Name of the list, with its source and account.
    pub list: Arc<str>,
    /// Whether the request precedes others: those of an incremental sync, which is short, are urgent.
    pub urgent: bool,
    /// Minimum interval between this caller's requests and any other request of the account.
    pub distance: Duration,
    /// Whether a failed request is not repeated.
    pub no_retry: bool,
    /// Whether a person waits for the answer: one that can't be used is final, since its cause is most likely a setting.
    pub attended: bool,
    /// Wait between two attempts; `None` for waits that grow.
    pub retry_every: Option<Duration>,
    /// Counts the attempts of the caller.
    pub requests: Arc<RequestCounter>,
}

impl Caller {
    /// Makes a caller without a minimum interval, whose failed requests are repeated.
    pub fn new(list: &str, urgent: bool) -> Self {
        Caller {
            list: list.into(),
            urgent,
            distance: Duration::ZERO,
            no_retry: false,
            attended: false,
            retry_every: None,
            requests: Arc::default(),
        }
    }
}

/// A fair queue for a fixed number of slots.
pub struct Queue(Mutex<Inner>);

struct Inner {
    free: usize,
    urgent: Lanes,
    patient: Lanes,
}

/// The waiting callers of each list. The first list is the next to be served.
#[derive(Default)]
struct Lanes(VecDeque<(Arc<str>, VecDeque<Sender<Place>>)>);

/// One slot of a queue, occupied until it is dropped.
pub struct Place(Arc<Queue>);

impl Queue {
    /// Makes a queue with `places` slots.
    pub fn new(places: usize) -> Arc<Self> {
        let (urgent, patient) = (Lanes::default(), Lanes::default());
        Arc::new(Queue(Mutex::new(Inner { free: places, urgent, patient })))
    }

    /// Waits for a slot. A caller that gives up waiting leaks no slot.
    pub async fn enter(self: &Arc<Self>, caller: &Caller) -> Place {
        let turn = {
            let mut inner = self.inner();
            if inner.free > 0 {
                inner.free -= 1;
                return Place(Arc::clone(self));
            }
            let (sender, turn) = channel();
            let lanes = if caller.urgent { &mut inner.urgent } else { &mut inner.patient };
            lanes.push(&caller.list, sender);
            turn
        };
        match turn.await {
            Ok(place) => place,
            // Unreachable: the queue outlives its callers, and it drops no sender that waits.
            Err(_) => std::future::pending().await,
        }
    }

    /// Returns the number of free slots.
    #[cfg(test)]
    pub fn free(&self) -> usize {
        self.inner().free
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes a released slot to the next caller that still waits.
    fn leave(self: &Arc<Self>) {
        loop {
            let next = {
                let mut inner = self.inner();
                let next = inner.urgent.pop().or_else(|| inner.patient.pop());
                if next.is_none() {
                    inner.free += 1;
                }
                next
            };
            let Some(next) = next else { return };
            match next.send(Place(Arc::clone(self))) {
                Ok(()) => return,
                Err(place) => mem::forget(place),
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Lanes {
    fn push(&mut self, list: &Arc<str>, sender: Sender<Place>) {
        match self.0.iter_mut().find(|(lane, _)| lane == list) {
            Some((_, waiting)) => waiting.push_back(sender),
            None => self.0.push_back((Arc::clone(list), VecDeque::from([sender]))),
        }
    }

    fn pop(&mut self) -> Option<Sender<Place>> {
        let (lane, mut waiting) = self.0.pop_front()?;
        let next = waiting.pop_front();
        if !waiting.is_empty() {
            self.0.push_back((lane, waiting));
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, time::Duration};

    use futures::{FutureExt, future::join_all};
    use tokio::time::{sleep, timeout};

    use super::*;

    fn caller(list_id: &str, urgent: bool) -> Caller {
        Caller::new(list_id, urgent)
    }

    #[tokio::test(start_paused = true)]
    async fn lists_take_turns_and_urgent_ones_go_first() {
        let (queue, order) = (Queue::new(1), RefCell::new(Vec::new()));
        let visit = |name: &'static str, urgent| {
            let (queue, order) = (&queue, &order);
            async move {
                let _place = queue.enter(&caller(name, urgent)).await;
                order.borrow_mut().push(name);
                sleep(Duration::from_secs(1)).await;
            }
            .boxed_local()
        };
        let big = (0..4).map(|_| visit("big", false));
        let rest = [
            visit("small", false),
            visit("small", false),
            visit("sync", true),
            visit("other", true),
            visit("sync", true),
        ];
        join_all(big.chain(rest)).await;
        assert_eq!(*order.borrow(), ["big", "sync", "other", "sync", "big", "small", "big", "small", "big"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_gives_up_waiting_leaves_the_slot_to_the_next() {
        let queue = Queue::new(1);
        let held = queue.enter(&caller("a", false)).await;
        let second = Duration::from_secs(1);
        assert!(timeout(second, queue.enter(&caller("b", false))).await.is_err());
        // This caller gives up after the slot was sent to it.
        let c = caller("c", false);
        let mut late = Box::pin(queue.enter(&c));
        assert!(late.as_mut().now_or_never().is_none());
        drop(held);
        drop(late);
        assert!(timeout(second, queue.enter(&caller("d", false))).await.is_ok());
        assert_eq!(queue.free(), 1);
    }
}
