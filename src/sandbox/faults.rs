//! How the services misbehave by chance, so that what must hold can be tried against more than a test would think of.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;

use super::{Service, Trouble, clocks::Jump};

/// How the services misbehave. The same seed misbehaves the same way for the same requests.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    pub seed: u64,
    /// Share of requests that go wrong, 0 to 1.
    pub troubles: f64,
    /// Changes a second that people make to each Mailchimp list, also while it is being paged.
    pub edits_per_second: f64,
    /// A change becomes visible up to this long after its time stamp.
    pub late: Duration,
    /// An answer may show the list as it was up to this long ago (about half of the answers do, by up to this).
    pub stale: Duration,
    /// Members of one second come in another order with every answer.
    pub shuffle_ties: bool,
    /// How far the services' clock is ahead of everybody else's; behind, if negative.
    pub ahead: TimeDelta,
    /// How far the `Date` headers are ahead of the clock that stamps the records; behind, if negative.
    pub date_ahead: TimeDelta,
    /// Jump of the clock behind the `Date` headers, in addition to `date_ahead`.
    pub date_jump: Option<Jump>,
    /// Jump of the program's clock, if that is a [`super::Sandbox::our_clock`].
    pub our_jump: Option<Jump>,
}

impl Faults {
    /// A bit of everything.
    pub fn usual(seed: u64) -> Self {
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

    /// The chance of one thing, which owes nothing to what becomes of the others.
    pub(super) fn chance(&self, of: &str) -> Rng {
        Rng::with_seed(of.bytes().fold(self.seed, |sum, byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(23)
        }))
    }
}

/// What of the lists one answer shows.
pub(super) struct View {
    pub time: DateTime<Utc>,
    /// By what chance the members of one second are put in order, if by any.
    pub shuffle: Option<Rng>,
}

/// Faults at work. What happens to a request depends on how many have reached its service before.
pub(super) struct Luck {
    faults: Faults,
    mailchimp: Rng,
    ometria: Rng,
    when_i_work: Rng,
}

impl Luck {
    pub fn new(faults: Faults) -> Self {
        let [mailchimp, ometria, when_i_work] =
            ["Mailchimp", "Ometria", "When I Work"].map(|service| faults.chance(service));
        Luck { mailchimp, ometria, when_i_work, faults }
    }

    /// What happens to the next request.
    pub fn next(&mut self, service: Service, now: DateTime<Utc>) -> (Option<Trouble>, View) {
        let of = match service {
            Service::Mailchimp => &mut self.mailchimp,
            Service::Ometria => &mut self.ometria,
            Service::WhenIWork => &mut self.when_i_work,
        };
        // One fork for each request: what is drawn for one does not move the others.
        let mut chance = of.fork();
        let trouble = (chance.f64() < self.faults.troubles).then(|| Trouble::any(&mut chance));
        let ago = if chance.bool() { self.faults.stale.mul_f64(chance.f64()) } else { Duration::ZERO };
        (trouble, View { time: now - ago, shuffle: self.faults.shuffle_ties.then_some(chance) })
    }
}
