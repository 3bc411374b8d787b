//! Outages: how long the service of an account can't be reached, and how often that was tried. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::base::backoff::PATIENCE;

/// Failed attempts, and the time of the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    pub made: u32,
    pub since: Instant,
}

/// Current outage of an account's service, if there is one, shared by all requests of the account.
#[derive(Default)]
pub struct Outage(Option<Current>);

struct Current {
    tries: Tries,
    /// End of the pause after the last try.
    until: Instant,
    logged: bool,
}

impl Outage {
    /// Records that a request, sent at `sent`, did not reach the service. Returns the tries of the outage and
    /// the wait before the next one, which `wait` computes from the number of tries.
    ///
    /// Requests that were in flight together are one try. An outage that was last noticed over [`PATIENCE`]
    /// ago is another one, because nothing has been tried since.
    pub fn failed(
        &mut self,
        sent: Instant,
        now: Instant,
        wait: impl Fn(u32) -> Duration,
    ) -> (Tries, Duration) {
        let known = self.0.take().filter(|known| now.saturating_duration_since(known.until) <= PATIENCE);
        let mut current =
            known.unwrap_or(Current { tries: Tries { made: 0, since: now }, until: sent, logged: false });
        if sent >= current.until {
            current.tries.made += 1;
        }
        let wait = wait(current.tries.made);
        current.until = current.until.max(now + wait);
        (self.0.insert(current).tries, wait)
    }

    /// Records that a request, sent at `sent`, reached the service, which ends an outage. A request that was
    /// sent before the outage does not end it.
    pub fn end(&mut self, sent: Instant) {
        self.0.take_if(|current| sent >= current.tries.since);
    }

    /// Returns true once for each outage: at the first call during the outage.
    pub fn is_news(&mut self) -> bool {
        self.0.as_mut().is_some_and(|current| !std::mem::replace(&mut current.logged, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn requests_that_were_in_flight_together_are_one_try_and_an_outage_is_news_once() {
        let (mut outage, start) = (Outage::default(), Instant::now());
        let at = |seconds: u32| start + seconds * SECOND;
        let made = |outage: &mut Outage, sent: u32, failed: u32| {
            outage.failed(at(sent), at(failed), |made| made * 5 * SECOND).0.made
        };
        assert!(!outage.is_news());
        let first = [(0, 1), (0, 1), (1, 2)].map(|(sent, failed)| made(&mut outage, sent, failed));
        assert_eq!(first, [1, 1, 1], "the pause ends at 7");
        assert_eq!([made(&mut outage, 7, 8), made(&mut outage, 8, 20), made(&mut outage, 30, 31)], [2, 2, 3]);
        assert_eq!(made(&mut outage, 347, 347), 1, "over 5 minutes after 46");
        assert!(outage.is_news() && !outage.is_news());
        outage.end(at(346));
        assert_eq!(made(&mut outage, 352, 353), 2, "what was sent before 347 ends nothing");
        outage.end(at(347));
        assert!(!outage.is_news());
        assert_eq!(made(&mut outage, 400, 401), 1);
    }
}
