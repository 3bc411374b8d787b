//! Decides when each entry runs. Pure.

pub mod capacity;
pub mod due;
pub mod slots;
pub mod turns;
