//! Adaptive request rate: evenly spaced, lowered when the service rejects requests, then slowly raised. Pure.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// Factor of the rate after a rejection.
const LOWER: f64 = 0.8;
/// Factor of the rate after [`RAISE_AFTER`] successful requests.
const RAISE: f64 = 1.02;
/// Successful requests between two raises.
const RAISE_AFTER: u32 = 20;
/// Share of the rate at which the last rejection came, up to which the rate rises until [`FORGET`].
const SHY_OF: f64 = 0.93;
/// Time after which a rejection no longer bounds the rate.
const FORGET: Duration = Duration::from_secs(900);
const SECOND: Duration = Duration::from_secs(1);
/// Lowest rate, in requests per second.
const SLOWEST: f64 = 0.05;

/// Rate at which the search for an unknown limit begins, in requests per second, and its factor after each success.
/// All waits of the search together take less than 70 ms.
const FIRST: f64 = 64.0;
const FASTER: f64 = 1.3;
/// Successes within a second from which their number is an estimate of the limit.
const ENOUGH: usize = 4;
/// Rate from which requests are not spaced anymore: a timer has no shorter waits.
const UNSPACED: f64 = 1000.0;

/// Request rate of one account.
#[derive(Debug)]
pub struct Pace {
    /// Configured upper bound, in requests per second; infinite if there is none.
    limit: f64,
    /// While the limit of the service is unknown: the times of the successful requests of the last second. They are the
    /// first estimate, once the service rejects a request.
    search: Option<VecDeque<Instant>>,
    /// Current rate, in requests per second.
    rate: f64,
    /// The rate at which the last rejection came, and when.
    refused: Option<(f64, Instant)>,
    /// Successful requests since the last change of the rate.
    taken: u32,
    /// Headroom that the service reports, from 0 to 1. The rate is multiplied by it.
    room: f64,
    /// Earliest time of the next request.
    next: Option<Instant>,
}

impl Pace {
    /// Starts at `limit`, in requests per second, above 0.
    pub fn new(limit: f64) -> Self {
        Pace { limit, search: None, rate: limit, refused: None, taken: 0, room: 1.0, next: None }
    }

    /// Starts without a limit, and finds that of the service when it first rejects a request. Until then, the rate grows
    /// with each success, so that few requests are in flight when the first rejection arrives.
    pub fn searching() -> Self {
        Pace { rate: FIRST, search: Some(VecDeque::new()), ..Pace::new(f64::INFINITY) }
    }

    /// Reserves the next slot and returns its time. A pause earns no burst afterwards.
    pub fn slot(&mut self, now: Instant) -> Instant {
        let slot = self.next.map_or(now, |next| next.max(now));
        let rate = (self.rate * self.room).max(SLOWEST);
        if rate >= UNSPACED {
            self.next = None;
            return now;
        }
        self.next = Some(slot + Duration::from_secs_f64(1.0 / rate));
        slot
    }

    /// Records a successful request.
    pub fn taken(&mut self, now: Instant) {
        if let Some(successes) = &mut self.search {
            successes.push_back(now);
            while successes.front().is_some_and(|first| now - *first >= SECOND) {
                successes.pop_front();
            }
            self.rate = (self.rate * FASTER).min(UNSPACED);
            return;
        }
        self.taken += 1;
        if self.taken < RAISE_AFTER {
            return;
        }
        self.taken = 0;
        let most = match self.refused {
            Some((rate, when)) if now - when < FORGET => (rate * SHY_OF).max(self.rate),
            _ => self.limit,
        };
        self.rate = (self.rate * RAISE).min(most).min(self.limit);
    }

    /// Records that a request sent at `sent` was rejected as one too many. Ignores requests that were in
    /// flight when the rate was last lowered.
    pub fn refused(&mut self, sent: Instant, now: Instant) {
        if self.refused.is_some_and(|(_, when)| sent <= when) {
            return;
        }
        if let Some(successes) = &self.search {
            let recent = successes.iter().filter(|at| now - **at < SECOND).count();
            if recent < ENOUGH && self.rate > ENOUGH as f64 {
                // Another program may have used the account. The search goes on, more slowly.
                self.refused = Some((self.rate, now));
                self.rate = (self.rate / 2.0).min(FIRST);
                return;
            }
            (self.rate, self.search) = (recent.max(1) as f64, None);
        }
        self.refused = Some((self.rate, now));
        self.taken = 0;
        self.rate = (self.rate * LOWER).max(SLOWEST);
    }

    /// Sets the headroom that the service reports, from 0 to 1.
    pub fn room(&mut self, share: f64) {
        self.room = share.clamp(0.0, 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs against a service that allows `allowed` requests per second and as many in a burst. Returns the
    /// share of rejected requests, and the rate of the last quarter.
    fn settle(mut pace: Pace, allowed: f64, requests: u32) -> (f64, f64) {
        let start = Instant::now();
        let (mut now, mut tokens, mut refused) = (start, allowed, 0);
        let mut then = start;
        for request in 0..requests {
            if request == requests / 4 * 3 {
                then = now;
            }
            let slot = pace.slot(now);
            tokens = (tokens + allowed * (slot - now).as_secs_f64()).min(allowed);
            now = slot;
            if tokens >= 1.0 {
                tokens -= 1.0;
                pace.taken(now);
            } else {
                refused += 1;
                pace.refused(now, now);
            }
        }
        let rate = f64::from(requests - requests / 4 * 3) / (now - then).as_secs_f64();
        (f64::from(refused) / f64::from(requests), rate)
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_that_allows_less_than_configured_is_found_with_few_rejections() {
        for allowed in [1.0, 2.0, 4.0, 6.0] {
            let (refused, rate) = settle(Pace::new(8.0), allowed, 4000);
            assert!(refused < 0.005, "{allowed}/s: {:.2} % rejected", 100.0 * refused);
            assert!(rate > 0.85 * allowed, "{allowed}/s: settles at {rate:.2}/s");
        }
        assert_eq!(settle(Pace::new(8.0), 8.0, 4000), (0.0, 8.0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_limit_is_found_with_few_rejections_and_without_one_requests_are_not_spaced() {
        for allowed in [2.0, 8.0, 40.0] {
            let (refused, rate) = settle(Pace::searching(), allowed, 4000);
            assert!(refused < 0.005, "{allowed}/s: {:.2} % rejected", 100.0 * refused);
            assert!(rate > 0.7 * allowed, "{allowed}/s: settles at {rate:.2}/s");
        }
        // Another program has used the account at first.
        let mut pace = Pace::searching();
        pace.refused(Instant::now(), Instant::now());
        assert!(settle(pace, 8.0, 400).1 > 4.0);
        let (mut pace, start) = (Pace::searching(), Instant::now());
        let mut now = start;
        for _ in 0..100 {
            now = pace.slot(now);
            pace.taken(now);
        }
        assert!(now - start < Duration::from_millis(70), "{:?} for 100 requests", now - start);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_that_was_too_high_once_is_tried_again_later() {
        let mut now = Instant::now();
        let mut pace = Pace::new(8.0);
        pace.refused(now, now);
        let low = pace.rate;
        for _ in 0..20_000 {
            now = pace.slot(now);
            pace.taken(now);
        }
        assert!(low < 7.0 && pace.rate == 8.0, "{low} {}", pace.rate);
    }

    #[tokio::test(start_paused = true)]
    async fn low_headroom_lowers_the_rate_and_full_headroom_restores_it() {
        let now = Instant::now();
        let mut pace = Pace::new(8.0);
        let spacing = |pace: &mut Pace| {
            pace.next = None;
            pace.slot(now);
            pace.slot(now) - now
        };
        for (room, expected) in [(5.0, 0.125), (0.5, 0.25), (0.0, 20.0), (1.0, 0.125)] {
            pace.room(room);
            assert_eq!(spacing(&mut pace).as_secs_f64(), expected, "{room}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn several_rejections_at_the_same_moment_lower_the_rate_once() {
        let (mut pace, sent) = (Pace::new(8.0), Instant::now());
        let now = sent + Duration::from_millis(200);
        (0..5).for_each(|_| pace.refused(sent, now));
        assert_eq!(pace.rate, 8.0 * LOWER);
        pace.refused(now + Duration::from_secs(1), now + Duration::from_secs(2));
        assert_eq!(pace.rate, 8.0 * LOWER * LOWER);
    }
}
