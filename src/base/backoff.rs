//! Waits between attempts. Pure.

use std::time::Duration;

/// Attempts per call, including the first.
pub const TRIES: u32 = 6;

/// Longest wait after the first attempt.
const FIRST: Duration = Duration::from_secs(1);
/// Upper bound of a wait, unless `Retry-After` asks for more.
const LONGEST: Duration = Duration::from_secs(60);
/// Time limit for the attempts of one call and for a cool-down. Beyond it the run fails, and the next run
/// tries again.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Returns the wait after the failed attempt number `attempt` (from 1). The full wait doubles from 1 s up to
/// 60 s; `jitter` (0 to 1) picks a point in its upper half, so that workers do not retry in step. Never
/// shorter than `asked`, the server's `Retry-After`.
pub fn delay(attempt: u32, jitter: f64, asked: Option<Duration>) -> Duration {
    let full = FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(LONGEST);
    let wait = full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
    wait.max(asked.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_half_of_each_is_random() {
        for (attempt, longest) in [(1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0), (7, 60.0), (40, 60.0)] {
            assert_eq!(delay(attempt, 1.0, None).as_secs_f64(), longest, "attempt {attempt}");
            assert_eq!(delay(attempt, 0.0, None).as_secs_f64(), longest / 2.0, "attempt {attempt}");
        }
    }

    #[test]
    fn no_wait_is_shorter_than_the_server_asks_for() {
        let asked = Some(Duration::from_secs(17));
        assert_eq!(delay(1, 0.3, asked), Duration::from_secs(17));
        assert!(delay(6, 1.0, asked) > Duration::from_secs(17));
    }
}
