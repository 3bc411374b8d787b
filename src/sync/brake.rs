//! Stops a run that would opt out so many that it looks like a mistake. Pure.

/// The opt-outs of a smaller list may be any share of it.
const SMALL: u64 = 1000;
/// More than one in so many is unusual.
const SHARE: u64 = 5;

/// The brake of one pass.
#[derive(Debug, Clone, Copy)]
pub struct Brake {
    /// Opt-outs that are no news: of a full load those of the last one, of a pass over changes none.
    pub expected: u64,
}

impl Brake {
    /// Whether it depends on the size of the list if the brake is tripped.
    pub fn may_trip(self, opt_outs: u64) -> bool {
        self.trips(opt_outs, SMALL + 1)
    }

    /// Whether so many opt-outs are too many for a list of this size.
    pub fn trips(self, opt_outs: u64, list: u64) -> bool {
        list > SMALL && opt_outs.saturating_sub(self.expected) * SHARE > list
    }
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
            let brake = Brake { expected };
            assert_eq!(brake.trips(opt_outs, list), trips, "{opt_outs} of {list}, {expected} expected");
            assert!(!trips || brake.may_trip(opt_outs));
        }
        assert!(!Brake { expected: 0 }.may_trip(200));
    }
}
