//! Writes the log to stderr, one line per message, in a fixed format that operators' tools parse.

use std::io::Write;

use env_logger::Builder;
use log::warn;

use crate::base::{
    clock::{Clock, SystemClock},
    time,
};

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Installs the logger. A line is `2019-10-21 10:51:16 INFO |controller|186| list "1a2d7ebf82" up to date.`:
/// time (UTC), level, top-level module, line of the code, text. The level comes from `RUST_LOG`, `info` by
/// default.
pub fn start() {
    let asked = std::env::var("RUST_LOG").unwrap_or_default();
    let filter = filter(&asked);
    Builder::new()
        .parse_filters(filter.as_deref().unwrap_or("info"))
        .format(|out, record| {
            let now = time::log_format(SystemClock.now());
            let module = record.module_path().unwrap_or("");
            let module = module.strip_prefix(concat!(env!("CARGO_PKG_NAME"), "::")).unwrap_or(module);
            // The top-level module, such as `controller`, `engine` or `net`.
            let place = module.split("::").next().unwrap_or(module);
            let line = record.line().unwrap_or(0);
            // A text of several lines becomes several log lines, each in the same format.
            record.args().to_string().lines().try_for_each(|text| {
                let text = text.replace(|c: char| c.is_control() && c != '\t', "\u{fffd}");
                writeln!(out, "{now} {} |{place}|{line}| {text}", record.level())
            })
        })
        .init();
    if filter.is_none() {
        warn!("`RUST_LOG` must be one of {}; using info.", LEVELS.join(", "));
    }
}

/// Returns the filter for the value of `RUST_LOG`. A bare level applies to importer; libraries log only
/// warnings and errors then. Returns `None` if the value is neither a level nor a list of `target=level`,
/// since such a filter would silence the log.
fn filter(asked: &str) -> Option<String> {
    let asked = asked.trim().to_lowercase();
    if asked.is_empty() {
        return Some("info".into());
    }
    if LEVELS.contains(&asked.as_str()) {
        let others = if ["off", "error"].contains(&asked.as_str()) { &asked } else { "warn" };
        return Some(format!("{others},{}={asked}", env!("CARGO_PKG_NAME")));
    }
    let each = |part: &str| {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        LEVELS.contains(&level.trim())
    };
    asked.split(',').all(each).then_some(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_does_not_silence_the_log() {
        for (asked, expected) in [
            ("", Some("info")),
            (" ", Some("info")),
            ("debug", Some("warn,importer=debug")),
            ("INFO", Some("warn,importer=info")),
            ("off", Some("off,importer=off")),
            ("hyper=trace,info", Some("hyper=trace,info")),
            ("inof", None),
            ("importer=loud", None),
        ] {
            assert_eq!(filter(asked).as_deref(), expected, "{asked}");
        }
    }
}
