//! Changes that people make to a list while it is being read, at random intervals. Reproducible by seed.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use fastrand::Rng;

use super::{faults::Faults, people::Member};

/// A kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edit {
    Rename,
    Insert,
    Delete,
    Archive,
    Unarchive,
    Unsubscribe,
    /// A pending or transactional member opts in.
    Subscribe,
}

impl Edit {
    pub const ALL: [Edit; 7] = [
        Edit::Rename,
        Edit::Insert,
        Edit::Delete,
        Edit::Archive,
        Edit::Unarchive,
        Edit::Unsubscribe,
        Edit::Subscribe,
    ];

    /// Returns a random kind. Kinds that consume members are rarer than those that supply them.
    pub(super) fn any(chance: &mut Rng) -> Self {
        match chance.u8(..12) {
            0..3 => Edit::Rename,
            3..5 => Edit::Insert,
            5 => Edit::Delete,
            6..8 => Edit::Archive,
            8 => Edit::Unarchive,
            9..11 => Edit::Unsubscribe,
            _ => Edit::Subscribe,
        }
    }

    /// Whether this change is possible for the member.
    pub(super) fn fits(self, member: &Member) -> bool {
        match self {
            Edit::Rename | Edit::Archive => member.status != "archived",
            Edit::Insert => false,
            Edit::Delete => true,
            Edit::Unarchive => member.status == "archived",
            Edit::Unsubscribe => member.status == "subscribed",
            Edit::Subscribe => ["pending", "transactional"].contains(&member.status),
        }
    }

    /// Changes the member. Does nothing for an insertion or a deletion.
    pub(super) fn apply(self, member: &mut Member, now: DateTime<Utc>, chance: &mut Rng) {
        match self {
            Edit::Rename => member.rename(chance),
            Edit::Insert | Edit::Delete => {}
            Edit::Archive => member.status = "archived",
            Edit::Unsubscribe => member.status = "unsubscribed",
            Edit::Unarchive | Edit::Subscribe => member.subscribe(now),
        }
    }
}

/// The people who change one list or the warehouses, and the delay with which their changes become visible.
pub(super) struct People {
    chance: Rng,
    /// A generator of its own, so that changes that a test makes do not affect the random ones.
    delays: Rng,
    per_second: f64,
    next: DateTime<Utc>,
    late: Duration,
    stale: Duration,
    oldest: DateTime<Utc>,
}

impl People {
    pub fn new(faults: &Faults, list_id: &str, now: DateTime<Utc>) -> Self {
        let mut chance = faults.chance(list_id);
        let mut people = People {
            delays: chance.fork(),
            chance,
            per_second: faults.edits_per_second,
            next: now,
            late: faults.late,
            stale: faults.stale,
            oldest: now - faults.stale,
        };
        people.pause();
        people
    }

    /// Returns the times of the changes that are due, each with the generator that decides its kind.
    pub fn due(&mut self, now: DateTime<Utc>) -> Vec<(DateTime<Utc>, Rng)> {
        self.oldest = now - self.stale;
        let mut due = vec![];
        while self.per_second > 0.0 && self.next <= now {
            due.push((self.next, self.chance.fork()));
            self.pause();
        }
        due
    }

    /// Returns the earliest time whose snapshot of the list a reader may still see.
    pub fn oldest(&self) -> DateTime<Utc> {
        self.oldest
    }

    /// Returns the time at which a change made now becomes visible. Its time stamp is in whole seconds.
    pub fn visible(&mut self, now: DateTime<Utc>) -> DateTime<Utc> {
        now.max(now.trunc_subsecs(0) + self.late.mul_f64(self.delays.f64()))
    }

    /// Schedules the next change. Random events at a constant rate have exponentially distributed intervals.
    fn pause(&mut self) {
        if self.per_second > 0.0 {
            self.next += Duration::from_secs_f64(-(1.0 - self.chance.f64()).ln() / self.per_second);
        }
    }
}
