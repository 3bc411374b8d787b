//! What one account allows, shared by all lists: so many connections at once, so many requests a second, and a rest for
//! all of them when the service asks one for it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{
    backoff::PATIENCE,
    pace::Pace,
    queue::{Caller, Place, Queue},
};
use crate::base::fault::{Fault, Problem};

/// How long after a refused key the next request tries it again; a list that has failed rests longer than this.
const PROBE: Duration = Duration::from_secs(45);

/// After a rest requests go so far apart until one succeeds. They do not wait for each other's answers: one may never come.
const SLOW_START: Duration = Duration::from_secs(1);

/// However long a service wants to be left alone, it is asked again after so long: what it said may be a mistake.
const LONGEST_REST: Duration = Duration::from_secs(3600);

/// Lets requests out: the lists in turn, the urgent ones first.
pub struct Gate {
    places: Arc<Queue>,
    /// Only one caller at a time waits for the next slot, so that turns are kept up to it.
    turn: Arc<Queue>,
    pace: Option<Mutex<Pace>>,
    /// When the last request went out or will, and how far its caller wants others to be from it.
    last: Mutex<Option<(Instant, Duration)>>,
    rest: Mutex<Rest>,
    /// A request has succeeded after a rest.
    recovered: Notify,
}

#[derive(Default)]
struct Rest {
    until: Option<Instant>,
    recovering: bool,
    /// While recovering: when the next request may go.
    next: Option<Instant>,
    /// The key was refused: why, and when it was last tried.
    parked: Option<(Problem, Instant)>,
}

/// Leave to hold one connection, until dropped.
pub struct Permit {
    _place: Place,
    /// When the request went out.
    pub sent: Instant,
}

impl Gate {
    /// At most `connections` requests at once and `rate` requests a second, evenly spaced; 0 sets no rate.
    pub fn new(connections: usize, rate: f64) -> Self {
        Gate {
            places: Queue::new(connections),
            turn: Queue::new(1),
            pace: (rate > 0.0).then(|| Mutex::new(Pace::new(rate))),
            last: Mutex::default(),
            rest: Mutex::default(),
            recovered: Notify::new(),
        }
    }

    /// Waits for a connection, for the end of a rest, and for the next slot. Fails if the account's key was refused a moment
    /// ago, or if the rest is longer than anybody waits.
    pub async fn enter(&self, caller: &Caller) -> Result<Permit, Fault> {
        self.probe()?;
        let _turn = match &self.pace {
            Some(_) => Some(self.turn.enter(caller).await),
            None => None,
        };
        let place = self.places.enter(caller).await;
        self.probe()?;
        loop {
            self.rested().await?;
            let slot = self.distant(caller);
            sleep_until(slot).await;
            // Meanwhile a rest may have begun.
            if self.resting()?.is_none() {
                break;
            }
        }
        let slot = self.pace.as_ref().map(|pace| lock(pace).slot(Instant::now()));
        if let Some(slot) = slot {
            sleep_until(slot).await;
        }
        let sent = Instant::now();
        let mut last = lock(&self.last);
        // Others may have taken later moments already.
        if last.is_some_and(|(at, _)| at < sent) {
            *last = Some((sent, caller.distance));
        }
        drop(last);
        Ok(Permit { _place: place, sent })
    }

    /// Waits for the end of a rest, and after it for its turn.
    async fn rested(&self) -> Result<(), Fault> {
        loop {
            while let Some(until) = self.resting()? {
                sleep_until(until).await;
            }
            let recovered = self.recovered.notified();
            let Some(turn) = self.slow_start() else { return Ok(()) };
            tokio::select! {
                () = sleep_until(turn) => {}
                () = recovered => {}
            }
            // Meanwhile another rest may have begun, or the key have been refused again.
            self.probe()?;
            if self.resting()?.is_none() {
                return Ok(());
            }
        }
    }

    /// The first moment that is far enough from the last request, for this caller and for that one's.
    fn distant(&self, caller: &Caller) -> Instant {
        let (mut last, now) = (lock(&self.last), Instant::now());
        let after = last.map_or(now, |(at, distance)| at + distance.max(caller.distance));
        let slot = after.max(now);
        *last = Some((slot, caller.distance));
        slot
    }

    /// When this request may go, while nobody has succeeded since the last rest.
    fn slow_start(&self) -> Option<Instant> {
        let mut rest = lock(&self.rest);
        if !rest.recovering {
            return None;
        }
        let now = Instant::now();
        let turn = rest.next.map_or(now, |next| next.max(now));
        rest.next = Some(turn + SLOW_START);
        Some(turn)
    }

    /// While the key is refused all fail with what was said of it. Now and then one tries it again, and the others wait for
    /// what comes of it.
    fn probe(&self) -> Result<(), Fault> {
        let mut rest = lock(&self.rest);
        let recovering = rest.recovering;
        match &mut rest.parked {
            Some((problem, tried)) if !recovering && tried.elapsed() < PROBE => {
                Err(Fault::List(problem.clone()))
            }
            Some((_, tried)) if !recovering => {
                *tried = Instant::now();
                rest.recovering = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn resting(&self) -> Result<Option<Instant>, Fault> {
        let now = Instant::now();
        let until = lock(&self.rest).until.filter(|until| *until > now);
        match until {
            Some(until) if until - now > PATIENCE => {
                let seconds = (until - now).as_secs();
                Err(Fault::list(format!("the service has asked to be left alone for {seconds} more seconds")))
            }
            until => Ok(until),
        }
    }

    /// The service has asked for a rest; all wait. False if they do so already.
    pub fn cool(&self, wait: Duration) -> bool {
        let mut rest = lock(&self.rest);
        let until = Instant::now() + wait.min(LONGEST_REST);
        let news = rest.until.is_none_or(|known| known <= Instant::now());
        rest.until = Some(rest.until.map_or(until, |known| known.max(until)));
        rest.recovering = true;
        news
    }

    /// The key was refused.
    pub fn park(&self, problem: &Problem) {
        let mut rest = lock(&self.rest);
        (rest.parked, rest.recovering) = (Some((problem.clone(), Instant::now())), false);
    }

    /// A request was answered well.
    pub fn succeeded(&self) {
        let mut rest = lock(&self.rest);
        (rest.recovering, rest.next, rest.parked) = (false, None, None);
        drop(rest);
        self.recovered.notify_waiters();
        if let Some(pace) = &self.pace {
            lock(pace).taken(Instant::now());
        }
    }

    /// A request that went out at `sent` came too soon.
    pub fn too_soon(&self, sent: Instant) {
        if let Some(pace) = &self.pace {
            lock(pace).refused(sent, Instant::now());
        }
    }

    /// The service takes only this share of what is plenty.
    pub fn room(&self, share: f64) {
        if let Some(pace) = &self.pace {
            lock(pace).room(share);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::{StreamExt, future::join_all, stream::FuturesUnordered};
    use tokio::time::{sleep, timeout};

    use super::*;

    fn anybody() -> Caller {
        Caller::new("a", false)
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_evenly_spaced_and_a_pause_earns_no_burst() {
        let gate = Gate::new(100, 8.0);
        let start = Instant::now();
        for _ in 0..9 {
            gate.enter(&anybody()).await.unwrap();
        }
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        sleep(Duration::from_secs(60)).await;
        let start = Instant::now();
        for _ in 0..9 {
            gate.enter(&anybody()).await.unwrap();
        }
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_inside_at_once_than_there_are_connections() {
        let (gate, inside, peak) = (Gate::new(3, 0.0), AtomicUsize::new(0), AtomicUsize::new(0));
        let visits: FuturesUnordered<_> = (0..20)
            .map(|_| async {
                let _permit = gate.enter(&anybody()).await;
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
    async fn whoever_wants_a_distance_has_it_to_the_request_before_and_the_one_after() {
        let gate = Gate::new(10, 0.0);
        let (near, far) = (anybody(), Caller { distance: Duration::from_secs(60), ..anybody() });
        let start = Instant::now();
        let mut times = vec![];
        for caller in [&near, &near, &far, &far, &near, &near] {
            gate.enter(caller).await.unwrap();
            times.push(start.elapsed().as_secs());
        }
        assert_eq!(times, [0, 0, 60, 120, 180, 180]);
        sleep(Duration::from_secs(90)).await;
        gate.enter(&far).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 270, "long enough ago");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_waiting_leaves_no_permit_behind() {
        let gate = Gate::new(1, 2.0);
        let caller = anybody();
        let held = gate.enter(&caller).await.unwrap();
        let impatient = timeout(Duration::from_secs(1), gate.enter(&caller)).await;
        assert!(impatient.is_err());
        drop(held);
        let late = timeout(Duration::from_secs(1), gate.enter(&caller)).await;
        assert!(late.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_is_kept_by_all_and_after_it_they_go_one_by_one_until_one_succeeds() {
        let gate = Gate::new(10, 0.0);
        assert!(gate.cool(Duration::from_secs(30)) && !gate.cool(Duration::from_secs(5)));
        let start = Instant::now();
        let times = join_all((0..4).map(|number| {
            let gate = &gate;
            async move {
                let permit = gate.enter(&anybody()).await.unwrap();
                let entered = permit.sent - start;
                sleep(Duration::from_secs(1)).await;
                if number == 1 {
                    gate.succeeded();
                }
                entered.as_secs()
            }
        }))
        .await;
        assert_eq!(times, [30, 31, 32, 32]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_hangs_after_a_rest_does_not_hold_up_the_others() {
        let gate = Gate::new(10, 0.0);
        gate.cool(Duration::from_secs(5));
        let _hangs = gate.enter(&anybody()).await.unwrap();
        let others = join_all((0..3).map(|_| async { gate.enter(&anybody()).await.is_ok() }));
        assert_eq!(timeout(Duration::from_secs(4), others).await.unwrap(), [true; 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_key_fails_all_at_once_and_is_tried_again_now_and_then() {
        let gate = Gate::new(10, 0.0);
        gate.park(Fault::list("401 unauthorized").problem());
        for seconds in [0, 40] {
            sleep(Duration::from_secs(seconds)).await;
            let refused = gate.enter(&anybody()).await.err().unwrap();
            assert_eq!(refused.to_string(), "401 unauthorized");
        }
        for (wait, mended) in [(6, false), (46, true)] {
            sleep(Duration::from_secs(wait)).await;
            // One tries, the others wait for what comes of it.
            let entered = join_all((0..3).map(|_| async {
                let permit = gate.enter(&anybody()).await;
                sleep(Duration::from_millis(500)).await;
                match (&permit, mended) {
                    (Ok(_), true) => gate.succeeded(),
                    (Ok(_), false) => gate.park(Fault::list("401 unauthorized").problem()),
                    _ => {}
                }
                permit.is_ok()
            }));
            assert_eq!(entered.await, [true, mended, mended]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_rest_lasts_for_ever() {
        let gate = Gate::new(1, 0.0);
        gate.cool(Duration::from_secs(u64::MAX));
        assert!(gate.enter(&anybody()).await.is_err());
        sleep(Duration::from_secs(3600)).await;
        assert!(gate.enter(&anybody()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_longer_than_anybody_waits_fails_at_once() {
        let gate = Gate::new(10, 0.0);
        gate.cool(Duration::from_secs(3600));
        let refused = gate.enter(&anybody()).await.err().unwrap();
        assert!(refused.to_string().contains("left alone for 3600 more seconds"), "{refused}");
        sleep(Duration::from_secs(3400)).await;
        assert!(gate.enter(&anybody()).await.is_ok());
        assert_eq!(gate.places.free(), 10);
    }
}
