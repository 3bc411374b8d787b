//! Decides whether a list is due, from its timestamp and the current time alone. Pure.

use chrono::{DateTime, TimeDelta, Utc};

/// Maximum lead of a timestamp over this machine's clock. Clocks differ by minutes; more is a mistake.
pub const AHEAD: TimeDelta = TimeDelta::hours(1);

/// What an entry has to run now. `since` is its `latest_timestamp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// A full load: nothing was delivered yet, or an operator wants a reload.
    Full,
    /// A sync of the records that changed after `since`.
    Incremental { since: DateTime<Utc> },
    /// Nothing: `every` has not passed yet.
    UpToDate { since: DateTime<Utc> },
    /// Nothing, until a person corrects the timestamp: it is more than [`AHEAD`] in the future.
    Future { since: DateTime<Utc> },
}

/// Returns what an entry has to run at `now`. It is due when more than `every` has passed after `from`: the
/// end of its last run, or `latest_timestamp` if `from` is `None`.
pub fn decide(
    latest_timestamp: Option<DateTime<Utc>>,
    from: Option<DateTime<Utc>>,
    every: TimeDelta,
    now: DateTime<Utc>,
) -> Due {
    match latest_timestamp {
        None => Due::Full,
        Some(since) if since - now > AHEAD => Due::Future { since },
        Some(since) if now - from.unwrap_or(since) > every => Due::Incremental { since },
        Some(since) => Due::UpToDate { since },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time;

    #[test]
    fn a_list_is_due_by_the_age_of_its_timestamp() {
        let now = time::parse("2019-10-21T10:00:00").unwrap();
        for (latest, expected) in [
            ("", "full"),
            ("2010-01-01T00:00:00", "incremental"),
            ("2019-10-21T07:59:59", "incremental"),
            ("2019-10-21T08:00:00", "up to date"),
            ("2019-10-21T10:00:00", "up to date"),
            ("2019-10-21T11:00:00", "up to date"),
            ("2019-10-21T11:00:01", "future"),
            ("9999-01-01T00:00:00", "future"),
        ] {
            let due = match decide(time::parse(latest), None, TimeDelta::hours(2), now) {
                Due::Full => "full",
                Due::Incremental { .. } => "incremental",
                Due::UpToDate { .. } => "up to date",
                Due::Future { .. } => "future",
            };
            assert_eq!(due, expected, "{latest}");
        }
    }

    #[test]
    fn the_time_to_the_next_run_counts_from_the_end_of_the_last_one() {
        let since = time::parse("2019-10-21T10:00:00").unwrap();
        let (ended, every) = (since + TimeDelta::minutes(5), TimeDelta::seconds(5));
        let due = |now| decide(Some(since), Some(ended), every, now);
        assert_eq!(due(ended + every), Due::UpToDate { since });
        assert_eq!(due(ended + every + TimeDelta::milliseconds(1)), Due::Incremental { since });
    }
}
