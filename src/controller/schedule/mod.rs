//! Decides when each entry runs. Pure.

pub mod capacity;
pub mod due;
pub mod slots;
pub mod turns;

/// A run of this process. The controller numbers runs in the order in which they start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub u64);
