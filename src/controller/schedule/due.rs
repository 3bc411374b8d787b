//! Decides whether a list is due. Pure: knows a timestamp and the time, nothing else.

use chrono::{DateTime, TimeDelta, Utc};

/// How far ahead of our clock a timestamp may be: clocks differ, years don't.
pub const AHEAD: TimeDelta = TimeDelta::hours(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Everything, since nothing was delivered yet or a reload is asked for.
    Full,
    /// What changed since.
    Incremental { since: DateTime<Utc> },
    /// Nothing yet.
    UpToDate { since: DateTime<Utc> },
    /// A timestamp that can't be: nothing runs until a person mends it.
    Future { since: DateTime<Utc> },
}

/// `from`: when the time to the next run began to count, not before `latest_timestamp`; `every`: how long it is.
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
