//! Wrong clocks: the one behind the services' `Date` headers, and the program's own.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Faults, Sandbox};
use crate::base::clock::Clock;

/// A jump of a clock to another time.
#[derive(Debug, Clone, Copy)]
pub struct Jump {
    /// Time from the start of the misbehavior to the jump.
    pub after: Duration,
    /// How far the clock is set forward; back, if negative.
    pub by: TimeDelta,
}

/// How far each clock is off.
#[derive(Debug, Default)]
pub(super) struct Skew {
    /// How far the services' clock, which stamps their records, is ahead of the sandbox's.
    pub ahead: TimeDelta,
    date_ahead: TimeDelta,
    date_jump: Option<(Jump, DateTime<Utc>)>,
    our_jump: Option<(Jump, DateTime<Utc>)>,
}

impl Skew {
    /// Sets the clocks wrong from `now` on, a time by the sandbox's clock.
    pub fn new(faults: &Faults, now: DateTime<Utc>) -> Self {
        let Faults { ahead, date_ahead, date_jump, our_jump, .. } = *faults;
        let since = |jump: Jump| (jump, now);
        Skew { ahead, date_ahead, date_jump: date_jump.map(since), our_jump: our_jump.map(since) }
    }

    /// Corrects all clocks but the one that stamps the records.
    pub fn correct(&mut self) {
        *self = Skew { ahead: self.ahead, ..Skew::default() };
    }

    /// Returns how far the `Date` headers are ahead of the clock that stamps the records.
    pub fn date(&self, now: DateTime<Utc>) -> TimeDelta {
        self.date_ahead + jumped(self.date_jump, now)
    }

    /// Returns how far the program's clock is ahead of what it should be.
    pub fn ours(&self, now: DateTime<Utc>) -> TimeDelta {
        jumped(self.our_jump, now)
    }
}

/// Returns the offset of a clock after a jump, or zero before it.
fn jumped(jump: Option<(Jump, DateTime<Utc>)>, now: DateTime<Utc>) -> TimeDelta {
    let past = jump.filter(|(jump, since)| (now - since).to_std().is_ok_and(|passed| passed >= jump.after));
    past.map_or(TimeDelta::zero(), |(jump, _)| jump.by)
}

/// A clock for the program that jumps as the sandbox's faults demand.
pub(super) struct OurClock {
    pub sandbox: Arc<Sandbox>,
    pub clock: Arc<dyn Clock>,
}

impl Clock for OurClock {
    fn now(&self) -> DateTime<Utc> {
        self.clock.now() + self.sandbox.our_skew()
    }
}
