//! Decides when each entry runs. Pure.

pub mod due;
pub mod places;
pub mod slots;
pub mod turns;
