//! All integration tests in one binary, so that the crate links once.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that can't go on fails")]

mod brake;
mod changes;
mod clocks;
mod contact;
mod contract;
mod ends;
mod faults;
mod go;
mod house;
mod kill;
mod late;
mod limits;
mod loopback;
mod memory;
mod opt_ins;
mod passes;
mod preview;
mod privacy;
mod process;
mod reject;
mod replay;
mod resume;
mod retry;
mod run_sh;
mod sandbox;
mod served;
mod shifts;
mod soak;
mod state;
mod stop;
mod support;
mod verify;
mod walk;
mod wire;
