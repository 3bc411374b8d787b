//! What one account allows, shared by all lists: so many connections at once, so many requests a second.

use std::time::Duration;

use tokio::{
    sync::{Mutex, Semaphore, SemaphorePermit},
    time::{Interval, MissedTickBehavior, interval},
};

/// Lets requests out in the order in which they came.
pub struct Gate {
    connections: Semaphore,
    pace: Option<Mutex<Interval>>,
}

/// Leave to hold one connection, until dropped.
pub struct Permit<'a> {
    _connection: SemaphorePermit<'a>,
}

impl Gate {
    /// At most `connections` requests at once and `rate` requests a second, evenly spaced; 0 sets no rate.
    pub fn new(connections: usize, rate: f64) -> Self {
        let pace = (rate > 0.0).then(|| {
            let mut pace = interval(Duration::from_secs_f64(1.0 / rate));
            // A pause earns no burst afterwards.
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            Mutex::new(pace)
        });
        Gate { connections: Semaphore::new(connections), pace }
    }

    /// Waits for a connection and for the next slot.
    pub async fn enter(&self) -> Permit<'_> {
        let connection = self.connections.acquire().await.expect("the semaphore is never closed");
        if let Some(pace) = &self.pace {
            pace.lock().await.tick().await;
        }
        Permit { _connection: connection }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::{StreamExt, stream::FuturesUnordered};
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_are_evenly_spaced_and_a_pause_earns_no_burst() {
        let gate = Gate::new(100, 8.0);
        let start = Instant::now();
        for _ in 0..9 {
            gate.enter().await;
        }
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        sleep(Duration::from_secs(60)).await;
        let start = Instant::now();
        for _ in 0..9 {
            gate.enter().await;
        }
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_inside_at_once_than_there_are_connections() {
        let (gate, inside, peak) = (Gate::new(3, 0.0), AtomicUsize::new(0), AtomicUsize::new(0));
        let visits: FuturesUnordered<_> = (0..20)
            .map(|_| async {
                let _permit = gate.enter().await;
                peak.fetch_max(inside.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                sleep(Duration::from_secs(1)).await;
                inside.fetch_sub(1, Ordering::Relaxed);
            })
            .collect();
        let start = Instant::now();
        assert_eq!(visits.count().await, 20);
        assert_eq!(peak.into_inner(), 3);
        assert_eq!(start.elapsed(), Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_waiting_leaves_no_permit_behind() {
        let gate = Gate::new(1, 2.0);
        let held = gate.enter().await;
        let impatient = tokio::time::timeout(Duration::from_secs(1), gate.enter()).await;
        assert!(impatient.is_err());
        drop(held);
        let late = tokio::time::timeout(Duration::from_secs(1), gate.enter()).await;
        assert!(late.is_ok());
    }
}
