//! The bus: passes events to their listeners. Each listener has a bounded queue of its own. Emitting never waits: an
//! event for which a queue has no room is lost for that listener, and counted.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::mpsc::{self, Receiver, Sender, error::TrySendError};

use super::{
    clock::Clock,
    event::{Emitted, Event, Place, RunEvent, RunName},
};

/// Where events go. Clones share the listeners. By default nobody listens.
#[derive(Clone, Default)]
pub struct Events(Option<Arc<Bus>>);

struct Bus {
    clock: Arc<dyn Clock>,
    queues: RwLock<Vec<Queue>>,
}

/// The end of a listener's queue at which events enter.
struct Queue {
    sender: Sender<Arc<Emitted>>,
    lost: Arc<AtomicU64>,
    wants: fn(&Event) -> bool,
}

/// The end of a listener's queue at which it takes events.
pub struct Inbox {
    events: Receiver<Arc<Emitted>>,
    lost: Arc<AtomicU64>,
}

impl Events {
    /// Creates a bus without listeners. `clock` gives the time of each event.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Events(Some(Arc::new(Bus { clock, queues: RwLock::default() })))
    }

    /// Adds a listener that `wants` some events, with a queue for `capacity` of them. It listens until its inbox is
    /// closed or dropped.
    pub fn subscribe(&self, capacity: usize, wants: fn(&Event) -> bool) -> Inbox {
        let (sender, events) = mpsc::channel(capacity);
        let lost = Arc::new(AtomicU64::new(0));
        if let Some(bus) = &self.0 {
            let mut queues = bus.queues.write().unwrap_or_else(PoisonError::into_inner);
            queues.retain(|queue| !queue.sender.is_closed());
            queues.push(Queue { sender, lost: Arc::clone(&lost), wants });
        }
        Inbox { events, lost }
    }

    /// Passes an event to all listeners. Does not wait.
    #[track_caller]
    pub fn emit(&self, event: impl Into<Event>) {
        if let Some(bus) = &self.0 {
            bus.emit(Place::here(), event.into());
        }
    }

    /// Returns where the events of a run go.
    pub fn of_run(&self, run: RunName) -> RunEvents {
        RunEvents { events: self.clone(), run: Arc::new(run) }
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("has_bus", &self.0.is_some()).finish()
    }
}

impl Bus {
    fn emit(&self, place: Place, event: Event) {
        let emitted = Arc::new(Emitted { at: self.clock.now(), place, event });
        // The lock is taken for writing only when a listener is added.
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        for queue in queues.iter().filter(|queue| (queue.wants)(&emitted.event)) {
            if let Err(TrySendError::Full(_)) = queue.sender.try_send(Arc::clone(&emitted)) {
                queue.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Inbox {
    /// Waits for the next events, at most `most`, and adds them to `events`. Returns how many were lost since the last
    /// call; `None` if there will be no more.
    pub async fn next(&mut self, events: &mut Vec<Arc<Emitted>>, most: usize) -> Option<u64> {
        match self.events.recv_many(events, most).await {
            0 => None,
            _ => Some(self.lost.swap(0, Ordering::Relaxed)),
        }
    }

    /// Adds the events that wait to `events`. Does not wait. Returns how many were lost since the last call.
    pub fn take(&mut self, events: &mut Vec<Arc<Emitted>>) -> u64 {
        while let Ok(event) = self.events.try_recv() {
            events.push(event);
        }
        self.lost.swap(0, Ordering::Relaxed)
    }

    /// Accepts no further events. Those that wait can still be taken.
    pub fn close(&mut self) {
        self.events.close();
    }
}

/// Where the events of one run go. By default nobody listens.
#[derive(Debug, Clone, Default)]
pub struct RunEvents {
    events: Events,
    run: Arc<RunName>,
}

impl RunEvents {
    /// Passes an event of the run to all listeners. Does not wait.
    #[track_caller]
    pub fn emit(&self, event: RunEvent) {
        self.events.emit(Event::Run(Arc::clone(&self.run), event));
    }

    /// Returns where events go that are not about the run itself.
    pub fn all(&self) -> &Events {
        &self.events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{clock::SystemClock, event::ProgramEvent};

    fn bus(capacities: &[usize]) -> (Events, Vec<Inbox>) {
        let events = Events::new(Arc::new(SystemClock));
        let inboxes = capacities.iter().map(|capacity| events.subscribe(*capacity, |_| true)).collect();
        (events, inboxes)
    }

    #[tokio::test]
    async fn a_slow_listener_loses_events_and_counts_them_and_delays_nobody() {
        let (events, mut inboxes) = bus(&[2, 100]);
        for lists in 0..10 {
            events.emit(ProgramEvent::NoCapacity { lists, runs: 1, loads: 1 });
        }
        let (mut slow, mut fast) = (vec![], vec![]);
        assert_eq!(inboxes[0].take(&mut slow), 8);
        assert_eq!(inboxes[0].take(&mut slow), 0);
        assert_eq!(inboxes[1].next(&mut fast, 100).await, Some(0));
        let lists = |all: &[Arc<Emitted>]| -> Vec<usize> {
            let of = |emitted: &Arc<Emitted>| match emitted.event {
                Event::Program(ProgramEvent::NoCapacity { lists, .. }) => lists,
                _ => unreachable!(),
            };
            all.iter().map(of).collect()
        };
        assert_eq!(lists(&slow), [0, 1]);
        assert_eq!(lists(&fast), (0..10).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_closed_inbox_returns_what_waits_and_then_ends() {
        let (events, mut inboxes) = bus(&[10]);
        events.emit(ProgramEvent::Stopping);
        inboxes[0].close();
        events.emit(ProgramEvent::Stopped);
        let mut all = vec![];
        assert_eq!(inboxes[0].next(&mut all, 10).await, Some(0), "an event after the end is not lost");
        assert_eq!(inboxes[0].next(&mut all, 10).await, None);
        assert!(matches!(all[..], [ref only] if only.event == ProgramEvent::Stopping.into()));
    }

    #[test]
    fn a_listener_gets_only_the_events_that_it_wants() {
        let (events, mut all) = bus(&[10]);
        let mut stops = events.subscribe(10, |event| matches!(event, Event::Program(ProgramEvent::Stopping)));
        events.emit(ProgramEvent::Stopping);
        events.emit(ProgramEvent::Stopped);
        let (mut heard, mut wanted) = (vec![], vec![]);
        all[0].take(&mut heard);
        stops.take(&mut wanted);
        assert_eq!((heard.len(), wanted.len()), (2, 1));
        assert!(Events::default().subscribe(1, |_| true).events.is_closed());
    }

    #[test]
    fn an_event_has_the_place_that_emitted_it() {
        let (events, mut inboxes) = bus(&[10]);
        events.of_run(RunName::alone("a")).emit(RunEvent::MassChangeAllowed);
        let line = line!() - 1;
        let mut all = vec![];
        inboxes[0].take(&mut all);
        assert_eq!((all[0].place.module().as_str(), all[0].place.line()), ("base::events", line));
    }
}
