//! Messages about the state file and importer's own files beside it.

use log::Level::{Error, Info, Warn};

use super::Message;
use crate::base::{event::FileEvent, time::log_format};

pub fn message(event: &FileEvent) -> Message {
    let (level, text) = match event {
        FileEvent::Changed => (Info, "the state file has changed.".to_owned()),
        FileEvent::Unusable { problem } => (Error, problem.clone()),
        FileEvent::Awaited { last_valid } => {
            let until = "importer reads the state file again as soon as it is saved";
            let text = match last_valid {
                true => format!("{until}; until then, importer uses the last valid version of the lists."),
                false => format!("{until}."),
            };
            (Info, text)
        }
        FileEvent::Readable => (Info, "the state file can be read again.".to_owned()),
        FileEvent::EntryInvalid { problem, excerpt } => {
            (Error, format!("{problem}; this entry does not run.\n{excerpt}"))
        }
        FileEvent::Warning { text } => (Warn, format!("{text}.")),
        FileEvent::Empty => {
            (Warn, "the state file has no entry; add one, such as `{\"list_id\": \"…\"}`.".to_owned())
        }
        FileEvent::NotWatched { error } => {
            (Warn, format!("can't watch the state file ({error}); edits take effect within a minute."))
        }
        FileEvent::Moved { link, target, own_data, folders: [first, second] } => (
            Warn,
            format!(
                "the link `{}` leads to `{}` now; importer uses the file there. Its own data stays in `{}`: before the \
                 next start, stop importer and move `{first}` and `{second}` to the new folder.",
                link.display(),
                target.display(),
                own_data.display()
            ),
        ),
        FileEvent::NoExchange { error } => (
            Warn,
            format!(
                "this file system can't exchange two files ({error}): a save by rename in the microseconds in which \
                 importer writes the state file would be lost; every other save is kept."
            ),
        ),
        FileEvent::LookBackFailed { problem } => (Warn, problem.clone()),
        FileEvent::HistoryUnwritten { error } => {
            (Warn, format!("could not write the history of the state file: {error}."))
        }
        FileEvent::LateSaveApplied => {
            (Info, "applied an edit that was saved while importer was writing the state file.".to_owned())
        }
        FileEvent::Conflict { kept } => (
            Warn,
            format!(
                "two saves of the state file conflict: one is in force, the other is kept as {:?}; compare the two files.",
                kept.display().to_string()
            ),
        ),
        FileEvent::InheritedResultWritten { list_id, latest_timestamp } => (
            Info,
            format!(
                "list {list_id:?}: wrote the result of an earlier run, up to {:?}.",
                log_format(*latest_timestamp)
            ),
        ),
        FileEvent::InheritedResultWaits { list_id, latest_timestamp, problem } => (
            Warn,
            format!(
                "list {list_id:?}: could not write the result of an earlier run, up to {:?}, yet: {problem}",
                log_format(*latest_timestamp)
            ),
        ),
        FileEvent::NotJournaled { lists, problem } => (Warn, format!("{}: {problem}", named(lists))),
        FileEvent::ResultsUnwritten { lists, problem } => (Error, format!("{}: {problem}", named(lists))),
        FileEvent::ResultsKept { results } => {
            let what = match results {
                1 => "the result of the run is kept; importer writes it".to_owned(),
                _ => format!("the results of {results} runs are kept; importer writes them"),
            };
            (Info, format!("{what} as soon as the state file is usable."))
        }
        FileEvent::NotMigrated { problem } => (Error, problem.clone()),
        FileEvent::Migrated { version, deliveries, old_files } => (
            Info,
            format!(
                "migrated the files of importer {version}; number of deliveries: {deliveries}. The old files stay in `{}` and \
                 `dead-letter/before-0.2`; remove them when you are sure that you won't go back.",
                old_files.display()
            ),
        ),
    };
    Message::new(level, text)
}

/// Names lists: at most three, and the number of the others.
fn named(lists: &[String]) -> String {
    const NAMED: usize = 3;
    let more = lists.len().saturating_sub(NAMED);
    let names: Vec<String> = lists.iter().take(NAMED).map(|list| format!("{list:?}")).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("list{} {}{more}", if lists.len() == 1 { "" } else { "s" }, names.join(", "))
}
