//! Rate limiter of one account, shared by all lists: bounds simultaneous connections and requests per second,
//! and pauses every list during a cool-down, which begins when the service throttles or is overloaded.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{
    pace::Pace,
    queue::{Caller, Place, Queue},
};
use crate::base::{
    backoff::PATIENCE,
    fault::{Fault, Problem},
};

/// Time after which one request tries a suspended account again. Shorter than the pause of a failed list, so that
/// the list's next run tries the key.
const PROBE: Duration = Duration::from_secs(45);

/// Interval between requests after a cool-down, until one succeeds. A request does not wait for the response
/// to the one before, which may never come.
const SLOW_START: Duration = Duration::from_secs(1);

/// Upper bound of a cool-down; a longer `Retry-After` is taken for a mistake.
const LONGEST_REST: Duration = Duration::from_secs(3600);

/// Rate limiter of one account. Urgent requests go first; among equals, the lists take turns.
pub struct RateLimiter {
    places: Arc<Queue>,
    /// Admits one caller at a time to the wait for the next slot, which keeps the order of the queue.
    turn: Arc<Queue>,
    pace: Option<Mutex<Pace>>,
    /// Time of the last request, which may lie ahead, and the minimum interval of its caller.
    last: Mutex<Option<(Instant, Duration)>>,
    rest: Mutex<Rest>,
    /// Wakes the waiting requests when one succeeds after a cool-down, or when the account is suspended.
    recovered: Notify,
}

/// State of the cool-down and of the suspension.
#[derive(Default)]
struct Rest {
    /// End of the cool-down.
    until: Option<Instant>,
    /// Whether the account is recovering: after a cool-down, or while one request tries a suspended account.
    recovering: bool,
    /// Earliest time of the next request while recovering.
    next: Option<Instant>,
    /// Reason of the suspension, and the time at which a request last tried the account.
    parked: Option<(Problem, Instant)>,
}

/// Permit for one request; occupies a connection until it is dropped.
pub struct Permit {
    _place: Place,
    /// Time at which the request was admitted.
    pub sent: Instant,
}

impl RateLimiter {
    /// Allows `connections` requests at once and `rate` per second, evenly spaced. A rate of 0 is no limit.
    pub fn new(connections: usize, rate: f64) -> Self {
        RateLimiter::with_pace(connections, (rate > 0.0).then(|| Pace::new(rate)))
    }

    /// Like [`new`](Self::new), but with a rate of 0, finds the limit of the service when it first rejects a request.
    pub fn searching(connections: usize, rate: f64) -> Self {
        let pace = if rate > 0.0 { Pace::new(rate) } else { Pace::searching() };
        RateLimiter::with_pace(connections, Some(pace))
    }

    fn with_pace(connections: usize, pace: Option<Pace>) -> Self {
        RateLimiter {
            places: Queue::new(connections),
            turn: Queue::new(1),
            pace: pace.map(Mutex::new),
            last: Mutex::default(),
            rest: Mutex::default(),
            recovered: Notify::new(),
        }
    }

    /// Waits for a connection, for the end of a cool-down, and for the next slot.
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: the account was suspended less than 45 s ago, or the cool-down lasts beyond
    /// [`PATIENCE`].
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
            reached(self.distant(caller)).await;
            // A cool-down may have begun during the wait.
            if self.resting()?.is_none() {
                break;
            }
        }
        let slot = self.pace.as_ref().map(|pace| lock(pace).slot(Instant::now()));
        if let Some(slot) = slot {
            reached(slot).await;
        }
        let sent = Instant::now();
        let mut last = lock(&self.last);
        // Another caller may have reserved a later time already.
        if last.is_some_and(|(at, _)| at < sent) {
            *last = Some((sent, caller.distance));
        }
        drop(last);
        Ok(Permit { _place: place, sent })
    }

    /// Waits for the end of the cool-down and for this request's turn after it.
    async fn rested(&self) -> Result<(), Fault> {
        loop {
            while let Some(until) = self.resting()? {
                sleep_until(until).await;
                self.probe()?;
            }
            let recovered = self.recovered.notified();
            let Some(turn) = self.slow_start() else { return Ok(()) };
            tokio::select! {
                () = sleep_until(turn) => {}
                () = recovered => {}
            }
            // During the wait, another cool-down may have begun, or the account may have been suspended again.
            self.probe()?;
            if self.resting()?.is_none() {
                return Ok(());
            }
        }
    }

    /// Reserves the first time that keeps the minimum intervals of this caller and of the previous one.
    fn distant(&self, caller: &Caller) -> Instant {
        let (mut last, now) = (lock(&self.last), Instant::now());
        let after = last.map_or(now, |(at, distance)| at + distance.max(caller.distance));
        let slot = after.max(now);
        *last = Some((slot, caller.distance));
        slot
    }

    /// Returns the earliest time of this request while no request has succeeded since the last cool-down.
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

    /// Fails every request while the account is suspended. One request per [`PROBE`] tries it again; the others
    /// wait for its result.
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

    /// Returns the end of the current cool-down. Fails if it is more than [`PATIENCE`] away.
    fn resting(&self) -> Result<Option<Instant>, Fault> {
        let now = Instant::now();
        let until = lock(&self.rest).until.filter(|until| *until > now);
        match until {
            Some(until) if until - now > PATIENCE => {
                let seconds = (until - now).as_secs();
                Err(Fault::list(format!("the service accepts no requests for another {seconds} s")))
            }
            until => Ok(until),
        }
    }

    /// Begins or extends a cool-down of the account. Returns `false` if one was in progress already.
    pub fn cool(&self, wait: Duration) -> bool {
        let mut rest = lock(&self.rest);
        let until = Instant::now() + wait.min(LONGEST_REST);
        let news = rest.until.is_none_or(|known| known <= Instant::now());
        rest.until = Some(rest.until.map_or(until, |known| known.max(until)));
        rest.recovering = true;
        news
    }

    /// Suspends the account, because its key was rejected or its service stays unreachable.
    pub fn park(&self, problem: &Problem) {
        let mut rest = lock(&self.rest);
        (rest.parked, rest.recovering) = (Some((problem.clone(), Instant::now())), false);
        drop(rest);
        // The requests that wait for their turn after a cool-down fail now, not one by one.
        self.recovered.notify_waiters();
    }

    /// Records a success: ends the slow start after a cool-down, and the suspension of the account.
    pub fn succeeded(&self) {
        let mut rest = lock(&self.rest);
        (rest.recovering, rest.next, rest.parked) = (false, None, None);
        drop(rest);
        self.recovered.notify_waiters();
        if let Some(pace) = &self.pace {
            lock(pace).taken(Instant::now());
        }
    }

    /// Records that the service rejected a request, admitted at `sent`, as one too many. Lowers the rate.
    pub fn too_soon(&self, sent: Instant) {
        if let Some(pace) = &self.pace {
            lock(pace).refused(sent, Instant::now());
        }
    }

    /// Scales the rate by the headroom that the service reports, from 0 to 1.
    pub fn room(&self, share: f64) {
        if let Some(pace) = &self.pace {
            lock(pace).room(share);
        }
    }
}

/// Waits until `time`; returns at once if it has passed. A timer rounds up to its next tick, and would delay every request
/// by up to 2 ms.
async fn reached(time: Instant) {
    if time > Instant::now() {
        sleep_until(time).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::{StreamExt, future::join_all, stream::FuturesUnordered};
    use tokio::time::{advance, sleep, timeout};

    use super::*;

    fn anybody() -> Caller {
        Caller::new("a", false)
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_may_be_sent_at_once_waits_for_no_timer() {
        // Between two ticks of the timer, where a wait of no length would end at the next one.
        advance(Duration::from_micros(500)).await;
        let start = Instant::now();
        for limiter in [RateLimiter::new(8, 0.0), RateLimiter::new(8, 1e6), RateLimiter::searching(8, 0.0)] {
            // The search begins slowly.
            (0..20).for_each(|_| limiter.succeeded());
            for _ in 0..10 {
                limiter.enter(&anybody()).await.unwrap();
            }
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_evenly_spaced_and_a_pause_earns_no_burst() {
        let limiter = RateLimiter::new(100, 8.0);
        let start = Instant::now();
        for _ in 0..9 {
            limiter.enter(&anybody()).await.unwrap();
        }
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        sleep(Duration::from_secs(60)).await;
        let start = Instant::now();
        for _ in 0..9 {
            limiter.enter(&anybody()).await.unwrap();
        }
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_requests_are_in_flight_than_connections_are_allowed() {
        let (limiter, inside, peak) = (RateLimiter::new(3, 0.0), AtomicUsize::new(0), AtomicUsize::new(0));
        let visits: FuturesUnordered<_> = (0..20)
            .map(|_| async {
                let _permit = limiter.enter(&anybody()).await;
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
    async fn a_minimum_interval_holds_to_the_request_before_and_to_the_one_after() {
        let limiter = RateLimiter::new(10, 0.0);
        let (near, far) = (anybody(), Caller { distance: Duration::from_secs(60), ..anybody() });
        let start = Instant::now();
        let mut times = vec![];
        for caller in [&near, &near, &far, &far, &near, &near] {
            limiter.enter(caller).await.unwrap();
            times.push(start.elapsed().as_secs());
        }
        assert_eq!(times, [0, 0, 60, 120, 180, 180]);
        sleep(Duration::from_secs(90)).await;
        limiter.enter(&far).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 270, "long enough ago");
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_gives_up_waiting_leaves_no_permit_behind() {
        let limiter = RateLimiter::new(1, 2.0);
        let caller = anybody();
        let held = limiter.enter(&caller).await.unwrap();
        let impatient = timeout(Duration::from_secs(1), limiter.enter(&caller)).await;
        assert!(impatient.is_err());
        drop(held);
        let late = timeout(Duration::from_secs(1), limiter.enter(&caller)).await;
        assert!(late.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn all_requests_wait_out_a_cool_down_and_then_go_one_by_one_until_one_succeeds() {
        let limiter = RateLimiter::new(10, 0.0);
        assert!(limiter.cool(Duration::from_secs(30)) && !limiter.cool(Duration::from_secs(5)));
        let start = Instant::now();
        let times = join_all((0..4).map(|number| {
            let limiter = &limiter;
            async move {
                let permit = limiter.enter(&anybody()).await.unwrap();
                let entered = permit.sent - start;
                sleep(Duration::from_secs(1)).await;
                if number == 1 {
                    limiter.succeeded();
                }
                entered.as_secs()
            }
        }))
        .await;
        assert_eq!(times, [30, 31, 32, 32]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_hangs_after_a_cool_down_does_not_block_the_others() {
        let limiter = RateLimiter::new(10, 0.0);
        limiter.cool(Duration::from_secs(5));
        let _hangs = limiter.enter(&anybody()).await.unwrap();
        let others = join_all((0..3).map(|_| async { limiter.enter(&anybody()).await.is_ok() }));
        assert_eq!(timeout(Duration::from_secs(4), others).await.unwrap(), [true; 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rejected_key_fails_every_request_at_once_and_is_tried_again_now_and_then() {
        let limiter = RateLimiter::new(10, 0.0);
        limiter.park(Fault::list("401 unauthorized").problem());
        for seconds in [0, 40] {
            sleep(Duration::from_secs(seconds)).await;
            let refused = limiter.enter(&anybody()).await.err().unwrap();
            assert_eq!(refused.to_string(), "401 unauthorized");
        }
        for (wait, mended) in [(6, false), (46, true)] {
            sleep(Duration::from_secs(wait)).await;
            // One request tries the key; the others wait for its result.
            let entered = join_all((0..3).map(|_| async {
                let permit = limiter.enter(&anybody()).await;
                sleep(Duration::from_millis(500)).await;
                match (&permit, mended) {
                    (Ok(_), true) => limiter.succeeded(),
                    (Ok(_), false) => limiter.park(Fault::list("401 unauthorized").problem()),
                    _ => {}
                }
                permit.is_ok()
            }));
            assert_eq!(entered.await, [true, mended, mended]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_wait_for_their_turn_after_a_cool_down_fail_once_the_account_is_suspended() {
        for answer in [Duration::ZERO, Duration::from_millis(100)] {
            let limiter = RateLimiter::new(10, 0.0);
            limiter.cool(Duration::from_secs(5));
            let start = Instant::now();
            let entered = join_all((0..4).map(|_| async {
                let entered = limiter.enter(&anybody()).await;
                if entered.is_ok() {
                    if !answer.is_zero() {
                        sleep(answer).await;
                    }
                    limiter.park(Fault::list("401 unauthorized").problem());
                }
                (entered.is_ok(), start.elapsed().as_secs())
            }));
            assert_eq!(entered.await, [(true, 5), (false, 5), (false, 5), (false, 5)], "{answer:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_cool_down_lasts_for_ever() {
        let limiter = RateLimiter::new(1, 0.0);
        limiter.cool(Duration::from_secs(u64::MAX));
        assert!(limiter.enter(&anybody()).await.is_err());
        sleep(Duration::from_secs(3600)).await;
        assert!(limiter.enter(&anybody()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_cool_down_longer_than_a_request_waits_fails_at_once() {
        let limiter = RateLimiter::new(10, 0.0);
        limiter.cool(Duration::from_secs(3600));
        let refused = limiter.enter(&anybody()).await.err().unwrap();
        assert!(refused.to_string().contains("no requests for another 3600 s"), "{refused}");
        sleep(Duration::from_secs(3400)).await;
        assert!(limiter.enter(&anybody()).await.is_ok());
        assert_eq!(limiter.places.free(), 10);
    }
}
