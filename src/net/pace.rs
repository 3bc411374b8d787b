//! How many requests a second: evenly spaced, fewer when the service refuses some, and slowly more again. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// What is left of the rate after a refusal.
const LOWER: f64 = 0.8;
/// How the rate creeps up, after so many requests that were taken.
const RAISE: f64 = 1.02;
const RAISE_AFTER: u32 = 20;
/// How near it comes to the rate at which the last refusal came, until that is so long ago.
const SHY_OF: f64 = 0.93;
const FORGET: Duration = Duration::from_secs(900);
/// The slowest pace, in requests a second.
const SLOWEST: f64 = 0.05;

/// The pace of one account.
#[derive(Debug)]
pub struct Pace {
    /// The most requests a second, as set.
    limit: f64,
    rate: f64,
    /// The rate at which the last refusal came, and when.
    refused: Option<(f64, Instant)>,
    taken: u32,
    /// The share of the rate that the service's queue has room for.
    room: f64,
    next: Option<Instant>,
}

impl Pace {
    /// `limit`: requests a second, above 0.
    pub fn new(limit: f64) -> Self {
        Pace { limit, rate: limit, refused: None, taken: 0, room: 1.0, next: None }
    }

    /// Takes the next slot: when the request may go. A pause earns no burst afterwards.
    pub fn slot(&mut self, now: Instant) -> Instant {
        let slot = self.next.map_or(now, |next| next.max(now));
        let rate = (self.rate * self.room).max(SLOWEST);
        self.next = Some(slot + Duration::from_secs_f64(1.0 / rate));
        slot
    }

    /// A request was taken.
    pub fn taken(&mut self, now: Instant) {
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

    /// A request that went at `sent` was refused for coming too soon. Those that were on their way already when the
    /// pace was lowered tell nothing new.
    pub fn refused(&mut self, sent: Instant, now: Instant) {
        if self.refused.is_some_and(|(_, when)| sent <= when) {
            return;
        }
        self.refused = Some((self.rate, now));
        self.taken = 0;
        self.rate = (self.rate * LOWER).max(SLOWEST);
    }

    /// The service takes only this share of what is plenty.
    pub fn room(&mut self, share: f64) {
        self.room = share.clamp(0.0, 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service that takes `allowed` requests a second, as many at once as in a second; the last quarter of the requests.
    fn settle(allowed: f64, requests: u32) -> (f64, f64) {
        let start = Instant::now();
        let (mut pace, mut now, mut tokens, mut refused) = (Pace::new(8.0), start, allowed, 0);
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
    async fn an_account_that_allows_less_than_was_set_is_found_with_few_refusals() {
        for allowed in [1.0, 2.0, 4.0, 6.0] {
            let (refused, rate) = settle(allowed, 4000);
            assert!(refused < 0.005, "{allowed}/s: {:.2} % refused", 100.0 * refused);
            assert!(rate > 0.85 * allowed, "{allowed}/s: settles at {rate:.2}/s");
        }
        assert_eq!(settle(8.0, 4000), (0.0, 8.0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_was_low_for_a_while_is_tried_again() {
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
    async fn a_full_queue_slows_the_pace_down_and_room_restores_it() {
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
    async fn several_refusals_of_one_moment_lower_the_pace_once() {
        let (mut pace, sent) = (Pace::new(8.0), Instant::now());
        let now = sent + Duration::from_millis(200);
        (0..5).for_each(|_| pace.refused(sent, now));
        assert_eq!(pace.rate, 8.0 * LOWER);
        pace.refused(now + Duration::from_secs(1), now + Duration::from_secs(2));
        assert_eq!(pace.rate, 8.0 * LOWER * LOWER);
    }
}
