//! Random failures of the services, so that guarantees are tested against more cases than a test would list.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;

use super::{Service, Trouble, clocks::Jump};

/// How the services misbehave. Reproducible by seed for the same requests.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    pub seed: u64,
    /// Share of requests that fail, from 0 to 1.
    pub troubles: f64,
    /// Changes per second that people make to each Mailchimp list, and to the warehouses, also while they are read.
    pub edits_per_second: f64,
    /// Upper bound of the time after which a change becomes visible, from its time stamp on.
    pub late: Duration,
    /// Upper bound of the age of a response's snapshot. About half of the responses show a stale snapshot.
    pub stale: Duration,
    /// Whether every response lists the members of one second in another order.
    pub shuffle_ties: bool,
    /// How far the services' clock is ahead of all other clocks; behind, if negative.
    pub ahead: TimeDelta,
    /// How far the `Date` headers are ahead of the clock that stamps the records; behind, if negative.
    pub date_ahead: TimeDelta,
    /// Jump of the clock behind the `Date` headers, in addition to `date_ahead`.
    pub date_jump: Option<Jump>,
    /// Jump of the program's clock, if that is a [`super::Sandbox::our_clock`].
    pub our_jump: Option<Jump>,
}

impl Faults {
    /// Returns a mixture of all faults.
    pub fn by_default(seed: u64) -> Self {
        let mut faults = Faults {
            seed,
            troubles: 0.05,
            edits_per_second: 1.0,
            late: Duration::from_secs(30),
            stale: Duration::from_secs(5),
            shuffle_ties: true,
            ..Faults::default()
        };
        faults.ahead = TimeDelta::minutes([-10, 0, 10][faults.chance("clock").usize(..3)]);
        faults
    }

    /// Returns the generator of one thing, independent of all others.
    pub(super) fn chance(&self, of: &str) -> Rng {
        Rng::with_seed(of.bytes().fold(self.seed, |sum, byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(23)
        }))
    }
}

/// The snapshot that a response shows.
pub(super) struct View {
    pub time: DateTime<Utc>,
    /// Generator for the order of the members of one second. `None` keeps the order.
    pub shuffle: Option<Rng>,
}

/// Decides the faults of each request, which depend on the number of earlier requests to its service.
pub(super) struct Luck {
    faults: Faults,
    /// Generators by service; each is made at the service's first request.
    chances: HashMap<Service, Rng>,
}

impl Luck {
    pub fn new(faults: Faults) -> Self {
        Luck { faults, chances: HashMap::new() }
    }

    /// Returns the trouble of the next request, if it has one, and the snapshot that its response shows.
    pub fn next(&mut self, service: Service, now: DateTime<Utc>) -> (Option<Trouble>, View) {
        let of = self.chances.entry(service).or_insert_with(|| self.faults.chance(service.name()));
        // One fork per request, so that the numbers drawn for one request do not affect the others.
        let mut chance = of.fork();
        let trouble = (chance.f64() < self.faults.troubles).then(|| Trouble::any(&mut chance));
        let ago = if chance.bool() { self.faults.stale.mul_f64(chance.f64()) } else { Duration::ZERO };
        (trouble, View { time: now - ago, shuffle: self.faults.shuffle_ties.then_some(chance) })
    }
}
