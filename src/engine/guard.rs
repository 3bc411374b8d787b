//! Decides when the opt-outs or opt-ins of a run are too many and look like a mistake. Pure.

/// Number of records up to which a list is never stopped.
const SMALL: u64 = 1000;
/// Divisor of the list's size: a change of more than one record in five is unusual.
const SHARE: u64 = 5;

/// The safety brake of one pass.
#[derive(Debug, Clone, Copy)]
pub struct MassChangeGuard {
    /// Opt-outs that are not new: for a full load, those of the previous full load; for a pass over changes,
    /// 0. `None`: a full load without a previous one to compare with, which may have any number.
    pub expected: Option<u64>,
}

/// Changes of consent in a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes {
    pub opt_outs: u64,
    /// Opt-ins of records that were known with another status, or as opted out.
    pub opt_ins: u64,
}

impl MassChangeGuard {
    /// Returns whether the brake would stop the smallest list that it can stop; if not, the size of the list
    /// is irrelevant.
    pub fn may_trip(self, changes: Changes) -> bool {
        self.stops_opt_outs(changes, SMALL + 1) || self.stops_opt_ins(changes, SMALL + 1)
    }

    /// Returns whether the opt-outs are too many for a list of this size.
    pub fn stops_opt_outs(self, changes: Changes, list: u64) -> bool {
        self.expected.is_some_and(|expected| is_unusual(changes.opt_outs.saturating_sub(expected), list))
    }

    /// Returns whether the opt-ins are too many for a list of this size.
    pub fn stops_opt_ins(self, changes: Changes, list: u64) -> bool {
        is_unusual(changes.opt_ins, list)
    }
}

fn is_unusual(changes: u64, list: u64) -> bool {
    list > SMALL && changes.saturating_mul(SHARE) > list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_a_fifth_of_a_list_over_a_thousand_trips_the_brake() {
        for (expected, opt_outs, list, trips) in [
            (0, 400, 2000, false),
            (0, 401, 2000, true),
            (300, 700, 2000, false),
            (300, 701, 2000, true),
            (900, 100, 2000, false),
            (0, 1000, 1000, false),
            (0, 200, 1001, false),
            (0, 201, 1001, true),
        ] {
            let (brake, changes) =
                (MassChangeGuard { expected: Some(expected) }, Changes { opt_outs, opt_ins: 0 });
            let told = format!("{opt_outs} of {list}, {expected} expected");
            assert_eq!(brake.stops_opt_outs(changes, list), trips, "{told}");
            assert!(!trips || brake.may_trip(changes));
            assert!(!MassChangeGuard { expected: None }.may_trip(changes));
            // No opt-ins are expected.
            let (brake, changes) =
                (MassChangeGuard { expected: None }, Changes { opt_outs: 0, opt_ins: opt_outs });
            assert_eq!(brake.stops_opt_ins(changes, list), list > 1000 && opt_outs * 5 > list, "{told}");
            assert!(brake.may_trip(changes) || opt_outs <= 200);
        }
        assert!(!MassChangeGuard { expected: Some(0) }.may_trip(Changes { opt_outs: 200, opt_ins: 200 }));
    }
}
