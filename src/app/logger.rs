//! The log: one line each on stderr, in the shape that people's tools know.

use std::io::Write;

use env_logger::{Builder, Env};

use crate::base::{
    clock::{Clock, SystemClock},
    time,
};

/// `2019-10-21 10:51:16 INFO |controller|186| list "1a2d7ebf82" up to date.` Times are UTC. The level comes from
/// `RUST_LOG`; without it, `info`.
pub fn start() {
    Builder::from_env(Env::default().default_filter_or("info"))
        .format(|out, record| {
            let now = time::spoken(SystemClock.now());
            let module = record.module_path().unwrap_or("");
            let module = module.strip_prefix(concat!(env!("CARGO_PKG_NAME"), "::")).unwrap_or(module);
            let place = module.rsplit("::").next().unwrap_or(module);
            let line = record.line().unwrap_or(0);
            // A text of several lines is several lines of the log, each in the same shape.
            record
                .args()
                .to_string()
                .lines()
                .try_for_each(|text| writeln!(out, "{now} {} |{place}|{line}| {text}", record.level()))
        })
        .init();
}
