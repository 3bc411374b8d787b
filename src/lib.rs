pub mod base;
pub mod mapping;
pub mod net;
pub mod sink;
pub mod source;
pub mod state;
pub mod sync;
