//! Decorators around the real adapters of a world, so that the soak also covers sinks and sources that the crate does not
//! have yet. A decorator is never the reason why a record is lost: the end condition of the soak stays as it is.

mod sinks;
mod sources;

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use importer::{engine::plan::Pipeline, sink::Settles, source::Source};

use self::sinks::{Limited, Rejecting};
pub use self::{
    sinks::{AT_FIRST, AtClose, Chance, Throttled},
    sources::{ByCursor, ByShard},
};

/// Separates the choice of decorators from all other choices of a seed, so that its world stays as it was.
const OWN: u64 = 0x5eed_0dec_0000_0001;

/// The decorators of a world; at least one of the three differs from its first variant.
#[derive(Debug, Clone, Copy)]
pub struct Decorators {
    seed: u64,
    pub settling: Settling,
    pub batches: Batches,
    pub reading: Reading,
}

/// How the sink reports the outcome of its batches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Settling {
    Plain,
    /// It accepts single payloads later: this share of them, each time.
    Throttles(f64),
    /// It rejects single payloads: this share of those that come for the first time.
    Rejects(f64),
    /// It delivers everything at its close, which fails with this probability.
    AtClose {
        failing: f64,
    },
}

/// The limits of the sink's batches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Batches {
    Plain,
    /// A batch waits for more records no longer than this. Zero: every record is delivered alone.
    Linger(Duration),
    /// Upper bound of the encoded payloads, in bytes.
    Bytes(usize),
}

/// How the list is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// By offset, as the source reads it.
    Offset,
    /// By cursor over changes.
    Cursor,
    /// As a stream with this number of shards.
    Shards(usize),
}

impl Decorators {
    /// Returns the decorators of this seed; two thirds of the seeds have none.
    pub fn of(seed: u64) -> Option<Self> {
        let mut random = Rng::with_seed(seed ^ OWN);
        if random.u32(..3) > 0 {
            return None;
        }
        loop {
            let settling = match random.u32(..8) {
                0..2 => Settling::Throttles(0.05 + 0.3 * random.f64()),
                2..4 => Settling::AtClose { failing: 0.4 * random.f64() },
                4 => Settling::Rejects(0.15 * random.f64()),
                _ => Settling::Plain,
            };
            let batches = match random.u32(..6) {
                0 => Batches::Linger(Duration::from_millis(random.u64(100..800))),
                1 => Batches::Linger(Duration::ZERO),
                2 => Batches::Bytes(random.usize(3_000..20_000)),
                _ => Batches::Plain,
            };
            let reading = match random.u32(..6) {
                0..2 => Reading::Cursor,
                2 => Reading::Shards(random.usize(1..4)),
                _ => Reading::Offset,
            };
            let decorators = Decorators { seed, settling, batches, reading };
            let plain = (settling, batches, reading) == (Settling::Plain, Batches::Plain, Reading::Offset);
            // The events of a stream can't be replayed. A sink that throttles single events gets one per request,
            // which is too slow for a list that changes many times a second.
            let unfit =
                decorators.streams() && !matches!(settling, Settling::Plain | Settling::AtClose { .. });
            if !(plain || unfit) {
                return Some(decorators);
            }
        }
    }

    /// Returns whether the list is read as a stream.
    pub fn streams(self) -> bool {
        matches!(self.reading, Reading::Shards(_))
    }

    /// Returns whether the sink rejects payloads that it accepts at a replay.
    pub fn rejects(self) -> bool {
        matches!(self.settling, Settling::Rejects(_))
    }

    /// Returns the function that decorates each pipeline of a world.
    pub fn decorate(self) -> impl Fn(Pipeline) -> Pipeline + Send + Sync + 'static {
        let chance = Arc::new(Chance::new(self.seed ^ OWN));
        move |pipeline| self.decorated(pipeline, Arc::clone(&chance))
    }

    fn decorated(self, mut pipeline: Pipeline, chance: Arc<Chance>) -> Pipeline {
        match self.batches {
            Batches::Plain => {}
            Batches::Linger(linger) => pipeline.spec.limits.linger = Some(linger),
            Batches::Bytes(bytes) => pipeline.spec.limits.bytes = Some(bytes),
        }
        let sink = Arc::clone(&pipeline.sink);
        match self.settling {
            Settling::Plain => {}
            Settling::Throttles(share) => {
                pipeline.spec.retries = true;
                pipeline.sink = Arc::new(Throttled { sink, chance, share });
            }
            Settling::Rejects(share) => pipeline.sink = Arc::new(Rejecting { sink, chance, share }),
            Settling::AtClose { failing } => {
                pipeline.spec.settles = Settles::AtClose;
                pipeline.sink = Arc::new(AtClose::new(sink, chance, pipeline.spec.limits, failing));
            }
        }
        pipeline.sink = Arc::new(Limited { sink: pipeline.sink, limits: pipeline.spec.limits });
        let source = pipeline.source;
        let source: Arc<dyn Source> = match self.reading {
            Reading::Offset => source,
            Reading::Cursor => Arc::new(ByCursor(source)),
            Reading::Shards(shards) => Arc::new(ByShard { source, shards }),
        };
        Pipeline { source, ..pipeline }
    }
}

/// The soak tries 24 worlds by default.
#[test]
fn a_third_of_the_worlds_is_decorated_and_every_kind_of_decorator_occurs_often() {
    let decorators: Vec<Decorators> = (1..=1200).filter_map(Decorators::of).collect();
    assert!((350..450).contains(&decorators.len()), "{}", decorators.len());
    let count = |is: fn(&Decorators) -> bool| decorators.iter().filter(|these| is(these)).count();
    let kinds = [
        count(|these| matches!(these.settling, Settling::Throttles(_))),
        count(|these| matches!(these.settling, Settling::AtClose { .. })),
        count(|these| these.batches == Batches::Linger(Duration::ZERO)),
        count(|these| matches!(these.batches, Batches::Linger(linger) if !linger.is_zero())),
        count(|these| matches!(these.batches, Batches::Bytes(_))),
        count(|these| these.reading == Reading::Cursor),
        count(|these| these.streams()),
        count(|these| these.rejects()),
    ];
    assert!(kinds.iter().all(|worlds| *worlds > 20), "{kinds:?}");
    let early: Vec<Decorators> = (1..=24).filter_map(Decorators::of).collect();
    assert!(early.len() >= 5, "{early:?}");
}
