//! Messages about the program as a whole.

use log::Level::{Debug, Error, Info, Warn};

use super::Message;
use crate::base::{event::ProgramEvent, time::log_format};

pub fn message(event: &ProgramEvent) -> Message {
    let (level, text) = match event {
        ProgramEvent::Unusable { problem } => (Error, problem.clone()),
        ProgramEvent::UnknownLogLevel => {
            (Warn, "`RUST_LOG` must be one of off, error, warn, info, debug, trace; using info.".to_owned())
        }
        ProgramEvent::Starting { state_file } => {
            (Info, format!("starting, state file {:?}.", state_file.display().to_string()))
        }
        ProgramEvent::Listening { address, token } => {
            let reach = match address.ip().to_canonical().is_loopback() {
                true => "",
                false => "; other machines may reach it, and every request needs the token",
            };
            let file = token
                .as_ref()
                .map(|path| format!("; the token of this run is in {:?}", path.display().to_string()));
            (Info, format!("listening on http://{address}{reach}{}.", file.unwrap_or_default()))
        }
        ProgramEvent::CheckpointsDropped { checkpoints } => (
            Info,
            format!(
                "checkpoints dropped: {checkpoints}; interrupted runs start from their beginning, and all holds are lifted."
            ),
        ),
        ProgramEvent::Checking => (Info, "checking all lists.".to_owned()),
        ProgramEvent::Sleeping { seconds } => (Info, format!("sleeping for {seconds} seconds.")),
        ProgramEvent::Signal { name } => (Info, format!("{name}: stopping.")),
        ProgramEvent::SignalAgain { name } => (
            Warn,
            format!(
                "{name} again: stopped at once; the next run sends the records without a confirmed delivery again."
            ),
        ),
        ProgramEvent::QuitFound { path } => (Info, format!("found {:?}.", path.display().to_string())),
        ProgramEvent::QuitRemoved { path } => {
            (Info, format!("removed an old {:?}.", path.display().to_string()))
        }
        ProgramEvent::QuitStays { path, error } => (
            Warn,
            format!(
                "could not remove {:?}: {error}; remove it before the next start.",
                path.display().to_string()
            ),
        ),
        ProgramEvent::Stopping => {
            (Info, "stopping: delivering the records that were read; Ctrl-C stops at once.".to_owned())
        }
        ProgramEvent::Stopped => (Info, "stopped.".to_owned()),
        ProgramEvent::Done => (Info, "done.".to_owned()),
        ProgramEvent::DoneWithFailures => {
            (Error, "done, but at least one entry failed; see the errors above.".to_owned())
        }
        ProgramEvent::RejectedWait { list_id, records, location, remedy } => (
            Error,
            format!(
                "list {list_id:?}: {records} rejected records wait in {}; {}.",
                location.display(),
                remedy.advice(list_id)
            ),
        ),
        ProgramEvent::DoneWithRejected => {
            (Error, "done, but rejected records wait; see the errors above.".to_owned())
        }
        ProgramEvent::NoCapacity { lists, runs, loads } => {
            let wait = match lists {
                1 => "1 list is due and waits".to_owned(),
                lists => format!("{lists} lists are due and wait"),
            };
            (
                Info,
                format!(
                    "{wait} for the end of other runs: at most {runs} runs are active, {loads} of them full loads."
                ),
            )
        }
        ProgramEvent::DeferredErrors { kinds, at_least, since } => {
            let kinds_of: Vec<String> =
                kinds.iter().map(|(kind, count)| format!("{count} {kind:?}")).collect();
            let count: u64 = kinds.values().sum();
            let since = since.map_or("so far".into(), |since| format!("since {}", log_format(since)));
            (
                Warn,
                format!(
                    "the sink has found {}{count} errors {since} in records that it had accepted, from importer or from \
                     other programs: {}. It does not name the records; look the errors up in the account of the sink.",
                    if *at_least { "at least " } else { "" },
                    kinds_of.join(", ")
                ),
            )
        }
        ProgramEvent::DeferredErrorsUnknown { problem } => (Warn, format!("{problem}.")),
        ProgramEvent::DeferredErrorsLate => {
            (Debug, "the sink did not report its deferred errors in time.".to_owned())
        }
    };
    Message::new(level, text)
}
