//! How long to wait before trying again: pure, so that a table can show it.

use std::time::Duration;

/// Tries of one call, the first included.
pub const TRIES: u32 = 6;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// A server that asks for more than this is answered with a failed run: the next look tries again.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// The wait after the failed try number `attempt` (from 1): doubling from one second, at most a minute, the upper
/// half of it by chance (`jitter` in `0.0..1.0`) so that workers do not return in step. Never shorter than what the
/// server asked for in `Retry-After`.
pub fn delay(attempt: u32, jitter: f64, asked: Option<Duration>) -> Duration {
    let full = FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(LONGEST);
    let wait = full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
    wait.max(asked.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_half_of_each_is_chance() {
        for (attempt, longest) in [(1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0), (7, 60.0), (40, 60.0)] {
            assert_eq!(delay(attempt, 1.0, None).as_secs_f64(), longest, "attempt {attempt}");
            assert_eq!(delay(attempt, 0.0, None).as_secs_f64(), longest / 2.0, "attempt {attempt}");
        }
    }

    #[test]
    fn what_the_server_asks_for_is_the_shortest_wait() {
        let asked = Some(Duration::from_secs(17));
        assert_eq!(delay(1, 0.3, asked), Duration::from_secs(17));
        assert!(delay(6, 1.0, asked) > Duration::from_secs(17));
    }
}
