//! The log: one line or more for each event that people read about. Operators search for some of the texts, so those
//! are fixed. Pure; `app` writes the lines.

mod entry;
mod file;
mod program;
mod run;

use log::Level;

use crate::base::{
    event::{Emitted, Event, NoticeEvent, RunEvent, ServiceEvent, StoreEvent},
    redact, time,
};

/// A message of the log, without time and place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub level: Level,
    pub text: String,
}

impl Message {
    fn new(level: Level, text: impl Into<String>) -> Self {
        Message { level, text: text.into() }
    }
}

/// Level of a message that is only worth reading the first time.
fn once(level: Level, is_routine: bool) -> Level {
    if is_routine { Level::Debug } else { level }
}

/// Returns whether an event may have messages.
pub fn is_logged(event: &Event) -> bool {
    !matches!(
        event,
        Event::Run(
            _,
            RunEvent::Started { .. }
                | RunEvent::BatchDelivered { .. }
                | RunEvent::Progress { regular: false, .. }
        )
    )
}

/// Returns the messages of an event. Most events have one; some that only other listeners use have none.
pub fn messages(event: &Event) -> Vec<Message> {
    match event {
        Event::Program(event) => vec![program::message(event)],
        Event::File(event) => vec![file::message(event)],
        Event::Entry(entry, event) => vec![entry::message(entry, event)],
        Event::Run(run, event) => run::messages(run, event),
        Event::Service(event) => vec![service(event)],
        Event::Notice(event) => vec![notice(event)],
        Event::Store(event) => vec![store(event)],
    }
}

/// Returns the lines of an event: `2019-10-21 10:51:16 INFO |controller|186| list "1a2d7ebf82" up to date.` The parts are
/// time (UTC), level, top-level module, line of the code, and text. A text of several lines becomes several log lines.
/// Leaves out messages at levels that are not `enabled` for their module.
pub fn lines(emitted: &Emitted, enabled: impl Fn(Level, &str) -> bool) -> String {
    let mut lines = String::new();
    let module = emitted.place.module();
    for Message { level, text } in messages(&emitted.event) {
        if enabled(level, &module) {
            lines += &line(&time::log_format(emitted.at), level, &module, emitted.place.line(), &text);
        }
    }
    lines
}

/// Returns a text as log lines, each in the same format. Control characters are replaced.
pub fn line(at: &str, level: Level, module: &str, line: u32, text: &str) -> String {
    // The top-level module, such as `controller`, `engine` or `net`.
    let place = module.split("::").next().unwrap_or(module);
    let each = |text: &str| format!("{at} {level} |{place}|{line}| {text}\n");
    redact::printable(text).lines().map(each).collect()
}

fn service(event: &ServiceEvent) -> Message {
    match event {
        ServiceEvent::Retrying { doing, service, problem, pauses, attempt, attempts, wait, routine } => {
            let pausing = if *pauses && !routine {
                format!("pausing all requests to {service}, ")
            } else {
                String::new()
            };
            let seconds = wait.as_secs_f64();
            Message::new(
                once(Level::Warn, *routine),
                format!("{doing}: {problem}; {pausing}attempt {attempt} of {attempts} in {seconds:.1} s."),
            )
        }
        ServiceEvent::Unencrypted { variable } => Message::new(
            Level::Warn,
            format!(
                "`{variable}` is not https: the key and the records are sent unencrypted; use an https address."
            ),
        ),
        ServiceEvent::Unverified { setting } => Message::new(
            Level::Warn,
            format!(
                "`{setting}` does not verify the server: somebody in the network could read the password and the \
                 records; set its `sslmode` to verify-full."
            ),
        ),
        ServiceEvent::ShiftsCutOff { shifts, from } => Message::new(
            Level::Warn,
            format!(
                "exactly {shifts} shifts begin within a minute of {from}; if the service cuts responses off there, some \
                 shifts are missing."
            ),
        ),
    }
}

fn notice(event: &NoticeEvent) -> Message {
    match event {
        NoticeEvent::Delivered { list_id, notices } => {
            Message::new(Level::Debug, format!("list {list_id:?}: {} delivered.", notices_of(*notices)))
        }
        NoticeEvent::Refused { list_id, notices } => {
            let notices = notices_of(*notices);
            Message::new(
                Level::Warn,
                format!(
                    "list {list_id:?}: the receiver in `notify` has refused {notices} for good, so importer dropped \
                     them; compare its rules with the members of a notice, which docs/adapters.md lists."
                ),
            )
        }
        NoticeEvent::Waiting { list_id, notices, problem, wait } => {
            let notices = waiting(*notices);
            let minutes = wait.as_secs() / 60;
            Message::new(
                Level::Warn,
                format!(
                    "list {list_id:?}: {notices} for the receiver in `notify`: {problem}; next attempt in {minutes} min."
                ),
            )
        }
        NoticeEvent::Dropped { list_id, dropped, most, days } => Message::new(
            Level::Warn,
            format!(
                "list {list_id:?}: notices were dropped, {dropped} so far: their receiver has not confirmed them for too \
                 long, or this version can't read them. At most {most} notices wait, for {days} days; check the receiver \
                 in `notify`."
            ),
        ),
        NoticeEvent::Left { list_id, notices, problem } => {
            let notices = waiting(*notices);
            Message::new(
                Level::Warn,
                format!(
                    "list {list_id:?}: {notices} for the receiver in `notify`: {problem}; importer delivers them when it \
                     runs again."
                ),
            )
        }
    }
}

/// Formats a number of notices.
fn notices_of(count: u64) -> String {
    if count == 1 { "1 notice".into() } else { format!("{count} notices") }
}

/// Says that notices wait; `None`: their number is not known.
fn waiting(count: Option<u64>) -> String {
    match count {
        Some(1) => "1 notice waits".into(),
        Some(count) => format!("{} wait", notices_of(count)),
        None => "notices wait".into(),
    }
}

fn store(event: &StoreEvent) -> Message {
    let text = match event {
        StoreEvent::CheckpointOfOtherSettings { location } => format!(
            "`{location}` is discarded, and the list starts again: its latest_timestamp, start_offset or a setting of its \
             source, mapping, sink, consent or contacts was changed, or importer was updated."
        ),
        StoreEvent::CheckpointUnreadable { path } => {
            format!("`{}` can't be read and is discarded; the list starts again.", path.display())
        }
        StoreEvent::CheckpointDamaged { path, lines } => {
            format!("`{}` is damaged; the pages after line {lines} are read again.", path.display())
        }
        StoreEvent::CheckpointStays { problem } => problem.clone(),
        StoreEvent::HistoryIncomplete => {
            "the last runs are missing in the history: the disk is too slow.".to_owned()
        }
        StoreEvent::RunUnrecorded { list_id, problem } => {
            format!("list {list_id:?}: a run is missing in the history: {problem}.")
        }
        StoreEvent::DatabaseSetAside { path, aside } => format!(
            "`{}` can't be read and was renamed to `{}`; importer does not know what was delivered, so it sends unchanged \
             records again, and the safety brake has nothing to compare with.",
            path.display(),
            aside.display()
        ),
        StoreEvent::DatabaseUnreadable { path } => format!(
            "`{}` can't be read, so this command knows nothing of its records. If importer is not running, start it: it \
             renames the file.",
            path.display()
        ),
        StoreEvent::DatabaseUnwritten { path, error } => format!(
            "can't write `{}`: {error}. importer may send some records again; check the free space and the folder's \
             permissions.",
            path.display()
        ),
        StoreEvent::FormerLedgerUnreadable { path } => format!(
            "`{}` can't be read; continuing without the ledger, so the safety brake has nothing to compare with.",
            path.display()
        ),
        StoreEvent::FormerCacheUnreadable { path } => {
            format!("`{}` can't be read; the next run sends every record again.", path.display())
        }
    };
    Message::new(Level::Warn, text)
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
